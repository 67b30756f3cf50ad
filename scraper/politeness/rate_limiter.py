"""The rate limiter of a domain: every request to the domain takes a slot here first."""

import math
import threading
from collections.abc import Callable

from scraper.ops.clock import Clock

MOST_LENT = 1000
LOOK_AGAIN = 0.05  # seconds
LONGEST_FLIGHT = 120.0  # seconds after which nobody waits for a first byte any more


def for_ever() -> float:
    """The deadline of what never ends."""
    return math.inf


class RateLimiter:
    """Slots `delay` seconds apart, as the server sees them.

    With one request in flight the next slot is (first byte of the last answer, or end of a failure) + delay,
    and whoever else wants one waits for that byte; with more, starts are spaced by the delay. A slot is taken
    before anyone waits for it, so no two callers can get the same one; who woke late moves those behind.
    `due`: the next slot. `min_gap`: the smallest distance seen between two sends (s). `deadline`: nothing is
    let through later than this moment, which may move on. `group`: the rate limiter of all domains that share
    a pace with this one: whatever passes here passes there, and has there the delay of the domain that was
    asked last.
    """

    def __init__(
        self,
        clock: Clock,
        delay: float,
        due: float = 0.0,
        *,
        concurrency: int = 1,
        last_sent: float = 0.0,
        deadline: Callable[[], float] = for_ever,
        group: "RateLimiter | None" = None,
    ) -> None:
        self.delay = delay
        self.group = group
        self.last_sent = last_sent or -math.inf
        self.min_gap = math.inf
        self.sends = 0
        self.breaches = 0
        self._clock = clock
        self._deadline = deadline
        self._is_serial = concurrency == 1
        self._rest = 0.0
        self._flies_until = 0.0
        self._landed = -math.inf
        self._counts_from = due - delay
        self._lock = threading.Lock()

    @property
    def due(self) -> float:
        """The next slot: a delay after what it counts from, and not within a rest; never the sum of both."""
        return self.due_at(self.delay)

    def due_at(self, delay: float) -> float:
        """The next slot of a request that keeps another delay."""
        own = max(self._counts_from + delay, self._rest)
        return own if self.group is None else max(own, self.group.due)

    @property
    def is_in_flight(self) -> bool:
        """Whether a request is on its way whose first byte has to come before the next one is sent."""
        is_own = self._flies_until > self._clock.now()
        return is_own or (self.group is not None and self.group.is_in_flight)

    def wait(self, ahead: float = 0.0) -> bool:
        """Sleep until `ahead` seconds before the next slot, without taking it; whether that took any time."""
        return self.sleep_until(self.due - ahead)

    def sleep_until(self, moment: float) -> bool:
        """Sleep until a moment of the clock; whether that took any time."""
        wait = moment - self._clock.now()
        if wait <= 0:
            return False
        self._clock.sleep(wait)
        return True

    def enter(self, own: float | None = None) -> None:
        """Take the next slot and return when it has come; `own`: a delay that is kept instead."""
        delay = self.delay if own is None else own
        with self._lock:
            now = self._clock.now()
            slot = max(now, self.due_at(delay))
            self._counts_from = slot
        while True:
            if slot > now:
                self._clock.sleep(slot - now)
            with self._lock:
                now = self._clock.now()
                delay = self.delay if own is None else own
                slot = max(self.last_sent + delay, self._landed + delay, self._rest)
                if now > self._deadline() or self._flies_until > now:
                    # The domain may be another's: whether it is, the owner thread is about to learn.
                    slot = max(slot, now + LOOK_AGAIN)
                is_free = slot <= now
                if is_free and self.group is None:
                    return self._note(now, delay)
            if is_free and self.group is not None:
                return self._enter_group(self.group)

    def _enter_group(self, group: "RateLimiter") -> None:
        group.enter()
        with self._lock:
            self._note(group.last_sent, self.delay)
            group.slow_to(self.delay)

    def _note(self, sent_at: float, delay: float) -> None:
        gap = sent_at - self.last_sent
        self.min_gap = min(self.min_gap, gap)
        self.breaches += gap < delay - 1e-6
        self.last_sent = sent_at
        # Without a delay the next request is sent ahead, and the callback may ask for something meanwhile.
        waits = self._is_serial and self.delay > 0
        self._flies_until = sent_at + LONGEST_FLIGHT if waits else 0.0
        self._counts_from = max(self._counts_from, sent_at)
        self.sends += 1

    def answered(self) -> None:
        """Count the delay from this first byte."""
        if self._is_serial:
            self._count_from_now()
        if self.group is not None:
            self.group.answered()

    def failed(self) -> None:
        """Count the delay from the end of a failed exchange."""
        self._count_from_now()
        if self.group is not None:
            self.group.failed()

    def slow_to(self, delay: float) -> None:
        """Change the delay; a longer one counts from the last send already."""
        with self._lock:
            self.delay = delay

    def rest_until(self, moment: float) -> None:
        """Let nothing through before `moment`, nor anyone who waits already."""
        with self._lock:
            self._rest = max(self._rest, moment)

    def _count_from_now(self) -> None:
        with self._lock:
            self._flies_until, self._landed = 0.0, self._clock.now()
            self._counts_from = max(self._counts_from, self._landed)


