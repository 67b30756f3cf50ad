"""The store on one SQLite file: the default, for one machine with any number of processes."""

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from scraper.errors import StoreBusy
from scraper.model import Entry, Known, NewUrl, Visit
from scraper.ops.clock import Clock, SystemClock, boot_id, offset
from scraper.store import (
    LEFT_TO_OTHERS,
    START,
    Cursor,
    DomainUpdate,
    Lease,
    Progress,
    RobotsCopy,
    Run,
    Settled,
    StoredRecord,
    run_rows,
)
from scraper.store.locks import Locks
from scraper.store.sqlite import kept_records, ownership, reading, runs
from scraper.store.sqlite.database import CACHE, Database, many
from scraper.store.sqlite.frontier import Change, FilteredSeen, queue_of
from scraper.store.sqlite.reopen import reopen
from scraper.store.sqlite.settle import Settlement
from scraper.store.sqlite.workers import Workers

_ASK_AGAIN = 1.0
LIGHT = 2_048

_TAKE = """SELECT u.id, u.fp, u.url, u.request, u.depth, u.hops, u.attempts, u.prio, u.seq,
    p.version, p.etag, p.last_modified, p.fresh_until, p.body_hash, p.fetched_at, p.inputs, p.files,
    instr(p.facts, '"noarchive"') > 0,
    coalesce((SELECT n + 1 FROM records WHERE version = p.version ORDER BY n DESC LIMIT 1), 0),
    length(p.links) / 8, u.crashes
    FROM domains d JOIN queues q ON q.spider = ?3 AND q.domain = d.id
    JOIN urls u ON u.queue = q.id AND u.run = ?1 AND u.state = 0
    LEFT JOIN pages p ON p.url = u.id
        AND (p.run = u.run OR coalesce((SELECT r.accepted FROM runs r WHERE r.number = p.run), 1))
    WHERE d.name = ?2 AND d.owner = ?4 AND d.epoch = ?5 AND u.id NOT IN (SELECT value FROM json_each(?7))
    ORDER BY u.prio DESC, u.seq LIMIT ?6"""
_KNOWN_PENDING = """SELECT count(*) FROM queues q JOIN urls u ON u.queue = q.id AND u.run = ?2 AND u.state = 0
    WHERE q.spider = ?1 AND u.seq < 0"""
_OWNED = "SELECT id, name, epoch FROM domains WHERE +owner = ? AND name IN ({})"
_LEAVE_DOMAIN = """UPDATE domains SET due = column1, state = coalesce(column2, state),
    crashes = CASE column3 WHEN 1 THEN 0 ELSE crashes END
    FROM (VALUES (?, ?, ?, ?)) AS given WHERE id = column4"""
_LEAVE_SESSION = "UPDATE queues SET session = ? WHERE spider = ? AND domain = ?"
_LEAVE_STATS = "INSERT OR REPLACE INTO tallies VALUES (?, ?, ?)"
_STAND_NO_MORE = """UPDATE pages SET inputs = '', etag = NULL, last_modified = NULL, fresh_until = 0,
    body_hash = x'', fetched_at = 0 WHERE url IN (SELECT id FROM urls WHERE queue = ?)"""
