"""The I/O loop, turned by the test: when the owner hears of a batch, and whose place is free before."""

from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, cast

import pytest

from scraper.engine import downloader
from scraper.engine.batch import Batch, BatchSteps, Work
from scraper.engine.downloader import EARLY, FEW, LINGER, IOLoop
from scraper.http.exchange import Later, Until
from scraper.http.session import DomainSession
from scraper.model import Entry
from scraper.politeness.rate_limiter import RateLimiter
from scraper.testing import FakeClock

PLACES = 4 * FEW
POLITE = 5 * EARLY


class Ends:
    """Batches that end at once, or wait for what their URL says."""

    def visits(self, session: DomainSession, entries: deque[Any], *told: Any) -> Iterator[Any]:
        if entries:
            yield {"a slot": Until(1e12), "an answer": Later(lambda wake: None)}[entries[0]]


class Loop(IOLoop):
    """An I/O loop that turns when it is told to, by the time of the test."""

    def __init__(self) -> None:
        self.time = 0.0
        self.handed_back: SimpleQueue[Any] = SimpleQueue()
        super().__init__(PLACES, FakeClock(), self.handed_back)
        self.close()  # so that it never sleeps
        self._watch()

    def begin(self, *, delay: float = POLITE, waits_for: str = "") -> None:
        """A batch of a domain with that delay."""
        session = DomainSession("a.example", limiter=RateLimiter(FakeClock(), delay), clock=FakeClock())
        entries = deque([cast(Entry, waits_for)] if waits_for else [])
        self.put(BatchSteps(Batch("a.example", session, entries), cast(Work, Ends())), downloader._NEW)

    def turn(self) -> int:
        """Let end what ends, and look once for what is to be handed back: how many batches that were."""
        self._take_in()
        self._start_due()
        while self._ready:
            self._go_on(self._ready.popleft(), 0)
        self._watch()
        return 0 if self.handed_back.empty() else len(self.handed_back.get())


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    loop = Loop()
    monkeypatch.setattr(downloader, "monotonic", lambda: loop.time)
    return loop


def test_of_many_polite_domains_the_owner_learns_together_and_their_places_are_free_before(
    loop: Loop,
) -> None:
    for _ in range(FEW):
        loop.begin(waits_for="a slot")
    for _ in range(3):
        loop.begin()
    assert (loop.turn(), loop.ended) == (0, 3)
    loop.time = LINGER / 2
    loop.begin()
    assert (loop.turn(), loop.ended) == (0, 4)
    loop.time = LINGER
    assert (loop.turn(), loop.ended) == (4, 0)


def test_the_owner_may_submit_in_the_place_of_a_batch_that_it_has_not_heard_of() -> None:
    one = downloader.ThreadedDownloader(cast(Work, Ends()), 2, FakeClock())
    one._batches = 2
    assert not one.has_room
    one._loop.ended = 1
    assert one.has_room


def test_of_few_domains_the_owner_learns_at_once(loop: Loop) -> None:
    for _ in range(FEW - 1):
        loop.begin(waits_for="a slot")
    loop.begin()
    assert (loop.turn(), loop.ended) == (1, 0)


def test_a_domain_whose_next_slot_is_near_is_told_at_once_and_the_others_with_it(loop: Loop) -> None:
    for _ in range(FEW):
        loop.begin(waits_for="a slot")
    for delay in (POLITE, 2 * EARLY, POLITE):
        loop.begin(delay=delay)
    assert (loop.turn(), loop.ended) == (3, 0)


def test_where_slow_servers_hold_most_places_the_owner_learns_at_once(loop: Loop) -> None:
    for _ in range(PLACES // 2 - 1):
        loop.begin(waits_for="an answer")
    assert loop.turn() == 0
    loop.begin()
    assert (loop.turn(), loop.ended) == (1, 0)
