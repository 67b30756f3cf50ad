"""The domain's turnstile: whoever sends a request to the domain takes a slot here first."""

import math
import threading

from scraper.clock import Clock


class Turnstile:
    """Slots `delay` seconds apart, as the server sees them.

    With one request in flight the next slot is (first byte of the last answer, or end of a failure) + delay;
    with more, starts are spaced by the delay. A slot is taken before anyone waits for it, so no two callers
    can get the same one. `due`: the next slot. `min_gap`: the smallest distance seen between two sends (s).
    """

    def __init__(
        self, clock: Clock, delay: float, due: float = 0.0, *, concurrency: int = 1, last_sent: float = 0.0
    ) -> None:
        self.delay = delay
        self.due = due
        self.last_sent = last_sent or -math.inf
        self.min_gap = math.inf
        self.sends = 0
        self.breaches = 0
        self._clock = clock
        self._is_serial = concurrency == 1
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Take the next slot and return when it has come."""
        with self._lock:
            now = self._clock.now()
            slot = max(now, self.due)
            self.due = slot + self.delay
        if slot > now:
            self._clock.sleep(slot - now)
        with self._lock:
            self._note(self._clock.now())

    def _note(self, sent_at: float) -> None:
        gap = sent_at - self.last_sent
        self.min_gap = min(self.min_gap, gap)
        self.breaches += gap < self.delay - 1e-6
        self.last_sent = sent_at
        self.due = max(self.due, sent_at + self.delay)
        self.sends += 1

    def answered(self) -> None:
        """Count the delay from this first byte."""
        if self._is_serial:
            self._push(self._clock.now() + self.delay)

    def failed(self) -> None:
        """Count the delay from the end of a failed exchange."""
        self._push(self._clock.now() + self.delay)

    def slow_to(self, delay: float) -> None:
        """Change the delay; a longer one counts from the last send already."""
        with self._lock:
            self.due = max(self.due, self.due - self.delay + delay)
            self.delay = delay

    def rest_until(self, moment: float) -> None:
        """Let nothing through before `moment`."""
        self._push(moment)

    def _push(self, due: float) -> None:
        with self._lock:
            self.due = max(self.due, due)
