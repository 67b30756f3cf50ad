"""Checks what logins and callbacks request on a session, by the same rules as the crawl."""

import threading
from collections.abc import Callable, Mapping

from scraper.engine.robots_cache import RETRY_ROBOTS, RobotsRules
from scraper.errors import OutOfFiles, OutOfReach, RequestDenied
from scraper.http import redirects
from scraper.http.exchange import Answer, exchange
from scraper.http.session import DomainSession
from scraper.ops.clock import Clock
from scraper.politeness import retry, robots
from scraper.politeness.rate_limiter import RateLimiter
from scraper.politeness.retry import RetryAdvice
from scraper.politeness.robots import Access
from scraper.politeness.scope import is_inside
from scraper.urls import domain_of, host_of, origin_of


class ForeignRules:
    """Robots rules that sessions asked for themselves, by origin; each is asked for once a process."""

    def __init__(self) -> None:
        self._rules: dict[str, RobotsRules] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, origin: str, wall: float) -> RobotsRules | None:
        """The rules of an origin at a wall moment, if they are known."""
        rules = self._rules.get(origin)
        return rules if rules is not None and wall < rules.until else None

    def put(self, rules: RobotsRules) -> None:
        """Keep rules."""
        self._rules[rules.origin] = rules

    def asking(self, origin: str) -> threading.Lock:
        """What whoever asks for a robots.txt holds meanwhile."""
        with self._lock:
            return self._locks.setdefault(origin, threading.Lock())

    def all(self) -> list[RobotsRules]:
        """All that are known."""
        return list(self._rules.values())


