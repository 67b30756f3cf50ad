"""What holds for one exchange: its deadline, its domain's rate limiter, whom it may reach.

urllib3 offers no way to hand that down to the socket of an exchange, so it travels in `current`, which is
local to the thread that does the exchange.
"""

import math
import threading
from typing import Protocol

from scraper.http.reach import Reach
from scraper.ops.clock import monotonic


class Limiter(Protocol):
    """Where every request waits for its slot, whoever sends it. `due`: the next one."""

    @property
    def due(self) -> float: ...

    def wait(self, ahead: float = 0.0) -> bool:
        """Sleep until `ahead` seconds before the next slot, without taking it; whether that took any time."""
        ...

    def enter(self) -> None:
        """Return when the next request may be sent; its slot is taken then."""
        ...

    def answered(self) -> None:
        """Note the first byte of an answer: the next slot counts from it."""
        ...

    def rest_until(self, moment: float) -> None:
        """Let nothing through before a moment."""
        ...

    def failed(self) -> None:
        """Note the end of an exchange that brought no answer: the next slot counts from it."""
        ...


class Meter:
    """Counts the connections that a session opened, whichever thread did."""

    def __init__(self) -> None:
        self.connects = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        with self._lock:
            self.connects += 1


class Limits(threading.local):
    """What holds for the exchange that this thread is doing."""

    deadline = math.inf
    max_body: float = math.inf
    limiter: Limiter | None = None
    meter: Meter | None = None
    reach: Reach | None = None
    connects = 0
    is_reused = False
    needs_tunnel = False
    waited = 0.0


current = Limits()


def within(
    seconds: float,
    max_body: float,
    limiter: Limiter | None = None,
    meter: Meter | None = None,
    reach: Reach | None = None,
) -> None:
    """Begin an exchange on this thread: its deadline counts from now. `reach`: which addresses are asked."""
    current.reach = reach
    current.deadline = monotonic() + seconds
    current.max_body = max_body
    current.limiter = limiter
    current.meter = meter
    current.is_reused = current.needs_tunnel = False
    current.waited = 0.0
