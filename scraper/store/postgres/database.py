"""One connection to a PostgreSQL server: how it is made, how a transaction is written, and what errors mean.

A connection may break at any moment, also between a COMMIT and its answer. `write` then connects again, asks
whether the transaction stands, and if not runs it once more.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import conninfo, errors

from scraper.errors import LeaseLost, StoreAway, StoreError, StoreFull, StoreTooNew, UsageError
from scraper.ops.clock import monotonic, sleep
from scraper.store.postgres import schema

_AT_FIRST = 3.0
PATIENCE = 60.0
"""Seconds for which a server that is away is asked again."""

T = TypeVar("T")
Values = Sequence[Any] | Mapping[str, Any]
Connection = psycopg.Connection[tuple[Any, ...]]
Cursor = psycopg.Cursor[tuple[Any, ...]]

# A plan that was made while a table was empty would read the whole of it for ever: ten times slower. And what
# an administrator allows a statement by default is too little for millions of rows.
_OPTIONS = " ".join(
    f"-c {one}=off" for one in ("enable_hashjoin", "enable_mergejoin", "enable_seqscan", "jit")
)
_OPTIONS += " -c statement_timeout=0"
# A host that dies in the middle of a transaction would keep its locks, and its domains, until the server
# misses it, for hours. (A limit of idle time holds only between the batches of a pipeline.)
_OPTIONS += " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=3 -c tcp_keepalives_count=3"
# What somebody else has locked is waited for with nothing of ours locked.
_BOUNDS = {"lock_timeout": "3s", "statement_timeout": "0"}
# A cable that was pulled must be noticed before our leases run out.
_DEFAULTS = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "scraper",
    "client_encoding": "UTF8",
}
_ASK_AGAIN = (
    *(errors.DeadlockDetected, errors.SerializationFailure),
    *(errors.LockNotAvailable, errors.QueryCanceled),
)
_MOST_TRIES = 20
_BIND = "SELECT set_config(name, value, true) FROM unnest(%s::text[], %s::text[]) AS bound(name, value)"
_GONE = {"57P01", "57P02", "57P03", "53300", "08000", "08003", "08006", "08P01"}
_NO_ROOM = {"53100", "25006", "53200"}
# What a server says that is there, or a pooler before it; a failure to connect has no code of its own.
_STARTS = "the database system is"
_FULL = ("too many clients", "too many connections", "connection slots are reserved")
_IS_THERE = (_STARTS, *_FULL, "server login has been failing")
# A connection that breaks in the middle of a pipeline is noted there, though we go on.
logging.getLogger("psycopg").addHandler(logging.NullHandler())
_log = logging.getLogger(__name__)
_ENCODINGS = ("UTF8", "SQL_ASCII")  # the latter keeps bytes as they are
_MIGRATING = 0x5C7A9E12  # any number that other programs do not lock


class Database:
    """A connection for one thread of one process; transactions are explicit.

    `is_awaited`: a server that is away is waited for from the beginning.
    """

    def __init__(self, url: str, *, is_awaited: bool = False) -> None:
        try:
            self._parameters = conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise UsageError(
                f"store: {str(error).strip()}", "write postgresql://user@host:5432/database"
            ) from error
        host, port = self._parameters.get("host", "localhost"), self._parameters.get("port", 5432)
        self.name = f"postgresql://{host}:{port}/{self._parameters.get('dbname', '')}"
        self._connection: Connection | None = None
        self._pid = os.getpid()
        self._was_there = False
        self._is_away = False  # what was waited for once in vain is not waited for again to tidy up
        try:
            with self._translated():
                self._connect(monotonic() + (PATIENCE if is_awaited else _AT_FIRST))
                self._migrate()
        except StoreAway as error:
            told = str(error.__cause__)
            error.was_there = self._was_there or any(words in told for words in _IS_THERE)
            raise

    # transactions ---------------------------------------------------------------------------------------
    def write(self, work: Callable[[Connection], T], stands: Callable[[], bool] = lambda: False) -> T:
        """One transaction: all of it or nothing. `work` may be run again and must set what it returns anew.

        `stands`: whether the last transaction was committed, asked where the answer to its COMMIT was lost.
        """
        self._check_process()
        with self._translated():
            for tries in range(_MOST_TRIES):
                try:
                    result, is_committed = self._once(work)
                except psycopg.Error as error:
                    self._recover(error, tries)
                    continue
                if is_committed or stands():
                    return result
        raise self._broken()

    def _once(self, work: Callable[[Connection], T]) -> tuple[T, bool]:
        """One try; whether its COMMIT was answered.

        Nothing waits for the answer to a statement until somebody looks at it (pipeline mode): on a busy
        machine, waiting for one's turn is most of what a transaction takes.
        """
        connection, is_committing = self._connect(monotonic() + PATIENCE), False
        try:
            with connection.pipeline():
                connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                connection.execute(_BIND, (list(_BOUNDS), list(_BOUNDS.values())))
                result = work(connection)
                is_committing = True
                connection.execute("COMMIT")
        except BaseException as error:
            if is_committing and isinstance(error, psycopg.Error) and self._is_lost(error):
                self._reconnect(error)
                return result, False
            with suppress(psycopg.Error):
                connection.rollback()
            raise
        return result, True

    def rows(self, sql: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """The rows of one reading statement."""
        self._check_process()
        with self._translated():
            for tries in range(_MOST_TRIES):
                try:
                    connection = self._connect(monotonic() + PATIENCE)
                    return connection.execute(sql, values).fetchall()
                except psycopg.Error as error:
                    self._recover(error, tries)
        raise self._broken()

    def row(self, sql: str, values: Values = ()) -> tuple[Any, ...] | None:
        """The first row of one reading statement."""
        return next(iter(self.rows(sql, values)), None)

    def stream(self, sql: str, values: Values = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement as they were when it began, over a connection of its own."""
        with self._translated():
            connection = self._patient(monotonic() + PATIENCE)
            try:
                with connection.transaction(), connection.cursor(name="scraper") as cursor:
                    cursor.itersize = 1000
                    yield from cursor.execute(sql, values)
            finally:
                connection.close()

    @contextmanager
    def alone(self, begin: str) -> Iterator[Connection]:
        """One transaction that is never tried again, begun by a statement."""
        with self._translated():
            connection = self._connect(monotonic() + _AT_FIRST)
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                self.close()  # which rolls back
                raise

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        if self._connection is not None and os.getpid() == self._pid:
            self._connection.close()
        self._connection = None

    # the connection -------------------------------------------------------------------------------------
    def _connect(self, until: float) -> Connection:
        """The connection; where it is gone made anew."""
        if self._connection is None:
            self._connection = self._patient(until)
        return self._connection

    def _patient(self, until: float) -> Connection:
        """A new connection, with growing patience until a monotonic moment; once given up, one try each."""
        wait, patient_until = 0.05, monotonic() + PATIENCE
        while True:
            try:
                connection = self.another()
            except psycopg.OperationalError as error:
                until = patient_until if _STARTS in str(error) else until  # or it ends, to start again
                if self._is_away or monotonic() + wait > until:
                    self._is_away = True
                    raise
                sleep(wait)
                wait = min(2.0, wait * 2)
            else:
                self._was_there, self._is_away = True, False
                return connection

    def another(self) -> Connection:
        """A new connection: psycopg.Error where there is none. For any thread, which closes it."""
        given = self._parameters
        options = f"{given.get('options') or ''} {_OPTIONS}".strip()
        try:
            connection = psycopg.connect(_with_defaults({**given, "options": options}), autocommit=True)
        except psycopg.OperationalError as error:
            if "unsupported startup parameter" not in str(error):
                raise
            # A pooler between us and the server.
            connection = psycopg.connect(_with_defaults(given), autocommit=True)
            connection.prepare_threshold = None
            # It lets us in also where it does not reach the server, and refuses each statement at once.
            connection.execute("SELECT 1")
            return connection
        (pid,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        if pid != connection.info.backend_pid:
            # A pooler, which may give each transaction another connection: none knows our statements.
            connection.prepare_threshold = None
        return connection

    def _recover(self, error: psycopg.Error, tries: int) -> None:
        """Get ready for another try; raise the error where none would help."""
        if isinstance(error, _ASK_AGAIN) and tries + 1 < _MOST_TRIES:
            sleep(0.01 * (tries + 1))
        else:
            self._reconnect(error)

    def _reconnect(self, error: psycopg.Error) -> None:
        """Drop a connection that the error has ended; raise the error where it says something else."""
        connection = self._connection
        if connection is None or not self._is_lost(error):
            raise error
        with suppress(psycopg.Error):
            connection.close()
        self._connection = None
        sleep(0.05)

    def _broken(self) -> StoreError:
        return StoreAway(f"{self.name} broke the connection again and again", "look at the server's log")

    def _is_lost(self, error: psycopg.Error) -> bool:
        """Whether the connection is of no more use; also if it broke in a pipeline that cannot be left."""
        connection = self._connection
        if connection is None or connection.closed or connection.broken or error.sqlstate in _GONE:
            return True
        return connection.info.pipeline_status is not psycopg.pq.PipelineStatus.OFF

    # the schema -----------------------------------------------------------------------------------------
    def _migrate(self) -> None:
        if self.write(self._version) == len(schema.MIGRATIONS):
            return
        self.write(self._climb)

    def _climb(self, connection: Connection) -> None:
        connection.execute("SET LOCAL lock_timeout = 0")  # who is first may take minutes
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
        # Read again under the lock: another process may have been first. Whether there is a table at all, a
        # server that was asked before the wait answers as it did then.
        connection.execute("CREATE TABLE IF NOT EXISTS meta(k text PRIMARY KEY, v text NOT NULL)")
        found, known = self._version(connection), len(schema.MIGRATIONS)
        encoding = connection.info.parameter_status("server_encoding")
        if not found and encoding not in _ENCODINGS:
            raise UsageError(
                f"{self.name} is encoded in {encoding}, which lacks letters that sites have",
                "createdb --template template0 --encoding UTF8 NAME",
            )
        if 0 < found < known:
            _log.warning(
                "%s: changing schema %d to %d: minutes for ten million URLs, in which others can only read",
                *(self.name, found, known),
            )
        for number in range(found, known):
            for statement in schema.MIGRATIONS[number]:
                connection.execute(statement)
            connection.execute(
                """INSERT INTO meta VALUES ('schema', %s) ON CONFLICT (k) DO UPDATE SET v = excluded.v""",
                (str(number + 1),),
            )

    def _version(self, connection: Connection) -> int:
        (table,) = connection.execute("SELECT to_regclass('meta')::text").fetchone() or (None,)
        row = connection.execute("SELECT v FROM meta WHERE k = 'schema'").fetchone() if table else None
        found, known = int(row[0]) if row else 0, len(schema.MIGRATIONS)
        if found > known:
            raise StoreTooNew(
                f"{self.name} was written by a newer version (schema {found}, this program knows {known})",
                "update the program",
            )
        return found

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError("the store was opened by a parent process", "open it again after a fork")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _translate(self.name, error) from error


def _with_defaults(given: Mapping[str, Any]) -> str:
    return conninfo.make_conninfo(**{**_DEFAULTS, **given})


def _translate(name: str, error: psycopg.Error) -> StoreError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, errors.NotNullViolation) and error.diag.table_name == "runs":
        return LeaseLost("the run was ended by another process")  # see `settle.count_run`
    if error.sqlstate in _NO_ROOM:
        return StoreFull(
            f"cannot write {name}: {lines[0]}", "free some space on the server or check its mode"
        )
    if error.sqlstate == "53300" or any(words in lines[0] for words in _FULL):
        return StoreAway(f"{name} has no connection left", "raise max_connections, or put PgBouncer between")
    if isinstance(error, _ASK_AGAIN):
        return StoreAway(f"{name}: {lines[0]}", "pg_stat_activity tells who holds what we wait for")
    if error.sqlstate == "42501":
        need = "CREATE ON" if "schema" in lines[0] else "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN"
        return StoreError(f"{name}: {lines[0]}", f"GRANT {need} SCHEMA public TO this user")
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        # Some lines guess at the reason, others tell more of it.
        told = [line for line in lines if not line.startswith(("\t", "DETAIL:", "HINT:"))] or lines
        return StoreAway(f"cannot reach {name}: {told[-1]}", "check the address, the password and the server")
    if error.sqlstate in _GONE:
        return StoreAway(f"cannot reach {name}: {lines[0]}", "look at the server's log, and the pooler's")
    return StoreError(f"{name}: {lines[0]}")


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any] | str]:
    """Rows as `unnest` takes them: one array a column, whose type the statement names."""
    return [_array(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]


def _array(column: tuple[Any, ...]) -> list[Any] | str:
    # A third of what a settlement costs us was to write arrays element by element.
    kinds = set(map(type, column))
    if kinds == {int}:
        return integers(column)
    if kinds == {bytes}:
        return '{"\\\\x' + '","\\\\x'.join(map(bytes.hex, column)) + '"}'
    if kinds <= {str, type(None)}:
        return f"{{{','.join(map(_quoted, column))}}}"
    return list(column)


def _quoted(text: str | None) -> str:
    if text is None:
        return "NULL"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def integers(numbers: Iterable[int]) -> str:
    """Integers as the text of an array."""
    return f"{{{','.join(map(str, numbers))}}}"


def storable(text: str) -> str:
    """The text without what a site can send and the server cannot hold: lone surrogates and NUL."""
    text = text if text.isascii() else text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\ufffd") if "\0" in text else text
