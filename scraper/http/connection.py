"""Connections of urllib3: one deadline for an exchange, and the domain's rate limiter before every send."""

import socket
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.wait import wait_for_read

from scraper.errors import BadAnswer, ConnectFailed, FetchError
from scraper.http.exchange_limits import current
from scraper.http.framing import LengthConflict
from scraper.http.idle_limit import QUIET, IdleLimit
from scraper.http.reach import resolve
from scraper.http.request_body import framed, lower
from scraper.http.request_head import request_head
from scraper.http.response_head import ResponseHead
from scraper.http.response_stream import ResponseStream, response_of
from scraper.http.timed_sockets import TimedSocket, TimedTlsSocket, unacknowledged
from scraper.http.tunnel import open_tunnel
from scraper.ops.clock import monotonic

STALE = "closed while idle (status 408)"
PREMATURE = "an answer came before the request can have arrived: it belongs to no request of ours"
_IDLE_TOO_LONG = 408
CONNECT_AHEAD = 0.5  # seconds before its slot that a connection is opened; servers close what waits longer
_MOMENT = 0.001  # seconds between the look whether a request must wait and the one before it is sent


@cache
def _urllib3() -> str:
    from importlib.metadata import version

    return version("urllib3")  # read from a file, for requests that bring no User-Agent of their own


