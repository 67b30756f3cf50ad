"""The store in plain dictionaries: for tests, and the oracle that other stores are compared with.

It shares no code with them and looks for clarity, not speed: most questions are asked of every row.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, assert_never

from scraper.clock import Clock, offset
from scraper.errors import LeaseLost, StoreBusy, StoreError
from scraper.model import (
    Deferred,
    Denied,
    Entry,
    Failed,
    Fetched,
    Known,
    NewUrl,
    RecordLine,
    Redirected,
    Refusal,
    Retry,
    Unchanged,
    Visit,
)
from scraper.store import DomainUpdate, Kept, Lease, Progress, RobotsCopy, Run, Settled

_BELIEVED = 15.0


@dataclass(slots=True)
class _Domain:
    owner: str | None = None
    epoch: int = 0
    due: float = 0.0
    state: str = ""
    crashes: int = 0
    wanted: int | None = None
    wanted_until: float = 0.0


@dataclass(slots=True)
class _Url:
    id: int
    spider: str
    new: NewUrl
    run: int
    seq: int
    hops: int
    attempts: int = 0
    state: str = "pending"
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class _Page:
    known: Known
    run: int
    checked: int
    code: str
    links: tuple[int, ...]
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Look:
    """A visit as it is kept. `version` None: the page brings nothing."""

    id: int
    run: int
    url: int
    version: int | None
    is_read: bool = True


@dataclass(slots=True)
class _Tables:
    workers: dict[str, int | None] = field(default_factory=dict)
    dead: set[str] = field(default_factory=set)
    runs: dict[int, Run] = field(default_factory=dict)
    held: dict[int, tuple[str, float]] = field(default_factory=dict)
    started: int = 0
    domains: dict[str, _Domain] = field(default_factory=dict)
    urls: dict[int, _Url] = field(default_factory=dict)
    places: dict[tuple[str, str, bytes], int] = field(default_factory=dict)
    pages: dict[int, _Page] = field(default_factory=dict)
    looks: list[_Look] = field(default_factory=list)
    records: dict[int, tuple[RecordLine, ...]] = field(default_factory=dict)
    sessions: dict[tuple[str, str], str] = field(default_factory=dict)
    tallies: dict[tuple[int, str], str] = field(default_factory=dict)
    refused: set[tuple[int, str]] = field(default_factory=set)
    robots: dict[str, RobotsCopy] = field(default_factory=dict)
    tick: int = 0

    def next(self) -> int:
        self.tick += 1
        return self.tick


class MemoryStore:
    """`Store` without a file. `beside` another one it is a second worker on the same data."""

    def __init__(self, clock: Clock, beside: "MemoryStore | None" = None) -> None:
        self._clock = clock
        self._data: _Tables = _Tables() if beside is None else beside._data
        self._me = ""
        self._run: Run | None = None
        self._taken: dict[int, int] = {}

    # workers ------------------------------------------------------------------------------------------
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
            and self._has_pending(domain.wanted, name)
        )

    def leave(self) -> None:
        if self._me:
            self._bury(self._me)
        self._me = ""
        self._taken.clear()

    def anchor(self) -> float:
        return offset()

    def close(self) -> None:
        if self._me:
            self._data.dead.add(self._me)

    # runs -----------------------------------------------------------------------------------------------
    def start_run(self, spider: str, code: str, *, fresh: bool = False) -> Run:
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
        run = replace(run or self._begin(spider), code=code, state="running")
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
        self._data.runs[run.number] = replace(kept, state="paused", summary=dict(summary))
        del self._data.held[run.number]
        self._data.workers[self._me] = None
        self._wait_no_more(run)

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        self._check_held(run)
        self._close(run, summary, accepted=accepted, whole=whole)

    def accept_run(self, run: Run) -> None:
        kept = self._data.runs.get(run.number)
        if kept is not None and kept.state == "ended":
            self._data.runs[run.number] = replace(kept, is_accepted=True)

    def runs(self, spider: str | None = None, limit: int = 100) -> list[Run]:
        runs = [run for run in self._data.runs.values() if spider in (None, run.spider)]
        return sorted(runs, key=lambda run: -run.number)[:limit]

    def holder(self, spider: str) -> tuple[str, float] | None:
        self._reap()
        return self._holder(spider)

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
        return sum(self._meet(run, url)[1] for url in urls)

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        self._check_alive()
        now = self._clock.now()
        leases: list[Lease] = []
        due = sorted(self._data.domains.items(), key=lambda item: item[1].due)
        for name, domain in due:
            is_promised = domain.wanted not in (None, run.number) and domain.wanted_until > now
            is_free = domain.owner is None and domain.due < before and not is_promised
            if is_free and len(leases) < n and self._has_pending(run.number, name):
                leases.append(self._own(run, name))
        self._ask(run, n - len(leases))
        return leases

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        self._check_alive()
        self._reap()
        row = self._data.domains.setdefault(domain, _Domain())
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
        pending.sort(key=lambda url: (-url.new.priority, url.seq))
        self._taken |= {url.id: url.seq for url in pending[:n]}
        return [self._entry(run, url) for url in pending[:n]]

    def settle(self, run: Run, visits: Sequence[Visit], domains: Sequence[DomainUpdate]) -> Settled:
        self._check_open(run)
        ours = {update.lease.domain for update in domains if self._is_ours(update.lease)}
        named = {visit.entry.domain for visit in visits} | {update.lease.domain for update in domains}
        current = [visit for visit in visits if visit.entry.domain in ours and self._is_in_hand(run, visit)]
        for visit in visits:
            self._taken.pop(visit.entry.id, None)
        for visit in current:
            self._end(run, visit)
        new, refused = 0, []
        for visit in current:
            new += self._follow(run, visit)
            refused += self._refuse(run, visit)
            self._data.domains[visit.entry.domain].crashes = 0
        for update in domains:
            self._update(run, update)
        return Settled(new, frozenset(named - ours), tuple(refused))

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

    def keep_robots(self, copy: RobotsCopy) -> None:
        self._data.robots[copy.origin] = copy

    def tallies(self, run: Run) -> dict[str, str]:
        return {name: text for (number, name), text in self._data.tallies.items() if number == run.number}

    def records(self, run: Run, after: int = 0, limit: int = 1000) -> list[Kept]:
        kept: list[Kept] = []
        for look in self._data.looks:
            if look.run == run.number and look.id > after and look.is_read:
                brought = self._brought(look)
                if kept and len(kept) + len(brought) > limit:
                    break
                kept += brought
        return kept

    def current(self, spider: str) -> Iterator[Kept]:
        accepted = [run for run in self.runs(spider, limit=1_000_000) if run.is_accepted]
        base = max((run.number for run in accepted if run.is_whole), default=0)
        counted = {run.number for run in accepted if run.number >= base}
        latest = {look.url: look for look in self._data.looks if look.run in counted}
        for look in sorted(latest.values(), key=lambda look: look.id):
            yield from self._brought(look)

    def lookup(self, spider: str, fp: bytes) -> Mapping[str, Any] | None:
        for url in self._data.urls.values():
            if (url.spider, url.new.fp) == (spider, fp):
                page = self._data.pages.get(url.id)
                return {
                    "url": url.new.url,
                    "state": url.state,
                    "reason": url.reason,
                    "attempts": url.attempts,
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
        self._data.domains.setdefault(domain, _Domain())
        self._data.sessions[spider, domain] = session

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
            self._bury(worker)

    def _bury(self, worker: str) -> None:
        for domain in self._data.domains.values():
            if domain.owner == worker:
                self._free(domain)
        self._data.held = {run: held for run, held in self._data.held.items() if held[0] != worker}
        self._data.workers.pop(worker, None)

    def _begin(self, spider: str) -> Run:
        self._data.started += 1
        number, wall = self._data.started, self._clock.wall()
        run_id = f"{datetime.fromtimestamp(wall, UTC):%Y%m%d-%H%M%S}-{number}"
        return Run(run_id, number, spider, "", wall)

    def _close(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        self._data.runs[run.number] = replace(
            self._data.runs[run.number],
            state="ended",
            ended_at=self._clock.wall(),
            is_accepted=accepted,
            is_whole=whole,
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
        tally = self._data.tallies.get((run.number, name), "")
        return Lease(name, row.epoch, row.due, row.state, session, tally, row.crashes)

    @staticmethod
    def _free(row: _Domain) -> None:
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
        if update.tally is not None:
            self._data.tallies[run.number, name] = update.tally

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

    # URLs, inside -----------------------------------------------------------------------------------------
    def _meet(self, run: Run, new: NewUrl, *, is_hop: bool = False) -> tuple[int, bool]:
        """The URL's id, and whether it became pending."""
        data, place = self._data, (run.spider, new.domain, new.fp)
        data.domains.setdefault(new.domain, _Domain())
        if place not in data.places:
            found = data.places[place] = data.next()
            data.urls[found] = _Url(found, run.spider, new, run.number, found, new.hops)
            return found, True
        found = data.places[place]
        url = data.urls[found]
        is_again = url.state != "pending" and (new.again or (is_hop and url.state == "redirected"))
        if url.run == run.number and not is_again:
            return found, False
        data.urls[found] = _Url(found, run.spider, new, run.number, data.next(), new.hops)
        return found, True

    def _is_in_hand(self, run: Run, visit: Visit) -> bool:
        url = self._data.urls.get(visit.entry.id)
        if url is None or (url.state, url.run) != ("pending", run.number):
            return False
        return self._taken.get(url.id) == url.seq

    def _entry(self, run: Run, url: _Url) -> Entry:
        new, page = url.new, self._data.pages.get(url.id)
        known = None
        if page is not None and page.code == self._data.runs[run.number].code:
            made_by = self._data.runs.get(page.run)
            if made_by is None or made_by.is_accepted or made_by.number == run.number:
                known = page.known
        numbers = (new.depth, url.hops, url.attempts, new.priority)
        return Entry(url.id, new.domain, new.fp, new.url, new.request, *numbers, known)

    def _end(self, run: Run, visit: Visit) -> None:
        url = self._data.urls[visit.entry.id]
        match visit.outcome:
            case Fetched(_, records):
                url.state, url.reason = "done", None
                self._data.records[self._look(run, url.id, -1)] = records
            case Unchanged(known):
                self._renew(run, url, known)
            case Redirected(to):
                if (to.domain, to.fp) == (url.new.domain, url.new.fp):
                    url.hops, url.reason, url.seq = to.hops, None, self._data.next()
                else:
                    url.state, url.reason = "redirected", None
                    self._look(run, url.id, None)
            case Retry(reason, counts):
                url.attempts, url.reason, url.seq = url.attempts + counts, reason, self._data.next()
            case Deferred(reason):
                url.reason = reason
            case Denied() | Failed():
                self._give_up(run, url, visit.outcome)
            case other:
                assert_never(other)

    def _give_up(self, run: Run, url: _Url, outcome: Denied | Failed) -> None:
        url.state, url.reason = "denied" if isinstance(outcome, Denied) else "failed", outcome.reason
        is_gone = isinstance(outcome, Failed) and outcome.is_gone
        version = None if is_gone else self._standing(run, url.id)
        self._look(run, url.id, version, is_read=is_gone)

    def _renew(self, run: Run, url: _Url, known: Known) -> None:
        page = self._data.pages.get(url.id)
        if page is None:
            url.seq, url.reason = self._data.next(), "the last version is gone"
            return
        url.state, url.reason = "done", None
        version = page.known.version
        self._data.pages[url.id] = replace(page, known=replace(known, version=version), checked=run.number)
        if page.checked != run.number:
            self._look(run, url.id, version)

    def _follow(self, run: Run, visit: Visit) -> int:
        outcome = visit.outcome
        if isinstance(outcome, Fetched):
            met = [self._meet(run, link) for link in outcome.links]
            version = self._standing(run, visit.entry.id) or 0
            links = tuple(dict.fromkeys(found for found, _ in met))
            known = replace(outcome.known, version=version)
            code = self._data.runs[run.number].code
            page = _Page(known, run.number, run.number, code, links, outcome.facts)
            self._data.pages[visit.entry.id] = page
            return sum(is_new for _, is_new in met)
        if isinstance(outcome, Redirected):
            is_itself = (outcome.to.domain, outcome.to.fp) == (visit.entry.domain, visit.entry.fp)
            return 0 if is_itself else self._meet(run, outcome.to, is_hop=True)[1]
        if isinstance(outcome, Unchanged) and visit.entry.id in self._data.pages:
            links = self._data.pages[visit.entry.id].links
            return sum(self._meet_again(run, found) for found in links)
        return 0

    def _meet_again(self, run: Run, found: int) -> bool:
        url = self._data.urls.get(found)
        if url is None or url.run == run.number:
            return False
        self._data.urls[found] = _Url(found, url.spider, url.new, run.number, self._data.next(), 0)
        return True

    def _refuse(self, run: Run, visit: Visit) -> list[Refusal]:
        if not isinstance(visit.outcome, Fetched):
            return []
        new = []
        for refusal in visit.outcome.refused:
            if (run.number, refusal.url) not in self._data.refused:
                self._data.refused.add((run.number, refusal.url))
                new.append(refusal)
        return new

    def _look(self, run: Run, url: int, version: int | None, *, is_read: bool = True) -> int:
        """Keep a visit; -1 stands for a version of its own. None forgets what is known of the page."""
        number = self._data.next()
        self._data.looks.append(_Look(number, run.number, url, number if version == -1 else version, is_read))
        if version is None and is_read:
            self._data.pages.pop(url, None)
        return number

    def _standing(self, run: Run, url: int) -> int | None:
        for look in reversed(self._data.looks):
            if look.url == url and (look.run == run.number or self._data.runs[look.run].is_accepted):
                return look.version
        return None

    def _brought(self, look: _Look) -> list[Kept]:
        records = self._data.records.get(look.version or 0, ())
        url = self._data.urls[look.url].new.url
        return [Kept(look.id, url, record.key, record.line) for record in records]
