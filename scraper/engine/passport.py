"""What a session may ask for on its own, in logins and callbacks: the same as the crawl may."""

from collections.abc import Callable, Mapping

from scraper import redirects, robots
from scraper.clock import Clock
from scraper.engine.permits import Permit
from scraper.errors import RequestDenied
from scraper.exchange import Answer, exchange
from scraper.robots import Access
from scraper.scope import is_inside
from scraper.session import DomainSession
from scraper.turnstile import Turnstile
from scraper.urls import domain_of, host_of, origin_of


class Passport:
    """Scope, robots.txt and the length of a wait, looked at before a session sends anything.

    It is called on the thread that has the session. `known` are the owner's permits: frozen values, looked
    up by one key. The robots.txt of an origin that the owner has not met is asked for here, by the session.
    """

    def __init__(
        self,
        session: DomainSession,
        known: Mapping[str, Permit],
        exempted: Callable[[str], Permit | None],
        token: str,
        allowed_domains: frozenset[str],
        max_wait: float,
        clock: Clock,
    ) -> None:
        self._session = session
        self._known = known
        self._exempted = exempted
        self._token = token
        self._allowed_domains = allowed_domains
        self._max_wait = max_wait
        self._clock = clock
        self._own: dict[str, Permit] = {}

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
        self._check_wait(url, bare)
        reason = self._permit(origin_of(url)).refusal(self._token, url)
        if reason is not None:
            raise RequestDenied(f"{bare}: {reason}")

    def usage(self, url: str) -> str | None:
        """What robots.txt says about the use of a page (Content-Usage), as far as its origin is known."""
        permit = self._known.get(origin_of(url)) if self._known else None
        return permit.usage(self._token, url) if permit is not None else None

    def _check_wait(self, url: str, bare: str) -> None:
        gate = self._gate(url)
        wait = gate.due - self._clock.now() if gate is not None else 0.0
        if wait > self._max_wait:
            raise RequestDenied(f"{bare}: a wait of {wait:.0f} s is longer than max_wait")

    def _gate(self, url: str) -> Turnstile | None:
        gate = self._session.gate
        if self._session.gates is not None and domain_of(url) != self._session.domain:
            gate = self._session.gates(domain_of(url))
        return gate if isinstance(gate, Turnstile) else None

    def _permit(self, origin: str) -> Permit:
        permit = self._known.get(origin) or self._own.get(origin)
        if permit is None or self._clock.wall() >= permit.until:
            permit = self._own[origin] = self._exempted(origin) or self._ask(origin)
            self._keep_delay(origin, permit)
        return permit

    def _keep_delay(self, origin: str, permit: Permit) -> None:
        gate = self._gate(origin)
        delay = permit.robots.crawl_delay(self._token)
        if gate is not None and delay is not None and delay > gate.delay:
            gate.slow_to(delay)

    def _ask(self, origin: str) -> Permit:
        """Read a robots.txt; one that redirects to another domain is not ours to ask for, and closes all."""
        url: str | None = f"{origin}/robots.txt"
        answer: Answer | None = None
        for _ in range(redirects.MAX_ROBOTS_HOPS + 1):
            answer = exchange(self._session, "GET", url, most=robots.MAX_BODY + 1) if url else None
            url = _next(answer, url or "")
            if url is None:
                break
        return self._read(origin, answer)

    def _read(self, origin: str, answer: Answer | None) -> Permit:
        response = answer.response if answer is not None else None
        status = response.status if response is not None else None
        access, now = robots.access(status), self._clock.wall()
        if access is Access.UNREACHABLE:
            closed = f"robots.txt is unreachable ({status or 'no answer'}): nothing may be fetched"
            return Permit(origin, robots.DISALLOW_ALL, now, status, now, closed)
        assert response is not None  # only an answer says that anything is allowed
        rules = robots.parse(response.content) if access is Access.PARSE else robots.ALLOW_ALL
        return Permit(
            origin, rules, now + robots.lifetime(response.headers.get("cache-control")), status, now
        )


def _next(answer: Answer | None, url: str) -> str | None:
    response = answer.response if answer is not None else None
    if response is None or not redirects.is_redirect(response.status):
        return None
    hop = redirects.next_hop(response.status, "GET", url, redirects.location_of(response.headers))
    is_near = isinstance(hop, redirects.Hop) and domain_of(hop.url) == domain_of(url)
    return hop.url if is_near and isinstance(hop, redirects.Hop) else None
