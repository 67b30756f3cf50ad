"""The store on PostgreSQL: for workers on any number of machines."""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from scraper.errors import StoreBusy
from scraper.model import Entry, Known, NewUrl, Visit
from scraper.ops.clock import Clock, SystemClock
from scraper.store import (
    LEFT_TO_OTHERS,
    START,
    DomainUpdate,
    Lease,
    Progress,
    RobotsCopy,
    Run,
    Settled,
    StoredRecord,
    run_rows,
)
from scraper.store import Cursor as Place
from scraper.store.locks import Locks
from scraper.store.postgres import kept_records, ownership, reading, runs
from scraper.store.postgres.database import Connection, Database, columns
from scraper.store.postgres.frontier import Change, Rows, find_queues
from scraper.store.postgres.reopen import reopen
from scraper.store.postgres.settle import Settlement, count_run, needed_domains
from scraper.store.postgres.workers import Workers
from scraper.store.seen import Seen

# Seconds between two looks at what others hold; ever more of them while there is nothing to ask for.
_ASK_AGAIN, _ASK_AT_LEAST = 1.0, 5.0
_MOST_TRIES = 5

_TAKE = """SELECT u.id, u.fp, u.url, u.request, u.depth, u.hops, u.attempts, u.prio, u.seq,
    p.version, p.etag, p.last_modified, p.fresh_until, p.body_hash, p.fetched_at, p.inputs, p.files,
    position('"noarchive"' IN p.facts) > 0,
    (SELECT count(*) FROM records WHERE version = p.version), cardinality(p.links), u.crashes
    FROM urls u LEFT JOIN pages p ON p.url = u.id
        AND (p.run = u.run OR coalesce((SELECT r.accepted FROM runs r WHERE r.number = p.run), true))
    WHERE u.queue = (SELECT q.id FROM domains d JOIN queues q ON q.spider = %s AND q.domain = d.id
            WHERE d.name = %s AND d.owner = %s AND d.epoch = %s)
        AND u.run = %s AND u.state = 0
    ORDER BY u.prio DESC, u.seq LIMIT %s"""
_KNOWN_PENDING = """SELECT count(*) FROM queues q JOIN urls u ON u.queue = q.id AND u.run = %s AND u.state = 0
    WHERE q.spider = %s AND u.seq < 0"""
_OWNED = """SELECT id, name, epoch FROM domains WHERE owner = %s AND name = ANY(%s)
    ORDER BY id FOR NO KEY UPDATE"""
_LEAVE_DOMAIN = """UPDATE domains SET due = w.due, state = coalesce(w.state, domains.state),
    crashes = CASE WHEN w.worked THEN 0 ELSE domains.crashes END
    FROM unnest(%s::bigint[], %s::float8[], %s::text[], %s::bool[]) AS w(id, due, state, worked)
    WHERE domains.id = w.id"""
_LEAVE_SESSION = """UPDATE queues SET session = w.session
    FROM unnest(%s::bigint[], %s::text[]) AS w(domain, session)
    WHERE queues.spider = %s AND queues.domain = w.domain"""
_LEAVE_STATS = """INSERT INTO tallies SELECT %s, * FROM unnest(%s::bigint[], %s::text[])
    ON CONFLICT (run, domain) DO UPDATE SET tally = excluded.tally"""
_STAND_NO_MORE = """UPDATE pages SET inputs = '', etag = NULL, last_modified = NULL, fresh_until = 0,
    body_hash = '', fetched_at = 0 WHERE url IN (SELECT id FROM urls WHERE queue = %s)"""
_KEEP_ROBOTS = """INSERT INTO robots VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (origin) DO UPDATE SET body = excluded.body, status = excluded.status,
    checked_at = excluded.checked_at, until = excluded.until, since = excluded.since, etag = excluded.etag,
    last_modified = excluded.last_modified, via = excluded.via"""


