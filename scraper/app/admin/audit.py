"""The politeness audit of a run: its requests to each domain, compared with the rules that held."""

from scraper.engine.domain_stats import DomainStats
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.store import Run, Store


@frozen
class RobotsSeen:
    """The rules of an origin that the run obeyed: hash of the body, seconds since it was read, its state."""

    origin: str
    hash: str
    age_s: float | None
    told: str


@frozen
class DomainAudit:
    """A domain: smallest gap and required delay (s), gaps shorter than the delay, refusals met."""

    domain: str
    requests: int
    min_gap_s: float | None
    delay_s: float
    delay_source: str
    breaches: int
    refusals: int
    robots: tuple[RobotsSeen, ...]


def audit(store: Store, run: Run) -> list[DomainAudit]:
    """Every domain of a run; those with breaches first."""
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(run).items()}
    found = [
        DomainAudit(
            name,
            stats.requests,
            stats.min_gap_s,
            stats.delay_s,
            stats.delay_source,
            stats.breaches,
            stats.refusals + stats.limited,
            tuple(_robots(store, origin, digest) for origin, digest in sorted(stats.robots.items())),
        )
        for name, stats in domain_stats.items()
    ]
    return sorted(found, key=lambda one: (-one.breaches, one.domain))


def _robots(store: Store, origin: str, noted: str) -> RobotsSeen:
    """`noted`: the hash of the body that was obeyed, or why there was none."""
    copy = store.robots(origin)
    age = None if copy is None else max(0.0, SystemClock(0.0).wall() - copy.checked_at)
    if len(noted) != 12 or not noted.isalnum():
        return RobotsSeen(origin, "", age, noted)
    status = "" if copy is None else "no answer" if copy.status is None else f"status {copy.status}"
    return RobotsSeen(origin, noted, age, status)
