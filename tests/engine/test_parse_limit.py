"""How long one page may be parsed where a process does nothing else: by the time that it had."""

import threading
from collections import deque
from collections.abc import Iterator

import pytest

from scraper.engine import parse_limit
from scraper.engine.parse_limit import Bounded

LOOK = 0.01


class Time:
    """A clock that goes on by as much at each look; `looked`: somebody has looked twice since it jumped."""

    def __init__(self) -> None:
        self.now, self.looks = 0.0, 0
        self.looked = threading.Event()

    def __call__(self) -> float:
        self.now, self.looks = self.now + LOOK, self.looks + 1
        if self.looks > 2:
            self.looked.set()
        return self.now

    def jump(self, seconds: float) -> None:
        self.now, self.looks = self.now + seconds, 0
        self.looked.clear()


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Iterator[Time]:
    clock = Time()
    monkeypatch.setattr(parse_limit, "monotonic", clock)
    monkeypatch.setattr(parse_limit, "LONGEST_INTERVAL", LOOK)
    yield clock


def test_a_process_that_was_stopped_has_not_parsed_meanwhile(time: Time) -> None:
    def parse(page: str) -> str:
        time.jump(3600)
        assert time.looked.wait(10)
        return f"records of {page}"

    assert Bounded(30.0).some(parse, deque(["/1"]), lambda page: "too long") == ["records of /1"]


def test_a_page_that_takes_too_long_is_given_up(time: Time) -> None:
    forever, items = threading.Event(), deque(["/1", "/2"])

    def parse(page: str) -> str:
        return str(forever.wait(10))

    assert Bounded(5 * LOOK).some(parse, items, lambda page: f"{page} takes too long") == [
        "/1 takes too long"
    ]
    assert list(items) == ["/2"]
    forever.set()
