"""The domains that requests outside a run have leased: each with its session, rate limiter and clock."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from scraper import settings as settings_of
from scraper.app.one_url.step import Step
from scraper.engine.groups import Groups
from scraper.engine.leases import SessionMaker
from scraper.engine.robots_cache import RobotsRules
from scraper.http.exchange import Answer
from scraper.http.session import DomainSession
from scraper.model import Deferred, Denied, Entry, NewUrl, Visit
from scraper.ops.clock import Clock, second_of_day
from scraper.politeness import learned, retry, throttle
from scraper.politeness.blocks import refusal
from scraper.politeness.limit_search import settled
from scraper.politeness.rate_limiter import RateLimiter
from scraper.politeness.retry import RetryAdvice
from scraper.politeness.throttle import Pace, State
from scraper.settings import Settings
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.urls import canonical, domain_of, fingerprint

PATIENCE = 12.0  # seconds to wait for a domain that a run holds: it gives way after some
LOOK_EVERY = 0.25
BY_HAND = "asked for by hand"


@dataclass(slots=True)
class HeldDomain:
    """A domain that we have leased."""

    lease: Lease
    session: DomainSession
    limiter: RateLimiter
    state: State
    pace: Pace
    entry: Entry | None = None


class HeldDomains:
    """Leases domains and lets a request wait for its slot.

    `until`: the moment until which that may take; `is_wanted`: whether somebody still waits for it.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        settings: Settings,
        clock: Clock,
        open_session: SessionMaker,
        tell: Callable[[str], None],
    ) -> None:
        self._store = store
        self._run = run
        self._settings = settings
        self._clock = clock
        self._open_session = open_session
        self._tell = tell
        self._token = settings_of.token(settings)
        self._groups = Groups(store, run, settings_of.grouping(settings), clock)
        self._held: dict[str, HeldDomain] = {}
        self.until = math.inf
        self.is_wanted: Callable[[], bool] = lambda: True

    def __getitem__(self, name: str) -> HeldDomain:
        return self._held[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The domains that are ours now."""
        return tuple(self._held)

    def next_slot(self, name: str) -> tuple[float, str]:
        """When a domain that is ours may be asked next, on the clock's line, and the rule that says so."""
        held = self._held[name]
        due, rest = held.limiter.due, held.state.rest_until
        return max(due, rest), held.state.reason if rest >= due and held.state.reason else held.pace.source

    def sends(self, name: str) -> tuple[int, float]:
        """Requests to a domain since it is ours, and the smallest gap between two of them (s)."""
        limiter = self._held[name].limiter
        return limiter.sends, limiter.min_gap

    def hold(self, url: str, robots_rules: RobotsRules | None = None) -> HeldDomain | Step:
        """The domain of a URL, ours and with its next slot come; a Step where that cannot be now."""
        held = self.owned(url)
        if isinstance(held, Step):
            return held
        if robots_rules is not None:
            held.pace = pace_of(self._settings, self._token, robots_rules, held.state)
            held.limiter.slow_to(held.pace.delay)
        return self._closed(held, url) or held

    def owned(self, url: str) -> HeldDomain | Step:
        """The domain of a URL, ours; a Step where that cannot be now."""
        name = domain_of(url)
        held = self._held.get(name)
        if held is None:
            lease = self._lease(name, url)
            if lease is None:
                return Step(url, refusal=f"{name} is being visited by a run", is_later=True)
            held = self._held[name] = self._open(lease)
        return held

    def _lease(self, name: str, url: str) -> Lease | None:
        """Own a domain. A run that holds it gives way, because we have a URL pending there."""
        link = NewUrl(name, fingerprint("GET", canonical(url) or url), url)
        self._store.add(self._run, [link])
        give_up = min(self._clock.now() + PATIENCE, self.until)
        while True:
            lease = self._store.lease_domain(self._run, name)
            if lease is not None and self._groups.join(name, self._settings.delay):
                return lease
            if self._clock.now() > give_up or not self.is_wanted():
                return None
            self._store.heartbeat()
            self._clock.sleep(LOOK_EVERY)

    def _open(self, lease: Lease) -> HeldDomain:
        now = self._clock.now()
        state = throttle.recovered(throttle.from_json(lease.state), now)
        state = replace(state, limit=settled(learned.eased(state.limit, now)))
        pace = throttle.pace(self._settings.delay, limit=state.limit)
        delay = max(pace.delay, state.delay)
        due = state.due if lease.due <= state.rest_until else max(lease.due, state.due)
        due += delay - state.delay
        if lease.crashes:
            # What the dead owner had in flight counts from now.
            due = max(due, now + delay)
        group = self._groups.of(lease.domain)
        limiter = RateLimiter(
            self._clock, delay, due, last_sent=state.sent_at, group=group.limiter if group else None
        )
        limiter.rest_until(state.rest_until)
        entries = self._store.take(self._run, lease, 1)
        entry = entries[0] if entries else None
        return HeldDomain(lease, self._open_session(lease, limiter), limiter, state, pace, entry)

    def _closed(self, held: HeldDomain, url: str) -> Step | None:
        """Why the domain is to be left alone for longer than we wait, and a word on a wait that is short."""
        now, found = self._clock.now(), self._settings
        hours = (found.active_hours,) if found.active_hours else ()
        closed = throttle.until_open(hours, second_of_day(self._clock.wall()))
        if closed:
            return Step(
                url, refusal="outside the hours for visits (active_hours)", is_later=True, wait=closed
            )
        state, slot = held.state, held.limiter.due
        if slot > state.rest_until:
            state = replace(state, due=max(state.due, slot))
        wait = throttle.decide(state, held.pace, now, max(found.max_delay, found.delay), found.max_wait)
        if isinstance(wait, Deferred):
            ahead = max(0.0, max(state.due, state.rest_until) - now)
            return Step(url, refusal=wait.reason, is_later=True, wait=ahead, pace=held.pace)
        held.limiter.rest_until(held.state.rest_until)
        cause = state.reason if state.rest_until > state.due else held.pace.source
        if now + wait > self.until:
            return Step(url, refusal=cause, is_later=True, wait=wait, pace=held.pace)
        if wait >= 1:
            self._tell(f"waits {wait:.1f} s for {held.lease.domain}: {cause}")
        # Here and not in the rate limiter: what is slept there counts as the site's response time.
        self._sleep(held.limiter.due - now)
        return None if self.is_wanted() else Step(url, refusal="the caller has left", is_later=True)

    def _sleep(self, wait: float) -> None:
        """Wait, and stay alive for the store meanwhile."""
        until = self._clock.now() + wait
        while (left := until - self._clock.now()) > 0 and self.is_wanted():
            self._clock.sleep(min(left, 1.0))
            self._store.heartbeat()

    def account(self, held: HeldDomain, answer: Answer) -> str | None:
        """What an answer means for the domain, as in a run; kept at once, for it outlives us.

        Gives what a refusal was recognised as.
        """
        now, wall = self._clock.now(), self._clock.wall()
        state, response = throttle.after(held.state, answer.exchange, held.pace.delay), answer.response
        refused, told = None, RetryAdvice()
        if response is not None:
            told = retry.told(response.status, response.headers, wall)
            refused = refusal(response.status, response.headers, response.content)
        if told.is_limited and response is not None:
            most = max(self._settings.max_delay, self._settings.delay)
            reason = retry.refused_by_rate(f"status {response.status}", told.rest)
            state = throttle.limited(state, now, told.rest, held.pace.delay, most, reason)
        elif refused:
            state = throttle.refused(state, now, self._run.id, refused)
        elif response is None or (told.rest is None and retry.is_retryable_status(response.status)):
            state = throttle.failed(state, now, retry.backoff(state.failures + 1, 0.5))
        else:
            state = throttle.passed(throttle.succeeded(state), 1, held.limiter.last_sent)
        if told.pause and not told.is_limited:
            state = throttle.rest(state, now + told.pause, f"Retry-After {told.pause:.0f} s")
        held.state = state
        held.limiter.rest_until(state.rest_until)
        visits = [] if held.entry is None else [Visit(held.entry, Denied(BY_HAND), answer.exchange)]
        updates = [self._update(held), *self._groups.updates([held.lease.domain])]
        self._store.settle(self._run, visits, updates)
        held.entry = None
        return refused

    def _update(self, held: HeldDomain) -> DomainUpdate:
        state = replace(held.state, delay=held.pace.delay)
        due = max(held.limiter.due, state.rest_until)
        return DomainUpdate(held.lease, due, throttle.to_json(state), held.session.dump_changes())

    def release(self, is_kept: Callable[[str], bool] = lambda name: False) -> None:
        """Give the domains back with their clocks, all but those that are kept."""
        gone = [held for name, held in self._held.items() if not is_kept(name)]
        if gone:
            self._store.release([self._update(held) for held in gone])
        for held in gone:
            self._groups.leave(held.lease.domain)
            held.session.disconnect()
            del self._held[held.lease.domain]


def pace_of(settings: Settings, token: str, robots_rules: RobotsRules | None, state: State) -> Pace:
    """The delay of a domain by the settings, its robots.txt and its last response time."""
    rate = robots_rules.robots.request_rate(token) if robots_rules is not None else None
    return throttle.pace(
        settings.delay,
        settings.delay_factor if settings.delay else 0.0,
        state.elapsed,
        limit=state.limit,
        crawl_delay=robots_rules.robots.crawl_delay(token) if robots_rules is not None else None,
        request_interval=rate.delay if rate is not None else None,
        max_delay=settings.max_delay,
    )
