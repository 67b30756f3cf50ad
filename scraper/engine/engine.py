"""The crawl loop: one owner thread keeps the store, the heap of due domains and the group commit.

The life of a URL: `add` makes it pending; its domain is leased; the domain comes due and the URL is taken in
hand; robots.txt permits it; a thread fetches and parses it (`Fetcher.visit`); its visit waits for the next
settlement; `settle` writes records, links, cookies, clock and the URL's end in one transaction; now its links
are pending.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count

from scraper import retry, robots, throttle
from scraper.clock import Clock, second_of_day
from scraper.engine.crew import Crew, Errand, Post, Turn
from scraper.engine.domain import Domain
from scraper.engine.membership import Step
from scraper.engine.passport import Passport
from scraper.engine.permits import Permit, Permits
from scraper.errors import LoginFailed
from scraper.events import (
    DomainLeft,
    DomainState,
    Event,
    Listener,
    Noted,
    PaceSet,
    Postponed,
    Refused,
    RestBegan,
    RobotsRead,
    Settled,
    Ticked,
    Visited,
)
from scraper.model import (
    Deferred,
    Denied,
    Entry,
    Failed,
    Fetched,
    NewUrl,
    Outcome,
    Reaction,
    Redirected,
    Retry,
    Unchanged,
    Visit,
)
from scraper.session import DomainSession
from scraper.spider import request_of
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.turnstile import Turnstile, Turnstiles
from scraper.urls import domain_of, origin_of

SETTLE_EVERY = 0.1
SETTLE_AT = 100
BEAT_EVERY = 1.0
LOOK_EVERY = 0.5
HOLD = 2.0
IN_HAND = 100
FEW_IN_HAND = 16
MOST_DOMAINS = 2000
MOST_NAMED = 10_000
LEAVE_WITHIN = 2.5
LEAST_BASE = 0.25
MOST_IDLE = 15.0  # seconds that a connection is kept without use


class Stop(StrEnum):
    """Why the loop ended."""

    DONE = "done"
    DEFERRED = "deferred"
    PAGES = "max_pages"
    TIME = "max_time"
    SIGNAL = "signal"
    LOGIN = "login"


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings that the loop obeys; see DESIGN 3.5 for their meaning and units."""

    token: str
    delay: float = 1.0
    delay_factor: float = 1.0
    max_delay: float = 120.0
    max_wait: float = 300.0
    max_attempts: int = 4
    concurrency: int = 1
    max_pages: int | None = None
    max_time: float | None = None
    max_age: float = 0.0
    active_hours: tuple[tuple[int, int], ...] = ()
    has_login: bool = False
    allowed_domains: frozenset[str] = frozenset()
    sockets: int = 1000


