"""A bookshop on loopback that behaves as shops on the web do: `python -m scraper.testing.bookshop`.

A cookie that book pages ask for, strong ETags, a robots.txt with a part that is closed, a page that is busy
once (503, Retry-After: 1), a book that has moved, one that is gone, and links that say nofollow.
"""

import argparse
import contextlib
import hashlib
import socket
import socketserver
import threading
from email.utils import formatdate
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from urllib.parse import parse_qs, quote

from scraper.errors import SpiderError
from scraper.model.frozen import frozen
from scraper.ops.clock import monotonic
from scraper.testing import shopfront

PORT = 8907
SERVER = "bookshop"
_MAX_HEADERS = 100
_MAX_LINE = 8192


@frozen
class Hit:
    """One request as the shop saw it; `at` in seconds of `clock.monotonic`, header names in lower case."""

    at: float
    method: str
    path: str
    headers: dict[str, str]


@frozen
class Answer:
    """One answer, ready to be sent; `etag` only where the page may be asked for conditionally."""

    status: int
    body: bytes
    fields: tuple[tuple[str, str], ...] = ()
    etag: str = ""


class Bookshop:
    """The shop as a server in threads of this process; `log` holds every request it got."""

    def __init__(self, port: int = 0) -> None:
        self.log: list[Hit] = []
        self._pages: dict[str, Answer] = {}
        self._was_busy = threading.Event()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.shop = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def url(self, path: str = "/") -> str:
        """The absolute URL of a path."""
        return f"http://127.0.0.1:{self._server.server_address[1]}{path}"

    def start(self) -> "Bookshop":
        """Open the shop."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close the shop and every connection to it."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()
        self._server.drop_connections()

    def __enter__(self) -> "Bookshop":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def answer(self, hit: Hit) -> Answer:
        """What the shop says to a request."""
        self.log.append(hit)
        path, _, query = hit.path.partition("?")
        if hit.method not in ("GET", "HEAD"):
            return _plain(405, "This shop only shows its books.", ("Allow", "GET, HEAD"))
        if path == "/welcome":
            return self._welcome(query)
        has_cookie = "visit=" in hit.headers.get("cookie", "")
        if path.startswith("/book/") and not has_cookie:
            return _plain(302, "This way, please.", ("Location", f"/welcome?to={quote(path)}"))
        if "add-to-basket" in query:
            return _plain(302, "It is in your basket.", ("Location", "/checkout/basket"))
        if path == shopfront.BUSY.path and not self._was_busy.is_set():
            self._was_busy.set()
            return _plain(503, "Back in a second.", ("Retry-After", "1"))
        page = self._page(hit.path)
        if page.etag and page.etag in _etags(hit.headers.get("if-none-match", "")):
            return Answer(304, b"", page.fields, page.etag)
        if path == "/" and not has_cookie:
            return Answer(page.status, page.body, (*page.fields, _COOKIE), page.etag)
        return page

    def _welcome(self, query: str) -> Answer:
        back = parse_qs(query).get("to", ["/"])[0]
        return _plain(302, "Welcome.", ("Location", back if shopfront.page(back) else "/"), _COOKIE)

    def _page(self, path: str) -> Answer:
        page = self._pages.get(path)
        if page is None:
            page = self._build(path)
            if page.status != 404:  # what can be asked for without end is not kept
                self._pages[path] = page
        return page

    def _build(self, path: str) -> Answer:
        if path == "/robots.txt":
            return _kept(shopfront.robots(self.url("/sitemap.xml")), "text/plain")
        if path == "/sitemap.xml":
            return _kept(shopfront.sitemap(map(self.url, shopfront.paths())), "application/xml")
        if path == shopfront.OLD_PATH:
            return _plain(301, "This book has moved.", ("Location", shopfront.MOVED.path))
        html = shopfront.page(path)
        return _kept(html) if html is not None else Answer(404, shopfront.NOT_FOUND.encode(), _HTML)


_HTML = (("Content-Type", "text/html; charset=utf-8"),)
_COOKIE = ("Set-Cookie", "visit=welcome-back; Path=/; HttpOnly; SameSite=Lax")


def _kept(text: str, kind: str = "text/html") -> Answer:
    body = text.encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
    return Answer(
        200, body, (("Content-Type", f"{kind}; charset=utf-8"), ("Cache-Control", "no-cache")), etag
    )


def _plain(status: int, text: str, *fields: tuple[str, str]) -> Answer:
    return Answer(status, f"{text}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"), *fields))


def _etags(value: str) -> set[str]:
    return {tag.strip().removeprefix("W/") for tag in value.split(",")}


class _Server(socketserver.ThreadingTCPServer):
    """Threads of `socketserver`; its own few lines of HTTP, because it shares a process with a crawler."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    shop: Bookshop

    def __init__(self, address: tuple[str, int], handler: type["_Handler"]) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def drop_connections(self) -> None:
        for connection in tuple(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A visitor who leaves in the middle of a page is no news."""


class _Handler(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True
    timeout = 60
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def finish(self) -> None:
        self.server.connections.discard(self.connection)
        super().finish()

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while self._serve_one():
                pass

    def _serve_one(self) -> bool:
        """Answer one request; whether the connection may be used again."""
        line = self.rfile.readline(_MAX_LINE)
        at = monotonic()
        words = line.decode("latin-1").split()
        if not words:
            return False
        headers = self._headers()
        if headers is None or len(words) != 3 or not words[1].startswith("/"):
            self._send(_plain(400, "That is no request."), "GET", is_last=True)
            return False
        method, path, version = words
        is_last = (
            version != "HTTP/1.1"
            or headers.get("connection", "").lower() == "close"
            or method not in ("GET", "HEAD")
        )
        self._send(self.server.shop.answer(Hit(at, method, path, headers)), method, is_last)
        return not is_last

    def _headers(self) -> dict[str, str] | None:
        headers: dict[str, str] = {}
        for _ in range(_MAX_HEADERS):
            line = self.rfile.readline(_MAX_LINE)
            if line in (b"\r\n", b"\n"):
                return headers
            name, colon, value = line.decode("latin-1").partition(":")
            if not colon or not line.endswith(b"\n"):
                return None
            headers[name.lower()] = value.strip()
        return None

    def _send(self, answer: Answer, method: str, is_last: bool) -> None:
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Server: {SERVER}"]
        lines.append(f"Date: {formatdate(usegmt=True)}")
        lines += [f"{name}: {value}" for name, value in answer.fields]
        if answer.etag:
            lines.append(f"ETag: {answer.etag}")
        if answer.status != 304:
            lines.append(f"Content-Length: {len(answer.body)}")
        if is_last:
            lines.append("Connection: close")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        # One write: a head that travels alone waits for the other side's delayed acknowledgement.
        self.wfile.write(head if method == "HEAD" else head + answer.body)


def open_shop(port: int = PORT) -> Bookshop | None:
    """The shop on a port of this machine, or None where one is open there already."""
    try:
        return Bookshop(port).start()
    except (OSError, OverflowError) as error:
        if _is_open(port):
            return None
        hint = f"choose another: --param port={port + 1}" if port < 65535 else "choose another"
        raise SpiderError(f"the bookshop cannot open on port {port}: {error}", hint) from None


def _is_open(port: int) -> bool:
    try:
        with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=2)) as connection:
            connection.request("HEAD", "/robots.txt")
            return connection.getresponse().getheader("Server") == SERVER
    except (OSError, OverflowError, HTTPException):
        return False


def main() -> None:
    """Keep the shop open until Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m scraper.testing.bookshop", description="A bookshop on loopback."
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port on 127.0.0.1 (default {PORT})")
    shop = open_shop(parser.parse_args().port)
    if shop is None:
        raise SystemExit("a bookshop is open there already")
    print(f"The bookshop is open at {shop.url()} (Ctrl-C closes it)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    shop.stop()


if __name__ == "__main__":
    main()
