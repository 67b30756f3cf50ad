"""SQLite: a table `records` with a column a field, nested values as JSON text."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from scraper.errors import ScraperError, StoreFull, UsageError
from scraper.sinks.table import Spool, whole, written

_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL", "text": "TEXT"}
_LARGEST = 2**63


def render(spool: Spool, path: Path) -> None:
    """Write the table. A table needs a column: without any field it is the empty column "none"."""
    try:
        # Autocommit and no journal: a part that is not finished is thrown away as a whole.
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            columns = list(_columns(spool)) or ['"none"']
            database.execute(f"CREATE TABLE records ({', '.join(columns)})")
            database.execute("BEGIN")
            marks = ", ".join("?" * len(columns))
            database.executemany(f"INSERT INTO records VALUES ({marks})", _rows(spool))
            database.execute("COMMIT")
    except sqlite3.Error as error:
        raise _explain(error, path) from error


def _columns(spool: Spool) -> Iterator[str]:
    """Column definitions; names that SQLite takes for the same (it ignores case) get a number."""
    taken: set[str] = set()
    for name, kinds in spool.kinds.items():
        column, n = name.replace("\0", "\ufffd"), 1
        while column.lower() in taken:
            n += 1
            column = f"{name}_{n}"
        taken.add(column.lower())
        quoted, held = column.replace('"', '""'), kinds - {"null"}
        # A type converts what does not fit it, so only a column of one kind has one.
        yield f'"{quoted}" {_TYPES.get(held.pop(), "") if len(held) == 1 else ""}'.rstrip()


def _rows(spool: Spool) -> Iterator[list[object]]:
    names = list(spool.kinds)
    return ([_cell(record.get(name)) for name in names] or [None] for record in spool)


def _cell(value: object) -> object:
    if isinstance(value, str):
        return whole(value)
    is_plain = isinstance(value, int | float | None) and not (
        isinstance(value, int) and abs(value) >= _LARGEST
    )
    return value if is_plain else written(value)


def _explain(error: sqlite3.Error, path: Path) -> ScraperError:
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        return StoreFull(f"cannot write {path}: the disk is full", "free some space and try again")
    return UsageError(f"cannot write {path}: {error}")
