"""What one answer may take of the thread that reads all of them: bounds that no busy machine can change."""

import contextlib
import itertools
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from scraper.http import fair_share
from scraper.http.fair_share import BURST, PER_BYTE, SHARE, FairShare
from scraper.http.framing import LINES_A_TURN
from scraper.http.http1 import Http1Exchange
from scraper.http.response_stream import CHUNK
from tests import hostile

MOST_TURNS = 60
CALLS_A_LINE = 30  # of Python's and of C's functions


class Time:
    """A thread that works, or waits, at a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.worked = 1000.0
        monkeypatch.setattr(fair_share, "monotonic", lambda: self.now)
        monkeypatch.setattr(fair_share, "thread_time", lambda: self.worked)

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.worked += seconds


@pytest.mark.parametrize("size", [0, 1000, 60_000])
@pytest.mark.parametrize("cost", [0.0001, 0.001, 0.02])
def test_an_answer_that_never_ends_takes_its_share_of_the_time_and_no_more(
    monkeypatch: pytest.MonkeyPatch, cost: float, size: int
) -> None:
    time, share, turns = Time(monkeypatch), FairShare(), 0
    began = time.now
    while time.now < began + 20:
        time.now += share.pause
        with share:
            time.work(cost)
            share.size += size
        turns += 1
    allowed = BURST + SHARE * (time.now - began) + size * PER_BYTE * turns
    assert turns * cost <= allowed + 2 * cost + 0.001 * SHARE * turns


class _Sock:
    """One end of a pair, into whose other end a hostile answer is written as far as it takes it."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._theirs.setblocking(False)
        self._pieces = itertools.chain(pieces, itertools.repeat(b""))
        self._left = b""

    def fill(self) -> None:
        while len(self._left) < CHUNK and (piece := next(self._pieces)):
            self._left += piece
        with contextlib.suppress(BlockingIOError):
            self._left = self._left[self._theirs.send(self._left) :]

    def pull(self) -> bytes:
        return self._ours.recv(CHUNK)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


class _Connection:
    is_premature = False

    def __init__(self, sock: _Sock) -> None:
        self.sock = sock

    def idle_or_new(self) -> "_Connection":
        return self


def _counted(turn: Any) -> int:
    """How many functions a call calls."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        turn()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", hostile.KINDS)
def test_a_turn_of_a_hostile_answer_is_bounded_work(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile.time, "sleep", lambda seconds: None)
    sock = _Sock(itertools.islice(iter(hostile.KINDS[kind]()), 5000))
    exchange = Http1Exchange(_Connection(sock))
    exchange._limit = 2**20
    turns = []
    while not exchange.is_over and len(turns) < MOST_TURNS:
        sock.fill()
        turns.append(_counted(exchange.pull))
    sock.close()
    assert max(turns) < CALLS_A_LINE * LINES_A_TURN
