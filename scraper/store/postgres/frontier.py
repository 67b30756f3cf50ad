"""The URLs of a run: which are new, which become pending once more, and what is written for them.

A `Change` gathers one transaction's URLs: what it needs to know is read at once, and what it has decided is
written in groups. The order of its locks is the same in all transactions (domains, queues, new URLs, known
URLs, each sorted), so that sites which link to each other cannot make two of them wait for each other.
"""

from collections.abc import Iterable, Sequence, Set
from typing import Any

from scraper.model import NewUrl
from scraper.store import Run
from scraper.store.other_meta import OtherMeta
from scraper.store.postgres import runs
from scraper.store.postgres.database import Connection, Cursor, columns, storable
from scraper.store.seen import Seen

# Added to the number of a URL in its queue: a page that the last good run met goes before all others.
KNOWN_FIRST = -(2**48)

PENDING, DONE, FAILED, DENIED, REDIRECTED = range(5)
_DRAWN = 100  # numbers at once, where more are needed than were asked for

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
# By the place of the key, which is shorter than the key. The index has all of it.
_FIND = """SELECT w.n - 1 AS place, u.id, u.run
    FROM unnest(%s::bigint[], %s::bytea[]) WITH ORDINALITY AS w(queue, fp, n)
    JOIN urls u ON u.queue = w.queue AND u.fp = w.fp"""
# What the run has met needs no number: of a worker that has just joined that is most of what it looks up.
_FIND_AND_DRAW = f"""WITH found AS MATERIALIZED ({_FIND})
    SELECT array_agg(place), array_agg(id), array_agg(run), (SELECT array_agg(nextval('tick'))
        FROM generate_series(1, %s - (SELECT count(*) FROM found WHERE run = %s))) FROM found"""
_NUMBERS = "SELECT array_agg(nextval('tick')) FROM generate_series(1, %s)"
_FIND_BY_ID = "SELECT id, queue, fp, run FROM urls WHERE id = ANY(%s) AND run < %s"
KNOWN = """SELECT DISTINCT v.url FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ANY(%s) AND r.accepted AND (%s = 0 OR v.run = %s)"""
_LOCK_QUEUES = "SELECT id FROM queues WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
_INSERT = """INSERT INTO urls(id, queue, fp, url, request, prio, depth, hops, run, seq)
    SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::text[], %s::text[], %s::bigint[],
        %s::int[], %s::int[], %s::bigint[], %s::bigint[])
    ON CONFLICT (queue, fp) DO NOTHING RETURNING id"""
_STATES = "SELECT id, state FROM urls WHERE id = ANY(%s)"
_LOCK_URLS = "SELECT id, run, state FROM urls WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
_OPEN = """UPDATE urls SET url = w.url, request = w.request, prio = w.prio, depth = w.depth, hops = w.hops,
    run = w.run, seq = w.seq, state = 0, attempts = 0, crashes = 0, reason = NULL
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::int[], %s::int[],
        %s::bigint[]) AS w(id, seq, url, request, prio, depth, hops, run) WHERE urls.id = w.id"""
_OPEN_AS_IT_WAS = """UPDATE urls SET run = %s, seq = w.seq, state = 0, attempts = 0, crashes = 0, hops = 0,
    reason = NULL FROM unnest(%s::bigint[], %s::bigint[]) AS w(id, seq) WHERE urls.id = w.id"""
