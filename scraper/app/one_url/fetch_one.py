"""One request outside a run, under the same rules: lease, robots.txt, rate limit, hop by hop."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from scraper import settings as settings_of
from scraper.app.compose import worker_name
from scraper.app.one_url.held_domains import HeldDomain, HeldDomains
from scraper.app.one_url.step import Sent, SessionState, Step, unanswered
from scraper.app.project import PROBE
from scraper.app.session_opener import reach_from, robots_via, session_opener
from scraper.engine.batch import RobotsRequest
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.errors import OutOfReach, RequestDenied, StoreBusy
from scraper.http import redirects
from scraper.http.exchange import exchange
from scraper.http.session import DomainSession
from scraper.model import Response
from scraper.ops.clock import SystemClock
from scraper.politeness import robots, scope
from scraper.settings import Settings
from scraper.store import Run, Store
from scraper.urls import domain_of, host_of, origin_of


class _LoadRules:
    """`LoadRules` of a page rendered by hand: other domains are leased as they are asked."""

    def __init__(self, allow: Callable[[str], None]) -> None:
        self.check = allow

    def knows(self, url: str) -> bool:
        """Never: `check` may have to wait."""
        return False


class SingleUrlFetcher:
    """Asks for single URLs. Use it as `with probing(...) as probe`; `tell` hears of each wait.

    `is_meant`: a person typed the URL, and so means its host, wherever that is. `domains`: those in hand.
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
        self._clock = SystemClock(store.anchor())
        self._token = settings_of.token(settings)
        self._robots_cache = RobotsCache(store, self._clock, settings.robots_exempt, robots_via(settings))
        self._origins: set[str] = set()
        self._hosts: set[str] = set()
        reach = reach_from(settings, self._hosts)
        open_session = session_opener(settings, self._clock, self._origins, reach=reach)
        self.domains = HeldDomains(store, run, settings, self._clock, open_session, tell)
        self._is_meant = is_meant

    def step(self, url: str, until: float, is_wanted: Callable[[], bool], sent: Sent | None = None) -> Step:
        """One hop for a caller who waits until a moment of the clock, or leaves before."""
        self.domains.until, self.domains.is_wanted = until, is_wanted
        self._mean(url)
        return self._step(url, sent or Sent())

    def belongings(self, name: str) -> SessionState:
        """What the session of a domain that is ours has."""
        session = self.domains[name].session
        return SessionState(session.cookies.dump(), session.storage.items)

    def keep(self, url: str, before: SessionState, after: SessionState) -> Step:
        """Take over what a browser made of the belongings of a domain; nothing is asked for."""
        self.domains.until, self.domains.is_wanted = math.inf, lambda: True
        held = self.domains.owned(url)
        if isinstance(held, Step):
            return held
        held.session.cookies.mirror(after.cookies, before.cookies)
        for origin, items in after.storage.items():
            held.session.storage.put(origin, items)
        return Step(url)

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
        session = self.domains[domain_of(url)].session
        session.load_rules = _LoadRules(self._allow)
        session.limiters = lambda name: self.domains[name].limiter
        return session

    def _allow(self, url: str) -> None:
        """Have the domain of a URL, or raise RequestDenied."""
        found = self._rules(url)
        reason = (
            (found.refusal or found.error) if isinstance(found, Step) else found.refusal(self._token, url)
        )
        held = self.domains.hold(url, found) if isinstance(found, RobotsRules) and not reason else None
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
                held = self.domains.hold(learned.url)
                if isinstance(held, Step):
                    return held
                learned = self._ask_robots(held, learned)
                if isinstance(learned, Step):
                    return learned
        return found

    def _ask_robots(
        self, held: HeldDomain, robots_request: RobotsRequest
    ) -> RobotsRules | RobotsRequest | Step | None:
        answer = exchange(
            held.session, "GET", robots_request.url, dict(robots_request.headers), most=robots.MAX_BODY + 1
        )
        if isinstance(answer.error, OutOfReach):
            return unanswered(robots_request.url, answer.error)
        self.domains.account(held, answer)
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
        held = self.domains.hold(url, robots_rules)
        if isinstance(held, Step):
            return held
        answer = exchange(
            held.session,
            sent.method,
            url,
            sent.headers,
            sent.body,
            is_load=sent.is_load,
            is_foreign=sent.is_foreign,
        )
        if isinstance(answer.error, OutOfReach):
            return unanswered(url, answer.error)
        blocked = self.domains.account(held, answer)
        if answer.response is None:
            return replace(unanswered(url, answer.error), pace=held.pace)
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
            probe.domains.release()
            store.end_run(run, {}, accepted=False, whole=False)
            store.prune(PROBE, 1)
    finally:
        store.leave()
