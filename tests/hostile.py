"""Sites that answer without end or out of all proportion, for tests of who else is slowed down by them.

`python -m tests.hostile` serves one of each kind, each on an address of its own, and prints their URLs as
JSON; `dear` as an argument: those whose pages are sound and take long to parse. Their robots.txt is a plain
404, and nothing they send does harm to a reader that has bounds.
"""

import contextlib
import gzip
import itertools
import json
import socket
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = OK + b"Content-Encoding: gzip\r\n"
PAGE = OK + b"Content-Length: 4\r\n\r\npage"
MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _endless(start: bytes, piece: bytes) -> Callable[[], Iterable[bytes]]:
    return lambda: itertools.chain([start], itertools.repeat(piece))


def _byte_by_byte(start: bytes, pause: float) -> Callable[[], Iterator[bytes]]:
    def pieces() -> Iterator[bytes]:
        for byte in itertools.chain(start, itertools.cycle(b"1\r\nx\r\n")):
            yield bytes([byte])
            time.sleep(pause)

    return pieces


def _bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    body = b"".join(packer.compress(bytes(2**20)) for _ in range(64)) + packer.flush()
    yield GZIPPED + b"Content-Length: %d\r\n\r\n" % len(body) + body


KINDS: dict[str, Callable[[], Iterable[bytes]]] = {
    "chunks of one byte": _endless(CHUNKED, b"1\r\nx\r\n" * 4000),
    "chunks with long extensions": _endless(CHUNKED, (b"1;" + b"e" * 4000 + b"\r\nx\r\n") * 16),
    "trailers without end": _endless(CHUNKED + b"0\r\n", b"X-T: y\r\n" * 4000),
    "interim answers without end": _endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000),
    "fields without end": _endless(OK, b"a:\r\n" * 8000),
    "one field without end": _endless(OK + b"X: ", b"y" * 65536),
    "a body without end": _endless(OK + b"\r\n", b"x" * 65536),
    "a body out of all proportion": _bomb,
    "gzip members without content": _endless(GZIPPED + b"\r\n", gzip.compress(b"") * 2000),
    "single bytes as fast as they go": _byte_by_byte(CHUNKED, 0.0),
    "single bytes now and then": _byte_by_byte(OK, 0.002),
    "answers that nobody asked for": _endless(PAGE, PAGE * 1000),
}


def _page(body: str) -> Callable[[], list[bytes]]:
    html = f"<!DOCTYPE html><html><head><title>dear</title></head><body>{body}</body></html>".encode()
    return lambda: [OK + b"Content-Length: %d\r\n\r\n" % len(html) + html]


DEAR: dict[str, Callable[[], Iterable[bytes]]] = {
    "fifty thousand links": _page("".join(f'<a href="/{n}?n={n}">{n}</a> ' for n in range(50_000))),
    "a hundred thousand elements": _page("<p>x</p>" * 100_000),
    "a table that is none": _page("<table>" + "<tr><div>x</div><td>y" * 10_000 + "</table>"),
    "lists within headings": _page("<li><h1><h2>x</li>" * 20_000),
    "formats crosswise": _page("<b><i><p>x</b></i></p>" * 3_000),
    "five megabytes of text": _page("word &amp; word " * 350_000),
    "a thousand elements deep, often": _page(("<div>" * 1000 + "x" + "</div>" * 1000) * 20),
    "many attributes": _page("<div " + " ".join(f'a{n}="{n}"' for n in range(10_000)) + ">x</div>"),
    "little text, many comments": _page("<!-- x --><br>" * 60_000),
    "drawings and templates": _page("<svg><p>x</p></svg><template><div>y</div></template>" * 5_000),
    "small, all left open": _page("<div><p>text<span>" * 1_500),
    "few letters for much": lambda: [_packed("<p>word</p>" * 100_000)],
}


def _packed(body: str) -> bytes:
    packed = gzip.compress(f"<title>dear</title>{body}".encode())
    return GZIPPED + b"Content-Length: %d\r\n\r\n" % len(packed) + packed


def _serve(client: socket.socket, pieces: Callable[[], Iterable[bytes]]) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    with contextlib.suppress(OSError), client:
        while True:
            while b"\r\n\r\n" not in data:
                received = client.recv(65536)
                if not received:
                    return
                data += received
            head, _, data = data.partition(b"\r\n\r\n")
            for piece in [MISSING] if b"/robots.txt" in head else pieces():
                client.sendall(piece)


def _accept(server: socket.socket, pieces: Callable[[], Iterable[bytes]]) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, pieces), daemon=True).start()


def serve_all(kinds: dict[str, Callable[[], Iterable[bytes]]]) -> dict[str, str]:
    """Serve every kind in threads of this process: their URLs by kind."""
    urls = {}
    for number, (kind, pieces) in enumerate(kinds.items(), 1):
        server = socket.create_server((f"127.0.3.{number}", 0))
        threading.Thread(target=_accept, args=(server, pieces), daemon=True).start()
        urls[kind] = f"http://127.0.3.{number}:{server.getsockname()[1]}/"
    return urls


if __name__ == "__main__":
    print(json.dumps(serve_all(DEAR if sys.argv[1:] == ["dear"] else KINDS)), flush=True)
    sys.stdin.read()
