"""How long one page may be parsed: who waits for it goes on without it, and its thread is told to end.

A parser or an XPath query at work in C cannot be interrupted. It leaves the other threads alone meanwhile, so
the page is given up and its thread ends as soon as it is back in Python.
"""

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TypeVar

from scraper.model import Entry, Failed, Outcome, Visit
from scraper.model.frozen import frozen

MOST_CRASHES = 2
TOO_LONG = "parsing takes too long"
DEADLY = "killed the process"

T = TypeVar("T")


class GivenUp(BaseException):
    """Raised in a thread whose page was given up: no `except Exception` of a callback shall hold it up."""


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
    """Calls one thing after the other in a thread of its own, each for so many seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._jobs: SimpleQueue[Callable[[], object]] | None = None
        self._results: SimpleQueue[object] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, job: Callable[[], T]) -> T | None:
        """What `job` returns; None where it takes too long. It must not raise and not return None."""
        if self._jobs is None:
            self._jobs, self._results = SimpleQueue(), SimpleQueue()
            self._thread = threading.Thread(
                target=_serve, args=(self._jobs, self._results), name="parse", daemon=True
            )
            self._thread.start()
        self._jobs.put(job)
        try:
            result = self._results.get(timeout=self._seconds)
        except Empty:
            assert self._thread is not None and self._thread.ident is not None
            end_thread(self._thread.ident)
            self._jobs = None
            return None
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[return-value]  # what this very job returned


def _serve(jobs: "SimpleQueue[Callable[[], object]]", results: "SimpleQueue[object]") -> None:
    try:
        while True:
            try:
                results.put(jobs.get()())
            except Exception as error:
                results.put(error)
    except GivenUp:
        return
