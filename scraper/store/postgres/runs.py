"""The runs of a spider: who holds one, how it ends, and what is forgotten with it."""

import json

from scraper.errors import LeaseLost, StoreError
from scraper.store import Run
from scraper.store.postgres.database import Connection
from scraper.store.run_rows import COLUMNS, RunStart, busy, to_run

_HOLDER = """SELECT w.id, r.held_since FROM runs r JOIN workers w ON w.id = r.owner OR w.run = r.number
    WHERE r.spider = %s AND r.state <> 'ended' AND w.id IS DISTINCT FROM %s
    ORDER BY w.id IS NOT DISTINCT FROM r.owner DESC LIMIT 1"""
_OLD = """SELECT number, id FROM runs WHERE spider = %(spider)s AND state = 'ended'
    AND (number < %(base)s OR NOT accepted)
    AND number NOT IN (SELECT number FROM runs WHERE spider = %(spider)s ORDER BY number DESC LIMIT %(keep)s)
    ORDER BY number"""
# Two that begin a run of one spider at once: the second one sees the first.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('scraper ' || %s, 0))"
_FORGET_RUN = (
    # Validators of a version that no accepted run has made are never used; its run is about to be unknown.
    """DELETE FROM pages p USING runs r WHERE r.number = %(run)s AND NOT r.accepted AND p.run = r.number
        AND p.url IN (SELECT url FROM visits WHERE run = %(run)s)""",
    "DELETE FROM tallies WHERE run = %(run)s",
    "DELETE FROM refused WHERE run = %(run)s",
    """WITH gone AS (DELETE FROM visits WHERE run = %(run)s RETURNING url, version)
        DELETE FROM records r USING gone WHERE r.version = gone.version
        AND NOT EXISTS (SELECT 1 FROM visits v WHERE v.url = gone.url AND v.version = gone.version
            AND v.run <> %(run)s)""",
    "DELETE FROM runs WHERE number = %(run)s",
)
# Versions that no run has checked since could come back as unchanged and name links that are forgotten here.
_FORGET_URLS = (
    """DELETE FROM pages p USING urls u, queues q WHERE p.url = u.id AND u.queue = q.id
        AND q.spider = %(spider)s AND p.checked < %(first)s""",
    """DELETE FROM urls u USING queues q WHERE u.queue = q.id AND q.spider = %(spider)s
        AND u.run < %(first)s""",
)


def start(connection: Connection, begun: RunStart, *, fresh: bool) -> Run:
    """Resume or begin a run; the dead were reaped before."""
    spider, worker, wall = begun.spider, begun.worker, begun.wall
    connection.execute(ONE_AT_A_TIME, (spider,))
    if (held := holder(connection, spider, but=worker)) is not None:
        raise busy(spider, *held)
    row = connection.execute(
        "SELECT number FROM runs WHERE spider = %s AND state <> 'ended' ORDER BY number DESC LIMIT 1",
        (spider,),
    ).fetchone()
    if row is not None and fresh:
        close(connection, row[0], json.dumps({"verdict": "INCOMPLETE"}), wall, accepted=False, whole=False)
        row = None
    number = int(row[0]) if row is not None else _begin(connection, begun)
    connection.execute(
        """UPDATE runs SET kills = kills + (state = 'running' AND %s)::int, code = %s, state = 'running',
        owner = %s, held_since = %s WHERE number = %s""",
        (row is not None, begun.code, worker, wall, number),
    )
    enter(connection, worker, number)
    return find(connection, number, is_resumed=row is not None)


def _begin(connection: Connection, begun: RunStart) -> int:
    values = (begun.spider, "", begun.wall, json.dumps(begun.params))
    row = connection.execute(
        "INSERT INTO runs(spider, code, started_at, params) VALUES (%s, %s, %s, %s) RETURNING number", values
    ).fetchone()
    number = int(row[0]) if row else 0
    connection.execute("UPDATE runs SET id = %s WHERE number = %s", (begun.run_id(number), number))
    return number


def enter(connection: Connection, worker: str, number: int) -> None:
    """Note which run a worker works on."""
    connection.execute("UPDATE workers SET run = %s WHERE id = %s", (number, worker))


def close(
    connection: Connection, number: int, summary: str, wall: float, *, accepted: bool, whole: bool
) -> None:
    """End a run for good."""
    # In the order in which all lock: workers, domains, the run.
    connection.execute("UPDATE workers SET run = NULL WHERE run = %s", (number,))
    wait_no_more(connection, number)
    connection.execute(
        """UPDATE runs SET state = 'ended', ended_at = %s, owner = NULL, accepted = accepted OR %s,
        whole = whole OR %s, summary = %s WHERE number = %s""",
        (wall, accepted, whole, summary, number),
    )


def wait_no_more(connection: Connection, number: int) -> None:
    """Drop what was promised to a run that stops."""
    connection.execute(
        """UPDATE domains SET wanted = NULL WHERE id IN
        (SELECT id FROM domains WHERE wanted = %s ORDER BY id FOR NO KEY UPDATE)""",
        (number,),
    )


def check_held(connection: Connection, run: Run, worker: str) -> None:
    """Raise LeaseLost unless this worker holds the run."""
    row = connection.execute("SELECT owner FROM runs WHERE number = %s", (run.number,)).fetchone()
    if row is None or row[0] != worker:
        raise LeaseLost(f"run {run.id} of {run.spider} is no longer held by {worker}")


def holder(connection: Connection, spider: str, *, but: str | None = None) -> tuple[str, float] | None:
    """The worker that holds the spider's open run, or works on it, and since when (wall)."""
    row = connection.execute(_HOLDER, (spider, but)).fetchone()
    return None if row is None else (str(row[0]), float(row[1]))


def find(connection: Connection, number: int, *, is_resumed: bool = False) -> Run:
    """The run of a number."""
    row = connection.execute(f"SELECT {COLUMNS} FROM runs WHERE number = %s", (number,)).fetchone()
    assert row is not None
    return to_run(row, is_resumed=is_resumed)


def numbered(connection: Connection, run_id: str) -> int:
    """The number of an open run by its id."""
    row = connection.execute(
        "SELECT number FROM runs WHERE id = %s AND state <> 'ended' FOR SHARE", (run_id,)
    ).fetchone()
    if row is None:
        raise StoreError(f"there is no open run {run_id}")
    return int(row[0])


def base(connection: Connection, spider: str) -> int:
    """The number of the last accepted whole run; 0 where there is none."""
    row = connection.execute(
        "SELECT coalesce(max(number), 0) FROM runs WHERE spider = %s AND accepted AND whole", (spider,)
    ).fetchone()
    return int(row[0]) if row else 0


def prune(connection: Connection, spider: str, keep: int) -> list[str]:
    """Forget old runs with the visits, records and URLs that nothing kept needs."""
    values = {"spider": spider, "base": base(connection, spider), "keep": keep}
    old = connection.execute(_OLD, values).fetchall()
    for number, _ in old:
        for statement in _FORGET_RUN:
            connection.execute(statement, {"run": number})
    if old:
        first = connection.execute(
            "SELECT coalesce(min(number), 0) FROM runs WHERE spider = %s", (spider,)
        ).fetchone()
        for statement in _FORGET_URLS:
            connection.execute(statement, {"spider": spider, "first": first[0] if first else 0})
    return [run_id for _, run_id in old]
