"""What stands as it was because nothing that leads to it could be read or followed."""

import sqlite3
from array import array

from scraper.store import UNMET, Run
from scraper.store.sqlite import runs
from scraper.store.sqlite.frontier import FAILED

_STEP = 100

# Visits that let stand are unread ones themselves: what is behind them follows in a later step.
_UNREAD = """SELECT v.id, p.links FROM visits v LEFT JOIN pages p ON p.url = v.url
    WHERE v.run = ? AND v.is_read = 0 AND v.id > ? ORDER BY v.id LIMIT ?"""
_UNMET = "SELECT 1 FROM urls WHERE id = ? AND run < ?"
_CURRENT = """SELECT v.version FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ? AND r.accepted AND r.number >= ? ORDER BY v.id DESC LIMIT 1"""
_STAND = "UPDATE urls SET run = ?, state = ?, reason = ? WHERE id = ?"
_VISIT = "INSERT INTO visits(id, run, url, version, is_read) VALUES (?, ?, ?, ?, 0)"


def keep_unreached_pages(connection: sqlite3.Connection, run: Run, after: int) -> tuple[int, int]:
    """One step behind the unread visits after `after`: URLs that stand, and where to go on (0: the end)."""
    unread = connection.execute(_UNREAD, (run.number, after, _STEP)).fetchall()
    base = runs.base(connection, run.spider)
    (tick,) = connection.execute("SELECT v FROM meta WHERE k = 'tick'").fetchone()
    first = tick = int(tick)
    for found in dict.fromkeys(url for _, links in unread for url in map(abs, array("q", links or b""))):
        if connection.execute(_UNMET, (found, run.number)).fetchone() is None:
            continue
        row = connection.execute(_CURRENT, (found, base)).fetchone()
        if row is not None and row[0] is not None:
            tick += 1
            connection.execute(_STAND, (run.number, FAILED, UNMET, found))
            connection.execute(_VISIT, (tick, run.number, found, row[0]))
    connection.execute("UPDATE meta SET v = ? WHERE k = 'tick'", (tick,))
    return tick - first, unread[-1][0] if unread else 0
