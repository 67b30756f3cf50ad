"""Who has a domain, until when, and who waits for it. Every function runs inside the caller's transaction."""

import sqlite3

from scraper.model.frozen import frozen
from scraper.store import Lease
from scraper.store.sqlite.database import many

# How long a waiting run is believed to wait: longer than it takes to ask again, short where it died.
_BELIEVED = 15.0

_READY = """SELECT d.id, d.name, d.epoch, d.due, d.state, q.session, coalesce(t.tally, ''), d.crashes
    FROM queues q JOIN domains d ON d.id = q.domain
    LEFT JOIN tallies t ON t.run = q.run AND t.domain = d.id
    WHERE q.run = ? AND q.free = 1 AND q.due < ?
      AND (d.wanted IS NULL OR d.wanted = q.run OR d.wanted_until <= ?)
    ORDER BY q.due LIMIT ?"""
_NAMED = """SELECT d.id, d.name, d.epoch, d.due, d.state, q.session, coalesce(t.tally, ''), d.crashes, d.owner
    FROM queues q JOIN domains d ON d.id = q.domain
    LEFT JOIN tallies t ON t.run = ? AND t.domain = d.id
    WHERE q.id = ?"""
_OWN = "UPDATE domains SET owner = ?, epoch = epoch + 1, wanted = NULL WHERE id = ?"
_HIDE = "UPDATE queues SET free = 0 WHERE domain = ?"
_LET_GO = "UPDATE domains SET owner = NULL, epoch = epoch + 1 WHERE id = ?"
# A queue with nothing pending is parked here and only here, under the lock that `add` needs to wake it.
_SHOW = """UPDATE queues SET free = 1, due = (SELECT due FROM domains WHERE id = queues.domain),
    run = (SELECT u.run FROM urls u WHERE u.queue = queues.id AND u.run = queues.run AND u.state = 0 LIMIT 1)
    WHERE domain = ?"""
_WANT = "UPDATE domains SET wanted = ?, wanted_until = ? WHERE id = ?"
# Domains that another run's workers hold and nobody has asked for yet.
_HELD_BY_OTHER_RUNS = """SELECT d.id FROM queues q JOIN domains d ON d.id = q.domain
    JOIN workers w ON w.id = d.owner
    WHERE q.run = ?1 AND q.free = 0 AND w.run IS NOT ?1 AND (d.wanted IS NULL OR d.wanted_until < ?2)
    LIMIT ?3"""
_COUNT_HELD = """SELECT count(*), total(d.owner = ?) FROM workers w CROSS JOIN domains d ON d.owner = w.id
    WHERE w.run = ?"""
_HELD_BY_RUN = """SELECT d.owner, d.id, d.wanted IS NOT NULL AND d.wanted_until >= ?2
    FROM queues q JOIN domains d ON d.id = q.domain JOIN workers w ON w.id = d.owner
    WHERE q.run = ?1 AND q.free = 0 AND w.run = ?1"""

# Those of a run's workers that crawl: the parent of several holds the run and no domain.
_WORKING = """SELECT w.id FROM workers w JOIN runs r ON r.number = w.run WHERE w.run = ?1 AND (
    w.id = ?2 OR r.owner IS NOT w.id OR EXISTS (SELECT 1 FROM domains d WHERE d.owner = w.id))"""


@frozen
class LeaseRequest:
    """A worker that looks for domains for its run."""

    worker: str
    run: int
    now: float


def ready(connection: sqlite3.Connection, seeker: LeaseRequest, before: float, n: int) -> list[Lease]:
    """Own up to `n` free domains of the run, the earliest first."""
    rows = connection.execute(_READY, (seeker.run, before, seeker.now, n)).fetchall()
    return [_own(connection, seeker, row) for row in rows]


def room(connection: sqlite3.Connection, seeker: LeaseRequest) -> int | None:
    """How many domains more are our fair share of those that our run holds; None where it is ours alone."""
    workers = connection.execute(_WORKING, (seeker.run, seeker.worker)).fetchall()
    if len(workers) < 2:
        return None
    held, mine = connection.execute(_COUNT_HELD, (seeker.worker, seeker.run)).fetchone()
    return max(0, int(held) // len(workers) + 1 - int(mine))


def named(connection: sqlite3.Connection, seeker: LeaseRequest, queue: int) -> Lease | None:
    """Own the domain of one queue; None while another worker has it."""
    row = connection.execute(_NAMED, (seeker.run, queue)).fetchone()
    owner = row[-1]
    if owner is None:
        return _own(connection, seeker, row[:-1])
    if owner == seeker.worker:
        return _lease(row[:-1], row[2])
    want(connection, seeker, [row[0]])
    return None


def free(connection: sqlite3.Connection, domains: list[int]) -> None:
    """Take domains from their owner, and park those with nothing pending."""
    many(connection, _LET_GO, [(domain,) for domain in domains])
    many(connection, _SHOW, [(domain,) for domain in domains])


def owned(connection: sqlite3.Connection, worker: str) -> list[int]:
    """The domains of a worker."""
    rows = connection.execute("SELECT id FROM domains WHERE owner = ?", (worker,))
    return [domain for (domain,) in rows]


def is_any_ready(connection: sqlite3.Connection, seeker: LeaseRequest, before: float) -> bool:
    """Whether `ready` would find one."""
    return connection.execute(_READY, (seeker.run, before, seeker.now, 1)).fetchone() is not None


def wanted(connection: sqlite3.Connection, seeker: LeaseRequest, n: int) -> list[int]:
    """Up to `n` domains to ask others for: any that another run holds, the surplus inside our own run.

    Inside a run a worker asks only up to its fair share, rounded down, and only those above theirs: so one
    domain never wanders among ten workers.
    """
    (workers,) = connection.execute("SELECT count(*) FROM workers").fetchone()
    if workers < 2:
        return []
    old = seeker.now + _BELIEVED / 2
    rows = connection.execute(_HELD_BY_OTHER_RUNS, (seeker.run, old, n)).fetchall()
    asked = [domain for (domain,) in rows]
    return asked + _surplus(connection, seeker, n - len(asked))


def want(connection: sqlite3.Connection, seeker: LeaseRequest, asked: list[int]) -> None:
    """Note that our run waits for these domains."""
    many(connection, _WANT, [(seeker.run, seeker.now + _BELIEVED, domain) for domain in asked])


def _surplus(connection: sqlite3.Connection, seeker: LeaseRequest, n: int) -> list[int]:
    held: dict[str, list[int]] = {}
    workers = connection.execute(_WORKING, (seeker.run, seeker.worker)).fetchall()
    for owner, domain, is_asked in connection.execute(_HELD_BY_RUN, (seeker.run, seeker.now)):
        if is_asked:
            n -= 1
        held.setdefault(owner, []).append(domain)
    share = sum(map(len, held.values())) // max(1, len(workers))
    n = min(n, share - len(held.get(seeker.worker, ())))
    spare = [
        domain for owner, domains in held.items() if owner != seeker.worker for domain in domains[share:]
    ]
    return spare[: max(0, n)]


def _own(connection: sqlite3.Connection, seeker: LeaseRequest, row: tuple[object, ...]) -> Lease:
    domain = row[0]
    connection.execute(_OWN, (seeker.worker, domain))
    connection.execute(_HIDE, (domain,))
    return _lease(row, int(str(row[2])) + 1)


def _lease(row: tuple[object, ...], epoch: int) -> Lease:
    _, name, _, due, state, session, stats, crashes = row
    return Lease(str(name), epoch, float(str(due)), str(state), str(session), str(stats), int(str(crashes)))
