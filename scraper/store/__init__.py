"""The store's contract: what a database must do so that nothing is lost and nothing doubled.

Three rules hold for every implementation; `tests/contracts/test_store.py` checks them.

* A domain belongs to one worker at a time. Every write on its behalf is fenced: it matches owner and epoch,
  or changes nothing.
* `settle` is one transaction: records, links, cookies, clock and the URLs' own rows stand together or not
  at all.
* A URL is pending until it is settled, so a crash needs no clean-up. Only of a page that is being parsed is
  it noted, so that one which kills its process does not do so for ever.

Moments are epoch seconds on `Clock.now()`'s line unless a name says `wall`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import field
from typing import Any, Protocol

from scraper.model import Entry, NewUrl, Refusal, Visit
from scraper.model.frozen import frozen

UNMET = "nothing that leads there could be read"
LEFT_TO_OTHERS = 3.0
GROUP = "group:"
"""Begins the names of those domains that are clocks of politeness groups; they have no URLs."""
MOST_REFUSED = 20_000


@frozen
class Run:
    """One execution of a spider as the store knows it. `number` orders runs; `id` names them for people.

    `state` is "running", "paused" or "ended"; one that was killed is "running" without a holder. A run is
    `is_accepted` when its records became the current ones; only then are its validators used. `is_whole` is
    False where a limit cut it short: such a run is no evidence that a page is gone. `code`: what the parse of
    its pages depends on (see `spider.identity`). `kills`: how often a process that ran it died since it was
    begun or paused. `params`: the spider's, of secrets the
    name alone (None); None where an older program has begun it.
    """

    id: str
    number: int
    spider: str
    code: str
    started_at: float
    state: str = "running"
    ended_at: float | None = None
    is_resumed: bool = False
    is_accepted: bool = False
    is_whole: bool = False
    summary: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, str | None] | None = None
    kills: int = 0


@frozen
class Lease:
    """A worker's exclusive, expiring right to a domain.

    `due`: no request may be sent before. `state`: the domain's politeness, shared by all spiders (JSON text).
    `session`: this spider's cookies and login on the domain (JSON text). `stats`: this run's counts on the
    domain so far (JSON text). `crashes`: how many owners in a row died holding it,
    with nothing settled between.
    """

    domain: str
    epoch: int
    due: float
    state: str = ""
    session: str = ""
    stats: str = ""
    crashes: int = 0


@frozen
class DomainUpdate:
    """What a settlement or a release leaves of a domain. None keeps what is there.

    `due` may be later than the real next slot: slots reserved ahead, so that a successor keeps the delay.
    """

    lease: Lease
    due: float
    state: str | None = None
    session: str | None = None
    stats: str | None = None


@frozen
class Settled:
    """What a settlement came to: URLs made pending, domains no longer ours, links refused for the first time
    in this run, and requests that were not made because this run has made the same; `other_meta`: URLs of
    those of them that have another `meta`, as far as they were compared. Of refused links a run names
    MOST_REFUSED; those beyond come without a URL."""

    new: int = 0
    lost: frozenset[str] = frozenset()
    refused: tuple[Refusal, ...] = ()
    filtered: int = 0
    other_meta: tuple[str, ...] = ()


@frozen
class RobotsCopy:
    """A robots.txt as last read. `status` None: unreachable.

    `checked_at`, `since` and `until` are wall epoch seconds. `since`: when it first became
    unreachable (0 while reachable). `until`: when it is to be asked again. `via`: the proxy and the
    credentials that it was asked with, as a hash; another asker gets other answers.
    """

    origin: str
    body: bytes
    status: int | None
    checked_at: float
    until: float
    since: float = 0.0
    etag: str | None = None
    last_modified: str | None = None
    via: str = ""

    def row(self) -> tuple[object, ...]:
        """Its values in the order of a row."""
        times = (self.checked_at, self.until, self.since)
        return (self.origin, self.body, self.status, *times, self.etag, self.last_modified, self.via)


Cursor = tuple[int, int]  # a visit, and which of its records
START: Cursor = (0, -1)


@frozen
class StoredRecord:
    """One record as the exporter reads it: `cursor` is its place among those of a run.

    `run`: the id of the run that read its page last, also one that found it unchanged; `fetched_at`: when
    (epoch seconds), None where a run that nobody accepted has read it since.
    """

    cursor: Cursor
    url: str
    key: str
    line: str
    run: str = ""
    fetched_at: float | None = None


@frozen
class Progress:
    """Where a run stands: URLs by state, and when the next domain without an owner is due (None: none)."""

    pending: int
    done: int
    next_due: float | None


class Store(Protocol):
    """The few verbs of the engine. Each is atomic; each raises StoreError (StoreFull, LeaseLost ...) only."""

    @property
    def deadline(self) -> float:
        """Until when nobody takes our domains, whatever becomes of us; no request is sent later than that.

        For any thread. Infinite where others need not wait for our death to know of it.
        """
        ...

    # workers ------------------------------------------------------------------------------------------
    def join(self, worker: str) -> None:
        """Enter as a live worker under a name never used before."""
        ...

    def heartbeat(self) -> frozenset[str]:
        """Stay alive, free the domains of dead workers, and tell which of our domains others wait for.

        Of the clock of a group only another run is told.

        Raises LeaseLost if this worker was taken for dead.
        """
        ...

    def leave(self) -> None:
        """Give everything back and go. Safe to repeat."""
        ...

    def anchor(self) -> float:
        """The offset of this boot's time line (see `clock.SystemClock`), the same for all processes."""
        ...

    # runs -----------------------------------------------------------------------------------------------
    def start_run(
        self, spider: str, code: str, *, params: Mapping[str, str | None] | None = None, fresh: bool = False
    ) -> Run:
        """Resume this spider's unfinished run (`is_resumed`), or start a new one, which keeps its `params`.

        `fresh` ends an unfinished run first, as INCOMPLETE.
        Raises StoreBusy (naming the holder and since when) while another live worker runs this spider.
        """
        ...

    def join_run(self, run_id: str) -> Run:
        """Work on a run that another worker holds: what the children of `--workers` do."""
        ...

    def pause_run(self, run: Run, summary: Mapping[str, Any]) -> None:
        """Let go of a run that is to be resumed. LeaseLost unless we hold it (so `end_run`)."""
        ...

    def end_run(self, run: Run, summary: Mapping[str, Any], *, accepted: bool, whole: bool) -> None:
        """Close a run for good. With `accepted` its records are the current ones from now on.

        One that was accepted (and whole) before it was reopened stays so.
        """
        ...

    def reopen_run(self, run: Run, stats: Mapping[str, str]) -> int:
        """Make what failed in the spider's last run pending again, as if not tried; how many URLs.

        Where there is none nothing changes. Else the run is one to be resumed, and stays accepted if it is.
        `stats`: its counts from now on, by domain. What was let stand behind a page that failed is met anew
        by way of that page. StoreBusy while a live worker runs the spider; StoreError for another run.
        """
        ...

    def accept_run(self, run: Run, summary: Mapping[str, Any] | None = None) -> None:
        """Make an ended run the accepted one, after a person looked; with another summary if one is given."""
        ...

    def runs(self, spider: str | None = None, limit: int = 100) -> list[Run]:
        """The last runs, newest first."""
        ...

    def run(self, run_id: str) -> Run | None:
        """A run by its id."""
        ...

    def holder(self, spider: str) -> tuple[str, float] | None:
        """The live worker that runs this spider now, and since when (wall)."""
        ...

    def is_led(self, run: Run) -> bool:
        """Whether a live worker holds this run; those who only work on it do not count."""
        ...

    def is_helped(self, run: Run) -> bool:
        """Whether another live worker holds domains for this run."""
        ...

    def prune(self, spider: str, keep: int) -> list[str]:
        """Forget all but the last `keep` runs and what only they need; the ids of the runs forgotten.

        The current records always stay: the last accepted whole run and all accepted after it.
        """
        ...

    # frontier -------------------------------------------------------------------------------------------
    def add(self, run: Run, urls: Sequence[NewUrl]) -> int:
        """Make URLs pending in this run unless this run has them already; the number that became pending.

        Raises LeaseLost if the run has ended.
        """
        ...

    def lease(self, run: Run, n: int, before: float) -> list[Lease]:
        """Up to `n` more domains with pending URLs of this run, due before `before`, earliest first.

        Skips domains with a live owner, but notes that we wait for them (their owner's heartbeat tells): for
        any that another run holds, and inside a run for what a worker holds above its fair share. A domain
        given back while a run waits for it goes to that run first; inside the run it is left to those below
        their share, unless it has been due for `LEFT_TO_OTHERS` seconds. LeaseLost if we were taken for dead.
        """
        ...

    def lease_domain(self, run: Run, domain: str) -> Lease | None:
        """One domain by name, with or without pending URLs; None while another worker owns it."""
        ...

    def take(self, run: Run, lease: Lease, n: int, held: Sequence[int] = ()) -> list[Entry]:
        """The first `n` pending URLs of a leased domain by (priority, sequence), without those `held`.

        Of one priority, pages that the last good run met come before all others: what is known is kept up to
        date before anything new is looked at.

        Nothing if the lease is no longer ours. Each carries `known`, its last version's validators and
        inputs, if that version belongs to an accepted run, or to this one.
        """
        ...

    def in_hand(self, url: int) -> AbstractContextManager[object]:
        """Note, for as long as the context is open, that the page of a URL (its id) is being parsed.

        For any thread, and almost free. If this worker dies meanwhile, whoever frees its domains counts that
        as an attempt and a crash of the URL, and puts it behind its equals. A machine that loses its power
        may lose the note.
        """
        ...

    def settle(self, run: Run, visits: Sequence[Visit], domains: Sequence[DomainUpdate]) -> Settled:
        """One transaction: fence, links and refusals, records, clock and session, own URL rows.

        Only visits of `domains` are settled: those of a domain that is no longer ours (or not named there)
        are left out and the domain is named in `lost`. Only entries that this store object gave out by `take`
        are settled, each once: repeating a settlement after an unknown result, or after success, changes
        nothing.

        * Fetched stores a new version: records, links, validators (the store numbers it: `known.version` of a
          page just parsed is not looked at). Its `barred` links are kept with the others, and not pending.
        * Unchanged lets the last version stand and makes its links pending. Its records count once a run.
        * Redirected adds `to` and is done; what stood for the page is gone. A hop whose target is the URL
          itself leaves it pending with the new `hops`; a target that this run has ended as a redirect becomes
          pending again; any other that the run has already stays as it is.
        * Retry stays pending, attempts + 1 if it `counts`, and goes behind its equals.
        * Deferred stays pending, at its place.
        * Denied and Failed are done with their reason; what stood for the page stands, unless `is_gone`, or
          the Failed has records: these stand instead, until the page is read again. Its links are added. A
          Denied that `keeps_links` makes those of the last version pending, whichever run has made it.
        """
        ...

    def known_pending(self, run: Run) -> int:
        """How many pages that the last good run met are still pending in this one.

        Good: the last accepted whole run, or all accepted ones where none was whole.
        """
        ...

    def keep_unreached_pages(self, run: Run) -> int:
        """Let current pages stand as they were that only unread ones or barred links lead to; how many.

        For the end of a whole run: a list that could not be read today, or may not be left, must take away
        nothing that is behind it. Found by the links of the last versions, while these are kept. Repeatable.
        """
        ...

    def release(self, domains: Sequence[DomainUpdate]) -> None:
        """Give domains back with what is left of them, for the run last started or joined here.

        Those no longer ours are skipped. Only here, in `leave` and for the dead is a domain with nothing
        pending parked.
        """
        ...

    def progress(self, run: Run) -> Progress:
        """Counts of this run. Cheap enough to ask once a second."""
        ...

    # reading --------------------------------------------------------------------------------------------
    def robots(self, origin: str) -> RobotsCopy | None:
        """The stored robots.txt of an origin."""
        ...

    def keep_robots(self, *copies: RobotsCopy) -> None:
        """Store robots.txt files, each of another origin, in one transaction."""
        ...

    def domain_stats(self, run: Run) -> dict[str, str]:
        """The run's counts by domain (JSON text), as last settled."""
        ...

    def records(self, run: Run, after: Cursor = START, limit: int = 1000) -> list[StoredRecord]:
        """The run's records in the order they were committed: `limit` or, of very long ones, fewer.

        Pages that were Unchanged give the records of their last version. Read on with the last `cursor`.
        """
        ...

    def current(
        self, spider: str, coming: Run | None = None, *, whole: bool = False, without: Run | None = None
    ) -> Iterator[StoredRecord]:
        """The accepted records: for each page those of its latest visit in an accepted run.

        Counted from the last accepted whole run on, so that a page which that run no longer met is gone. A
        page that was met and could not be read keeps what stood; that comes last, what later runs have read
        first: of records with one key the first is the one to keep. `coming`: as if that run were accepted,
        as a `whole` one or not; `without`: as if that one were not.
        """
        ...

    def lookup(self, spider: str, fp: bytes) -> Mapping[str, Any] | None:
        """What is known of one URL, for `explain`: state, reason, attempts, run, last fetch."""
        ...

    def domain(self, domain: str) -> Mapping[str, Any] | None:
        """The shared row of a domain, for `explain` and reports: due, owner, state."""
        ...

    def sessions(self, spider: str) -> dict[str, str]:
        """The spider's sessions by domain (JSON text)."""
        ...

    def keep_session(self, spider: str, domain: str, session: str) -> None:
        """Replace a spider's session on a domain. Raises StoreBusy while a live worker runs the spider.

        What it knows of the domain's pages stands no more, and is asked for without conditions: they were got
        as somebody else.
        """
        ...

    # the service -----------------------------------------------------------------------------------------
    def notes(self, kind: str) -> dict[str, str]:
        """The texts that are kept of a kind, by name."""
        ...

    def keep_note(self, kind: str, name: str, text: str) -> None:
        """Keep a text under a name, instead of what stands there."""
        ...

    def add_note(self, kind: str, name: str, text: str) -> str:
        """Keep a text unless one of the name is there; the text that stands there now."""
        ...

    def drop_note(self, kind: str, name: str) -> bool:
        """Forget a text; whether there was one."""
        ...

    def close(self) -> None:
        """Let go of the database. Without `leave` before it, this worker counts as dead from now on."""
        ...
