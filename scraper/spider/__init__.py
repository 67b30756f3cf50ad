"""What a person writes, and the pure side of running it: a page in, records and links out."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from scraper.errors import Drop, RecordError, SpiderError
from scraper.model import SAVE, NewUrl, RecordLine, Refusal, Rejection, Request
from scraper.model.frozen import frozen
from scraper.ops.printable import printable
from scraper.parsing.page import Page
from scraper.politeness.scope import LONGEST_URL, growth, refusal, target
from scraper.runs.record_spool import RecordSpool
from scraper.runs.record_types import schema_of
from scraper.runs.records import Schema, is_record, key_fields, line_of
from scraper.spider.identity import identity_of, is_plain, request_text
from scraper.store.other_meta import has_other_meta
from scraper.urls import (
    canonical,
    domain_of,
    domain_of_host,
    host_of,
    join,
    origin_of,
    read,
    variant,
    with_params,
)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_WEB = ("https://", "http://")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?![0-9])")  # a digit: host and port
_CACHED_LINKS = 100_000  # about 30 MB; most links of a site are on many of its pages, and sites are many
MOST_LINKS = 50_000  # what a sitemap may hold
_MOST_LINK_TEXT = 16 * 2**20  # characters of all links of a page
_MOST_EXAMPLES = 100  # refused links that a page has named; the others are counted
_MOST_KINDS = 20
_LONGEST_EXAMPLE = 500
_LONGEST_CACHED = 300  # characters; no page shall fill the cache with megabytes


class Spider:
    """Yields URLs, and parses pages into records and further URLs. It keeps no state between pages."""

    name: str = ""
    start_urls: Sequence[str] = ()
    allowed_domains: Collection[str] = ()
    key: str | Sequence[str] = ()
    record: Any = None
    settings: Mapping[str, Any] = {}
    health: Mapping[str, Any] = {}
    params: Mapping[str, str] = {}
    handle_statuses: Collection[int] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__dict__.get("name"):
            cls.name = cls.__module__.rpartition(".")[2]

    def start(self) -> Iterable[str | Request]:
        """The first URLs or Requests."""
        return self.start_urls

    def parse(self, page: Page) -> Any:
        """Yield records, Requests and URLs from a page."""
        raise SpiderError(f"spider {self.name} has no parse(self, page)")

    def save(self, page: Page) -> Any:
        """The callback of a `File`: a record of the file, with what its request carries in `meta`."""
        return {**page.meta, **page.save(page.meta.get("name"))}

    def failed(self, request: Request, why: str) -> Any:
        """Yield records, Requests and URLs for a request that was given up; `why`: as in "status 500"."""

    def login(self, session: Any) -> None:
        """Log in to a domain with its session (a requests.Session), before its first page."""

    def logged_out(self, page: Page) -> bool:
        """Whether a page shows that the login is gone."""
        return False

    def needs_render(self, page: Page) -> bool:
        """Whether a page is only a shell that scripts fill; asked with the setting `render = "auto"`."""
        from scraper.parsing.shells import shell_of

        return bool(shell_of(page))

    def opened(self) -> None:
        """Called before a run."""

    def closed(self, run: Any) -> None:
        """Called after a run."""


def saves(spider: Spider, name: str) -> bool:
    """Whether the callback of that name wants the body on disk, not in memory."""
    return name == SAVE and type(spider).save is Spider.save


_NO_CALLBACKS = frozenset(name for name in vars(Spider) if name not in ("parse", SAVE))


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """What a spider and its settings say about links and records. `origins`: of its start URLs.

    `known`: links that need no second look, by URL for each callback and depth.
    """

    allowed_domains: frozenset[str]
    max_depth: int | None = None
    obey_nofollow: bool = True
    max_links: int = MOST_LINKS
    key: tuple[str, ...] = ()
    schema: Schema | None = None
    callbacks: frozenset[str] = frozenset(("parse",))
    origins: frozenset[str] = frozenset()
    known: dict[tuple[str, int], dict[str, NewUrl | Refusal]] = field(default_factory=dict)


@frozen
class ParseResult:
    """What a callback got out of one page. `rejected`: why records were not kept.

    `filtered`: Requests that repeat one of the same page, `other_meta`: the URLs of some that do so with
    another `meta`. `dropped`: why the spider wants nothing of it.
    """

    records: Collection[RecordLine] = ()
    links: tuple[NewUrl, ...] = ()
    refused: tuple[Refusal, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    filtered: int = 0
    dropped: str = ""
    other_meta: tuple[str, ...] = ()


def rules_of(
    spider: Spider,
    *,
    allowed_domains: Collection[str] = (),
    max_depth: int | None = None,
    obey_nofollow: bool = True,
    max_links: int = MOST_LINKS,
) -> Rules:
    """The rules of a spider, or SpiderError. Without allowed_domains: the domains of its start URLs."""
    statuses = spider.handle_statuses
    if (
        isinstance(statuses, str)
        or not isinstance(statuses, Collection)
        or not all(map(_is_status, statuses))
    ):
        raise SpiderError(f"handle_statuses is {statuses!r:.80}", "write numbers as in {404, 410}")
    named = allowed_domains or spider.allowed_domains
    if isinstance(named, str):
        named = (named,)
    domains = (
        map(_domain, named) if named else (domain_of(join(None, first.url) or "") for first in _first(spider))
    )
    return Rules(
        allowed_domains=frozenset(domains),
        max_depth=max_depth,
        obey_nofollow=obey_nofollow,
        max_links=max_links,
        key=key_fields(spider.key),
        schema=schema_of(spider.record),
        callbacks=frozenset(callbacks(spider)),
    )


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 999


def _domain(named: str) -> str:
    host = host_of(f"http://{named}/") if isinstance(named, str) else ""
    if not host or "/" in named:
        raise SpiderError(f"allowed_domains has {named!r}", "write the bare domain, as in example.org")
    return host


def callbacks(spider: Spider) -> list[str]:
    """Names of the methods that can parse a page."""
    cls = type(spider)
    # The parse of this class is there to say that there is none.
    lacking = {"parse"} if cls.parse is Spider.parse else set()
    names = (name for name in dir(cls) if not name.startswith("_") and name not in _NO_CALLBACKS | lacking)
    members = ((name, getattr(cls, name)) for name in names)
    return [name for name, member in members if callable(member) and not isinstance(member, type)]


def callback_of(spider: Spider, name: str) -> Callable[[Page], Any]:
    """The method of a spider that a Request names; SpiderError where there is none."""
    known = callbacks(spider)
    if name not in known:
        raise _no_callback(name, known)
    method: Callable[[Page], Any] = getattr(spider, name)
    return method


def _no_callback(name: str, known: Collection[str]) -> SpiderError:
    if name == "parse":
        return SpiderError("the spider has no parse(self, page)", "write it, or name another callback")
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(known))}"
    return SpiderError(f"the spider has no callback {name!r}", hint)


# pages ------------------------------------------------------------------------------------------------------
def parse_page(spider: Spider, page: Page, rules: Rules, parent: bytes = b"") -> ParseResult:
    """Run a page's callback and sort what it yields. If the callback raises, nothing of the page is kept.

    `parent`: the fingerprint of the page's own request.
    """
    name = page.request.callback
    if saves(spider, name):
        rules = replace(rules, key=("url",), schema=None)  # what is declared is about the other records
    basket = _Basket(page, rules, parent)
    if name not in rules.callbacks:
        raise _no_callback(name, rules.callbacks)
    try:
        basket.put_all(each(getattr(spider, name)(page), name), name)
    except Drop as drop:
        return ParseResult(dropped=printable(drop.message))
    return basket.parse_page()


def parse_failure(spider: Spider, page: Page, why: str, rules: Rules, parent: bytes) -> ParseResult:
    """What a spider makes of a request that was given up; `page` has no content."""
    basket = _Basket(page, rules, parent)
    basket.put_all(each(spider.failed(page.request, why), "failed"), "failed")
    return basket.parse_page()


def each(result: Any, name: str) -> Iterable[Any]:
    """What a callback of that name yielded, or returned at once."""
    if result is None:
        return ()
    if isinstance(result, str | Request) or is_record(result):
        return (result,)
    if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise SpiderError(
            f"{name} is async", "write it as a plain def: the engine fetches many pages at once"
        )
    if not isinstance(result, Iterable):
        raise _not_to_be_yielded(result, name, "returned")
    return result


def _not_to_be_yielded(thing: object, name: str, did: str = "yielded") -> SpiderError:
    kind = type(thing).__name__
    if inspect.isgenerator(thing) or isinstance(thing, list | tuple | Iterator):
        return SpiderError(f"{name} {did} a {kind}", "write yield from")
    return SpiderError(
        f"{name} {did} {thing!r:.80} ({kind}): yield a record (dict, dataclass, model), a Request or a URL"
    )


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
        self._more: Counter[str] = Counter()
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
            elif is_record(thing):
                self._put_record(thing)
            elif thing is not None:
                raise _not_to_be_yielded(thing, name)

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
        if not url.startswith(_WEB):
            url = join(self._page.base, url) or ""
        if not url:
            return Refusal(request.url[:LONGEST_URL], "not a URL")
        is_kept = len(url) <= _LONGEST_CACHED and is_plain(request)
        known = self._known(request.callback) if is_kept else {}
        link = known.get(url)
        if link is None:
            if len(known) >= _CACHED_LINKS:
                known.clear()
            link = known[url] = _link(self._rules, url, self._depth, request)
        return link

    def parse_page(self) -> ParseResult:
        links = tuple(self._links.values())
        if links and self._rules.obey_nofollow:
            links = self._without_nofollow(links)
        more = (
            Refusal(self._page.url[:LONGEST_URL], f"{kind}: {count:,} more links on this page", count)
            for kind, count in self._more.items()
        )
        refused, rejected = (*self._refused.values(), *more), tuple(self._rejected)
        found = ParseResult(self._records.taken(), links, refused, rejected, self._filtered)
        return replace(found, other_meta=tuple(self._other_meta)) if self._other_meta else found

    def _without_nofollow(self, links: tuple[NewUrl, ...]) -> tuple[NewUrl, ...]:
        if self._page.nofollow:
            barred, reason = links, "nofollow: the page's robots directive"
        elif urls := frozenset(map(canonical, self._page.nofollow_urls)):
            plain = [link for link in links if not link.request or '"method"' not in link.request]
            barred = tuple(link for link in plain if canonical(link.url) in urls)
            reason = "rel=nofollow"
        else:
            return links
        for link in barred:
            self._refuse(Refusal(link.url, reason))
        fingerprints = {link.fp for link in barred}
        return tuple(link for link in links if link.fp not in fingerprints)


class Repeats:
    """Requests with `dont_filter`: each is one of its own, known again by whose page asks and how often.

    So a run that is resumed, or a later one, finds the same fingerprints, and none replaces another.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def named(self, link: NewUrl, parent: bytes) -> NewUrl:
        """A link under a fingerprint of its own."""
        number = self._counts[link.fp] = self._counts.get(link.fp, -1) + 1
        return replace(link, fp=variant(link.fp, parent, b"%d" % number))