class Engine:
    """Runs one spider's frontier to its end, or to a stop. All methods but `stop` are the owner thread's."""

    def __init__(
        self,
        store: Store,
        run: Run,
        crew: Crew,
        permits: Permits,
        open_session: Callable[[Lease, Turnstile], DomainSession],
        plan: Plan,
        clock: Clock,
        listeners: Sequence[Listener] = (),
        chance: Callable[[], float] = lambda: 0.5,
    ) -> None:
        self._store = store
        self._run = run
        self._crew = crew
        self._permits = permits
        self._open_session = open_session
        self._plan = plan
        self._clock = clock
        self._listeners = listeners
        self._chance = chance
        self._domains: dict[str, Domain] = {}
        self._heap: list[tuple[float, int, Domain]] = []
        self._tickets = count(1)
        self._unsettled: list[Visit] = []
        self._settle_by = 0.0
        self._beat_at = 0.0
        self._look_at = 0.0
        self._left: dict[str, str] = {}
        self._errands: dict[str, list[Errand]] = {}
        self._spared: set[int] = set()
        self._connected: set[str] = set()
        self._gates = Turnstiles(clock, plan.delay)
        self._stop: Stop | None = None
        self._began = clock.now()
        self._handed_out = 0
        self.pages = 0
        self.in_flight = 0

    # the loop ------------------------------------------------------------------------------------------
    def run(self) -> Stop:
        """Crawl until nothing is left, a limit is reached or somebody stops it."""
        while True:
            self._beat()
            self._lease()
            # Right after the look for more: only then does "nothing left" mean something.
            if (stop := self._why_stop()) is not None:
                return self._wind_down(stop)
            self._dispatch()
            for post in self._crew.collect(self._patience()):
                self._absorb(post)
            if self._is_settlement_due():
                self._settle()

    def stop(self, reason: Stop = Stop.SIGNAL) -> None:
        """Ask the loop to end; callable from a signal handler."""
        self._stop = reason

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The domains in hand, for those who watch."""
        return self._domains

    def _why_stop(self) -> Stop | None:
        if self._stop is not None:
            return self._stop
        plan = self._plan
        if plan.max_time is not None and self._clock.now() - self._began >= plan.max_time:
            return Stop.TIME
        if plan.max_pages is not None and self.pages >= plan.max_pages:
            return Stop.PAGES
        return self._is_finished()

    def _is_finished(self) -> Stop | None:
        if self.in_flight or self._unsettled or self._errands:
            return None
        if any(not domain.is_left for domain in self._domains.values()):
            return None
        if self._look_at <= self._clock.now():
            return None  # something may have become pending since the last look
        progress = self._store.progress(self._run)
        if progress.pending == 0:
            return Stop.DONE
        if progress.next_due is None:
            return Stop.DEFERRED if self._domains else None
        return Stop.DEFERRED if progress.next_due > self._clock.now() + self._plan.max_wait else None

    def _patience(self) -> float:
        """Seconds until the next thing to do."""
        now = self._clock.now()
        moments = [self._beat_at, self._look_at]
        if self._heap:
            moments.append(max(self._heap[0][0], now + self._crew.room()))
        if self._unsettled:
            moments.append(self._settle_by)
        return max(0.0, min(moments) - now)

    def _wind_down(self, stop: Stop) -> Stop:
        """Let what is in the air come in for a moment, then give everything back."""
        for domain in self._domains.values():
            for turn in domain.turns:
                turn.is_over = True
        give_up = self._clock.now() + LEAVE_WITHIN
        while self.in_flight and (left := give_up - self._clock.now()) > 0:
            for post in self._crew.collect(left):
                self._absorb(post)
        self._crew.close()
        self._settle()
        self._name_the_left()
        self._store.release([self._update(domain) for domain in self._domains.values()])
        self._domains.clear()
        return stop

    def _name_the_left(self) -> None:
        """Every URL that is left for a later run, with the reason; of very many the first."""
        for domain in self._domains.values():
            reason = self._left.get(domain.name)
            if reason is not None:
                for entry in self._store.take(self._run, domain.lease, MOST_NAMED):
                    self._tell(Postponed(entry.url, reason))

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    # leases --------------------------------------------------------------------------------------------
    def _beat(self) -> None:
        now = self._clock.now()
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT_EVERY
        if self._listeners:
            self._tell(self._state(now))
        for name in self._store.heartbeat():
            domain = self._domains.get(name)
            if domain is not None and now - domain.leased_at >= HOLD:
                domain.is_wanted = True
                for turn in domain.turns:
                    turn.is_over = True
                self._let_go(domain)

    def _state(self, now: float) -> Ticked:
        states = [
            DomainState(
                name,
                domain.tally.pages + domain.tally.unchanged,
                max(0.0, domain.due - now),
                domain.state.reason
                if domain.state.rest_until > max(now, domain.gate.due)
                else domain.pace.source,
                len(domain.turns),
                len(domain.buffer),
            )
            for name, domain in self._domains.items()
        ]
        states.sort(key=lambda state: -state.wait)
        tallies = [domain.tally for domain in self._domains.values()]
        return Ticked(
            self.pages,
            sum(tally.records for tally in tallies),
            sum(tally.failed for tally in tallies),
            self.in_flight,
            self._store.progress(self._run).pending,
            tuple(states[:50]),
            len(states),
        )

    def _lease(self) -> None:
        now = self._clock.now()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_EVERY
        for name in list(self._errands):
            lease = self._store.lease_domain(self._run, name)
            if lease is not None:
                self._open(lease)
        room = MOST_DOMAINS - len(self._domains)
        if room > 0:
            for lease in self._store.lease(self._run, room, now + self._plan.max_wait):
                self._open(lease)

    def _open(self, lease: Lease) -> None:
        plan = self._plan
        now = self._clock.now()
        state = throttle.recovered(throttle.from_json(lease.state), now)
        pace = throttle.pace(plan.delay)
        # The last owner may have kept a shorter delay, of another spider or other settings.
        due = max(lease.due, state.due) + max(0.0, pace.delay - state.delay)
        if lease.crashes:
            # What the dead owner had in the air counts from now.
            due = max(due, now + max(pace.delay, state.delay))
        gate = Turnstile(self._clock, pace.delay, due, concurrency=plan.concurrency, last_sent=state.sent_at)
        self._gates.hold(lease.domain, gate)
        domain = Domain(lease, self._open_session(lease, gate), gate, state, pace)
        self._let_out(domain)
        domain.leased_at = now
        domain.needs_login = plan.has_login and not domain.session.is_logged_in
        domain.errands.extend(self._errands.pop(lease.domain, ()))
        domain.is_left = lease.domain in self._left
        self._domains[lease.domain] = domain
        domain.set_pace(pace)
        # Until robots.txt is known again, a successor goes by the delay that was in force.
        domain.state = state
        max_delay = max(plan.max_delay, plan.delay)
        if state.delay > max_delay and due > now:
            self._leave(domain, f"its delay of {state.delay:g} s is longer than max_delay {max_delay:g} s")
        self._closed(domain, now)
        self._schedule(domain)

    def _let_out(self, domain: Domain) -> None:
        """What login and callbacks ask for goes by the rules of pages."""
        session, plan = domain.session, self._plan
        allowed = plan.allowed_domains or frozenset({domain.name})
        session.gates = self._gates.of
        session.check = Passport(
            session, domain.permits, self._permits.exempted, plan.token, allowed, plan.max_wait, self._clock
        )

    def _let_go(self, domain: Domain) -> None:
        """Give a domain back at a batch boundary: nothing in the air, everything settled."""
        if domain.turns or self._domains.get(domain.name) is not domain:
            return
        if domain.unsettled:
            self._settle()
        if self._domains.pop(domain.name, None) is None:
            return
        domain.ticket = 0
        foreign = [errand for errand in domain.errands if domain_of(errand.origin) != domain.name]
        if foreign:
            self._errands[domain.name] = foreign
        self._store.release([self._update(domain)])
        self._gates.let_go(domain.name)
        self._disconnect(domain)

    def _leave(self, domain: Domain, reason: str) -> None:
        """Do nothing more for a domain in this run; its URLs stay pending."""
        domain.is_left = True
        for turn in domain.turns:
            turn.is_over = True
        domain.tally.left = reason
        self._left[domain.name] = reason
        self._disconnect(domain)
        self._tell(DomainLeft(domain.name, reason))
        for errand in domain.errands:
            self._strand(errand, reason)

    def _strand(self, errand: Errand, reason: str) -> None:
        """Leave the domain whose robots.txt cannot be asked for: it is at a domain that was left."""
        home = self._domains.get(domain_of(errand.origin + "/"))
        if home is not None and not home.is_left:
            self._leave(home, f"its robots.txt is at {domain_of(errand.url)}: {reason}")

    def _keep_connected(self, domain: Domain) -> None:
        """Close what would only wait: a connection that is not used soon, or one too many."""
        if domain.turns or not domain.session.is_connected:
            return
        is_spare = domain.name not in self._connected and len(self._connected) >= self._plan.sockets
        if is_spare or domain.due - self._clock.now() > MOST_IDLE:
            self._disconnect(domain)
        else:
            self._connected.add(domain.name)

    def _disconnect(self, domain: Domain) -> None:
        self._connected.discard(domain.name)
        domain.session.disconnect()

    # dispatch ------------------------------------------------------------------------------------------
    def _schedule(self, domain: Domain, earliest: float = 0.0) -> None:
        """Put a domain where it comes due, if it can take another turn."""
        if domain.is_left or len(domain.turns) >= throttle.width(domain.state, self._plan.concurrency):
            return
        domain.ticket = next(self._tickets)
        heapq.heappush(self._heap, (max(domain.due, earliest), domain.ticket, domain))

    def _dispatch(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now and not self._crew.room():
            if self._stop is not None:
                return
            _, ticket, domain = heapq.heappop(self._heap)
            if ticket == domain.ticket:
                domain.ticket = 0
                self._begin_turn(domain, now)

    def _begin_turn(self, domain: Domain, now: float) -> None:
        if self._closed(domain, now):
            return
        if domain.due > now:
            return self._schedule(domain)
        if domain.is_wanted and not domain.turns:
            return self._let_go(domain)
        if domain.needs_login and domain.turns:
            return  # a login is alone with its session; the end of the other turn comes back here
        turn = self._next_turn(domain)
        if turn is None:
            return self._run_dry(domain)
        domain.turns.add(turn)
        self.in_flight += 1
        self._crew.submit(turn)
        # The turn has yet to take its slot; another one now would only wait in the gate, and hold a thread.
        self._schedule(domain, now + domain.pace.delay)

    def _closed(self, domain: Domain, now: float) -> bool:
        """Whether the domain is left alone: too long a delay or wait, or outside its hours."""
        if domain.is_left:
            return True
        wall = self._clock.wall()
        closed = throttle.until_open(self._plan.active_hours, second_of_day(wall))
        closed = max(closed, robots.wait_until_open(domain.visit_window, wall))
        if closed:
            domain.state = throttle.rest(domain.state, now + closed, "outside the hours for visits")
        max_delay = max(self._plan.max_delay, self._plan.delay)
        decision = throttle.decide(domain.state, domain.pace, now, max_delay, self._plan.max_wait)
        if isinstance(decision, Deferred):
            self._leave(domain, decision.reason)
            return True
        if throttle.is_ended(domain.state, self._run.id):
            domain.tally.is_refused = True
            self._leave(domain, f"refused {throttle.MAX_REFUSALS} times in a row: {domain.state.reason}")
            return True
        return False

    def _next_turn(self, domain: Domain) -> Turn | None:
        """The domain's next errand or URLs; None where there is nothing to do now."""
        entry = None if domain.errands else self._next_entry(domain)
        if domain.errands:
            return Turn(domain.name, domain.session, errand=domain.errands.popleft())
        if entry is None:
            return None
        if domain.needs_login:
            domain.buffer.appendleft(entry)
            return Turn(domain.name, domain.session, login=True)
        turn = Turn(domain.name, domain.session)
        self._hand_out(turn, entry)
        self._top_up(domain, turn)
        return turn

    def _hand_out(self, turn: Turn, entry: Entry) -> None:
        turn.entries.append(entry)
        self._handed_out += 1

    def _top_up(self, domain: Domain, turn: Turn) -> None:
        """Without a delay a thread goes from URL to URL: waking the owner costs more than a page."""
        if domain.pace.delay > 0 or turn.is_over:
            return
        while len(turn.entries) < IN_HAND and (entry := self._next_entry(domain)) is not None:
            self._hand_out(turn, entry)

    def _next_entry(self, domain: Domain) -> Entry | None:
        """The next URL that is to be asked for; None if there is none, or robots.txt has to be read first."""
        while self._has_room():
            if not domain.buffer and not self._refill(domain):
                return None
            entry = domain.buffer[0]
            permit = self._permit(domain, entry.url)
            if permit is None or domain.is_left:
                return None
            domain.buffer.popleft()
            reason = permit.refusal(self._plan.token, entry.url)
            if reason is not None:
                self._take_in(domain, Visit(entry, Denied(reason)))
            elif self._is_fresh(entry):
                self._take_in(domain, Visit(entry, Unchanged(entry.known)))  # type: ignore[arg-type]
            else:
                return entry
        return None

    def _has_room(self) -> bool:
        most = self._plan.max_pages
        return most is None or self.pages + self._handed_out < most

    def _refill(self, domain: Domain) -> bool:
        if domain.is_dry:
            return False
        most = IN_HAND if domain.pace.delay < 0.1 else FEW_IN_HAND
        entries = self._store.take(self._run, domain.lease, most, list(domain.held))
        domain.is_dry = len(entries) < most
        domain.buffer.extend(entries)
        domain.held.update(entry.id for entry in entries)
        return bool(entries)

    def _is_fresh(self, entry: Entry) -> bool:
        known = entry.known
        if known is None or known.is_outdated:
            return False
        now = self._clock.wall()
        own = request_of(entry).max_age if entry.request else None
        return now < known.fresh_until or now < known.fetched_at + (
            self._plan.max_age if own is None else own
        )

    def _permit(self, domain: Domain, url: str) -> Permit | None:
        """The rules for a URL; None after asking for them in the domain's own turn."""
        origin = origin_of(url)
        permit = domain.permits.get(origin)
        if permit is not None and self._clock.wall() < permit.until:
            return permit
        permit = self._permits.find(origin)
        if permit is None:
            if origin not in domain.asking:
                domain.asking.add(origin)
                domain.errands.append(self._permits.errand(origin))
            return None
        self._obey(domain, permit)
        return permit

    def _obey(self, domain: Domain, permit: Permit) -> None:
        domain.permits[permit.origin] = permit
        domain.asking.discard(permit.origin)
        domain.visit_window = permit.robots.visit_time(self._plan.token) or domain.visit_window
        domain.tally.closed = permit.closed
        domain.tally.robots[permit.origin] = permit.exempt or permit.closed or permit.robots.hash
        self._set_pace(domain)
        # A wait that is too long is known now; at the domain's next slot it would be too late to tell.
        self._closed(domain, self._clock.now())

    def _set_pace(self, domain: Domain, interval: float | None = None) -> None:
        plan = self._plan
        # A delay of 0 is for one's own server: nothing of ours slows it down, only what its robots.txt asks.
        factor = plan.delay_factor if plan.delay else 0.0
        rules = [permit.robots for permit in domain.permits.values()]
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

    def _run_dry(self, domain: Domain) -> None:
        if domain.errands or (domain.buffer and not domain.asking and self._has_room()):
            return self._schedule(domain)
        if domain.is_idle:
            self._let_go(domain)

    # what comes back -----------------------------------------------------------------------------------
    def _absorb(self, post: Post) -> None:
        domain = self._domains.get(post.turn.domain)
        if post.ends:
            self.in_flight -= 1
        if domain is None or post.turn not in domain.turns:
            return  # the domain was lost to another worker meanwhile
        self._handed_out -= len(post.visits)
        for visit in post.visits:
            self._take_in(domain, visit)
        if not post.ends:
            self._top_up(domain, post.turn)
            return
        self._end_turn(domain, post)

    def _end_turn(self, domain: Domain, post: Post) -> None:
        domain.turns.discard(post.turn)
        self._handed_out -= len(post.turn.entries)
        domain.buffer.extendleft(reversed(post.turn.entries))
        domain.buffer.extendleft(domain.again)
        domain.again.clear()
        if post.answer is not None and post.turn.errand is not None:
            self._take_robots(domain, post.turn.errand, post)
        elif post.error is not None:
            self._take_error(domain, post.error)
        elif post.turn.login:
            self._logged_in(domain)
        self._keep_connected(domain)
        self._schedule(domain)
        if domain.is_wanted:
            self._let_go(domain)

    def _logged_in(self, domain: Domain) -> None:
        domain.needs_login = False
        domain.membership.renewed()
        if domain.session.has_login:
            domain.tally.logins += 1
            self._tell(Noted(f"{domain.name}: logged in"))

    def _logged_out(self, domain: Domain, visit: Visit) -> tuple[Visit, bool]:
        """What becomes of a page that no longer knows us; False where it stays in hand and comes first."""
        match domain.membership.missed(visit.entry.id):
            case Step.RENEW:
                domain.needs_login, domain.session.is_logged_in = True, False
                domain.again.append(visit.entry)
                return visit, False
            case Step.STRANGE:
                reason = "asks for a login even right after one"
                return replace(visit, outcome=Failed(reason, "logged out")), True
            case Step.GIVE_UP:
                domain.session.is_logged_in = False
                domain.tally.login = "still logged out right after a login"
                self._leave(domain, domain.tally.login)
        return visit, True

    def _take_error(self, domain: Domain, error: BaseException) -> None:
        if not isinstance(error, LoginFailed):
            raise error
        domain.session.is_logged_in = False
        domain.tally.login = error.message
        self._leave(domain, error.message)

    def _take_robots(self, domain: Domain, errand: Errand, post: Post) -> None:
        assert post.answer is not None
        answer = post.answer
        response = answer.response
        status = response.status if response is not None else None
        rest = retry.asked_wait(status, response.headers, self._clock.wall()) if response and status else None
        is_last = max(errand.tries, domain.state.failures) + 1 >= self._plan.max_attempts
        learned = self._permits.learn(errand, answer, is_last=is_last)
        is_failure = learned is None or (isinstance(learned, Permit) and bool(learned.closed))
        self._react(domain, Reaction(is_failure and rest is None, "", rest))
        if isinstance(learned, Errand):
            self._send_errand(learned)
        elif learned is None:
            origin = self._permits.errand(errand.origin)
            self._send_errand(Errand(errand.origin, origin.url, 0, errand.tries + 1, origin.headers))
        else:
            self._tell(
                RobotsRead(errand.origin, status, learned.robots.hash, learned.until - self._clock.wall())
            )
            home = self._domains.get(domain_of(errand.origin + "/"))
            if home is not None:
                self._obey(home, learned)
                self._schedule(home)

    def _send_errand(self, errand: Errand) -> None:
        """An errand waits its turn in the clock of the domain it leads to."""
        name = domain_of(errand.url)
        if name in self._left:
            return self._strand(errand, self._left[name])
        domain = self._domains.get(name)
        if domain is not None:
            domain.errands.appendleft(errand)
            return self._schedule(domain)
        self._errands.setdefault(name, []).append(errand)
        self._look_at = 0.0

    def _take_in(self, domain: Domain, visit: Visit) -> None:
        """Account for a visit and leave it to the next settlement."""
        if visit.reaction.is_logged_out:
            visit, is_kept = self._logged_out(domain, visit)
        else:
            visit, is_kept = self._fair(visit), True
            if isinstance(visit.outcome, Fetched | Unchanged):
                domain.membership.shown(visit.entry.id)
        if is_kept:
            self._leave_to_settlement(domain, visit)
        domain.tally.count(visit)
        if isinstance(visit.outcome, Fetched | Unchanged):
            self.pages += 1
        if visit.exchange is not None:
            domain.state = throttle.after(
                domain.state, visit.exchange, domain.pace.delay, self._plan.concurrency
            )
            self._react(domain, visit.reaction)
        self._tell(Visited(visit))

    def _leave_to_settlement(self, domain: Domain, visit: Visit) -> None:
        if not self._unsettled:
            self._settle_by = self._clock.now() + SETTLE_EVERY
        self._unsettled.append(visit)
        domain.unsettled += 1

    def _fair(self, visit: Visit) -> Visit:
        """A kept connection that broke costs no attempt, but only once for each URL."""
        if isinstance(visit.outcome, Retry) and not visit.outcome.counts:
            if visit.entry.id in self._spared:
                reaction = Reaction(hitch=visit.entry.attempts + 1)
                return Visit(visit.entry, Retry(visit.outcome.reason), visit.exchange, reaction)
            self._spared.add(visit.entry.id)
        return visit

    def _react(self, domain: Domain, reaction: Reaction) -> None:
        """What an answer means for the whole domain."""
        now = self._clock.now()
        before = domain.state.rest_until
        if reaction.refusal:
            domain.state = throttle.refused(domain.state, now, self._run.id, reaction.refusal)
        elif reaction.is_failure or (reaction.hitch and domain.state.trips):
            backoff = retry.backoff(domain.state.failures + 1, self._chance())
            domain.state = throttle.failed(domain.state, now, backoff)
        elif reaction.hitch:
            base = min(1.0, max(LEAST_BASE, domain.state.delay))
            until = now + retry.backoff(reaction.hitch, self._chance(), base)
            domain.state = throttle.rest(domain.state, until, f"backoff after attempt {reaction.hitch}")
        elif reaction.rest is None:
            domain.state = throttle.succeeded(domain.state)
        if reaction.rest is not None:
            reason = f"Retry-After {reaction.rest:.0f} s"
            domain.state = throttle.rest(domain.state, now + reaction.rest, reason)
            self._settle_by = 0.0  # a wait that the site asked for outlives us at once
        if self._plan.delay or reaction.interval is not None:
            self._set_pace(domain, reaction.interval)
        if domain.state.rest_until > max(before, now):
            self._tell(RestBegan(domain.name, domain.state.rest_until - now, domain.state.reason))
        self._closed(domain, now)

    # settlement ----------------------------------------------------------------------------------------
    def _is_settlement_due(self) -> bool:
        if not self._unsettled:
            return False
        if len(self._unsettled) >= SETTLE_AT or self._clock.now() >= self._settle_by:
            return True
        return self._is_starving()

    def _is_starving(self) -> bool:
        """Whether a domain that could go on waits for links which only the settlement makes known."""
        domain = self._domains.get(self._unsettled[0].entry.domain)
        if domain is None or domain.turns or domain.buffer:
            return False
        return domain.due <= self._clock.now()

    def _update(self, domain: Domain) -> DomainUpdate:
        return domain.update(domain.due)

    def _settle(self) -> None:
        """Write the group in one transaction; only then are its links and its end real."""
        visits, self._unsettled = self._unsettled, []
        if not visits:
            return
        touched = {visit.entry.domain for visit in visits}
        domains = [domain for name in touched if (domain := self._domains.get(name)) is not None]
        settled = self._store.settle(self._run, visits, [self._update(domain) for domain in domains])
        for name in settled.lost:
            self._lose(name)
        for visit in visits:
            domain = self._domains.get(visit.entry.domain)
            if domain is not None:
                domain.unsettled -= 1
                domain.held.discard(visit.entry.id)
        if settled.refused and domains:
            # Links that are not followed belong to no leased domain; they are counted where they were found.
            domains[0].tally.denied += len(settled.refused)
        for refusal in settled.refused:
            self._tell(Refused(refusal.url, refusal.reason))
        self._wake(visits, domains)
        if settled.new:
            self._look_at = 0.0
        self._tell(Settled(len(visits)))

    def _wake(self, visits: Sequence[Visit], domains: Sequence[Domain]) -> None:
        """Domains that may have something to do again."""
        named = {link.domain for visit in visits for link in _links(visit.outcome)}
        named |= {visit.entry.domain for visit in visits if isinstance(visit.outcome, Retry | Unchanged)}
        for name in named | {domain.name for domain in domains}:
            domain = self._domains.get(name)
            if domain is None:
                continue
            domain.is_dry = domain.is_dry and name not in named
            if domain.is_idle and not domain.is_left and not self._refill(domain):
                self._let_go(domain)
            elif not domain.ticket:
                self._schedule(domain)

    def _lose(self, name: str) -> None:
        domain = self._domains.pop(name, None)
        if domain is not None:
            self._gates.let_go(name)
            self._disconnect(domain)
            domain.ticket = 0
            for turn in domain.turns:
                turn.is_over = True
            self._tell(Noted(f"{name} was taken over by another worker"))


def _links(outcome: Outcome) -> Sequence[NewUrl]:
    if isinstance(outcome, Fetched):
        return outcome.links
    return (outcome.to,) if isinstance(outcome, Redirected) else ()
