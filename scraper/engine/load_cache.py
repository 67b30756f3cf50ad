"""Answers to rendered pages, kept for the run (RFC 9111): a site's scripts are asked for once."""

from collections import OrderedDict
from dataclasses import replace

from scraper.browser.tasks import PageRequest
from scraper.engine.page_loads import is_foreign
from scraper.http import caching
from scraper.model import Response
from scraper.model.frozen import frozen
from scraper.politeness.header_fields import split_list

MOST_BYTES = 64 * 2**20
STATIC = frozenset({"script", "stylesheet", "font", "image"})
# Of a script nothing may be said at all; RFC 9111 4.2.2 lets a cache assign a time then.
UNSAID = 3600.0
_STATED = frozenset({"max-age", "no-cache", "no-store"})


@frozen
class _Kept:
    """An answer, until when it is fresh, and the request fields that it varies by."""

    response: Response
    until: float
    varies: tuple[tuple[str, str], ...]


class LoadCache:
    """A private cache of each domain's session; of too much the least recently used goes first."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    def _find(self, domain: str, wanted: PageRequest) -> _Kept | None:
        kept = self._kept.get((domain, wanted.url)) if wanted.kind in STATIC else None
        if kept is None or kept.varies != _varies(wanted, kept.response):
            return None
        self._kept.move_to_end((domain, wanted.url))
        return kept

    def fresh(self, domain: str, wanted: PageRequest, now: float) -> Response | None:
        """The answer that stands for a request at a wall moment `now`; None where it has to be sent."""
        kept = self._find(domain, wanted)
        is_usable = kept is not None and caching.is_usable(kept.response.fetched_at, kept.until, now)
        return kept.response if kept is not None and is_usable else None

    def conditions(self, domain: str, wanted: PageRequest) -> dict[str, str]:
        """The header fields that ask only for what has changed."""
        kept = self._find(domain, wanted) if wanted.method == "GET" else None
        return {} if kept is None else caching.conditional_headers(*caching.validators(kept.response.headers))

    def renewed(self, domain: str, wanted: PageRequest, answer: Response) -> Response | None:
        """The kept answer that a 304 confirms, fresh again."""
        kept = self._find(domain, wanted)
        return None if kept is None else replace(kept.response, fetched_at=answer.fetched_at)

    def keep(self, domain: str, wanted: PageRequest, response: Response) -> None:
        """Keep an answer if it may be kept and is worth it."""
        headers = response.headers
        if wanted.kind not in STATIC or response.status != 200 or not caching.is_storable(headers):
            return
        if "*" in headers.get("vary", "") or len(response.content) > self._most // 4:
            return
        until = caching.fresh_until(headers, response.fetched_at, is_heuristic=True)
        is_said = bool(_STATED & set(caching.cache_control(headers))) or "expires" in headers
        if not is_said and "last-modified" not in headers:
            until = response.fetched_at + UNSAID
        key = (domain, wanted.url)
        if key in self._kept:
            self._size -= len(self._kept.pop(key).response.content)
        self._kept[key] = _Kept(response, until, _varies(wanted, response))
        self._size += len(response.content)
        while self._size > self._most:
            self._size -= len(self._kept.popitem(last=False)[1].response.content)


def _varies(wanted: PageRequest, response: Response) -> tuple[tuple[str, str], ...]:
    """The fields of a request that its answer depends on (RFC 9111 4.1)."""
    sent = {name.lower(): value for name, value in wanted.headers.items()}
    names = sorted({name.lower() for name in split_list(response.headers.get("vary", ""))})
    who = ("", str(is_foreign(wanted)))  # not a field, but who got it with no credentials of ours
    return (who, *((name, sent.get(name, "")) for name in names))