_KEEP_ROBOTS = "INSERT OR REPLACE INTO robots VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteStore:
    """`Store` on the file `path`, with the locks of its workers in `locks` (default: beside the file).

    `is_shared`: all files are for the group of their folder too. `is_light`: for who reads now and then, with
    little memory.

    One thread of one process uses it. `clock` is for tests: without one it is this boot's time line.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        *,
        locks: Path | None = None,
        is_shared: bool = False,
        is_light: bool = False,
    ) -> None:
        self._database = Database(path, is_shared=is_shared, cache=LIGHT if is_light else CACHE)
        self._clock = clock or SystemClock(self.anchor())
        self._workers = Workers(
            self._database,
            Locks((locks or path.parent / "locks").absolute(), is_shared=is_shared),
            self._clock,
        )
        self._seen = FilteredSeen()
        self._run: Run | None = None
        # What is leased by us, by domain: the sequence number at which each URL was taken.
        self._taken: dict[str, dict[int, int]] = {}
        self._asked_at = 0.0

    # workers ------------------------------------------------------------------------------------------
    deadline = math.inf

    def join(self, worker: str) -> None:
        self._workers.join(worker)

    def heartbeat(self) -> frozenset[str]:
        return self._workers.beat()

    def leave(self) -> None:
        self._workers.leave()
        self._taken.clear()

    def anchor(self) -> float:
        with self._database.write() as connection:
            kept = dict(
                connection.execute("SELECT k, v FROM meta WHERE k IN ('boot', 'anchor', 'highwater')")
            )
            uptime, highwater = SystemClock(0.0).now(), float(kept.get("highwater", 0.0))
            if kept.get("boot") == boot_id() and (anchor := float(kept["anchor"])) + uptime >= highwater:
                return anchor
            # A new boot: no moment may come twice, whatever the machine's clock says now.
            anchor = max(offset(), highwater - uptime)
            rows = [("boot", boot_id()), ("anchor", anchor)]
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)
            return anchor

    # runs -----------------------------------------------------------------------------------------------
    def start_run(
        self, spider: str, code: str, *, params: Mapping[str, str | None] | None = None, fresh: bool = False
    ) -> Run:
        me, wall = self._workers.me, self._clock.wall()
        with self._database.write() as connection:
            self._workers.check(connection)
            self._workers.reap(connection)
            begun = run_rows.RunStart(spider, code, me, wall, dict(params or {}))
            run = runs.start(connection, begun, fresh=fresh)
        return self._work_on(run)

    def join_run(self, run_id: str) -> Run:
        with self._database.write() as connection:
            self._workers.check(connection)
            run = runs.find(connection, runs.numbered(connection, run_id), is_resumed=True)
            runs.enter(connection, self._workers.me, run.number)
        return self._work_on(run)

    def pause_run(self, run: Run, summary: Mapping[str, Any]) -> None:
        with self._database.write() as connection:
            runs.check_held(connection, run, self._workers.me)
            connection.execute(
                "UPDATE runs SET state = 'paused', owner = NULL, kills = 0, summary = ? WHERE number = ?",
                (json.dumps(summary), run.number),
            )
            connection.execute("UPDATE workers SET run = NULL WHERE id = ?", (self._workers.me,))
            runs.wait_no_more(connection, run.number)

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        with self._database.write() as connection:
            runs.check_held(connection, run, self._workers.me)
            wall = self._clock.wall()
            runs.close(connection, run.number, json.dumps(summary), wall, accepted=accepted, whole=whole)

    def reopen_run(self, run: Run, stats: Mapping[str, str]) -> int:
        self._workers.reap_now()
        self._seen.clear()
        with self._database.write() as connection:
            return reopen(connection, run, stats)

    def accept_run(self, run: Run, summary: Mapping[str, Any] | None = None) -> None:
        text = None if summary is None else json.dumps(summary)
        with self._database.write() as connection:
            connection.execute(
                """UPDATE runs SET accepted = 1, summary = coalesce(?, summary)
                WHERE number = ? AND state = 'ended'""",
                (text, run.number),
            )

    def runs(self, spider: str | None = None, limit: int = 100) -> list[Run]:
        with self._database.read() as connection:
            return runs.listed(connection, spider, limit)

    def run(self, run_id: str) -> Run | None:
        row = self._database.row(f"SELECT {run_rows.COLUMNS} FROM runs WHERE id = ?", run_id)
        return None if row is None else run_rows.to_run(row)

    def holder(self, spider: str) -> tuple[str, float] | None:
        self._workers.reap_now()
        with self._database.read() as connection:
            return runs.holder(connection, spider)

    def is_led(self, run: Run) -> bool:
        self._workers.reap_now()
        row = self._database.row("SELECT owner FROM runs WHERE number = ?", run.number)
        return row is not None and row[0] is not None

    def is_helped(self, run: Run) -> bool:
        self._workers.reap_now()
        sql = """SELECT 1 FROM workers w JOIN domains d ON d.owner = w.id
            WHERE w.run = ? AND w.id <> ? LIMIT 1"""
        return self._database.row(sql, run.number, self._workers.me) is not None

    def prune(self, spider: str, keep: int) -> list[str]:
        with self._database.write() as connection:
            return runs.prune(connection, spider, keep)

    # frontier -------------------------------------------------------------------------------------------
    def add(self, run: Run, urls: Sequence[NewUrl]) -> int:
        with self._seen.kept(), self._database.write() as connection:
            change = Change(connection, run.spider, run.number, self._seen)
            change.look_up(urls)
            for url in urls:
                change.meet(url)
            change.write()
        return change.new

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        seeker = ownership.LeaseRequest(self._workers.me, run.number, self._clock.now())
        leases: list[Lease] = []
        # Looking is free; the lock that all writers share is taken only if there is something to win.
        with self._database.read() as connection:
            is_any_ready = n > 0 and ownership.is_any_ready(connection, seeker, before)
        if is_any_ready:
            with self._database.write() as connection:
                self._workers.check(connection)
                room = ownership.room(connection, seeker)
                leases = ownership.ready(connection, seeker, before, n if room is None else min(n, room))
                if room is not None:
                    before = min(before, seeker.now - LEFT_TO_OTHERS)
                    leases += ownership.ready(connection, seeker, before, n - len(leases))
        if len(leases) < n and seeker.now - self._asked_at >= _ASK_AGAIN:
            self._asked_at = seeker.now
            self._ask(seeker, n - len(leases))
        return leases

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        self._workers.reap_now()
        seeker = ownership.LeaseRequest(self._workers.me, run.number, self._clock.now())
        with self._database.write() as connection:
            self._workers.check(connection)
            return ownership.named(connection, seeker, queue_of(connection, run.spider, domain))

    def take(self, run: Run, lease: Lease, n: int, held: Sequence[int] = ()) -> list[Entry]:
        place = (lease.domain, run.spider, self._workers.me, lease.epoch)
        # Passed over in SQL: of each row of what is held its page and its records would be looked up too.
        rows = self._database.rows(_TAKE, run.number, *place, n, json.dumps(list(held)))
        self._taken.setdefault(lease.domain, {}).update((row[0], row[8]) for row in rows)
        return [_entry(lease.domain, row) for row in rows]

    def in_hand(self, url: int) -> AbstractContextManager[object]:
        return self._workers.in_hand(url)

    def settle(self, run: Run, visits: Sequence[Visit], domains: Sequence[DomainUpdate]) -> Settled:
        with self._seen.kept(), self._database.write() as connection:
            change = Change(connection, run.spider, run.number, self._seen)
            ours = self._ours(connection, domains)
            settlement = Settlement(change, self._seen, self._taken)
            settlement.settle([visit for visit in visits if visit.entry.domain in ours])
            worked = {visit.entry.domain for visit in visits}
            _write_domains(connection, run, ours, domains, worked)
            change.write()
        for visit in visits:
            self._taken.get(visit.entry.domain, {}).pop(visit.entry.id, None)
        named = {visit.entry.domain for visit in visits} | {update.lease.domain for update in domains}
        lost, refused = frozenset(named - ours.keys()), tuple(settlement.refused)
        return Settled(change.new, lost, refused, change.filtered, tuple(change.other_meta.urls))

    def known_pending(self, run: Run) -> int:
        row = self._database.row(_KNOWN_PENDING, run.spider, run.number)
        return int(row[0]) if row else 0

    def keep_unreached_pages(self, run: Run) -> int:
        after, count = 0, 0
        while True:
            with self._database.write() as connection:
                runs.check_held(connection, run, self._workers.me)
                found, after = kept_records.keep_unreached_pages(connection, run, after)
            count += found
            if not after:
                return count

    def release(self, domains: Sequence[DomainUpdate]) -> None:
        run = self._run
        with self._database.write() as connection:
            ours = self._ours(connection, domains)
            if run is not None:
                _write_domains(connection, run, ours, domains)
            ownership.free(connection, list(ours.values()))
        for update in domains:
            self._taken.pop(update.lease.domain, None)

    def progress(self, run: Run) -> Progress:
        pending, done = self._database.rows("SELECT pending, done FROM runs WHERE number = ?", run.number)[0]
        due = self._database.row(
            "SELECT due FROM queues WHERE run = ? AND free = 1 ORDER BY due LIMIT 1", run.number
        )
        return Progress(pending, done, due[0] if due else None)

    # reading --------------------------------------------------------------------------------------------
    def robots(self, origin: str) -> RobotsCopy | None:
        return reading.robots(self._database, origin)

    def keep_robots(self, *copies: RobotsCopy) -> None:
        with self._database.write() as connection:
            connection.executemany(_KEEP_ROBOTS, [copy.row() for copy in copies])

    def domain_stats(self, run: Run) -> dict[str, str]:
        rows = self._database.rows(
            "SELECT d.name, t.tally FROM tallies t JOIN domains d ON d.id = t.domain WHERE t.run = ?",
            run.number,
        )
        return dict(rows)

    def records(self, run: Run, after: Cursor = START, limit: int = 1000) -> list[StoredRecord]:
        return reading.records(self._database, run.number, after, limit)

    def current(
        self, spider: str, coming: Run | None = None, *, whole: bool = False, without: Run | None = None
    ) -> Iterator[StoredRecord]:
        number = coming.number if coming is not None else None
        less = without.number if without is not None else None
        return reading.current(self._database, spider, number, whole=whole, without=less)

    def lookup(self, spider: str, fp: bytes) -> Mapping[str, Any] | None:
        return reading.lookup(self._database, spider, fp)

    def domain(self, domain: str) -> Mapping[str, Any] | None:
        return reading.domain(self._database, domain)

    def sessions(self, spider: str) -> dict[str, str]:
        rows = self._database.rows(
            """SELECT d.name, q.session FROM queues q JOIN domains d ON d.id = q.domain
            WHERE q.spider = ? AND q.session <> ''""",
            spider,
        )
        return dict(rows)

    def keep_session(self, spider: str, domain: str, session: str) -> None:
        with self._database.write() as connection:
            if (held := runs.holder(connection, spider)) is not None:
                raise StoreBusy(f"{spider} is being run by {held[0]}", "wait for it or stop it")
            queue = queue_of(connection, spider, domain)
            connection.execute("UPDATE queues SET session = ? WHERE id = ?", (session, queue))
            connection.execute(_STAND_NO_MORE, (queue,))

    # the service -----------------------------------------------------------------------------------------
    def notes(self, kind: str) -> dict[str, str]:
        return dict(self._database.rows("SELECT name, text FROM notes WHERE kind = ?", kind))

    def keep_note(self, kind: str, name: str, text: str) -> None:
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (kind, name, text))

    def add_note(self, kind: str, name: str, text: str) -> str:
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO notes VALUES (?, ?, ?)", (kind, name, text))
            sql = "SELECT text FROM notes WHERE kind = ? AND name = ?"
            return str(connection.execute(sql, (kind, name)).fetchone()[0])

    def drop_note(self, kind: str, name: str) -> bool:
        with self._database.write() as connection:
            sql = "DELETE FROM notes WHERE kind = ? AND name = ?"
            return connection.execute(sql, (kind, name)).rowcount > 0

    def close(self) -> None:
        self._workers.close()
        self._database.close()

    # ------------------------------------------------------------------------------------------------------
    def _work_on(self, run: Run) -> Run:
        self._run = run
        self._taken.clear()
        return run

    def _ask(self, seeker: ownership.LeaseRequest, n: int) -> None:
        with self._database.read() as connection:
            asked = ownership.wanted(connection, seeker, n)
        if asked:
            with self._database.write() as connection:
                ownership.want(connection, seeker, asked)

    def _ours(self, connection: sqlite3.Connection, updates: Sequence[DomainUpdate]) -> dict[str, int]:
        """The fence: the ids of those domains that we own still, in the epoch of their lease."""
        leases = {update.lease.domain: update.lease for update in updates}
        if not leases:
            return {}
        sql = _OWNED.format(", ".join("?" * len(leases)))
        rows = connection.execute(sql, (self._workers.me, *leases))
        return {name: found for found, name, epoch in rows if epoch == leases[name].epoch}


def _write_domains(
    connection: sqlite3.Connection,
    run: Run,
    ours: Mapping[str, int],
    updates: Sequence[DomainUpdate],
    worked: Set[str] = frozenset(),
) -> None:
    """Leave clock, politeness, session and stats with those domains that are ours.

    Something settled proves that the domain does not kill its owners.
    """
    sessions: list[tuple[str, str, int]] = []
    domain_stats: list[tuple[int, int, str]] = []
    rows: list[tuple[float, str | None, bool, int]] = []
    for update in updates:
        name = update.lease.domain
        if (domain := ours.get(name)) is None:
            continue
        rows.append((update.due, update.state, name in worked, domain))
        if update.session is not None:
            sessions.append((update.session, run.spider, domain))
        if update.stats is not None:
            domain_stats.append((run.number, domain, update.stats))
    many(connection, _LEAVE_DOMAIN, rows)
    many(connection, _LEAVE_SESSION, sessions)
    many(connection, _LEAVE_STATS, domain_stats)


def _entry(domain: str, row: tuple[Any, ...]) -> Entry:
    found, fp, url, request, depth, hops, attempts, priority, _, version, *validators, crashes = row
    known = None if version is None else Known(version, *validators)
    return Entry(found, domain, fp, url, request, depth, hops, attempts, priority, known, crashes)
