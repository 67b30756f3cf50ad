"""What one settlement writes: visits, versions of pages, records, refusals and the URLs' own rows."""

import json
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import Any, assert_never

from scraper.model import (
    Deferred,
    Denied,
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
from scraper.store import MOST_REFUSED, Run
from scraper.store.postgres.database import Connection, columns, integers, storable
from scraper.store.postgres.frontier import (
    DENIED,
    DONE,
    FAILED,
    KNOWN_FIRST,
    PENDING,
    REDIRECTED,
    Change,
    Rows,
)
from scraper.store.seen import Seen
from scraper.store.visits import barred_links, barred_of, is_itself, links_of, validators

_AT_ONCE = 500  # records
_OWN = "SELECT id, seq, state, run FROM urls WHERE id = ANY(%s)"
_LINKS = "SELECT url, version, links FROM pages WHERE url = ANY(%s)"
# What stands for a page that could not be read: its last visit in this run or in an accepted one.
_STANDING = """SELECT DISTINCT ON (v.url) v.url, v.version FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ANY(%s) AND (r.accepted OR r.number = %s) ORDER BY v.url, v.id DESC"""
_FINISH = """UPDATE urls SET state = w.state, reason = w.reason
    FROM unnest(%s::bigint[], %s::int[], %s::text[]) AS w(id, state, reason) WHERE urls.id = w.id"""
_HOP = """UPDATE urls SET url = w.url, request = w.request, prio = w.prio
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[]) AS w(id, url, request, prio)
    WHERE urls.id = w.id"""
_KEEP = """UPDATE urls SET attempts = w.attempts, hops = w.hops, reason = w.reason, seq = w.seq
    FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::text[], %s::bigint[])
        AS w(id, attempts, hops, reason, seq) WHERE urls.id = w.id"""
_DEFER = """UPDATE urls SET reason = w.reason
    FROM unnest(%s::bigint[], %s::text[]) AS w(id, reason) WHERE urls.id = w.id"""
_PAGE = """INSERT INTO pages SELECT w.url, w.version, w.run, w.checked, w.inputs, w.etag, w.last_modified,
        w.fresh_until, w.body_hash, w.fetched_at, w.links::bigint[], w.facts, w.files
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
        %s::float8[], %s::bytea[], %s::float8[], %s::text[], %s::text[], %s::text[]) AS w(url, version, run,
        checked, inputs, etag, last_modified, fresh_until, body_hash, fetched_at, links, facts, files)
    ON CONFLICT (url) DO UPDATE SET version = excluded.version, run = excluded.run,
    checked = excluded.checked, inputs = excluded.inputs, etag = excluded.etag,
    last_modified = excluded.last_modified, fresh_until = excluded.fresh_until,
    body_hash = excluded.body_hash, fetched_at = excluded.fetched_at, links = excluded.links,
    facts = excluded.facts, files = excluded.files"""
_RENEW = """UPDATE pages SET checked = %s, etag = w.etag, last_modified = w.last_modified,
    fresh_until = w.fresh_until, body_hash = w.body_hash, fetched_at = w.fetched_at
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::float8[], %s::bytea[], %s::float8[])
        AS w(url, etag, last_modified, fresh_until, body_hash, fetched_at) WHERE pages.url = w.url"""
_FORGET = "DELETE FROM pages WHERE url = ANY(%s)"
_RECORDS = """INSERT INTO records(version, n, key, line)
    SELECT * FROM unnest(%s::bigint[], %s::int[], %s::text[], %s::text[])"""
_COUNT_REFUSED = "SELECT count(*) FROM refused WHERE run = %s"
_REFUSE = """INSERT INTO refused SELECT * FROM unnest(%s::bigint[], %s::bytea[], %s::text[], %s::text[])
    ON CONFLICT DO NOTHING RETURNING digest"""
# Of a run that has ended this fails, since a state is never null: so no answer has to be waited for while the
# row of the run is locked.
_COUNT = """UPDATE runs SET pending = pending + %s, done = done + %s, state = nullif(state, 'ended')
    WHERE number = %s"""
_VISITS = """INSERT INTO visits(id, run, url, version, is_read)
    SELECT nextval('tick'), %s, w.url, w.version, w.is_read
    FROM unnest(%s::bigint[], %s::bigint[], %s::bool[]) WITH ORDINALITY AS w(url, version, is_read, n)
    ORDER BY w.n"""


class Settlement:
    """The visits of one transaction. The caller has checked the fence and writes the domains."""

    def __init__(self, change: Change, seen: Seen, taken: Mapping[str, Mapping[int, int]]) -> None:
        self.refused: list[Refusal] = []
        self._change, self._seen, self._taken = change, seen, taken
        self._connection: Connection = change.connection
        self._finished: list[tuple[int, int, str | None]] = []
        self._kept: list[tuple[Any, ...]] = []
        self._hops: list[tuple[Any, ...]] = []
        self._deferred: list[tuple[Any, ...]] = []
        self._renewed: list[tuple[Any, ...]] = []
        self._forgotten: list[int] = []
        # A visit's url, its version, is_read.
        self._visits: list[tuple[int, int | None, bool]] = []
        self._records: list[tuple[int, Collection[RecordLine]]] = []
        self._pages: list[tuple[Visit, Fetched, int, list[int]]] = []
        self._visited: dict[int, Visit] = {}
        self._own: Rows = ()
        self._linked: Rows = ()
        self._stood: Rows = ()
        self._old: dict[int, tuple[int, list[int]]] = {}
        self._standing: dict[int, int | None] = {}
        self._barred: dict[int, list[int]] = {}
        self._versions: dict[int, int] = {}
        self._digests: dict[bytes, Refusal] = {}

    def ask(self, visits: Sequence[Visit]) -> None:
        """Ask for what stood before, and for what the visits lead to; `settle` reads it."""
        execute, run = self._connection.execute, self._change.run
        self._visited = {visit.entry.id: visit for visit in visits}
        last = self._visited.values()
        if ids := list(self._visited):
            self._own = execute(_OWN, (ids,))
        if with_old := [visit.entry.id for visit in last if isinstance(visit.outcome, Unchanged | Denied)]:
            self._linked = execute(_LINKS, (with_old,))
        if unread := [visit.entry.id for visit in last if isinstance(visit.outcome, Failed | Denied)]:
            self._stood = execute(_STANDING, (unread, run))
        links = [link for visit in last for link in links_of(visit)]
        hops = [visit.outcome.to for visit in last if isinstance(visit.outcome, Redirected)]
        barred = [link for visit in last for link in barred_links(visit)]
        self._change.ask(links, hops, len(ids), barred)

    def settle(self, domains: Container[str]) -> None:
        """Settle those visits of some domains whose URLs are still as they were when they were taken.

        Own rows count before the links, so that a link to a page of the same settlement meets that page as
        this settlement leaves it; the links are written first, in the order that excludes deadlocks.
        """
        current = self._in_hand(domains)
        self._old = {url: (version, links) for url, version, links in self._linked}
        self._standing = dict(self._stood)
        self._change.load([found for visit in current if _keeps(visit) for found in self._links_of(visit)])
        for visit in current:
            self._end(visit)
        for visit in current:
            self._follow(visit)
        self._change.insert(() if self._is_changed_once() else [visit.entry.id for visit in current])
        self._write_own()
        self._change.open()
        self._change.compare()
        self._write_pages()

    def count(self) -> None:
        """Write the visits and the run's counts: last, under the lock of the run that the commit frees."""
        count_run(self._connection, self._change)
        if self._visits:
            self._connection.execute(_VISITS, (self._change.run, *columns(self._visits, 3)))

    def _in_hand(self, domains: Container[str]) -> list[Visit]:
        """Those visits of some domains whose URLs are where they were when they were taken."""
        pending = set()
        for found, *row in self._own:
            domain = self._visited[found].entry.domain
            if domain in domains and row == [
                self._taken.get(domain, {}).get(found),
                PENDING,
                self._change.run,
            ]:
                pending.add(found)
        return [visit for found, visit in self._visited.items() if found in pending]

    def _end(self, visit: Visit) -> None:
        """Note what becomes of the URL's own row."""
        url = visit.entry.id
        match visit.outcome:
            case Fetched(_, records):
                self._finish(visit, DONE)
                self._bar(visit, self._change.known(barred_links(visit)))
                self._keep_records(visit, records)
            case Unchanged():
                self._renew(visit, visit.outcome.known)
            case Redirected(to):
                self._redirect(visit, to)
            case Retry(reason, counts):
                self._keep(visit, attempts=visit.entry.attempts + counts, reason=reason)
            case Deferred(reason):
                self._deferred.append((url, storable(reason)))
            case Denied() | Failed():
                self._give_up(visit, visit.outcome)
            case other:
                assert_never(other)

    def _follow(self, visit: Visit) -> None:
        """Add what the visit leads to."""
        outcome, change = visit.outcome, self._change
        if isinstance(outcome, Fetched):
            links = change.meet_all(outcome.links) + self._barred.get(visit.entry.id, [])
            for refusal in outcome.refused:
                self._refuse(refusal)
            change.filtered += outcome.filtered
            self._pages.append((visit, outcome, self._versions[visit.entry.id], links))
        elif isinstance(outcome, Failed):
            change.meet_all(outcome.links)
            for refusal in outcome.refused:
                self._refuse(refusal)
        elif _keeps(visit):
            change.meet_again(self._links_of(visit))
        elif isinstance(outcome, Redirected) and not is_itself(visit, outcome.to):
            change.meet(outcome.to, is_hop=True)

    def _links_of(self, visit: Visit) -> list[int]:
        return self._old.get(visit.entry.id, (0, []))[1]

    def _redirect(self, visit: Visit, to: NewUrl) -> None:
        if is_itself(visit, to):
            # To set a cookie, or to have its URL spelled in another way that means the same.
            request = to.request and storable(to.request)
            self._hops.append((visit.entry.id, storable(to.url), request, to.priority))
            self._keep(visit, hops=to.hops)
        else:
            self._finish(visit, REDIRECTED)
            self._change.redirected.add(visit.entry.id)
            self._note_nothing(visit)

    def _give_up(self, visit: Visit, outcome: Denied | Failed) -> None:
        self._finish(visit, DENIED if isinstance(outcome, Denied) else FAILED, outcome.reason)
        if isinstance(outcome, Failed) and outcome.records:
            self._keep_records(visit, outcome.records)
            self._forgotten.append(visit.entry.id)
        elif isinstance(outcome, Failed) and outcome.is_gone:
            self._note_nothing(visit)
        else:
            self._visits.append((visit.entry.id, self._standing.get(visit.entry.id), False))

    def _keep_records(self, visit: Visit, records: Collection[RecordLine]) -> None:
        version = self._versions[visit.entry.id] = self._change.tick()
        self._visits.append((visit.entry.id, version, True))
        self._records.append((version, records))

    def _record_rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of all new records, one by one: a page may have more than fit into memory."""
        for version, records in self._records:
            for n, record in enumerate(records):
                yield version, n, storable(record.key), storable(record.line)

    def _finish(self, visit: Visit, state: int, reason: str | None = None) -> None:
        self._finished.append((visit.entry.id, state, reason and storable(reason)))
        self._change.finished += 1

    def _keep(
        self, visit: Visit, *, attempts: int | None = None, hops: int | None = None, reason: str | None = None
    ) -> None:
        entry = visit.entry
        # A URL that is among the known pages, which come first, stays there.
        is_first = self._taken.get(entry.domain, {}).get(entry.id, 0) < 0
        self._kept.append(
            (
                entry.id,
                entry.attempts if attempts is None else attempts,
                entry.hops if hops is None else hops,
                reason and storable(reason),
                self._change.tick() + (KNOWN_FIRST if is_first else 0),
            )
        )

    def _bar(self, visit: Visit, barred: list[int]) -> None:
        """Note that some known links of a page are not followed, before the visit that reads the page."""
        if barred:
            self._visits.append((visit.entry.id, None, False))
            self._barred[visit.entry.id] = [-link for link in barred]

    def _renew(self, visit: Visit, known: Known) -> None:
        """Let the last version stand; without one (a prune took it) the page is asked for in full again."""
        url = visit.entry.id
        if url not in self._old:
            return self._keep(visit, reason="the last version is gone")
        self._finish(visit, DONE)
        self._renewed.append((url, *validators(known)))
        self._bar(visit, barred_of(self._old[url][1]))
        self._visits.append((url, self._old[url][0], True))
        return None

    def _note_nothing(self, visit: Visit) -> None:
        """Note that the page brings nothing any more."""
        self._visits.append((visit.entry.id, None, True))
        self._forgotten.append(visit.entry.id)

    def _is_changed_once(self) -> bool:
        """Whether one statement is all that changes known URLs: it locks them itself, in its order."""
        return not (self._kept or self._deferred or self._change.opens)

    def _write_own(self) -> None:
        execute = self._connection.execute
        if self._finished:
            execute(_FINISH, columns(sorted(self._finished), 3))
        if self._hops:
            execute(_HOP, columns(self._hops, 4))
        if self._kept:
            execute(_KEEP, columns(self._kept, 5))
        if self._deferred:
            execute(_DEFER, columns(self._deferred, 2))

    def _write_pages(self) -> None:
        execute, change = self._connection.execute, self._change
        if self._forgotten:
            execute(_FORGET, (self._forgotten,))
        if self._renewed:
            execute(_RENEW, (change.run, *columns(self._renewed, 6)))
        pages = [
            (
                *(visit.entry.id, version, change.run, change.run, page.known.inputs),
                *validators(page.known),
                integers(change.ids_of(links)),
                json.dumps(page.facts) if page.facts else "",
                storable(page.known.files),
            )
            for visit, page, version, links in self._pages
        ]
        if pages:
            execute(_PAGE, columns(pages, 13))
        rows = self._record_rows()
        while some := list(islice(rows, _AT_ONCE)):
            execute(_RECORDS, columns(some, 4))
        self._write_refused()

    # refused links ----------------------------------------------------------------------------------------
    def _refuse(self, refusal: Refusal) -> None:
        url = storable(refusal.url)
        text = url if refusal.links == 1 else f"{url} {refusal.reason}"
        digest = blake2b(text.encode(), digest_size=16).digest()
        if digest not in self._seen.refused:
            self._digests.setdefault(digest, refusal)

    def _write_refused(self) -> None:
        """Name the first so many of a run, and count the others."""
        if not self._digests:
            return
        run, named = self._change.run, self._seen.named
        if named < 0:
            row = self._connection.execute(_COUNT_REFUSED, (run,)).fetchone()
            named = row[0] if row else 0
        room = max(0, MOST_REFUSED - named)
        rows = [
            (run, digest, storable(refusal.url), storable(refusal.reason))
            for digest, refusal in list(self._digests.items())[:room]
        ]
        made: set[bytes] = set()
        if rows:
            found = self._connection.execute(_REFUSE, columns(sorted(rows), 4))
            made = {bytes(digest) for (digest,) in found}
        for place, (digest, refusal) in enumerate(self._digests.items()):
            if place >= room:
                self.refused.append(replace(refusal, url=""))
            elif digest in made:
                self.refused.append(refusal)
        self._named = named + len(made)

    _named = -1

    def remember(self) -> None:
        """Know what was refused from now on; only after the commit."""
        self._seen.refused.update(self._digests)
        self._seen.named = self._named if self._digests else self._seen.named


def count_run(connection: Connection, change: Change) -> None:
    """Keep the run's counts; LeaseLost at the commit if it has ended. What comes after has to be short."""
    pending, done = change.new - change.finished, change.finished - change.reopened
    connection.execute(_COUNT, (pending, done, change.run))


def _keeps(visit: Visit) -> bool:
    """Whether what the page led to last time is followed."""
    outcome = visit.outcome
    return isinstance(outcome, Unchanged) or (isinstance(outcome, Denied) and outcome.keeps_links)


def needed_domains(visits: Sequence[Visit], run: Run) -> set[str]:
    """The domains whose queues a settlement needs."""
    found = {link.domain for visit in visits for link in (*links_of(visit), *barred_links(visit))}
    return found | {visit.outcome.to.domain for visit in visits if isinstance(visit.outcome, Redirected)}
