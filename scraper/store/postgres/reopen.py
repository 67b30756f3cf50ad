"""A run that has ended goes on with what failed in it."""

from collections.abc import Mapping

from scraper.errors import StoreError
from scraper.store import UNMET, Run, run_rows
from scraper.store.postgres import runs
from scraper.store.postgres.database import Connection, columns
from scraper.store.postgres.frontier import FAILED, KNOWN, KNOWN_FIRST

_UNMEET = """UPDATE urls SET run = run - 1 WHERE id IN (SELECT url FROM visits WHERE run = %(run)s)
    AND run = %(run)s AND state = %(failed)s AND reason = %(unmet)s"""
_FAILED_IN = """SELECT id, queue FROM urls WHERE id IN (SELECT url FROM visits WHERE run = %(run)s)
    AND run = %(run)s AND state = %(failed)s AND reason IS DISTINCT FROM %(unmet)s ORDER BY seq"""
_FORGET = """WITH gone AS (DELETE FROM visits WHERE run = %(run)s AND url = ANY(%(urls)s)
        RETURNING id, url, version, is_read)
    DELETE FROM records r USING gone WHERE gone.is_read AND r.version = gone.version
        AND NOT EXISTS (SELECT 1 FROM visits v WHERE v.url = gone.url AND v.version = gone.version
            AND NOT (v.run = %(run)s AND v.url = ANY(%(urls)s)))"""
_OPEN_AGAIN = """UPDATE urls SET state = 0, attempts = 0, crashes = 0, reason = NULL, seq = w.seq
    FROM (SELECT id, nextval('tick') + first AS seq
        FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS given(id, first, n) ORDER BY n) w
    WHERE urls.id = w.id"""
_WAKE = "UPDATE queues SET run = %s WHERE id = ANY(%s)"
_LEAVE_STATS = """INSERT INTO tallies SELECT %s, d.id, w.stats
    FROM unnest(%s::text[], %s::text[]) AS w(name, stats) JOIN domains d ON d.name = w.name
    ON CONFLICT (run, domain) DO UPDATE SET tally = excluded.tally"""
_GO_ON = """UPDATE runs SET state = 'paused', owner = NULL, ended_at = NULL, pending = pending + %(count)s,
    done = done - %(count)s WHERE number = %(run)s"""


def reopen(connection: Connection, run: Run, stats: Mapping[str, str]) -> int:
    """Make what failed in a run pending again; how many URLs."""
    connection.execute(runs.ONE_AT_A_TIME, (run.spider,))
    if (held := runs.holder(connection, run.spider)) is not None:
        raise run_rows.busy(run.spider, *held)
    last = connection.execute("SELECT max(number) FROM runs WHERE spider = %s", (run.spider,)).fetchone()
    if last is None or last[0] != run.number:
        raise StoreError(f"run {run.id} is not the last run of {run.spider}")
    values = {"run": run.number, "failed": FAILED, "unmet": UNMET}
    failed = connection.execute(_FAILED_IN, values).fetchall()
    if not failed:
        return 0
    urls = [url for url, _ in failed]
    connection.execute(_UNMEET, values)
    connection.execute(_FORGET, {"run": run.number, "urls": urls})
    good = runs.base(connection, run.spider)
    known = {url for (url,) in connection.execute(KNOWN, (urls, good, good))}
    connection.execute(_OPEN_AGAIN, (urls, [KNOWN_FIRST if url in known else 0 for url in urls]))
    connection.execute(_WAKE, (run.number, sorted({queue for _, queue in failed})))
    if stats:
        connection.execute(_LEAVE_STATS, (run.number, *columns(list(stats.items()), 2)))
    connection.execute(_GO_ON, {"count": len(failed), "run": run.number})
    return len(failed)
