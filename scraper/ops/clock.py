"""The clock: the only module that reads the time."""

import time
from functools import partial
from pathlib import Path
from typing import Protocol


class Clock(Protocol):
    """Two readings: `now` for waiting, `wall` for people and HTTP dates."""

    def now(self) -> float:
        """Epoch seconds on a line that never jumps and that all processes of this boot share."""
        ...

    def wall(self) -> float:
        """Epoch seconds as the machine shows them; may jump when somebody sets the clock."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; never less than `seconds`."""
        ...


def boot_id() -> str:
    """Name of this boot of this machine; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


_uptime = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic
)


def offset() -> float:
    """Seconds to add to the machine's uptime to get the epoch seconds it shows now."""
    return time.time() - _uptime()


class SystemClock:
    """The machine's uptime plus a fixed offset: steady while the wall clock is set forward or back.

    Processes that share an `offset` (the store keeps one per boot) share one time line.
    """

    def __init__(self, anchor: float | None = None) -> None:
        self._anchor = offset() if anchor is None else anchor

    def now(self) -> float:
        return _uptime() + self._anchor

    def wall(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        end = _uptime() + seconds
        while (left := end - _uptime()) > 0:
            time.sleep(left)


def cpu_seconds() -> float:
    """CPU seconds that this process has used."""
    return time.process_time()


def second_of_day(wall: float) -> float:
    """Seconds since local midnight at a wall moment."""
    local = time.localtime(wall)
    return local.tm_hour * 3600.0 + local.tm_min * 60.0 + local.tm_sec


def sleep(seconds: float) -> None:
    """Let others work; for waits that no rule asks for."""
    time.sleep(seconds)


def thread_time() -> float:
    """Seconds of work that this thread has done, waits left out."""
    return time.thread_time()


def cpu_of_thread(thread: int) -> float:
    """Seconds of work that a running thread of this process has done; all that passes where nobody knows."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic()
    return time.clock_gettime(time.pthread_getcpuclockid(thread))


# Not a function around it: it is asked thirty times for a page.
monotonic = time.monotonic
"""Seconds on a line of this process's own, for deadlines inside one exchange."""