def _link(rules: Rules, url: str, depth: int, request: Request) -> NewUrl | Refusal:
    """A Request as it enters the frontier, or why it does not; SpiderError where it is wrong in itself."""
    if request.callback not in rules.callbacks:
        raise _no_callback(request.callback, rules.callbacks)
    if request.method not in _METHODS:
        raise SpiderError(f"a Request has the method {request.method!r:.40}")
    if request.budget is not None:
        request = replace(request, budget=_named_budget(request.budget, url))
    found = read(url)
    asked = found[0] if found else ""
    if found and request.params:
        found = read(with_params(asked, request.params))
    if found is None:
        return Refusal(request.url[:LONGEST_URL], "not a URL")
    url, host, identity = found
    reason = refusal(url, rules.allowed_domains, depth, rules.max_depth, host)
    if reason is not None:
        return Refusal(url[:LONGEST_URL], reason)
    return NewUrl(
        domain=domain_of_host(host),
        fp=identity_of(request, identity),
        url=url,
        request=request_text(request if request.url == asked else replace(request, url=asked), url),
        priority=request.priority,
        depth=depth,
    )


def _named_budget(budget: Any, url: str) -> tuple[int, str]:
    """A budget under the name by which all that spends it knows it: that of the URL where it has none."""
    most, name = budget if isinstance(budget, tuple) and len(budget) == 2 else (budget, url)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1 or not isinstance(name, str):
        raise SpiderError(f"Request(budget={budget!r:.80})", "write a number of pages, or (number, name)")
    return most, name[:200]


