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
from scraper.store.memory.frontier import Frontier
from scraper.store.memory.tables import Domain, Tables

_BELIEVED = 15.0


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
        self._reap()

    def heartbeat(self) -> frozenset[str]:
        self._check_alive()
        self._reap()
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
                else self._has_pending(domain.wanted, name)
            )
        )

    def leave(self) -> None:
        if self._me:
            self._bury(self._me)
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
        self._reap()
        held = self._holder(spider, but=self._me)
        if held is not None:
            since = datetime.fromtimestamp(held[1], UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise StoreBusy(f"{spider} is being run by {held[0]} since {since}", "wait for it or stop it")
        run = next((run for run in self.runs(spider) if run.state != "ended"), None)
        if run is not None and fresh:
            self._close(run, {"verdict": "INCOMPLETE"}, accepted=False, whole=False)
            run = None
        is_resumed = run is not None
        run = run or replace(self._begin(spider), params=dict(params or {}))
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
        self._check_held(run)
        kept = self._data.runs[run.number]
        self._data.runs[run.number] = replace(kept, state="paused", kills=0, summary=dict(summary))
        del self._data.held[run.number]
        self._data.workers[self._me] = None
        self._wait_no_more(run)

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        self._check_held(run)
        self._close(run, summary, accepted=accepted, whole=whole)

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
        runs = [run for run in self._data.runs.values() if spider in (None, run.spider)]
        return sorted(runs, key=lambda run: -run.number)[:limit]

    def run(self, run_id: str) -> Run | None:
        return next((run for run in self._data.runs.values() if run.id == run_id), None)

    def holder(self, spider: str) -> tuple[str, float] | None:
        self._reap()
        return self._holder(spider)

    def is_led(self, run: Run) -> bool:
        self._reap()
        return run.number in self._data.held

    def is_helped(self, run: Run) -> bool:
        self._reap()
        owners = {domain.owner for domain in self._data.domains.values()}
        others = {name for name, at in self._data.workers.items() if at == run.number and name != self._me}
        return bool(owners & others)

    def prune(self, spider: str, keep: int) -> list[str]:
        data, runs = self._data, self.runs(spider, limit=1_000_000)
        base = max((run.number for run in runs if run.is_accepted and run.is_whole), default=0)
        is_old = [run.state == "ended" and (run.number < base or not run.is_accepted) for run in runs]
        old = {run.number: run for run, unneeded in list(zip(runs, is_old, strict=True))[keep:] if unneeded}
        data.looks = [look for look in data.looks if look.run not in old]
        first = min((run.number for run in runs if run.number not in old), default=0)
        for url in [url for url in data.urls.values() if url.spider == spider]:
            page = data.pages.get(url.id)
            if page and (page.checked < first or (page.run in old and not old[page.run].is_accepted)):
                del data.pages[url.id]
            if url.run < first:
                del data.urls[url.id], data.places[spider, url.new.domain, url.new.fp]
        for number in old:
            del data.runs[number]
        return [run.id for run in sorted(old.values(), key=lambda run: run.number)]

    # frontier -------------------------------------------------------------------------------------------
    def add(self, run: Run, urls: Sequence[NewUrl]) -> int:
        self._check_open(run)
        return sum(self._frontier.meet(run, url)[1] for url in urls)

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        self._check_alive()
        now = self._clock.now()
        leases: list[Lease] = []
        room = self._room(run, n)
        due = sorted(self._data.domains.items(), key=lambda item: item[1].due)
        for is_within_share in (True, False):
            for name, domain in due:
                is_promised = domain.wanted not in (None, run.number) and domain.wanted_until > now
                is_free = domain.owner is None and domain.due < before and not is_promised
                is_ours = room > 0 if is_within_share else domain.due < now - LEFT_TO_OTHERS
                if is_free and is_ours and len(leases) < n and self._has_pending(run.number, name):
                    leases.append(self._own(run, name))
                    room -= 1
        self._ask(run, n - len(leases))
        return leases

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        self._check_alive()
        self._reap()
        row = self._data.domains.setdefault(domain, Domain())
        if row.owner == self._me:
            return self._lease_of(run, domain)
        if row.owner is None:
            return self._own(run, domain)
        row.wanted, row.wanted_until = run.number, self._clock.now() + _BELIEVED
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
        self._check_open(run)
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
        self._check_held(run)
        return self._frontier.keep_unreached_pages(run, self._base(run.spider))

    def release(self, domains: Sequence[DomainUpdate]) -> None:
        for update in domains:
            if self._is_ours(update.lease):
                if self._run is not None:
                    self._update(self._run, update)
                self._free(self._data.domains[update.lease.domain])

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
        kept: list[StoredRecord] = []
        for look in self._data.looks:
            if look.run == run.number and look.is_read:
                kept += (one for one in self._frontier.brought(look) if one.cursor > after)
        return kept[:limit]

    def current(
        self, spider: str, coming: Run | None = None, *, whole: bool = False, without: Run | None = None
    ) -> Iterator[StoredRecord]:
        less = without.number if without is not None else 0
        runs = [run for run in self.runs(spider, limit=1_000_000) if run.number != less]
        accepted = [run for run in runs if run.is_accepted]
        base = max((run.number for run in accepted if run.is_whole), default=0)
        if coming is not None:
            accepted.append(coming)
            base = coming.number if whole else base
        counted = {run.number for run in accepted if run.number >= base}
        latest = {look.url: look for look in self._data.looks if look.run in counted}
        for look in sorted(latest.values(), key=lambda look: look.id):
            yield from self._frontier.brought(look)

    def lookup(self, spider: str, fp: bytes) -> Mapping[str, Any] | None:
        for url in self._data.urls.values():
            if (url.spider, url.new.fp) == (spider, fp):
                page = self._data.pages.get(url.id)
                return {
                    "url": url.new.url,
                    "state": url.state,
                    "reason": url.reason,
                    "attempts": url.attempts,
                    "depth": url.new.depth,
                    "request": url.new.request,
                    "run_number": url.run,
                    "fetched_at": page and page.known.fetched_at,
                }
        return None

    def domain(self, domain: str) -> Mapping[str, Any] | None:
        row = self._data.domains.get(domain)
        if row is None:
            return None
        return {"domain": domain, "owner": row.owner, "epoch": row.epoch, "due": row.due} | {
            "state": row.state,
            "crashes": row.crashes,
        }

    def sessions(self, spider: str) -> dict[str, str]:
        return {name: text for (of, name), text in self._data.sessions.items() if of == spider and text}

    def keep_session(self, spider: str, domain: str, session: str) -> None:
        if (held := self._holder(spider)) is not None:
            raise StoreBusy(f"{spider} is being run by {held[0]}", "wait for it or stop it")
        self._data.domains.setdefault(domain, Domain())
        self._data.sessions[spider, domain] = session
        for url in self._data.urls.values():
            if (url.spider, url.new.domain) == (spider, domain) and (page := self._data.pages.get(url.id)):
                self._data.pages[url.id] = replace(page, known=Known(page.known.version))

    # workers and runs, inside -----------------------------------------------------------------------------
    def _check_alive(self) -> None:
        if self._me not in self._data.workers:
            raise LeaseLost(f"worker {self._me} was taken for dead")

    def _check_open(self, run: Run) -> None:
        kept = self._data.runs.get(run.number)
        if kept is None or kept.state == "ended":
            raise LeaseLost(f"run {run.id} was ended by another process")

    def _check_held(self, run: Run) -> None:
        if self._data.held.get(run.number, ("", 0.0))[0] != self._me:
            raise LeaseLost(f"run {run.id} is no longer held by {self._me}")

    def _reap(self) -> None:
        for worker in self._data.dead & self._data.workers.keys():
            for domain in self._data.domains.values():
                domain.crashes += domain.owner == worker
            for url in map(self._data.urls.get, self._data.in_hand.pop(worker, ())):
                if url is not None and url.state == "pending":
                    url.attempts, url.crashes, url.seq = url.attempts + 1, url.crashes + 1, self._data.next()
            self._bury(worker)

    def _bury(self, worker: str) -> None:
        for domain in self._data.domains.values():
            if domain.owner == worker:
                self._free(domain)
        self._data.held = {run: held for run, held in self._data.held.items() if held[0] != worker}
        self._data.workers.pop(worker, None)

    def _base(self, spider: str) -> int:
        runs = self.runs(spider, limit=1_000_000)
        return max((run.number for run in runs if run.is_accepted and run.is_whole), default=0)

    def _begin(self, spider: str) -> Run:
        self._data.started += 1
        number, wall = self._data.started, self._clock.wall()
        run_id = f"{datetime.fromtimestamp(wall, UTC):%Y%m%d-%H%M%S}-{number}"
        return Run(run_id, number, spider, "", wall)

    def _close(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        kept = self._data.runs[run.number]
        self._data.runs[run.number] = replace(
            kept,
            state="ended",
            ended_at=self._clock.wall(),
            is_accepted=accepted or kept.is_accepted,
            is_whole=whole or kept.is_whole,
            summary=dict(summary),
        )
        self._data.held.pop(run.number, None)
        workers = self._data.workers
        workers.update({name: None for name, number in workers.items() if number == run.number})
        self._wait_no_more(run)

    def _wait_no_more(self, run: Run) -> None:
        for domain in self._data.domains.values():
            if domain.wanted == run.number:
                domain.wanted = None

    def _holder(self, spider: str, but: str = "") -> tuple[str, float] | None:
        for run in self.runs(spider):
            if run.state == "ended":
                continue
            held = self._data.held.get(run.number)
            at_work = [name for name, number in self._data.workers.items() if number == run.number]
            for name in ([held[0]] if held else []) + at_work:
                if name != but:
                    return name, held[1] if held else run.started_at
        return None

    def _work_on(self, run: Run) -> Run:
        self._data.workers[self._me] = run.number
        self._run = run
        self._taken.clear()
        return run

    # domains, inside --------------------------------------------------------------------------------------
    def _has_pending(self, run: int, domain: str) -> bool:
        return any(
            (url.run, url.state, url.new.domain) == (run, "pending", domain)
            for url in self._data.urls.values()
            if url.spider == self._data.runs[run].spider
        )

    def _is_ours(self, lease: Lease) -> bool:
        row = self._data.domains.get(lease.domain)
        return row is not None and (row.owner, row.epoch) == (self._me, lease.epoch)

    def _own(self, run: Run, name: str) -> Lease:
        row = self._data.domains[name]
        row.owner, row.epoch, row.wanted = self._me, row.epoch + 1, None
        return self._lease_of(run, name)

    def _lease_of(self, run: Run, name: str) -> Lease:
        row = self._data.domains[name]
        session = self._data.sessions.get((run.spider, name), "")
        stats = self._data.domain_stats.get((run.number, name), "")
        return Lease(name, row.epoch, row.due, row.state, session, stats, row.crashes)

    @staticmethod
    def _free(row: Domain) -> None:
        row.owner, row.epoch = None, row.epoch + 1

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

    def _room(self, run: Run, n: int) -> int:
        owners = [row.owner for row in self._data.domains.values()]
        keeper, _ = self._data.held.get(run.number, ("", 0.0))
        team = [name for name, number in self._data.workers.items() if number == run.number]
        working = [name for name in team if name in (self._me, *owners) or name != keeper]
        held = sum(owner in team for owner in owners if owner)
        return n if len(working) < 2 else held // len(working) + 1 - owners.count(self._me)

    def _ask(self, run: Run, n: int) -> None:
        now, workers = self._clock.now(), self._data.workers
        held = {
            name: row
            for name, row in self._data.domains.items()
            if row.owner is not None and self._has_pending(run.number, name)
        }
        ours = [row for row in held.values() if workers.get(row.owner or "") == run.number]
        share = len(ours) // max(1, sum(number == run.number for number in workers.values()))
        missing = min(n, share - sum(row.owner == self._me for row in ours))
        missing -= sum(row.wanted is not None and row.wanted_until > now for row in ours)
        left: dict[str, int] = {}
        for row in held.values():
            owner = row.owner or ""
            left[owner] = left.get(owner, 0) + 1
            if workers.get(owner) == run.number:
                is_asked = owner != self._me and left[owner] > share and missing > 0
                missing -= is_asked
            else:
                is_asked = row.wanted is None or row.wanted_until < now + _BELIEVED / 2
            if is_asked:
                row.wanted, row.wanted_until = run.number, now + _BELIEVED


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
