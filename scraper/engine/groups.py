"""Politeness groups: domains that share a pace, because they are on one address.

The clock of a group is a row of the store like that of a domain, under a name that no domain has. Who owns it
may ask the group's domains, with one request in flight for all of them. A domain whose group is another
worker's is given back.
"""

from collections.abc import Callable, Iterable
from dataclasses import field

from scraper.model.frozen import slotted
from scraper.ops.clock import Clock
from scraper.politeness import throttle
from scraper.politeness.rate_limiter import RateLimiter, for_ever
from scraper.store import GROUP, DomainUpdate, Lease, Run, Store

HOLD = 10.0  # seconds that a group stays where it is, whoever waits for it
LEFT_ALONE = 5.0  # seconds for which it is then left to others, and a domain waits that cannot be asked


@slotted
class Group:
    """A group that is ours. `busy`: the domain with a request in flight; `waiting`: those that are due."""

    lease: Lease
    limiter: RateLimiter
    since: float
    members: set[str] = field(default_factory=set)
    busy: str = ""
    waiting: list[str] = field(default_factory=list)

    def update(self) -> DomainUpdate:
        """What the store is to keep of it."""
        state = throttle.to_json(
            throttle.State(delay=self.limiter.delay, sent_at=max(0.0, self.limiter.last_sent))
        )
        return DomainUpdate(self.lease, self.limiter.due, state)


class Groups:
    """The groups of the domains in hand. `group_of` names a domain's, or none."""

    def __init__(
        self,
        store: Store,
        run: Run,
        group_of: Callable[[str], str],
        clock: Clock,
        deadline: Callable[[], float] = for_ever,
    ) -> None:
        self._store = store
        self._run = run
        self._group_of = group_of
        self._clock = clock
        self._deadline = deadline
        self._groups: dict[str, Group] = {}
        self._left: dict[str, float] = {}

    def of(self, domain: str) -> Group | None:
        """The group of a domain, where it is ours."""
        return self._groups.get(self._group_of(domain))

    def join(self, domain: str, delay: float) -> bool:
        """Take part in the domain's group; False where another worker has it."""
        name = self._group_of(domain)
        if not name:
            return True
        group = self._groups.get(name) or self._lease(name, delay)
        if group is None:
            return False
        group.members.add(domain)
        return True

    def _lease(self, name: str, delay: float) -> Group | None:
        now = self._clock.now()
        if now < self._left.get(name, 0.0):
            return None
        lease = self._store.lease_domain(self._run, GROUP + name)
        if lease is None:
            return None
        limiter = limiter_of(lease, delay, self._clock, self._deadline)
        group = self._groups[name] = Group(lease, limiter, now)
        return group

    def leave(self, domain: str) -> list[str]:
        """The domain is in hand no more, and its group is given back with its last; those that waited."""
        group = self.of(domain)
        if group is None:
            return []
        group.members.discard(domain)
        waiting = self.end(domain)
        if not group.members:
            del self._groups[self._group_of(domain)]
            self._store.release([group.update()])
        return waiting

    def give_way(self, wanted: str) -> frozenset[str] | None:
        """The domains to give back, as somebody waits for this one or its group: all of that, after a while.

        None where it has no group.
        """
        name = wanted.removeprefix(GROUP) if wanted.startswith(GROUP) else self._group_of(wanted)
        group, now = self._groups.get(name), self._clock.now()
        if group is None:
            return None
        if now - group.since < HOLD:
            return frozenset()
        self._left[name] = now + LEFT_ALONE
        return frozenset(group.members)

    def lost(self, row: str) -> frozenset[str]:
        """Forget a group that belongs to another worker now; its domains."""
        group = self._groups.pop(row.removeprefix(GROUP), None) if row.startswith(GROUP) else None
        return frozenset(group.members) if group is not None else frozenset()

    def begin(self, domain: str) -> bool:
        """Whether the domain may send, as no other of its group does; else it waits for `end`."""
        group = self.of(domain)
        if group is None:
            return True
        if group.busy:
            if domain not in group.waiting:
                group.waiting.append(domain)
            return False
        group.busy = domain
        return True

    def end(self, domain: str) -> list[str]:
        """The domain has nothing in flight any more; those that waited for that, the first first."""
        group = self.of(domain)
        if group is None or group.busy != domain:
            return []
        group.busy, waiting = "", group.waiting
        group.waiting = []
        return waiting

    def updates(self, domains: Iterable[str]) -> list[DomainUpdate]:
        """What a settlement of these domains leaves of their groups."""
        names = sorted({self._group_of(domain) for domain in domains} & self._groups.keys())
        return [self._groups[name].update() for name in names]


def limiter_of(lease: Lease, delay: float, clock: Clock, deadline: Callable[[], float]) -> RateLimiter:
    """The rate limiter of a group, going on where its last owner stopped."""
    state = throttle.from_json(lease.state)
    due = lease.due
    if lease.crashes:
        # What the dead owner had in flight counts from now.
        due = max(due, clock.now() + max(delay, state.delay))
    return RateLimiter(clock, max(delay, state.delay), due, last_sent=state.sent_at, deadline=deadline)
