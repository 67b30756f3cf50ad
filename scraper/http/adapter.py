"""The transport adapters between `requests` and our connections."""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from math import isfinite
from queue import Empty, Full
from types import SimpleNamespace
from typing import Any

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.utils import select_proxy
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from scraper.errors import Unsendable
from scraper.http.connection import LimitedConnection, LimitedTlsConnection
from scraper.http.exchange_limits import Limiter, current
from scraper.http.idle_limit import MOST_QUIET, IdleLimit
from scraper.http.tls import Cert, Verify, tls_context
from scraper.urls import host_of

MOST_POOLS = 8  # origins of one domain that keep a connection: a hostile one has thousands of subdomains
MOST_LEARNED = 64  # origins whose idle limits are remembered
MANY_SOCKETS = 10_000
FILES = 64  # descriptors for the database, the run's files and the interpreter
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})


class _Stack:
    """The idle connections of a pool, the last used on top: nobody waits for one, so none needs a lock."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.queue: list[Any] = []

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self.queue.pop()
        except IndexError:
            raise Empty from None

    def put(self, connection: Any, block: bool = True, timeout: float | None = None) -> None:
        if len(self.queue) >= self._most:
            raise Full
        self.queue.append(connection)

    def qsize(self) -> int:
        return len(self.queue)


class _Idle:
    """A pool whose connections share what is known of how long they last unused."""

    QueueCls: Any = _Stack
    idle: IdleLimit | None = None

    def idle_or_new(self) -> Any:
        """A connection for an exchange of ours, which looks itself whether it may serve before it sends."""
        pool: Any = self
        try:
            return pool.pool.get(block=False) or self._new_conn()
        except (Empty, AttributeError):  # none is left, or the pool is closed
            return pool._get_conn()

    def _new_conn(self) -> Any:
        self.idle = self.idle or IdleLimit()
        made = super()._new_conn()  # type: ignore[misc]  # of the pool
        made.idle = self.idle
        return made


class _Pool(_Idle, HTTPConnectionPool):
    ConnectionCls: Any = LimitedConnection


class _TlsPool(_Idle, HTTPSConnectionPool):
    ConnectionCls: Any = LimitedTlsConnection

    def _validate_conn(self, conn: Any) -> None:
        # As urllib3 has it, without the warning: who sets `verify = false` means it, and cron would mail it.
        if conn.is_closed:
            conn.connect()


_POOLS: dict[str, Any] = {"http": _Pool, "https": _TlsPool}


def _socks_pools() -> dict[str, type[HTTPConnectionPool]]:
    # Imported here because PySocks is an extra; requests has told the user already if it is missing.
    from scraper.http.socks_proxy import SocksConnection, SocksTlsConnection

    class Pool(_Pool):
        ConnectionCls = SocksConnection

    class TlsPool(_TlsPool):
        ConnectionCls = SocksTlsConnection

    return {"http": Pool, "https": TlsPool}


def _check_files(url: str, verify: Verify, cert: Cert) -> None:
    """Raise OSError that names the bundle or certificate that is not there, as `requests` does."""
    check: Any = HTTPAdapter().cert_verify
    check(SimpleNamespace(), url, verify, cert)


class Adapter(HTTPAdapter):
    """The adapter of a session: for each origin one pool, shared by the fast and the ordinary way."""

    def __init__(self, connections: int = 1, origins: int = MOST_POOLS) -> None:
        super().__init__(pool_connections=origins, pool_maxsize=connections)
        self.connections = connections
        self.legacy: Collection[str] = ()  # hosts that know only an old TLS
        self._verify: Verify = True  # of the request that goes through a proxy now
        self.origins = origins
        self.idle_limits: dict[str, IdleLimit] = {}
        self.answer_twice: set[str] = set()
        self._mixed_up = 0
        self._last: tuple[Any, Any] = (None, None)  # the pool that was asked for last, with its key

    def __reduce__(self) -> tuple[type["Adapter"], tuple[int, int]]:
        return Adapter, (self.connections, self.origins)

    def pool(self, origin: str, verify: Verify = True, cert: Cert = None) -> HTTPConnectionPool:
        """The connections to an origin ("https://host:port")."""
        key = (origin, verify, cert)
        last, pool = self._last
        if last == key:
            return pool  # type: ignore[no-any-return]
        pools: Any = self.poolmanager.pools
        found: HTTPConnectionPool | None = pools.get(key)
        if found is None:
            found = pools[key] = self._new_pool(origin, verify, cert)
            if len(self.idle_limits) >= MOST_LEARNED:
                self._forget_idle_limits()
            limit = self.idle_limits.setdefault(origin, IdleLimit())
            limit.has_surplus = limit.has_surplus or origin in self.answer_twice
            setattr(found, "idle", limit)  # noqa: B010 - ours
        self._last = key, found
        return found

    @property
    def open_connections(self) -> int:
        """How many connections wait for their next request, to all origins and proxies."""
        last = self._last[1]
        if last is not None and len(self.poolmanager.pools) == 1 and not self.proxy_manager:
            return _waiting_in(last)  # as for most domains, after each page
        managers = [self.poolmanager, *self.proxy_manager.values()]
        return sum(_waiting(manager) for manager in managers)

    def is_open(self, origin: str, verify: Verify = True, cert: Cert = None, ahead: float = 0.0) -> bool:
        """Whether an idle connection to an origin may serve in so many seconds, as far as is known."""
        idle = self._idle_connection(origin, verify, cert)
        return idle is not None and idle.can_serve(ahead)

    def doubt(self, origin: str, verify: Verify = True, cert: Cert = None) -> float:
        """Seconds that the idle connection to an origin has to stay quiet before it may serve again."""
        idle = self._idle_connection(origin, verify, cert)
        return idle.doubt if idle is not None else 0.0

    def _idle_connection(self, origin: str, verify: Verify, cert: Cert) -> Any:
        found: Any = self.pool(origin, verify, cert)
        return found.pool.queue[-1] if found.pool is not None and found.pool.queue else None

    def known_idle_limits(self) -> tuple[tuple[str, float], ...]:
        """What was learned of idle limits: (origin, seconds), to be kept for the next run."""
        known = self.idle_limits.items()
        return tuple((origin, round(limit.seconds, 1)) for origin, limit in known if isfinite(limit.seconds))

    def load_idle_limits(self, limits: Mapping[str, float], answer_twice: Iterable[str] = ()) -> None:
        """Take up what was known."""
        self.idle_limits = {origin: IdleLimit(float(seconds)) for origin, seconds in limits.items()}
        self.answer_twice = set(answer_twice)

    def look(self, most: float = MOST_QUIET) -> None:
        """Find out, at the end, which origins answer more than they were asked; waits `most` seconds each."""
        for key in self.poolmanager.pools.keys():  # noqa: SIM118 - no iterator of its own
            found: Any = self.poolmanager.pools.get(key)
            for connection in list(found.pool.queue) if found is not None and found.pool is not None else ():
                if connection is not None:  # a place that no connection has taken
                    connection.look(most)

    def take_mixed_up(self) -> int:
        """How many answers more may be those to other requests.

        Origins that do so are remembered: their connections serve once, also in later runs.
        """
        self.answer_twice.update(origin for origin, limit in self.idle_limits.items() if limit.mixed_up)
        taken = self._mixed_up + sum(limit.mixed_up for limit in self.idle_limits.values())
        for limit in self.idle_limits.values():
            limit.mixed_up = 0
        self._mixed_up = 0
        return taken

    def _forget_idle_limits(self) -> None:
        self._mixed_up = self.take_mixed_up()
        self.idle_limits.clear()

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """As `HTTPAdapter.send`; a kept connection that breaks is replaced once where that does no harm."""
        try:
            return self._send(request, *args, **kwargs)
        except requests.ConnectionError:
            is_harmless = current.is_reused and request.method in _REPEATABLE and request.body is None
            if not (is_harmless or current.needs_tunnel):
                raise
            return self._send(request, *args, **kwargs)

    def _send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if current.reach is not None and select_proxy(request.url, kwargs.get("proxies")):
            current.reach.check_literal(host_of(request.url))
        try:
            return super().send(request, *args, **kwargs)
        except Unsendable as error:
            raise requests.exceptions.InvalidHeader(error.message, request=request) from error
        except BaseException:
            if current.limiter is not None:
                current.limiter.failed()  # the site may notice the request up to this moment
            raise

    def _new_pool(self, origin: str, verify: Verify, cert: Cert) -> HTTPConnectionPool:
        place = urllib3.util.parse_url(origin)
        # Without a port http.client would take the last group of an IPv6 address for it.
        host, port = place.host or "", place.port or (443 if place.scheme == "https" else 80)
        if place.scheme == "https":
            _check_files(origin, verify, cert)
            return _TlsPool(
                host,
                port,
                maxsize=self.connections,
                ssl_context=tls_context(verify, cert, host in self.legacy),
                cert_reqs="CERT_NONE" if verify is False else "CERT_REQUIRED",
            )
        return _Pool(host, port, maxsize=self.connections)

    def get_connection_with_tls_context(
        self, request: Any, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        if select_proxy(request.url, proxies):
            self._verify = verify
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
        return host, {
            "cert_reqs": required,
            "ssl_context": tls_context(verify, cert, host["host"] in self.legacy),
        }

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        if proxy.lower().startswith("https:"):
            # The proxy's own certificate is held against the same authorities as those of the sites.
            context = tls_context(self._verify, None)
            if (known := self.proxy_manager.get(proxy)) and known.proxy_config.ssl_context is not context:
                self.proxy_manager.pop(proxy).clear()
            proxy_kwargs["proxy_ssl_context"] = context
        return _limited_proxies(super().proxy_manager_for, proxy, **proxy_kwargs)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # The context of our own pools holds the certificates already; loading them again costs 20 ms a call.
        if not isinstance(conn, (_Pool, _TlsPool)):
            HTTPAdapter.cert_verify(self, conn, url, verify, cert)  # type: ignore[no-untyped-call]

    def disconnect(self) -> None:
        """Close the idle connections; the next request opens its own."""
        self._last = None, None
        self.poolmanager.clear()
        for manager in self.proxy_manager.values():
            manager.clear()
        self.proxy_manager.clear()

    def close(self) -> None:
        self.disconnect()
        super().close()


def _waiting(manager: Any) -> int:
    pools = [manager.pools.get(key) for key in manager.pools.keys()]  # noqa: SIM118 - no iterator of its own
    return sum(_waiting_in(pool) for pool in pools if pool is not None)


def _waiting_in(pool: Any) -> int:
    queue = pool.pool.queue if pool.pool is not None else ()
    return sum([connection is not None and not connection.is_closed for connection in queue])


class LimitedAdapter(BaseAdapter):
    """Somebody else's adapter behind the rate limiter, which it knows nothing of."""

    def __init__(self, adapter: BaseAdapter, limiter: Limiter) -> None:
        super().__init__()
        self._adapter = adapter
        self._limiter = limiter

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self._limiter.enter()
        try:
            answer = self._adapter.send(*args, **kwargs)
        except BaseException:
            self._limiter.failed()
            raise
        self._limiter.answered()
        # Digest and other hooks send their next request by way of it.
        setattr(answer, "connection", self)  # noqa: B010 - it is typed for an HTTPAdapter alone
        return answer

    def close(self) -> None:
        self._adapter.close()