# start ------------------------------------------------------------------------------------------------------
def seeds(spider: Spider, rules: Rules, repeated: list[str] | None = None) -> list[NewUrl]:
    """The URLs that a run starts from; SpiderError where one cannot be fetched or there is none.

    `repeated`: gets those of requests that repeat another one and so are not made.
    """
    links: dict[bytes, NewUrl] = {}
    repeats = Repeats()
    for request in _first(spider):
        link = _link(rules, request.url, 0, request)
        if isinstance(link, Refusal):
            raise SpiderError(f"start URL {link.url}: {link.reason}")
        if request.dont_filter and link.fp in links:
            link = repeats.named(link, b"")
        if links.setdefault(link.fp, link) is not link and repeated is not None:
            repeated.append(link.url)
    return list(links.values())


def starting_from(rules: Rules, first: Iterable[NewUrl]) -> Rules:
    """The rules, with the origins that a run starts from: they bound where its secrets go."""
    return replace(rules, origins=frozenset(origin_of(link.url) for link in first))


def _first(spider: Spider) -> Iterator[Request]:
    started = spider.start()
    if isinstance(started, str | Request):
        raise SpiderError(
            f"spider {spider.name} starts with a single {type(started).__name__}", "give a list"
        )
    count = 0
    for count, one in enumerate(each(started, "start"), 1):  # noqa: B007 - the count is the point
        yield _start_request(one)
    if not count:
        raise SpiderError(f"spider {spider.name} has no start_urls", "or a start() that yields URLs")


def _start_request(one: Any) -> Request:
    request = Request(one.strip()) if isinstance(one, str) else one
    if not isinstance(request, Request) or not isinstance(request.url, str):
        raise SpiderError(f"start() yields URLs or Requests, not {one!r:.80} ({type(one).__name__})")
    url = request.url
    if not url.lower().startswith(_WEB):
        text = url[:200]
        hint = f"write https://{text.lstrip('/')}"
        if _SCHEME.match(url):
            hint = "only http and https are fetched"
        raise SpiderError(f"start URL {text!r} is no web address", hint)
    if not host_of(url):
        raise SpiderError(f"start URL {url[:200]!r} is no URL")
    return request