class PostgresStore:
    """`Store` in the database that a URL names; the lock files of this machine's workers are in `locks`.

    One thread of one process uses it. `clock` is for tests: without one it is the server's time line.
    `is_awaited`: see `Database`.
    """

    def __init__(
        self,
        url: str,
        clock: Clock | None = None,
        *,
        locks: Path,
        is_shared: bool = False,
        is_awaited: bool = False,
    ) -> None:
        self._database = Database(url, is_awaited=is_awaited)
        self._anchor, blur = self._measured()
        self._clock, self._blur = (SystemClock(self._anchor), blur) if clock is None else (clock, 0.0)
        folder = locks.absolute()
        self._workers = Workers(self._database, Locks(folder, is_shared=is_shared), folder, self._clock)
        self._seen = Seen()
        self._run: Run | None = None
        # What is in our hands, by domain: the place (seq) at which each URL was taken.
        self._taken: dict[str, dict[int, int]] = {}
        self._ask_at, self._ask_again = 0.0, _ASK_AGAIN

    # workers ------------------------------------------------------------------------------------------
    def join(self, worker: str) -> None:
        self._workers.join(worker)

    def heartbeat(self) -> frozenset[str]:
        return self._workers.beat()

    def leave(self) -> None:
        self._workers.leave()
        self._taken.clear()

    def anchor(self) -> float:
        """What makes this machine's uptime the server's time, or up to `_blur` less."""
        return self._anchor

    def _measured(self) -> tuple[float, float]:
        """The anchor, and how long the answer took: the server was asked at some moment of that time."""
        uptime, asked = SystemClock(0.0), []
        for _ in range(_MOST_TRIES):
            before = uptime.now()
            row = self._database.row("SELECT extract(epoch FROM clock_timestamp())::float8")
            after = uptime.now()
            asked.append((after - before, (row[0] if row else 0.0) - after))
        blur, anchor = min(asked)
        return anchor, blur

    @property
    def deadline(self) -> float:
        return self._workers.deadline

    # runs -----------------------------------------------------------------------------------------------
    def start_run(
        self, spider: str, code: str, *, params: Mapping[str, str | None] | None = None, fresh: bool = False
    ) -> Run:
        begun = run_rows.RunStart(spider, code, self._workers.me, self._clock.wall(), dict(params or {}))
        self._workers.reap()
        return self._work_on(
            self._workers.write(lambda connection: runs.start(connection, begun, fresh=fresh))
        )

    def join_run(self, run_id: str) -> Run:
        me = self._workers.me

        def work(connection: Connection) -> Run:
            run = runs.find(connection, runs.numbered(connection, run_id), is_resumed=True)
            runs.enter(connection, me, run.number)
            return run

        return self._work_on(self._workers.write(work))

    def pause_run(self, run: Run, summary: Mapping[str, Any]) -> None:
        me = self._workers.me

        def work(connection: Connection) -> None:
            runs.check_held(connection, run, me)
            connection.execute("UPDATE workers SET run = NULL WHERE id = %s", (me,))
            runs.wait_no_more(connection, run.number)
            connection.execute(
                "UPDATE runs SET state = 'paused', owner = NULL, kills = 0, summary = %s WHERE number = %s",
                (json.dumps(summary), run.number),
            )

        self._workers.write(work)

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        me, wall = self._workers.me, self._clock.wall()

        def work(connection: Connection) -> None:
            runs.check_held(connection, run, me)
            runs.close(connection, run.number, json.dumps(summary), wall, accepted=accepted, whole=whole)

        self._workers.write(work)

    def reopen_run(self, run: Run, stats: Mapping[str, str]) -> int:
        self._workers.reap()
        self._seen.clear()
        return self._database.write(lambda connection: reopen(connection, run, stats))

    def accept_run(self, run: Run, summary: Mapping[str, Any] | None = None) -> None:
        text = None if summary is None else json.dumps(summary)
        sql = """UPDATE runs SET accepted = true, summary = coalesce(%s, summary)
            WHERE number = %s AND state = 'ended'"""
        self._database.write(lambda connection: connection.execute(sql, (text, run.number)))

    def runs(self, spider: str | None = None, limit: int = 100) -> list[Run]:
        sql = f"SELECT {run_rows.COLUMNS} FROM runs {{}} ORDER BY number DESC LIMIT %s"
        if spider is None:
            rows = self._database.rows(sql.format(""), (limit,))
        else:
            rows = self._database.rows(sql.format("WHERE spider = %s"), (spider, limit))
        return [run_rows.to_run(row) for row in rows]

    def run(self, run_id: str) -> Run | None:
        row = self._database.row(f"SELECT {run_rows.COLUMNS} FROM runs WHERE id = %s", (run_id,))
        return None if row is None else run_rows.to_run(row)

    def holder(self, spider: str) -> tuple[str, float] | None:
        self._workers.reap()
        return self._database.write(lambda connection: runs.holder(connection, spider))

    def is_led(self, run: Run) -> bool:
        self._workers.reap()
        row = self._database.row("SELECT owner FROM runs WHERE number = %s", (run.number,))
        return row is not None and row[0] is not None

    def is_helped(self, run: Run) -> bool:
        self._workers.reap()
        sql = """SELECT 1 FROM workers w JOIN domains d ON d.owner = w.id
            WHERE w.run = %s AND w.id <> %s LIMIT 1"""
        return self._database.row(sql, (run.number, self._workers.me)) is not None

    def prune(self, spider: str, keep: int) -> list[str]:
        return self._database.write(lambda connection: runs.prune(connection, spider, keep))

    # frontier -------------------------------------------------------------------------------------------
    def add(self, run: Run, urls: Sequence[NewUrl]) -> int:
        self._seen.turn_to(run.number)
        queues = self._queues(run, {url.domain for url in urls})

        def work(connection: Connection) -> Change:
            change = Change(connection, run, self._seen, queues)
            change.ask(urls)
            change.load()
            change.meet_all(urls)
            change.insert()
            change.open()
            change.wake()
            count_run(connection, change)
            return change

        change = self._workers.write(work)
        change.remember()
        return change.new

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        seeker = ownership.LeaseRequest(self._workers.me, run.number, self._clock.now())
        leases: list[Lease] = []
        # Looking is cheap; a transaction is begun only if there is something to win.
        if n > 0 and self._database.row(ownership.READY, (run.number, before, seeker.now, 1)):
            leases = self._workers.write(lambda connection: _lease(connection, seeker, n, before))
            for lease in leases:
                self._workers.suspects.leased(lease)
        if leases:
            self._ask_again = _ASK_AGAIN
        if len(leases) < n and seeker.now >= self._ask_at:
            self._ask(seeker, n - len(leases))
        return leases

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        self._workers.reap()
        seeker = ownership.LeaseRequest(self._workers.me, run.number, self._clock.now())
        queue = self._queues(run, {domain})[domain]
        lease = self._workers.write(lambda connection: ownership.named(connection, seeker, queue))
        if lease is not None:
            self._workers.suspects.leased(lease)
        return lease

    def take(self, run: Run, lease: Lease, n: int, held: Sequence[int] = ()) -> list[Entry]:
        place = (run.spider, lease.domain, self._workers.me, lease.epoch, run.number)
        skipped, taken = frozenset(held), self._taken.setdefault(lease.domain, {})
        entries: list[Entry] = []
        for row in self._database.rows(_TAKE, (*place, n + len(held))):
            if row[0] not in skipped and len(entries) < n:
                entries.append(_entry(lease.domain, row))
                taken[row[0]] = row[8]
                self._workers.suspects.taken(entries[-1])
        return entries

    def in_hand(self, url: int) -> AbstractContextManager[object]:
        return self._workers.in_hand(url)

    def settle(self, run: Run, visits: Sequence[Visit], domains: Sequence[DomainUpdate]) -> Settled:
        self._seen.turn_to(run.number)
        queues = self._queues(run, needed_domains(visits, run))
        worked = {visit.entry.domain for visit in visits}

        def work(connection: Connection) -> tuple[Change, Settlement, dict[str, int]]:
            owned = self._owned(connection, domains)
            change = Change(connection, run, self._seen, queues)
            settlement = Settlement(change, self._seen, self._taken)
            settlement.ask(visits)
            ours = _ours(owned, domains)
            settlement.settle(ours)
            _write_domains(connection, run, ours, domains, self._blur, worked)
            change.wake()
            settlement.count()
            return change, settlement, ours

        change, settlement, ours = self._workers.write(work)
        change.remember()
        settlement.remember()
        self._workers.suspects.settled(visits)
        for visit in visits:
            self._taken.get(visit.entry.domain, {}).pop(visit.entry.id, None)
        named = worked | {update.lease.domain for update in domains}
        lost, refused = frozenset(named - ours.keys()), tuple(settlement.refused)
        return Settled(change.new, lost, refused, change.filtered, tuple(change.other_meta.urls))

    def known_pending(self, run: Run) -> int:
        row = self._database.row(_KNOWN_PENDING, (run.number, run.spider))
        return int(row[0]) if row else 0

    def keep_unreached_pages(self, run: Run) -> int:
        me, after, count = self._workers.me, 0, 0

        def work(connection: Connection) -> tuple[int, int]:
            runs.check_held(connection, run, me)
            return kept_records.keep_unreached_pages(connection, run, after)

        while True:
            found, after = self._workers.write(work)
            count += found
            if not after:
                return count

    def release(self, domains: Sequence[DomainUpdate]) -> None:
        run = self._run

        def work(connection: Connection) -> None:
            ours = _ours(self._owned(connection, domains), domains)
            if run is not None:
                _write_domains(connection, run, ours, domains, self._blur)
            ownership.free(connection, list(ours.values()))

        if domains:
            self._workers.write(work)
            self._ask_at, self._ask_again = 0.0, _ASK_AGAIN
        for update in domains:
            self._taken.pop(update.lease.domain, None)

    def progress(self, run: Run) -> Progress:
        pending, done, due = self._database.rows(
            """SELECT pending, done, (SELECT due FROM queues
                WHERE run = %(run)s AND free ORDER BY due LIMIT 1) FROM runs WHERE number = %(run)s""",
            {"run": run.number},
        )[0]
        return Progress(pending, done, due)

    # reading --------------------------------------------------------------------------------------------
    def robots(self, origin: str) -> RobotsCopy | None:
        return reading.robots(self._database, origin)

    def keep_robots(self, *copies: RobotsCopy) -> None:
        # By name, as every transaction that locks several: two workers would wait for each other.
        rows = [copy.row() for copy in sorted(copies, key=lambda copy: copy.origin)]
        self._database.write(lambda connection: connection.cursor().executemany(_KEEP_ROBOTS, rows))

    def domain_stats(self, run: Run) -> dict[str, str]:
        rows = self._database.rows(
            "SELECT d.name, t.tally FROM tallies t JOIN domains d ON d.id = t.domain WHERE t.run = %s",
            (run.number,),
        )
        return dict(rows)

    def records(self, run: Run, after: Place = START, limit: int = 1000) -> list[StoredRecord]:
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
            WHERE q.spider = %s AND q.session <> ''""",
            (spider,),
        )
        return dict(rows)

    def keep_session(self, spider: str, domain: str, session: str) -> None:
        def work(connection: Connection) -> None:
            if (held := runs.holder(connection, spider)) is not None:
                raise StoreBusy(f"{spider} is being run by {held[0]}", "wait for it or stop it")
            queue = find_queues(connection, spider, [domain])[domain]
            connection.execute("UPDATE queues SET session = %s WHERE id = %s", (session, queue))
            connection.execute(_STAND_NO_MORE, (queue,))

        self._database.write(work)

    # the service -----------------------------------------------------------------------------------------
    def notes(self, kind: str) -> dict[str, str]:
        return dict(self._database.rows("SELECT name, text FROM notes WHERE kind = %s", (kind,)))

    def keep_note(self, kind: str, name: str, text: str) -> None:
        sql = """INSERT INTO notes VALUES (%s, %s, %s)
            ON CONFLICT (kind, name) DO UPDATE SET text = excluded.text"""
        self._database.write(lambda connection: connection.execute(sql, (kind, name, text)))

    def add_note(self, kind: str, name: str, text: str) -> str:
        def work(connection: Connection) -> str:
            values = (kind, name, text)
            connection.execute("INSERT INTO notes VALUES (%s, %s, %s) ON CONFLICT DO NOTHING", values)
            sql = "SELECT text FROM notes WHERE kind = %s AND name = %s"
            row = connection.execute(sql, (kind, name)).fetchone()
            return str(row[0]) if row else text

        return self._database.write(work)

    def drop_note(self, kind: str, name: str) -> bool:
        sql = "DELETE FROM notes WHERE kind = %s AND name = %s RETURNING 1"
        return (
            self._database.write(lambda connection: connection.execute(sql, (kind, name)).fetchone())
            is not None
        )

    def close(self) -> None:
        self._workers.close()
        self._database.close()

    # ------------------------------------------------------------------------------------------------------
    def _work_on(self, run: Run) -> Run:
        self._run = run
        self._taken.clear()
        return run

    def _queues(self, run: Run, domains: Set[str]) -> dict[str, int]:
        """The ids of the run's queues on these domains; made before they are needed, and never unmade."""
        known = self._seen.queues
        if missing := [name for name in domains if (run.spider, name) not in known]:
            found = self._database.write(lambda connection: find_queues(connection, run.spider, missing))
            known.update({(run.spider, name): queue for name, queue in found.items()})
        return {name: known[run.spider, name] for name in domains}

    def _ask(self, seeker: ownership.LeaseRequest, n: int) -> None:
        asked, is_short = self._database.write(lambda connection: ownership.wanted(connection, seeker, n))
        if asked:
            self._workers.write(lambda connection: ownership.want(connection, seeker, asked))
        is_worth_it = asked or is_short
        self._ask_again = _ASK_AGAIN if is_worth_it else min(2 * self._ask_again, _ASK_AT_LEAST)
        self._ask_at = seeker.now + self._ask_again

    def _owned(self, connection: Connection, updates: Sequence[DomainUpdate]) -> Rows:
        """Lock those domains that are ours."""
        names = [update.lease.domain for update in updates]
        return connection.execute(_OWNED, (self._workers.me, names)) if names else ()


