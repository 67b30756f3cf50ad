"""A project moved from one store to another: whole or not at all, and compared before it counts."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from scraper.errors import StoreError
from scraper.politeness import throttle

Row = tuple[Any, ...]

COLUMNS: dict[str, tuple[str, ...]] = {
    "runs": (
        *("number", "id", "spider", "code", "state", "started_at", "ended_at", "accepted", "whole"),
        *("held_since", "pending", "done", "summary", "params", "kills"),
    ),
    "domains": ("id", "name", "epoch", "due", "state", "crashes"),
    "queues": ("id", "spider", "domain", "run", "session"),
    "urls": (
        *("id", "queue", "fp", "url", "request", "prio", "depth", "hops", "attempts", "run", "state", "seq"),
        *("reason", "crashes"),
    ),
    "pages": (
        *("url", "version", "run", "checked", "inputs", "etag", "last_modified", "fresh_until", "body_hash"),
        *("fetched_at", "links", "facts", "files"),
    ),
    "visits": ("id", "run", "url", "version", "is_read"),
    "records": ("version", "n", "key", "line"),
    "tallies": ("run", "domain", "tally"),
    "refused": ("run", "digest", "url", "reason"),
    "robots": (
        *("origin", "body", "status", "checked_at", "until", "since", "etag", "last_modified", "via"),
    ),
    "notes": ("kind", "name", "text"),
}
"""What a project is, by table, in the order in which rows refer to each other.

Values are those of PostgreSQL: `accepted`, `whole` and `is_read` are bools, `links` a list of ids, text holds
no NUL. Who owns what is left out: nobody does while it is copied.
"""

_DUE, _STATE = COLUMNS["domains"].index("due"), COLUMNS["domains"].index("state")


class Tables(Protocol):
    """The rows of one store inside one transaction."""

    def rows(self, table: str) -> Iterator[Row]:
        """All rows of a table, each with its COLUMNS."""
        ...

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows to an empty table."""
        ...

    def finish(self) -> None:
        """Make what is not copied: numbers that go on, indexes of our own."""
        ...


class Copyable(Protocol):
    """A store that can be copied; `name`: how it is called in messages."""

    name: str

    def now(self) -> float:
        """The moment on the line that its rows are written in."""
        ...

    def reading(self) -> AbstractContextManager[Tables]:
        """A transaction that sees one state of the store."""
        ...

    def writing(self) -> AbstractContextManager[Tables]:
        """A transaction that keeps all or nothing."""
        ...


@dataclass(slots=True)
class _Sum:
    """Count and hash of rows in any order."""

    count: int = 0
    digest: int = 0

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, counted."""
        for row in rows:
            self.count += 1
            self.digest += int.from_bytes(blake2b(repr(row).encode(), digest_size=16).digest())
            yield row


def copy(
    source: Copyable, target: Copyable, tell: Callable[[str], None] = lambda table: None
) -> dict[str, int]:
    """Copy all rows; how many by table. StoreError, and nothing written, where the target is not empty or
    what is there afterwards is not the same."""
    with source.reading() as old, target.writing() as new:
        for table in ("runs", "domains"):
            if next(new.rows(table), None) is not None:
                raise StoreError(
                    f"{target.name} is not empty", "name a new one: what is there is never mixed"
                )
        ahead = target.now() - source.now()
        sums = {}
        for table in COLUMNS:
            tell(table)
            sums[table] = _Sum()
            rows = old.rows(table)
            new.insert(table, sums[table].through(_shifted(rows, ahead) if table == "domains" else rows))
        new.finish()
        for table, expected in sums.items():
            found = _Sum()
            for _ in found.through(new.rows(table)):
                pass
            if found != expected:
                raise StoreError(f"{table} of {target.name} are not those of {source.name}; nothing was kept")
    return {table: one.count for table, one in sums.items()}


def _shifted(rows: Iterable[Row], ahead: float) -> Iterator[Row]:
    """Domains whose moments lie as far from now as they did."""
    for row in rows:
        changed = list(row)
        changed[_DUE] = row[_DUE] + ahead if row[_DUE] else 0.0
        if row[_STATE]:
            changed[_STATE] = throttle.to_json(throttle.shifted(throttle.from_json(row[_STATE]), ahead))
        yield tuple(changed)
