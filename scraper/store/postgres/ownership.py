"""Who has a domain, until when, and who waits for it. Every function runs inside the caller's transaction.

Locks are taken in one order, domains before queues, each by id: so no two transactions wait for each other.
"""

from collections.abc import Sequence

from scraper.model.frozen import frozen
from scraper.store import GROUP, Lease
from scraper.store.postgres.database import Connection

# How long a waiting run is believed to wait: longer than it takes to ask again, short where it died.
_BELIEVED = 15.0

READY = """SELECT d.id FROM queues q JOIN domains d ON d.id = q.domain
    WHERE q.run = %s AND q.free AND q.due < %s AND d.owner IS NULL
      AND (d.wanted IS NULL OR d.wanted = q.run OR d.wanted_until <= %s)
    ORDER BY q.due LIMIT %s"""
"""Free domains of a run, due before a moment, not promised to others at a moment (now); so many of them."""

_NAMED = """SELECT d.id, d.owner FROM queues q JOIN domains d ON d.id = q.domain
    WHERE q.id = %s FOR NO KEY UPDATE OF d"""
# Read when the rows are locked: what the last owner left just before must not be missed.
_READ = """SELECT d.name, d.epoch, d.due, d.state, q.session, coalesce(t.tally, ''), d.crashes
    FROM runs r JOIN domains d ON d.id = ANY(%s) JOIN queues q ON q.domain = d.id AND q.spider = r.spider
    LEFT JOIN tallies t ON t.run = r.number AND t.domain = d.id
    WHERE r.number = %s ORDER BY d.due, d.id"""
_OWN = "UPDATE domains SET owner = %s, epoch = epoch + 1, wanted = NULL WHERE id = ANY(%s)"
_HIDE = "UPDATE queues SET free = false WHERE domain = ANY(%s)"
_LET_GO = "UPDATE domains SET owner = NULL, epoch = epoch + 1 WHERE id = ANY(%s)"
# A queue with nothing pending is parked here and only here, under a lock that excludes those who add to it.
_LOCK_QUEUES = "SELECT id FROM queues WHERE domain = ANY(%s) ORDER BY id FOR UPDATE"
_SHOW = """UPDATE queues q SET free = true, due = d.due, run = (
        SELECT u.run FROM urls u WHERE u.queue = q.id AND u.run = q.run AND u.state = 0 LIMIT 1)
    FROM domains d WHERE d.id = q.domain AND q.domain = ANY(%s)"""
_WANT = """UPDATE domains SET wanted = %s, wanted_until = %s WHERE id IN (
    SELECT id FROM domains WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED)"""
# Domains that another run's workers hold and nobody has asked for yet.
_HELD_BY_OTHER_RUNS = """SELECT d.id FROM queues q JOIN domains d ON d.id = q.domain
    JOIN workers w ON w.id = d.owner
    WHERE q.run = %s AND NOT q.free AND w.run IS DISTINCT FROM %s
      AND (d.wanted IS NULL OR d.wanted_until < %s)
    LIMIT %s"""
_COUNT_WORKERS = "SELECT count(*), count(*) FILTER (WHERE run IS DISTINCT FROM %s) FROM workers"
_COUNT_HELD = f"""SELECT count(*), count(*) FILTER (WHERE d.owner = %s)
    FROM workers w JOIN domains d ON d.owner = w.id WHERE w.run = %s AND d.name NOT LIKE '{GROUP}%%'"""
_HELD_BY_RUN = """SELECT d.owner, d.id, d.wanted IS NOT NULL AND d.wanted_until >= %s
    FROM queues q JOIN domains d ON d.id = q.domain JOIN workers w ON w.id = d.owner
    WHERE q.run = %s AND NOT q.free AND w.run = %s ORDER BY d.id"""
# Those of a run's workers that crawl: the parent of several holds the run and no domain.
_WORKING = """SELECT count(*) FROM workers w JOIN runs r ON r.number = w.run WHERE w.run = %s AND (
    w.id = %s OR r.owner IS DISTINCT FROM w.id OR EXISTS (SELECT 1 FROM domains d WHERE d.owner = w.id))"""


@frozen
class LeaseRequest:
    """A worker that looks for domains for its run."""

    worker: str
    run: int
    now: float


def ready(connection: Connection, seeker: LeaseRequest, before: float, n: int) -> list[Lease]:
    """Own up to `n` free domains of the run, the earliest first; passes over what another one takes now."""
    if n < 1:
        return []
    sql = f"{READY} FOR NO KEY UPDATE OF d SKIP LOCKED"
    rows = connection.execute(sql, (seeker.run, before, seeker.now, n)).fetchall()
    return _own(connection, seeker, [domain for (domain,) in rows])


