"""Connections of urllib3 under one deadline for an exchange, with the domain's turnstile before every send.

urllib3 offers no way to hand an exchange's own limits down to its socket, so they travel in `current`, which
is local to the thread that does the exchange.
"""

import http.client
import math
import socket
import ssl
import threading
import warnings
from functools import lru_cache
from typing import Any, Protocol

import certifi
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.ssl_ import create_urllib3_context

from scraper.http.reach import Reach, resolve
from scraper.ops.clock import monotonic

Verify = bool | str
Cert = str | tuple[str, str] | None
AUTHORITIES = certifi.where()
CONNECT_AHEAD = 0.5  # seconds before its slot that a connection is opened; servers close what waits longer
CHUNK = 65_536
_OLD_RENEGOTIATION = 0x4  # SSL_OP_LEGACY_SERVER_CONNECT, which `ssl` names since Python 3.12


class Limiter(Protocol):
    """Where every request waits for its slot, whoever sends it. `due`: the next one."""

    @property
    def due(self) -> float: ...

    def wait(self, ahead: float = 0.0) -> bool:
        """Sleep until `ahead` seconds before the next slot, without taking it; whether that took any time."""
        ...

    def enter(self) -> None:
        """Return when the next request may be sent; its slot is taken then."""
        ...

    def answered(self) -> None:
        """Note the first byte of an answer: the next slot counts from it."""
        ...

    def rest_until(self, moment: float) -> None:
        """Let nothing through before a moment."""
        ...

    def failed(self) -> None:
        """Note the end of an exchange that brought no answer: the next slot counts from it."""
        ...


class Meter:
    """Counts the connections that a session opened, whichever thread did."""

    def __init__(self) -> None:
        self.connects = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.connects += 1


class Limits(threading.local):
    """What holds for the exchange that this thread is doing."""

    deadline = math.inf
    max_body: float = math.inf
    limiter: Limiter | None = None
    meter: Meter | None = None
    reach: Reach | None = None
    connects = 0
    is_reused = False
    waited = 0.0


current = Limits()


def within(
    seconds: float,
    max_body: float,
    limiter: Limiter | None = None,
    meter: Meter | None = None,
    reach: Reach | None = None,
) -> None:
    """Begin an exchange on this thread: its deadline counts from now. `reach`: which addresses are asked."""
    current.reach = reach
    current.deadline = monotonic() + seconds
    current.max_body = max_body
    current.limiter = limiter
    current.meter = meter
    current.is_reused = False
    current.waited = 0.0


class _Timed(socket.socket):
    """A socket whose reads end at the exchange's deadline, however slowly the bytes drip.

    `ahead`: bytes that were read before anybody asked for them; `broken`: the error that ended that.
    """

    ahead = b""
    broken: OSError | None = None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        if self.ahead or self.broken:
            return _hand_out(self, buffer, nbytes)
        _shorten(self)
        return super().recv_into(buffer, nbytes, flags)

    def pull(self) -> bytes:
        """What has come, of a socket that is ready; empty at its end."""
        return self.recv(CHUNK)


class _TimedTls(ssl.SSLSocket):
    """The same over TLS, where a socket that is ready may have only a part of a record."""

    ahead = b""
    broken: OSError | None = None

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if self.ahead or self.broken:
            return _hand_out(self, buffer, nbytes or 0)
        _shorten(self)
        return super().recv_into(buffer, nbytes, flags)

    def pull(self) -> bytes:
        """What has come, of a socket that is ready; empty at its end. SSLWantReadError: nothing yet."""
        timeout = self.gettimeout()
        self.setblocking(False)
        try:
            data = self.recv(CHUNK)
            while self.pending():
                data += self.recv(CHUNK)  # no selector tells of what is decrypted already
            return data
        finally:
            self.settimeout(timeout)


def _hand_out(sock: Any, buffer: Any, nbytes: int) -> int:
    """Give what was read ahead, as `recv_into` would."""
    if not sock.ahead:
        raise sock.broken
    size = min(nbytes or len(buffer), len(sock.ahead))
    memoryview(buffer).cast("B")[:size] = sock.ahead[:size]
    sock.ahead = sock.ahead[size:]
    return size


def _shorten(sock: socket.socket) -> None:
    left = current.deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the exchange's deadline has passed")
    timeout = sock.gettimeout()
    if timeout is None or left < timeout:
        sock.settimeout(left)


