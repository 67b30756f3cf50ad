"""robots.txt rules by origin: fetched as a request of its domain, kept in the store, obeyed."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from scraper.engine.batch import RobotsRequest
from scraper.errors import OutOfReach
from scraper.http import caching, redirects
from scraper.http.exchange import Answer
from scraper.model.frozen import frozen
from scraper.ops.clock import Clock
from scraper.politeness import robots
from scraper.politeness.blocks import PROXY_REFUSED, refusal
from scraper.politeness.robots import Access, Robots
from scraper.store import RobotsCopy, Store
from scraper.urls import domain_of

RETRY_ROBOTS = 60.0  # seconds that an unreachable robots.txt closes an origin before another run asks again


@frozen
class RobotsRules:
    """The rules of an origin, good `until` a wall moment.

    `closed`: why nothing may be fetched at all; `exempt`: the reason that the user gave for not asking.
    """

    origin: str
    robots: Robots
    until: float
    status: int | None = None
    checked_at: float = 0.0
    closed: str = ""
    exempt: str = ""
    speaks_of_use: bool = False

    def usage(self, token: str, url: str) -> str | None:
        """What the file says about the use of a URL (Content-Usage); None where it says nothing."""
        return self.robots.content_usage(token, url) if self.speaks_of_use else None

    def refusal(self, token: str, url: str) -> str | None:
        """Why a URL may not be fetched; None where it may."""
        if self.closed:
            return self.closed
        rule = self.robots.rule(token, url)
        if rule is None or rule.allow:
            return None
        return f"robots.txt line {rule.line}: Disallow: {rule.pattern[:100]} (for {rule.agent})"

    def told(self, token: str, url: str) -> str:
        """What allows a URL that may be fetched, for people."""
        if self.exempt:
            return f"not asked for: robots_exempt says: {self.exempt}"
        rule = self.robots.rule(token, url)
        if rule is not None:
            return f"robots.txt line {rule.line}: Allow: {rule.pattern[:100]} (for {rule.agent})"
        if self.status is not None and self.status >= 400:
            return f"there is no robots.txt (status {self.status}): all is allowed"
        return "no line of robots.txt speaks of it: allowed"


class RobotsCache:
    """The rules of this run by origin; the store keeps them across runs and for other spiders.

    What is learned is in the store after `save`: a crawl of many domains learns hundreds in a second.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        exempt: Mapping[str, str],
        via: Callable[[str], str] = lambda origin: "",
    ) -> None:
        self._store = store
        self._clock = clock
        self._exempt = exempt
        self._via = via
        self._robots_cache: dict[str, RobotsRules] = {}
        self._copies: dict[str, RobotsCopy | None] = {}  # what the store has, and will have, until `save`
        self._unsaved: set[str] = set()

    def find(self, origin: str) -> RobotsRules | None:
        """The rules in force, or None if robots.txt has to be fetched first."""
        robots_rules = self._robots_cache.get(origin)
        if robots_rules is None:
            robots_rules = self.exempted(origin) or self._stored(origin)
            if robots_rules is not None:
                self._robots_cache[origin] = robots_rules
        return robots_rules if robots_rules is not None and self._clock.wall() < robots_rules.until else None

    def exempted(self, origin: str) -> RobotsRules | None:
        """The rules of an origin in `robots_exempt`, None for any other; callable from any thread."""
        host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
        for name in (domain_of(origin + "/"), host):
            if name in self._exempt:
                return RobotsRules(origin, robots.ALLOW_ALL, float("inf"), exempt=self._exempt[name])
        return None

    def _stored(self, origin: str) -> RobotsRules | None:
        copy = self._copy_of(origin)
        return robots_rules_of(copy, self._clock.wall()) if copy is not None else None

    def _copy_of(self, origin: str) -> RobotsCopy | None:
        """What is kept of an origin, unless it was got through another proxy or with other credentials."""
        if origin not in self._copies:
            self._copies[origin] = self._store.robots(origin)
        copy = self._copies[origin]
        return copy if copy is not None and copy.via == self._via(origin) else None

    def _keep(self, copy: RobotsCopy, wall: str = "") -> None:
        if wall != PROXY_REFUSED:
            self._copies[copy.origin] = replace(copy, via=self._via(copy.origin))
            self._unsaved.add(copy.origin)

    def save(self) -> None:
        """Store what was learned since the last call."""
        copies = [copy for copy in map(self._copies.get, self._unsaved) if copy is not None]
        if copies:
            self._store.keep_robots(*copies)
        self._copies.clear()
        self._unsaved.clear()

    def robots_request(self, origin: str) -> RobotsRequest:
        """The request for an origin's robots.txt, conditional where a copy is kept."""
        copy = self._copy_of(origin)
        headers = {}
        if copy is not None and copy.status == 200:
            headers = caching.conditional_headers(copy.etag, copy.last_modified)
        return RobotsRequest(origin, f"{origin}/robots.txt", headers=tuple(headers.items()))

    def learn(
        self, robots_request: RobotsRequest, answer: Answer, *, is_last: bool
    ) -> RobotsRules | RobotsRequest | None:
        """What an answer means: rules, a redirect's next hop, or None where it is to be tried again."""
        if isinstance(answer.error, OutOfReach):
            return self._closed_here(robots_request.origin, answer.error.message)
        return self._learned(robots_request, answer, is_last)

    def _learned(
        self, robots_request: RobotsRequest, answer: Answer, is_last: bool
    ) -> RobotsRules | RobotsRequest | None:
        response = answer.response
        wall = challenge_in(answer)
        # A challenge is nobody's rules, whatever its status says.
        status = response.status if response is not None and not wall else None
        if response is not None and redirects.is_redirect(response.status):
            hop = redirects.next_hop(
                response.status, "GET", robots_request.url, redirects.location_of(response.headers)
            )
            if isinstance(hop, redirects.Hop) and robots_request.hops < redirects.MAX_ROBOTS_HOPS:
                return RobotsRequest(
                    robots_request.origin, hop.url, robots_request.hops + 1, robots_request.tries
                )
        before = self._copy_of(robots_request.origin)
        now = self._clock.wall()
        if status == 304 and before is not None and before.status == 200:
            copy = replace(before, checked_at=now, until=now + _kept(answer))
        else:
            since = 0.0
            if robots.access(status) is Access.UNREACHABLE:
                since = min((before.since if before is not None else 0.0) or now, now)
                # Asking again leads nowhere again.
                is_lost = bool(wall) or (status is not None and 300 <= status < 400)
                if not (is_last or is_lost) and robots.access(status, now - since) is Access.UNREACHABLE:
                    if before is None or not before.since:
                        # Since when it is unreachable counts, also where this run does not outwait it.
                        self._keep(RobotsCopy(robots_request.origin, b"", status, now, now, since))
                    return None
            copy = self._copy(robots_request.origin, answer, now, since, before)
        self._keep(copy, wall)
        robots_rules = robots_rules_of(copy, now)
        if robots_rules.closed and (wall or answer.error is not None):
            reason = wall or (answer.error.message if answer.error is not None else "")
            robots_rules = replace(robots_rules, closed=_closed(reason))
        self._robots_cache[robots_request.origin] = robots_rules
        return robots_rules

    def _closed_here(self, origin: str, reason: str) -> RobotsRules:
        """Rules for this run alone: other spiders may name the host."""
        now = self._clock.wall()
        rules = RobotsRules(origin, robots.DISALLOW_ALL, float("inf"), None, now, _closed(reason))
        self._robots_cache[origin] = rules
        return rules

    def _copy(
        self, origin: str, answer: Answer, now: float, since: float, before: RobotsCopy | None
    ) -> RobotsCopy:
        response = answer.response
        if response is None or since:
            # Within this run the answer stands; the next run asks again soon.
            status = response.status if response is not None and not challenge_in(answer) else None
            return RobotsCopy(origin, b"", status, now, now + RETRY_ROBOTS, since)
        etag, last_modified = caching.validators(response.headers, before.etag if before else None)
        body = (
            response.content[: robots.MAX_BODY + 1] if robots.access(response.status) is Access.PARSE else b""
        )
        return RobotsCopy(origin, body, response.status, now, now + _kept(answer), 0.0, etag, last_modified)

    def all(self) -> list[RobotsRules]:
        """The rules this run has used."""
        return list(self._robots_cache.values())


