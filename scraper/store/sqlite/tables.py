"""The rows of a file for `scraper.store.copying`."""

import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from scraper.ops.clock import SystemClock
from scraper.store.copying import COLUMNS, Row
from scraper.store.sqlite.database import Database
from scraper.store.sqlite.fingerprint_index import STEM
from scraper.store.sqlite.store import SqliteStore

_BOOLS = ("accepted", "whole", "is_read")


class SqliteTables:
    """See `copying.Tables`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, table: str) -> Iterator[Row]:
        names = COLUMNS[table]
        bools = [place for place, name in enumerate(names) if name in _BOOLS]
        links = names.index("links") if "links" in names else None
        for found in self._connection.execute(f"SELECT {', '.join(names)} FROM {table}"):
            row = [one.replace("\0", "\ufffd") if isinstance(one, str) else one for one in found]
            for place in bools:
                row[place] = bool(row[place])
            if links is not None:
                row[links] = array("q", row[links]).tolist()
            yield tuple(row)

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        names, more = list(COLUMNS[table]), {"queues": {"free": 1, "due": 0}}.get(table, {})
        if "links" in names:
            place = names.index("links")
            rows = ((*row[:place], array("q", row[place]).tobytes(), *row[place + 1 :]) for row in rows)
        marks = ", ".join("?" * (len(names) + len(more)))
        sql = f"INSERT INTO {table}({', '.join([*names, *more])}) VALUES ({marks})"
        self._connection.executemany(sql, ((*row, *more.values()) for row in rows))

    def finish(self) -> None:
        execute = self._connection.execute
        execute("UPDATE queues SET due = (SELECT due FROM domains d WHERE d.id = queues.domain)")
        execute(f"INSERT INTO settled SELECT queue, substr(fp, 1, {STEM}), id, run FROM urls")
        execute(
            """UPDATE meta SET v = max(v, (SELECT coalesce(max(id), 0) FROM urls),
            (SELECT coalesce(max(seq), 0) FROM urls), (SELECT coalesce(max(id), 0) FROM visits),
            (SELECT coalesce(max(version), 0) FROM records)) WHERE k = 'tick'"""
        )


class SqliteCopyable:
    """See `copying.Copyable`."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        store = SqliteStore(path)
        self._clock = SystemClock(store.anchor())
        store.close()
        self._path = path

    def now(self) -> float:
        return self._clock.now()

    @contextmanager
    def reading(self) -> Iterator[SqliteTables]:
        database = Database(self._path)
        try:
            # Nobody writes meanwhile: what is being read is about to be given up.
            with database.write() as connection:
                yield SqliteTables(connection)
        finally:
            database.close()

    @contextmanager
    def writing(self) -> Iterator[SqliteTables]:
        database = Database(self._path)
        try:
            with database.write() as connection:
                yield SqliteTables(connection)
        finally:
            database.close()
