"""How a domain is treated: what its robots.txt and its answers mean for the whole of it.

The rules themselves are pure and stand in `throttle`, `retry` and `robots`; here they meet a leased domain.
"""

from collections.abc import Callable
from dataclasses import replace

from scraper.engine.domain import Domain
from scraper.engine.plan import Plan
from scraper.engine.robots_cache import RobotsRules
from scraper.model import Deferred, Reaction, Retry, Visit
from scraper.ops.clock import Clock, second_of_day
from scraper.politeness import retry, robots, throttle
from scraper.runs.events import Listener, PaceSet, RestBegan

LEAST_BASE = 0.25


class Throttling:
    """The owner thread's only way to change a domain's delay, rest and counts of trouble."""

    def __init__(
        self, plan: Plan, run_id: str, clock: Clock, chance: Callable[[], float], tell: Listener
    ) -> None:
        self._plan = plan
        self._run_id = run_id
        self._clock = clock
        self._chance = chance
        self._tell = tell
        self._spared: set[int] = set()

    def obey(self, domain: Domain, robots_rules: RobotsRules) -> None:
        """Take up the rules of one of the domain's origins."""
        domain.robots_cache[robots_rules.origin] = robots_rules
        domain.asking.discard(robots_rules.origin)
        domain.visit_window = robots_rules.robots.visit_time(self._plan.token) or domain.visit_window
        domain.stats.closed = robots_rules.closed
        domain.stats.robots[robots_rules.origin] = (
            robots_rules.exempt or robots_rules.closed or robots_rules.robots.hash
        )
        self.set_pace(domain)

    def set_pace(self, domain: Domain, interval: float | None = None) -> None:
        """Find the delay anew; `interval`: seconds a request by the site's RateLimit fields."""
        plan = self._plan
        # A delay of 0 is for one's own server: nothing of ours slows it down, only what its robots.txt asks.
        factor = plan.delay_factor if plan.delay else 0.0
        rules = [robots_rules.robots for robots_rules in domain.robots_cache.values()]
        delays = [delay for one in rules if (delay := one.crawl_delay(plan.token)) is not None]
        rates = [rate.delay for one in rules if (rate := one.request_rate(plan.token)) is not None]
        pace = throttle.pace(
            plan.delay,
            factor,
            domain.state.elapsed,
            crawl_delay=max(delays, default=None),
            request_interval=max(rates, default=None),
            quota_interval=interval,
            max_delay=plan.max_delay,
        )
        if domain.set_pace(pace):
            self._tell(PaceSet(domain.name, pace.delay, pace.source))

    def objection(self, domain: Domain, now: float) -> str | None:
        """Why the domain is to be left alone for this run; None where its next slot may be waited for."""
        wall = self._clock.wall()
        closed = throttle.until_open(self._plan.active_hours, second_of_day(wall))
        closed = max(closed, robots.wait_until_open(domain.visit_window, wall))
        if closed:
            domain.state = throttle.rest(domain.state, now + closed, "outside the hours for visits")
        decision = throttle.decide(domain.state, domain.pace, now, self.max_delay, self._plan.max_wait)
        if isinstance(decision, Deferred):
            return decision.reason
        if throttle.is_parked(domain.state, now):
            return f"{domain.state.reason}: a later run tries again"
        if throttle.is_ended(domain.state, self._run_id):
            domain.stats.is_refused = True
            return f"refused {throttle.MAX_REFUSALS} times in a row: {domain.state.reason}"
        return None

    @property
    def max_delay(self) -> float:
        """The longest delay that is kept within a run; a user's own is never too long."""
        return max(self._plan.max_delay, self._plan.delay)

    def fair(self, visit: Visit) -> Visit:
        """A kept connection that broke costs no attempt, but only once for each URL."""
        if isinstance(visit.outcome, Retry) and not visit.outcome.counts:
            if visit.entry.id in self._spared:
                reaction = Reaction(hitch=visit.entry.attempts + 1)
                return replace(visit, outcome=Retry(visit.outcome.reason), reaction=reaction)
            self._spared.add(visit.entry.id)
        return visit

    def react(self, domain: Domain, visit: Visit) -> None:
        """Account for an exchange and for what its answer means for the whole domain."""
        if visit.exchange is not None:
            delay, concurrency = domain.pace.delay, self._plan.concurrency
            domain.state = throttle.after(domain.state, visit.exchange, delay, concurrency)
            self.heed(domain, visit.reaction)

    def heed(self, domain: Domain, reaction: Reaction) -> None:
        """Rest, back off or go on as an answer asks."""
        now = self._clock.now()
        before = domain.state.rest_until
        self._count_trouble(domain, reaction, now)
        if reaction.rest is not None:
            reason = f"Retry-After {reaction.rest:.0f} s"
            domain.state = throttle.rest(domain.state, now + reaction.rest, reason)
        if self._plan.delay or reaction.interval is not None:
            self.set_pace(domain, reaction.interval)
        if domain.state.rest_until > max(before, now):
            self._tell(RestBegan(domain.name, domain.state.rest_until - now, domain.state.reason))

    def _count_trouble(self, domain: Domain, reaction: Reaction, now: float) -> None:
        state = domain.state
        if reaction.refusal:
            domain.state = throttle.refused(state, now, self._run_id, reaction.refusal)
        elif reaction.is_failure or (reaction.hitch and state.trips):
            backoff = retry.backoff(state.failures + 1, self._chance())
            domain.state = throttle.failed(state, now, backoff)
        elif reaction.hitch:
            base = min(1.0, max(LEAST_BASE, state.delay))
            until = now + retry.backoff(reaction.hitch, self._chance(), base)
            domain.state = throttle.rest(state, until, f"backoff after attempt {reaction.hitch}")
        elif reaction.rest is None:
            domain.state = throttle.succeeded(state)
