"""What stands as it was because nothing that leads to it could be read or followed."""

from scraper.store import UNMET, Run
from scraper.store.postgres import runs
from scraper.store.postgres.database import Connection
from scraper.store.postgres.frontier import FAILED

_STEP = 100

# Visits that let stand are unread ones themselves: what is behind them follows in a later step.
_UNREAD = """SELECT v.id, p.links FROM visits v LEFT JOIN pages p ON p.url = v.url
    WHERE v.run = %s AND NOT v.is_read AND v.id > %s ORDER BY v.id LIMIT %s"""
_STANDING = """SELECT u.id, (SELECT v.version FROM visits v JOIN runs r ON r.number = v.run
        WHERE v.url = u.id AND r.accepted AND r.number >= %s ORDER BY v.id DESC LIMIT 1) AS version
    FROM urls u WHERE u.id = ANY(%s) AND u.run < %s"""
_STAND = "UPDATE urls SET run = %s, state = %s, reason = %s WHERE id = ANY(%s)"
_VISIT = """INSERT INTO visits(id, run, url, version, is_read)
    SELECT nextval('tick'), %s, w.url, w.version, false
    FROM unnest(%s::bigint[], %s::bigint[]) WITH ORDINALITY AS w(url, version, n) ORDER BY w.n"""


def keep_unreached_pages(connection: Connection, run: Run, after: int) -> tuple[int, int]:
    """One step behind the unread visits after `after`: URLs that stand, and where to go on (0: the end)."""
    unread = connection.execute(_UNREAD, (run.number, after, _STEP)).fetchall()
    links = list(dict.fromkeys(abs(url) for _, found in unread for url in found or ()))
    base = runs.base(connection, run.spider)
    versions: dict[int, int | None] = dict(
        connection.execute(_STANDING, (base, links, run.number)).fetchall()
    )
    stand = [url for url in links if versions.get(url) is not None]
    connection.execute(_STAND, (run.number, FAILED, UNMET, stand))
    connection.execute(_VISIT, (run.number, stand, [versions[url] for url in stand]))
    return len(stand), unread[-1][0] if unread else 0
