"""The crawl without a network: the frontier of a run, answered from the archive.

No engine: it is about delays, robots.txt and connections, and there are none here. The domains' clocks and
sessions stay as they are.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from scraper.app.archived.render_again import RenderedAgain
from scraper.engine.domain_stats import DomainStats
from scraper.engine.engine import BEAT_EVERY
from scraper.engine.fetcher import Fetcher
from scraper.engine.group_commit import SETTLE_EVERY
from scraper.engine.parse_limit import deadly, died
from scraper.engine.parse_pool import Died, ParsePool, in_order
from scraper.engine.plan import Stop
from scraper.engine.rendering_again import MISSING, DrawnAgain
from scraper.engine.robots_cache import RobotsRules, robots_rules_of
from scraper.engine.scheduler import IN_HAND
from scraper.model import Denied, Entry, Failed, Fetched, Outcome, Visit
from scraper.ops.clock import Clock
from scraper.runs.archive.answers import ArchivedPage, Damage, RecordLocation
from scraper.runs.archive.loads import ArchivedLoads
from scraper.runs.archive.reading import Answers, Archives, Reader
from scraper.runs.events import Event, Listener, Noted, Settled, Ticked, Visited
from scraper.spider.identity import archived_as
from scraper.store import DomainUpdate, Lease, Run, Store
from scraper.urls import origin_of

_OUTDATED = "in the archive only as it was before its last change"

Asked = tuple[Entry, RecordLocation | ArchivedPage | DrawnAgain | None]
"""A request, and its answer or where that is."""


class ArchiveAnswers:
    """The archives of a spider as the web."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._loads = ArchivedLoads(archives.folders, archives.most)
        self.notes, self.note, self.close = archives.notes, archives.note, archives.close
        self.load = self._loads.find

    def find(self, entry: Entry) -> RecordLocation | None:
        """Where the last answer to a request is."""
        return self._archives.place(archived_as(entry))


