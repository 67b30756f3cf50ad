"""One request outside a run, under the same rules: lease, robots.txt, rate limit, hop by hop."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from scraper import settings as settings_of
from scraper.app.compose import worker_name
from scraper.app.project import PROBE
from scraper.app.session_opener import reach_from, robots_via, session_opener
from scraper.engine.batch import RobotsRequest
from scraper.engine.groups import Groups
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.errors import FetchError, OutOfReach, RequestDenied, StoreBusy
from scraper.http import redirects
from scraper.http.exchange import Answer, exchange
from scraper.http.session import DomainSession
from scraper.model import Deferred, Denied, Entry, NewUrl, Response, Visit
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock, second_of_day
from scraper.politeness import learned, retry, robots, scope, throttle
from scraper.politeness.blocks import refusal
from scraper.politeness.rate_limiter import RateLimiter
from scraper.politeness.retry import RetryAdvice
from scraper.politeness.throttle import Pace, State
from scraper.settings import Settings
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.urls import canonical, domain_of, fingerprint, host_of, origin_of

PATIENCE = 12.0  # seconds to wait for a domain that a run holds: it gives way after some
LOOK_EVERY = 0.25
BY_HAND = "asked for by hand"


@frozen
class Step:
    """One hop: its URL and what came of it. `refusal`: why nothing was sent; `is_later`: it may be later;
    `is_closed`: nothing may be asked for, as its robots.txt cannot be had.

    `wait`: in how many seconds, as far as that is known. `fault`: the error behind `error`. `blocked`: what
    the answer is recognised as, where it means "not you". `sent_at`: when it was sent (0: it was not), on the
    clock's line. `pace`: which rule sets the distance to the next request. `robots`: what robots.txt says.
    """

    url: str
    response: Response | None = None
    refusal: str = ""
    error: str = ""
    is_later: bool = False
    is_closed: bool = False
    next_url: str = ""
    wait: float = 0.0
    fault: FetchError | None = None
    blocked: str = ""
    sent_at: float = 0.0
    pace: Pace | None = None
    robots: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether a page came back that says what it should."""
        return self.response is not None and 200 <= self.response.status < 300


@frozen
class Sent:
    """A request as it is sent: `headers` are its own fields, beside those of the session."""

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@frozen
class SessionState:
    """What a session has: `cookies` as rows of `DomainCookieJar.dump`, what scripts keep by origin."""

    cookies: Sequence[Mapping[str, Any]] = ()
    storage: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(slots=True)
class _Held:
    """A domain that we have leased."""

    lease: Lease
    session: DomainSession
    limiter: RateLimiter
    state: State
    pace: Pace
    entry: Entry | None = None


class _LoadRules:
    """`LoadRules` of a page rendered by hand: other domains are leased as they are asked."""

    def __init__(self, allow: Callable[[str], None]) -> None:
        self.check = allow

    def knows(self, url: str) -> bool:
        """Never: `check` may have to wait."""
        return False