class RequestGuard:
    """Scope, robots.txt and the length of a wait, looked at before a session sends anything.

    It is called on the thread that has the session. `known` are the robots rules of the owner thread:
    frozen values, looked up by one key. For an origin that is not among them the session fetches robots.txt
    here.
    """

    def __init__(
        self,
        session: DomainSession,
        known: Mapping[str, RobotsRules],
        exempted: Callable[[str], RobotsRules | None],
        token: str,
        allowed_domains: frozenset[str],
        max_wait: float,
        clock: Clock,
        foreign_rules: ForeignRules | None = None,
    ) -> None:
        self._session = session
        self._known = known
        self._exempted = exempted
        self._token = token
        self._allowed_domains = allowed_domains
        self._max_wait = max_wait
        self._clock = clock
        self._foreign_rules = foreign_rules or ForeignRules()

    def __call__(self, url: str) -> None:
        """Raise RequestDenied for a URL that may not be asked for now."""
        bare = url.partition("?")[0][:200]
        if not url.startswith(("https://", "http://")):
            raise RequestDenied(f"{bare}: only http and https are fetched")
        if not is_inside(host_of(url), self._allowed_domains):
            raise RequestDenied(
                f"{bare} is outside allowed_domains",
                "name the host there if the login leads through it",
            )
        self.check(url)

    def knows(self, url: str) -> bool:
        """Whether the rules for a URL are here, so that `check` asks for nothing."""
        return self._found(origin_of(url)) is not None

    def check(self, url: str) -> None:
        """Raise RequestDenied for a URL that robots.txt or a long rest forbids, wherever it is."""
        bare = url.partition("?")[0][:200]
        self._check_wait(url, bare)
        reason = self._robots_rules(origin_of(url)).refusal(self._token, url)
        if reason is not None:
            raise RequestDenied(f"{bare}: {reason}")

    def usage(self, url: str) -> str | None:
        """What robots.txt says about the use of a page (Content-Usage), as far as its origin is known."""
        robots_rules = self._known.get(origin_of(url)) if self._known else None
        return robots_rules.usage(self._token, url) if robots_rules is not None else None

    def _check_wait(self, url: str, bare: str) -> None:
        limiter = self._limiter(url)
        wait = limiter.due - self._clock.now() if limiter is not None else 0.0
        if wait > self._max_wait:
            raise RequestDenied(f"{bare}: a wait of {wait:.0f} s is longer than max_wait")

    def _limiter(self, url: str) -> RateLimiter | None:
        limiter = self._session.limiter
        if self._session.limiters is not None and domain_of(url) != self._session.domain:
            limiter = self._session.limiters(domain_of(url))
        return limiter if isinstance(limiter, RateLimiter) else None

    def _robots_rules(self, origin: str) -> RobotsRules:
        robots_rules = self._found(origin)
        if robots_rules is None:
            with self._foreign_rules.asking(origin):
                robots_rules = self._found(origin)
                if robots_rules is None:
                    robots_rules = self._exempted(origin) or self._ask(origin)
                    self._foreign_rules.put(robots_rules)
            self._keep_delay(origin, robots_rules)
        return robots_rules

    def _found(self, origin: str) -> RobotsRules | None:
        wall = self._clock.wall()
        known = self._known.get(origin)
        is_good = known is not None and wall < known.until
        return known if is_good else self._foreign_rules.get(origin, wall)

    def _keep_delay(self, origin: str, robots_rules: RobotsRules) -> None:
        limiter = self._limiter(origin)
        delay = robots_rules.robots.crawl_delay(self._token)
        if limiter is not None and delay is not None and delay > limiter.delay:
            limiter.slow_to(delay)

    def _ask(self, origin: str) -> RobotsRules:
        """Read a robots.txt; one that redirects to another domain is not ours to ask for, and closes all.

        One that asks for a wait within `max_wait` is asked once more, after it.
        """
        url = f"{origin}/robots.txt"
        has_waited = False
        for _ in range(redirects.MAX_ROBOTS_HOPS + 2):
            answer = exchange(self._session, "GET", url, most=robots.MAX_BODY + 1)
            pause = self._heed(url, answer)
            following = _next(answer, url)
            if following is None and not has_waited and 0 < pause <= self._max_wait and _is_closed(answer):
                has_waited, following = True, url
            if following is None:
                break
            url = following
        return self._read(origin, answer)

    def _heed(self, url: str, answer: Answer) -> float:
        """What a robots.txt says about when to ask holds for its whole domain; the wait it asks for (s)."""
        limiter, response = self._limiter(url), answer.response
        if limiter is None or response is None:
            return 0.0
        told = retry.told(response.status, response.headers, self._clock.wall())
        limiter.rest_until(self._clock.now() + told.pause)
        return told.pause

    def _read(self, origin: str, answer: Answer | None) -> RobotsRules:
        if answer is not None and isinstance(answer.error, OutOfFiles):
            raise answer.error  # it says nothing about the site
        response = answer.response if answer is not None else None
        status = response.status if response is not None else None
        access, now = robots.access(status), self._clock.wall()
        if access is Access.UNREACHABLE:
            error = answer.error if answer is not None else None
            why = error.message if isinstance(error, OutOfReach) else status or "no answer"
            closed = f"robots.txt is unreachable ({why}): nothing may be fetched"
            told = RetryAdvice() if response is None else retry.told(response.status, response.headers, now)
            until = now + max(RETRY_ROBOTS, told.pause)
            return RobotsRules(origin, robots.DISALLOW_ALL, until, status, now, closed)
        assert response is not None  # only an answer says that anything is allowed
        rules = robots.parse(response.content) if access is Access.PARSE else robots.ALLOW_ALL
        return RobotsRules(
            origin, rules, now + robots.lifetime(response.headers.get("cache-control")), status, now
        )


def _is_closed(answer: Answer) -> bool:
    return answer.response is not None and robots.access(answer.response.status) is Access.UNREACHABLE


def _next(answer: Answer | None, url: str) -> str | None:
    response = answer.response if answer is not None else None
    if response is None or not redirects.is_redirect(response.status):
        return None
    hop = redirects.next_hop(response.status, "GET", url, redirects.location_of(response.headers))
    is_near = isinstance(hop, redirects.Hop) and domain_of(hop.url) == domain_of(url)
    return hop.url if is_near and isinstance(hop, redirects.Hop) else None
