"""What one settlement writes: visits, versions of pages, records, refusals and the URLs' own rows."""

import json
import sqlite3
from array import array
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from typing import Any, assert_never

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
from scraper.store import MOST_REFUSED
from scraper.store.sqlite.database import batched, many, storable
from scraper.store.sqlite.frontier import (
    DENIED,
    DONE,
    FAILED,
    KNOWN_FIRST,
    PENDING,
    REDIRECTED,
    Change,
    FilteredSeen,
)
from scraper.store.visits import barred_links, barred_of, is_itself, links_of, validators

_AT_ONCE = 500  # records
_OWN = "SELECT id, seq, state, run FROM urls WHERE id IN ({})"
_FINISH = "UPDATE urls SET state = ?, reason = ? WHERE id IN ({})"
_HOP = "UPDATE urls SET url = ?, request = ?, prio = ? WHERE id = ?"
_KEEP = "UPDATE urls SET attempts = ?, hops = ?, reason = ?, seq = ? WHERE id = ?"
_VISIT = "INSERT INTO visits(id, run, url, version, is_read) VALUES (?, ?, ?, ?, ?)"
_RECORD = "INSERT INTO records(version, n, key, line) VALUES (?, ?, ?, ?)"
_PAGE = "INSERT OR REPLACE INTO pages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_RENEW = """UPDATE pages SET checked = ?, etag = ?, last_modified = ?, fresh_until = ?, body_hash = ?,
    fetched_at = ? WHERE url = ?"""
_LINKS = "SELECT links FROM pages WHERE url = ?"
_FORGET = "DELETE FROM pages WHERE url = ?"
_COUNT_REFUSED = "SELECT count(*) FROM refused WHERE run = ?"
_REFUSE = "INSERT INTO refused VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
# What stands for a page that could not be read: its last visit in this run or in an accepted one.
_STANDING = """SELECT v.version FROM visits v JOIN runs r ON r.number = v.run
    WHERE v.url = ? AND (r.accepted OR r.number = ?) ORDER BY v.id DESC LIMIT 1"""


class Settlement:
    """The visits of one transaction. The caller has checked the fence and writes the domains."""

    def __init__(self, change: Change, seen: FilteredSeen, taken: dict[str, dict[int, int]]) -> None:
        self.refused: list[Refusal] = []
        self._change, self._seen, self._taken = change, seen, taken
        self._connection: sqlite3.Connection = change.connection
        self._finished: dict[tuple[int, str | None], list[int]] = {}
        self._visits: list[tuple[Any, ...]] = []
        self._records: list[tuple[int, Collection[RecordLine]]] = []
        self._pages: list[tuple[Any, ...]] = []
        self._versions: dict[int, int] = {}
        self._old_links: dict[int, array[int]] = {}
        self._barred: dict[int, list[int]] = {}

    def settle(self, visits: Sequence[Visit]) -> None:
        """Settle those visits whose URLs are still as they were when they were taken.

        A visit that was settled before finds its URL finished or at another place: it is left out whole, its
        links too. Own rows come before the links, so that a link to a page of the same settlement meets that
        page as this settlement leaves it.
        """
        current = self._in_hand(visits)
        for visit in current.values():
            self._end(visit)
        for (state, reason), ids in self._finished.items():
            marks = ", ".join("?" * len(ids))
            self._connection.execute(_FINISH.format(marks), (state, reason, *ids))
        self._change.look_up(chain.from_iterable(links_of(visit) for visit in current.values()))
        for visit in current.values():
            self._follow(visit)
        many(self._connection, _VISIT, self._visits)
        for rows in batched(self._record_rows(), _AT_ONCE):
            many(self._connection, _RECORD, rows)
        many(self._connection, _PAGE, self._pages)

    def _in_hand(self, visits: Sequence[Visit]) -> dict[int, Visit]:
        """Those visits whose URLs are where they were when they were taken, by id."""
        places = {visit.entry.id: self._taken.get(visit.entry.domain, {}) for visit in visits}
        if not places:
            return {}
        sql = _OWN.format(", ".join("?" * len(places)))
        rows = self._connection.execute(sql, list(places))
        pending = {
            found for found, *row in rows if row == [places[found].get(found), PENDING, self._change.run]
        }
        return {visit.entry.id: visit for visit in visits if visit.entry.id in pending}

    def _end(self, visit: Visit) -> None:
        """Write the URL's own row."""
        match visit.outcome:
            case Fetched(_, records):
                self._finish(visit, DONE)
                if barred := barred_links(visit):
                    self._bar(visit, self._change.known(barred))
                self._keep_records(visit, records)
            case Unchanged():
                self._renew(visit, visit.outcome.known)
            case Redirected(to):
                self._redirect(visit, to)
            case Retry(reason, counts):
                self._keep(visit, attempts=visit.entry.attempts + counts, reason=reason)
            case Deferred(reason):
                self._connection.execute("UPDATE urls SET reason = ? WHERE id = ?", (reason, visit.entry.id))
            case Denied() | Failed():
                self._give_up(visit, visit.outcome)
            case other:
                assert_never(other)

    def _follow(self, visit: Visit) -> None:
        """Add what the visit leads to."""
        outcome = visit.outcome
        if isinstance(outcome, Fetched):
            barred = self._barred.get(visit.entry.id, ())
            links = dict.fromkeys([*self._change.meet_all(outcome.links), *barred])
            for refusal in outcome.refused:
                self._refuse(refusal)
            self._change.filtered += outcome.filtered
            self._keep_page(visit, outcome, array("q", links).tobytes())
        elif isinstance(outcome, Failed):
            self._change.meet_all(outcome.links)
            for refusal in outcome.refused:
                self._refuse(refusal)
        elif isinstance(outcome, Unchanged | Denied):
            self._change.meet_again(self._old_links.get(visit.entry.id, ()))
        elif isinstance(outcome, Redirected) and not is_itself(visit, outcome.to):
            self._change.meet(outcome.to, is_hop=True)

    def _redirect(self, visit: Visit, to: NewUrl) -> None:
        if is_itself(visit, to):
            # To set a cookie, or to have its URL spelled in another way that means the same.
            request = to.request and storable(to.request)
            self._connection.execute(_HOP, (storable(to.url), request, to.priority, visit.entry.id))
            self._keep(visit, hops=to.hops)
        else:
            self._finish(visit, REDIRECTED)
            self._note_nothing(visit)

    def _give_up(self, visit: Visit, outcome: Denied | Failed) -> None:
        self._finish(visit, DENIED if isinstance(outcome, Denied) else FAILED, outcome.reason)
        if isinstance(outcome, Failed) and outcome.records:
            self._keep_records(visit, outcome.records)
            self._connection.execute(_FORGET, (visit.entry.id,))
        elif isinstance(outcome, Failed) and outcome.is_gone:
            self._note_nothing(visit)
        else:
            self._note_kept_records(visit)
        if isinstance(outcome, Denied) and outcome.keeps_links:
            page = self._connection.execute(_LINKS, (visit.entry.id,)).fetchone()
            self._old_links[visit.entry.id] = array("q", page[0] if page else b"")

    def _finish(self, visit: Visit, state: int, reason: str | None = None) -> None:
        self._finished.setdefault((state, reason), []).append(visit.entry.id)
        self._change.finished += 1

    def _keep(
        self, visit: Visit, *, attempts: int | None = None, hops: int | None = None, reason: str | None = None
    ) -> None:
        entry = visit.entry
        values = (
            entry.attempts if attempts is None else attempts,
            entry.hops if hops is None else hops,
            reason,
            self._change.tick() + (KNOWN_FIRST if self._is_first(entry) else 0),
        )
        self._connection.execute(_KEEP, (*values, entry.id))

    def _is_first(self, entry: Entry) -> bool:
        """Whether a URL is among the known pages, which come first: it stays there."""
        return self._taken.get(entry.domain, {}).get(entry.id, 0) < 0

    def _record_rows(self) -> Iterator[tuple[Any, ...]]:
        """The rows of all new records, one by one: a page may have more than fit into memory."""
        for version, records in self._records:
            for n, record in enumerate(records):
                yield version, n, storable(record.key), storable(record.line)

    def _keep_records(self, visit: Visit, records: Collection[RecordLine]) -> None:
        version = self._versions[visit.entry.id] = self._change.tick()
        self._visits.append((version, self._change.run, visit.entry.id, version, 1))
        self._records.append((version, records))

    def _keep_page(self, visit: Visit, page: Fetched, links: bytes) -> None:
        url, run = visit.entry.id, self._change.run
        facts = json.dumps(page.facts) if page.facts else ""
        made = (url, self._versions[url], run, run, page.known.inputs)
        self._pages.append((*made, *validators(page.known), links, facts, page.known.files))

    def _bar(self, visit: Visit, barred: list[int]) -> None:
        """Note that some known links of a page are not followed, before the visit that reads the page."""
        if barred:
            self._visits.append((self._change.tick(), self._change.run, visit.entry.id, None, 0))
            self._barred[visit.entry.id] = [-link for link in barred]

    def _renew(self, visit: Visit, known: Known) -> None:
        """Let the last version stand; without one (a prune took it) the page is asked for in full again."""
        entry = visit.entry
        page = self._connection.execute(
            "SELECT version, links FROM pages WHERE url = ?", (entry.id,)
        ).fetchone()
        if page is None:
            return self._keep(visit, reason="the last version is gone")
        version, links = page[0], array("q", page[1])
        self._finish(visit, DONE)
        self._connection.execute(_RENEW, (self._change.run, *validators(known), entry.id))
        self._bar(visit, barred_of(links))
        self._visits.append((self._change.tick(), self._change.run, entry.id, version, 1))
        self._old_links[entry.id] = links
        return None

    def _note_nothing(self, visit: Visit) -> None:
        """Note that the page brings nothing any more."""
        self._visits.append((self._change.tick(), self._change.run, visit.entry.id, None, 1))
        self._connection.execute(_FORGET, (visit.entry.id,))

    def _note_kept_records(self, visit: Visit) -> None:
        """Note that the page was met and not read: what stood stands."""
        url, run = visit.entry.id, self._change.run
        row = self._connection.execute(_STANDING, (url, run)).fetchone()
        self._visits.append((self._change.tick(), run, url, row and row[0], 0))

    def _refuse(self, refusal: Refusal) -> None:
        url = storable(refusal.url)
        text = url if refusal.links == 1 else f"{url} {refusal.reason}"
        digest = blake2b(text.encode(), digest_size=16).digest()
        if digest in self._seen.refused:
            return
        self._seen.refused.add(digest)
        if self._named() >= MOST_REFUSED:
            self.refused.append(replace(refusal, url=""))
            return
        values = (self._change.run, digest, url, refusal.reason)
        if self._connection.execute(_REFUSE, values).rowcount:
            self._seen.named += 1
            self.refused.append(refusal)

    def _named(self) -> int:
        """How many refused links this run has named."""
        if self._seen.named < 0:
            (self._seen.named,) = self._connection.execute(_COUNT_REFUSED, (self._change.run,)).fetchone()
        return self._seen.named
