"""The project's SQLite store under many URLs: `python -m benchmarks.frontier FOLDER KNOWN` prints JSON.

With a third argument, a picture's path, the store grows by stages; it prints each and draws them.
"""

import json
import random
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median

from benchmarks import report
from scraper.model import Entry, Fetched, Known, NewUrl, RecordLine, Visit
from scraper.store import DomainUpdate, Lease, Run
from scraper.store.sqlite import SqliteStore
from scraper.urls import fingerprint

_SMALL = 10_000
_ROUNDS = 9
_DOMAINS = 100
_BULK = 20_000
_BATCH = 2_000
# Until the log is copied to the file: with many URLs it has 10,000 pages then, as when the store does it.
_BATCHES, _BATCHES_OF_MANY = 5, 15
_LINKS = 40
_RECENT = 2_000
_GROUP = 100
_GROUPS = 20
_STAGES = (10_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 20_000_000, 30_000_000)
_ROUNDS_OF_STAGE = 3

Figures = dict[str, float]


def _by_page(number: int) -> NewUrl:
    """URLs as a crawl finds them: a page's links together, all of one domain."""
    return _url(f"shop{number // _LINKS % _DOMAINS}.test", number)


def _scattered(number: int) -> NewUrl:
    """The worst case: each URL of another domain than the one before."""
    return _url(f"site{number % _DOMAINS}.test", number)


def _url(domain: str, number: int) -> NewUrl:
    url = f"https://{domain}/articles/{number // _DOMAINS}/the-title-of-article-{number}"
    return NewUrl(domain, fingerprint("GET", url), url)


