"""Where a run stands, as its listeners are told once a second."""

from collections.abc import Iterable

from scraper.engine.domain import Domain
from scraper.runs.events import DomainState, Ticked

MOST_STATES = 50


def ticked(leased: Iterable[Domain], pages: int, in_flight: int, pending: int, now: float) -> Ticked:
    """The event of a moment; of many domains those that are due last."""
    domains = sorted(leased, key=lambda domain: -domain.due)
    return Ticked(
        pages,
        sum(domain.stats.records + domain.stats.kept_records for domain in domains),
        sum(domain.stats.failed for domain in domains),
        in_flight,
        pending,
        tuple(_state(domain, now) for domain in domains[:MOST_STATES]),
        len(domains),
    )


def _state(domain: Domain, now: float) -> DomainState:
    is_resting = domain.state.rest_until > max(now, domain.limiter.due)
    return DomainState(
        domain.name,
        domain.stats.pages + domain.stats.unchanged,
        max(0.0, domain.due - now),
        domain.state.reason if is_resting else domain.pace.source,
        len(domain.batches),
        len(domain.buffer),
    )
