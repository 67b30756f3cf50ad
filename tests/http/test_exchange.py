"""Every answer belongs to its request, whatever a server says too much, too little or too late."""

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import brotli
import pytest
import requests
from backports import zstd

from scraper.errors import BadAnswer, FetchError, Unsendable
from scraper.http import connection
from scraper.http.exchange import exchange
from scraper.http.idle_limit import PROOFS, IdleLimit
from scraper.http.session import DomainSession
from scraper.http.timed_sockets import TimedSocket, unacknowledged
from scraper.ops.clock import SystemClock
from scraper.politeness.rate_limiter import RateLimiter
from tests.site import Reply, Site, page

CLOCK = SystemClock()
WAYS = ("exchange", "get")


def session_of(delay: float = 0.0, timeout: float = 5.0, connections: int = 1) -> DomainSession:
    limiter, patience = RateLimiter(CLOCK, delay), (timeout, timeout)
    return DomainSession("127.0.0.1", limiter=limiter, clock=CLOCK, timeout=patience, connections=connections)


def ask(session: DomainSession, way: str, url: str, **request: Any) -> str:
    """The text of an answer, whichever way it was asked for."""
    if way == "get":
        return session.get(url, **request).text
    answer = exchange(session, "GET", url, request.get("headers"))
    if answer.response is None:
        raise answer.error or FetchError("no answer")
    return answer.response.content.decode()


class RawServer:
    """A server that answers each request with what `answer(path)` gives: (delay, bytes) pairs.

    `seen`: request lines in order, with the number of the connection.
    """

    def __init__(self, answer: Callable[[str], list[tuple[float, bytes]]], idle: float = 5.0) -> None:
        self.seen: list[tuple[int, str]] = []
        self._answer = answer
        self._idle = idle
        self._socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}{path}"

    def _accept(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                number += 1
                threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client: socket.socket, number: int) -> None:
        data = b""
        with contextlib.suppress(OSError), client:
            client.settimeout(self._idle)
            while True:
                while b"\r\n\r\n" not in data:
                    received = client.recv(65536)
                    if not received:
                        return
                    data += received
                head, _, data = data.partition(b"\r\n\r\n")
                self.seen.append((number, head.split(b"\r\n")[0].decode()))
                for delay, piece in self._answer(head.split(b" ")[1].decode()):
                    time.sleep(delay)
                    client.sendall(piece)

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def make(*arguments: Any) -> RawServer:
        servers.append(RawServer(*arguments))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def ok(body: str, fields: str = "") -> bytes:
    return f"HTTP/1.1 200 OK\r\n{fields}Content-Length: {len(body)}\r\n\r\n{body}".encode()


# answers and their requests ---------------------------------------------------------------------------------
@pytest.mark.parametrize("way", WAYS)
def test_after_early_hints_every_url_gets_its_own_page(
    raw_server: Callable[..., RawServer], way: str
) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    server = raw_server(lambda path: [(0.0, hints), (0.01, hints), (0.01, ok(path))])
    session = session_of()
    assert [ask(session, way, server.url(f"/{n}")) for n in range(6)] == [f"/{n}" for n in range(6)]
    assert {number for number, _ in server.seen} == {1}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("late", [0.0, 0.03])
def test_a_second_answer_to_one_request_is_nobodys(
    raw_server: Callable[..., RawServer], way: str, late: float
) -> None:
    server = raw_server(lambda path: [(0.0, ok(path)), (late, ok("forged"))])
    session = session_of(delay=0.08)
    assert [ask(session, way, server.url(f"/{n}")) for n in range(4)] == [f"/{n}" for n in range(4)]
    assert [number for number, _ in server.seen] == [1, 2, 3, 4]


@pytest.mark.parametrize("way", WAYS)
def test_without_a_delay_too_a_server_that_answers_twice_is_found_out(
    raw_server: Callable[..., RawServer], way: str
) -> None:
    server = raw_server(lambda path: [(0.0, ok(path)), (0.03, ok("forged"))])
    session = session_of()
    assert [ask(session, way, server.url(f"/{n}")) for n in range(5)] == [f"/{n}" for n in range(5)]
    assert [number for number, _ in server.seen] == [1, 2, 3, 4, 5]
    limit = session.adapter.pool(server.url("")).idle  # type: ignore[attr-defined]
    assert limit.has_surplus and not limit.proofs


