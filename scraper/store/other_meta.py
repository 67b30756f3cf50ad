"""Requests that repeat one of their run with another `meta`: the first stands, and that is told."""

import json
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

from scraper.model import NewUrl

MOST_COMPARED = 100  # in one settlement: a site may link everything from everywhere
_META = '"meta":'

K = TypeVar("K", bound=Hashable)


def has_other_meta(request: str | None, first: str | None) -> bool:
    """Whether a request (as the frontier keeps it) says another `meta` than the one that stands."""
    if request == first or not request or _META not in request:
        return False
    return bool(json.loads(request).get("meta") != (json.loads(first).get("meta") if first else None))


class OtherMeta(Generic[K]):
    """Those of one settlement, by what finds the first. `urls`: what was met with another meta."""

    def __init__(self) -> None:
        self._met: list[tuple[K, NewUrl]] = []
        self.urls: list[str] = []

    def note(self, key: K, url: NewUrl) -> None:
        """A URL that is met again."""
        if url.request and _META in url.request and len(self._met) < MOST_COMPARED:
            self._met.append((key, url))

    @property
    def keys(self) -> list[K]:
        """What `compare` wants to know the requests of."""
        return [key for key, _ in self._met]

    def compare(self, requests: Mapping[K, str | None]) -> None:
        """Hold them against the requests that stand."""
        for key, url in self._met:
            if key in requests and has_other_meta(url.request, requests[key]):
                self.urls.append(url.url)
