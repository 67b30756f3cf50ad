"""The live workers of a store, and what happens to the domains of the dead.

A worker lives as long as its lease (`workers.lease_until`, the server's time), which each of its transactions
renews. On the machine where it runs, its file lock says at once that it is dead.
"""

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from scraper.errors import LeaseLost, StoreError
from scraper.ops.clock import Clock, boot_id
from scraper.store import GROUP
from scraper.store.locks import Locks
from scraper.store.postgres import ownership
from scraper.store.postgres.database import Connection, Database
from scraper.store.postgres.suspects import Suspects, parsed_by

TTL = 15.0
"""Seconds that a lease lasts, unless the row `lease` of the table meta says otherwise."""

# Between the end of a lease and the takeover. No request is begun after the end; this is for one that had
# passed the check and waits for the processor still.
_GRACE = 0.3  # of the lease

T = TypeVar("T")

_SERVER_NOW = "extract(epoch FROM clock_timestamp())::float8"
# After a restart of the server everybody has one more lease to come back.
_OVER = f"""greatest(lease_until, extract(epoch FROM pg_postmaster_start_time())::float8 + %(ttl)s)
    + %(grace)s < {_SERVER_NOW}"""
_OTHERS = f"SELECT id, boot, lock, {_OVER} FROM workers WHERE id IS DISTINCT FROM %(me)s"
_DEAD = f"""SELECT run FROM workers WHERE id = %(worker)s AND (%(is_gone)s OR {_OVER})
    FOR UPDATE SKIP LOCKED"""
_JOIN = f"""INSERT INTO workers VALUES (%s, %s, %s, %s, %s, %s, {_SERVER_NOW} + %s, NULL, 0)
    ON CONFLICT DO NOTHING RETURNING 1"""
# A server that has lost what we committed (a standby that was behind and has taken over) knows less of the
# frontier than we remember: who begins anew asks it.
_RENEW = f"""UPDATE workers SET commits = %(number)s, lease_until = {_SERVER_NOW} + %(ttl)s
    WHERE id = %(me)s AND commits >= %(number)s - 1 RETURNING 1"""
# A domain is asked of its owner while the run that waits for it still has work there; a group, which has no
# URLs, only for another run.
_ASKED = f"""SELECT d.name FROM domains d JOIN workers w ON w.id = d.owner
    WHERE d.owner = %s AND d.wanted_until > %s AND CASE WHEN d.name LIKE '{GROUP}%%' THEN d.wanted <> w.run
        ELSE EXISTS (SELECT 1 FROM queues q WHERE q.domain = d.id AND q.run = d.wanted) END"""
_DIED_WITH = """UPDATE urls SET attempts = attempts + 1, crashes = crashes + 1, seq = nextval('tick'),
    reason = 'the process died while it was parsed' WHERE id = %s AND state = 0 AND run = %s"""