def room(connection: Connection, seeker: LeaseRequest, *, is_rounded_down: bool = False) -> int | None:
    """How many domains more are our fair share of those that our run holds; None where it is ours alone.

    One more than an equal part, unless that is to be rounded down.
    """
    workers = _working(connection, seeker)
    if workers < 2:
        return None
    held, mine = connection.execute(_COUNT_HELD, (seeker.worker, seeker.run)).fetchone() or (0, 0)
    return max(0, int(held) // workers + (not is_rounded_down) - int(mine))


def named(connection: Connection, seeker: LeaseRequest, queue: int) -> Lease | None:
    """Own the domain of one queue; None while another worker has it."""
    row = connection.execute(_NAMED, (queue,)).fetchone()
    assert row is not None
    domain, owner = row
    if owner is None:
        return _own(connection, seeker, [domain])[0]
    if owner == seeker.worker:
        return _read(connection, seeker, [domain])[0]
    want(connection, seeker, [domain])
    return None


def free(connection: Connection, domains: Sequence[int]) -> None:
    """Take domains, whose rows are locked, from their owner, and park those with nothing pending."""
    if domains:
        connection.execute(_LET_GO, (list(domains),))
        connection.execute(_LOCK_QUEUES, (list(domains),))
        # Only now: those who were adding are done, and this statement sees what they added.
        connection.execute(_SHOW, (list(domains),))


def owned(connection: Connection, worker: str) -> list[int]:
    """The domains of a worker, locked."""
    rows = connection.execute(
        "SELECT id FROM domains WHERE owner = %s ORDER BY id FOR NO KEY UPDATE", (worker,)
    ).fetchall()
    return [domain for (domain,) in rows]


def wanted(connection: Connection, seeker: LeaseRequest, n: int) -> tuple[list[int], bool]:
    """Up to `n` domains to ask others for: any that another run holds, the surplus inside our own run.

    And whether we have less than our share.

    Inside a run a worker asks only up to its fair share, rounded down, and only those above theirs: so one
    domain never wanders among ten workers.
    """
    workers, others = connection.execute(_COUNT_WORKERS, (seeker.run,)).fetchone() or (0, 0)
    if workers < 2:
        return [], False
    # Looking at what is held takes the longer the more domains there are, and each worker looks all the time.
    asked: list[int] = []
    if others:
        old = seeker.now + _BELIEVED / 2
        rows = connection.execute(_HELD_BY_OTHER_RUNS, (seeker.run, seeker.run, old, n)).fetchall()
        asked = [domain for (domain,) in rows]
    if is_short := bool(room(connection, seeker, is_rounded_down=True)):
        asked += _surplus(connection, seeker, n - len(asked))
    return asked, is_short


def want(connection: Connection, seeker: LeaseRequest, asked: Sequence[int]) -> None:
    """Note that our run waits for these domains. A hint: what is being written to just now is left out."""
    connection.execute(_WANT, (seeker.run, seeker.now + _BELIEVED, list(asked)))


def _surplus(connection: Connection, seeker: LeaseRequest, n: int) -> list[int]:
    held: dict[str, list[int]] = {}
    workers = _working(connection, seeker)
    for owner, domain, is_asked in connection.execute(_HELD_BY_RUN, (seeker.now, seeker.run, seeker.run)):
        if is_asked:
            n -= 1
        held.setdefault(owner, []).append(domain)
    share = sum(map(len, held.values())) // max(1, workers)
    n = min(n, share - len(held.get(seeker.worker, ())))
    spare = [
        domain for owner, domains in held.items() if owner != seeker.worker for domain in domains[share:]
    ]
    return spare[: max(0, n)]


def _working(connection: Connection, seeker: LeaseRequest) -> int:
    row = connection.execute(_WORKING, (seeker.run, seeker.worker)).fetchone()
    return int(row[0]) if row else 0


def _own(connection: Connection, seeker: LeaseRequest, domains: list[int]) -> list[Lease]:
    if not domains:
        return []
    connection.execute(_OWN, (seeker.worker, domains))
    connection.execute(_HIDE, (domains,))
    return _read(connection, seeker, domains)


def _read(connection: Connection, seeker: LeaseRequest, domains: list[int]) -> list[Lease]:
    return [Lease(*row) for row in connection.execute(_READ, (domains, seeker.run)).fetchall()]
