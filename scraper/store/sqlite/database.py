"""One SQLite file: how it is opened, how a transaction is written, and what its errors mean to a person."""

import errno
import os
import sqlite3
import stat
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.errors import StoreAway, StoreError, StoreFull, StoreTooNew, UsageError
from scraper.ops.clock import SystemClock, monotonic
from scraper.ops.disk import PRIVATE, SHARED, explain, open_regular, share_folder
from scraper.store.sqlite import schema
from scraper.urls import with_callback

_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
# What a quota or a limit on the size of files forbids comes as an error of writing. All other errors of the
# disk say that it does not answer.
_NO_MORE = {
    sqlite3.SQLITE_IOERR_WRITE,
    sqlite3.SQLITE_IOERR_TRUNCATE,
    sqlite3.SQLITE_IOERR_FSYNC,
    sqlite3.SQLITE_IOERR_SHMSIZE,
    sqlite3.SQLITE_IOERR_NOMEM,
}
_BROKEN = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}

LOCKED = 30.0  # seconds that a lock is waited for
ASK_EVERY = 0.002
_WAIT = f"PRAGMA busy_timeout = {LOCKED * 1000:.0f}"

CACHE = 40_960  # KiB of a connection's pages

_PRAGMAS = (
    _WAIT,
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA wal_autocheckpoint = 10000",
)


# POSIX drops all locks of a process on a file when it closes any descriptor of it, SQLite's among them
# (SQLite, "How to corrupt", 2.2). So a file that a connection of this process holds is not opened beside it.
_opening = threading.Lock()
_open_files: Counter[tuple[int, int] | None] = Counter()


class Database:
    """A connection for one thread of one process; transactions are explicit."""

    def __init__(self, path: Path, *, is_shared: bool = False, cache: int = CACHE) -> None:
        # Messages name it as the user does; a spider may change the working folder under us.
        self.path, self._file = path, path.absolute()
        self._pid = os.getpid()
        self._is_closed = False
        self._is_away = False  # what was waited for once in vain is not waited for again to tidy up
        with self._translated():
            if self._file.is_symlink():
                raise UsageError(f"{path} is a link", "name the file itself: --store sqlite:///FILE")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            if is_shared:
                share_folder(self._file.parent.resolve())  # a link to it is the word of who runs us
            # Cookies are secrets: nobody else may read the file, not even for the moment of its creation.
            # What SQLite puts beside it gets the same mode. A colleague's file keeps the one it has.
            with _opening:
                if _inode_of(self._file) not in _open_files:
                    _check_beside(self._file)
                    os.close(open_regular(self._file, os.O_RDWR, self._mode(is_shared)))
                self._connection = _open(self._file, cache)
                self._inode = _inode_of(self._file)
                _open_files[self._inode] += 1
            self._migrate()

    def _mode(self, is_shared: bool) -> int:
        """Of the file from now on; one that is shared stays so for commands that know no settings."""
        if is_shared or (self._file.exists() and stat.S_IMODE(self._file.stat().st_mode) == SHARED):
            return SHARED
        return PRIVATE

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """One writing transaction: all of it or nothing."""
        self._check_process()
        with self._translated():
            self._begin()
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite itself rolls back after some errors, a full disk among them.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _begin(self) -> None:
        """Get the lock that all writers share by asking often.

        SQLite's own wait asks more and more seldom: of two busy processes one waited a tenth of a second.
        """
        until = monotonic() + (0.0 if self._is_away else LOCKED)
        self._is_away = True
        self._connection.execute("PRAGMA busy_timeout = 0")
        try:
            while not self._is_ours(until):
                SystemClock(0.0).sleep(ASK_EVERY)
            self._is_away = False
        finally:
            self._connection.execute(_WAIT)

    def _is_ours(self, until: float) -> bool:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or monotonic() > until:
                raise
            return False
        return True

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Several reading statements; each sees what is committed when it begins."""
        self._check_process()
        with self._translated():
            yield self._connection

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of one reading statement."""
        self._check_process()
        with self._translated():
            return self._connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of one reading statement."""
        return next(iter(self.rows(sql, *values)), None)

    def stream(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of one statement as they were when it began, over a connection of its own."""
        with self._translated():
            connection = _open(self._file)
            try:
                # Millions of rows may have to be sorted: in files then, not in memory.
                connection.execute("PRAGMA temp_store = FILE")
                connection.execute("PRAGMA cache_size = -16384")
                yield from connection.execute(sql, values)
            finally:
                connection.close()

    def check_file(self) -> None:
        """Raise StoreError if the file was removed or replaced: what is written now would be lost.

        StoreAway where its whole folder is out of reach, as on a disk that is gone.
        """
        if not self._file.parent.is_dir():
            raise StoreAway(f"the folder of {self.path} is gone", "is its disk mounted?")
        if _inode_of(self._file) != self._inode:
            raise StoreError(
                f"{self.path} was removed or replaced while in use", "stop, put it back, and run again"
            )

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        self._connection.close()
        with _opening:
            if not self._is_closed and os.getpid() == self._pid:
                _open_files[self._inode] -= 1
                if not _open_files[self._inode]:
                    del _open_files[self._inode]
            self._is_closed = True

    def _migrate(self) -> None:
        if self._version() == len(schema.MIGRATIONS):
            return
        with self.write() as connection:
            connection.create_function("with_callback", 2, with_callback, deterministic=True)
            # Read again under the lock: another process may have been first.
            for number in range(self._version(), len(schema.MIGRATIONS)):
                for statement in schema.MIGRATIONS[number]:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number + 1}")

    def _version(self) -> int:
        found, known = self._connection.execute("PRAGMA user_version").fetchone()[0], len(schema.MIGRATIONS)
        if found > known:
            raise StoreTooNew(
                f"{self.path} was written by a newer version (schema {found}, this program knows {known})",
                "update the program",
            )
        return int(found)

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError("the store was opened by a parent process", "open it again after a fork")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise _translate(self.path, error) from error
        except OSError as error:
            raise StoreFull(
                f"cannot write {self.path}: {error.strerror}",
                "free some space or check the folder's permissions",
            ) from error