class LoadsLimiter:
    """The rate limiter of a domain for what rendered pages ask for: the same slots, at a delay of their own.

    A delay that the site has asked for, longer than the user's `delay`, is kept by them too.
    """

    def __init__(self, limiter: RateLimiter, own: float, delay: float) -> None:
        self._limiter = limiter
        self._own = own
        self._delay = delay
        self.answered, self.failed, self.rest_until = limiter.answered, limiter.failed, limiter.rest_until

    @property
    def delay(self) -> float:
        """The delay in force (s)."""
        asked = self._limiter.delay
        return max(self._own, asked) if asked > self._delay else self._own

    @property
    def due(self) -> float:
        """The next slot."""
        return self._limiter.due_at(self.delay)

    @property
    def is_in_flight(self) -> bool:
        """As of a RateLimiter."""
        return self._limiter.is_in_flight

    def wait(self, ahead: float = 0.0) -> bool:
        """As of a RateLimiter."""
        return self._limiter.sleep_until(self.due - ahead)

    def enter(self) -> None:
        """As of a RateLimiter."""
        self._limiter.enter(self.delay)


class RateLimiters:
    """The rate limiters of this process by domain, for sessions that request from another one (a login host).

    A domain that is not leased gets a rate limiter here, and a later lease takes over its clock. Other
    processes do not see it.
    """

    def __init__(
        self,
        clock: Clock,
        delay: float,
        deadline: Callable[[], float] = for_ever,
        group_of: Callable[[str], RateLimiter | None] = lambda domain: None,
    ) -> None:
        self._clock = clock
        self._delay = delay
        self._deadline = deadline
        self._group_of = group_of
        self._held: dict[str, RateLimiter] = {}
        self._lent: dict[str, RateLimiter] = {}
        self._lock = threading.Lock()

    def of(self, domain: str) -> RateLimiter:
        """The rate limiter of a domain, leased or not."""
        with self._lock:
            held = self._held.get(domain)
            if held is not None:
                return held
            if domain not in self._lent:
                self._lent[domain] = RateLimiter(
                    self._clock, self._delay, deadline=self._deadline, group=self._group_of(domain)
                )
            return self._lent[domain]

    def hold(self, domain: str, limiter: RateLimiter) -> None:
        """Make a rate limiter the one of its domain; it takes over the clock of the one before."""
        with self._lock:
            before = self._lent.pop(domain, None)
            if before is not None:
                limiter.rest_until(before.due)
            self._held[domain] = limiter

    def let_go(self, domain: str) -> None:
        """The domain is nobody's here any more; its clock is kept until it has run out."""
        with self._lock:
            held = self._held.pop(domain, None)
            if held is not None and held.due > self._clock.now():
                self._lent[domain] = held
            if len(self._lent) > MOST_LENT:
                now = self._clock.now()
                self._lent = {name: limiter for name, limiter in self._lent.items() if limiter.due > now}
