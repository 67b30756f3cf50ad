"""Ends a process in which one callback holds the GIL: no thread of ours can run to stop it."""

import faulthandler
import signal
import sys

from scraper.runs.events import Event, Ticked

LEAST = 5.0  # seconds of CPU; a busy machine delays a tick without any fault of a page
TIMES = 3.0  # of `parse_timeout`, which stops whatever lets another thread run


class Watchdog:
    """A listener that has to hear of a tick again before the process has used so much CPU time.

    Some calls keep Python's interpreter to themselves until they return, a regular expression that backtracks
    for hours among them. The kernel's timer needs no interpreter: it counts the CPU time of this process, so
    that one which was stopped and goes on is not ended, prints where each thread is, and ends it. The page in
    hand then counts a crash, as after `kill -9`. One that is not armed does nothing: the process is not ours
    to end.
    """

    def __init__(self, parse_timeout: float, *, is_armed: bool = True) -> None:
        self._is_armed = is_armed
        self._limit = max(LEAST, TIMES * parse_timeout)

    def __enter__(self) -> "Watchdog":
        if not self._is_armed:
            return self
        try:
            faulthandler.register(signal.SIGVTALRM, file=sys.stderr, chain=True)
        except (AttributeError, OSError, ValueError):
            pass  # no standard error to print to: it ends all the same
        self._set(self._limit)
        return self

    def __exit__(self, *error: object) -> None:
        if self._is_armed:
            self._set(0.0)
            faulthandler.unregister(signal.SIGVTALRM)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Ticked):
            self.reset()

    def reset(self) -> None:
        """Count anew."""
        if self._is_armed:
            self._set(self._limit)

    @staticmethod
    def _set(seconds: float) -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
