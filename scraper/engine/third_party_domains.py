"""Third-party domains of rendered pages: another domain that a page loads from is leased like any other,
with its own delay and robots.txt, and is in use until the page is done."""

from collections.abc import Callable

from scraper.engine.batch import Batch, DomainWanted
from scraper.engine.domain import Domain
from scraper.engine.leases import Leases
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.model.frozen import slotted
from scraper.ops.clock import Clock
from scraper.runs.events import Listener, RobotsRead
from scraper.urls import domain_of

PATIENCE = 60.0  # seconds that a page waits for a domain that another worker has


@slotted
class _Waiting:
    batch: Batch
    wanted: DomainWanted
    until: float


class ThirdPartyDomains:
    """The owner thread answers `DomainWanted` here: which batches wait for a domain, and which use one."""

    def __init__(
        self,
        leases: Leases,
        robots_cache: RobotsCache,
        obey: Callable[[Domain, RobotsRules], None],
        clock: Clock,
        tell: Listener,
    ) -> None:
        self._leases = leases
        self._robots_cache = robots_cache
        self._obey = obey
        self._clock = clock
        self._tell = tell
        self._waiting: list[_Waiting] = []
        self._told: set[str] = set()
        self._used: dict[Batch, list[Domain]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, batch: Batch, wanted: DomainWanted) -> None:
        """Take up a request for a domain: answered now, or later by `look`."""
        self._waiting.append(_Waiting(batch, wanted, self._clock.now() + PATIENCE))
        self.look()
        if self._waiting:
            self._leases.robots_requests.setdefault(wanted.domain, [])  # has it leased at the next look

    def look(self) -> None:
        """Answer the batches whose domain is leased by now, or that have waited for too long."""
        if not self._waiting:
            return
        self._waiting, waiting = [], self._waiting
        for one in waiting:
            domain = self._leases.get(one.wanted.domain)
            if domain is None and self._clock.now() < one.until:
                self._waiting.append(one)
                continue
            self._answer(one, domain)

    def _answer(self, one: _Waiting, domain: Domain | None) -> None:
        name = one.wanted.domain
        if name in self._leases.left:
            one.wanted.answer(f"{name} is left alone: {self._leases.left[name]}")
        elif domain is None:
            self._leases.robots_requests.pop(name, None)
            one.wanted.answer(f"{name} is being visited by another worker", is_busy=True)
        else:
            domain.borrowers.add(one.batch)
            self._used.setdefault(one.batch, []).append(domain)
            for origin in one.wanted.origins:
                if (rules := self._robots_cache.find(origin)) is not None:
                    self._heed(domain, rules)
                    self._leases.foreign_rules.put(rules)
            one.wanted.answer("")

    def end(self, batch: Batch) -> None:
        """A page is done with the third-party domains that it used."""
        for domain in self._used.pop(batch, ()):
            if batch in domain.borrowers and self._leases.get(domain.name) is domain:
                domain.borrowers.discard(batch)
                self._learn(domain)
                self._leases.schedule(domain)

    def _learn(self, domain: Domain) -> None:
        """Adopt the robots rules that such pages have fetched themselves."""
        for rules in self._leases.foreign_rules.all():
            if domain_of(rules.origin + "/") != domain.name or rules.origin in domain.robots_cache:
                continue
            self._heed(domain, rules)
            if rules.origin not in self._told:
                self._told.add(rules.origin)
                self._tell(RobotsRead(rules.origin, rules.status, rules.robots.hash))

    def _heed(self, domain: Domain, rules: RobotsRules) -> None:
        """Keep the rules of a domain; that it cannot be reached is no trouble of a run with no URL there."""
        before = domain.stats.closed
        self._obey(domain, rules)
        domain.stats.closed = before