class ArchiveParser:
    """Parses archived answers; holds nothing but open files, so that any process can do it."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._reader = Reader()

    def some(self, items: deque[Asked]) -> list[Visit | Damage | None]:
        """The visits of the first of `items`, which leave them; None where there is no answer."""
        found = self._fetcher.bounded.some(self._visit, items, self._too_long)
        return [self._fetcher.give_up(one) if isinstance(one, Visit) else one for one in found]

    def _visit(self, asked: Asked) -> Visit | Damage | None:
        entry, found = asked
        if (failed := deadly(entry)) is not None:
            return Visit(entry, failed)
        if isinstance(found, DrawnAgain):
            drawn = found.result
            return Visit(entry, drawn) if isinstance(drawn, Failed) else self._fetcher.read(entry, drawn)
        page = self._reader.read(found) if isinstance(found, RecordLocation) else found
        if isinstance(page, Damage):
            return page
        # The index goes by a part of the fingerprint.
        is_it = page is not None and (
            not isinstance(found, RecordLocation) or page.fp == entry.fp or page.fp == archived_as(entry)
        )
        response = page.response if page is not None and is_it else self._fetcher.saved(entry)
        # What is older than the records that stand would put yesterday's values in the place of today's.
        if response is not None and self._fetcher.is_outdated(entry, response):
            is_kept_out = entry.known is not None and entry.known.is_noarchive
            return None if is_kept_out else Visit(entry, Failed(_OUTDATED, _OUTDATED))
        return self._fetcher.read(entry, response) if response is not None else None

    def _too_long(self, asked: Asked) -> Visit:
        return Visit(asked[0], self._fetcher.too_long)


def one_by_one(
    some: Callable[[deque[Any]], Sequence[Any]], source: Callable[[], Sequence[Any]]
) -> Generator[tuple[Any, Any], None, None]:
    """Each item of a source with its result, got in this process; as `in_order` does it in others."""
    while items := source():
        given, rest = iter(items), deque(items)
        while rest:
            for result in some(rest):
                yield next(given), result


class ArchiveCrawler:
    """Parses a run's frontier from the archive, one domain after the other, here or in a `pool`.

    `most`: pages after which the work is done, where the spider declares it; what such a run did not reach
    is no failure. `notes`: what is to be told of the pool.
    """

    def __init__(
        self,
        answers: Answers | RenderedAgain,
        fetcher: Fetcher,
        token: str,
        store: Store,
        run: Run,
        clock: Clock,
        listeners: Sequence[Listener] = (),
        most: int | None = None,
        pool: ParsePool | None = None,
        notes: deque[str] | None = None,
    ) -> None:
        self._answers = answers
        self._fetcher = fetcher
        self._pool, self._notes = pool, notes if notes is not None else deque[str]()
        here = partial(one_by_one, ArchiveParser(fetcher).some)
        self._parse = partial(in_order, pool) if pool is not None else here
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
            if self._pool is not None:
                self._pool.begin()  # they get ready while the archive's index is made
            while (stop := self._next()) is None:
                pass
            return stop
        finally:
            for note in self._answers.notes():
                self._tell(Noted(note))
            self._answers.close()
            if self._pool is not None:
                self._pool.close()

    def stop(self) -> None:
        """Ask it to end; callable from a signal handler."""
        self._is_stopped = True

    def _next(self) -> Stop | None:
        """Parse one domain, or wait for one; why it ends, if it does."""
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
        return None

    def _is_full(self) -> bool:
        return self._most is not None and self._pages >= self._most

    def _work(self, lease: Lease) -> None:
        """Parse what a domain has, until it runs dry or others wait for it."""
        stats = DomainStats.from_json(lease.stats)
        is_wanted, is_more = False, True
        while is_more and not (is_wanted or self._is_stopped or self._is_full()):
            is_more = False
            taking = _Taking(self._store, self._run, lease, self._answers)
            with closing(self._parse(taking.more)) as parsed:
                for visits in self._groups(parsed, stats):
                    self._store.settle(
                        self._run, visits, [DomainUpdate(lease, lease.due, stats=stats.to_json())]
                    )
                    taking.held.difference_update(visit.entry.id for visit in visits)
                    self._tell(Settled(len(visits)))
                    is_more = True
                    is_wanted |= self._beat() >= {lease.domain}
                    if is_wanted:
                        break
        self._store.release([DomainUpdate(lease, lease.due, stats=stats.to_json())])

    def _groups(
        self, parsed: Iterator[tuple[Asked, Any] | None], stats: DomainStats
    ) -> Iterator[list[Visit]]:
        """The visits as they come, in groups that are settled together."""
        visits: list[Visit] = []
        settle_by = self._clock.now() + BEAT_EVERY
        for one in parsed:
            if one is not None:
                (entry, found), result = one
                visits.append(self._visit(entry, found, result))
                stats.count(visits[-1])
            is_over = self._is_stopped or self._is_full()
            if visits and (is_over or len(visits) >= IN_HAND or self._clock.now() >= settle_by):
                yield visits
                visits, settle_by = [], self._clock.now() + BEAT_EVERY
            elif one is None:
                self._beat()
            if is_over:
                return
        if visits:
            yield visits

    def _visit(self, entry: Entry, found: object, result: Visit | Damage | Died | None) -> Visit:
        if isinstance(result, Damage):
            self._answers.note(result)
            result = None
        if isinstance(result, Died):
            result = Visit(entry, died(result.times))
        visit = result or self._fetcher.give_up(Visit(entry, self._missing(entry)))
        if isinstance(found, DrawnAgain):
            notes = (*visit.notes, *found.notes)
            visit = replace(visit, notes=notes, loads=found.loads, rendered=found.why)
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
        while self._notes:
            self._tell(Noted(self._notes.popleft()))
        pending = self._store.progress(self._run).pending
        self._tell(Ticked(self._pages, self._records, self._failed, 0, pending, (), 0))
        return self._store.heartbeat()

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)


class _Taking:
    """What a domain has to parse next: each URL once, as long as it is not settled. `held`: their ids."""

    def __init__(self, store: Store, run: Run, lease: Lease, answers: Answers | RenderedAgain) -> None:
        self._store, self._run, self._lease, self._answers = store, run, lease, answers
        self.held: set[int] = set()

    def more(self) -> list[Asked]:
        """The next URLs, with their answers or where these are."""
        entries = self._store.take(self._run, self._lease, IN_HAND, tuple(self.held))
        self.held.update(entry.id for entry in entries)
        return [(entry, self._answers.find(entry)) for entry in entries]
