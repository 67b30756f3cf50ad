"""The URLs of a run: which are new, which become pending once more, and what is written for them.

A `Change` gathers one transaction's URLs and writes them in groups. SQLite has one writer, so the order of
the statements inside a transaction cannot deadlock; they are sorted to touch neighbouring pages of the file.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import field

from scraper.errors import LeaseLost
from scraper.model import NewUrl
from scraper.model.frozen import slotted
from scraper.store.other_meta import OtherMeta
from scraper.store.seen import Seen
from scraper.store.sqlite import fingerprint_index, runs
from scraper.store.sqlite.bloom import BloomFilter
from scraper.store.sqlite.database import many, storable
from scraper.store.sqlite.fingerprint_index import STEM, Key

# Added to the number of a URL in its queue: a page that the last good run met goes before all others.
KNOWN_FIRST = -(2**48)

PENDING, DONE, FAILED, DENIED, REDIRECTED = range(5)

_STATE = "SELECT state FROM urls WHERE id = ?"
IS_KNOWN = """SELECT 1 FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ?1 AND r.accepted AND v.run = coalesce(nullif(?2, 0), v.run) LIMIT 1"""
_FIND_BY_ID = "SELECT queue, fp, run FROM urls WHERE id = ?"
_REQUEST = "SELECT request FROM urls WHERE id = ?"
_INSERT = """INSERT OR ROLLBACK INTO urls(id, queue, fp, url, request, prio, depth, hops, run, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_OPEN = """UPDATE urls SET url = ?, request = ?, prio = ?, depth = ?, hops = ?, run = ?, seq = ?,
    state = 0, attempts = 0, crashes = 0, reason = NULL WHERE id = ?"""
_OPEN_AS_IT_WAS = """UPDATE urls SET run = ?, seq = ?, state = 0, attempts = 0, crashes = 0, hops = 0,
    reason = NULL WHERE id = ?"""
_WAKE = (
    "UPDATE queues SET run = column1 FROM (VALUES (?, ?)) AS given WHERE id = column2 AND run IS NOT column1"
)


@slotted
class FilteredSeen(Seen):
    """See `Seen`; and the Bloom filter, which belongs to no run."""

    bloom: BloomFilter = field(default_factory=BloomFilter)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Forget everything if the transaction inside fails: what it has written was not."""
        try:
            yield
        except BaseException:
            self.clear()
            self.bloom.clear()
            raise


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


class _Queues(dict[str, int]):
    """The queues of a spider that a transaction touches, by domain."""

    def __init__(self, connection: sqlite3.Connection, spider: str, seen: FilteredSeen) -> None:
        super().__init__()
        self._connection, self._spider, self._seen = connection, spider, seen

    def __missing__(self, domain: str) -> int:
        place = (self._spider, domain)
        queue = self._seen.queues.get(place)
        if queue is None:
            queue = self._seen.queues[place] = queue_of(self._connection, *place)
        self[domain] = queue
        return queue


class Change:
    """One transaction's changes to the URLs of a run. Call `write` once, last."""

    def __init__(self, connection: sqlite3.Connection, spider: str, run: int, seen: FilteredSeen) -> None:
        row = connection.execute("SELECT state FROM runs WHERE number = ?", (run,)).fetchone()
        if row is None or row[0] == "ended":
            raise LeaseLost(f"run {run} of {spider} was ended by another process")
        seen.turn_to(run)
        self.connection, self.run = connection, run
        self.new = self.finished = self.filtered = 0
        self.other_meta = OtherMeta[int]()
        self._spider, self._seen = spider, seen
        self._good: int | None = None
        self._tick = int(connection.execute("SELECT v FROM meta WHERE k = 'tick'").fetchone()[0])
        seen.bloom.catch_up(connection, self._tick)
        self._reopened = 0
        self._queues = _Queues(connection, spider, seen)
        self._fresh: dict[Key, int] = {}
        self._looked_up: dict[Key, tuple[int, int] | None] = {}
        self._inserts: list[tuple[object, ...]] = []
        self._opens: list[tuple[object, ...]] = []
        self._met: list[tuple[int, bytes, int, int]] = []
        self._woken: set[int] = set()

    def tick(self) -> int:
        """The next number; larger than every number given out before, by any process."""
        self._tick += 1
        return self._tick

    def meet_all(self, urls: Iterable[NewUrl]) -> list[int]:
        """`meet` for the links of a page, after `look_up`: their ids."""
        ids: list[int] = []
        lately, queues = self._seen.lately, self._queues
        for url in urls:
            found = lately.get(url.fp)
            if found and url.request is None:
                self.filtered += 1
                ids.append(found)
            elif found:
                ids.append(self._repeat(found, url))
            else:
                ids.append(self._meet_first(queues[url.domain], url))
        return ids

    def meet(self, url: NewUrl, *, is_hop: bool = False) -> int:
        """Make a URL pending unless this run has it already; its id.

        A redirect hop reopens what ended as a redirect itself.
        """
        queue = self._queues[url.domain]
        found = self._seen.lately.get(url.fp) or self._seen.urls.get(url.fp)
        if found and not is_hop and self._is_in(queue, found, url.fp):
            return self._repeat(found, url)
        return self._meet_first(queue, url, is_hop=is_hop)

    def _is_in(self, queue: int, found: int, fp: bytes) -> bool:
        """Whether a URL is one of a queue: what is at hand is known by its fingerprint alone."""
        if self._fresh.get((queue, fp[:STEM])) == found:
            return True
        row = self.connection.execute(_FIND_BY_ID, (found,)).fetchone()
        return row is not None and row[0] == queue

    def _meet_first(self, queue: int, url: NewUrl, *, is_hop: bool = False) -> int:
        """Meet a URL of which this process does not know whether the run has met it."""
        key = (queue, url.fp[:STEM])
        if (found := self._fresh.get(key)) is not None:
            return self._repeat(found, url)
        if key not in self._looked_up:
            self._looked_up[key] = fingerprint_index.find(self.connection, self._seen.bloom.sift([key])).get(
                key
            )
        row = self._looked_up[key]
        found = (
            self._insert(key, url) if row is None else self._open_unless_met(key, *row, url, is_hop=is_hop)
        )
        self._seen.urls[url.fp] = found
        self._seen.ids.add(found)
        return found

    def look_up(self, urls: Iterable[NewUrl]) -> None:
        """Find out at once what `meet_all` needs of many URLs."""
        wanted: dict[bytes, str] = {}
        lately, at_hand = self._seen.lately, self._seen.urls
        for url in urls:
            if url.fp in lately:
                continue
            if found := at_hand.get(url.fp):
                lately[url.fp] = found
            else:
                wanted[url.fp] = url.domain
        queues = self._queues
        keys = {(queues[wanted[fp]], fp[:STEM]) for fp in self._seen.met.find(wanted, lately)}
        if keys:
            self._looked_up.update(dict.fromkeys(keys))
            self._looked_up.update(fingerprint_index.find(self.connection, self._seen.bloom.sift(keys)))

    def known(self, urls: Iterable[NewUrl]) -> list[int]:
        """The ids of those URLs that any run has met; none becomes pending."""
        keys = {(self._queues[url.domain], url.fp[:STEM]) for url in urls}
        found = fingerprint_index.find(self.connection, self._seen.bloom.sift(keys))
        return [number for number, _ in found.values()]

    def meet_again(self, ids: Iterable[int]) -> None:
        """Make the links of an unchanged page pending, as they were, unless this run has them already."""
        seen = self._seen.ids
        for found in ids:
            if found in seen:
                continue
            seen.add(found)
            row = self.connection.execute(_FIND_BY_ID, (found,)).fetchone()
            if row is None or row[2] >= self.run:
                continue
            self.connection.execute(_OPEN_AS_IT_WAS, (self.run, self._place(found), found))
            self._opened((row[0], row[1][:STEM]), found)

    def write(self) -> None:
        """Write what was gathered, wake the queues, and keep the run's counts."""
        many(self.connection, _INSERT, self._inserts)
        many(self.connection, _OPEN, self._opens)
        self.other_meta.compare(
            {
                found: self.connection.execute(_REQUEST, (found,)).fetchone()[0]
                for found in self.other_meta.keys
            }
        )
        fingerprint_index.note(self.connection, self._met)
        self._seen.bloom.advance(self._tick)
        many(self.connection, _WAKE, [(self.run, queue) for queue in self._woken])
        self.connection.execute("UPDATE meta SET v = ? WHERE k = 'tick'", (self._tick,))
        self.connection.execute(
            "UPDATE runs SET pending = pending + ?, done = done + ? WHERE number = ?",
            (self.new - self.finished, self.finished - self._reopened, self.run),
        )
        self._seen.trim()

    def _open_unless_met(self, key: Key, found: int, met: int, url: NewUrl, *, is_hop: bool) -> int:
        is_ended = met == self.run and is_hop and self._is_redirected(found)
        if met < self.run or is_ended:
            self._open(key, found, url)
            self._reopened += is_ended
        else:
            self._repeat(found, url)
        return found

    def _repeat(self, found: int, url: NewUrl) -> int:
        self.filtered += 1
        if url.request is not None:
            self.other_meta.note(found, url)
        return found

    def _is_redirected(self, found: int) -> bool:
        (state,) = self.connection.execute(_STATE, (found,)).fetchone()
        return bool(state == REDIRECTED)

    def _insert(self, key: Key, url: NewUrl) -> int:
        self._tick = found = self._tick + 1
        self._inserts.append((found, key[0], url.fp, *self._values(url), found))
        self._opened(key, found)
        return found

    def _open(self, key: Key, found: int, url: NewUrl) -> None:
        self._opens.append((*self._values(url), self._place(found), found))
        self._opened(key, found)

    def _place(self, found: int) -> int:
        """The number of a URL in its queue."""
        if self._good is None:
            self._good = runs.base(self.connection, self._spider)
        is_known = self.connection.execute(IS_KNOWN, (found, self._good)).fetchone() is not None
        return self.tick() + (KNOWN_FIRST if is_known else 0)

    def _values(self, url: NewUrl) -> tuple[object, ...]:
        request = url.request and storable(url.request)
        return storable(url.url), request, url.priority, url.depth, url.hops, self.run

    def _opened(self, key: Key, found: int) -> None:
        self._fresh[key] = found
        self._met.append((*key, found, self.run))
        self._woken.add(key[0])
        self.new += 1
