"""A whole crawl in milliseconds, for tests: the real engine on a fake web and a fake clock."""

import json
import os
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from scraper import settings as settings_of
from scraper.app.compose import plan_of
from scraper.app.options import account_of, kept_params, parse_code
from scraper.app.running.summary import End, facts_of, judgement_of, summary_of
from scraper.app.session_opener import robots_via, session_opener
from scraper.engine.batch import Batch, BatchResult, BatchSteps, Work
from scraper.engine.domain_stats import DomainStats
from scraper.engine.engine import Engine
from scraper.engine.fetcher import Fetcher, FetchOptions
from scraper.engine.plan import Stop
from scraper.engine.robots_cache import RobotsCache
from scraper.http.exchange import Later, Until
from scraper.http.saved_files import SavedFiles
from scraper.http.session import DomainSession
from scraper.model import Denied, Failed, Fetched, Unchanged, Verdict
from scraper.model.frozen import frozen
from scraper.politeness.rate_limiter import RateLimiter
from scraper.runs import health
from scraper.runs.events import DomainLeft, Event, Listener, Refused, Visited
from scraper.runs.health import Fill
from scraper.runs.judgement import Judgement
from scraper.settings import Settings
from scraper.spider import Spider
from scraper.spider.code import code_of_class
from scraper.spider.identity import ParseInputs
from scraper.spider.links import seeds
from scraper.spider.rules import Rules, found_domains, rules_of, starting_from
from scraper.store import START, Lease, Run, Store
from scraper.store.memory import MemoryStore
from scraper.testing.clock import FakeClock
from scraper.testing.web import Asked, FakeWeb

MOST_IDLE = 10_000
CODE = "test"

_workers = count(1)


@frozen
class CrawlResult:
    """What a crawl came to. `pages`: URLs fetched and parsed or found unchanged, in order.

    `requests`: all that was asked of the web. `denied` and `failed`: the reason by URL, `left` by domain.
    `summary` is run.json. `store` and the web's clock carry over to a second `crawl`.
    """

    records: list[dict[str, Any]]
    pages: list[str]
    requests: list[Asked]
    verdict: Verdict
    reasons: tuple[str, ...]
    stop: Stop
    denied: dict[str, str]
    failed: dict[str, str]
    left: dict[str, str]
    summary: dict[str, Any]
    events: list[Event]
    store: Store


def crawl(
    spider_class: type[Spider],
    web: FakeWeb,
    *,
    store: Store | None = None,
    params: Mapping[str, str] | None = None,
    listeners: Sequence[Listener] = (),
    files: Path | None = None,
    **settings: Any,
) -> CrawlResult:
    """Run a spider on a fake web, with `settings` over its own; raises what a real run would refuse.

    `files`: the folder of what it saves, instead of nowhere.
    """
    clock = web.clock
    store = MemoryStore(clock) if store is None else store
    spider = spider_class()
    spider.params = dict(params or {})
    given = settings_of.load({**spider_class.settings, **settings}, (), Path(os.devnull), {})
    store.join(f"test-{next(_workers)}")
    try:
        run = store.start_run(
            spider.name, parse_code(CODE, spider.params, given), params=kept_params(spider.params)
        )
        return _Crawl(spider, given, store, run, clock, files).run(web, listeners)
    finally:
        store.leave()


