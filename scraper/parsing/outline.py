"""What a page offers to a spider: what repeats on it, JSON-LD, its next page, feeds."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from scraper.model.frozen import frozen
from scraper.parsing import feed, sitemap
from scraper.parsing.block_fields import MOST_FIELDS
from scraper.parsing.hrefs import absolute
from scraper.parsing.page import Page
from scraper.parsing.repeats import Block, find_block
from scraper.politeness.scope import LONGEST_URL
from scraper.urls import domain_of

_ITEMS = "ItemList"
_LONGEST = 60  # characters of a name
_DEEPEST = 5  # names that lead to a list
# They tell of the site or of the page, and are on every one of them.
_ABOUT_THE_SITE = frozenset(
    {
        "WebSite",
        "WebPage",
        "CollectionPage",
        "SearchResultsPage",
        "Organization",
        "BreadcrumbList",
        "SearchAction",
        "ImageObject",
        "SiteNavigationElement",
        "WPHeader",
        "WPFooter",
        "Corporation",
    }
)
_NEXT = (
    "next page",
    "next",
    "older posts",
    "older",
    "weiter",
    "nächste seite",
    "nächste",
    "suivant",
    "page suivante",
    "suivante",
    "siguiente",
    "próxima",
    "próximo",
    "avanti",
    "successiva",
    "successivo",
    "volgende",
    "nästa",
    "næste",
    "neste",
    "seuraava",
    "następna",
    "další",
    "ďalej",
    "következő",
    "далее",
    "следующая",
    "вперёд",
    "次へ",
    "次のページ",
    "下一页",
    "下一頁",
    "다음",
    "sonraki",
    "επόμενη",
    "tiếp",
    "selanjutnya",
)
# Where APIs write the URL of the next page.
_NEXT_IN_JSON = tuple(
    tuple(path.split("/"))
    for path in (
        "next next_url nextUrl next_page_url nextPageUrl nextLink @odata.nextLink next_page nextPage"
        " links/next links/next/href _links/next _links/next/href paging/next pagination/next"
        " pagination/next_url pagination/nextPage meta/next info/next page/next"
    ).split()
)
_ARROWS = frozenset("› » → ⟶ ⇒ ≫ > >> ❯ ▶ ► ⟩ 〉 ➔ ➜".split())
_PAGER = re.compile(
    r"(?:^|[-_ ])(?:paginat(?:ion|or)|pager|paging|pages|nav-links|next)(?:$|[-_ ])", re.IGNORECASE
)
# All that a nav of no name says: numbers, signs, and words such as "Page 2 of 9". Possessive: a word of a
# megabyte would be tried at each of its letters.
_BARE_PAGER = re.compile(r"[\W\d_]*+(?:[^\W\d_]++[\W\d_]*+){0,2}")
_PLAIN_WORDS = re.compile(r"[\w ]+")
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,39}")


@frozen
class JsonLd:
    """JSON-LD objects of a page: their `@type`, and the names that most of them have.

    `is_list`: they are the elements of an ItemList.
    """

    type: str | list[str]
    names: tuple[str, ...]
    is_list: bool = False


@frozen
class JsonItems:
    """The longest list of objects in a JSON document: the names that lead there, and those that most have.

    `next_page`: the names that lead to the URL of the next page.
    """

    path: tuple[str, ...]
    names: tuple[str, ...]
    next_page: tuple[str, ...] = ()


@frozen
class NextLink:
    """The query that finds the link to the next page, and where it leads."""

    query: str
    url: str
    is_xpath: bool = False


@frozen
class Outline:
    """A page's parts; `kind`: page, feed or sitemap. `feeds`: those that it names."""

    kind: str = "page"
    block: Block | None = None
    jsonld: JsonLd | None = None
    next_link: NextLink | None = None
    feeds: tuple[str, ...] = ()
    items: JsonItems | None = None


def outline(page: Page) -> Outline:
    """Look at a page."""
    if sitemap.is_listing(page.content) or page.content[:2] == b"\x1f\x8b":
        is_feed = feed.parse(page.content, page.url, page.headers.get("content-type")) is not None
        return Outline("feed" if is_feed else "sitemap")
    if "json" in page.headers.get("content-type", "").lower():
        return Outline("page", items=_json_items(page))
    return Outline("page", find_block(page), _json_ld(page), _next_link(page), _feeds(page))


def _json_items(page: Page) -> JsonItems | None:
    try:
        content = page.json()
        lists = list(_lists(content, ()))
    except (ValueError, RecursionError):
        return None
    path, objects = max(lists, key=lambda one: len(one[1]), default=((), []))
    return JsonItems(path, _common(objects), _next_in_json(page, content)) if objects else None


def _next_in_json(page: Page, content: Any) -> tuple[str, ...]:
    for path in _NEXT_IN_JSON:
        value = content
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, str) and value.startswith(("http://", "https://", "/", "?")):
            urls = list(absolute(page.base, [value]))
            if urls and urls[0] != page.url and domain_of(urls[0]) == domain_of(page.url):
                return path
    return ()


