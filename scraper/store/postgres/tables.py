"""The rows of a PostgreSQL database for `scraper.store.copying`."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from scraper.ops.clock import SystemClock
from scraper.store.copying import COLUMNS, Row
from scraper.store.postgres.database import Connection, Database
from scraper.store.postgres.store import PostgresStore

_NUMBERED = (("runs", "number"), ("domains", "id"), ("queues", "id"))


class PostgresTables:
    """See `copying.Tables`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursors = count()

    def rows(self, table: str) -> Iterator[Row]:
        with self._connection.cursor(name=f"rows{next(self._cursors)}") as cursor:
            cursor.itersize = 1000
            for row in cursor.execute(f"SELECT {', '.join(COLUMNS[table])} FROM {table}"):
                yield tuple(row)

    def insert(self, table: str, rows: Iterable[Row]) -> None:
        names, more = list(COLUMNS[table]), {"queues": {"free": True, "due": 0.0}}.get(table, {})
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table}({', '.join([*names, *more])}) FROM STDIN") as copy,
        ):
            for row in rows:
                copy.write_row((*row, *more.values()))

    def finish(self) -> None:
        execute = self._connection.execute
        execute("UPDATE queues q SET due = d.due FROM domains d WHERE d.id = q.domain")
        execute(
            """SELECT setval('tick', greatest(1, (SELECT max(id) FROM urls), (SELECT max(seq) FROM urls),
            (SELECT max(id) FROM visits), (SELECT max(version) FROM records)))"""
        )
        for table, column in _NUMBERED:
            execute(
                f"""SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column}))
                FROM {table} HAVING max({column}) IS NOT NULL"""
            )


class PostgresCopyable:
    """See `copying.Copyable`."""

    def __init__(self, url: str, locks: Path) -> None:
        store = PostgresStore(url, locks=locks)
        self._clock = SystemClock(store.anchor())
        store.close()
        self._url = url
        database = Database(url)
        self.name = database.name
        database.close()

    def now(self) -> float:
        return self._clock.now()

    @contextmanager
    def reading(self) -> Iterator[PostgresTables]:
        with self._transaction("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY") as tables:
            yield tables

    @contextmanager
    def writing(self) -> Iterator[PostgresTables]:
        with self._transaction("BEGIN") as tables:
            yield tables

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[PostgresTables]:
        database = Database(self._url)
        try:
            with database.alone(begin) as connection:
                yield PostgresTables(connection)
        finally:
            database.close()
