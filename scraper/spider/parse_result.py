"""Running a callback, the pure side: a page in, records and links out."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from scraper.errors import Drop, RecordError, SpiderError
from scraper.model import NewUrl, RecordLine, Refusal, Rejection, Request
from scraper.model.frozen import frozen
from scraper.ops.printable import printable
from scraper.parsing.page import Page
from scraper.politeness.page_directives import OF_LINK, OF_PAGE
from scraper.politeness.scope import LONGEST_URL, growth, target
from scraper.runs.record_spool import RecordSpool
from scraper.runs.records import is_record, line_of
from scraper.spider import Spider, each, no_callback, not_to_be_yielded, saves
from scraper.spider.identity import is_plain
from scraper.spider.links import Repeats, link_of
from scraper.spider.rules import WEB, Rules
from scraper.store.other_meta import has_other_meta
from scraper.urls import canonical, join

_CACHED_LINKS = 100_000  # about 30 MB; most links of a site are on many of its pages, and sites are many
_MOST_LINK_TEXT = 16 * 2**20  # characters of all links of a page
_MOST_EXAMPLES = 100  # refused links that a page has named; the others are counted
_MOST_KINDS = 20
_LONGEST_EXAMPLE = 500
_LONGEST_CACHED = 300  # characters; no page shall fill the cache with megabytes


@frozen
class ParseResult:
    """What a callback got out of one page. `rejected`: why records were not kept.

    `filtered`: Requests that repeat one of the same page, `other_meta`: the URLs of some that do so with
    another `meta`. `dropped`: why the spider wants nothing of it. `barred`: links that nofollow bars.
    """

    records: Collection[RecordLine] = ()
    links: tuple[NewUrl, ...] = ()
    refused: tuple[Refusal, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    filtered: int = 0
    dropped: str = ""
    other_meta: tuple[str, ...] = ()
    barred: tuple[NewUrl, ...] = ()


def parse_page(spider: Spider, page: Page, rules: Rules, parent: bytes = b"") -> ParseResult:
    """Run a page's callback and sort what it yields. If the callback raises, nothing of the page is kept.

    `parent`: the fingerprint of the page's own request.
    """
    name = page.request.callback
    if saves(spider, name):
        rules = replace(rules, key=("url",), schema=None)  # what is declared is about the other records
    basket = _Basket(page, rules, parent)
    if name not in rules.callbacks:
        raise no_callback(name, rules.callbacks)
    try:
        basket.put_all(each(_called(spider, name, page), name), name)
    except Drop as drop:
        return ParseResult(dropped=printable(drop.message))
    return basket.parse_page()


def _called(spider: Spider, name: str, page: Page) -> Any:
    try:
        return getattr(spider, name)(page)
    except TypeError as error:
        if error.__traceback__ is None or error.__traceback__.tb_next is not None:
            raise  # of the code inside
        raise SpiderError(f"{name} does not take a page: {error}", f"write def {name}(self, page)") from None


def parse_failure(spider: Spider, page: Page, why: str, rules: Rules, parent: bytes) -> ParseResult:
    """What a spider makes of a request that was given up; `page` has no content."""
    basket = _Basket(page, rules, parent)
    basket.put_all(each(spider.failed(page.request, why), "failed"), "failed")
    return basket.parse_page()


class _Basket:
    """What one page gave so far."""

    def __init__(self, page: Page, rules: Rules, parent: bytes) -> None:
        self._page = page
        self._parent = parent
        self._rules = rules
        self._most = rules.max_links
        self._depth = page.depth + 1
        self._length, self._target = len(page.url), target(page.url).rstrip("/")
        self._budget = page.request.budget
        self._of_parse = self._known("parse") if self._budget is None else {}
        self._records = RecordSpool()
        self._links: dict[bytes, NewUrl] = {}
        self._link_text = 0
        self._refused: dict[str, Refusal] = {}
        self._more: defaultdict[str, int] = defaultdict(int)
        self._rejected: list[Rejection] = []
        self._filtered = 0
        self._other_meta: list[str] = []
        self._repeats = Repeats()

    def put_all(self, things: Iterable[Any], name: str) -> None:
        """Sort what the callback of a name yields."""
        for thing in things:
            if type(thing) is Request:
                self._put_request(thing)
            elif isinstance(thing, str):
                self._put_request(Request(str(thing)))
            elif type(thing) is dict or is_record(thing):
                self._put_record(thing)
            elif thing is not None:
                raise not_to_be_yielded(thing, name)

    def _put_record(self, record: Any) -> None:
        try:
            self._records.put(line_of(record, self._rules.key, self._rules.schema))
        except RecordError as error:
            self._rejected.append(Rejection(str(error), error.field))

    def _put_request(self, request: Request) -> None:
        links = self._links
        if len(links) >= self._most or self._link_text > _MOST_LINK_TEXT:
            self._more[f"over max_links {self._most}"] += 1
            return
        # Most links say their URL alone, and stand on other pages too.
        is_plain_one = len(request.__dict__) == 1
        link = self._of_parse.get(request.url) if is_plain_one else None
        if link is None:
            link = self._link_of(request)
        url = link.url
        # Asked here too, as it is what tells of most links that they have not grown.
        is_longer = len(url) > self._length and (self._target in url or "%" in url)
        if is_longer and isinstance(link, NewUrl) and (reason := growth(url, self._page.url)):
            link = Refusal(url, reason)
        if isinstance(link, Refusal):
            self._refuse(link)
            return
        fp = link.fp
        if not is_plain_one and request.dont_filter:
            link = self._repeats.named(link, self._parent)
            fp = link.fp
        elif fp in links:
            self._filter(link)
            return
        links[fp] = link
        self._link_text += len(url) + (len(link.request) if link.request else 0)

    def _filter(self, link: NewUrl) -> None:
        self._filtered += 1
        is_told = len(self._other_meta) < _MOST_EXAMPLES
        if is_told and has_other_meta(link.request, self._links[link.fp].request):
            self._other_meta.append(link.url)

    def _refuse(self, refusal: Refusal) -> None:
        """Keep some as examples and count the others: a page may hold a million of them."""
        url = refusal.url[:_LONGEST_EXAMPLE]
        if url in self._refused:
            return
        if len(self._refused) < _MOST_EXAMPLES:
            self._refused[url] = refusal if url is refusal.url else replace(refusal, url=url)
        else:
            kind = refusal.reason.partition(":")[0]
            self._more[kind if kind in self._more or len(self._more) < _MOST_KINDS else "other reasons"] += 1

    def _known(self, callback: str) -> dict[str, NewUrl | Refusal]:
        """Plain links by their URLs: most stand on many pages, and frozen values can be shared."""
        # The frontier keeps the depth at which it met a URL first, so the first page's depth serves for all,
        # unless depth decides what is followed.
        place = callback, self._depth if self._rules.max_depth is not None else 0
        return self._rules.known.setdefault(place, {})

    def _link_of(self, request: Request) -> NewUrl | Refusal:
        if self._budget is not None and request.budget is None:
            request = replace(request, budget=self._budget)
        url = request.url
        if not isinstance(url, str):
            raise SpiderError(f"a Request has the URL {url!r:.80} ({type(url).__name__})", "a URL is text")
        if not url.startswith(WEB):
            url = join(self._page.base, url) or ""
        if not url:
            return Refusal(request.url[:LONGEST_URL], "not a URL")
        is_kept = len(url) <= _LONGEST_CACHED and is_plain(request)
        known: dict[str, NewUrl | Refusal] = {}
        if is_kept:  # none that is has a budget
            known = self._of_parse if request.callback == "parse" else self._known(request.callback)
        link = known.get(url)
        if link is None:
            if len(known) >= _CACHED_LINKS:
                known.clear()
            link = known[url] = link_of(self._rules, url, self._depth, request)
        return link

    def parse_page(self) -> ParseResult:
        links = tuple(self._links.values())
        barred: tuple[NewUrl, ...] = ()
        if links and self._rules.obey_nofollow:
            links, barred = self._without_nofollow(links)
        more = (
            Refusal(self._page.url[:LONGEST_URL], f"{kind}: {count:,} more links on this page", count)
            for kind, count in self._more.items()
        )
        refused, rejected = (*self._refused.values(), *more), tuple(self._rejected)
        found = ParseResult(self._records.taken(), links, refused, rejected, self._filtered)
        if self._other_meta or barred:
            found = replace(found, other_meta=tuple(self._other_meta), barred=barred)
        return found

    def _without_nofollow(self, links: tuple[NewUrl, ...]) -> tuple[tuple[NewUrl, ...], tuple[NewUrl, ...]]:
        """The links that may be followed, and those that nofollow bars."""
        if self._page.nofollow:
            barred, reason = links, f"{OF_PAGE}: the page's robots directive"
        elif urls := frozenset(map(canonical, self._page.nofollow_urls)):
            plain = [link for link in links if not link.request or '"method"' not in link.request]
            barred = tuple(link for link in plain if canonical(link.url) in urls)
            reason = OF_LINK
        else:
            return links, ()
        for link in barred:
            self._refuse(Refusal(link.url, reason))
        fingerprints = {link.fp for link in barred}
        return tuple(link for link in links if link.fp not in fingerprints), barred
