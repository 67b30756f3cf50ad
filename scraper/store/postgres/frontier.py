"""The URLs of a run: which are new, which become pending once more, and what is written for them.

A `Change` gathers one transaction's URLs: what it needs to know is read at once, and what it has decided is
written in groups. The order of its locks is the same in all transactions (domains, queues, new URLs, known
URLs, each sorted), so that sites which link to each other cannot make two of them wait for each other.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from scraper.model import NewUrl
from scraper.store import Run
from scraper.store.other_meta import OtherMeta
from scraper.store.postgres import runs
from scraper.store.postgres.database import Connection, columns, storable

# Added to the number of a URL in its queue: a page that the last good run met goes before all others.
KNOWN_FIRST = -(2**48)

PENDING, DONE, FAILED, DENIED, REDIRECTED = range(5)
_REMEMBERED = 200_000

Key = tuple[int, bytes]
"""Queue and fingerprint."""
Rows = Iterable[tuple[Any, ...]]
"""The answer to a statement; it is waited for when it is read."""

_QUEUES = """SELECT d.name, q.id FROM domains d JOIN queues q ON q.domain = d.id
    WHERE q.spider = %s AND d.name = ANY(%s)"""
_DOMAINS = "INSERT INTO domains(name) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING"
# Locked, so that `free` is true when it is written.
_NEW_QUEUES = """INSERT INTO queues(spider, domain, free, due)
    SELECT %s, d.id, d.owner IS NULL, d.due
    FROM (SELECT * FROM domains WHERE name = ANY(%s) ORDER BY id FOR SHARE) d ON CONFLICT DO NOTHING"""
# By the place of the key, which is shorter than the key.
_FIND = """SELECT w.n - 1, u.id, u.run, u.state
    FROM unnest(%s::bigint[], %s::bytea[]) WITH ORDINALITY AS w(queue, fp, n)
    JOIN urls u ON u.queue = w.queue AND u.fp = w.fp"""
_FIND_BY_ID = "SELECT id, queue, fp, run FROM urls WHERE id = ANY(%s) AND run < %s"
KNOWN = """SELECT DISTINCT v.url FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ANY(%s) AND r.accepted AND (%s = 0 OR v.run = %s)"""
_LOCK_QUEUES = "SELECT id FROM queues WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
_INSERT = """INSERT INTO urls(id, queue, fp, url, request, prio, depth, hops, run, seq)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::bigint[],
        %s::int[], %s::int[], %s::bigint[], %s::bigint[])
    ON CONFLICT DO NOTHING RETURNING id"""
_LOCK_URLS = "SELECT id, run, state FROM urls WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
_OPEN = """UPDATE urls SET url = w.url, request = w.request, prio = w.prio, depth = w.depth, hops = w.hops,
    run = w.run, seq = w.seq, state = 0, attempts = 0, crashes = 0, reason = NULL
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::int[], %s::int[],
        %s::bigint[]) AS w(id, seq, url, request, prio, depth, hops, run) WHERE urls.id = w.id"""
_OPEN_AS_IT_WAS = """UPDATE urls SET run = %s, seq = w.seq, state = 0, attempts = 0, crashes = 0, hops = 0,
    reason = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS w(id, seq) WHERE urls.id = w.id"""
_WAKE = """UPDATE queues SET run = %s WHERE id IN (SELECT id FROM queues
    WHERE id = ANY(%s) AND run IS DISTINCT FROM %s ORDER BY id FOR NO KEY UPDATE)"""


@dataclass(slots=True)
class Seen:
    """What this process knows without asking: queues by name, and URLs that the run has met, with their ids.

    Ids never change and a URL's run only grows while the run is open, so an answer from here cannot be
    outdated by another process. It must be cleared when a transaction fails and when another run begins.
    """

    queues: dict[tuple[str, str], int] = field(default_factory=dict)
    urls: dict[Key, int] = field(default_factory=dict)
    ids: set[int] = field(default_factory=set)
    refused: set[bytes] = field(default_factory=set)
    run: int = 0
    named: int = -1  # refused links of the run that the store has; -1: not counted yet

    def turn_to(self, run: int) -> None:
        """Forget everything if it was about another run, or is too much."""
        sizes = (len(self.urls), len(self.ids), len(self.refused), len(self.queues))
        if run != self.run or max(sizes) > _REMEMBERED:
            self.clear()
            self.run = run

    def clear(self) -> None:
        """Forget everything."""
        self.queues.clear()
        self.urls.clear()
        self.ids.clear()
        self.refused.clear()
        self.named = -1


def find_queues(connection: Connection, spider: str, domains: Iterable[str]) -> dict[str, int]:
    """The ids of a spider's queues on domains, made where they are missing: in a transaction of its own."""
    names = sorted(set(domains))
    found: dict[str, int] = dict(connection.execute(_QUEUES, (spider, names)).fetchall())
    if missing := [name for name in names if name not in found]:
        connection.execute(_DOMAINS, (missing,))
        connection.execute(_NEW_QUEUES, (spider, missing))
        found |= dict(connection.execute(_QUEUES, (spider, missing)).fetchall())
    return found


