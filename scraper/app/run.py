"""One run of a spider, from the lease to the verdict."""

import os
import random
import signal
import socket
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scraper import settings as settings_of
from scraper.app.journal import Exporter, LogFile
from scraper.app.options import Prepared
from scraper.app.publish import publish
from scraper.app.summary import End, facts_of, judgement_of, summary_of
from scraper.clock import Clock, SystemClock
from scraper.engine.crew import ThreadCrew
from scraper.engine.domain import Tally
from scraper.engine.engine import Engine, Plan, Stop
from scraper.engine.permits import Permits
from scraper.events import Listener, RunBegan
from scraper.fetcher import Fetcher, Habits
from scraper.files import RunFiles
from scraper.model import Verdict
from scraper.session import DomainSession
from scraper.settings import COMMAND_LINE, Settings
from scraper.spider import Rules, Spider, rules_of, seeds
from scraper.store import Lease, Run, Store
from scraper.turnstile import Turnstile

CHUNK = 5000


def run(prepared: Prepared, store: Store, listeners: Sequence[Listener] = ()) -> dict[str, Any]:
    """Run a spider to its end or to a stop; the summary (run.json), with the exit code in it.

    Raises StoreBusy before anything is touched while another run of the spider is alive.
    """
    clock = SystemClock(store.anchor())
    store.join(worker_name())
    try:
        found = store.start_run(prepared.loaded.name, prepared.loaded.code, fresh=prepared.options.fresh)
        files = RunFiles(prepared.options.data, found.spider, found.id)
        files.open()
        try:
            return _crawl(prepared, store, found, files, clock, listeners)
        finally:
            files.close()
    finally:
        store.leave()


def _crawl(
    prepared: Prepared, store: Store, found: Run, files: RunFiles, clock: Clock, listeners: Sequence[Listener]
) -> dict[str, Any]:
    spider = prepared.spider
    began = clock.now()
    spider.opened()
    summary: dict[str, Any] = {}
    try:
        rules = rules_of(
            spider,
            allowed_domains=prepared.settings.allowed_domains,
            max_depth=prepared.settings.max_depth,
            obey_nofollow=prepared.settings.obey_nofollow,
        )
        first = seeds(spider, rules)
        for start in range(0, len(first), CHUNK):
            store.add(found, first[start : start + CHUNK])
        exporter = Exporter(store, found, files)
        exporter.begin()
        watchers: tuple[Listener, ...] = (exporter, LogFile(files, clock), *listeners)
        for watcher in watchers:
            watcher(RunBegan(found.spider, found.id, found.is_resumed))
        engine = compose(prepared, rules, store, found, clock, watchers)
        stop, number = _run_engine(engine)
        exporter.export()
        end = End(stop, number, store.progress(found).pending, clock.now() - began, _is_pause(stop, prepared))
        summary = conclude(prepared, store, found, files, exporter, end)
        return summary
    finally:
        spider.closed(summary)


def compose(
    prepared: Prepared,
    rules: Rules,
    store: Store,
    found: Run,
    clock: Clock,
    listeners: Sequence[Listener],
) -> Engine:
    """Wire the parts of one run together."""
    settings = prepared.settings
    token = settings_of.token(settings)
    habits = Habits(found.number, token, settings.max_attempts, settings.archive)
    fetcher = Fetcher(prepared.spider, rules, habits, clock)
    return Engine(
        store,
        found,
        ThreadCrew(fetcher, settings.threads),
        Permits(store, clock, settings.robots_exempt),
        session_opener(settings, clock),
        plan_of(settings, token, prepared.spider),
        clock,
        listeners,
        random.random,
    )


def plan_of(settings: Settings, token: str, spider: Spider) -> Plan:
    """The settings that the loop obeys."""
    return Plan(
        token=token,
        delay=settings.delay,
        delay_factor=settings.delay_factor,
        max_delay=settings.max_delay,
        max_wait=settings.max_wait,
        max_attempts=settings.max_attempts,
        concurrency=settings.concurrency,
        threads=settings.threads,
        max_pages=settings.max_pages,
        max_time=settings.max_time,
        max_age=settings.max_age,
        active_hours=(settings.active_hours,) if settings.active_hours else (),
        has_login=type(spider).login is not Spider.login,
    )


def session_opener(settings: Settings, clock: Clock) -> Callable[[Lease, Turnstile], DomainSession]:
    """How a domain's session is made: who we say we are, and what the settings say for this domain."""
    sender = settings_of.sender(settings)
    identity = {"User-Agent": settings_of.agent(settings), "Accept-Encoding": "gzip, deflate"}
    if sender:
        identity["From"] = sender

    def open_session(lease: Lease, gate: Turnstile) -> DomainSession:
        session = DomainSession(
            lease.domain,
            headers={**identity, **settings_of.headers_for(settings, lease.domain)},
            timeout=settings.timeout,
            max_body=settings.max_body,
            connections=settings.concurrency,
            gate=gate,
            clock=clock,
        )
        verify = settings_of.for_domain(settings.verify, lease.domain)
        if verify is not None:
            session.verify = verify
        session.load(lease.session)
        return session

    return open_session


def _run_engine(engine: Engine) -> tuple[Stop, int]:
    with _signals(engine.stop) as caught:
        stop = engine.run()
    return stop, caught[0] if caught and stop is Stop.SIGNAL else 0


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """SIGINT and SIGTERM set a flag; a second one ends the process at once, which loses nothing either."""
    caught: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if caught:
            os._exit(128 + number)
        caught.append(number)
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_pause(stop: Stop, prepared: Prepared) -> bool:
    """Whether a limit was meant for this run alone; one that the spider declares is the size of its work."""
    name = {Stop.PAGES: "max_pages", Stop.TIME: "max_time"}.get(stop)
    return name is not None and (name == "max_time" or prepared.settings.source(name) == COMMAND_LINE)


def conclude(
    prepared: Prepared, store: Store, found: Run, files: RunFiles, exporter: Exporter, end: End
) -> dict[str, Any]:
    """Judge a run, publish its records if it deserves it, and close or pause it."""
    tallies = {name: Tally.from_json(text) for name, text in store.tallies(found).items()}
    facts = facts_of(tallies, exporter.fill, end)
    history = [one.summary for one in store.runs(found.spider) if one.summary.get("verdict") == Verdict.OK]
    judgement = judgement_of(facts, history, prepared.health, end)
    summary = summary_of(found, tallies, exporter.fill, judgement, end)
    is_accepted = judgement.verdict is Verdict.OK
    is_whole = is_accepted and end.stop is Stop.DONE
    if is_accepted:
        summary |= publish(store, found, files, prepared.spider, is_whole=is_whole)
    if summary["exit_code"] == 0:
        _write_outputs(prepared, store, found)
    if end.is_unfinished and judgement.verdict is Verdict.INCOMPLETE:
        store.pause_run(found, summary)
    else:
        store.end_run(found, summary, accepted=is_accepted, whole=is_whole)
    files.write_run(summary)
    return summary


def _write_outputs(prepared: Prepared, store: Store, found: Run) -> None:
    for sink in prepared.sinks:
        sink.open()
        cursor = 0
        while kept := store.records(found, cursor):
            cursor = kept[-1].cursor
            sink.write([one.line for one in kept])
        sink.close()


def worker_name() -> str:
    """A name that no worker had before: a dead one's rights must never come back to life."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
