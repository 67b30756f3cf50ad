"""A fake web: responses by URL, and a log of the requests."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from email.message import Message
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeAlias

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter

from scraper.model import Headers
from scraper.model.frozen import frozen
from scraper.testing.clock import FakeClock
from scraper.urls import domain_of


@frozen
class Asked:
    """One request that came in, `at` a moment of the web's clock."""

    at: float
    method: str
    url: str
    headers: Headers
    body: bytes = b""


@frozen
class _Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


Scripted: TypeAlias = str | bytes | int | tuple[Any, ...] | list[Any] | Exception | Callable[[Asked], Any]


class FakeWeb(BaseAdapter):
    """Every site there is, as an adapter for a session. A URL that is not in `pages` answers 404.

    What a URL answers: text or bytes (200, HTML); a status; (status, headers) or (status, headers, body);
    an exception to raise, as `ConnectionRefusedError()` or `TimeoutError()`; a function of `Asked` that
    gives one of these; a list of these in turn, of which the last one stays. A URL is looked up with its
    query first, then without. Each answer takes `latency` seconds of the clock.
    """

    def __init__(
        self,
        pages: Mapping[str, Scripted] | None = None,
        clock: FakeClock | None = None,
        latency: float = 0.0,
    ) -> None:
        super().__init__()
        self.pages: dict[str, Scripted] = dict(pages or {})
        self.clock = clock or FakeClock()
        self.latency = latency
        self.requests: list[Asked] = []
        self._batches: dict[str, int] = {}

    def __setitem__(self, url: str, scripted: Scripted) -> None:
        self.pages[url] = scripted
        self._batches.pop(url, None)

    def urls(self, *, robots: bool = False) -> list[str]:
        """What was asked for, in order; robots.txt only where wanted."""
        return [asked.url for asked in self.requests if robots or not asked.url.endswith("/robots.txt")]

    def gaps(self, domain: str) -> list[float]:
        """Seconds between each request to a domain and the one before it, whatever they asked for."""
        times = [asked.at for asked in self.requests if domain_of(asked.url) == domain]
        return [round(later - earlier, 6) for earlier, later in pairwise(times)]

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Answer one request (the adapter's side)."""
        asked = Asked(
            self.clock.now(),
            request.method or "",
            request.url or "",
            Headers((str(name), str(value)) for name, value in request.headers.items()),
            request.body.encode() if isinstance(request.body, str) else request.body or b"",
        )
        self.requests.append(asked)
        scripted = self._scripted(asked)
        self.clock.sleep(self.latency)
        return _response(request, _answer_of(scripted, asked))

    def _scripted(self, asked: Asked) -> Scripted:
        for url in (asked.url, asked.url.partition("?")[0]):
            scripted = self.pages.get(url)
            if isinstance(scripted, list):
                batch = self._batches.get(url, 0)
                self._batches[url] = batch + 1
                return scripted[min(batch, len(scripted) - 1)]  # type: ignore[no-any-return]  # a list of anything
            if scripted is not None:
                return scripted
        return 404

    def close(self) -> None:
        """Nothing to close."""


def _answer_of(scripted: Any, asked: Asked) -> _Answer:
    if isinstance(scripted, Exception):
        raise scripted
    if isinstance(scripted, str | bytes):
        return _Answer(200, (("Content-Type", "text/html; charset=utf-8"),), _bytes(scripted))
    if isinstance(scripted, int):
        return _Answer(scripted, (), b"")
    if isinstance(scripted, tuple):
        status, headers, body = (*scripted, {}, b"")[:3] if len(scripted) != 2 else (*scripted, b"")
        return _Answer(status, tuple(_pairs(headers)), _bytes(body))
    if callable(scripted):
        return _answer_of(scripted(asked), asked)
    raise TypeError(f"{asked.url} cannot answer with {scripted!r:.80}")


def _pairs(headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return headers.items() if isinstance(headers, Mapping) else headers


def _bytes(body: str | bytes) -> bytes:
    return body.encode() if isinstance(body, str) else body


def _response(request: requests.PreparedRequest, answer: _Answer) -> requests.Response:
    fields = urllib3.HTTPHeaderDict()
    message = Message()
    for name, value in answer.headers:
        fields.add(name, value)
        message[name] = value
    body = b"" if request.method == "HEAD" else answer.body
    raw: Any = urllib3.HTTPResponse(io.BytesIO(body), fields, answer.status, preload_content=False)
    # `requests` looks for cookies in the message of the standard library's response.
    raw._original_response = SimpleNamespace(msg=message, isclosed=lambda: True, close=lambda: None)
    return HTTPAdapter().build_response(request, raw)
