"""The URLs of a run: which are new, which become pending once more, and what is written for them.

A `Change` gathers one transaction's URLs and writes them in groups. SQLite has one writer, so the order of
the statements inside a transaction cannot deadlock; they are sorted to touch neighbouring pages of the file.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scraper.errors import LeaseLost
from scraper.model import NewUrl
from scraper.store.sqlite.database import many, storable

PENDING, DONE, FAILED, DENIED, REDIRECTED = range(5)
_REMEMBERED = 200_000

_FIND = "SELECT id, run, state FROM urls WHERE queue = ? AND fp = ?"
_FIND_MANY = """WITH wanted(queue, fp) AS (VALUES {}) SELECT u.queue, u.fp, u.id, u.run, u.state
    FROM wanted w CROSS JOIN urls u ON u.queue = w.queue AND u.fp = w.fp"""
_TOGETHER = 200
_FIND_BY_ID = "SELECT queue, run, state FROM urls WHERE id = ?"
_INSERT = """INSERT INTO urls(id, queue, fp, url, request, prio, depth, hops, run, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_OPEN = """UPDATE urls SET url = ?, request = ?, prio = ?, depth = ?, hops = ?, run = ?, seq = ?,
    state = 0, attempts = 0, reason = NULL WHERE id = ?"""
_OPEN_AS_IT_WAS = (
    "UPDATE urls SET run = ?, seq = ?, state = 0, attempts = 0, hops = 0, reason = NULL WHERE id = ?"
)
_WAKE = "UPDATE queues SET run = ? WHERE id = ? AND run IS NOT ?"

Place = tuple[str, bytes]
"""Domain and fingerprint: what a spider knows a URL by."""


@dataclass(slots=True)
class Seen:
    """What this process knows without asking: queues by name, and URLs that the run has met.

    Ids never change and a URL's run only grows while the run is open, so an answer from here cannot be
    outdated by another process. It must be cleared when a transaction fails and when another run begins.
    """

    queues: dict[tuple[str, str], int] = field(default_factory=dict)
    urls: dict[Place, int] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    run: int = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget everything if the transaction inside fails: what it has written was not."""
        try:
            yield
        except BaseException:
            self.clear()
            raise

    def turn_to(self, run: int) -> None:
        """Forget everything if it was about another run."""
        if run != self.run:
            self.clear()
            self.run = run

    def clear(self) -> None:
        """Forget everything."""
        self.queues.clear()
        self.urls.clear()
        self.ids.clear()
        self.refused.clear()

    def trim(self) -> None:
        """Stay bounded. Starting anew is cheaper than keeping an order of use."""
        if max(len(self.urls), len(self.ids), len(self.refused), len(self.queues)) > _REMEMBERED:
            self.clear()


def queue_of(connection: sqlite3.Connection, spider: str, domain: str) -> int:
    """The id of a spider's queue on a domain; both are created where they are missing."""
    find = "SELECT q.id FROM queues q JOIN domains d ON d.id = q.domain WHERE q.spider = ? AND d.name = ?"
    row = connection.execute(find, (spider, domain)).fetchone()
    if row is None:
        connection.execute("INSERT INTO domains(name) VALUES (?) ON CONFLICT DO NOTHING", (domain,))
        connection.execute(
            """INSERT INTO queues(spider, domain, free, due)
            SELECT ?, id, owner IS NULL, due FROM domains WHERE name = ?""",
            (spider, domain),
        )
        row = connection.execute(find, (spider, domain)).fetchone()
    return int(row[0])


class Change:
    """One transaction's changes to the URLs of a run. Call `write` once, last."""

    def __init__(self, connection: sqlite3.Connection, spider: str, run: int, seen: Seen) -> None:
        row = connection.execute("SELECT state FROM runs WHERE number = ?", (run,)).fetchone()
        if row is None or row[0] == "ended":
            raise LeaseLost(f"run {run} of {spider} was ended by another process")
        seen.turn_to(run)
        self.connection, self.run = connection, run
        self.new = self.finished = 0
        self._spider, self._seen = spider, seen
        self._tick = int(connection.execute("SELECT v FROM meta WHERE k = 'tick'").fetchone()[0])
        self._reopened = 0
        self._fresh: dict[Place, int] = {}
        self._looked_up: dict[Place, tuple[int, int, int] | None] = {}
        self._inserts: list[tuple[object, ...]] = []
        self._opens: list[tuple[object, ...]] = []
        self._woken: set[int] = set()

    def tick(self) -> int:
        """The next number; larger than every number given out before, by any process."""
        self._tick += 1
        return self._tick

    def meet(self, url: NewUrl, *, is_hop: bool = False) -> int:
        """Make a URL pending unless this run has it already; its id.

        `again` reopens what the run has finished; a redirect hop reopens what ended as a redirect itself.
        """
        place = (url.domain, url.fp)
        if not (url.again or is_hop) and (known := self._seen.urls.get(place)) is not None:
            return known
        if (known := self._fresh.get(place)) is not None:
            return known
        queue = self._queue(url.domain)
        if place in self._looked_up:
            row = self._looked_up[place]
        else:
            row = self.connection.execute(_FIND, (queue, url.fp)).fetchone()
        if row is None:
            found = self._insert(queue, url)
        else:
            found, met, state = row
            is_ended = (
                met == self.run and (url.again or (is_hop and state == REDIRECTED)) and state != PENDING
            )
            if met < self.run or is_ended:
                self._open(queue, found, url)
                self._reopened += is_ended
        self._seen.urls[place] = found
        self._seen.ids.add(found)
        return found

    def look_up(self, urls: Iterable[NewUrl]) -> None:
        """Read what `meet` needs of many URLs at once; nothing else may change their rows in between."""
        places = {(url.domain, url.fp) for url in urls if not url.again} - self._seen.urls.keys()
        domains = {self._queue(domain): domain for domain, _ in places}
        rows = [(self._queue(domain), fp) for domain, fp in places]
        self._looked_up.update(dict.fromkeys(places))
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            sql = _FIND_MANY.format(", ".join(["(?, ?)"] * len(some)))
            for queue, fp, *row in self.connection.execute(sql, [value for place in some for value in place]):
                self._looked_up[domains[queue], fp] = (row[0], row[1], row[2])

    def meet_again(self, ids: Iterable[int]) -> None:
        """Make the links of an unchanged page pending, as they were, unless this run has them already."""
        seen = self._seen.ids
        for found in ids:
            if found in seen:
                continue
            seen.add(found)
            row = self.connection.execute(_FIND_BY_ID, (found,)).fetchone()
            if row is None or row[1] >= self.run:
                continue
            # At once: the same link may come under its fingerprint later in this transaction.
            self.connection.execute(_OPEN_AS_IT_WAS, (self.run, self.tick(), found))
            self._woken.add(row[0])
            self.new += 1

    def write(self) -> None:
        """Write what was gathered, wake the queues, and keep the run's counts."""
        many(self.connection, _INSERT, sorted(self._inserts, key=lambda row: (row[1], row[2])))
        many(self.connection, _OPEN, self._opens)
        many(self.connection, _WAKE, [(self.run, queue, self.run) for queue in self._woken])
        self.connection.execute("UPDATE meta SET v = ? WHERE k = 'tick'", (self._tick,))
        self.connection.execute(
            "UPDATE runs SET pending = pending + ?, done = done + ? WHERE number = ?",
            (self.new - self.finished, self.finished - self._reopened, self.run),
        )
        self._seen.trim()

    def _queue(self, domain: str) -> int:
        place = (self._spider, domain)
        queue = self._seen.queues.get(place)
        if queue is None:
            queue = self._seen.queues[place] = queue_of(self.connection, self._spider, domain)
        return queue

    def _insert(self, queue: int, url: NewUrl) -> int:
        found = self.tick()
        values = (
            storable(url.url),
            url.request and storable(url.request),
            url.priority,
            url.depth,
            url.hops,
            self.run,
        )
        self._inserts.append((found, queue, url.fp, *values, found))
        self._opened(queue, url, found)
        return found

    def _open(self, queue: int, found: int, url: NewUrl) -> None:
        values = (
            storable(url.url),
            url.request and storable(url.request),
            url.priority,
            url.depth,
            url.hops,
            self.run,
        )
        self._opens.append((*values, self.tick(), found))
        self._opened(queue, url, found)

    def _opened(self, queue: int, url: NewUrl, found: int) -> None:
        self._fresh[url.domain, url.fp] = found
        self._woken.add(queue)
        self.new += 1
