"""Workers of a store with fetching simulated: no HTTP, no parsing, only leases, URLs and settlements.

`python -m benchmarks.workers cost FOLDER`: CPU of a settled page (40 links, 38 known), SQLite and PostgreSQL.
`python -m benchmarks.workers scale FOLDER`: pages/s of 1 to 16 workers on PostgreSQL.
`python -m benchmarks.workers known FOLDER COUNT`: what a URL and a page cost with COUNT URLs known, and few:
to the worker that has met them, and to one that has just joined. A page's links are any of those known.
The server is one of the tests' own (`tests/postgres.py`), on this machine: it takes part of the same cores.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from statistics import median

from scraper.model import Entry, Fetched, Known, NewUrl, RecordLine, Visit
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.store.postgres import PostgresStore
from scraper.store.sqlite import SqliteStore
from scraper.urls import fingerprint

_DOMAINS = 400
_LINKS, _NEW = 40, 2
_GROUP = 100  # pages of one settlement
_EACH = 16  # URLs of a domain that are taken at once
_ADDED = 2_000
_LAST = 100_000  # new URLs that are measured, of those
_FIRST = 40_000  # URLs before anything is measured
_WARM = 500  # pages of each worker: plans and caches are warm then
_SECONDS = 8.0
_PAGES = 3_000  # of a worker with many URLs known
_ROUNDS = 3


def _url(number: int) -> NewUrl:
    domain = f"site{number % _DOMAINS}.test"
    url = f"https://{domain}/articles/{number // _DOMAINS}/the-title-of-article-{number}"
    return NewUrl(domain, fingerprint("GET", url), url)


_met_url = lru_cache(100_000)(_url)
"""One that stands on many pages: making it up each time would cost more than settling it."""


def _opened(where: str, name: str) -> Store:
    folder = Path(where.partition("|")[2] or where)
    folder.mkdir(parents=True, exist_ok=True)
    if where.startswith("postgresql"):
        store: Store = PostgresStore(where.partition("|")[0], locks=folder / "locks")
    else:
        store = SqliteStore(folder / "scraper.db")
    store.join(name)
    return store


class _Worker:
    """Takes, "fetches" and settles; `first` is the number of the next URL that nobody knows yet."""

    def __init__(self, store: Store, run: Run, known: int, first: int, step: int, most: int) -> None:
        self._store, self._run = store, run
        self._known, self._next, self._step = known, first, step
        self._most = most
        self._dice = random.Random(first)
        self._leases: dict[str, Lease] = {}
        self._beat_at = 0.0
        self.pages = 0
        self.cpu = self.made = 0.0

    def work(self) -> int:
        """One settlement; how many pages."""
        begun, made = time.process_time(), self.made
        self._keep_up()
        visits = list(islice(self._visits(), _GROUP))
        touched = {visit.entry.domain for visit in visits}
        updates = [DomainUpdate(self._leases[name], 0.0) for name in touched]
        for name in self._store.settle(self._run, visits, updates).lost:
            self._leases.pop(name, None)
        # What it takes to make up the pages is no affair of the store.
        self.cpu += time.process_time() - begun - (self.made - made)
        self.pages += len(visits)
        return len(visits)

    def _keep_up(self) -> None:
        if time.monotonic() > self._beat_at:
            self._beat_at = time.monotonic() + 1.0
            wanted = [self._leases.pop(name) for name in self._store.heartbeat() if name in self._leases]
            self._store.release([DomainUpdate(lease, 0.0) for lease in wanted])
            while len(self._leases) < self._most and (
                more := self._store.lease(self._run, 100, float("inf"))
            ):
                self._leases |= {lease.domain: lease for lease in more}

    def _visits(self) -> Iterator[Visit]:
        for lease in list(self._leases.values()):
            entries = self._store.take(self._run, lease, _EACH)
            # The next time it is the turn of others.
            self._leases[lease.domain] = self._leases.pop(lease.domain)
            begun = time.process_time()
            visits = [Visit(entry, self._fetched(entry)) for entry in entries]
            self.made += time.process_time() - begun
            yield from visits

    def _fetched(self, entry: Entry) -> Fetched:
        # A page links to others of its site.
        home = int(entry.domain.removeprefix("site").partition(".")[0])
        rows = self._known // _DOMAINS
        links = [_met_url(self._dice.randrange(rows) * _DOMAINS + home) for _ in range(_LINKS - _NEW)]
        for _ in range(_NEW):
            links.append(_url(self._next * _DOMAINS + home))
            self._next += self._step
        line = json.dumps({"url": entry.url, "title": "The title of an article", "price": "10.00"})
        return Fetched(Known(0, etag='"abc"'), (RecordLine(entry.url, line),), tuple(links))


def _fill(store: Store, run: Run, known: int, server: int) -> float:
    """Add so many URLs; the CPU of all for one of the last of them, in microseconds."""
    spent, last = 0.0, max(0, known - _LAST)
    for start in range(0, known, _ADDED):
        urls = [_url(number) for number in range(start, min(start + _ADDED, known))]
        before = time.process_time() + _cpu_of(server)
        store.add(run, urls)
        spent += (time.process_time() + _cpu_of(server) - before) * (start >= last)
    return 1e6 * spent / min(known, _LAST)


def _begin(where: str, known: int, server: int) -> tuple[str, float]:
    """A run with so many URLs, and what one cost."""
    store = _opened(where, "begin")
    run = store.start_run("benchmark", "")
    added = _fill(store, run, known, server)
    store.leave()
    store.close()
    return run.id, added


def _known(where: str, known: int, server: int) -> Iterator[dict[str, float | str]]:
    """A page of the worker that has met so many URLs, and of one that knows none of them."""
    for name in ("has met them", "has just joined"):
        store = _opened(where, name.replace(" ", "-"))
        run = store.start_run("benchmark", "")
        figures: dict[str, float | str] = {"known": known, "worker": name}
        if name == "has met them":
            figures["added_us"] = round(_fill(store, run, known, server), 1)
        worker = _Worker(store, run, known, known // _DOMAINS + (name == "has just joined"), 2, _DOMAINS)
        _work(worker, _WARM)
        spent, before, worker.cpu = _cpu_of(server), worker.pages, 0.0
        _work(worker, _PAGES)
        pages = worker.pages - before
        figures["client_us"] = round(1e6 * worker.cpu / pages, 1)
        figures["server_us"] = round(1e6 * (_cpu_of(server) - spent) / pages, 1)
        store.leave()
        store.close()
        yield figures


def _work(worker: _Worker, pages: int) -> None:
    until = worker.pages + pages
    while worker.pages < until and worker.work():
        pass


def _child(where: str, number: int, workers: int, seconds: float, known: int) -> None:
    """One worker for so many seconds; prints what it did."""
    store = _opened(where, f"w{number}")
    run = store.start_run("benchmark", "") if workers == 1 else store.join_run(sys.argv[7])
    worker = _Worker(store, run, known, known // _DOMAINS + number, workers, -(-_DOMAINS // workers))
    _work(worker, _WARM)
    print("ready", flush=True)
    sys.stdin.readline()
    begun, before, worker.cpu = time.perf_counter(), worker.pages, 0.0
    while time.perf_counter() - begun < seconds and worker.work():
        pass
    pages, took = worker.pages - before, time.perf_counter() - begun
    print(json.dumps({"pages": pages, "seconds": took, "cpu": worker.cpu}))
    store.leave()
    store.close()


def _measure(where: str, workers: int, known: int, seconds: float, server: int = 0) -> dict[str, float]:
    """The pages of some workers at once, and the CPU of all: microseconds a page."""
    run, added = _begin(where, known, server)
    command = [sys.executable, "-m", "benchmarks.workers", "child", where]
    children = [
        subprocess.Popen(
            [*command, str(number), str(workers), str(seconds), str(known), run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(workers)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    before = _cpu_of(server)
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    done = [json.loads(child.stdout.readline()) for child in children if child.stdout is not None]
    spent = _cpu_of(server) - before
    for child in children:
        child.wait()
    pages = sum(one["pages"] for one in done)
    figures = {
        "added_us": added,
        "pages_s": sum(one["pages"] / one["seconds"] for one in done),
        "client_us": 1e6 * sum(one["cpu"] for one in done) / pages,
        "server_us": 1e6 * spent / pages,
    }
    return {name: round(value, 1) for name, value in figures.items()} | {"workers": workers, "known": known}


def _cpu_of(server: int) -> float:
    """CPU seconds of a server and its processes so far, those that have ended too."""
    if not server:
        return 0.0
    total = 0.0
    for pid in [server, *_children_of(server)]:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15] if pid == server else fields[11:13])) / 100
    return total


def _children_of(pid: int) -> Sequence[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _medians(rounds: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


def main() -> None:
    """One of the three measurements."""
    from tests.postgres import Server

    kind, folder = sys.argv[1], Path(sys.argv[2]).absolute()
    server = Server()
    pid = int((Path(server.data) / "postmaster.pid").read_text().split()[0])
    try:
        if kind == "cost":
            pairs: dict[str, list[dict[str, float]]] = {"sqlite": [], "postgres": []}
            for turn in range(_ROUNDS):
                pairs["sqlite"].append(_measure(str(folder / f"s{turn}"), 1, _FIRST, _SECONDS))
                where = f"{server.database()}|{folder / f'p{turn}'}"
                pairs["postgres"].append(_measure(where, 1, _FIRST, _SECONDS, pid))
            print(json.dumps({name: _medians(rounds) for name, rounds in pairs.items()}))
        elif kind == "scale":
            for workers in (1, 2, 4, 8, 16):
                where = f"{server.database()}|{folder / f'w{workers}'}"
                print(json.dumps(_measure(where, workers, _FIRST, _SECONDS, pid)), flush=True)
        else:
            for known in (10_000, int(sys.argv[3])):
                where = f"{server.database()}|{folder / f'k{known}'}"
                for figures in _known(where, known, pid):
                    print(json.dumps(figures), flush=True)
    finally:
        server.remove()


if __name__ == "__main__":
    if sys.argv[1] == "child":
        _child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
