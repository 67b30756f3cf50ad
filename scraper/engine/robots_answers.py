"""What an answer to a robots request means: for the rules of its origin, and for the domain that gave it."""

from collections.abc import Callable

from scraper.engine.batch import RobotsRequest
from scraper.engine.domain import Domain
from scraper.engine.leases import Leases
from scraper.engine.refusals import may_be_pace, note_credentials
from scraper.engine.robots_cache import RobotsCache, RobotsRules, challenge_in
from scraper.engine.throttling import Throttling
from scraper.errors import OutOfReach
from scraper.http.exchange import Answer
from scraper.model import Reaction
from scraper.ops.clock import Clock
from scraper.politeness import retry
from scraper.politeness.retry import RetryAdvice
from scraper.runs.events import Listener, RobotsRead
from scraper.urls import domain_of


class RobotsAnswers:
    """Learns from answers, and sends for a robots.txt once more: the next hop, or another try."""

    def __init__(
        self,
        robots_cache: RobotsCache,
        leases: Leases,
        throttling: Throttling,
        max_attempts: int,
        clock: Clock,
        is_left: Callable[[Domain], bool],
        obey: Callable[[Domain, RobotsRules], None],
        tell: Listener,
    ) -> None:
        self._robots_cache = robots_cache
        self._leases = leases
        self._throttling = throttling
        self._max_attempts = max_attempts
        self._clock = clock
        self._is_left = is_left
        self._obey = obey
        self._tell = tell

    def take(self, domain: Domain, robots_request: RobotsRequest, answer: Answer) -> bool:
        """Learn from an answer; whether another domain has to be leased for what comes next."""
        response = answer.response
        status = response.status if response is not None else None
        told = RetryAdvice()
        if response is not None:
            told = retry.told(response.status, response.headers, self._clock.wall())
        is_limited = told.is_limited and (told.rest is not None or may_be_pace(domain, status))
        # A refusal by rate is tried again after its rest, for as long as the run waits for that.
        tries = max(robots_request.tries, domain.state.failures) + (not is_limited)
        is_last = not is_limited and tries >= self._max_attempts
        learned = self._robots_cache.learn(robots_request, answer, is_last=is_last)
        is_ours = isinstance(answer.error, OutOfReach)  # nothing was sent, so the site did not fail
        is_failure = learned is None or (isinstance(learned, RobotsRules) and bool(learned.closed))
        refused = challenge_in(answer)
        if refused:
            domain.stats.refuse(refused)
            note_credentials(domain, refused)
        limited = f"status {status}" if is_limited else ""
        is_failure = is_failure and not (limited or refused or is_ours) and told.rest is None
        self._throttling.apply(domain, Reaction(is_failure, refused, told.rest, limited, told.budgets))
        self._is_left(domain)
        if isinstance(learned, RobotsRules):
            self._tell(RobotsRead(robots_request.origin, status, learned.robots.hash))
            self._apply(robots_request.origin, learned)
            return False
        if learned is None:
            origin = self._robots_cache.robots_request(robots_request.origin)
            tries = robots_request.tries + (not is_limited)
            learned = RobotsRequest(robots_request.origin, origin.url, 0, tries, origin.headers)
        return self._send(learned)

    def _apply(self, origin: str, rules: RobotsRules) -> None:
        home = self._leases.get(domain_of(origin + "/"))
        if home is not None:
            self._obey(home, rules)
            self._leases.schedule(home)

    def _send(self, robots_request: RobotsRequest) -> bool:
        """Queue a robots request on the domain that it leads to, whose delay it obeys."""
        name = domain_of(robots_request.url)
        domain = self._leases.get(name)
        if name in self._leases.left:
            self._leases.strand(robots_request, self._leases.left[name])
        elif domain is not None:
            domain.robots_requests.appendleft(robots_request)
            self._leases.schedule(domain)
        else:
            self._leases.robots_requests.setdefault(name, []).append(robots_request)
            return True
        return False
