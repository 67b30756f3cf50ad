"""The live workers of a store, and what happens to the domains of the dead."""

import os
import platform
import sqlite3
from contextlib import AbstractContextManager
from typing import Any

from scraper.errors import LeaseLost, StoreError
from scraper.ops.clock import Clock, boot_id
from scraper.store import GROUP
from scraper.store.locks import Locks
from scraper.store.sqlite import ownership
from scraper.store.sqlite.database import Database

TTL = 30.0

_OTHERS = "SELECT id, host, boot, lease_until, run FROM workers WHERE id IS NOT ?"
# A domain is asked of its owner while the run that waits for it still has work there; a group, which has no
# URLs, only for another run.
_ASKED = f"""SELECT d.name FROM domains d JOIN workers w ON w.id = d.owner
    WHERE d.owner = ? AND d.wanted_until > ? AND CASE WHEN d.name LIKE '{GROUP}%' THEN d.wanted <> w.run
        ELSE EXISTS (SELECT 1 FROM queues q WHERE q.domain = d.id AND q.run = d.wanted) END"""
_HIGHWATER = """INSERT INTO meta VALUES ('highwater', ?)
    ON CONFLICT(k) DO UPDATE SET v = max(v, excluded.v)"""
_DIED_WITH = """UPDATE urls SET attempts = attempts + 1, crashes = crashes + 1, seq = ?,
    reason = 'the process died while it was parsed' WHERE id = ? AND state = 0 AND run = ?"""
_CRASHED = "UPDATE domains SET crashes = crashes + 1 WHERE owner = ?"


class Workers:
    """This process as a worker, and its view of the others."""

    def __init__(self, database: Database, locks: Locks, clock: Clock) -> None:
        self._database, self._locks, self._clock = database, locks, clock
        self._host, self._boot = platform.node(), boot_id()
        self._me: str | None = None
        self._lease_until = 0.0

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
        try:
            self._enter(worker)
        except BaseException:
            self._locks.drop()
            raise
        self._me = worker
        self.reap_now()

    def beat(self) -> frozenset[str]:
        """Stay alive, free what the dead held, and tell which of our domains others wait for."""
        self._database.check_file()
        now = self._clock.now()
        if self._database.row("SELECT 1 FROM workers WHERE id = ?", self.me) is None:
            raise self._lost()
        if self._lease_until - now < TTL / 2:
            self._renew(now)
        self.reap_now()
        return frozenset(name for (name,) in self._database.rows(_ASKED, self.me, now))

    def leave(self) -> None:
        """Give everything back and go."""
        if self._me is None:
            return
        with self._database.write() as connection:
            ownership.free(connection, ownership.owned(connection, self._me))
            connection.execute("UPDATE runs SET owner = NULL WHERE owner = ?", (self._me,))
            connection.execute("DELETE FROM workers WHERE id = ?", (self._me,))
            # How far time has come: a later boot must not begin before it.
            connection.execute(_HIGHWATER, (self._clock.now(),))
        self._me = None
        self._locks.drop()

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise LeaseLost if we were taken for dead."""
        if connection.execute("SELECT 1 FROM workers WHERE id = ?", (self.me,)).fetchone() is None:
            raise self._lost()

    def reap_now(self) -> None:
        """Free what the dead held; writes only if somebody is dead."""
        if any(map(self._is_dead, self._database.rows(_OTHERS, self._me))):
            with self._database.write() as connection:
                self.reap(connection)

    def reap(self, connection: sqlite3.Connection) -> None:
        """The same inside a transaction, where no two can bury one worker."""
        for row in connection.execute(_OTHERS, (self._me,)).fetchall():
            if not self._is_dead(row):
                continue
            worker, *_, run = row
            self._count_crashes(connection, worker, run)
            held = ownership.owned(connection, worker)
            connection.execute(_CRASHED, (worker,))
            ownership.free(connection, held)
            connection.execute("UPDATE runs SET owner = NULL WHERE owner = ?", (worker,))
            connection.execute("DELETE FROM workers WHERE id = ?", (worker,))
            self._locks.forget(worker)

    def _count_crashes(self, connection: sqlite3.Connection, worker: str, run: int | None) -> None:
        """Put the pages that a dead worker was parsing behind the others."""
        for url in self._locks.in_hand_of(worker):
            (tick,) = connection.execute("UPDATE meta SET v = v + 1 WHERE k = 'tick' RETURNING v").fetchone()
            connection.execute(_DIED_WITH, (tick, url, run))

    def in_hand(self, url: int) -> AbstractContextManager[object]:
        """Note that a page is being parsed, see `Store.in_hand`."""
        return self._locks.in_hand(url)

    def is_alive(self, worker: str) -> bool:
        """Whether a worker of that name lives."""
        row = self._database.row("SELECT id, host, boot, lease_until FROM workers WHERE id = ?", worker)
        return row is not None and (worker == self._me or not self._is_dead(row))

    def close(self) -> None:
        """Let go of the lock without a word, as a crash would."""
        self._locks.drop(keep_file=True)

    def _is_dead(self, row: tuple[Any, ...]) -> bool:
        worker, host, boot = row[:3]
        lease_until: float = row[3]
        # The lock is proof on the machine that holds it. A shared folder may not carry locks to another one.
        is_here = host == self._host or (boot != "" and boot == self._boot)
        if not (is_here or lease_until < self._clock.now()):
            return False
        try:
            return self._locks.is_free(worker)
        except OSError:
            # No locks on this file system: only time tells.
            return lease_until < self._clock.now()

    def _enter(self, worker: str) -> None:
        with self._database.write() as connection:
            if connection.execute("SELECT 1 FROM workers WHERE id = ?", (worker,)).fetchone():
                raise StoreError(f"there is a worker named {worker} already")
            self._locks.hold(worker)
            self._lease_until = self._clock.now() + TTL
            values = (worker, self._host, self._boot, os.getpid(), self._clock.wall(), self._lease_until)
            connection.execute("INSERT INTO workers VALUES (?, ?, ?, ?, ?, ?, NULL)", values)

    def _renew(self, now: float) -> None:
        with self._database.write() as connection:
            self.check(connection)
            values = (now + TTL, self.me)
            connection.execute("UPDATE workers SET lease_until = ? WHERE id = ?", values)
            connection.execute(_HIGHWATER, (now,))
        self._lease_until = now + TTL

    def _lost(self) -> LeaseLost:
        return LeaseLost(f"worker {self.me} was taken for dead by another", "run the same command again")
