"""How long one page may be parsed: who waits for it goes on without it, and its thread is told to end.

A parser or an XPath query at work in C cannot be interrupted. It leaves the other threads alone meanwhile, so
the page is given up and its thread ends as soon as it is back in Python.
"""

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from scraper.model import Entry, Failed, Outcome, Visit
from scraper.model.frozen import frozen
from scraper.ops.clock import monotonic

MOST_CRASHES = 2
TOO_LONG = "parsing takes too long"
DEADLY = "killed the process"
NO_MEMORY = "not enough memory"
TOGETHER = 0.01  # seconds
LONGEST_INTERVAL = 1.0
"""Seconds between two looks at a page that is parsed. A look that comes later counts no more than this: a
process that was stopped for an hour has not parsed for an hour."""

T = TypeVar("T")
R = TypeVar("R")


class OutOfCallback(BaseException):
    """What ends a callback without being its failure: no `except Exception` in it shall hold that up."""


class GivenUp(OutOfCallback):
    """Raised in a thread whose page was given up."""


@frozen
class Parsing:
    """Said before a page is parsed: what its visit is if that takes too long, or if the run stops meanwhile.

    `following`: the URL that was asked for ahead; its answer is lost with the page.
    """

    visit: Visit
    interrupted: Outcome
    following: Entry | None = None


def too_long(seconds: float) -> Failed:
    """What becomes of a page that is given up."""
    return Failed(f"parsing it takes longer than {seconds:g} s (setting parse_timeout)", TOO_LONG)


def no_memory() -> Failed:
    """What becomes of a page for which the system gives no more memory (`ulimit -v`)."""
    return Failed("not enough memory to parse it", NO_MEMORY)


def deadly(entry: Entry) -> Failed | None:
    """What becomes of a page that was being parsed each time that the process died; None where it may be."""
    return died(entry.crashes) if entry.crashes >= MOST_CRASHES else None


def died(times: int) -> Failed:
    """What becomes of a page whose process died so often while it was parsed."""
    return Failed(f"the process died {times} times while it was parsed: out of memory?", DEADLY)


def end_thread(thread: int) -> None:
    """Raise GivenUp in a thread, by its identity, at its next step in Python."""
    # Imported on first use: few runs need it, and it is slow to load.
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(GivenUp))


class Bounded:
    """Does one thing after the other in a thread of its own, each for so many seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._turns: SimpleQueue[_Turn] | None = None

    def some(self, work: Callable[[T], R], items: deque[T], instead: Callable[[T], R]) -> list[R]:
        """What `work` makes of the first of `items`, which leave them; `instead`: of one that takes too long.

        Going to the thread and back costs as much as a tenth of a page, so it does what it can in a moment.
        """
        if self._turns is None:
            self._turns = SimpleQueue()
            threading.Thread(target=_serve, args=(self._turns,), name="parse", daemon=True).start()
        turn = _Turn(work, items)
        self._turns.put(turn)
        parsing, looked_at, passed = turn.began, turn.began, 0.0
        while not turn.is_over.acquire(timeout=max(0.0, min(self._seconds - passed, LONGEST_INTERVAL))):
            began, now = turn.began, monotonic()
            passed = passed if began == parsing else 0.0
            passed += min(now - max(began, looked_at), LONGEST_INTERVAL)
            parsing, looked_at = began, now
            if passed >= self._seconds and turn.give_up(parsing):
                self._turns = None
                turn.results.append(instead(items.popleft()))
                break
        if turn.error is not None:
            raise turn.error
        return turn.results

    def call(self, job: Callable[[], T]) -> T | None:
        """What `job` returns; None where it takes too long."""
        return self.some(_call, deque([job]), lambda job: None)[0]


class _Turn:
    """Items that a thread does one after the other, for a moment; the results so far, `began`: the last."""

    def __init__(self, work: Callable[[Any], Any], items: deque[Any]) -> None:
        self._work = work
        self._items = items
        self._lock = threading.Lock()
        self._thread = 0
        self._is_given_up = False
        self.is_over = threading.Lock()
        self.is_over.acquire()
        self.results: list[Any] = []
        self.error: Exception | None = None
        self.began = monotonic()

    def go(self) -> None:
        """Do some; raises GivenUp where nobody waits for it any more."""
        self.began, self._thread = monotonic(), threading.get_ident()
        until = self.began + TOGETHER
        try:
            while self._items and self.began < until:
                self._keep(self._work(self._items[0]))
        except Exception as error:
            self.error = error
        self.is_over.release()

    def _keep(self, result: object) -> None:
        with self._lock:
            if self._is_given_up:
                raise GivenUp
            self._items.popleft()
            self.results.append(result)
            self.began = monotonic()

    def give_up(self, began: float) -> bool:
        """End the thread if what it does is what began then."""
        with self._lock:
            if self.is_over.locked() and self._thread and self.began == began:
                self._is_given_up = True
                end_thread(self._thread)
            return self._is_given_up


def _call(job: Callable[[], T]) -> T:
    return job()


def _serve(turns: "SimpleQueue[_Turn]") -> None:
    try:
        while True:
            turns.get().go()
    except GivenUp:
        return
