"""Applies the politeness rules to a leased domain: robots.txt and answers change its delay or its rest.

The rules themselves are pure and stand in `throttle`, `retry` and `robots`; here they meet a leased domain.
"""

from collections.abc import Callable

from scraper.engine.domain import Domain
from scraper.engine.plan import Plan
from scraper.engine.refusals import Refusals
from scraper.engine.robots_cache import RobotsRules
from scraper.http.exchange import Answer
from scraper.model import Deferred, Reaction, Visit
from scraper.ops.clock import Clock, second_of_day
from scraper.politeness import retry, robots, throttle
from scraper.politeness.learned import LONG_GUESS
from scraper.runs.events import Listener, PaceSet, RestBegan

LEAST_BASE = 0.25


class Throttling:
    """The owner thread's only way to change a domain's delay, rest and counts of failures."""

    def __init__(
        self,
        plan: Plan,
        run_id: str,
        clock: Clock,
        chance: Callable[[], float],
        tell: Listener,
        pending: Callable[[Domain], int],
    ) -> None:
        self._plan = plan
        self._run_id = run_id
        self._clock = clock
        self._chance = chance
        self._tell = tell
        self._pending = pending
        self._refusals = Refusals(plan)

    def apply_robots(self, domain: Domain, robots_rules: RobotsRules) -> None:
        """Apply the robots.txt of one of the domain's origins."""
        domain.robots_cache[robots_rules.origin] = robots_rules
        domain.asking.discard(robots_rules.origin)
        domain.visit_window = robots_rules.robots.visit_time(self._plan.token) or domain.visit_window
        domain.stats.closed = robots_rules.closed
        domain.stats.robots[robots_rules.origin] = (
            robots_rules.exempt or robots_rules.closed or robots_rules.robots.hash
        )
        rules = [robots_rules.robots for robots_rules in domain.robots_cache.values()]
        delays = [delay for one in rules if (delay := one.crawl_delay(self._plan.token)) is not None]
        rates = [rate.delay for one in rules if (rate := one.request_rate(self._plan.token)) is not None]
        domain.crawl_delay, domain.request_interval = max(delays, default=None), max(rates, default=None)
        self.set_pace(domain)

    def set_pace(self, domain: Domain) -> None:
        """Compute the delay again from all rules that hold now."""
        plan = self._plan
        # A delay of 0 is for one's own server: nothing of ours slows it down, only what its robots.txt asks.
        factor = plan.delay_factor if plan.delay else 0.0
        pace = throttle.pace(
            plan.delay,
            factor,
            domain.state.elapsed,
            crawl_delay=domain.crawl_delay,
            request_interval=domain.request_interval,
            quota_interval=domain.quota_interval if self._clock.now() < domain.quota_until else None,
            limit=domain.state.limit,
            max_delay=plan.max_delay,
        )
        if domain.set_pace(pace):
            self._tell(PaceSet(domain.name, pace.delay, pace.source))

    def reason_to_leave(self, domain: Domain, now: float) -> str | None:
        """Why the domain is left for a later run; None if its next slot may be waited for."""
        if self._plan.active_hours or domain.visit_window is not None:
            self._rest_outside_hours(domain, now)
        decision = throttle.decide(domain.state, domain.pace, now, self.max_delay, self._plan.max_wait)
        if isinstance(decision, Deferred):
            return decision.reason
        if throttle.is_parked(domain.state, now):
            return f"{domain.state.reason}: a later run tries again"
        if throttle.is_ended(domain.state, self._run_id):
            domain.stats.is_refused = True
            return f"refused {throttle.MAX_REFUSALS} times in a row: {domain.state.reason}"
        return None

    def _rest_outside_hours(self, domain: Domain, now: float) -> None:
        wall = self._clock.wall()
        closed = throttle.until_open(self._plan.active_hours, second_of_day(wall))
        closed = max(closed, robots.wait_until_open(domain.visit_window, wall))
        if closed:
            domain.state = throttle.rest(domain.state, now + closed, "outside the hours for visits")

    @property
    def max_delay(self) -> float:
        """The longest delay that is kept within a run; a user's own is never too long."""
        return max(self._plan.max_delay, self._plan.delay)

    def judge_refusal(self, domain: Domain, visit: Visit) -> tuple[Visit, bool]:
        """The visit to settle, see `Refusals.judge`, and whether its URL is tried again next."""
        return self._refusals.judge(domain, visit, self._answered_at(visit), self.max_delay)

    def account_for_control(self, domain: Domain, answer: Answer) -> None:
        """Account for a control, see `refusals`: whether it was refused as a page before it was."""
        status = answer.exchange.status
        is_refused = answer.response is None or status in (403, 429) or status >= 500
        domain.stats.controls += not is_refused
        delay, before = domain.pace.delay, domain.state.rest_until
        domain.state = throttle.after(domain.state, answer.exchange, delay, self._plan.concurrency)
        sends = domain.sends_since() - is_refused
        domain.state = throttle.passed(domain.state, sends, domain.limiter.last_sent)
        self._refusals.controlled(domain, self._clock.now(), self.max_delay, is_refused=is_refused)
        self.set_pace(domain)
        self._tell_rest(domain, before)

    def account_for(self, domain: Domain, visit: Visit) -> None:
        """Count one exchange in the domain's state, and apply the reaction to its answer."""
        if visit.exchange is None:
            return
        delay, concurrency = domain.pace.delay, self._plan.concurrency
        domain.state = throttle.after(domain.state, visit.exchange, delay, concurrency)
        if visit.reaction.is_doubted:
            domain.sends_since()  # neither passed nor refused, as long as that is not known
            self._tell_rest(domain, 0.0)
        else:
            self.apply(domain, visit.reaction, self._answered_at(visit))

    def _answered_at(self, visit: Visit) -> float:
        """When the site answered, which may be some time ago on a machine that has much to do."""
        return visit.exchange.first_byte_at if visit.exchange is not None else self._clock.now()

    def apply(self, domain: Domain, reaction: Reaction, now: float | None = None) -> None:
        """Change the domain's state by a reaction: rest, back off, slow down, or forget its failures."""
        now = self._clock.now() if now is None else now
        before = domain.state.rest_until
        is_answer = not (reaction.limited or reaction.is_failure or reaction.refusal)
        sends = domain.sends_since() - (not is_answer)
        domain.state = throttle.passed(domain.state, sends, domain.limiter.last_sent)
        if reaction.limited:
            self._slow_down(domain, reaction, now)
        else:
            self._count_failure(domain, reaction, now)
            if reaction.rest is not None:
                reason = reaction.asked or f"Retry-After {reaction.rest:.0f} s"
                domain.state = throttle.rest(domain.state, now + reaction.rest, reason)
        if reaction.budgets:
            self._spread(domain, reaction.budgets, now)
        if self._plan.delay or reaction.budgets or domain.state.limit.is_learned:
            self.set_pace(domain)
        self._tell_rest(domain, before)

    def _tell_rest(self, domain: Domain, before: float) -> None:
        now = self._clock.now()
        if domain.state.rest_until > max(before, now):
            self._tell(RestBegan(domain.name, domain.state.rest_until - now, domain.state.reason))

    def _slow_down(self, domain: Domain, reaction: Reaction, now: float) -> None:
        """A refusal by rate speaks of the whole domain, and is remembered for longer than its rest."""
        domain.state = throttle.limited(
            domain.state,
            now,
            reaction.rest,
            domain.pace.delay,
            self.max_delay,
            retry.refused_by_rate(reaction.limited, reaction.rest),
            is_sure=not reaction.limited.startswith("status 5"),
            longest=min(LONG_GUESS, self._plan.max_wait),
        )

    def _spread(self, domain: Domain, budgets: tuple[tuple[int, float], ...], now: float) -> None:
        """Keep within what the site says is left: only as slowly as what is still to be asked needs."""
        pending = self._pending(domain)
        domain.quota_interval = domain.quota_until = 0.0
        for remaining, reset in budgets:
            if wait := retry.wait_for(remaining, reset):
                reason = f"RateLimit: none left for {reset:.0f} s"
                domain.state = throttle.rest(domain.state, now + wait, reason)
            elif pending > remaining and (gap := reset / remaining) <= self.max_delay:
                domain.quota_interval = max(domain.quota_interval, gap)
                domain.quota_until = max(domain.quota_until, now + reset)

    def _count_failure(self, domain: Domain, reaction: Reaction, now: float) -> None:
        state = domain.state
        if reaction.refusal and not reaction.failed_attempt:
            domain.state = throttle.refused(state, now, self._run_id, reaction.refusal)
        elif reaction.is_failure or (reaction.failed_attempt and state.trips):
            backoff = retry.backoff(state.failures + 1, self._chance())
            domain.state = throttle.failed(state, now, backoff)
        elif reaction.failed_attempt:
            base = min(1.0, max(LEAST_BASE, state.delay))
            until = now + retry.backoff(reaction.failed_attempt, self._chance(), base)
            domain.state = throttle.rest(state, until, f"backoff after attempt {reaction.failed_attempt}")
        elif reaction.rest is None:
            domain.state = throttle.succeeded(state)