def _limited_proxies(make: Any, proxy: str, **proxy_kwargs: Any) -> Any:
    manager = make(proxy, **proxy_kwargs)
    manager.pool_classes_by_scheme = _socks_pools() if proxy.lower().startswith("socks") else _POOLS
    return manager


def put_behind_limiter(adapter: HTTPAdapter) -> None:
    """Let a mounted adapter open connections that take their slot, for each of its retries too."""
    if not isinstance(adapter, Adapter) and adapter.poolmanager.pool_classes_by_scheme is not _POOLS:
        adapter.poolmanager.clear()
        adapter.poolmanager.pool_classes_by_scheme = _POOLS
        make = adapter.proxy_manager_for
        setattr(adapter, "proxy_manager_for", partial(_limited_proxies, make))  # noqa: B010 - a method by name


def budget(most: int, threads: int) -> tuple[int, int]:
    """How `most` connections are shared out: (origins that each domain keeps connected, idle connections).

    Where there are few, each of the `threads` at work holds few, so that none asks for more than there is.
    """
    if most >= MOST_POOLS * threads:
        return MOST_POOLS, most - threads
    origins = max(1, most // (2 * threads))
    return origins, max(0, most - threads * origins)


def most_sockets() -> int:
    """How many connections this process may hold, by its limit of open files; the rest is for files."""
    try:
        # Not on every system, and needed once a run.
        import resource
    except ImportError:
        return 400
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY_SOCKETS if soft == resource.RLIM_INFINITY else max(2, min(MANY_SOCKETS, soft - FILES))
