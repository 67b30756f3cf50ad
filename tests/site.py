"""A scriptable web site for system tests: real HTTP/1.1 on 127.0.0.x, good and bad behaviour as a table.

site["/"] = page("/a", "/b")                     # HTML with these links
site["/a"] = "text", 200, {"ETag": '"1"'}          # body, status, headers
site["/b"] = [Reply(503, headers={"Retry-After": "1"}), "at last"]    # in turn, the last one stays
site["/c"] = lambda arrival: Reply(body=arrival.headers.get("cookie", ""))
site["/d"] = Reply(raw=b"not HTTP at all")         # these bytes, then the connection closes
"""

import contextlib
import html
import itertools
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request as the site saw it. `connection` numbers the TCP connections of a site from 1."""

    at: float  # time.monotonic(), before the request was read further than its header
    wall: float  # time.time(), the same moment
    method: str
    path: str  # with its query
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    connection: int
    protocol: str = "HTTP/1.1"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Faults: `wait` before its first byte, `drip` between bytes, `cut` after so many bytes.

    `raw`: these bytes instead of an HTTP answer. `reset`: a TCP reset where the body would begin, or, with
    `status` 0, instead of any answer. `close`: close the connection after the answer without saying so.
    """

    status: int = 200
    body: bytes | str = b""
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = field(default_factory=dict)
    wait: float = 0.0
    drip: float = 0.0
    cut: int | None = None
    raw: bytes | None = None
    reset: bool = False
    close: bool = False


Scripted = Reply | str | bytes | int | tuple[Any, ...] | list[Any] | Callable[[Arrival], Any]


def page(*links: str, title: str = "page", text: str = "", nofollow: Sequence[str] = ()) -> Reply:
    """An HTML page with a title, a text and these links."""
    anchors = [f'<li><a href="{html.escape(link)}">{html.escape(link)}</a></li>' for link in links]
    anchors += [f'<li><a rel="nofollow" href="{html.escape(link)}">no</a></li>' for link in nofollow]
    body = (
        f'<!doctype html><html><head><meta charset="utf-8"><title>{html.escape(title)}</title></head>'
        f"<body><h1>{html.escape(title)}</h1><p>{html.escape(text)}</p><ul>{''.join(anchors)}</ul></body></html>"
    )
    return Reply(200, body, {"Content-Type": "text/html; charset=utf-8"})


def redirect(to: str, status: int = 302) -> Reply:
    """A redirect to another URL or path."""
    return Reply(status, "", {"Location": to})


class Site:
    """A web site on loopback; `arrivals` is its access log, `site[path]` what a path answers.

    A path is looked up with its query first, then without; the path "*" answers what no other does (404).
    """

    def __init__(
        self, pages: Mapping[str, Scripted] | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.pages: dict[str, Scripted] = dict(pages or {})
        self.arrivals: list[Arrival] = []
        self._batches: dict[tuple[str, int], int] = {}
        self._lock = threading.Lock()
        self._server = _Server((host, port), _Handler)
        self._server.site = self
        self.host = host
        self.port: int = self._server.server_port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def __setitem__(self, path: str, scripted: Scripted) -> None:
        self.pages[path] = scripted

    def url(self, path: str = "/") -> str:
        """The absolute URL of a path."""
        return f"http://{self.host}:{self.port}{path}"

    def paths(self, robots: bool = False) -> list[str]:
        """Paths asked for, in order of arrival, robots.txt only where wanted."""
        return [a.path for a in self.arrivals if robots or a.path != "/robots.txt"]

    def gaps(self) -> list[float]:
        """Seconds between each request and the one before it, whatever they asked for."""
        times = sorted(a.at for a in self.arrivals)
        return [later - earlier for earlier, later in itertools.pairwise(times)]

    def stop(self) -> None:
        """Stop listening and drop every connection."""
        self._server.shutdown()
        self._server.server_close()
        self._server.drop()
        self._thread.join(5)

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def reply_to(self, arrival: Arrival) -> Reply:
        """Log a request and say what to answer."""
        bare = arrival.path.partition("?")[0]
        with self._lock:
            self.arrivals.append(arrival)
            key = next((k for k in (arrival.path, bare, "*") if k in self.pages), None)
            scripted = self.pages[key] if key is not None else Reply(404, "nothing here")
            if isinstance(scripted, list):
                batch = self._batches.get((str(key), id(scripted)), 0)
                self._batches[(str(key), id(scripted))] = batch + 1
                scripted = scripted[min(batch, len(scripted) - 1)]
        return _as_reply(scripted, arrival)


def _as_reply(scripted: Scripted, arrival: Arrival) -> Reply:
    if isinstance(scripted, Reply):
        return scripted
    if isinstance(scripted, str | bytes):
        return Reply(200, scripted, {"Content-Type": "text/html; charset=utf-8"})
    if isinstance(scripted, int):
        return Reply(scripted)
    if isinstance(scripted, tuple):
        return Reply(**dict(zip(("body", "status", "headers"), scripted, strict=False)))
    if callable(scripted):
        return _as_reply(scripted(arrival), arrival)
    raise TypeError(f"cannot answer {arrival.path} with {scripted!r}")


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    site: Site

    def __init__(self, *args: Any) -> None:
        self._numbers = itertools.count(1)
        self._open: dict[int, socket.socket] = {}
        super().__init__(*args)

    def server_bind(self) -> None:
        # The base class looks up its own name in DNS, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def number(self, connection: socket.socket) -> int:
        number = next(self._numbers)
        self._open[number] = connection
        return number

    def forget(self, number: int) -> None:
        self._open.pop(number, None)

    def drop(self) -> None:
        for connection in list(self._open.values()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what these tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.number = self.server.number(self.connection)

    def finish(self) -> None:
        self.server.forget(self.number)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, *_: Any) -> None:
        """The arrivals are the log."""

    def answer(self) -> None:
        at, wall = time.monotonic(), time.time()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        arrival = Arrival(at, wall, self.command, self.path, headers, body, self.number, self.request_version)
        reply = self.server.site.reply_to(arrival)
        if reply.wait:
            time.sleep(reply.wait)
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer

    def _send(self, reply: Reply) -> None:
        content = reply.body.encode() if isinstance(reply.body, str) else reply.body
        head = b"" if reply.status == 0 else self._head(reply, len(content))
        has_body = self.command != "HEAD" and reply.status not in (204, 304)
        message = head + (content if has_body else b"")
        if reply.raw is not None:
            message = reply.raw
        if reply.reset:
            message = head + (content[: reply.cut] if reply.cut is not None else b"")
        elif reply.cut is not None:
            message = head + content[: reply.cut]
        self._write(message, reply.drip)
        if reply.reset:
            self._reset()
        faulty = reply.raw is not None or reply.reset or reply.cut is not None or reply.status == 0
        self.close_connection = self.close_connection or faulty or reply.close

    def _head(self, reply: Reply, length: int) -> bytes:
        fields = list(reply.headers.items()) if isinstance(reply.headers, Mapping) else list(reply.headers)
        names = {name.lower() for name, _ in fields}
        if not names & {"content-length", "transfer-encoding"} and reply.status not in (204, 304):
            fields.append(("Content-Length", str(length)))
        if "date" not in names:
            fields.append(("Date", self.date_time_string()))
        phrase = self.responses.get(reply.status, ("", ""))[0]
        lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in fields)]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _write(self, message: bytes, drip: float) -> None:
        with contextlib.suppress(OSError):
            if not drip:
                self.wfile.write(message)
                return
            for byte in message:
                self.wfile.write(bytes([byte]))
                time.sleep(drip)

    def _reset(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()
