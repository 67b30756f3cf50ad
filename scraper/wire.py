"""The wire: urllib3 connections under one deadline, with the domain's turnstile before every send.

urllib3 offers no way to hand an exchange's own limits down to its socket, so they travel in `current`, which
is local to the thread that does the exchange.
"""

import http.client
import math
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache, partial
from types import SimpleNamespace
from typing import Any, Protocol

import certifi
import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssl_ import create_urllib3_context
from urllib3.util.wait import wait_for_read

from scraper.clock import monotonic

Verify = bool | str
Cert = str | tuple[str, str] | None
AUTHORITIES = certifi.where()
MOST_POOLS = 8  # origins of one domain that keep a connection: a hostile one has thousands of subdomains
MANY_SOCKETS = 10_000
FILES = 64  # descriptors for the database, the run's files and the interpreter
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate(Protocol):
    """Where every request waits for its slot, whoever sends it."""

    def wait(self) -> bool:
        """Sleep until the next slot is there, without taking it; whether that took any time."""
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
    gate: Gate | None = None
    meter: Meter | None = None
    connects = 0
    is_reused = False
    waited = 0.0


current = Limits()


class _Timed(socket.socket):
    """A socket whose reads end at the exchange's deadline, however slowly the bytes drip."""

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        _shorten(self)
        return super().recv_into(buffer, nbytes, flags)


class _TimedTls(ssl.SSLSocket):
    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        _shorten(self)
        return super().recv_into(buffer, nbytes, flags)


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


class _Gated(HTTPConnection):
    """A connection that passes the gate once it is open, right before the request's first byte."""

    response_class = _Head

    def _new_conn(self) -> socket.socket:
        current.connects += 1
        if current.meter is not None:
            current.meter.add()
        plain = super()._new_conn()
        timeout = plain.gettimeout()
        timed = _Timed(fileno=plain.detach())
        timed.settimeout(timeout)
        return timed

    def request(self, *args: Any, **kwargs: Any) -> None:
        gate = current.gate
        if gate is None:
            current.is_reused = self.sock is not None
            return super().request(*args, **kwargs)
        began = monotonic()
        if gate.wait() and self.proxy is None and self.sock is not None and not self.is_connected:
            self.close()  # the server has closed it while we waited for our slot
        waited = monotonic() - began
        current.is_reused = self.sock is not None
        if self.sock is None:
            self.connect()
        began = monotonic()
        gate.enter()
        current.waited = waited + monotonic() - began
        current.deadline += current.waited
        super().request(*args, **kwargs)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]  # urllib3 differs from http.client
        answer = super().getresponse()
        # urllib3 offers no way to name the class of an answer.
        answer.__class__ = _Bounded
        if current.gate is not None:
            current.gate.answered()
        return answer


class _GatedTls(_Gated, HTTPSConnection):
    pass


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


class _Pool(HTTPConnectionPool):
    ConnectionCls: Any = _Gated


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls: Any = _GatedTls


_POOLS: dict[str, Any] = {"http": _Pool, "https": _TlsPool}


def _socks_pools() -> dict[str, type[HTTPConnectionPool]]:
    # Imported here because PySocks is an extra; requests has told the user already if it is missing.
    from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

    class Gated(_Gated, SOCKSConnection):
        pass

    class GatedTls(_Gated, SOCKSHTTPSConnection):
        pass

    class Pool(_Pool):
        ConnectionCls = Gated

    class TlsPool(_TlsPool):
        ConnectionCls = GatedTls

    return {"http": Pool, "https": TlsPool}


@lru_cache(maxsize=256)
def tls_context(verify: Verify, cert: Cert) -> ssl.SSLContext:
    """One context for all connections with these certificates: loading the bundle costs 20 ms."""
    context = create_urllib3_context()
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


def _load_authorities(context: ssl.SSLContext, place: str) -> None:
    try:
        context.load_verify_locations(cafile=place)
    except IsADirectoryError:
        context.load_verify_locations(capath=place)


def _check_files(url: str, verify: Verify, cert: Cert) -> None:
    """Raise OSError that names the bundle or certificate that is not there, as `requests` does."""
    check: Any = HTTPAdapter().cert_verify
    check(SimpleNamespace(), url, verify, cert)


class Line:
    """One request and its answer over a connection of a pool, which is given back at the end."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = pool._get_conn()

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> None:
        """Send a request; `timeout` (s) is for the connection."""
        connection = self._connection
        connection.timeout = timeout
        connection.request(
            method, target, body=body, headers=headers, preload_content=False, decode_content=False
        )

    def wait(self, timeout: float) -> None:
        """Wait for the first byte of the answer, `timeout` seconds at most."""
        sock = self._connection.sock
        with suppress(OSError, ValueError):  # a connection that broke tells so when it is read
            if sock is not None:
                wait_for_read(sock, timeout)

    def answer(self, timeout: float) -> urllib3.HTTPResponse:
        """The answer's head; `timeout` (s) is for each read."""
        self._connection.timeout = timeout
        return self._connection.getresponse()  # type: ignore[no-any-return]

    def end(self, *, is_whole: bool) -> None:
        """Give the connection back; what is left of a broken answer must not stand before the next one."""
        if not is_whole:
            self._connection.close()
        self._pool._put_conn(self._connection)


