"""A run that has ended goes on with what failed in it."""

import sqlite3
from collections.abc import Mapping

from scraper.errors import StoreError
from scraper.store import UNMET, Run, run_rows
from scraper.store.sqlite import runs
from scraper.store.sqlite.database import many
from scraper.store.sqlite.frontier import FAILED, IS_KNOWN, KNOWN_FIRST

_UNMEET = """UPDATE urls SET run = run - 1
    WHERE id IN (SELECT url FROM visits WHERE run = ?1) AND run = ?1 AND state = ?2 AND reason = ?3"""
_FAILED_IN = """SELECT DISTINCT u.id, u.queue, u.seq FROM visits v JOIN urls u ON u.id = v.url
    WHERE v.run = ?1 AND u.run = ?1 AND u.state = ?2 AND u.reason IS NOT ?3 ORDER BY u.seq"""
_OPEN_AGAIN = "UPDATE urls SET state = 0, attempts = 0, crashes = 0, reason = NULL, seq = ? WHERE id = ?"
_BROUGHT = "SELECT version, url FROM visits WHERE run = ? AND url = ? AND is_read AND version IS NOT NULL"
_GO_ON = """UPDATE runs SET state = 'paused', owner = NULL, ended_at = NULL, pending = pending + ?1,
    done = done - ?1 WHERE number = ?2"""
_LEAVE_STATS = "INSERT OR REPLACE INTO tallies SELECT ?1, id, ?2 FROM domains WHERE name = ?3"


def reopen(connection: sqlite3.Connection, run: Run, stats: Mapping[str, str]) -> int:
    """Make what failed in a run pending again; how many URLs."""
    if (held := runs.holder(connection, run.spider)) is not None:
        raise run_rows.busy(run.spider, *held)
    last = connection.execute("SELECT max(number) FROM runs WHERE spider = ?", (run.spider,)).fetchone()
    if last[0] != run.number:
        raise StoreError(f"run {run.id} is not the last run of {run.spider}")
    failed = connection.execute(_FAILED_IN, (run.number, FAILED, UNMET)).fetchall()
    if not failed:
        return 0
    connection.execute(_UNMEET, (run.number, FAILED, UNMET))
    _forget(connection, [(run.number, url) for url, *_ in failed])
    (tick,) = connection.execute("SELECT v FROM meta WHERE k = 'tick'").fetchone()
    good = runs.base(connection, run.spider)
    opened = []
    for place, (url, *_) in enumerate(failed, int(tick) + 1):
        is_known = connection.execute(IS_KNOWN, (url, good)).fetchone() is not None
        opened.append((place + (KNOWN_FIRST if is_known else 0), url))
    many(connection, _OPEN_AGAIN, opened)
    queues = {(run.number, queue) for _, queue, _ in failed}
    many(connection, "UPDATE queues SET run = ? WHERE id = ?", sorted(queues))
    many(connection, _LEAVE_STATS, [(run.number, text, name) for name, text in stats.items()])
    connection.execute("UPDATE meta SET v = ? WHERE k = 'tick'", (int(tick) + len(failed),))
    connection.execute(_GO_ON, (len(failed), run.number))
    return len(failed)


def _forget(connection: sqlite3.Connection, visits: list[tuple[int, int]]) -> None:
    """Forget visits, given by run and URL, and what `failed` made of them."""
    brought = [row for visit in visits for row in connection.execute(_BROUGHT, visit).fetchall()]
    many(connection, "DELETE FROM visits WHERE run = ? AND url = ?", visits)
    many(connection, runs.LOOSE_RECORDS, brought)
