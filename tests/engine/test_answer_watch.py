"""The answers that the I/O loop waits for: which need no watch, and which are watched."""

import selectors
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any, cast

import pytest

from scraper.engine.answer_watch import AnswerWatch
from scraper.engine.batch import Batch, BatchSteps, Work
from scraper.http.exchange import Asked
from scraper.http.http1 import Http1Exchange
from scraper.http.session import DomainSession
from scraper.testing import FakeClock

PARSED = 0.01  # seconds; longer than a site on the same machine takes


class Wire:
    """An exchange whose answer is over with the first bytes that come."""

    grace = 0.0
    has_more = has_begun = False
    looks = 0

    def __init__(self) -> None:
        self.share = cast(Any, type("Share", (), {"pause": 0.0}))
        self.site, self._ours = socket.socketpair()
        self._ours.setblocking(False)

    def fileno(self) -> int:
        return self._ours.fileno()

    def patience(self, timeout: float) -> float:
        return timeout

    def pull(self) -> bool:
        self.looks += 1
        try:
            self.has_begun = bool(self._ours.recv(100))
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self.site.close()
        self._ours.close()


class Watch:
    """An `AnswerWatch` for one request that was just sent."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.selector = selectors.DefaultSelector()
        self.wire = Wire()
        self.asked = Asked("http://a.example/", self.clock.now(), None, deadline=float("inf"))
        self.answers = AnswerWatch(self.selector, self.clock)
        session = DomainSession("a.example", clock=self.clock)
        self.steps = BatchSteps(Batch("a.example", session, deque()), cast(Work, None))

    def add(self) -> Any:
        return self.answers.add(self.steps, self.asked, cast(Http1Exchange, self.wire))


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    watch.wire.close()
    watch.selector.close()


def test_an_answer_that_came_while_a_page_was_parsed_is_taken_at_once(watch: Watch) -> None:
    watch.wire.site.send(b"answer")
    watch.clock.sleep(PARSED)
    assert watch.add() is watch.wire
    assert watch.asked.first_byte_at == watch.clock.now()
    assert not watch.answers and not watch.selector.get_map()


def test_an_answer_that_takes_longer_is_watched(watch: Watch) -> None:
    watch.clock.sleep(PARSED)
    assert watch.add() is None
    watch.wire.site.send(b"answer")
    assert [key.data for key, _ in watch.selector.select(1.0)] == [watch.steps]
    assert watch.answers.pull(watch.steps) is cast(Any, watch.wire)


def test_nobody_looks_for_an_answer_right_after_its_request(watch: Watch) -> None:
    watch.wire.site.send(b"answer")
    assert watch.add() is None
    assert not watch.wire.looks and watch.answers
