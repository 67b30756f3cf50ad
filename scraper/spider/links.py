"""A Request as it enters the frontier, or why it does not."""

from dataclasses import replace
from typing import Any

from scraper.errors import SpiderError
from scraper.model import NewUrl, Refusal, Request
from scraper.politeness.scope import LONGEST_URL, refusal
from scraper.spider import Spider, no_callback
from scraper.spider.identity import identity_of, is_plain, request_text
from scraper.spider.rules import Rules, start_requests
from scraper.urls import domain_of_host, fingerprint, read, variant, with_params

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


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


def link_of(rules: Rules, url: str, depth: int, request: Request) -> NewUrl | Refusal:
    """A Request as it enters the frontier, or why it does not; SpiderError where it is wrong in itself."""
    if request.callback not in rules.callbacks:
        raise no_callback(request.callback, rules.callbacks)
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
    if request.callback == "parse" and is_plain(request):
        # So are most links: `identity_of` and `request_text` would find the same.
        return NewUrl(domain_of_host(host), fingerprint("GET", identity), url, depth=depth)
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


def seeds(spider: Spider, rules: Rules, repeated: list[str] | None = None) -> list[NewUrl]:
    """The URLs that a run starts from; SpiderError where one cannot be fetched or there is none.

    `repeated`: gets those of requests that repeat another one and so are not made.
    """
    links: dict[bytes, NewUrl] = {}
    repeats = Repeats()
    for request in start_requests(spider):
        link = link_of(rules, request.url, 0, request)
        if isinstance(link, Refusal):
            raise SpiderError(f"start URL {link.url}: {link.reason}")
        if request.dont_filter and link.fp in links:
            link = repeats.named(link, b"")
        if links.setdefault(link.fp, link) is not link and repeated is not None:
            repeated.append(link.url)
    return list(links.values())
