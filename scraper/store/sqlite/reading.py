"""What is read back: records, the current state of a spider's pages, and the facts for `explain`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from scraper.store import Cursor, RobotsCopy, StoredRecord
from scraper.store.sqlite.database import Database
from scraper.store.sqlite.fingerprint_index import STEM

# Two questions: the rest of one visit's records is found by its number only where the visit is named.
_READ = """LEFT JOIN pages p ON p.url = v.url AND p.version = v.version
    LEFT JOIN runs last ON last.number = coalesce(p.checked, v.run)"""
_RECORDS = f"""SELECT v.id, r.n, u.url, r.key, r.line, last.id, p.fetched_at
    FROM visits v JOIN records r ON r.version = v.version JOIN urls u ON u.id = v.url {_READ}
    WHERE v.run = ? AND v.is_read = 1 AND {{}} ORDER BY v.id, r.n LIMIT ?"""
_SAME_VISIT, _LATER_VISITS = _RECORDS.format("v.id = ? AND r.n > ?"), _RECORDS.format("v.id > ?")
_MOST_TEXT = 16 * 2**20  # characters that are read at once
_CURRENT = f"""WITH counted AS (SELECT number FROM runs
        WHERE spider = ?1 AND (accepted OR number = ?2) AND number IS NOT ?4 AND number >= coalesce(?3,
            (SELECT max(number) FROM runs WHERE spider = ?1 AND accepted AND whole AND number IS NOT ?4), 0)),
    latest AS (SELECT url, max(id) AS id FROM visits WHERE run IN counted GROUP BY url)
    SELECT v.id, r.n, u.url, r.key, r.line, last.id, p.fetched_at
    FROM latest l JOIN visits v ON v.id = l.id JOIN records r ON r.version = v.version
    JOIN urls u ON u.id = v.url {_READ}
    ORDER BY v.is_read DESC, v.run DESC, v.id, r.n"""
_STATES = ("pending", "done", "failed", "denied", "redirected")
_LOOKUP = """SELECT u.url, u.state, u.reason, u.attempts, u.depth, u.hops, u.run, r.id, p.fetched_at,
    p.fresh_until, p.etag, p.last_modified, p.facts, u.request, p.inputs
    FROM queues q JOIN known k ON k.queue = q.id AND k.stem = ? JOIN urls u ON u.id = k.url
    LEFT JOIN pages p ON p.url = u.id
    LEFT JOIN runs r ON r.number = u.run WHERE q.spider = ? LIMIT 1"""
_LOOKUP_NAMES = (
    *("url", "state", "reason", "attempts", "depth", "hops", "run_number", "run"),
    *("fetched_at", "fresh_until", "etag", "last_modified", "facts", "request", "inputs"),
)
_DOMAIN_NAMES = ("domain", "owner", "epoch", "due", "state", "crashes")


def records(database: Database, run: int, after: Cursor, limit: int) -> list[StoredRecord]:
    """Up to `limit` records, fewer of very long ones, but at least one."""
    visit, n = after
    kept: list[StoredRecord] = []
    room = _MOST_TEXT
    with database.read() as connection:
        for sql, place in ((_SAME_VISIT, (visit, n)), (_LATER_VISITS, (visit,))):
            with closing(connection.execute(sql, (run, *place, limit - len(kept)))) as found:
                for row in found:
                    kept.append(_kept(row))
                    room -= len(kept[-1].line)
                    if room < 0:
                        return kept
    return kept


def _kept(row: Sequence[Any]) -> StoredRecord:
    visit, n, *rest = row
    return StoredRecord((visit, n), *rest)


def current(
    database: Database, spider: str, coming: int | None, *, whole: bool, without: int | None
) -> Iterator[StoredRecord]:
    """The accepted records, as they were when the reading began; with those of the run `coming`."""
    return map(_kept, database.stream(_CURRENT, spider, coming, coming if whole else None, without))


def lookup(database: Database, spider: str, fp: bytes) -> Mapping[str, Any] | None:
    """One URL of a spider. Asks each of its queues: for people, not for the hot path."""
    row = database.row(_LOOKUP, fp[:STEM], spider)
    if row is None:
        return None
    found = dict(zip(_LOOKUP_NAMES, row, strict=True))
    return found | {"state": _STATES[found["state"]]}


def domain(database: Database, name: str) -> Mapping[str, Any] | None:
    """The shared row of a domain."""
    row = database.row(f"SELECT name, {', '.join(_DOMAIN_NAMES[1:])} FROM domains WHERE name = ?", name)
    return None if row is None else dict(zip(_DOMAIN_NAMES, row, strict=True))


def robots(database: Database, origin: str) -> RobotsCopy | None:
    """The stored robots.txt of an origin."""
    row = database.row(
        """SELECT origin, body, status, checked_at, until, since, etag, last_modified, via
        FROM robots WHERE origin = ?""",
        origin,
    )
    return None if row is None else RobotsCopy(*row)