def challenge_in(answer: Answer) -> str:
    """What came instead of a robots.txt: a challenge page, or its proxy's refusal; empty where none did."""
    response = answer.response
    if response is not None and response.status == 407:
        return PROXY_REFUSED  # never the origin's own word (RFC 9110 15.5.8)
    if response is None or not 200 <= response.status < 300:
        return ""
    return refusal(response.status, response.headers, response.content) or ""


def robots_rules_of(copy: RobotsCopy, now: float) -> RobotsRules:
    """The rules of a stored robots.txt at a wall moment `now`."""
    access = robots.access(copy.status, now - copy.since if copy.since else 0.0)
    until = copy.until if caching.is_usable(copy.checked_at, copy.until, now) else 0.0
    if access is Access.UNREACHABLE:
        closed = _closed("no answer" if copy.status is None else f"status {copy.status}")
        return RobotsRules(copy.origin, robots.DISALLOW_ALL, until, copy.status, copy.checked_at, closed)
    rules = robots.parse(copy.body) if access is Access.PARSE else robots.ALLOW_ALL
    speaks_of_use = b"content-usage" in copy.body.lower()
    return RobotsRules(copy.origin, rules, until, copy.status, copy.checked_at, speaks_of_use=speaks_of_use)


def _closed(reason: str) -> str:
    return f"robots.txt is unreachable ({reason}): nothing may be fetched"


def _kept(answer: Answer) -> float:
    headers = answer.response.headers if answer.response is not None else {}
    return robots.lifetime(headers.get("cache-control"))