class _Scale:
    """A store that grows, measured where it stands: half of its URLs by page, the other half scattered."""

    def __init__(self, path: Path) -> None:
        shutil.rmtree(path.parent, ignore_errors=True)
        path.parent.mkdir(parents=True)
        self._path = path
        self._store = SqliteStore(path)
        self._store.join("benchmark")
        self._run: Run = self._store.start_run("benchmark", "")
        self._counts = {_by_page: 0, _scattered: 0}
        self._random = random.Random(1)

    @property
    def known(self) -> int:
        """How many URLs it knows."""
        return sum(self._counts.values())

    def grow(self, known: int) -> None:
        """Add URLs until so many are known."""
        while self.known < known:
            for order in self._counts:
                self._add(order, min(_BULK, known // 2))

    def lease(self) -> None:
        """Own all domains, those of both halves."""
        leases = self._store.lease(self._run, 2 * _DOMAINS, float("inf"))
        self._shops = [lease for lease in leases if lease.domain.startswith("shop")]
        self._sites = [lease for lease in leases if lease.domain.startswith("site")]

    def measure(self, batches: int) -> Figures:
        """Microseconds for each step: one URL, or one page with its links."""
        self._warm()
        figures = {"add": self._adding(_by_page, batches), "add_scattered": self._adding(_scattered, batches)}
        figures["take"], figures["settle"] = self._work(self._shops, seen=_LINKS - 2)
        figures["take_scattered"], figures["settle_strange"] = self._work(self._sites, seen=0)
        return figures | {"memory": _memory(), "bytes": self._size() / self.known}

    def _warm(self) -> None:
        """Have the system hold the file in its memory: some let go of what lay idle while it grew."""
        with self._path.open("rb") as file:
            while file.read(1 << 20):
                pass

    def stage(self, known: int) -> Figures:
        """Grow until so many URLs are known, then settle pages whose links are any of them."""
        before, begun = self.known, time.process_time()
        self.grow(known)
        grown = time.process_time() - begun
        if not before:
            self.lease()
        settled = median(self._work(self._sites, seen=0)[1] for _ in range(_ROUNDS_OF_STAGE))
        return {
            "known": self.known,
            "add": 1e6 * grown / (self.known - before),
            "settle_strange": settled,
            "memory": _memory(),
            "bytes": self._size() / self.known,
        }

    def close(self) -> None:
        """Leave the store."""
        self._store.leave()
        self._store.close()

    def _adding(self, order: Callable[[int], NewUrl], batches: int) -> float:
        """Add a few batches, down to the file itself, not just to its log."""
        self._checkpoint()
        spent = sum(self._add(order, _BATCH) for _ in range(batches))
        return 1e6 * (spent + self._checkpoint()) / (_BATCH * batches)

    def _add(self, order: Callable[[int], NewUrl], count: int) -> float:
        urls = [order(self._counts[order] + place) for place in range(count)]
        begun = time.perf_counter()
        self._store.add(self._run, urls)
        self._counts[order] += count
        return time.perf_counter() - begun

    def _checkpoint(self) -> float:
        connection = sqlite3.connect(self._path)
        begun = time.perf_counter()
        connection.execute("PRAGMA wal_checkpoint")
        spent = time.perf_counter() - begun
        connection.close()
        return spent

    def _work(self, leases: list[Lease], *, seen: int) -> tuple[float, float]:
        """CPU to take and settle groups of pages, those of the next domains.

        So many of a page's links stand on many other pages too; the others are any of those known.
        """
        taking = settling = 0.0
        pages = 0
        for lease in leases[:_GROUPS]:
            begun = time.process_time()
            entries = self._store.take(self._run, lease, _GROUP)
            taken = time.process_time()
            visits = [Visit(entry, self._fetched(entry, seen)) for entry in entries]
            ready = time.process_time()
            self._store.settle(self._run, visits, [DomainUpdate(lease, 0.0)])
            taking += taken - begun
            settling += time.process_time() - ready
            pages += len(entries)
        leases[:] = leases[_GROUPS:] + leases[:_GROUPS]
        return 1e6 * taking / pages, 1e6 * settling / pages

    def _fetched(self, entry: Entry, seen: int) -> Fetched:
        links = [self._any(recent=_RECENT) for _ in range(seen)]
        links += [self._any() for _ in range(_LINKS - seen)]
        line = json.dumps({"url": entry.url, "title": "The title of an article", "price": "10.00"})
        return Fetched(Known(0, etag='"abc"'), (RecordLine(entry.url, line),), tuple(links))

    def _any(self, recent: int = 0) -> NewUrl:
        order = self._random.choice((_by_page, _scattered))
        count = self._counts[order]
        return order(count - 1 - self._random.randrange(recent or count))

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._path.parent.glob(self._path.name + "*"))


def _memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def _small(folder: Path) -> Figures:
    """A round with few URLs: in a new store each time, since a round makes it larger."""
    scale = _Scale(folder / "small" / "scraper.db")
    scale.grow(_SMALL)
    scale.lease()
    figures = scale.measure(_BATCHES)
    scale.close()
    return figures


def _medians(rounds: Sequence[Figures]) -> Figures:
    return {name: median(figures[name] for figures in rounds) for name in rounds[0]}


def _measure(folder: Path, known: int) -> list[Figures]:
    large = _Scale(folder / "large" / "scraper.db")
    large.grow(known)
    large.lease()
    smalls, larges = [], []
    # By turns, and the small one in a process of its own: the machine is the same for both, memory is not.
    with ProcessPoolExecutor(1, max_tasks_per_child=1) as process:
        for _ in range(_ROUNDS):
            smalls.append(process.submit(_small, folder).result())
            larges.append(large.measure(_BATCHES_OF_MANY))
    return [_medians(smalls) | {"known": _SMALL}, _medians(larges) | {"known": known}]


def _curve(folder: Path, known: int, picture: Path) -> None:
    scale = _Scale(folder / "curve" / "scraper.db")
    points = []
    for size in filter(known.__ge__, _STAGES):
        points.append(scale.stage(size))
        print(json.dumps(points[-1]), flush=True)
    scale.close()
    sizes = [point["known"] for point in points]
    curves = {
        "us of CPU to settle a page of 40 links, any of those known": [p["settle_strange"] for p in points],
        "us of CPU to add a URL": [point["add"] for point in points],
        "MB of memory, benchmark included": [point["memory"] / 2**20 for point in points],
    }
    report.draw_curves("URLs known", sizes, curves, picture)


if __name__ == "__main__":
    if len(sys.argv) > 3:
        _curve(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(json.dumps(_measure(Path(sys.argv[1]), int(sys.argv[2]))))
