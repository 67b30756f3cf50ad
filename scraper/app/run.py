"""One run of a spider, from the lease to the verdict."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from scraper.app.compose import compose, compose_offline, worker_name
from scraper.app.journal import Exporter, LogFile
from scraper.app.options import Prepared
from scraper.app.publish import publish
from scraper.app.summary import End, facts_of, judgement_of, summary_of, unstarted
from scraper.app.workers import Workers
from scraper.archive import writing
from scraper.clock import Clock, SystemClock
from scraper.engine.domain import Tally
from scraper.engine.engine import Stop
from scraper.errors import UsageError
from scraper.events import Listener, RunBegan
from scraper.files import RunFiles
from scraper.model import Verdict
from scraper.settings import COMMAND_LINE
from scraper.spider import Rules, rules_of, seeds
from scraper.store import Run, Store

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
        try:
            files.open()
            for sink in prepared.sinks:
                sink.open()
            return _whole(prepared, store, found, files, clock, listeners)
        except UsageError as error:
            _end_unstarted(store, found, clock, error)
            raise
        finally:
            for sink in prepared.sinks:
                sink.abandon()
            files.close()
    finally:
        store.leave()


def _end_unstarted(store: Store, found: Run, clock: Clock, error: UsageError) -> None:
    """A run that could not start is no run to go on with; one that had begun before is left as it is."""
    if not found.is_resumed:
        summary = unstarted(found, clock.wall(), error.message)
        store.end_run(found, summary, accepted=False, whole=False)


def _whole(
    prepared: Prepared, store: Store, found: Run, files: RunFiles, clock: Clock, listeners: Sequence[Listener]
) -> dict[str, Any]:
    """The run between the spider's hooks `opened` and `closed`."""
    summary: dict[str, Any] = {}
    prepared.spider.opened()
    try:
        summary |= _crawl(prepared, store, found, files, clock, listeners)
    finally:
        prepared.spider.closed(summary)
    return summary


def _crawl(
    prepared: Prepared, store: Store, found: Run, files: RunFiles, clock: Clock, listeners: Sequence[Listener]
) -> dict[str, Any]:
    began = clock.now()
    rules = rules_of(
        prepared.spider,
        allowed_domains=prepared.settings.allowed_domains,
        max_depth=prepared.settings.max_depth,
        obey_nofollow=prepared.settings.obey_nofollow,
    )
    first = seeds(prepared.spider, rules)
    for start in range(0, len(first), CHUNK):
        store.add(found, first[start : start + CHUNK])
    exporter = Exporter(store, found, files)
    exporter.begin()
    is_archived = prepared.settings.archive and not prepared.options.is_offline
    with writing(files.folder, is_archived and prepared.options.workers == 1) as keepers:
        watchers: tuple[Listener, ...] = (exporter, LogFile(files, clock), *keepers, *listeners)
        for watcher in watchers:
            watcher(RunBegan(found.spider, found.id, found.is_resumed))
        stop, number = _drive(crawler_of(prepared, rules, store, found, clock, watchers))
    exporter.export()
    pending = store.progress(found).pending
    end = End(stop, number, pending, clock.now() - began, clock.wall(), _is_pause(stop, prepared))
    return conclude(prepared, store, found, files, exporter, end)


class Crawler(Protocol):
    """What crawls: the engine in this process, or the parent of several."""

    def run(self) -> Stop:
        """Crawl until nothing is left, a limit is reached or somebody stops it."""
        ...

    def stop(self) -> None:
        """Ask it to end; callable from a signal handler."""
        ...


def crawler_of(
    prepared: Prepared, rules: Rules, store: Store, found: Run, clock: Clock, listeners: Sequence[Listener]
) -> Crawler:
    """The engine, with `--workers` the processes that each run one, or what parses the archive."""
    if prepared.options.is_offline:
        return compose_offline(prepared, rules, store, found, clock, listeners)
    if prepared.options.workers > 1:
        return Workers(prepared, rules, store, found, clock, listeners)
    return compose(prepared, rules, store, found, clock, listeners)


def _drive(crawler: Crawler) -> tuple[Stop, int]:
    with _signals(crawler.stop) as caught:
        stop = crawler.run()
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
    # Also of a run that is not accepted now: a person may accept it later.
    is_whole = end.stop is Stop.DONE
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
        cursor = 0
        while kept := store.records(found, cursor):
            cursor = kept[-1].cursor
            sink.write([one.line for one in kept])
        sink.close()
