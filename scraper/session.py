"""The one persistent session of a domain: cookies, auth and connections, kept in a run and between runs."""

import http.client
import json
import re
import ssl
import zlib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import requests
import urllib3
from requests.adapters import BaseAdapter
from requests.cookies import merge_cookies
from urllib3.exceptions import HTTPError as WireError

from scraper import wire
from scraper.clock import Clock, SystemClock
from scraper.cookies import Jar
from scraper.errors import BadAnswer, ConnectFailed, FetchError, TimedOut, TlsFailed, TooLarge
from scraper.model import Exchange, Headers, Response
from scraper.urls import is_public_suffix

CHUNK = 65_536
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Answer:
    """One exchange: a response or the error that took its place; `was_idle`: a kept connection broke."""

    exchange: Exchange
    response: Response | None = None
    error: FetchError | None = None
    was_idle: bool = False


class DomainSession(requests.Session):
    """A `requests.Session` of one domain, on which every request passes the domain's turnstile.

    `timeout`: (connect, read) in seconds; an exchange as a whole ends after 4 x read. `max_body`: bytes after
    decompression. `check(url)` may raise to refuse a URL (scope, robots) before anything is sent. Everything
    that people know of a `requests.Session` works on it; `exchange` is the engine's own, faster way.
    """

    def __init__(
        self,
        domain: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10.0, 30.0),
        max_body: float = 32 * 2**20,
        connections: int = 1,
        gate: wire.Gate | None = None,
        clock: Clock | None = None,
        check: Callable[[str], None] | None = None,
    ) -> None:
        super().__init__()
        self.domain = domain
        self.timeout = timeout
        self.max_body = max_body
        self.gate = gate
        self.clock = clock or SystemClock()
        self.check = check
        self.cookies: Jar = Jar(is_public_suffix, domain, self.clock.wall)
        self.wire = wire.Wire(connections)
        self.mount("https://", self.wire)
        self.mount("http://", self.wire)
        self.is_logged_in = False
        self._environment: dict[str, dict[str, Any]] = {}
        self._dumped = (0, False)
        if headers:
            self.headers.update(headers)

    # the way of people ---------------------------------------------------------------------------------

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As `requests.Session.send`; each redirect hop passes here again."""
        if self.check is not None and request.url is not None:
            self.check(request.url)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        wire.within(4 * self.timeout[1], self.max_body, self.gate)
        return super().send(request, **kwargs)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in `requests`, with the cookies by RFC 6265bis."""
        prepared = super().prepare_request(request)
        if not any(name.lower() == "cookie" for name in (request.headers or {})):
            # `requests` pours the jar into a plain one, which goes by other rules.
            prepared.headers.pop("Cookie", None)
            prepared.prepare_cookies(_merged(self.cookies.copy(), request.cookies))
        return prepared

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: Any,
        cert: Any,
    ) -> Any:
        """As in `requests`, except that REQUESTS_CA_BUNDLE does not override a `verify` that was set here."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    # the engine's way ----------------------------------------------------------------------------------

    def exchange(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """One request, one answer, no redirect followed. Nothing that a site can do raises."""
        begun = self.clock.now()
        connects = wire.current.connects
        answered = 0.0
        response, error = None, None
        wire.within(4 * self.timeout[1], self.max_body, self.gate)
        try:
            raw = self._open(method, url, headers, body)
            answered = self.clock.now()
            response = self._read(raw, url, answered - begun)
        except Exception as trouble:
            error = translate(trouble)
            if not answered and self.gate is not None:
                self.gate.failed()
        ended = self.clock.now()
        exchange = Exchange(
            sent_at=begun,
            first_byte_at=answered or ended,
            ended_at=ended,
            status=response.status if response else 0,
            size=len(response.content) if response else 0,
            connected=wire.current.connects > connects,
        )
        return Answer(exchange, response, error, was_idle=wire.current.is_reused and not answered)

    def _open(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        environment = self._environment_of(url)
        if (
            self.auth
            or environment["proxies"]
            or self.get_adapter(url) is not self.wire
            or self.hooks["response"]
        ):
            return self._open_ordinarily(method, url, headers, body)
        # `requests` spends 250 us a page on preparing what never changes within a session.
        end = url.find("/", 8)
        lines: dict[str, Any] = dict(self.headers)
        if headers:
            lines.update(headers)
        if self.cookies and (cookie := self.cookies.header_for(url, self.clock.wall())):
            lines["Cookie"] = cookie
        pool = self.wire.pool(url[:end], environment["verify"], self.cert)
        raw = pool.urlopen(
            method,
            url[end:],
            body=body,
            headers=lines,
            redirect=False,
            assert_same_host=False,
            retries=False,
            timeout=urllib3.Timeout(connect=self.timeout[0], read=self.timeout[1]),
            preload_content=False,
            decode_content=False,
        )
        if cookies := raw.headers.getlist("set-cookie"):
            self.cookies.store(cookies, url, self.clock.wall())
        return raw

    def _open_ordinarily(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        request = requests.Request(method, url, headers=dict(headers or {}), data=body)
        settings = self.merge_environment_settings(url, {}, True, None, None)
        settings["stream"] = True
        answer = super().send(
            self.prepare_request(request), allow_redirects=False, timeout=self.timeout, **settings
        )
        return answer.raw

    def _environment_of(self, url: str) -> dict[str, Any]:
        # Reading the environment for every page would cost as much as the request.
        origin = url[: url.find("/", 8)]
        found = self._environment.get(origin)
        if found is None or self.verify is not found["asked"]:
            found = dict(self.merge_environment_settings(url, {}, None, None, None), asked=self.verify)
            self._environment[origin] = found
        return found

    def _read(self, raw: urllib3.BaseHTTPResponse, url: str, elapsed: float) -> Response:
        headers = Headers(raw.headers.items())
        try:
            content = read_body(raw, headers.get("content-encoding", ""), self.max_body)
        except BaseException:
            raw.close()  # what is left of the answer must not stand before the next one
            raise
        raw.release_conn()
        return Response(url, raw.status, headers, content, self.clock.wall(), elapsed)

    def get_adapter(self, url: str) -> BaseAdapter:
        """The adapter for a URL, behind the gate whatever was mounted; without one `requests` refuses."""
        adapter = super().get_adapter(url)
        # Our own passes the gate later: after it has connected, right before the first byte.
        return (
            adapter
            if isinstance(adapter, wire.Wire) or self.gate is None
            else wire.Guarded(adapter, self.gate)
        )

    def dump_changes(self) -> str | None:
        """What outlives the process, as JSON; None if nothing changed since the last call."""
        state = (self.cookies.changes, self.is_logged_in)
        if state == self._dumped:
            return None
        self._dumped = state
        return json.dumps({"cookies": self.cookies.dump(), "is_logged_in": self.is_logged_in})

    def load(self, text: str) -> None:
        """Take up what `dump_changes` gave."""
        if text:
            kept = json.loads(text)
            self.cookies.load(kept.get("cookies", ()))
            self.is_logged_in = bool(kept.get("is_logged_in"))
            self._dumped = (self.cookies.changes, self.is_logged_in)

    def disconnect(self) -> None:
        """Close the idle connections; the session goes on with new ones."""
        self.wire.disconnect()


_merged: Callable[..., Any] = merge_cookies


def read_body(raw: Any, coding: str, limit: float) -> bytes:
    """The body, decoded by its Content-Encoding, never more than `limit` bytes of it in memory.

    Raises TooLarge and BadAnswer (truncated or undecodable).
    """
    decoder = _decoder(coding)
    chunks: list[bytes] = []
    received = size = 0
    while chunk := raw.read(CHUNK, decode_content=False):
        received += len(chunk)
        if decoder is not None:
            chunk = decoder.feed(chunk, int(limit - size) + 1)
        size += len(chunk)
        if max(size, received) > limit:
            raise TooLarge(f"body over {limit / 2**20:g} MiB")
        chunks.append(chunk)
    if decoder is not None and not decoder.is_complete:
        raise BadAnswer("the compressed body ends too early")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Inflate:
    """gzip and deflate with a bound on what comes out (RFC 9110 8.4.1)."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: Any = None
        self._is_plain = False

    def feed(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes: one more than allowed is enough to know that there is more."""
        if self._inner is None and not self._is_plain:
            self._inner = _inflater(data, self._coding)
            self._is_plain = self._inner is None
        if self._is_plain:
            return data
        out: list[bytes] = []
        while data and most > 0:
            piece = self._inner.decompress(data, most)
            out.append(piece)
            most -= len(piece)
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._next_member(self._inner.unused_data)
        return b"".join(out)

    def _next_member(self, rest: bytes) -> bytes:
        if rest[:2] != GZIP:
            return b""  # padding after the last member is ignored, as gzip does
        self._inner = zlib.decompressobj(31)
        return rest

    @property
    def is_complete(self) -> bool:
        return self._inner is None or bool(self._inner.eof)


def _inflater(start: bytes, coding: str) -> Any:
    """The decompressor for a body that starts so; None where the label lies and nothing was compressed."""
    if start[:2] == GZIP:
        return zlib.decompressobj(31)
    if coding == "deflate":
        for bits in (15, -15):  # many servers send raw deflate without the zlib header
            try:
                zlib.decompressobj(bits).decompress(start, 1)
            except zlib.error:
                continue
            return zlib.decompressobj(bits)
    return None


def _decoder(coding: str) -> _Inflate | None:
    codings = [name for part in coding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in ("gzip", "x-gzip", "deflate"):
        return _Inflate(codings[0])
    raise BadAnswer(f"Content-Encoding {coding[:40]!r} was not asked for")


def translate(trouble: Exception) -> FetchError:
    """What a library raised, as an error of ours with a reason that a person understands."""
    if isinstance(trouble, FetchError):
        return trouble
    causes = list(_causes(trouble))
    for kind, make in _KINDS:
        for cause in causes:
            if isinstance(cause, kind):
                return make(cause)
    return BadAnswer(f"{type(trouble).__name__}: {_short(trouble)}")


def _causes(trouble: BaseException) -> Any:
    seen: set[int] = set()
    queue: list[Any] = [trouble]
    while queue:
        cause = queue.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        queue += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]


def _short(trouble: object) -> str:
    text = re.sub(r"<[^<>]{0,200}>|\(Caused by.*", "", str(trouble))
    return re.sub(r"\s+", " ", text).strip(" :'\"()")[:160]


def _certificate(cause: Any) -> FetchError:
    return TlsFailed(f"certificate: {getattr(cause, 'verify_message', '') or _short(cause)}")


_KINDS: list[tuple[type | tuple[type, ...], Callable[[Any], FetchError]]] = [
    (FetchError, lambda cause: cause),
    (ssl.SSLCertVerificationError, _certificate),
    (urllib3.exceptions.NameResolutionError, lambda cause: ConnectFailed("the name does not resolve")),
    (urllib3.exceptions.ProxyError, lambda cause: ConnectFailed("the proxy did not connect")),
    ((TimeoutError, urllib3.exceptions.TimeoutError), lambda cause: TimedOut("timed out")),
    (ConnectionRefusedError, lambda cause: ConnectFailed("connection refused")),
    (http.client.RemoteDisconnected, lambda cause: ConnectFailed("closed without an answer")),
    (ConnectionError, lambda cause: ConnectFailed("connection reset")),
    (ssl.SSLError, lambda cause: ConnectFailed(f"TLS: {getattr(cause, 'reason', '') or _short(cause)}")),
    (http.client.LineTooLong, lambda cause: TooLarge("a header line over 64 KiB")),
    (
        (http.client.IncompleteRead, urllib3.exceptions.IncompleteRead),
        lambda cause: BadAnswer("the body ends too early"),
    ),
    (http.client.HTTPException, lambda cause: BadAnswer(f"not HTTP: {_short(cause)}")),
    (zlib.error, lambda cause: BadAnswer("the compressed body is damaged")),
    (OSError, lambda cause: ConnectFailed(cause.strerror or _short(cause))),
    (WireError, lambda cause: BadAnswer(_short(cause))),
]