_REQUESTS = "SELECT id, request FROM urls WHERE id = ANY(%s)"


class Change:
    """One transaction's changes to the URLs of a run.

    First `ask` and `load`, then `meet` and `meet_again`, then `insert`, `open` and `wake`.

    `tick` gives the place of a number, `number` turns it into one: only after `insert`, which may draw more.
    """

    def __init__(self, connection: Connection, run: Run, seen: Seen, queues: dict[str, int]) -> None:
        self.connection, self.run = connection, run.number
        self.new = self.finished = self.filtered = self.reopened = 0
        self.other_meta = OtherMeta[Key]()
        self.redirected: set[int] = set()  # what this transaction ends as a redirect
        self._spider, self._seen, self._queues = run.spider, seen, queues
        self._ticks = 0
        self._numbers: list[int] = []
        self._asked: list[Key] = []
        self._finding: Rows = ()
        self._drawing: Rows = ()
        self._found: dict[Key, tuple[int, int, int]] = {}
        self._by_id: dict[int, Key] = {}
        self._known: set[int] = set()
        self._ids: dict[Key, int] = {}
        self._inserts: dict[Key, tuple[int, NewUrl]] = {}
        self._opens: dict[int, tuple[int, NewUrl]] = {}
        self._again: dict[int, int] = {}
        self._met: set[Key] = set()

    def tick(self) -> int:
        """The place of the next number, larger than all drawn before."""
        self._ticks += 1
        return self._ticks - 1

    def number(self, place: int) -> int:
        """The number of a place; only after `insert`."""
        return self._numbers[place]

    def ask(self, urls: Iterable[NewUrl], always: Iterable[NewUrl] = (), more: int = 0) -> None:
        """Ask for what `meet` needs, and for numbers: as many as that and `more` may take. `load` reads it.

        `always`: also what was seen before (for hops).
        """
        seen = self._seen.urls
        keys = {key for url in urls if (key := self.key(url)) not in seen} | {self.key(url) for url in always}
        self._asked = sorted(keys)
        self._finding = self.connection.execute(_FIND, columns(self._asked, 2)) if keys else ()
        self._drawing = self._draw(len(keys) + more)

    def load(self, ids: Iterable[int] = ()) -> None:
        """Read what was asked for; `ids`: what `meet_again` needs."""
        self._found = {self._asked[place]: (found, run, state) for place, found, run, state in self._finding}
        if old := [found for found in ids if found not in self._seen.ids]:
            again = self.connection.execute(_FIND_BY_ID, (old, self.run)).fetchall()
            self._by_id = {found: (queue, fp) for found, queue, fp, _ in again}
        perhaps = [found for found, run, _ in self._found.values() if run < self.run] + list(self._by_id)
        if perhaps:
            good = runs.base(self.connection, self._spider)
            self._known = {url for (url,) in self.connection.execute(KNOWN, (perhaps, good, good))}

    def key(self, url: NewUrl) -> Key:
        """What a URL is found by."""
        return self._queues[url.domain], url.fp

    def meet(self, url: NewUrl, *, is_hop: bool = False) -> Key:
        """Make a URL pending unless this run has it already; its key.

        A redirect hop reopens what ended as a redirect itself.
        """
        key = self.key(url)
        if key in self._met or (not is_hop and key in self._seen.urls):
            return self._repeat(key, url)
        if key not in self._found:
            self._inserts[key] = (self.tick(), url)
            self._opened(key)
            return key
        found, run, state = self._found[key]
        self._ids[key] = found
        is_ended = run == self.run and is_hop and (state == REDIRECTED or found in self.redirected)
        if run < self.run or is_ended:
            self._opens[found] = (self.tick(), url)
            self.reopened += is_ended
            self._opened(key)
        else:
            self._repeat(key, url)
        return key

    def _repeat(self, key: Key, url: NewUrl) -> Key:
        self.filtered += 1
        self.other_meta.note(key, url)
        return key

    def meet_again(self, ids: Iterable[int]) -> None:
        """Make the links of an unchanged page pending, as they were, unless this run has them already."""
        for found in ids:
            key = self._by_id.get(found)
            if key is not None and key not in self._met:
                self._ids[key] = found
                self._again[found] = self.tick()
                self._opened(key)

    def id(self, key: Key) -> int:
        """The id of a URL that was met; only after `insert`."""
        return self._ids[key] if key in self._ids else self._seen.urls[key]

    def insert(self, own: Sequence[int] = ()) -> None:
        """Write the new URLs, and lock the known ones that change: those to be opened, and the rows `own`."""
        self._numbers = [number for (number,) in self._drawing]
        if len(self._numbers) < self._ticks:
            self._numbers += [number for (number,) in self._draw(self._ticks - len(self._numbers))]
        if queues := sorted({queue for queue, _ in self._met}):
            self.connection.execute(_LOCK_QUEUES, (queues,))
        rows = self._new_rows()
        inserted = self.connection.execute(_INSERT, columns(rows, 10)) if rows else ()
        ids = [*own, *self._opens, *self._again]
        locked = self.connection.execute(_LOCK_URLS, (ids,)) if ids else ()
        self._note_inserted(rows, {found for (found,) in inserted})
        self._note_locked(locked)

    def open(self) -> None:
        """Make known URLs pending; after whatever else was to be written of them."""
        opens = [
            (found, self._place(found, place), *_values(url), self.run)
            for found, (place, url) in self._opens.items()
        ]
        if opens:
            self.connection.execute(_OPEN, columns(opens, 8))
        if again := [(found, self._place(found, place)) for found, place in self._again.items()]:
            self.connection.execute(_OPEN_AS_IT_WAS, (self.run, *columns(again, 2)))

    def compare(self) -> None:
        """Hold what repeats a request of the run against it; after `open`."""
        ids = {self.id(key): key for key in self.other_meta.keys}
        if ids:
            rows = self.connection.execute(_REQUESTS, (list(ids),)).fetchall()
            self.other_meta.compare({ids[found]: request for found, request in rows})

    def remember(self) -> None:
        """Know what was met from now on; only after the commit."""
        self._seen.urls.update(self._ids)
        self._seen.ids.update(self._ids.values())

    def wake(self) -> None:
        """Let the queues with something new be found."""
        if queues := sorted({queue for queue, _ in self._met}):
            self.connection.execute(_WAKE, (self.run, queues, self.run))

    def _opened(self, key: Key) -> None:
        self._met.add(key)
        self.new += 1

    def _draw(self, n: int) -> Rows:
        return (
            self.connection.execute("SELECT nextval('tick') FROM generate_series(1, %s)", (n,)) if n else ()
        )

    def _new_rows(self) -> list[tuple[Any, ...]]:
        rows = []
        for key, (place, url) in sorted(self._inserts.items()):
            self._ids[key] = number = self._numbers[place]
            rows.append((number, *key, *_values(url), self.run, number))
        return rows

    def _note_inserted(self, rows: Sequence[tuple[Any, ...]], made: Set[int]) -> None:
        if others := [(row[1], row[2]) for row in rows if row[0] not in made]:
            for place, found, _, _ in self.connection.execute(_FIND, columns(others, 2)):
                # Another worker was first.
                self._ids[others[place]] = found
                self.new, self.filtered = self.new - 1, self.filtered + 1

    def _note_locked(self, locked: Rows) -> None:
        """Leave to others what they have opened before we locked it."""
        for found, run, state in locked:
            was_redirected = state == REDIRECTED or found in self.redirected
            if run == self.run and found in self._opens and not was_redirected:
                del self._opens[found]
                self.new, self.filtered = self.new - 1, self.filtered + 1
            elif run >= self.run and found in self._again:
                del self._again[found]
                self.new -= 1

    def _place(self, found: int, place: int) -> int:
        """The number of a URL in its queue."""
        return self._numbers[place] + (KNOWN_FIRST if found in self._known else 0)


def _values(url: NewUrl) -> tuple[Any, ...]:
    request = url.request and storable(url.request)
    return storable(url.url), request, url.priority, url.depth, url.hops
