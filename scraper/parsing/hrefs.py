"""Links: what a spider follows as an href, and hrefs as absolute URLs."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from cssselect import SelectorError
from parsel import Selector, SelectorList

from scraper.errors import SpiderError
from scraper.parsing.queries import compiled as compiled_xpath
from scraper.parsing.queries import css_to_xpath
from scraper.urls import join, origin_of, plain_target

Patterns = str | re.Pattern[str] | Iterable[str | re.Pattern[str]]
"""One regular expression, or several of which one has to be found."""

_WEB = ("https://", "http://")
_CACHED_LINKS = 100_000  # about 30 MB; most links of a site are on many of its pages, and sites are many
_LONGEST_CACHED = 300  # characters; no page shall fill the cache with megabytes
_LONGEST_BASE = 4096  # characters
_MOST_TEXT = 16 * 2**20  # characters of the URLs of a page that has a longer one


def web_url(base: str, href: str) -> str | None:
    """The http(s) URL of a link without its fragment; None for mailto, javascript and what is no URL."""
    url = join(base, href)
    return url.partition("#")[0] if url is not None and url.startswith(_WEB) else None


class _Joined(dict[str, str | None]):
    """The URLs of links by their hrefs, for all pages in one place."""

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place

    def __missing__(self, href: str) -> str | None:
        is_plain = href[0] == "/" and plain_target(href)
        url = self._place + href if is_plain else web_url(self._place, href)
        if len(href) <= _LONGEST_CACHED:
            if _places.is_full():
                self.clear()  # it may be the one of this page alone
            self[href] = url
        return url


class _Places(dict[str, _Joined]):
    """Links by place."""

    _count = 0

    def __missing__(self, place: str) -> _Joined:
        self.is_full()
        made = self[place] = _Joined(place)
        return made

    def is_full(self) -> bool:
        """Whether one more is too many: then all are forgotten."""
        self._count += 1
        if self._count <= _CACHED_LINKS:
            return False
        self.clear()
        self._count = 0
        return True


_places = _Places()


def absolute(base: str, hrefs: Iterable[str | None]) -> list[str]:
    """The http(s) URLs of hrefs, seen from `base`; what is none is left out."""
    if len(base) > _LONGEST_BASE:
        return list(_within(base, hrefs))
    # A page's origin, or its folder, says as much for most links, and is the same for many pages.
    of_origin = _places[origin_of(base)]
    of_folder = _places[base.partition("#")[0].partition("?")[0].rpartition("/")[0] + "/"]
    found = [
        of_origin[href] if href[0] == "/" else of_folder[href] if href[0].isalnum() else web_url(base, href)
        for href in hrefs
        if href
    ]
    return [url for url in found if url is not None]


def _within(base: str, hrefs: Iterable[str | None]) -> Iterator[str]:
    """The URLs that there is room for, as each begins with its base; none of more than 2,000 is fetched."""
    room = _MOST_TEXT
    for href in hrefs:
        url = web_url(base, href) if href else None
        if url is not None and len(url) <= room:
            room -= len(url)
            yield url


def chosen(urls: Iterable[str], allow: Patterns, deny: Patterns) -> list[str]:
    """The URLs in which one of `allow` is found, where there is any, and none of `deny`."""
    wanted, unwanted = compiled(allow), compiled(deny)
    return [url for url in urls if _is_among(url, wanted, True) and not _is_among(url, unwanted, False)]


def compiled(patterns: Patterns) -> list["re.Pattern[str]"]:
    """One regular expression or several, as they may be given; SpiderError for what is none."""
    given = [patterns] if isinstance(patterns, str | re.Pattern) else patterns
    try:
        return [re.compile(one) for one in given]
    except (re.error, TypeError) as error:
        raise SpiderError(f"{patterns!r:.100} is no regular expression: {error}") from None


def _is_among(url: str, patterns: list["re.Pattern[str]"], of_none: bool) -> bool:
    return any(one.search(url) for one in patterns) if patterns else of_none


def href_of(target: Any) -> str | None:
    """The href in what a spider follows: text, a selector, or an element of lxml or BeautifulSoup."""
    if isinstance(target, SelectorList | list | tuple):
        raise SpiderError(
            "follow takes one link, not a list of them", "write yield from page.follow_all(...)"
        )
    if isinstance(target, Selector):
        target = target.root
    if isinstance(target, str):
        return str(target)
    get = getattr(target, "get", None)
    href = get("href") if callable(get) else None
    return href if isinstance(href, str) else None


def name_of(target: object) -> str:
    """What a spider gave instead of a link, for messages."""
    if isinstance(target, Selector):
        target = target.root
    tag = getattr(target, "tag", None) or getattr(target, "name", None)
    return f"<{tag}>" if isinstance(tag, str) else f"{target!r:.80} ({type(target).__name__})"


def select(tree: Any, query: str, is_xml: bool) -> Iterable[str | None]:
    """The hrefs of what a CSS query selects; SpiderError for what is no query."""
    try:
        path = css_to_xpath(query, is_xml)
    except SelectorError as error:
        hint = "for one URL write page.follow(url)" if "/" in query else ""
        raise SpiderError(f"{query!r} is no CSS query: {error}", hint) from None
    if "::" not in query:
        # Attributes come at half the cost of elements.
        hrefs: list[str] = compiled_xpath(f"({path})/@href")(tree)
        return hrefs
    return (found if isinstance(found, str) else found.get("href") for found in compiled_xpath(path)(tree))


def elements(tree: Any, query: str) -> list[Any]:
    """The elements of HTML that a CSS query selects, without a Selector for each."""
    return list(compiled_xpath(css_to_xpath(query))(tree))
