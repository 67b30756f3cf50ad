"""What a spider and its settings say about links and records, and where a run starts."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import field
from typing import Any

from scraper.errors import SpiderError
from scraper.model import NewUrl, Refusal, Request
from scraper.model.frozen import frozen, replace
from scraper.ops.patterns import pattern
from scraper.runs.record_types import schema_of
from scraper.runs.records import Schema, key_fields
from scraper.spider import Spider, callbacks, each
from scraper.urls import domain_of, host_of, join, origin_of

WEB = ("https://", "http://")
_SCHEME = pattern(r"[a-zA-Z][a-zA-Z0-9+.-]*:(?![0-9])")  # a digit: host and port
MOST_LINKS = 50_000  # what a sitemap may hold


@frozen
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
    __hash__, __eq__ = object.__hash__, object.__eq__  # those of a run are no other's


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
        map(_domain, named)
        if named
        else (domain_of(join(None, first.url) or "") for first in start_requests(spider))
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


def starting_from(rules: Rules, first: Iterable[NewUrl]) -> Rules:
    """The rules, with the origins that a run starts from: they bound where its secrets go."""
    return replace(rules, origins=frozenset(origin_of(link.url) for link in first))


def found_domains(spider: Spider, rules: Rules, chosen: Collection[str]) -> frozenset[str]:
    """The domains of links that are followed, where neither code nor settings name them but `start` alone.

    Empty where they do: these count as what a parse depends on already. `chosen`: those of the settings.
    """
    if chosen or spider.allowed_domains:
        return frozenset()
    named = (one.url if isinstance(one, Request) else one for one in spider.start_urls)
    declared = frozenset(domain_of(join(None, url) or "") for url in named if isinstance(url, str))
    return frozenset() if rules.allowed_domains == declared else rules.allowed_domains


def start_requests(spider: Spider) -> Iterator[Request]:
    """What a run starts from; SpiderError where it is no web address, or nothing."""
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
    if not url.lower().startswith(WEB):
        text = url[:200]
        hint = f"write https://{text.lstrip('/')}"
        if _SCHEME.match(url):
            hint = "only http and https are fetched"
        raise SpiderError(f"start URL {text!r} is no web address", hint)
    if not host_of(url):
        raise SpiderError(f"start URL {url[:200]!r} is no URL")
    return request