def _lists(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        yield path, value
    elif isinstance(value, dict) and len(path) < _DEEPEST:
        for name, inner in value.items():
            if len(name) <= _LONGEST:
                yield from _lists(inner, (*path, name))


def _feeds(page: Page) -> tuple[str, ...]:
    return tuple(url for url in feed.advertised(page.tree, page.base) if len(url) <= LONGEST_URL)[:3]


def _json_ld(page: Page) -> JsonLd | None:
    """The objects of the type that is there most often."""
    listed: list[dict[str, Any]] = []
    others: dict[str, list[dict[str, Any]]] = {}
    for one in page.jsonld:
        kind = one.get("@type")
        if kind == _ITEMS:
            listed += [entry for entry in _many(one.get("itemListElement")) if isinstance(entry, dict)]
        elif kind and not _ABOUT_THE_SITE & set(_many(kind) if _is_names(kind) else ()) and _is_names(kind):
            others.setdefault(repr(kind), []).append(one)
    best = max(others.values(), key=len, default=[])
    if listed and len(listed) >= len(best):
        inner = [entry["item"] if isinstance(entry.get("item"), dict) else entry for entry in listed]
        return JsonLd(_ITEMS, _common(inner), is_list=True)
    return JsonLd(best[0]["@type"], _common(best)) if best else None


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _is_names(kind: Any) -> bool:
    return all(isinstance(name, str) and len(name) <= _LONGEST for name in _many(kind))


def _common(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    counts = Counter(name for one in objects for name in one if not name.startswith("@"))
    most = (name for name, count in counts.items() if 2 * count >= len(objects) and len(name) <= _LONGEST)
    return tuple(most)[:MOST_FIELDS]


# the next page ----------------------------------------------------------------------------------------------
def _next_link(page: Page) -> NextLink | None:
    for query, is_xpath in _queries(page):
        found = page.xpath(query) if is_xpath else page.css(query)
        urls = list(dict.fromkeys(absolute(page.base, (one.attrib.get("href") for one in found))))
        if len(urls) == 1 and urls[0] != page.url and domain_of(urls[0]) == domain_of(page.url):
            return NextLink(query, urls[0], is_xpath)
    return None


def _queries(page: Page) -> Iterator[tuple[str, bool]]:
    """Queries for the link to the next page: by its rel, its classes, its label, its text."""
    yield "a[rel~=next]", False
    yield "link[rel~=next]", False
    links = [one.root for one in page.css("a[href]")][:5000]
    meant = [
        link
        for link in links
        if (words := _words(link)) in _NEXT or (words.startswith(_NEXT) and _is_in_pager(link))
    ]
    arrows = [link for link in links if not _words(link) and _text(link) in _ARROWS and _is_in_pager(link)]
    for link in meant:
        yield from _by_class(link)
        yield from _by_label(link)
    for link in (*meant, *arrows):
        if _is_in_pager(link):
            yield from _by_class(link, is_any=True)
    for link in (*meant, *arrows):
        yield from _by_text(link)


def _text(link: Any) -> str:
    return " ".join("".join(link.itertext()).split())


def _letters(text: str) -> str:
    """A text without what stands around its words."""
    return re.sub(r"^\W+|\W+$", "", text)


def _words(link: Any) -> str:
    """What a link says, or else what it is labelled, in lower case."""
    said = [_letters(text or "").lower() for text in (_text(link), link.get("aria-label"), link.get("title"))]
    short = [text for text in said if text and len(text) <= 30]
    return next((text for text in short if text.startswith(_NEXT)), short[0] if short else "")


def _by_class(link: Any, *, is_any: bool = False) -> Iterator[tuple[str, bool]]:
    for one in (link, *link.iterancestors()):
        if one.tag in ("body", "ul", "ol", "nav", "table"):
            return
        for name in (one.get("class") or "").split()[:10]:
            if _NAME.fullmatch(name) and (is_any or "next" in name.lower() or "older" in name.lower()):
                yield f"{one.tag}.{name}" if one is link else f"{one.tag}.{name} a", False


def _by_label(link: Any) -> Iterator[tuple[str, bool]]:
    for name in ("id", "aria-label", "title"):
        value = link.get(name) or ""
        if _PLAIN_WORDS.fullmatch(value) and not re.search(r"\d", value):
            yield f'a[{name}="{value}"]', False


def _by_text(link: Any) -> Iterator[tuple[str, bool]]:
    shown = _text(link)
    if shown in _ARROWS or _PLAIN_WORDS.fullmatch(shown):
        yield f'//a[normalize-space() = "{shown}"]', True
    elif _PLAIN_WORDS.fullmatch(words := _letters(shown)):
        yield f'//a[contains(normalize-space(), "{words}")]', True


def _is_in_pager(link: Any) -> bool:
    around = (link, *list(link.iterancestors())[:5])
    if any(_PAGER.search(f"{one.get('class') or ''} {one.get('id') or ''}") for one in around):
        return True
    nav = next((one for one in around if one.tag == "nav"), None)
    return nav is not None and _BARE_PAGER.fullmatch(" ".join(islice(nav.itertext(), 100))) is not None
