"""The leased domains: taking leases, opening sessions, the heap by due time, giving domains back."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count

from scraper.engine.batch import RobotsRequest
from scraper.engine.domain import Domain, RefusalsSeen
from scraper.engine.groups import LEFT_ALONE, Groups
from scraper.engine.plan import Plan
from scraper.engine.request_guard import ForeignRules, RequestGuard
from scraper.engine.robots_cache import RobotsCache
from scraper.http.idle_limit import MOST_QUIET, QUIET
from scraper.http.session import DomainSession
from scraper.ops.clock import Clock
from scraper.politeness import learned, throttle
from scraper.politeness.limit_search import settled
from scraper.politeness.rate_limiter import RateLimiter, RateLimiters
from scraper.runs.events import DomainLeft, Listener, Noted, Postponed
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.urls import domain_of

MOST_DOMAINS = 2000
MOST_AT_ONCE = 20  # domains taken in one look; opening thousands would hold up those that are open
MOST_NAMED = 10_000
MOST_IDLE = 15.0  # seconds that a connection is kept without use

SessionMaker = Callable[[Lease, RateLimiter], DomainSession]


class Leases:
    """The owner thread's leases. A domain that is left stays in hand, so that it is not taken up again."""

    def __init__(
        self,
        store: Store,
        run: Run,
        robots_cache: RobotsCache,
        open_session: SessionMaker,
        plan: Plan,
        clock: Clock,
        tell: Listener,
    ) -> None:
        self._store = store
        self._run = run
        self._robots_cache = robots_cache
        self._open_session = open_session
        self._plan = plan
        self._clock = clock
        self._tell = tell
        self._domains: dict[str, Domain] = {}
        self._heap: list[tuple[float, int, Domain]] = []
        self._tickets = count(1)
        self._connected: dict[str, int] = {}
        self._waiting = 0  # connections, of all domains
        self.groups = Groups(store, run, plan.group_of, clock, self._deadline)
        self._limiters = RateLimiters(clock, plan.delay, self._deadline, self._group_limiter)
        self.left: dict[str, str] = {}
        self.foreign_rules = ForeignRules()
        self.robots_requests: dict[str, list[RobotsRequest]] = {}
        # A domain comes and goes where others wait for it; what its refusals mean is known for the whole run.
        self._refusals: dict[str, RefusalsSeen] = {}

    def _deadline(self) -> float:
        return self._store.deadline

    def _group_limiter(self, domain: str) -> RateLimiter | None:
        group = self.groups.of(domain)
        return None if group is None else group.limiter

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._domains.values())

    def __len__(self) -> int:
        return len(self._domains)

    def get(self, name: str) -> Domain | None:
        """A domain by name, if it is in hand."""
        return self._domains.get(name)

    # taking -------------------------------------------------------------------------------------------
    def take_more(self) -> list[Domain]:
        """Lease domains with pending URLs or robots requests; return those that are new."""
        leases = [self._store.lease_domain(self._run, name) for name in list(self.robots_requests)]
        taken = [self._open(lease) for lease in leases if lease is not None and self._may_open(lease)]
        room = min(MOST_AT_ONCE, MOST_DOMAINS - len(self._domains))
        if room > 0:
            before = self._clock.now() + self._plan.max_wait
            more = self._store.lease(self._run, room, before)
            taken += [self._open(lease) for lease in more if self._may_open(lease)]
        return taken

    def _may_open(self, lease: Lease) -> bool:
        """Whether the domain's group is ours; else the domain is given back for a while."""
        if self.groups.join(lease.domain, self._plan.delay):
            return True
        self._store.release([DomainUpdate(lease, max(lease.due, self._clock.now() + LEFT_ALONE))])
        return False

    def _open(self, lease: Lease) -> Domain:
        plan = self._plan
        now = self._clock.now()
        state = throttle.recovered(throttle.from_json(lease.state), now)
        limit = learned.eased(state.limit, now)
        if lease.domain not in self._refusals:
            limit = settled(limit)  # the limit is looked for in one run only
        state = replace(state, limit=limit)
        pace = throttle.pace(plan.delay, limit=state.limit)
        # A rest is no slot: the delay is not added to it.
        due = state.due if lease.due <= state.rest_until else max(lease.due, state.due)
        # The last owner may have kept a shorter delay, of another spider or other settings.
        due += max(0.0, pace.delay - state.delay)
        if lease.crashes:
            # What the dead owner had in flight counts from now.
            due = max(due, now + max(pace.delay, state.delay))
        limiter = RateLimiter(
            self._clock,
            pace.delay,
            # The delay of the last owner lies before this slot: it is not to be added once more.
            due - max(0.0, state.delay - pace.delay),
            concurrency=plan.concurrency,
            last_sent=state.sent_at,
            deadline=self._deadline,
            group=self._group_limiter(lease.domain),
        )
        limiter.rest_until(max(due, state.rest_until))
        self._limiters.hold(lease.domain, limiter)
        domain = Domain(lease, self._open_session(lease, limiter), limiter, state, pace)
        domain.refusals = self._refusals.pop(lease.domain, RefusalsSeen())
        self._let_out(domain)
        domain.leased_at = now
        domain.needs_login = plan.has_login and not domain.session.is_logged_in
        domain.robots_requests.extend(self.robots_requests.pop(lease.domain, ()))
        domain.is_left = lease.domain in self.left
        self._domains[lease.domain] = domain
        domain.set_pace(pace)
        # Until robots.txt is known again, a successor goes by the delay that was in force.
        domain.state = state
        return domain

    def _let_out(self, domain: Domain) -> None:
        """What login and callbacks ask for goes by the rules of pages."""
        session, plan = domain.session, self._plan
        allowed = plan.allowed_domains or frozenset({domain.name})
        session.limiters = self._limiters.of
        request_guard = RequestGuard(
            session,
            domain.robots_cache,
            self._robots_cache.exempted,
            plan.token,
            allowed,
            plan.max_wait,
            self._clock,
            self.foreign_rules,
        )
        session.check, session.usage, session.load_rules = request_guard, request_guard.usage, request_guard

    # waiting ------------------------------------------------------------------------------------------
    def schedule(self, domain: Domain) -> None:
        """Put a domain on the heap at its due time, if it can take another batch."""
        if domain.is_left or len(domain.batches) >= throttle.width(domain.state, self._plan.concurrency):
            return
        domain.ticket = next(self._tickets)
        heapq.heappush(self._heap, (domain.due, domain.ticket, domain))

    @property
    def next_due(self) -> float | None:
        """When the first scheduled domain comes due."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> Domain | None:
        """The first domain that is due, no longer scheduled; None if none is."""
        while self._heap and self._heap[0][0] <= now:
            _, ticket, domain = heapq.heappop(self._heap)
            if ticket == domain.ticket:
                domain.ticket = 0
                return domain
        return None

    def keep_connected(self, domain: Domain) -> None:
        """Close what would only wait: a connection that is not used soon, or one too many."""
        if domain.batches or not (connections := domain.session.open_connections):
            return
        self._waiting += connections - self._connected.pop(domain.name, 0)
        self._connected[domain.name] = connections
        if self._waiting > self._plan.sockets or domain.due - self._clock.now() > MOST_IDLE:
            self._disconnect(domain)

    def disconnect_idle(self) -> None:
        """Close every connection that only waits: this machine has none left for those at work."""
        for domain in self:
            if not domain.batches:
                self._disconnect(domain)

    def _disconnect(self, domain: Domain) -> None:
        self._waiting -= self._connected.pop(domain.name, 0)
        domain.session.disconnect()

    # giving back --------------------------------------------------------------------------------------
    def leave(self, domain: Domain, reason: str) -> None:
        """Do nothing more for a domain in this run; its URLs stay pending."""
        domain.is_left = True
        domain.end_batches()
        domain.stats.left = reason
        self.left[domain.name] = reason
        self._disconnect(domain)
        self._tell(DomainLeft(domain.name, reason))
        for robots_request in domain.robots_requests:
            self.strand(robots_request, reason)

    def strand(self, robots_request: RobotsRequest, reason: str) -> None:
        """Leave the domain whose robots.txt cannot be asked for: it is at a domain that was left."""
        home = self.get(domain_of(robots_request.origin + "/"))
        if home is not None and not home.is_left:
            self.leave(home, f"its robots.txt is at {domain_of(robots_request.url)}: {reason}")

    def let_go(self, domain: Domain) -> None:
        """Give a domain back; nothing of it is in flight or unsettled."""
        if self._domains.pop(domain.name, None) is None:
            return
        domain.ticket = 0
        if domain.refusals.is_worth_keeping:
            self._refusals[domain.name] = domain.refusals
        foreign = [
            robots_request
            for robots_request in domain.robots_requests
            if domain_of(robots_request.origin) != domain.name
        ]
        if foreign:
            self.robots_requests[domain.name] = foreign
        domain.session.adapter.look(QUIET if self._domains else MOST_QUIET)
        self._store.release([domain.update()])
        self._leave_group(domain.name)
        self._limiters.let_go(domain.name)
        self._disconnect(domain)

    def _leave_group(self, name: str) -> None:
        for waiting in map(self.get, self.groups.leave(name)):
            if waiting is not None:
                self.schedule(waiting)

    def lose(self, name: str) -> None:
        """Forget a domain, or all of a group, that belongs to another worker now."""
        for member in self.groups.lost(name):
            self.lose(member)
        domain = self._domains.pop(name, None)
        if domain is not None:
            self._limiters.let_go(name)
            self._disconnect(domain)
            domain.ticket = 0
            domain.end_batches()
            self._leave_group(name)
            self._tell(Noted(f"{name} was taken over by another worker"))

    def give_all_back(self) -> None:
        """End: name every URL that is left for a later run (of very many the first), and release all."""
        for domain in self:
            reason = self.left.get(domain.name)
            if reason is not None:
                for entry in self._store.take(self._run, domain.lease, MOST_NAMED):
                    self._tell(Postponed(entry.url, reason))
            domain.session.adapter.look()
        names = list(self._domains)
        self._store.release([*(domain.update() for domain in self), *self.groups.updates(names)])
        self._domains.clear()
