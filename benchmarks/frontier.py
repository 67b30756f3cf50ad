"""The project's SQLite store under many URLs: `python -m benchmarks.frontier FOLDER KNOWN` prints JSON."""

import json
import random
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scraper.model import Entry, Fetched, Known, NewUrl, RecordLine, Visit
from scraper.store import DomainUpdate, Lease, Run
from scraper.store.sqlite import SqliteStore
from scraper.urls import fingerprint

_SMALL = 10_000
_DOMAINS = 100
_BULK = 20_000
_BATCH = 2_000
_BATCHES = 10
_LINKS = 40
_RECENT = 2_000
_GROUP = 100
_GROUPS = 20


def _url(number: int) -> NewUrl:
    domain = f"site{number % _DOMAINS}.test"
    url = f"https://{domain}/articles/{number // _DOMAINS}/the-title-of-article-{number}"
    return NewUrl(domain, fingerprint("GET", url), url)


class _Scale:
    """A store that grows, measured where it stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._store = SqliteStore(path)
        self._store.join("benchmark")
        self._run: Run = self._store.start_run("benchmark", "")
        self._leases: list[Lease] = []
        self.known = 0
        self._random = random.Random(1)

    def grow(self, known: int) -> None:
        """Add URLs until so many are known."""
        while self.known < known:
            self._add(min(_BULK, known - self.known))

    def add(self) -> float:
        """Add a few batches more; microseconds for one URL."""
        return 1e6 * sum(self._add(_BATCH) for _ in range(_BATCHES)) / (_BATCH * _BATCHES)

    def _add(self, count: int) -> float:
        urls = [_url(self.known + place) for place in range(count)]
        begun = time.perf_counter()
        self._store.add(self._run, urls)
        self.known += count
        return time.perf_counter() - begun

    def work(self, seen: int) -> tuple[float, float]:
        """Take and settle groups of pages; microseconds for one of each.

        So many of a page's links stand on many other pages too; the others are any of those known.
        """
        if not self._leases:
            self._leases = self._store.lease(self._run, _DOMAINS, float("inf"))
        taking = settling = 0.0
        for lease in self._leases[:_GROUPS]:
            begun = time.perf_counter()
            entries = self._store.take(self._run, lease, _GROUP)
            taken = time.perf_counter()
            visits = [Visit(entry, self._fetched(entry, seen)) for entry in entries]
            ready = time.perf_counter()
            self._store.settle(self._run, visits, [DomainUpdate(lease, 0.0)])
            taking += taken - begun
            settling += time.perf_counter() - ready
        self._leases = self._leases[_GROUPS:] + self._leases[:_GROUPS]
        pages = _GROUP * _GROUPS
        return 1e6 * taking / pages, 1e6 * settling / pages

    def _fetched(self, entry: Entry, seen: int) -> Fetched:
        recent = [self.known - 1 - self._random.randrange(_RECENT) for _ in range(seen)]
        others = [self._random.randrange(self.known) for _ in range(_LINKS - seen)]
        links = tuple(map(_url, recent + others))
        line = json.dumps({"url": entry.url, "title": "The title of an article", "price": "10.00"})
        return Fetched(Known(0, etag='"abc"'), (RecordLine(entry.url, line),), links)

    def size(self) -> int:
        """Bytes on disk, the log of the database included."""
        return sum(path.stat().st_size for path in self._path.parent.glob(self._path.name + "*"))


def _memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


def _measure(folder: Path, known: int) -> Iterator[dict[str, float]]:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scale = _Scale(folder / "scraper.db")
    for size in (_SMALL, known):
        scale.grow(size)
        add = scale.add()
        take, settle = scale.work(seen=_LINKS - 2)
        _, strange = scale.work(seen=0)
        yield {
            "known": size,
            "add": add,
            "take": take,
            "settle": settle,
            "settle_strange": strange,
            "bytes": scale.size() / scale.known,
            "memory": _memory(),
        }


if __name__ == "__main__":
    print(json.dumps(list(_measure(Path(sys.argv[1]), int(sys.argv[2])))))
