"""The group commit: visits wait a moment and are settled together, about ten times a second."""

from collections.abc import Sequence

from scraper.engine.domain import Domain
from scraper.engine.leases import Leases
from scraper.model import Failed, Fetched, NewUrl, Outcome, Redirected, Refusal, Retry, Unchanged, Visit
from scraper.ops.clock import Clock
from scraper.runs.events import Listener, Refused, Settled
from scraper.store import Run, Store

SETTLE_EVERY = 0.1
SETTLE_AT = 100


class GroupCommit:
    """The visits that are not settled yet. Until they are, their links and their end are not real."""

    def __init__(self, store: Store, run: Run, leases: Leases, clock: Clock, tell: Listener) -> None:
        self._store = store
        self._run = run
        self._leases = leases
        self._clock = clock
        self._tell = tell
        self._visits: list[Visit] = []
        self._touched: set[str] = set()
        self.settle_by = 0.0

    def __len__(self) -> int:
        return len(self._visits) + len(self._touched)

    def touch(self, domain: Domain) -> None:
        """Have the clock of a domain written though its visit stays in hand: a rest outlives us at once."""
        self._touched.add(domain.name)
        self.settle_by = 0.0

    def add(self, domain: Domain, visit: Visit) -> None:
        """Take a visit in."""
        if not self._visits:
            self.settle_by = self._clock.now() + SETTLE_EVERY
        self._visits.append(visit)
        domain.unsettled += 1
        if visit.reaction.rest is not None:
            self.settle_by = 0.0  # a wait that the site asked for outlives us at once

    @property
    def is_due(self) -> bool:
        """Whether to settle now."""
        if not self:
            return False
        if self._touched or len(self._visits) >= SETTLE_AT or self._clock.now() >= self.settle_by:
            return True
        # A domain that could go on waits for links which only the settlement makes known.
        domain = self._leases.get(self._visits[0].entry.domain)
        return (
            domain is not None
            and not domain.batches
            and not domain.buffer
            and domain.due <= self._clock.now()
        )

    def settle(self) -> tuple[bool, list[Domain]]:
        """Write the group in one transaction; whether URLs are new, and the domains with something to do."""
        visits, self._visits = self._visits, []
        names, self._touched = _domains(visits) | self._touched, set()
        if not names:
            return False, []
        touched = [one for name in names if (one := self._leases.get(name)) is not None]
        updates = [domain.update() for domain in touched]
        updates += self._leases.groups.updates(domain.name for domain in touched)
        settled = self._store.settle(self._run, visits, updates)
        for name in settled.lost:
            self._leases.lose(name)
        for visit in visits:
            domain = self._leases.get(visit.entry.domain)
            if domain is not None:
                domain.unsettled -= 1
                domain.held.discard(visit.entry.id)
        if touched:
            # Links that are not followed belong to no leased domain; they are counted where they were found.
            touched[0].stats.count_unfollowed(settled.refused, settled.filtered)
            touched[0].stats.count_other_meta(settled.other_meta)
        for refusal in filter(_has_name, settled.refused):
            self._tell(Refused(refusal.url, refusal.reason, refusal.links))
        self._tell(Settled(len(visits)))
        return bool(settled.new), self._woken(visits)

    def _woken(self, visits: Sequence[Visit]) -> list[Domain]:
        """The domains that were visited or linked to; the store may have more for them than it had."""
        linked = {link.domain for visit in visits for link in _links(visit.outcome)}
        linked |= {visit.entry.domain for visit in visits if isinstance(visit.outcome, Retry | Unchanged)}
        woken = [self._leases.get(name) for name in linked | _domains(visits)]
        domains = [domain for domain in woken if domain is not None]
        for domain in domains:
            domain.is_dry = domain.is_dry and domain.name not in linked
        return domains


def _has_name(refusal: Refusal) -> bool:
    return bool(refusal.url)


def _domains(visits: Sequence[Visit]) -> set[str]:
    return {visit.entry.domain for visit in visits}


def _links(outcome: Outcome) -> Sequence[NewUrl]:
    if isinstance(outcome, Fetched | Failed):
        return outcome.links
    return (outcome.to,) if isinstance(outcome, Redirected) else ()