class _Watched:
    """The answer's stream while its head is read: remembers the last line."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._stream.readline(limit)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Head(http.client.HTTPResponse):
    """An answer whose head must be whole: the standard library takes a cut one for an empty page."""

    def begin(self) -> None:
        stream: Any = self.fp
        if stream is None or self.headers is not None:
            return super().begin()
        watched: Any = _Watched(stream)
        self.fp = watched
        super().begin()
        if self.fp is watched:
            self.fp = stream
        if watched.last not in (b"\r\n", b"\n"):
            raise http.client.IncompleteRead(watched.last)
        return None


class LimitedConnection(HTTPConnection):
    """A connection that passes the gate once it is open, right before the request's first byte."""

    response_class = _Head
    is_judged = True  # behind a SOCKS proxy it is the proxy that resolves

    def _new_conn(self) -> socket.socket:
        current.connects += 1
        if current.meter is not None:
            current.meter.add()
        is_judged = self.is_judged and current.reach is not None and self.proxy is None
        plain = self._reached() if is_judged else super()._new_conn()
        timeout = plain.gettimeout()
        timed = _Timed(fileno=plain.detach())
        timed.settimeout(timeout)
        return timed

    def _reached(self) -> socket.socket:
        """Connect to what the host resolved to once, as far as we may: asked again it could say another."""
        assert current.reach is not None
        host = self.host.strip("[]")
        try:
            addresses = current.reach.allowed(host, resolve(host))
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(host, self, error) from error
        except UnicodeError:
            raise urllib3.exceptions.LocationParseError(f"{host!r}, label empty or too long") from None
        name, trouble = self._dns_host, None
        try:
            for self._dns_host in addresses:
                try:
                    return super()._new_conn()
                except (
                    urllib3.exceptions.NewConnectionError,
                    urllib3.exceptions.ConnectTimeoutError,
                ) as error:
                    trouble = error
        finally:
            self._dns_host = name
        raise trouble or urllib3.exceptions.NewConnectionError(self, f"{host} has no address")

    def request(self, *args: Any, **kwargs: Any) -> None:
        limiter = current.limiter
        if limiter is None:
            current.is_reused = self.sock is not None
            return super().request(*args, **kwargs)
        began = monotonic()
        is_late = limiter.wait(0.0 if self.sock is not None else CONNECT_AHEAD)
        if is_late and self.proxy is None and self.sock is not None and not self.is_connected:
            self.close()  # the server has closed it while we waited for our slot
        waited = monotonic() - began
        current.is_reused = self.sock is not None
        if self.sock is None:
            self.connect()
        began = monotonic()
        limiter.enter()
        current.waited = waited + monotonic() - began
        current.deadline += current.waited
        super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3 differs from http.client
        answer = super().getresponse()
        # urllib3 offers no way to name the class of an answer.
        answer.__class__ = _Bounded
        if current.limiter is not None:
            current.limiter.answered()
        return answer


class LimitedTlsConnection(LimitedConnection, HTTPSConnection):
    """The same over TLS."""


class _Bounded(urllib3.HTTPResponse):
    """An answer that ends with an error where it grows beyond `max_body` after decompression."""

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Any:
        size = 0
        for chunk in super().stream(amt, decode_content):
            size += len(chunk)
            if size > current.max_body:
                self.close()
                raise urllib3.exceptions.ProtocolError(f"body over {current.max_body:.0f} bytes")
            yield chunk


@lru_cache(maxsize=256)
def tls_context(verify: Verify, cert: Cert, is_legacy: bool = False) -> ssl.SSLContext:
    """One context for all connections with these certificates: loading the bundle costs 20 ms.

    `is_legacy`: TLS 1.0 and 1.1 too, short keys, old hashes, and servers that renegotiate in the old way.
    """
    context = _legacy_context() if is_legacy else create_urllib3_context()
    context.sslsocket_class = _TimedTls
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context.verify_mode = ssl.CERT_REQUIRED
        _load_authorities(context, AUTHORITIES if verify is True else verify)
    if cert:
        context.load_cert_chain(*((cert,) if isinstance(cert, str) else cert))
    return context


def _legacy_context() -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the point
        context = create_urllib3_context(
            ssl_minimum_version=ssl.TLSVersion.TLSv1, ciphers="DEFAULT:@SECLEVEL=0"
        )
    context.options |= _OLD_RENEGOTIATION
    return context


def _load_authorities(context: ssl.SSLContext, place: str) -> None:
    try:
        context.load_verify_locations(cafile=place)
    except IsADirectoryError:
        context.load_verify_locations(capath=place)