class _Crawl:
    """One run and what is noted of it."""

    def __init__(
        self,
        spider: Spider,
        settings: Settings,
        store: Store,
        run: Run,
        clock: FakeClock,
        files: Path | None = None,
    ) -> None:
        self._spider = spider
        self._settings = settings
        self._store = store
        self._run = run
        self._clock = clock
        self._events: list[Event] = []
        most, types = settings.max_file, settings.file_types
        self._files = SavedFiles(files, most=most, types=types) if files is not None else None

    def run(self, web: FakeWeb, listeners: Sequence[Listener]) -> CrawlResult:
        began, asked = self._clock.now(), len(web.requests)
        self._spider.opened()
        summary: dict[str, Any] = {}
        try:
            stop = self._started(web, listeners).run()
            end = End(stop, 0, self._store.progress(self._run).pending, self._clock.now() - began)
            records, judgement, summary = self._conclude(end)
        finally:
            self._spider.closed(summary)
        return CrawlResult(
            records,
            pages=self._pages(),
            requests=web.requests[asked:],
            verdict=judgement.verdict,
            reasons=judgement.reasons,
            stop=stop,
            denied=self._reasons(Denied),
            failed=self._reasons(Failed),
            left={event.domain: event.reason for event in self._events if isinstance(event, DomainLeft)},
            summary=summary,
            events=self._events,
            store=self._store,
        )

    def _started(self, web: FakeWeb, listeners: Sequence[Listener]) -> Engine:
        # After `opened`, as in a real run: what a spider starts from may depend on what it set there.
        given = self._settings
        rules = rules_of(
            self._spider,
            allowed_domains=given.allowed_domains,
            max_depth=given.max_depth,
            obey_nofollow=given.obey_nofollow,
            max_links=given.max_links,
        )
        first = seeds(self._spider, rules)
        self._store.add(self._run, first)
        return self._engine(starting_from(rules, first), web, listeners)

    def _engine(self, rules: Rules, web: FakeWeb, listeners: Sequence[Listener]) -> Engine:
        token = settings_of.token(self._settings)
        words = code_of_class(type(self._spider)).words
        inputs = ParseInputs(self._run.code, words, self._settings.max_depth is not None)
        inputs = inputs.within(found_domains(self._spider, rules, self._settings.allowed_domains))
        limits = self._settings.max_attempts, self._settings.archive
        options = FetchOptions(self._run.number, token, inputs, *limits)
        fetcher = Fetcher(
            self._spider, rules, options, self._clock, in_hand=self._store.in_hand, files=self._files
        )
        return Engine(
            self._store,
            self._run,
            InlineDownloader(fetcher, self._clock),
            RobotsCache(
                self._store,
                self._clock,
                self._settings.robots_exempt,
                robots_via(self._settings, rules.origins),
            ),
            _opener(self._settings, self._clock, web, rules.origins, account_of(self._spider)),
            plan_of(self._settings, token, self._spider),
            self._clock,
            (self._events.append, *listeners),
            may_reuse=fetcher.may_reuse,
            give_up=fetcher.give_up,
        )

    def _conclude(self, end: End) -> tuple[list[dict[str, Any]], Judgement, dict[str, Any]]:
        fill = Fill()
        lines: list[str] = []
        cursor = START
        while kept := self._store.records(self._run, cursor):
            cursor = kept[-1].cursor
            lines += [one.line for one in kept]
        for line in lines:
            fill.add(line)
        domain_stats = {
            name: DomainStats.from_json(text) for name, text in self._store.domain_stats(self._run).items()
        }
        history = [one.summary for one in self._store.runs(self._run.spider) if one.is_accepted]
        declared = health.declared(self._spider.health)
        judgement = judgement_of(facts_of(domain_stats, fill, end), history, declared, end)
        summary = summary_of(self._run, domain_stats, fill, judgement, end)
        is_accepted = judgement.verdict is Verdict.OK
        if end.is_unfinished:
            self._store.pause_run(self._run, summary)
        else:
            whole = is_accepted and end.stop is Stop.DONE
            self._store.end_run(self._run, summary, accepted=is_accepted, whole=whole)
        return [json.loads(line) for line in lines], judgement, summary

    def _pages(self) -> list[str]:
        visits = [event.visit for event in self._events if isinstance(event, Visited)]
        return [visit.entry.url for visit in visits if isinstance(visit.outcome, Fetched | Unchanged)]

    def _reasons(self, kind: type[Denied] | type[Failed]) -> dict[str, str]:
        reasons: dict[str, str] = {}
        for event in self._events:
            if isinstance(event, Visited) and isinstance(event.visit.outcome, kind):
                reasons[event.visit.entry.url] = event.visit.outcome.reason
            elif isinstance(event, Refused) and kind is Denied:
                reasons[event.url] = event.reason
        return reasons


def _opener(
    settings: Settings, clock: FakeClock, web: FakeWeb, origins: Collection[str], account: str | None = None
) -> Callable[[Lease, RateLimiter], DomainSession]:
    open_session = session_opener(settings, clock, origins, account)

    def open_on_web(lease: Lease, limiter: RateLimiter) -> DomainSession:
        session = open_session(lease, limiter)
        session.trust_env = False
        session.mount("https://", web)
        session.mount("http://", web)
        return session

    return open_on_web


class InlineDownloader:
    """A `Downloader` without threads: `collect` runs each batch; waiting moves the clock."""

    early = 0.0

    def __init__(self, work: Work, clock: FakeClock) -> None:
        self._work = work
        self._clock = clock
        self._batches: deque[Batch] = deque()
        self._idle = 0

    @property
    def has_room(self) -> bool:
        """Always."""
        return True

    def submit(self, batch: Batch) -> None:
        """Keep a batch for `collect`."""
        self._batches.append(batch)

    def collect(self, timeout: float) -> list[BatchResult]:
        """Run all batches that are there; without any, let `timeout` seconds pass."""
        results: list[BatchResult] = []
        while self._batches:
            steps = BatchSteps(self._batches.popleft(), self._work)
            while (wait := steps.advance()) is not None:
                if isinstance(wait, Until):
                    self._clock.sleep(wait.moment - self._clock.now())
                elif isinstance(wait, Later):
                    told = threading.Event()
                    wait.tell(told.set)
                    assert told.wait(30), "what the batch waits for does not come"
            results += steps.results
        self._idle = 0 if results or timeout > 0 else self._idle + 1
        if self._idle > MOST_IDLE:
            raise AssertionError("the engine goes round without anything to do")
        if not results:
            self._clock.sleep(timeout)
        return results

    def close(self) -> list[BatchResult]:
        """Nobody to send home."""
        self._work.close()
        return []