class SingleUrlFetcher:
    """Asks for single URLs. Use it as `with probing(...) as probe`; `tell` hears of each wait.

    `is_meant`: a person typed the URL, and so means its host, wherever that is.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        settings: Settings,
        tell: Callable[[str], None],
        *,
        is_meant: bool = True,
    ) -> None:
        self._store = store
        self._run = run
        self._settings = settings
        self._tell = tell
        self._clock = SystemClock(store.anchor())
        self._token = settings_of.token(settings)
        self._groups = Groups(store, run, settings_of.grouping(settings), self._clock)
        self._robots_cache = RobotsCache(store, self._clock, settings.robots_exempt, robots_via(settings))
        self._origins: set[str] = set()
        self._hosts: set[str] = set()
        reach = reach_from(settings, self._hosts)
        self._open_session = session_opener(settings, self._clock, self._origins, reach=reach)
        self._held: dict[str, _Held] = {}
        self._is_meant = is_meant
        self._until = math.inf
        self._is_wanted: Callable[[], bool] = lambda: True

    def step(self, url: str, until: float, is_wanted: Callable[[], bool], sent: Sent | None = None) -> Step:
        """One hop for a caller who waits until a moment of the clock, or leaves before."""
        self._until, self._is_wanted = until, is_wanted
        self._mean(url)
        return self._step(url, sent or Sent())

    def belongings(self, name: str) -> SessionState:
        """What the session of a domain that is ours has."""
        session = self._held[name].session
        return SessionState(session.cookies.dump(), session.storage.items)

    def keep(self, url: str, before: SessionState, after: SessionState) -> Step:
        """Take over what a browser made of the belongings of a domain; nothing is asked for."""
        self._until, self._is_wanted = math.inf, lambda: True
        held = self._owned(url)
        if isinstance(held, Step):
            return held
        held.session.cookies.mirror(after.cookies, before.cookies)
        for origin, items in after.storage.items():
            held.session.storage.put(origin, items)
        return Step(url)

    @property
    def held(self) -> tuple[str, ...]:
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

    def fetch(self, url: str) -> Iterator[Step]:
        """Each hop from a URL to its page, or to the first that may not be asked for."""
        self._mean(url)
        for _ in range(redirects.MAX_HOPS + 1):
            step = self._step(url, Sent())
            yield step
            if not step.next_url:
                return
            url = step.next_url

    def _mean(self, url: str) -> None:
        """Who types a URL means its host: its credentials go there, and it may be on this machine."""
        if not self._is_meant:
            return
        self._origins.add(origin_of(url))
        self._hosts.add(host_of(url))

    @property
    def clock(self) -> SystemClock:
        """The clock of its rate limiters."""
        return self._clock

    def session_for_loads(self, url: str) -> DomainSession:
        """The session of a domain that is ours, for what a page of it asks for."""
        session = self._held[domain_of(url)].session
        session.load_rules = _LoadRules(self._allow)
        session.limiters = lambda name: self._held[name].limiter
        return session

    def _allow(self, url: str) -> None:
        """Have the domain of a URL, or raise RequestDenied."""
        found = self._rules(url)
        reason = (
            (found.refusal or found.error) if isinstance(found, Step) else found.refusal(self._token, url)
        )
        held = self._hold(url, found) if isinstance(found, RobotsRules) and not reason else None
        if reason or isinstance(held, Step):
            raise RequestDenied(reason or (held.refusal if isinstance(held, Step) else ""))

    def robots_rules(self, url: str) -> RobotsRules | Step:
        """The rules for a URL, asked for where they are not known; a Step says why that cannot be now."""
        self._mean(url)
        return self._rules(url)

    def _rules(self, url: str) -> RobotsRules | Step:
        origin = origin_of(url)
        while (found := self._robots_cache.find(origin)) is None:
            learned: RobotsRules | RobotsRequest | Step | None = self._robots_cache.robots_request(origin)
            while isinstance(learned, RobotsRequest):
                held = self._hold(learned.url)
                if isinstance(held, Step):
                    return held
                learned = self._ask_robots(held, learned)
                if isinstance(learned, Step):
                    return learned
        return found

    def _ask_robots(
        self, held: _Held, robots_request: RobotsRequest
    ) -> RobotsRules | RobotsRequest | Step | None:
        answer = exchange(
            held.session, "GET", robots_request.url, dict(robots_request.headers), most=robots.MAX_BODY + 1
        )
        if isinstance(answer.error, OutOfReach):
            return _unanswered(robots_request.url, answer.error)
        self._account(held, answer)
        learned = self._robots_cache.learn(robots_request, answer, is_last=True)
        self._robots_cache.save()
        return learned

    def _step(self, url: str, sent: Sent) -> Step:
        if scope.has_credentials(url):
            return Step(
                f"{url.partition('://')[0]}://...@{url.rpartition('@')[2]}", refusal=scope.CREDENTIALS
            )
        robots_rules = self._rules(url)
        if isinstance(robots_rules, Step):
            return replace(robots_rules, url=url)
        reason = robots_rules.refusal(self._token, url)
        if reason is not None:
            return Step(url, refusal=reason, is_closed=bool(robots_rules.closed))
        held = self._hold(url, robots_rules)
        if isinstance(held, Step):
            return held
        answer = exchange(held.session, sent.method, url, sent.headers, sent.body)
        if isinstance(answer.error, OutOfReach):
            return _unanswered(url, answer.error)
        blocked = self._account(held, answer)
        if answer.response is None:
            return replace(_unanswered(url, answer.error), pace=held.pace)
        return Step(
            url,
            answer.response,
            next_url=self._target(url, answer.response),
            blocked=blocked or "",
            sent_at=answer.exchange.sent_at,
            pace=held.pace,
            robots=robots_rules.told(self._token, url),
        )

    def _target(self, url: str, response: Response) -> str:
        if not redirects.is_redirect(response.status):
            return ""
        hop = redirects.next_hop(response.status, "GET", url, redirects.location_of(response.headers))
        return hop.url.partition("#")[0] if isinstance(hop, redirects.Hop) else ""

    # the domain -----------------------------------------------------------------------------------------
    def _hold(self, url: str, robots_rules: RobotsRules | None = None) -> _Held | Step:
        """The domain of a URL, ours and with its next slot come; a Step where that cannot be now."""
        held = self._owned(url)
        if isinstance(held, Step):
            return held
        if robots_rules is not None:
            held.pace = pace_of(self._settings, self._token, robots_rules, held.state)
            held.limiter.slow_to(held.pace.delay)
        return self._closed(held, url) or held

    def _owned(self, url: str) -> _Held | Step:
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
        give_up = min(self._clock.now() + PATIENCE, self._until)
        while True:
            lease = self._store.lease_domain(self._run, name)
            if lease is not None and self._groups.join(name, self._settings.delay):
                return lease
            if self._clock.now() > give_up or not self._is_wanted():
                return None
            self._store.heartbeat()
            self._clock.sleep(LOOK_EVERY)

    def _open(self, lease: Lease) -> _Held:
        now = self._clock.now()
        state = throttle.recovered(throttle.from_json(lease.state), now)
        state = replace(state, limit=learned.settled(learned.eased(state.limit, now)))
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
        return _Held(lease, self._open_session(lease, limiter), limiter, state, pace, entry)

    def _closed(self, held: _Held, url: str) -> Step | None:
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
        if now + wait > self._until:
            return Step(url, refusal=cause, is_later=True, wait=wait, pace=held.pace)
        if wait >= 1:
            self._tell(f"waits {wait:.1f} s for {held.lease.domain}: {cause}")
        # Here and not in the rate limiter: what is slept there counts as the site's response time.
        self._sleep(held.limiter.due - now)
        return None if self._is_wanted() else Step(url, refusal="the caller has left", is_later=True)

    def _sleep(self, wait: float) -> None:
        """Wait, and stay alive for the store meanwhile."""
        until = self._clock.now() + wait
        while (left := until - self._clock.now()) > 0 and self._is_wanted():
            self._clock.sleep(min(left, 1.0))
            self._store.heartbeat()

    def _account(self, held: _Held, answer: Answer) -> str | None:
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

    def _update(self, held: _Held) -> DomainUpdate:
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


def _unanswered(url: str, error: FetchError | None) -> Step:
    return Step(url, error=error.message if error is not None else "no answer", fault=error)


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


@contextmanager
def probing(store: Store, settings: Settings, tell: Callable[[str], None]) -> Iterator[SingleUrlFetcher]:
    """A SingleUrlFetcher at work; StoreBusy while another is."""
    store.join(worker_name())
    try:
        try:
            run = store.start_run(PROBE, "", fresh=True)
        except StoreBusy:
            raise StoreBusy("another request by hand is under way", "try again in a moment") from None
        probe = SingleUrlFetcher(store, run, settings, tell)
        try:
            yield probe
        finally:
            probe.release()
            store.end_run(run, {}, accepted=False, whole=False)
            store.prune(PROBE, 1)
    finally:
        store.leave()