def after_some(more: bytes) -> Callable[[str], list[tuple[float, bytes]]]:
    """Answers behind which, from the eighth on, more comes a little later."""
    numbers = count(1)
    return lambda path: [(0.0, ok(path)), (0.01, more if next(numbers) > PROOFS + 4 else b"")]


@pytest.mark.parametrize("way", WAYS)
def test_one_that_begins_to_answer_twice_later_on_is_found_out_at_the_end_and_remembered(
    raw_server: Callable[..., RawServer], way: str
) -> None:
    server, session = raw_server(after_some(ok("forged"))), session_of()
    asked = [f"/{n}" for n in range(PROOFS + 20)]
    heard = [ask(session, way, server.url(path)) for path in asked]
    session.adapter.look()
    wrong = sum(path != text for path, text in zip(asked, heard, strict=True))
    assert 0 < wrong <= session.adapter.take_mixed_up() and not session.adapter.take_mixed_up()

    later = session_of()
    later.load(session.dump_changes() or "")
    assert [ask(later, way, server.url(path)) for path in asked] == asked
    assert later.meter.connects == len(asked)


def test_a_session_that_may_have_four_connections_and_has_one_is_looked_at_too(
    raw_server: Callable[..., RawServer],
) -> None:
    server, session = raw_server(lambda path: [(0.0, ok(path))]), session_of(connections=4)
    assert ask(session, "exchange", server.url("/1")) == "/1"
    session.adapter.look(0.0)
    assert session.adapter.open_connections == 1 and not session.adapter.take_mixed_up()


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_is_closed_at_once_by_whichever_thread(
    raw_server: Callable[..., RawServer], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, session = raw_server(lambda path: [(0.0, ok(path))]), session_of(timeout=3600.0)
    for n in range(PROOFS + 2):
        assert ask(session, way, server.url(f"/{n}")) == f"/{n}"

    def raises(sock: object) -> bool:
        raise RuntimeError("concurrent poll() invocation")  # as where the other thread looks too

    monkeypatch.setattr(TimedSocket, "is_quiet", raises)
    pools: Any = session.adapter.poolmanager.pools
    (idle,) = [one for key in pools.keys() for one in pools[key].pool.queue if one]  # noqa: SIM118
    session.disconnect()
    assert idle.sock is None and not session.adapter.take_mixed_up()


@pytest.mark.parametrize("more", [b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n"])
def test_what_is_no_answer_to_a_request_mixes_nothing_up(
    raw_server: Callable[..., RawServer], more: bytes
) -> None:
    server, session = raw_server(after_some(more)), session_of()
    for n in range(PROOFS + 5):
        assert ask(session, "exchange", server.url(f"/{n}")) == f"/{n}"
    session.adapter.look()
    limit = session.adapter.pool(server.url("")).idle  # type: ignore[attr-defined]
    assert limit.has_surplus and not session.adapter.take_mixed_up()


@pytest.mark.parametrize("way", WAYS)
def test_a_server_that_was_quiet_a_few_times_is_waited_for_no_more(
    raw_server: Callable[..., RawServer], way: str
) -> None:
    server, session = raw_server(lambda path: [(0.0, ok(path))]), session_of()
    assert [ask(session, way, server.url(f"/{n}")) for n in range(9)] == [f"/{n}" for n in range(9)]
    limit = session.adapter.pool(server.url("")).idle  # type: ignore[attr-defined]
    assert limit.proofs >= PROOFS and not limit.doubt(0.0) and {number for number, _ in server.seen} == {1}


def test_what_the_other_side_has_not_received_is_counted() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert unacknowledged(ours) >= 18
        theirs.recv(100)
        assert unacknowledged(ours) == 0


@pytest.mark.parametrize("way", WAYS)
def test_what_came_before_the_request_was_received_answers_nothing(
    raw_server: Callable[..., RawServer], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, session = raw_server(lambda path: [(0.0, ok(path))]), session_of()
    ask(session, way, server.url("/a"))
    with monkeypatch.context() as patch:
        patch.setattr(connection, "unacknowledged", lambda sock: 10_000)
        if way == "get":  # asked again at once
            assert ask(session, way, server.url("/b")) == "/b"
        else:
            with pytest.raises(BadAnswer, match="belongs to no request"):
                ask(session, way, server.url("/b"))
    assert ask(session, way, server.url("/c")) == "/c"
    assert [number for number, _ in server.seen][:3] == [1, 1, 2], "the next goes over a new connection"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("field", ["Server Name: x", "X : y", "X-Größe: 1", "no colon"])
def test_a_field_that_is_none_loses_no_other_and_ends_the_connection(
    raw_server: Callable[..., RawServer], way: str, field: str
) -> None:
    packed = gzip.compress(b"the page")
    answer = f"HTTP/1.1 200 OK\r\n{field}\r\nSet-Cookie: a=1\r\nContent-Encoding: gzip\r\n".encode()
    answer += b"Content-Length: %d\r\n\r\n%b" % (len(packed), packed)
    server, session = raw_server(lambda path: [(0.0, answer)]), session_of()
    assert [ask(session, way, server.url()) for _ in range(3)] == ["the page"] * 3
    assert session.cookies["a"] == "1" and [number for number, _ in server.seen] == [1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [{"X-Token": "S", "X-CSRF": "a\r\nX: b"}, {"X-Token": "S", "X-CSRF": "\u20ac"}, {"X Y": "S"}],
)
def test_a_request_that_cannot_be_sent_leaves_nothing_for_the_next(
    site: Site, way: str, headers: dict[str, str]
) -> None:
    site["/secret"], site["/1"] = "secret", "one"
    session = session_of()
    assert ask(session, way, site.url("/1")) == "one"
    with pytest.raises((Unsendable, requests.exceptions.InvalidHeader)):
        ask(session, way, site.url("/secret"), headers=headers)
    assert ask(session, way, site.url("/1")) == "one"
    assert site.paths() == ["/1", "/1"] and "x-token" not in site.arrivals[-1].headers


@pytest.mark.parametrize("way", WAYS)
def test_a_field_that_is_none_is_left_out_also_in_those_of_the_session(site: Site, way: str) -> None:
    site["*"] = "x"
    session = session_of()
    session.headers.update({"X-Session": "s", "X-Empty": None})  # type: ignore[dict-item]  # as people write it
    ask(session, way, site.url(), headers={"X-Token": "S", "X-CSRF": None, "X-Session": None})
    sent = site.arrivals[0].headers
    assert sent["x-token"] == "S" and not {"x-csrf", "x-session", "x-empty"} & set(sent)


def test_a_body_that_breaks_off_while_it_is_sent_ends_the_connection(site: Site) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise OSError("the file is gone")

    site["*"] = lambda arrival: arrival.path
    session = session_of()
    assert session.get(site.url("/1")).text == "/1"
    with pytest.raises((OSError, requests.RequestException)):
        session.post(site.url("/2"), data=broken())
    assert session.get(site.url("/3")).text == "/3"
    assert [arrival.connection for arrival in site.arrivals if arrival.path == "/3"] == [2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("first", ["exchange", "stream"])
def test_an_answer_that_was_not_read_to_its_end_is_not_read_by_the_next(
    site: Site, way: str, first: str
) -> None:
    site["/long"], site["/1"] = "long" * 50_000, "one"
    session = session_of()
    if first == "stream":
        answer = session.get(site.url("/long"), stream=True)
        assert answer.raw.read(4) == b"long"
        answer.raw.release_conn()
    else:
        assert len(exchange(session, "GET", site.url("/long"), most=10).response.content) == 10  # type: ignore[union-attr]
    assert ask(session, way, site.url("/1")) == "one"


def test_a_stream_in_chunks_gives_each_as_it_comes(raw_server: Callable[..., RawServer]) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    server = raw_server(lambda path: [(0.0, head + b"4\r\none\n\r\n")])  # and the rest never comes
    session = session_of(timeout=2.0)
    assert next(session.get(server.url(), stream=True).iter_content(512)) == b"one\n"


# idle connections -------------------------------------------------------------------------------------------
def test_what_is_known_of_an_idle_limit_is_told_or_seen() -> None:
    limit = IdleLimit()
    assert not limit.is_over(1e9)
    limit.told("timeout=5, max=100")
    assert limit.is_over(4.0) and not limit.is_over(3.9)
    limit.seen(0.01)
    assert not limit.is_over(3.9), "so soon it was no lack of use"
    limit.seen(2.0)
    assert limit.is_over(1.0) and not limit.is_over(0.9)
    limit.told("max=3")
    assert not limit.is_over(0.9)
    limit.told("timeout=0")
    assert limit.is_over(0.0)


@pytest.mark.parametrize("way", WAYS)
def test_a_connection_that_the_server_is_about_to_close_is_not_used(
    raw_server: Callable[..., RawServer], way: str
) -> None:
    server = raw_server(lambda path: [(0.0, ok(path, "Keep-Alive: timeout=1\r\n"))])
    session = session_of(delay=0.55)
    assert [ask(session, way, server.url(f"/{n}")) for n in range(3)] == ["/0", "/1", "/2"]
    assert [number for number, _ in server.seen] == [1, 2, 3]
    quick = session_of(delay=0.05)
    assert [ask(quick, way, server.url(f"/{n}")) for n in range(3)] == ["/0", "/1", "/2"]
    assert {number for number, _ in server.seen[3:]} == {4}


def test_an_idle_limit_is_learned_from_one_closed_connection(raw_server: Callable[..., RawServer]) -> None:
    server = raw_server(lambda path: [(0.0, ok(path))], 0.6)
    session = session_of(delay=0.7)
    for number in range(4):
        assert ask(session, "exchange", server.url(f"/{number}")) == f"/{number}"
    (known,) = session.adapter.idle_limits.values()
    assert 0.5 <= known.seconds < 1.5 and session.meter.connects == 4
    other = session_of()
    other.load(session.dump_changes() or "")
    assert [limit.seconds for limit in other.adapter.idle_limits.values()] == [round(known.seconds, 1)]


# codings ----------------------------------------------------------------------------------------------------
TEXT = b"hello " * 50
GZIPPED = gzip.compress(TEXT, mtime=0)


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("UTF-8", TEXT),
        ("none", TEXT),
        ("binary", TEXT),
        ("text/html", TEXT),
        ("", TEXT),
        ("identity", TEXT),
        ("GZip", GZIPPED),
        ("x-gzip", GZIPPED),
        ("gzip, utf-8", GZIPPED),
        ("utf-8, gzip", GZIPPED),
        ("gzip, gzip", gzip.compress(GZIPPED)),
        ("gzip, gzip", GZIPPED),
        ("gzip", GZIPPED + b"padding"),
        ("gzip", gzip.compress(TEXT[:60]) + gzip.compress(TEXT[60:])),
        ("gzip", zlib.compress(TEXT)),
        ("deflate", zlib.compress(TEXT)[2:-4]),
        ("deflate", GZIPPED),
        ("br", brotli.compress(TEXT)),
        ("zstd", zstd.compress(TEXT)),
        ("zstd", zstd.compress(TEXT[:60]) + zstd.compress(TEXT[60:])),
        ("zstd", b"\x50\x2a\x4d\x18\x02\0\0\0ab" + zstd.compress(TEXT) + b"padding"),
        ("br, gzip", gzip.compress(brotli.compress(TEXT))),
    ],
    ids=count(),
)
@pytest.mark.parametrize("drip", [0.0, 0.0001], ids=["at once", "drips"])
def test_a_coding_is_undone_and_a_word_that_is_none_says_nothing(
    site: Site, coding: str, body: bytes, drip: float
) -> None:
    site["/"] = Reply(200, body, {"Content-Encoding": coding}, drip=drip)
    response = exchange(session_of(), "GET", site.url()).response
    assert response is not None and response.content == TEXT


def test_the_answer_to_head_has_no_body_to_undo(site: Site) -> None:
    for coding in ("gzip", "br", "zstd"):
        site["/"] = Reply(200, TEXT, {"Content-Encoding": coding})
        response = exchange(session_of(), "HEAD", site.url()).response
        assert response is not None and response.content == b""


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_gzip_body_that_ends_rightly_is_whole_where_the_length_was_that_before_packing(
    raw_server: Callable[..., RawServer], is_closed: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(TEXT)
    server = raw_server(lambda path: [(0.0, head + GZIPPED)], 0.1 if is_closed else 5.0)
    session = session_of()
    for _ in range(2):
        assert ask(session, "exchange", server.url()).encode() == TEXT
    assert [number for number, _ in server.seen] == [1, 2]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fields", ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"])
def test_a_transfer_coding_is_undone_too(raw_server: Callable[..., RawServer], way: str, fields: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nTransfer-Encoding: {fields}\r\n\r\n".encode()
    server = raw_server(lambda path: [(0.0, head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED))])
    session = session_of()
    assert [ask(session, way, server.url()).encode() for _ in range(2)] == [TEXT, TEXT]
    assert {number for number, _ in server.seen} == {1}


def test_a_truncated_page_stays_an_error(site: Site) -> None:
    site["/"] = Reply(200, GZIPPED[:-12], {"Content-Encoding": "gzip"})
    assert isinstance(exchange(session_of(), "GET", site.url()).error, BadAnswer)
    site["/ok"] = page(title="fine")
    assert exchange(session_of(), "GET", site.url("/ok")).response is not None
