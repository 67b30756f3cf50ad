"""What the origins of our domains permit: robots.txt fetched in its own turn, kept in the store, obeyed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from scraper import freshness, redirects, robots
from scraper.clock import Clock
from scraper.engine.crew import Errand
from scraper.exchange import Answer
from scraper.robots import Access, Robots
from scraper.store import RobotsCopy, Store
from scraper.urls import domain_of

RETRY_ROBOTS = 60.0  # seconds that an unreachable robots.txt closes an origin before another run asks again


@dataclass(frozen=True, slots=True)
class Permit:
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


class Permits:
    """The permits of this run by origin; the store keeps them across runs and for other spiders."""

    def __init__(self, store: Store, clock: Clock, exempt: Mapping[str, str]) -> None:
        self._store = store
        self._clock = clock
        self._exempt = exempt
        self._permits: dict[str, Permit] = {}

    def find(self, origin: str) -> Permit | None:
        """The permit in force, or None if robots.txt has to be asked for first."""
        permit = self._permits.get(origin)
        if permit is None:
            permit = self.exempted(origin) or self._stored(origin)
            if permit is not None:
                self._permits[origin] = permit
        return permit if permit is not None and self._clock.wall() < permit.until else None

    def exempted(self, origin: str) -> Permit | None:
        """The permit of an origin whose robots.txt the user told us not to ask for; from any thread."""
        host = origin.partition("://")[2].rpartition(":")[0] or origin.partition("://")[2]
        for name in (domain_of(origin + "/"), host):
            if name in self._exempt:
                return Permit(origin, robots.ALLOW_ALL, float("inf"), exempt=self._exempt[name])
        return None

    def _stored(self, origin: str) -> Permit | None:
        copy = self._store.robots(origin)
        return permit_of(copy, self._clock.wall()) if copy is not None else None

    def errand(self, origin: str) -> Errand:
        """The request for an origin's robots.txt, conditional where a copy is kept."""
        copy = self._store.robots(origin)
        headers = {}
        if copy is not None and copy.status == 200:
            headers = freshness.conditional_headers(copy.etag, copy.last_modified)
        return Errand(origin, f"{origin}/robots.txt", headers=tuple(headers.items()))

    def learn(self, errand: Errand, answer: Answer, *, is_last: bool) -> Permit | Errand | None:
        """What an answer means: a permit, a redirect's next hop, or None where it is to be tried again."""
        response = answer.response
        status = response.status if response is not None else None
        if response is not None and redirects.is_redirect(response.status):
            hop = redirects.next_hop(
                response.status, "GET", errand.url, redirects.location_of(response.headers)
            )
            if isinstance(hop, redirects.Hop) and errand.hops < redirects.MAX_ROBOTS_HOPS:
                return Errand(errand.origin, hop.url, errand.hops + 1, errand.tries)
        before = self._store.robots(errand.origin)
        now = self._clock.wall()
        if status == 304 and before is not None and before.status == 200:
            copy = replace(before, checked_at=now, until=now + _kept(answer))
        else:
            since = 0.0
            if robots.access(status) is Access.UNREACHABLE:
                since = (before.since if before is not None else 0.0) or now
                is_lost = status is not None and 300 <= status < 400  # asking again leads nowhere again
                if not (is_last or is_lost) and robots.access(status, now - since) is Access.UNREACHABLE:
                    return None
            copy = self._copy(errand.origin, answer, now, since)
        self._store.keep_robots(copy)
        permit = permit_of(copy, now)
        if permit.closed and answer.error is not None:
            permit = replace(permit, closed=_closed(answer.error.message))
        self._permits[errand.origin] = permit
        return permit

    def _copy(self, origin: str, answer: Answer, now: float, since: float) -> RobotsCopy:
        response = answer.response
        if response is None or since:
            # Within this run the answer stands; the next run asks again soon.
            status = response.status if response is not None else None
            return RobotsCopy(origin, b"", status, now, now + RETRY_ROBOTS, since)
        etag, last_modified = freshness.validators(response.headers)
        body = (
            response.content[: robots.MAX_BODY + 1] if robots.access(response.status) is Access.PARSE else b""
        )
        return RobotsCopy(origin, body, response.status, now, now + _kept(answer), 0.0, etag, last_modified)

    def all(self) -> list[Permit]:
        """The permits this run has used."""
        return list(self._permits.values())


def permit_of(copy: RobotsCopy, now: float) -> Permit:
    """What a stored robots.txt permits at a wall moment `now`."""
    access = robots.access(copy.status, now - copy.since if copy.since else 0.0)
    if access is Access.UNREACHABLE:
        closed = _closed("no answer" if copy.status is None else f"status {copy.status}")
        return Permit(copy.origin, robots.DISALLOW_ALL, copy.until, copy.status, copy.checked_at, closed)
    rules = robots.parse(copy.body) if access is Access.PARSE else robots.ALLOW_ALL
    speaks_of_use = b"content-usage" in copy.body.lower()
    return Permit(copy.origin, rules, copy.until, copy.status, copy.checked_at, speaks_of_use=speaks_of_use)


def _closed(reason: str) -> str:
    return f"robots.txt is unreachable ({reason}): nothing may be fetched"


def _kept(answer: Answer) -> float:
    headers = answer.response.headers if answer.response is not None else {}
    return robots.lifetime(headers.get("cache-control"))
