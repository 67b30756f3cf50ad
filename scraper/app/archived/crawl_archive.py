"""The crawl without a network: the frontier of a run, answered from the archive.

No engine: it is about delays, robots.txt and connections, and there are none here. The domains' clocks and
sessions stay as they are.
"""

from collections.abc import Sequence

from scraper.engine.domain_stats import DomainStats
from scraper.engine.engine import BEAT_EVERY
from scraper.engine.fetcher import Fetcher
from scraper.engine.group_commit import SETTLE_EVERY
from scraper.engine.parse_limit import deadly
from scraper.engine.plan import Stop
from scraper.engine.robots_cache import RobotsRules, robots_rules_of
from scraper.engine.scheduler import IN_HAND
from scraper.model import Denied, Entry, Failed, Fetched, Outcome, Visit
from scraper.ops.clock import Clock
from scraper.runs.archive import Answers, ArchivedPage, Archives
from scraper.runs.events import Event, Listener, Noted, Settled, Ticked, Visited
from scraper.spider.identity import archived_as
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.urls import origin_of

MISSING = "not in the archive"


class Kept:
    """The archives of a spider as the web."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self.notes, self.close = archives.notes, archives.close

    def answer(self, entry: Entry) -> ArchivedPage | None:
        """The last answer to a request."""
        return self._archives.get(archived_as(entry))


class Offline:
    """Parses a run's frontier from the archive, one domain after the other.

    `most`: pages after which the work is done, where the spider declares it; what such a run did not reach
    is no failure.
    """

    def __init__(
        self,
        answers: Answers,
        fetcher: Fetcher,
        token: str,
        store: Store,
        run: Run,
        clock: Clock,
        listeners: Sequence[Listener] = (),
        most: int | None = None,
    ) -> None:
        self._answers = answers
        self._fetcher = fetcher
        self._token = token
        self._store = store
        self._run = run
        self._clock = clock
        self._listeners = listeners
        self._most = most
        self._robots_cache: dict[str, RobotsRules | None] = {}
        self._is_stopped = False
        self._beat_at = 0.0
        self._pages = self._records = self._failed = 0

    def run(self) -> Stop:
        """Parse until nothing is pending, the declared size is reached or somebody stops it."""
        try:
            while True:
                if self._is_stopped:
                    return Stop.SIGNAL
                if self._is_full():
                    return Stop.PAGES
                self._beat()
                leases = self._store.lease(self._run, 1, float("inf"))
                for lease in leases:
                    self._work(lease)
                if not leases and not self._store.progress(self._run).pending:
                    return Stop.DONE
                if not leases:
                    self._clock.sleep(SETTLE_EVERY)  # another spider's run holds the domain
        finally:
            for note in self._answers.notes():
                self._tell(Noted(note))
            self._answers.close()

    def stop(self) -> None:
        """Ask it to end; callable from a signal handler."""
        self._is_stopped = True

    def _is_full(self) -> bool:
        return self._most is not None and self._pages >= self._most

    def _work(self, lease: Lease) -> None:
        """Parse what a domain has, until it runs dry or others wait for it."""
        stats = DomainStats.from_json(lease.stats)
        is_wanted = False
        while not (is_wanted or self._is_stopped or self._is_full()):
            visits: list[Visit] = []
            settle_by = self._clock.now() + BEAT_EVERY
            for entry in self._store.take(self._run, lease, IN_HAND):
                visits.append(self._visit(entry))
                stats.count(visits[-1])
                is_wanted |= self._beat() >= {lease.domain}
                if self._is_stopped or self._is_full() or self._clock.now() >= settle_by:
                    break
            if not visits:
                break
            self._store.settle(self._run, visits, [DomainUpdate(lease, lease.due, stats=stats.to_json())])
            self._tell(Settled(len(visits)))
        self._store.release([DomainUpdate(lease, lease.due, stats=stats.to_json())])

    def _visit(self, entry: Entry) -> Visit:
        page = self._answers.answer(entry)
        response = page.response if page else self._fetcher.saved(entry)
        if (failed := deadly(entry)) is not None:
            visit = Visit(entry, failed)
        else:
            visit = self._fetcher.read(entry, response) if response else Visit(entry, self._missing(entry))
        visit = self._fetcher.give_up(visit)
        self._pages += isinstance(visit.outcome, Fetched)
        self._failed += isinstance(visit.outcome, Failed)
        self._records += len(visit.outcome.records) if isinstance(visit.outcome, Fetched | Failed) else 0
        self._tell(Visited(visit))
        return visit

    def _missing(self, entry: Entry) -> Outcome:
        """What becomes of a URL that is not in the archive; what a rule kept out of it is no failure."""
        known = self._store.lookup(self._run.spider, entry.fp) or {}
        reason = self._refusal(entry.url)
        if reason is None and "noarchive" in (known.get("facts") or ""):
            # Its links are not its body: what is behind them may well be in the archive.
            return Denied("noarchive: its site asks that no copy be kept", keeps_links=True)
        if reason is not None or self._most is not None:
            return Denied(reason or MISSING)
        return Failed(MISSING, MISSING)

    def _refusal(self, url: str) -> str | None:
        """What robots.txt, as it was last read, says against a URL."""
        origin = origin_of(url)
        if origin not in self._robots_cache:
            copy = self._store.robots(origin)
            self._robots_cache[origin] = (
                robots_rules_of(copy, self._clock.wall()) if copy is not None else None
            )
        robots_rules = self._robots_cache[origin]
        return None if robots_rules is None or robots_rules.closed else robots_rules.refusal(self._token, url)

    def _beat(self) -> frozenset[str]:
        """Stay alive; the domains that others wait for."""
        now = self._clock.now()
        if now < self._beat_at:
            return frozenset()
        self._beat_at = now + BEAT_EVERY
        pending = self._store.progress(self._run).pending
        self._tell(Ticked(self._pages, self._records, self._failed, 0, pending, (), 0))
        return self._store.heartbeat()

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)