class LimitedConnection(HTTPConnection):
    """A connection that takes its slot once it is open, right before the request's first byte.

    A message is checked and built whole before any of it is sent, and what fails on the way ends the
    connection. `serves`: answers that came over it; `idle`: what is known of how long it lasts unused.
    `unproven`: answers over it, but for its first, since it was last seen to bring nothing more.
    """

    idle: IdleLimit | None = None
    serves = 0
    unproven = 0
    used_at = 0.0
    _asked_at = 0.0  # 0 while no answer is awaited
    _was_idle = 0.0
    _proved = 0  # `serves` when it was seen to be quiet
    _quiet_at = 0.0  # when it was looked at last and could serve; 0 once something was sent
    _stream: ResponseStream | None = None
    _asked: tuple[str, str, dict[str, bool]] = ("", "", {})
    _sent = 0

    def _new_conn(self) -> socket.socket:
        current.connects += 1
        self.serves = self.unproven = 0
        self._asked_at = 0.0
        self._stream = None
        if current.meter is not None:
            current.meter.add()
        plain = self._opened()
        timeout = plain.gettimeout()
        timed = TimedSocket(fileno=plain.detach())
        timed.settimeout(timeout)
        return timed

    def _opened(self) -> socket.socket:
        """Connect to what the host resolved to once, as far as we may: asked again it could say another."""
        if current.reach is None or self.proxy is not None:
            return super()._new_conn()
        host = self.host.strip("[]")
        try:
            addresses = current.reach.allowed(host, resolve(host))
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(host, self, error) from error
        except UnicodeError:
            raise urllib3.exceptions.LocationParseError(f"{host!r}, label empty or too long") from None
        name, failure = self._dns_host, None
        try:
            for self._dns_host in addresses:
                if failure is not None and monotonic() >= current.deadline:
                    break  # a name may have any number of addresses that do not answer
                try:
                    return super()._new_conn()
                except (
                    urllib3.exceptions.NewConnectionError,
                    urllib3.exceptions.ConnectTimeoutError,
                ) as error:
                    failure = error
        finally:
            self._dns_host = name
        raise failure or urllib3.exceptions.NewConnectionError(self, f"{host} has no address")

    @property
    def is_connected(self) -> bool:
        """Whether it is open and nothing has come that was not asked for."""
        if self.sock.is_quiet() if isinstance(self.sock, TimedSocket) else super().is_connected:
            return True
        left_over = self.sock.left_over() if isinstance(self.sock, TimedSocket | TimedTlsSocket) else b""
        if left_over is None:
            return True
        if self.sock is not None and self.serves and self.idle is not None:
            if left_over:
                self.found_unasked(left_over)
            else:
                self.idle.seen(monotonic() - self.used_at)
        return False

    def found_unasked(self, data: bytes) -> None:
        """Note what came after an answer: those before it may have been those to other requests."""
        if self.idle is not None and data:
            self.idle.sent_unasked(data, self.unproven)
        self.unproven = 0

    def look(self, most: float) -> None:
        """Find out, at the end, whether the server answers more than it was asked; waits `most` seconds."""
        if self.unproven > 1 and self.sock is not None and self.idle is not None and not self._asked_at:
            # What it still owes takes as long as any answer of its.
            wait = min(max(QUIET, 1.5 * self.idle.slowest), most) - (monotonic() - self.used_at)
            if wait <= 0 or wait_for_read(self.sock, wait):
                self._look_behind((TimedSocket, TimedTlsSocket))

    def _look_behind(self, kinds: tuple[type[socket.socket], ...]) -> None:
        sock: Any = self.sock if isinstance(self.sock, kinds) else None
        if sock is not None and (data := sock.left_over()):
            self.found_unasked(data)

    def close(self) -> None:
        # It may be another thread that closes, or the interpreter on its way out: nothing here may raise, and
        # TLS is for one thread.
        if self.unproven and not self._asked_at:
            self._look_behind((TimedSocket,))
        super().close()

    def can_serve(self, ahead: float = 0.0) -> bool:
        """Whether a request may go over it in so many seconds: quiet, all read, not idle too long."""
        if self._stream is not None and not (self._stream.isclosed() and self._stream.is_reusable):
            return False
        if self.sock is not None and not self.serves and not isinstance(self.sock, socket.socket):
            return True  # new, and TLS within TLS: session tickets look like an answer there
        now = monotonic()
        if self.sock is None or (self.serves and not self._is_trusted(now - self.used_at, ahead)):
            return False
        if now - self._quiet_at > _MOMENT:
            self._quiet_at = now if self.is_connected else 0.0
            if self._quiet_at and self.idle is not None and self._proved != self.serves:
                self._proved = self.serves
                self.idle.proofs += not self.idle.doubt(now - self.used_at)
                if now - self.used_at >= QUIET:
                    self.unproven = 0
        return bool(self._quiet_at)

    def _is_trusted(self, idle: float, ahead: float) -> bool:
        """Whether a connection that was idle so long (s) is to serve again in `ahead` seconds."""
        limit = self.idle
        if limit is None:
            return True
        return not (limit.has_surplus or limit.is_over(idle + ahead) or limit.doubt(idle + ahead))

    def request(  # type: ignore[override]  # urllib3 differs from http.client
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        *,
        chunked: bool = False,
        preload_content: bool = True,
        decode_content: bool = True,
        enforce_content_length: bool = True,
    ) -> None:
        self._asked = (method, url, {"preload_content": preload_content, "decode_content": decode_content})
        fields, pieces = framed(method, body, headers or {}, chunked=chunked)
        self.send_message(request_head(method, url, [*self._own_fields(url, fields), *fields]), pieces)

    def _own_fields(self, url: str, fields: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
        names = {lower(name) for name, _ in fields}
        own: list[tuple[str, Any]] = [("Host", self.host_field(url)), ("Accept-Encoding", "identity")]
        own.append(("User-Agent", f"python-urllib3/{_urllib3()}"))
        return [(name, value) for name, value in own if name.lower() not in names]

    def host_field(self, target: str) -> str:
        """The value of Host for a request's target (RFC 9112 3.2)."""
        if "://" in target:  # to a proxy
            return target.split("/", 3)[2].rpartition("@")[2]
        tunnel = getattr(self, "_tunnel_host", None)
        host, port = (tunnel, self._tunnel_port) if tunnel else (self.host, self.port)
        host = f"[{host}]" if ":" in host and host[:1] != "[" else host
        return host if port == self.default_port else f"{host}:{port}"

    def send_message(self, head: bytes, pieces: Iterable[bytes]) -> None:
        """Wait for the slot, connect where there is no connection that may serve, and send."""
        if (doubt := self.doubt) and wait_for_read(self.sock, doubt):
            self._quiet_at = monotonic() if self.is_connected else 0.0
        limiter = current.limiter
        if limiter is None:
            self._connect(0.0)
        else:
            began = monotonic()
            is_early = limiter.wait(CONNECT_AHEAD)
            waited = monotonic() - began
            if is_early or self.sock is None:
                self._connect(CONNECT_AHEAD)
            began = monotonic()
            limiter.enter()
            current.waited = waited + monotonic() - began
            current.deadline += current.waited
            try:
                self._connect(0.0)
            except BaseException:
                limiter.failed()
                raise
        current.is_reused = self.serves > 0
        self._was_idle = monotonic() - self.used_at
        self._send(head, pieces)

    @property
    def doubt(self) -> float:
        """Seconds that it has to stay quiet before it may serve again: little is known of its server."""
        if self.sock is None or not self.serves or self.idle is None:
            return 0.0
        return self.idle.doubt(monotonic() - self.used_at)

    def _connect(self, ahead: float) -> None:
        """Have a connection that may serve in so many seconds."""
        if self.sock is not None and not self.can_serve(ahead):
            is_tunnel = self.proxy is not None and self._tunnel_host is not None
            self.close()
            if is_tunnel:
                current.needs_tunnel = True  # only urllib3 can build another
                raise ConnectionResetError("the tunnel was closed")
        if self.sock is None:
            self.connect()

    def _send(self, head: bytes, pieces: Iterable[bytes]) -> None:
        sock: Any = self.sock
        self._sent, self._quiet_at, self._asked_at = 0, 0.0, monotonic()
        try:
            for piece in pieces:
                self._send_all(sock, head + piece)
                head = b""
            if head:
                self._send_all(sock, head)
        except BrokenPipeError:
            raise  # the answer may be here already; urllib3 looks for it
        except BaseException:
            self.close()
            raise

    def _send_all(self, sock: Any, data: bytes) -> None:
        left = sock.push(data) if isinstance(sock, TimedSocket) else data
        if left:
            sock.settimeout(self.timeout)
            sock.sendall(left)
        self._sent += len(data)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        method, url, options = self._asked
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        self._stream = stream = ResponseStream(self, method, timeout, current.deadline, current.max_body)
        try:
            head = stream.read_head()
        except BaseException as error:
            if isinstance(error, ConnectFailed | ConnectionError) and not stream.has_begun:
                self.broke()
            self.close()
            if isinstance(error, LengthConflict):
                raise urllib3.exceptions.InvalidHeader(error.message) from error
            if isinstance(error, FetchError):
                raise urllib3.exceptions.ProtocolError(str(error), error) from error
            raise
        if self.is_premature:
            self.close()
            raise urllib3.exceptions.ProtocolError(PREMATURE, BadAnswer(PREMATURE))
        if self.is_stale(head):
            self.broke()
            self.close()
            raise ConnectionResetError(STALE)
        self.answered(head.headers.get("keep-alive"))
        if current.limiter is not None:
            current.limiter.answered()
        return response_of(stream, head, method, current.max_body, request_url=url, **options)

    def is_stale(self, head: ResponseHead) -> bool:
        """Whether an answer tells that a kept connection was idle too long, sent as our request left.

        RFC 9110 15.5.9; Chromium asks again on a new connection too.
        """
        return head.status == _IDLE_TOO_LONG and self.serves > 0 and "retry-after" not in head.headers

    @property
    def is_premature(self) -> bool:
        """Whether what comes over a kept connection was sent before anything of our request arrived.

        An answer acknowledges the request that it answers (RFC 9293 3.4): as long as nothing of it is
        acknowledged, what comes is left over from an earlier answer.
        """
        return 0 < self._sent <= unacknowledged(self.sock) if self.serves else False

    def broke(self) -> None:
        """Note that no answer came: a kept connection was closed under the request."""
        if self.serves and self.idle is not None:
            self.idle.seen(self._was_idle)

    def answered(self, keep_alive: str | None) -> None:
        """Note that an answer came, and what it says of the connection."""
        self.serves += 1
        self.unproven += self.serves > 1
        self.used_at = monotonic()
        if self.idle is not None:
            self.idle.slowest = max(self.idle.slowest, self.used_at - self._asked_at)
        self._asked_at = 0.0
        if keep_alive and self.idle is not None:
            self.idle.told(keep_alive)


class LimitedTlsConnection(LimitedConnection, HTTPSConnection):
    """The same over TLS."""

    def _tunnel(self) -> None:
        proxied: Any = self
        host, port, headers = proxied._tunnel_host, proxied._tunnel_port, proxied._tunnel_headers
        timeout = self.timeout if isinstance(self.timeout, int | float) else None
        try:
            open_tunnel(self.sock, host, port, headers, timeout, current.deadline)
        except (FetchError, OSError) as error:
            self.close()
            raise urllib3.exceptions.ProxyError(f"CONNECT: {error}", error) from error