def _check_beside(file: Path) -> None:
    """Raise UsageError where somebody planted a link for SQLite to write through; not opened, see above."""
    for path in (file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm", "-journal")):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                raise explain(OSError(errno.ELOOP, os.strerror(errno.ELOOP)), path)


def _inode_of(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(path: Path, cache: int = CACHE) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    try:
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size = -{cache}"):
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _translate(path: Path, error: sqlite3.Error) -> StoreError:
    extended = getattr(error, "sqlite_errorcode", 0)
    code = extended & 0xFF
    if code in _NO_ROOM or extended in _NO_MORE:
        return StoreFull(f"cannot write {path}: {error}", "free some space or check the folder's permissions")
    if code in _BROKEN:
        return StoreError(f"{path} is no usable database: {error}", "move it away or restore a copy")
    if code == sqlite3.SQLITE_BUSY:
        return StoreAway(
            f"{path} stayed locked for {LOCKED:.0f} s: {error}", "find the program that holds it open"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StoreAway(f"the disk of {path} does not answer: {error}", "is it mounted, and healthy?")
    return StoreError(f"{path}: {error}")


TOGETHER = 512  # rows of one statement at most; SQLite takes 32,766 values


def batched(rows: Iterable[Sequence[Any]], size: int) -> Iterator[list[Sequence[Any]]]:
    """Rows in lists of at most `size`."""
    coming = iter(rows)
    while batch := list(islice(coming, size)):
        yield batch


def many(connection: sqlite3.Connection, sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement for many rows; nothing for none.

    Where its values are those of `VALUES (...)`, many rows go into one statement each: at every statement the
    interpreter is given up, and while a thread parses it takes long to get it back. They come by powers of
    two, because each size is a statement of its own to prepare.
    """
    head, values, tail = sql.partition("VALUES (")
    if not values:
        connection.executemany(sql, rows)
        return
    group, end, tail = tail.partition(")")
    start = 0
    while left := len(rows) - start:
        size = min(TOGETHER, 1 << left.bit_length() - 1)
        flat = [value for row in rows[start : start + size] for value in row]
        connection.execute(f"{head}{values}{group}{f'), ({group}' * (size - 1)}{end}{tail}", flat)
        start += size


def storable(text: str) -> str:
    """The text without lone surrogates, which a site can send and UTF-8 cannot hold."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
