"""The slow lane: pages that take long to parse wait here for each other, and nobody else waits for them.

Python runs the code of one thread at a time, so whoever parses takes from all others. A site whose pages are
dear to parse would have the interpreter to itself. Here such sites share one thread, in turns by the
time that each has used: a site's next page begins behind what its last one took.
"""

import heapq
import threading
from collections.abc import Callable
from itertools import count

from scraper.engine.batch import BatchSteps, DomainWanted
from scraper.engine.parse_limit import GivenUp
from scraper.http.exchange import Wait
from scraper.model.frozen import slotted
from scraper.ops.clock import cpu_of_thread, monotonic, thread_time

DEAR = 0.02  # seconds of CPU that a page costs at most where all others wait for it
PLACES = 1  # each thread more that computes takes its part of the interpreter from those who do not parse
PATIENCE = 1.0  # seconds; who waits for longer, or computes, holds no place
MOST_AT_WORK = 4  # of those who compute
IDLE_SHARE = 0.02  # of the time; who computes less than that waits for something

Done = Callable[[BatchSteps, DomainWanted | Wait | None], None]


@slotted
class _Turn:
    """A step that a thread does since a moment, and what that thread had computed before it (seconds)."""

    thread: int
    since: float
    cpu: float
    has_place: bool = True


class SlowLane:
    """Takes batches a step further, each when it is the turn of its domain. All methods are for any thread.

    `done` hears what they wait for then.
    """

    def __init__(self, done: Done, start_thread: Callable[[Callable[[], None]], None]) -> None:
        self._done = done
        self._start_thread = start_thread
        self._costs: dict[str, float] = {}
        self._lock = threading.Condition()
        self._waiting: list[tuple[float, int, BatchSteps]] = []
        self._tickets = count()
        self._now = 0.0  # in seconds of parsing, of whoever had least of it
        self._next_turns: dict[str, float] = {}
        self._turns: dict[BatchSteps, _Turn] = {}
        self._threads = self._idle = 0
        self._is_closed = False

    def is_for(self, domain: str) -> bool:
        """Whether pages of a domain belong here, by what the last ones cost."""
        return domain in self._costs

    def note(self, domain: str, cost: float) -> None:
        """Learn what a page cost, in seconds of CPU. A cheap one says little of the next after a dear one."""
        cost = max(cost, self._costs.get(domain, 0.0) / 2)
        if cost >= DEAR:
            self._costs[domain] = cost
        else:
            self._costs.pop(domain, None)

    @property
    def at_work(self) -> list[BatchSteps]:
        """The batches that are taken further now."""
        with self._lock:
            return list(self._turns)

    def put(self, steps: BatchSteps) -> None:
        """Have a batch taken a step further."""
        with self._lock:
            turn = max(self._now, self._next_turns.pop(steps.batch.domain, 0.0))
            heapq.heappush(self._waiting, (turn, next(self._tickets), steps))
            self._call_thread()

    def lose(self, steps: BatchSteps) -> bool:
        """Give the place of a step to another one, as its thread is ended; False where it is none of ours."""
        with self._lock:
            return self._free(steps) is not None

    def look(self) -> None:
        """Give the places of those to others that take long. To be called now and then."""
        with self._lock:
            for turn in self._turns.values():
                passed = monotonic() - turn.since
                if not turn.has_place or passed < PATIENCE:
                    continue
                computed = cpu_of_thread(turn.thread) - turn.cpu
                is_long = computed >= PATIENCE and len(self._turns) < MOST_AT_WORK
                if is_long or computed < passed * IDLE_SHARE:
                    turn.has_place = False
                    self._threads -= 1
                    self._call_thread()

    def close(self) -> None:
        """End the threads that are idle."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()

    # with the lock -------------------------------------------------------------------------------------
    def _call_thread(self) -> None:
        if self._idle:
            self._lock.notify()
        elif self._waiting and self._threads < PLACES:
            self._threads += 1
            self._start_thread(self._serve)

    def _free(self, steps: BatchSteps) -> _Turn | None:
        turn = self._turns.pop(steps, None)
        if turn is not None and turn.has_place:
            self._threads -= 1
            self._call_thread()
        return turn

    # in the threads ------------------------------------------------------------------------------------
    def _serve(self) -> None:
        try:
            while (steps := self._next()) is not None:
                began = thread_time()
                wait = steps.advance()
                if steps.is_given_up or not self._end(steps, thread_time() - began, wait):
                    return
        except GivenUp:
            return

    def _next(self) -> BatchSteps | None:
        with self._lock:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._idle += 1
                self._lock.wait()
                self._idle -= 1
            self._now, _, steps = heapq.heappop(self._waiting)
            self._turns[steps] = _Turn(threading.get_ident(), monotonic(), thread_time())
            return steps

    def _end(self, steps: BatchSteps, cost: float, wait: DomainWanted | Wait | None) -> bool:
        """Pass on what a batch waits for; whether the thread still has a place."""
        domain = steps.batch.domain
        with self._lock:
            turn = self._turns.pop(steps)
            self.note(domain, cost)
            self._next_turns = {each: at for each, at in self._next_turns.items() if at > self._now}
            self._next_turns[domain] = self._now + cost
        self._done(steps, wait)
        return turn.has_place