def _ours(owned: Rows, updates: Sequence[DomainUpdate]) -> dict[str, int]:
    """The fence: the ids of those domains that we own still, in the epoch of their lease."""
    leases = {update.lease.domain: update.lease for update in updates}
    return {name: found for found, name, epoch in owned if epoch == leases[name].epoch}


def _lease(connection: Connection, seeker: ownership.LeaseRequest, n: int, before: float) -> list[Lease]:
    room = ownership.room(connection, seeker)
    leases = ownership.ready(connection, seeker, before, n if room is None else min(n, room))
    if room is not None:
        before = min(before, seeker.now - LEFT_TO_OTHERS)
        leases += ownership.ready(connection, seeker, before, n - len(leases))
    return leases


def _write_domains(
    connection: Connection,
    run: Run,
    ours: Mapping[str, int],
    updates: Sequence[DomainUpdate],
    blur: float,
    worked: Set[str] = frozenset(),
) -> None:
    """Leave clock, politeness, session and stats with those domains that are ours.

    A moment is written as late as it may be in the server's time, behind which our clock is by up to `blur`:
    the next owner's may not be. Something settled proves that the domain does not kill its owners.
    """
    rows: list[tuple[int, float, str | None, bool]] = []
    sessions: dict[int, str] = {}
    stats: dict[int, str] = {}
    for update in updates:
        name = update.lease.domain
        if (domain := ours.get(name)) is None:
            continue
        rows.append((domain, update.due + blur, update.state, name in worked))
        if update.session is not None:
            sessions[domain] = update.session
        if update.stats is not None:
            stats[domain] = update.stats
    if rows:
        connection.execute(_LEAVE_DOMAIN, columns(rows, 4))
    if sessions:
        connection.execute(_LEAVE_SESSION, (*columns(list(sessions.items()), 2), run.spider))
    if stats:
        connection.execute(_LEAVE_STATS, (run.number, *columns(list(stats.items()), 2)))


def _entry(domain: str, row: tuple[Any, ...]) -> Entry:
    found, fp, url, request, depth, hops, attempts, priority, _, version, *validators, crashes = row
    known = None if version is None else Known(version, *validators)
    return Entry(found, domain, fp, url, request, depth, hops, attempts, priority, known, crashes)