class Workers:
    """This process as a worker, and its view of the others."""

    def __init__(self, database: Database, locks: Locks, folder: Path, clock: Clock) -> None:
        self._database, self._locks, self._folder, self._clock = database, locks, folder, clock
        self._me: str | None = None
        self._commits = 0
        self.suspects = Suspects(database)
        row = database.row("SELECT v FROM meta WHERE k = 'lease'")
        self._ttl = float(row[0]) if row else TTL
        self.deadline = -float("inf")

    @property
    def me(self) -> str:
        """Our name; StoreError before `join`."""
        if self._me is None:
            raise StoreError("this process has not joined the store")
        return self._me

    def join(self, worker: str) -> None:
        """Enter under a new name."""
        if self._me is not None:
            raise StoreError(f"this process is in the store already, as {self._me}")
        lock = self._hold(worker)
        before = self._clock.now()
        values = (worker, platform.node(), boot_id(), os.getpid(), lock, self._clock.wall(), self._ttl)

        def stands() -> bool:
            return self._database.row("SELECT 1 FROM workers WHERE id = %s", (worker,)) is not None

        try:
            if not self._database.write(
                lambda connection: connection.execute(_JOIN, values).fetchone(), stands
            ):
                raise StoreError(f"there is a worker named {worker} already")
        except BaseException:
            self._locks.drop()
            raise
        self._me, self._commits = worker, 0
        self.deadline = before + self._ttl
        self.reap()

    def beat(self) -> frozenset[str]:
        """Stay alive, free what the dead held, and tell which of our domains others wait for."""
        now = self._clock.now()
        if self.deadline - now < self._ttl * 0.75 or not self._is_known():
            self.write(lambda connection: None)
        self.reap()
        return frozenset(name for (name,) in self._database.rows(_ASKED, (self.me, now)))

    def leave(self) -> None:
        """Give everything back and go."""
        if self._me is None:
            return
        me = self._me

        def go(connection: Connection) -> None:
            connection.execute("SELECT 1 FROM workers WHERE id = %s FOR UPDATE", (me,))
            ownership.free(connection, ownership.owned(connection, me))
            connection.execute("UPDATE runs SET owner = NULL WHERE owner = %s", (me,))
            connection.execute("DELETE FROM workers WHERE id = %s", (me,))

        self._database.write(go)
        self._me, self.deadline = None, -float("inf")
        self._locks.drop()

    def write(self, work: Callable[[Connection], T]) -> T:
        """One transaction of this worker. It renews the lease; LeaseLost if we were taken for dead.

        It holds the row of the worker, so that nobody frees its domains in the middle of it.
        """
        me, number, before = self.me, self._commits + 1, self._clock.now()

        def guarded(connection: Connection) -> T:
            renewed = connection.execute(_RENEW, {"number": number, "ttl": self._ttl, "me": me})
            result = work(connection)
            if renewed.fetchone() is None:
                raise LeaseLost(f"worker {me} was taken for dead by another", "run the same command again")
            return result

        def stands() -> bool:
            row = self._database.row("SELECT commits FROM workers WHERE id = %s", (me,))
            return row is not None and row[0] == number

        result = self._database.write(guarded, stands)
        self._commits, self.deadline = number, before + self._ttl
        return result

    def reap(self) -> None:
        """Free what the dead held; writes only if somebody is dead."""
        for row in self._database.rows(_OTHERS, self._mapped(me=self._me)):
            is_gone = self._is_gone(row)
            if is_gone or row[-1]:
                self._database.write(partial(self._bury, worker=row[0], lock=row[2], is_gone=is_gone))

    @contextmanager
    def in_hand(self, url: int) -> Iterator[None]:
        """Note that a page is being parsed, see `Store.in_hand`."""
        with self._locks.in_hand(url), self.suspects.in_hand(self._me or "", url):
            yield

    def close(self) -> None:
        """Let go of the lock without a word, as a crash would."""
        self._locks.drop(keep_file=True)

    def _bury(self, connection: Connection, *, worker: str, lock: str, is_gone: bool) -> None:
        values = self._mapped(worker=worker, is_gone=is_gone)
        # Whoever is in the middle of a transaction is passed over, and looked at again later.
        row = connection.execute(_DEAD, values).fetchone()
        if row is None:
            return
        held = ownership.owned(connection, worker)
        for url in sorted({*self._parsing(worker, lock), *parsed_by(connection, worker)}):
            connection.execute(_DIED_WITH, (url, row[0]))
        connection.execute("UPDATE domains SET crashes = crashes + 1 WHERE id = ANY(%s)", (held,))
        ownership.free(connection, held)
        connection.execute("UPDATE runs SET owner = NULL WHERE owner = %s", (worker,))
        connection.execute("DELETE FROM workers WHERE id = %s", (worker,))

    def _mapped(self, **values: Any) -> dict[str, Any]:
        return {"ttl": self._ttl, "grace": self._ttl * _GRACE, **values}

    def _is_known(self) -> bool:
        return self._database.row("SELECT 1 FROM workers WHERE id = %s", (self.me,)) is not None

    # the lock file of this machine ------------------------------------------------------------------------
    def _hold(self, worker: str) -> str:
        """Lock our file; where it is and which, so that nobody takes another file for it. Empty: no locks."""
        try:
            self._locks.hold(worker)
            return f"{_identity(self._folder)}:{self._folder}"
        except OSError:
            return ""  # only time tells

    def _is_gone(self, row: tuple[Any, ...]) -> bool:
        """Whether a worker of this machine has let go of its lock."""
        worker, boot, lock = row[:3]
        folder = _folder(lock)
        if boot != boot_id() or folder is None:
            return False
        try:
            return Locks(folder).is_free(worker)
        except OSError:
            return False

    @staticmethod
    def _parsing(worker: str, lock: str) -> list[int]:
        folder = _folder(lock)
        return [] if folder is None else Locks(folder).in_hand_of(worker)


def _identity(folder: Path) -> str:
    found = folder.stat()
    return f"{found.st_dev}.{found.st_ino}"


def _folder(lock: str) -> Path | None:
    """The folder of a lock file, if it is the same one as seen from here (a container may see another)."""
    identity, _, name = lock.partition(":")
    try:
        return Path(name) if name and _identity(Path(name)) == identity else None
    except OSError:
        return None