_WAKE = """UPDATE queues SET run = %s WHERE id IN (SELECT id FROM queues
    WHERE id = ANY(%s) AND run IS DISTINCT FROM %s ORDER BY id FOR NO KEY UPDATE)"""


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

    A new URL has its id when it is met; only `insert` shows whether another worker was first, see `ids_of`.
    """

    def __init__(self, connection: Connection, run: Run, seen: Seen, queues: dict[str, int]) -> None:
        self.connection, self.run = connection, run.number
        self.new = self.finished = self.filtered = self.reopened = 0
        self.other_meta = OtherMeta[int]()
        self.redirected: set[int] = set()  # what this transaction ends as a redirect
        self._spider, self._seen, self._queues = run.spider, seen, queues
        self._numbers: list[int] = []  # the smallest last
        self._asked: list[Key] = []
        self._finding: Cursor | None = None
        self._hops: set[Key] = set()
        self._were_redirected: set[int] = set()
        self._found: dict[Key, tuple[int, int]] = {}
        self._by_id: dict[int, Key] = {}
        self._known: set[int] = set()
        self._inserts: dict[Key, tuple[int, NewUrl]] = {}
        # Id and place in the queue, and what is asked for there.
        self._opens: dict[int, tuple[int, NewUrl]] = {}
        self._again: dict[int, int] = {}
        self._pending: dict[Key, int] = {}  # what this transaction makes pending
        self._ended: dict[Key, int] = {}  # what the run had met before
        self._of_others: dict[int, int] = {}

    @property
    def opens(self) -> bool:
        """Whether URLs that were known become pending once more."""
        return bool(self._opens or self._again)

    def tick(self) -> int:
        """The next number, larger than all drawn before."""
        if not self._numbers:
            self._note_drawn(self._draw(_DRAWN))
        return self._numbers.pop()

    def ask(
        self,
        urls: Iterable[NewUrl],
        always: Iterable[NewUrl] = (),
        more: int = 0,
        barred: Iterable[NewUrl] = (),
    ) -> None:
        """Ask for what `meet` needs, and for numbers: as many as that and `more` may take. `load` reads it.

        `always`: also what was seen before (for hops). `barred`: what only `known` is asked about.
        """
        self._hops = {(self._queues[url.domain], url.fp) for url in always}
        keys = self._unseen(urls) | self._hops | self._unseen(barred)
        self._asked = sorted(keys)
        values = (*columns(self._asked, 2), len(keys) + more, self.run)
        self._finding = self.connection.execute(_FIND_AND_DRAW, values) if keys or more else None

    def load(self, ids: Iterable[int] = ()) -> None:
        """Read what was asked for; `ids`: what `meet_again` needs."""
        # Arrays: there may be thousands, and each as a row of its own takes longer to read than to look up.
        for *found, numbers in self._finding or ():
            rows = zip(*(column or () for column in found), strict=True)
            self._found = {self._asked[place]: (url, run) for place, url, run in rows}
            self._numbers = (numbers or [])[::-1]
        self._learn()
        if hops := [self._found[key][0] for key in self._hops if key in self._found]:
            states = self.connection.execute(_STATES, (hops,))
            self._were_redirected = {url for url, state in states if state == REDIRECTED}
        if old := [found for found in ids if found not in self._seen.ids]:
            again = self.connection.execute(_FIND_BY_ID, (old, self.run)).fetchall()
            self._by_id = {found: (queue, fp) for found, queue, fp, _ in again}
        drawing = self._draw(len(self._by_id))
        perhaps = [found for found, run in self._found.values() if run < self.run] + list(self._by_id)
        if perhaps:
            good = runs.base(self.connection, self._spider)
            self._known = {url for (url,) in self.connection.execute(KNOWN, (perhaps, good, good))}
        self._note_drawn(drawing)

    def _learn(self) -> None:
        """Remember at once what the run has met: that was committed, whatever becomes of this transaction."""
        met = {fp: found for (_, fp), (found, run) in self._found.items() if run == self.run}
        # What is remembered tells no queue: of a fingerprint in two of them each is met by itself.
        if met and len({fp for _, fp in self._asked}) == len(self._asked):
            self._seen.learn(met)

    def meet_all(self, urls: Iterable[NewUrl]) -> list[int]:
        """`meet` for the links of a page, of which the run has met most: their ids."""
        ids: list[int] = []
        lately, at_hand = self._seen.lately, self._seen.urls
        for url in urls:
            found = lately.get(url.fp) or at_hand.get(url.fp)
            ids.append(
                self._repeat(found, url)
                if found
                else self._meet_first((self._queues[url.domain], url.fp), url)
            )
        return ids

    def known(self, urls: Iterable[NewUrl]) -> list[int]:
        """The ids of those `barred` URLs that any run has met; none becomes pending."""
        lately, at_hand = self._seen.lately, self._seen.urls
        found = []
        for url in urls:
            known, _ = self._found.get((self._queues[url.domain], url.fp), (0, 0))
            if known := lately.get(url.fp) or at_hand.get(url.fp) or known:
                found.append(known)
        return found

    def meet(self, url: NewUrl, *, is_hop: bool = False) -> int:
        """Make a URL pending unless this run has it already; its id.

        A redirect hop reopens what ended as a redirect itself.
        """
        if is_hop:
            return self._meet_first((self._queues[url.domain], url.fp), url, is_hop=True)
        return self.meet_all([url])[0]

    def meet_again(self, ids: Iterable[int]) -> None:
        """Make the links of an unchanged page pending, as they were, unless this run has them already."""
        for found in ids:
            key = self._by_id.get(found)
            if key is not None and key not in self._pending:
                self._again[found] = self._place(found)
                self._opened(key, found)

    def insert(self, own: Sequence[int] = ()) -> None:
        """Write the new URLs, and lock the known ones that change: those to be opened, and the rows `own`.

        `own` need no lock of its own where one statement changes them, in the order of their ids.
        """
        if queues := sorted({queue for queue, _ in self._pending}):
            self.connection.execute(_LOCK_QUEUES, (queues,))
        rows = [
            (number, *key, *_values(url), self.run, number)
            for key, (number, url) in sorted(self._inserts.items())
        ]
        inserted = self.connection.execute(_INSERT, columns(rows, 10)) if rows else ()
        ids = [*own, *self._opens, *self._again]
        locked = self.connection.execute(_LOCK_URLS, (ids,)) if ids else ()
        self._note_inserted(rows, {found for (found,) in inserted})
        self._note_locked(locked)

    def ids_of(self, met: Iterable[int]) -> Iterable[int]:
        """The ids of URLs that were met, each once; only after `insert`."""
        once = dict.fromkeys(met)
        return dict.fromkeys(self._of_others.get(found, found) for found in once) if self._of_others else once

    def open(self) -> None:
        """Make known URLs pending; after whatever else was to be written of them."""
        opens = [(found, seq, *_values(url), self.run) for found, (seq, url) in self._opens.items()]
        if opens:
            self.connection.execute(_OPEN, columns(opens, 8))
        if self._again:
            self.connection.execute(_OPEN_AS_IT_WAS, (self.run, *columns(list(self._again.items()), 2)))

    def compare(self) -> None:
        """Hold what repeats a request of the run against it; after `open`."""
        if met := self.other_meta.keys:
            rows = self.connection.execute(_REQUESTS, (list(self.ids_of(met)),))
            requests: dict[int, str | None] = dict(rows)
            self.other_meta.compare(
                {one: requests[found] for one in met if (found := self._of_others.get(one, one)) in requests}
            )

    def remember(self) -> None:
        """Know what was met from now on; only after the commit."""
        for (_, fp), found in (*self._ended.items(), *self._pending.items()):
            self._seen.urls[fp] = found = self._of_others.get(found, found)
            self._seen.ids.add(found)
        self._seen.trim()

    def wake(self) -> None:
        """Let the queues with something new be found."""
        if queues := sorted({queue for queue, _ in self._pending}):
            self.connection.execute(_WAKE, (self.run, queues, self.run))

    def _unseen(self, urls: Iterable[NewUrl]) -> set[Key]:
        """What of these the database has to be asked for."""
        keys: set[Key] = set()
        lately, at_hand = self._seen.lately, self._seen.urls
        for url in urls:
            if url.fp not in lately and url.fp not in at_hand:
                keys.add((self._queues[url.domain], url.fp))
        unmet = set(self._seen.met.find({fp for _, fp in keys}, lately))
        return {key for key in keys if key[1] in unmet}

    def _meet_first(self, key: Key, url: NewUrl, *, is_hop: bool = False) -> int:
        """Meet a URL of which this process did not know whether the run has met it."""
        if (pending := self._pending.get(key)) is not None:
            return self._repeat(pending, url)
        if key not in self._found:
            number = self.tick()
            self._inserts[key] = (number, url)
            return self._opened(key, number)
        found, run = self._found[key]
        is_ended = run == self.run and is_hop and (found in self._were_redirected or found in self.redirected)
        if run < self.run or is_ended:
            self._opens[found] = (self._place(found), url)
            self.reopened += is_ended
            return self._opened(key, found)
        self._ended[key] = found
        return self._repeat(found, url)

    def _repeat(self, found: int, url: NewUrl) -> int:
        self.filtered += 1
        if url.request is not None:
            self.other_meta.note(found, url)
        return found

    def _opened(self, key: Key, found: int) -> int:
        self._pending[key] = found
        self.new += 1
        return found

    def _draw(self, n: int) -> Rows:
        return self.connection.execute(_NUMBERS, (n,)) if n else ()

    def _note_drawn(self, drawn: Rows) -> None:
        for (numbers,) in drawn:
            self._numbers = numbers[::-1] + self._numbers

    def _note_inserted(self, rows: Sequence[tuple[Any, ...]], made: Set[int]) -> None:
        if others := [row[:3] for row in rows if row[0] not in made]:
            keys = [row[1:] for row in others]
            for place, found, _ in self.connection.execute(_FIND, columns(keys, 2)):
                # Another worker was first.
                self._of_others[others[place][0]] = found
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

    def _place(self, found: int) -> int:
        """The number of a known URL in its queue."""
        return self.tick() + (KNOWN_FIRST if found in self._known else 0)


def _values(url: NewUrl) -> tuple[Any, ...]:
    request = url.request and storable(url.request)
    return storable(url.url), request, url.priority, url.depth, url.hops
