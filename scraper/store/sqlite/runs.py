"""The runs of a spider: who holds one, how it ends, and what is forgotten with it."""

import json
import sqlite3

from scraper.errors import LeaseLost, StoreError
from scraper.store import Run
from scraper.store.run_rows import COLUMNS, RunStart, busy, to_run
from scraper.store.sqlite import fingerprint_index
from scraper.store.sqlite.database import many

_OPEN_RUN = "SELECT number FROM runs WHERE spider = ? AND state <> 'ended' ORDER BY number DESC LIMIT 1"
_HOLDER = """SELECT w.id, r.held_since FROM runs r JOIN workers w ON w.id = r.owner OR w.run = r.number
    WHERE r.spider = ? AND r.state <> 'ended' AND w.id IS NOT ? ORDER BY w.id = r.owner DESC LIMIT 1"""
_BASE = "SELECT coalesce(max(number), 0) FROM runs WHERE spider = ? AND accepted AND whole"
# What `prune` may forget: neither one of the last runs, nor one that the current records come from.
_OLD = """SELECT number, id FROM runs WHERE spider = ?1 AND state = 'ended' AND (number < ?2 OR NOT accepted)
    AND number NOT IN (SELECT number FROM runs WHERE spider = ?1 ORDER BY number DESC LIMIT ?3)"""
_OF_RUN = (
    # Validators of a version that no accepted run has made are never used; its run is about to be unknown.
    """DELETE FROM pages WHERE url IN (SELECT url FROM visits WHERE run = ?1) AND run = ?1
        AND (SELECT NOT accepted FROM runs WHERE number = ?1)""",
    "DELETE FROM tallies WHERE run = ?1",
    "DELETE FROM refused WHERE run = ?1",
)
LOOSE_RECORDS = """DELETE FROM records WHERE version = ?1
    AND NOT EXISTS (SELECT 1 FROM visits v WHERE v.url = ?2 AND v.version = ?1)"""


def find(connection: sqlite3.Connection, number: int, *, is_resumed: bool = False) -> Run:
    """The run of a number."""
    row = connection.execute(f"SELECT {COLUMNS} FROM runs WHERE number = ?", (number,)).fetchone()
    return to_run(row, is_resumed=is_resumed)


def start(connection: sqlite3.Connection, begun: RunStart, *, fresh: bool) -> Run:
    """Resume or begin a run; the dead were reaped before."""
    spider, worker, wall = begun.spider, begun.worker, begun.wall
    if (held := holder(connection, spider, but=worker)) is not None:
        raise busy(spider, *held)
    row = connection.execute(_OPEN_RUN, (spider,)).fetchone()
    if row is not None and fresh:
        summary = json.dumps({"verdict": "INCOMPLETE"})
        close(connection, row[0], summary, wall, accepted=False, whole=False)
        row = None
    number = int(row[0]) if row is not None else _begin(connection, begun)
    connection.execute(
        """UPDATE runs SET kills = kills + (state = 'running' AND ?), code = ?, state = 'running', owner = ?,
        held_since = ? WHERE number = ?""",
        (row is not None, begun.code, worker, wall, number),
    )
    enter(connection, worker, number)
    return find(connection, number, is_resumed=row is not None)


def enter(connection: sqlite3.Connection, worker: str, number: int) -> None:
    """Note which run a worker works on."""
    connection.execute("UPDATE workers SET run = ? WHERE id = ?", (number, worker))


def close(
    connection: sqlite3.Connection, number: int, summary: str, wall: float, *, accepted: bool, whole: bool
) -> None:
    """End a run for good."""
    connection.execute(
        """UPDATE runs SET state = 'ended', ended_at = ?, owner = NULL, accepted = accepted OR ?,
        whole = whole OR ?, summary = ? WHERE number = ?""",
        (wall, accepted, whole, summary, number),
    )
    connection.execute("UPDATE workers SET run = NULL WHERE run = ?", (number,))
    wait_no_more(connection, number)


def wait_no_more(connection: sqlite3.Connection, number: int) -> None:
    """Drop what was promised to a run that stops."""
    connection.execute("UPDATE domains SET wanted = NULL WHERE wanted = ?", (number,))


