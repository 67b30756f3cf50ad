"""Who has a domain, and who waits for it."""

from scraper.store import Lease, Run
from scraper.store.memory.tables import Domain, Tables

BELIEVED = 15.0


def has_pending(data: Tables, run: int, domain: str) -> bool:
    """Whether a run has something to ask of a domain."""
    spider = data.runs[run].spider
    return any(
        url.state == "pending" and url.new.domain == domain and url.run == run and url.spider == spider
        for url in data.urls.values()
    )


def is_ours(data: Tables, me: str, lease: Lease) -> bool:
    """Whether a lease still holds."""
    row = data.domains.get(lease.domain)
    return row is not None and (row.owner, row.epoch) == (me, lease.epoch)


def own(data: Tables, me: str, run: Run, name: str) -> Lease:
    """Take a domain."""
    row = data.domains[name]
    row.owner, row.epoch, row.wanted = me, row.epoch + 1, None
    return lease_of(data, run, name)


def lease_of(data: Tables, run: Run, name: str) -> Lease:
    """The lease of a domain as it stands."""
    row = data.domains[name]
    session = data.sessions.get((run.spider, name), "")
    stats = data.domain_stats.get((run.number, name), "")
    return Lease(name, row.epoch, row.due, row.state, session, stats, row.crashes)


def free(row: Domain) -> None:
    """Let go of a domain."""
    row.owner, row.epoch = None, row.epoch + 1


def room(data: Tables, me: str, run: Run, n: int) -> int:
    """How many domains a worker may take of the `n` that it wants: up to its share."""
    owners = [row.owner for row in data.domains.values()]
    keeper, _ = data.held.get(run.number, ("", 0.0))
    team = [name for name, number in data.workers.items() if number == run.number]
    working = [name for name in team if name in (me, *owners) or name != keeper]
    held = sum(owner in team for owner in owners if owner)
    return n if len(working) < 2 else held // len(working) + 1 - owners.count(me)


def ask(data: Tables, me: str, run: Run, n: int, now: float) -> None:
    """Note which domains a run waits for: held by another run, or by a worker above its share."""
    workers = data.workers
    held = {
        name: row
        for name, row in data.domains.items()
        if row.owner is not None and has_pending(data, run.number, name)
    }
    ours = [row for row in held.values() if workers.get(row.owner or "") == run.number]
    share = len(ours) // max(1, sum(number == run.number for number in workers.values()))
    missing = min(n, share - sum(row.owner == me for row in ours))
    missing -= sum(row.wanted is not None and row.wanted_until > now for row in ours)
    left: dict[str, int] = {}
    for row in held.values():
        owner = row.owner or ""
        left[owner] = left.get(owner, 0) + 1
        if workers.get(owner) == run.number:
            is_asked = owner != me and left[owner] > share and missing > 0
            missing -= is_asked
        else:
            is_asked = row.wanted is None or row.wanted_until < now + BELIEVED / 2
        if is_asked:
            row.wanted, row.wanted_until = run.number, now + BELIEVED
