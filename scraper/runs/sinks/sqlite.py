"""SQLite: a table `records` with a column a field, nested values as JSON, the spider's key as primary key.

A database that is there already is never replaced as a file: beside it may lie a write-ahead log or a journal
that belongs to it, and another program may have it open. It gets its new table in one transaction of its own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from scraper.errors import ScraperError, StoreFull, UsageError
from scraper.ops.disk import Replacement
from scraper.runs.sinks.table import Column, Table, mixed, text_of

PATIENCE = 30.0  # seconds to wait for another program that is writing

_TYPES = {"int": "INTEGER", "bool": "INTEGER", "float": "REAL"}
_MAGIC = b"SQLite format 3\0"
_BESIDE = ("-wal", "-shm", "-journal")


def render(table: Table, replacement: Replacement) -> list[str]:
    """Write the table into the database, or as a new one."""
    target, part = replacement.target, replacement.part
    columns = table.columns()
    try:
        is_there = _is_database(target)
        notes = _fill(part, table, columns, _encoding(target) if is_there else "UTF-8")
        if not is_there:
            replacement.commit()
            return [*mixed(table), *notes]
        notes += _take_over(target, part)
    except sqlite3.Error as error:
        raise _explain(error, target) from error
    replacement.discard()
    return [*mixed(table), *notes]


def _is_database(target: Path) -> bool:
    """Whether SQLite has to write it: it is one, or files beside it would be taken for those of a new one."""
    if any(target.with_name(target.name + ending).exists() for ending in _BESIDE):
        return True
    with suppress(FileNotFoundError), target.open("rb") as file:
        head = file.read(len(_MAGIC))
        return not head or head == _MAGIC
    return False


def _encoding(target: Path) -> str:
    with closing(sqlite3.connect(target, timeout=PATIENCE)) as database:
        encoding: str = database.execute("PRAGMA encoding").fetchone()[0]
    return encoding


def _fill(part: Path, table: Table, columns: list[Column], encoding: str) -> list[str]:
    """Write a new database at `part`, an empty file; without a primary key where the key is not unique."""
    # Autocommit and no journal: a part that is not finished is thrown away as a whole.
    with closing(sqlite3.connect(part, isolation_level=None)) as database:
        database.execute(f"PRAGMA encoding = '{encoding}'")
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        marks = ", ".join("?" * len(columns))
        for constraint in dict.fromkeys([_primary_key(table, columns), ""]):
            definitions = [f"{_quoted(one.name)} {_TYPES.get(one.type, 'TEXT')}" for one in columns]
            database.execute(f"CREATE TABLE records ({', '.join(definitions)}{constraint})")
            database.execute("BEGIN")
            try:
                database.executemany(f"INSERT INTO records VALUES ({marks})", _rows(table, columns))
            except sqlite3.IntegrityError:
                database.execute("COMMIT")
                database.execute("DROP TABLE records")
                continue
            database.execute("COMMIT")
            return [] if constraint or not table.key else ["no primary key: two records have the same"]
    raise AssertionError("a table without a primary key takes every record")


def _primary_key(table: Table, columns: list[Column]) -> str:
    names = {column.field: column.name for column in columns}
    if not table.key or not all(field in names for field in table.key):
        return ""
    return f", PRIMARY KEY ({', '.join(_quoted(names[field]) for field in table.key)})"


def _quoted(name: str) -> str:
    return '"' + name.replace("\0", "\ufffd").replace('"', '""') + '"'


def _rows(table: Table, columns: list[Column]) -> Iterator[list[object]]:
    return ([_cell(record.get(column.field), column.type) for column in columns] for record in table)


def _cell(value: object, type_: str) -> object:
    return value if type_ in _TYPES else text_of(value)


def _take_over(target: Path, part: Path) -> list[str]:
    """Put the table of `part` in the place of the target's, in one transaction; other tables stay.

    Its indexes and triggers stay too, if they fit; a table of the same columns is only filled anew.
    """
    lost = []
    with closing(sqlite3.connect(target, timeout=PATIENCE, isolation_level=None)) as database:
        database.execute("ATTACH ? AS fresh", (str(part),))
        database.execute("BEGIN IMMEDIATE")
        before, after = _definition(database, "main"), _definition(database, "fresh")
        if before == after:
            database.execute("DELETE FROM main.records")
        else:
            extras = database.execute(
                "SELECT name, sql FROM main.sqlite_schema WHERE tbl_name = 'records' COLLATE NOCASE"
                " AND type IN ('index', 'trigger') AND sql IS NOT NULL"
            ).fetchall()
            database.execute("DROP TABLE IF EXISTS main.records")
            database.execute(after)
            lost = [name for name, sql in extras if not _can(database, sql)]
        database.execute("INSERT INTO main.records SELECT * FROM fresh.records")
        database.execute("COMMIT")
    return [f"the index or trigger {name!r} of records does not fit its new columns" for name in lost]


def _definition(database: sqlite3.Connection, schema: str) -> str:
    found = database.execute(
        f"SELECT sql FROM {schema}.sqlite_schema WHERE type = 'table' AND name = 'records'"
    )
    row = found.fetchone()
    return row[0] if row else ""


def _can(database: sqlite3.Connection, sql: str) -> bool:
    try:
        database.execute(sql)
    except sqlite3.OperationalError:
        return False
    return True


def _explain(error: sqlite3.Error, path: Path) -> ScraperError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(f"cannot write {path}: the disk is full", "free some space and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return UsageError(f"cannot write {path}: another program is writing to it", "end that and try again")
    return UsageError(f"cannot write {path}: {error}")