def check_held(connection: sqlite3.Connection, run: Run, worker: str) -> None:
    """Raise LeaseLost unless this worker holds the run."""
    row = connection.execute("SELECT owner FROM runs WHERE number = ?", (run.number,)).fetchone()
    if row is None or row[0] != worker:
        raise LeaseLost(f"run {run.id} of {run.spider} is no longer held by {worker}")


def holder(
    connection: sqlite3.Connection, spider: str, *, but: str | None = None
) -> tuple[str, float] | None:
    """The worker that holds the spider's open run, or works on it, and since when (wall)."""
    row = connection.execute(_HOLDER, (spider, but)).fetchone()
    return None if row is None else (str(row[0]), float(row[1]))


def base(connection: sqlite3.Connection, spider: str) -> int:
    """The number of the last accepted whole run; 0 where there is none."""
    return int(connection.execute(_BASE, (spider,)).fetchone()[0])


def prune(connection: sqlite3.Connection, spider: str, keep: int) -> list[str]:
    """Forget old runs with the visits, records and URLs that nothing kept needs."""
    old = connection.execute(_OLD, (spider, base(connection, spider), keep)).fetchall()
    for number, _ in old:
        _forget_run(connection, number)
    kept = "SELECT coalesce(min(number), 0) FROM runs WHERE spider = ?"
    first = int(connection.execute(kept, (spider,)).fetchone()[0])
    if old:
        _forget_urls(connection, spider, first)
    return [run_id for _, run_id in old]


def listed(connection: sqlite3.Connection, spider: str | None, limit: int) -> list[Run]:
    """The last runs, newest first."""
    order = "ORDER BY number DESC LIMIT ?"
    if spider is None:
        rows = connection.execute(f"SELECT {COLUMNS} FROM runs {order}", (limit,))
    else:
        rows = connection.execute(f"SELECT {COLUMNS} FROM runs WHERE spider = ? {order}", (spider, limit))
    return [to_run(row) for row in rows]


def numbered(connection: sqlite3.Connection, run_id: str) -> int:
    """The number of an open run by its id."""
    row = connection.execute(
        "SELECT number FROM runs WHERE id = ? AND state <> 'ended'", (run_id,)
    ).fetchone()
    if row is None:
        raise StoreError(f"there is no open run {run_id}")
    return int(row[0])


def _begin(connection: sqlite3.Connection, begun: RunStart) -> int:
    wall = begun.wall
    values = (begun.spider, "", wall, json.dumps(begun.params))
    number = connection.execute(
        "INSERT INTO runs(spider, code, started_at, params) VALUES (?, ?, ?, ?)", values
    ).lastrowid
    connection.execute("UPDATE runs SET id = ? WHERE number = ?", (begun.run_id(int(number or 0)), number))
    return int(number or 0)


def _forget_run(connection: sqlite3.Connection, number: int) -> None:
    for statement in _OF_RUN:
        connection.execute(statement, (number,))
    brought = connection.execute(
        "SELECT version, url FROM visits WHERE run = ? AND version IS NOT NULL", (number,)
    ).fetchall()
    connection.execute("DELETE FROM visits WHERE run = ?", (number,))
    many(connection, LOOSE_RECORDS, brought)
    connection.execute("DELETE FROM runs WHERE number = ?", (number,))


def _forget_urls(connection: sqlite3.Connection, spider: str, first: int) -> None:
    """Forget URLs that no run from `first` on has met, and versions that none has checked.

    The latter matter: such a version could come back as unchanged and name links that are forgotten here.
    """
    spiders = "FROM urls u JOIN queues q ON q.id = u.queue WHERE q.spider = ?"
    connection.execute(
        f"DELETE FROM pages WHERE checked < ? AND url IN (SELECT u.id {spiders})", (first, spider)
    )
    gone = connection.execute(
        f"SELECT u.id, u.queue, u.fp {spiders} AND u.run < ?", (spider, first)
    ).fetchall()
    many(connection, "DELETE FROM urls WHERE id = ?", [(found,) for found, _, _ in gone])
    fingerprint_index.forget(connection, [(queue, fp[: fingerprint_index.STEM]) for _, queue, fp in gone])
