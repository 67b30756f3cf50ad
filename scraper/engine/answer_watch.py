"""The answers that the I/O loop waits for: read as they arrive, each within its share and its timeout."""

import heapq
import selectors
from itertools import count
from math import inf

from scraper.engine.batch import BatchSteps
from scraper.http.body import LARGE
from scraper.http.exchange import Asked
from scraper.http.http1 import Http1Exchange
from scraper.ops.clock import Clock, monotonic

SOON = 0.0001  # seconds; the time that a server on the same machine takes
LOOK_EVERY = 0.25  # seconds between looks for answers whose time is over


class AnswerWatch:
    """For the loop's thread alone; its sockets are registered in the loop's `selector` with their batch.

    An answer is over when it is whole, broken or too late; the batch that waits for it can go on then.
    """

    def __init__(self, selector: selectors.BaseSelector, clock: Clock) -> None:
        self._selector = selector
        self._clock = clock
        self._asked: dict[BatchSteps, tuple[Asked, Http1Exchange]] = {}
        self._over_at: dict[BatchSteps, float] = {}
        self._pauses: list[tuple[float, int, BatchSteps]] = []
        self._paused: dict[BatchSteps, int] = {}
        self._tickets = count()
        self._look_at = 0.0

    def __len__(self) -> int:
        return len(self._asked)

    def add(self, steps: BatchSteps, asked: Asked, http1: Http1Exchange) -> Http1Exchange | None:
        """Await an answer; its exchange where it is over already.

        That is likely where a page was parsed since it was asked for.
        """
        is_likely_here = self._clock.now() - asked.begun > SOON
        if is_likely_here and self._read(asked, http1):
            return http1
        self._asked[steps] = asked, http1
        self._wait_on(steps)
        self._selector.register(http1, selectors.EVENT_READ, steps)
        self._pause(steps)
        return None

    @property
    def next_moment(self) -> float | None:
        """When to look again (monotonic), whatever comes; None while nothing is awaited."""
        if not self._asked:
            return None
        return min(self._look_at, self._pauses[0][0]) if self._pauses else self._look_at

    def in_turn(self, ready: list[BatchSteps | None]) -> list[BatchSteps | None]:
        """Whose answers to read of those that have more: of large ones only that which has least.

        Reading is short, but twenty of them are what each step of all others would wait for.
        """
        large = [one for one in ready if one is not None and self._asked[one][1].share.size >= LARGE]
        if len(large) < 2:
            return ready
        least = min(large, key=lambda one: self._asked[one][1].share.size)
        return [one for one in ready if one is least or one not in large]

    def pull(self, steps: BatchSteps) -> Http1Exchange | None:
        """Read what has come of an answer, once; its exchange where it is over."""
        asked, http1 = self._asked[steps]
        if self._read(asked, http1):
            self._forget(steps)
            return http1
        self._wait_on(steps)
        self._pause(steps)
        return None

    def _read(self, asked: Asked, http1: Http1Exchange) -> bool:
        """Read what has come; whether the answer is over."""
        is_over = http1.pull()
        if not asked.first_byte_at and http1.has_begun:
            asked.answered(self._clock.now())
        return is_over

    def end_pauses(self) -> list[tuple[BatchSteps, Http1Exchange]]:
        """Go on reading what has paused long enough; what is over by that."""
        if not self._pauses:
            return []
        now, due = monotonic(), list[BatchSteps]()
        while self._pauses and self._pauses[0][0] <= now:
            _, ticket, steps = heapq.heappop(self._pauses)
            if self._paused.get(steps) == ticket:
                due.append(steps)
        return [(steps, over) for steps in due if (over := self._resume(steps)) is not None]

    def overdue(self) -> list[BatchSteps]:
        """Those whose answers took too long; reading them tells so at once."""
        now = monotonic()
        if now < self._look_at:
            return []
        self._look_at = now + LOOK_EVERY
        late = [steps for steps, over_at in self._over_at.items() if over_at <= now]
        for steps in late:
            self._asked[steps][0].deadline = -inf
            self._forget(steps)
        return late

    def _wait_on(self, steps: BatchSteps) -> None:
        asked, http1 = self._asked[steps]
        timeout = http1.patience(steps.batch.session.timeout[1])
        self._over_at[steps] = min(asked.deadline + http1.grace, monotonic() + timeout)

    def _forget(self, steps: BatchSteps) -> None:
        _, http1 = self._asked.pop(steps)
        del self._over_at[steps]
        if self._paused.pop(steps, None) is None:
            self._selector.unregister(http1)

    def _pause(self, steps: BatchSteps) -> None:
        """Leave an answer alone that takes more than its share; the system holds up what it sends."""
        http1 = self._asked[steps][1]
        pause = http1.share.pause
        if pause or http1.has_more:
            if steps not in self._paused:
                self._selector.unregister(http1)
            self._paused[steps] = ticket = next(self._tickets)
            heapq.heappush(self._pauses, (monotonic() + pause, ticket, steps))
        elif self._paused.pop(steps, None) is not None:
            self._selector.register(http1, selectors.EVENT_READ, steps)

    def _resume(self, steps: BatchSteps) -> Http1Exchange | None:
        http1 = self._asked[steps][1]
        if http1.has_more:
            return self.pull(steps)
        del self._paused[steps]
        self._selector.register(http1, selectors.EVENT_READ, steps)
        return None