class Wire(HTTPAdapter):
    """The adapter of a session: for each origin one pool, shared by the fast and the ordinary way."""

    def __init__(self, connections: int = 1) -> None:
        super().__init__(pool_connections=MOST_POOLS, pool_maxsize=connections)
        self.connections = connections

    def __reduce__(self) -> tuple[type["Wire"], tuple[int]]:
        return Wire, (self.connections,)

    def pool(self, origin: str, verify: Verify = True, cert: Cert = None) -> HTTPConnectionPool:
        """The connections to an origin ("https://host:port")."""
        key = (origin, verify, cert)
        pools: Any = self.poolmanager.pools
        found: HTTPConnectionPool | None = pools.get(key)
        if found is None:
            found = pools[key] = self._new_pool(origin, verify, cert)
        return found

    @property
    def is_connected(self) -> bool:
        """Whether connections may be open."""
        return bool(len(self.poolmanager.pools) or self.proxy_manager)

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """As `HTTPAdapter.send`; a kept connection that breaks is replaced once where that does no harm."""
        try:
            return super().send(request, *args, **kwargs)
        except requests.ConnectionError:
            if not (current.is_reused and request.method in _REPEATABLE and request.body is None):
                raise
            return super().send(request, *args, **kwargs)

    def _new_pool(self, origin: str, verify: Verify, cert: Cert) -> HTTPConnectionPool:
        place = urllib3.util.parse_url(origin)
        host = place.host or ""
        if place.scheme == "https":
            _check_files(origin, verify, cert)
            return _TlsPool(
                host,
                place.port,
                maxsize=self.connections,
                ssl_context=tls_context(verify, cert),
                cert_reqs="CERT_NONE" if verify is False else "CERT_REQUIRED",
            )
        return _Pool(host, place.port, maxsize=self.connections)

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if select_proxy(request.url, proxies):
            return super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        place = urllib3.util.parse_url(request.url)
        origin = f"{place.scheme}://{place.netloc.rpartition('@')[2]}" if place.netloc else request.url
        return self.pool(origin, verify, cert)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """As in `requests`, with our own context, so that reads behind a proxy have a deadline too."""
        host, given = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] != "https":
            return host, given
        _check_files(request.url, verify, cert)
        required = given.get("cert_reqs", "CERT_REQUIRED")
        return host, {"cert_reqs": required, "ssl_context": tls_context(verify, cert)}

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        return _gated_proxies(super().proxy_manager_for, proxy, **proxy_kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # The context of our own pools holds the certificates already; loading them again costs 20 ms a call.
        if not isinstance(conn, (_Pool, _TlsPool)):
            HTTPAdapter.cert_verify(self, conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def disconnect(self) -> None:
        """Close the idle connections; the next request opens its own."""
        self.poolmanager.clear()
        for manager in self.proxy_manager.values():
            manager.clear()
        self.proxy_manager.clear()

    def close(self) -> None:
        self.disconnect()
        super().close()


class Guarded(BaseAdapter):
    """Somebody else's adapter behind the gate, which it knows nothing of."""

    def __init__(self, adapter: BaseAdapter, gate: Gate) -> None:
        super().__init__()
        self._adapter = adapter
        self._gate = gate

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self._gate.enter()
        try:
            answer = self._adapter.send(*args, **kwargs)
        except BaseException:
            self._gate.failed()
            raise
        self._gate.answered()
        # Digest and other hooks send their next request by way of it.
        setattr(answer, "connection", self)  # noqa: B010 - it is typed for an HTTPAdapter alone
        return answer

    def close(self) -> None:
        self._adapter.close()


def _gated_proxies(make: Any, proxy: str, **proxy_kwargs: Any) -> Any:
    manager = make(proxy, **proxy_kwargs)
    manager.pool_classes_by_scheme = _socks_pools() if proxy.lower().startswith("socks") else _POOLS
    return manager


def put_behind_gate(adapter: HTTPAdapter) -> None:
    """Let an adapter that somebody mounted open connections that pass the gate, each of its retries too."""
    if not isinstance(adapter, Wire) and adapter.poolmanager.pool_classes_by_scheme is not _POOLS:
        adapter.poolmanager.clear()
        adapter.poolmanager.pool_classes_by_scheme = _POOLS
        make = adapter.proxy_manager_for
        setattr(adapter, "proxy_manager_for", partial(_gated_proxies, make))  # noqa: B010 - a method by name


def within(seconds: float, max_body: float, gate: Gate | None, meter: Meter | None = None) -> None:
    """Begin an exchange on this thread: its deadline counts from now."""
    current.deadline = monotonic() + seconds
    current.max_body = max_body
    current.gate = gate
    current.meter = meter
    current.is_reused = False
    current.waited = 0.0


def most_sockets() -> int:
    """How many connections this process may hold, by its limit of open files; the rest is for files."""
    try:
        # Not on every system, and needed once a run.
        import resource
    except ImportError:
        return 400
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY_SOCKETS if soft == resource.RLIM_INFINITY else max(2, min(MANY_SOCKETS, soft - FILES))
