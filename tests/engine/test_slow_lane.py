"""The slow lane: whose page is parsed next where pages take long, and who is not waited for."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from scraper.engine import slow_lane
from scraper.engine.batch import BatchSteps
from scraper.engine.slow_lane import DEAR, MOST_AT_WORK, PATIENCE, SlowLane

SOON = 20.0


class Page:
    """A batch whose next step costs so much, or waits until the test lets it go."""

    is_given_up = False

    def __init__(self, lane: "Lane", domain: str, cost: float = 0.0, *, is_held: bool = False) -> None:
        self.batch = self
        self.domain, self.cost, self.lane = domain, cost, lane
        self.begun, self.go_on = threading.Event(), threading.Event()
        if not is_held:
            self.go_on.set()

    def advance(self) -> None:
        self.begun.set()
        assert self.go_on.wait(SOON)
        self.lane.cpu += self.cost


class Lane:
    """A slow lane on clocks of the test's own. `done`: the domains whose pages are through, in order."""

    def __init__(self) -> None:
        self.now = self.cpu = 0.0
        self.done: list[str] = []
        self.held: list[Page] = []
        self.threads: list[threading.Thread] = []
        self.lane = SlowLane(lambda page, _: self.done.append(page.batch.domain), self.start)

    def start(self, work: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()

    def put(self, domain: str, cost: float = 0.0) -> None:
        self.lane.put(cast(BatchSteps, Page(self, domain, cost)))

    def hold(self, domain: str = "held") -> Page:
        """A page that is being parsed until it is let go."""
        page = Page(self, domain, is_held=True)
        self.held.append(page)
        self.lane.put(cast(BatchSteps, page))
        assert page.begun.wait(SOON)
        return page

    def end(self) -> list[str]:
        for page in self.held:
            page.go_on.set()
        self.lane.close()
        for thread in self.threads:
            thread.join(SOON)
        return self.done


@pytest.fixture
def lane(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lane]:
    one = Lane()
    monkeypatch.setattr(slow_lane, "monotonic", lambda: one.now)
    monkeypatch.setattr(slow_lane, "thread_time", lambda: one.cpu)
    monkeypatch.setattr(slow_lane, "cpu_of_thread", lambda thread: one.cpu)
    yield one
    one.end()


def test_a_site_whose_pages_cost_much_waits_behind_those_whose_pages_cost_less(lane: Lane) -> None:
    first = lane.hold("dear")
    first.cost = 5.0
    lane.put("cheap", 0.1)
    first.go_on.set()
    gate = lane.hold("gate")
    for domain in ("dear", "cheap", "new"):
        lane.put(domain)
    gate.go_on.set()
    assert lane.end() == ["dear", "cheap", "gate", "new", "cheap", "dear"]


def test_a_dear_page_is_not_forgotten_by_the_first_cheap_one(lane: Lane) -> None:
    lane.lane.note("a.example", DEAR / 2)
    assert not lane.lane.is_for("a.example")
    lane.lane.note("a.example", 4 * DEAR)
    for _ in range(2):
        lane.lane.note("a.example", 0.0)
        assert lane.lane.is_for("a.example")
    lane.lane.note("a.example", 0.0)
    assert not lane.lane.is_for("a.example")


def test_nobody_waits_for_callbacks_that_wait_for_something_themselves(lane: Lane) -> None:
    for _ in range(2 * MOST_AT_WORK):
        lane.hold()
        lane.now += PATIENCE
        lane.lane.look()
    assert len(lane.threads) == 2 * MOST_AT_WORK


def test_pages_that_take_long_are_parsed_side_by_side_but_few_of_them(lane: Lane) -> None:
    for _ in range(MOST_AT_WORK):
        lane.hold()
        lane.now, lane.cpu = lane.now + PATIENCE, lane.cpu + PATIENCE
        lane.lane.look()
    lane.put("next")
    assert len(lane.threads) == MOST_AT_WORK and lane.done == []
    assert "next" in lane.end()


def test_a_thread_that_is_ended_leaves_its_place_to_another(lane: Lane) -> None:
    page = lane.hold()
    lane.put("next")
    assert lane.lane.lose(cast(Any, page)) and not lane.lane.lose(cast(Any, page))
    page.is_given_up = True
    assert lane.end() == ["next"]
