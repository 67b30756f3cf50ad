"""The store in plain dictionaries: for tests, and the oracle that other stores are compared with.

It shares no code with them and looks for clarity, not speed: most questions are asked of every row.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scraper.errors import LeaseLost, StoreBusy, StoreError
from scraper.model import Entry, Failed, Fetched, Known, NewUrl, Redirected, Visit
from scraper.ops.clock import Clock, offset
from scraper.store import (
    GROUP,
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
)
from scraper.store.memory import ownership, reading, runs
from scraper.store.memory.frontier import Frontier
from scraper.store.memory.tables import Domain, Tables


class MemoryStore:
    """`Store` without a file. `beside` another one it is a second worker on the same data."""

    def __init__(self, clock: Clock, beside: "MemoryStore | None" = None) -> None:
        self._clock = clock
        self._data: Tables = Tables() if beside is None else beside._data
        self._frontier = Frontier(self._data)
        self._me = ""
        self._run: Run | None = None
        self._taken: dict[int, int] = {}

    # workers ------------------------------------------------------------------------------------------
    deadline = math.inf

    def join(self, worker: str) -> None:
        if worker in self._data.workers or self._me:
            raise StoreError(f"{worker} cannot join")
        self._data.workers[worker] = None
        self._me = worker
        runs.reap(self._data)

    def heartbeat(self) -> frozenset[str]:
        self._check_alive()
        runs.reap(self._data)
        now = self._clock.now()
        return frozenset(
            name
            for name, domain in self._data.domains.items()
            if domain.owner == self._me
            and domain.wanted is not None
            and domain.wanted_until > now
            and (
                domain.wanted != self._data.workers[self._me]
                if name.startswith(GROUP)
                else ownership.has_pending(self._data, domain.wanted, name)
            )
        )

    def leave(self) -> None:
        if self._me:
            runs.bury(self._data, self._me)
        self._me = ""
        self._taken.clear()

    def anchor(self) -> float:
        return offset()

    # the service -----------------------------------------------------------------------------------------
    def notes(self, kind: str) -> dict[str, str]:
        return {name: text for (other, name), text in self._data.notes.items() if other == kind}

    def keep_note(self, kind: str, name: str, text: str) -> None:
        self._data.notes[kind, name] = text

    def add_note(self, kind: str, name: str, text: str) -> str:
        return self._data.notes.setdefault((kind, name), text)

    def drop_note(self, kind: str, name: str) -> bool:
        return self._data.notes.pop((kind, name), None) is not None

    def close(self) -> None:
        if self._me:
            self._data.dead.add(self._me)

    # runs -----------------------------------------------------------------------------------------------
    def start_run(
        self, spider: str, code: str, *, params: Mapping[str, str | None] | None = None, fresh: bool = False
    ) -> Run:
        self._check_alive()
        runs.reap(self._data)
        held = runs.holder(self._data, spider, but=self._me)
        if held is not None:
            since = datetime.fromtimestamp(held[1], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise StoreBusy(f"{spider} is being run by {held[0]} since {since}", "wait for it or stop it")
        run = next((run for run in self.runs(spider) if run.state != "ended"), None)
        if run is not None and fresh:
            runs.close(
                self._data, run, {"verdict": "INCOMPLETE"}, self._clock.wall(), accepted=False, whole=False
            )
            run = None
        is_resumed = run is not None
        run = run or replace(runs.begin(self._data, spider, self._clock.wall()), params=dict(params or {}))
        kills = run.kills + (is_resumed and run.state == "running")
        run = replace(run, code=code, state="running", kills=kills)
        self._data.runs[run.number] = run
        self._data.held[run.number] = (self._me, self._clock.wall())
        return self._work_on(replace(run, is_resumed=is_resumed))

    def join_run(self, run_id: str) -> Run:
        self._check_alive()
        for run in self._data.runs.values():
            if run.id == run_id and run.state != "ended":
                return self._work_on(replace(run, is_resumed=True))
        raise StoreError(f"there is no open run {run_id}")

    def pause_run(self, run: Run, summary: Mapping[str, Any]) -> None:
        runs.check_held(self._data, self._me, run)
        kept = self._data.runs[run.number]
        self._data.runs[run.number] = replace(kept, state="paused", kills=0, summary=dict(summary))
        del self._data.held[run.number]
        self._data.workers[self._me] = None
        runs.wait_no_more(self._data, run)

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        runs.check_held(self._data, self._me, run)
        runs.close(self._data, run, summary, self._clock.wall(), accepted=accepted, whole=whole)

    def reopen_run(self, run: Run, stats: Mapping[str, str]) -> int:
        if (held := self.holder(run.spider)) is not None:
            raise StoreBusy(f"{run.spider} is being run by {held[0]}", "wait for it or stop it")
        if self.runs(run.spider, 1)[0].number != run.number:
            raise StoreError(f"run {run.id} is not the last run of {run.spider}")
        if not (count := self._frontier.reopen(run)):
            return 0
        self._data.domain_stats |= {(run.number, name): text for name, text in stats.items()}
        kept = self._data.runs[run.number]
        self._data.runs[run.number] = replace(kept, state="paused", ended_at=None)
        return count

    def accept_run(self, run: Run, summary: Mapping[str, Any] | None = None) -> None:
        kept = self._data.runs.get(run.number)
        if kept is not None and kept.state == "ended":
            self._data.runs[run.number] = replace(
                kept, is_accepted=True, summary=dict(kept.summary if summary is None else summary)
            )

    def runs(self, spider: str | None = None, limit: int = 100) -> list[Run]:
        return runs.runs_of(self._data, spider)[:limit]

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self._data.runs.values() if run.id == run_id), None)

    def holder(self, spider: str) -> tuple[str, float] | None:
        runs.reap(self._data)
        return runs.holder(self._data, spider)

    def is_led(self, run: Run) -> bool:
        runs.reap(self._data)
        return run.number in self._data.held

    def is_helped(self, run: Run) -> bool:
        runs.reap(self._data)
        owners = {domain.owner for domain in self._data.domains.values()}
        others = {name for name, at in self._data.workers.items() if at == run.number and name != self._me}
        return bool(owners & others)

    def prune(self, spider: str, keep: int) -> list[str]:
        return runs.prune(self._data, spider, keep)

    # frontier -------------------------------------------------------------------------------------------
    def add(self, run: Run, urls: Sequence[NewUrl]) -> int:
        runs.check_open(self._data, run)
        return sum(self._frontier.meet(run, url)[1] for url in urls)

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        self._check_alive()
        now = self._clock.now()
        leases: list[Lease] = []
        room = ownership.room(self._data, self._me, run, n)
        due = sorted(self._data.domains.items(), key=lambda item: item[1].due)
        for is_within_share in (True, False):
            for name, domain in due:
                is_promised = domain.wanted not in (None, run.number) and domain.wanted_until > now
                is_free = domain.owner is None and domain.due < before and not is_promised
                is_ours = room > 0 if is_within_share else domain.due < now - LEFT_TO_OTHERS
                if (
                    is_free
                    and is_ours
                    and len(leases) < n
                    and ownership.has_pending(self._data, run.number, name)
                ):
                    leases.append(ownership.own(self._data, self._me, run, name))
                    room -= 1
        ownership.ask(self._data, self._me, run, n - len(leases), now)
        return leases

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        self._check_alive()
        runs.reap(self._data)
        row = self._data.domains.setdefault(domain, Domain())
        if row.owner == self._me:
            return ownership.lease_of(self._data, run, domain)
        if row.owner is None:
            return ownership.own(self._data, self._me, run, domain)
        row.wanted, row.wanted_until = run.number, self._clock.now() + ownership.BELIEVED
        return None

    def take(self, run: Run, lease: Lease, n: int, held: Sequence[int] = ()) -> list[Entry]:
        if not self._is_ours(lease):
            return []
        pending = [
            url
            for url in self._data.urls.values()
            if url.spider == run.spider
            and url.new.domain == lease.domain
            and (url.run, url.state) == (run.number, "pending")
            and url.id not in held
        ]
        pending.sort(key=lambda url: (-url.new.priority, not self._frontier.is_known(url), url.seq))
        self._taken |= {url.id: url.seq for url in pending[:n]}
        return [self._frontier.entry(run, url) for url in pending[:n]]

    @contextmanager
    def in_hand(self, url: int) -> Iterator[None]:
        held = self._data.in_hand.setdefault(self._me, [])
        held.append(url)
        try:
            yield
        finally:
            if self._me not in self._data.dead:
                held.remove(url)

    def settle(self, run: Run, visits: Sequence[Visit], domains: Sequence[DomainUpdate]) -> Settled:
        runs.check_open(self._data, run)
        ours = {update.lease.domain for update in domains if self._is_ours(update.lease)}
        named = {visit.entry.domain for visit in visits} | {update.lease.domain for update in domains}
        current = [
            visit
            for visit in visits
            if visit.entry.domain in ours and self._frontier.is_in_hand(run, visit, self._taken)
        ]
        for visit in visits:
            self._taken.pop(visit.entry.id, None)
        for visit in current:
            self._frontier.end(run, visit)
        new, filtered, refused = 0, 0, []
        for visit in current:
            found = self._frontier.follow(run, visit)
            new += found
            filtered += max(0, _asked(visit) - found)
            refused += self._frontier.refuse(run, visit)
            self._data.domains[visit.entry.domain].crashes = 0
        for update in domains:
            self._update(run, update)
        other_meta = tuple(self._frontier.other_meta)
        self._frontier.other_meta.clear()
        return Settled(new, frozenset(named - ours), tuple(refused), filtered, other_meta)

    def known_pending(self, run: Run) -> int:
        met = (url for url in self._data.urls.values() if (url.spider, url.run) == (run.spider, run.number))
        return sum(url.state == "pending" and self._frontier.is_known(url) for url in met)

    def keep_unreached_pages(self, run: Run) -> int:
        runs.check_held(self._data, self._me, run)
        return self._frontier.keep_unreached_pages(run, runs.base_of(self._data, run.spider))

    def release(self, domains: Sequence[DomainUpdate]) -> None:
        for update in domains:
            if self._is_ours(update.lease):
                if self._run is not None:
                    self._update(self._run, update)
                ownership.free(self._data.domains[update.lease.domain])

    def progress(self, run: Run) -> Progress:
        met = [url for url in self._data.urls.values() if (url.spider, url.run) == (run.spider, run.number)]
        pending = [url for url in met if url.state == "pending"]
        free = [self._data.domains[url.new.domain] for url in pending]
        due = min((domain.due for domain in free if domain.owner is None), default=None)
        return Progress(len(pending), len(met) - len(pending), due)

    # reading --------------------------------------------------------------------------------------------
    def robots(self, origin: str) -> RobotsCopy | None:
        return self._data.robots.get(origin)

    def keep_robots(self, *copies: RobotsCopy) -> None:
        self._data.robots.update({copy.origin: copy for copy in copies})

    def domain_stats(self, run: Run) -> dict[str, str]:
        return {
            name: text for (number, name), text in self._data.domain_stats.items() if number == run.number
        }

    def records(self, run: Run, after: Cursor = START, limit: int = 1000) -> list[StoredRecord]:
        return reading.records(self._data, run, after, limit)

    def current(
        self, spider: str, coming: Run | None = None, *, whole: bool = False, without: Run | None = None
    ) -> Iterator[StoredRecord]:
        return reading.current(self._data, spider, coming, whole=whole, without=without)

    def lookup(self, spider: str, fp: bytes) -> Mapping[str, Any] | None:
        return reading.lookup(self._data, spider, fp)

    def domain(self, domain: str) -> Mapping[str, Any] | None:
        return reading.domain(self._data, domain)

    def sessions(self, spider: str) -> dict[str, str]:
        return {name: text for (of, name), text in self._data.sessions.items() if of == spider and text}

    def keep_session(self, spider: str, domain: str, session: str) -> None:
        if (held := runs.holder(self._data, spider)) is not None:
            raise StoreBusy(f"{spider} is being run by {held[0]}", "wait for it or stop it")
        self._data.domains.setdefault(domain, Domain())
        self._data.sessions[spider, domain] = session
        for url in self._data.urls.values():
            if (url.spider, url.new.domain) == (spider, domain) and (page := self._data.pages.get(url.id)):
                self._data.pages[url.id] = replace(page, known=Known(page.known.version))

    # inside ------------------------------------------------------------------------------------------------
    def _is_ours(self, lease: Lease) -> bool:
        return ownership.is_ours(self._data, self._me, lease)

    def _check_alive(self) -> None:
        if self._me not in self._data.workers:
            raise LeaseLost(f"worker {self._me} was taken for dead")

    def _work_on(self, run: Run) -> Run:
        self._data.workers[self._me] = run.number
        self._run = run
        self._taken.clear()
        return run

    def _update(self, run: Run, update: DomainUpdate) -> None:
        if not self._is_ours(update.lease):
            return
        name = update.lease.domain
        row = self._data.domains[name]
        row.due = update.due
        row.state = row.state if update.state is None else update.state
        if update.session is not None:
            self._data.sessions[run.spider, name] = update.session
        if update.stats is not None:
            self._data.domain_stats[run.number, name] = update.stats


def _asked(visit: Visit) -> int:
    """How many requests a visit asks for."""
    match visit.outcome:
        case Fetched(links=links, filtered=filtered):
            return len(links) + filtered
        case Failed(links=links):
            return len(links)
        case Redirected(to):
            return (to.domain, to.fp) != (visit.entry.domain, visit.entry.fp)
    return 0
