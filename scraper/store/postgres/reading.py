"""What is read back: records, the current state of a spider's pages, and the facts for `explain`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scraper.store import Cursor, RobotsCopy, StoredRecord
from scraper.store.postgres.database import Database

_READ = """LEFT JOIN pages p ON p.url = v.url AND p.version = v.version
    LEFT JOIN runs last ON last.number = coalesce(p.checked, v.run)"""
# Those before which there is not too much text already: the server sends no more.
_RECORDS = f"""SELECT id, n, url, key, line, run, fetched_at FROM (
    SELECT *, sum(length(line)) OVER (ORDER BY id, n) - length(line) AS before FROM (
        SELECT v.id, r.n, u.url, r.key, r.line, last.id AS run, p.fetched_at
        FROM visits v JOIN records r ON r.version = v.version JOIN urls u ON u.id = v.url {_READ}
        WHERE v.run = %s AND v.is_read AND v.id {{}} ORDER BY v.id, r.n LIMIT %s) AS part) AS added
    WHERE before < %s ORDER BY id, n"""
_SAME_VISIT = _RECORDS.format("= %s AND r.n > %s")
_LATER_VISITS = _RECORDS.format("> %s")
_MOST_TEXT = 16 * 2**20  # characters of records that are sent at once
_CURRENT = f"""WITH counted AS (SELECT number FROM runs
        WHERE spider = %(spider)s AND (accepted OR number = %(coming)s)
          AND number IS DISTINCT FROM %(without)s AND number >= coalesce(%(base)s,
            (SELECT max(number) FROM runs WHERE spider = %(spider)s AND accepted AND whole
                AND number IS DISTINCT FROM %(without)s), 0)),
    latest AS (SELECT max(v.run) AS run, max(v.id) AS id FROM visits v JOIN counted c ON c.number = v.run
        GROUP BY v.url)
    SELECT v.id, r.n, u.url, r.key, r.line, last.id, p.fetched_at
    FROM latest l JOIN visits v ON v.run = l.run AND v.id = l.id JOIN records r ON r.version = v.version
    JOIN urls u ON u.id = v.url {_READ}
    ORDER BY v.is_read DESC, v.run DESC, v.id, r.n"""
_STATES = ("pending", "done", "failed", "denied", "redirected")
_LOOKUP = """SELECT u.url, u.state, u.reason, u.attempts, u.depth, u.hops, u.run, r.id, p.fetched_at,
    p.fresh_until, p.etag, p.last_modified, p.facts, u.request, p.inputs
    FROM queues q JOIN urls u ON u.queue = q.id AND u.fp = %s
    LEFT JOIN pages p ON p.url = u.id
    LEFT JOIN runs r ON r.number = u.run WHERE q.spider = %s LIMIT 1"""
_LOOKUP_NAMES = (
    *("url", "state", "reason", "attempts", "depth", "hops", "run_number", "run"),
    *("fetched_at", "fresh_until", "etag", "last_modified", "facts", "request", "inputs"),
)
_DOMAIN_NAMES = ("domain", "owner", "epoch", "due", "state", "crashes")


def records(database: Database, run: int, after: Cursor, limit: int) -> list[StoredRecord]:
    """Up to `limit` records, fewer of very long ones, but at least one."""
    visit, n = after
    rows = database.rows(_SAME_VISIT, (run, visit, n, limit, _MOST_TEXT)) if n >= 0 else []
    room = _MOST_TEXT - sum(len(row[4]) for row in rows)
    if len(rows) < limit and room > 0:
        rows += database.rows(_LATER_VISITS, (run, visit, limit - len(rows), room))
    return list(map(_kept, rows))


def _kept(row: Sequence[Any]) -> StoredRecord:
    visit, n, *rest = row
    return StoredRecord((visit, n), *rest)


def current(
    database: Database, spider: str, coming: int | None, *, whole: bool, without: int | None
) -> Iterator[StoredRecord]:
    """The accepted records, as they were when the reading began; with those of the run `coming`."""
    values = {"spider": spider, "coming": coming, "base": coming if whole else None, "without": without}
    return map(_kept, database.stream(_CURRENT, values))


def lookup(database: Database, spider: str, fp: bytes) -> Mapping[str, Any] | None:
    """One URL of a spider. Asks each of its queues: for people, not for the hot path."""
    row = database.row(_LOOKUP, (fp, spider))
    if row is None:
        return None
    found = dict(zip(_LOOKUP_NAMES, row, strict=True))
    return found | {"state": _STATES[found["state"]]}


def domain(database: Database, name: str) -> Mapping[str, Any] | None:
    """The shared row of a domain."""
    row = database.row(f"SELECT name, {', '.join(_DOMAIN_NAMES[1:])} FROM domains WHERE name = %s", (name,))
    return None if row is None else dict(zip(_DOMAIN_NAMES, row, strict=True))


def robots(database: Database, origin: str) -> RobotsCopy | None:
    """The stored robots.txt of an origin."""
    row = database.row(
        """SELECT origin, body, status, checked_at, until, since, etag, last_modified, via
        FROM robots WHERE origin = %s""",
        (origin,),
    )
    return None if row is None else RobotsCopy(*row)
