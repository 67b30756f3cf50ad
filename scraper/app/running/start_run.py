"""One run of a spider, from the lease to the verdict."""

import os
import signal
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from scraper.app.archived.archive_home import archive_home_of, send_archive
from scraper.app.compose import compose, worker_name
from scraper.app.options import Options, Prepared, inputs_of, kept_params, open_params, with_params
from scraper.app.project import find_run
from scraper.app.running.end_run import conclude
from scraper.app.running.outputs import Streaming
from scraper.app.running.page_source import keep_source
from scraper.app.running.run_output import Exporter, LogFile, Timeline
from scraper.app.running.summary import End, moment, unstarted
from scraper.app.running.watchdog import Watchdog
from scraper.engine.domain_stats import DomainStats
from scraper.engine.plan import Stop
from scraper.errors import StoreError, UsageError
from scraper.http.caching import CLOCK_ERROR
from scraper.ops.clock import Clock, SystemClock
from scraper.ops.secrets import Redaction
from scraper.runs.events import Listener, Noted, RunBegan
from scraper.runs.files import RunFiles, examples
from scraper.settings import COMMAND_LINE
from scraper.settings import names as setting_names
from scraper.spider import Rules, Spider, rules_of, seeds, starting_from
from scraper.store import Run, Store

CHUNK = 5000
MOST_LOOKED_AT = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(prepared: Prepared, store: Store, listeners: Sequence[Listener] = ()) -> dict[str, Any]:
    """Run a spider to its end or to a stop; the summary (run.json), with the exit code in it.

    Raises StoreBusy before anything is touched while another run of the spider is alive.
    """
    clock = SystemClock(store.anchor())
    store.join(worker_name())
    try:
        was_offline = keep_source(prepared, store)
        prepared, found, note = _begin(prepared, store, was_offline=was_offline)
        files = files_of(prepared, found)
        try:
            files.open()
            for sink in prepared.sinks:
                sink.open(examples(files.home))
            noted = [Noted(text) for text in (note, _clock_note(store, found, clock.wall())) if text]
            return _whole(prepared, store, found, files, clock, listeners, noted)
        except Exception as error:
            _end_unstarted(store, found, clock, error, prepared.redaction)
            raise
        finally:
            for sink in prepared.sinks:
                sink.abandon()
            files.close()
    finally:
        store.leave()


def _clock_note(store: Store, found: Run, wall: float) -> str:
    """What to say where an earlier run of the spider lies in the future."""
    others = [one for one in store.runs(found.spider, MOST_LOOKED_AT) if one.number != found.number]
    last = max(others, key=lambda one: one.ended_at or one.started_at, default=None)
    moment = (last.ended_at or last.started_at) if last is not None else 0.0
    if last is None or moment <= wall + CLOCK_ERROR:
        return ""
    here, there = (f"{datetime.fromtimestamp(one, UTC):%Y-%m-%d %H:%M} UTC" for one in (wall, moment))
    return (
        f"this machine's clock says {here}, but run {last.id} ended at {there}: one of the two is wrong; "
        "what was kept then is asked for again"
    )


def _begin(prepared: Prepared, store: Store, *, was_offline: bool) -> tuple[Prepared, Run, str]:
    """Begin a run, or go on with one, with its params.

    A run whose pages so far were parsed by other code, or come from an archive, is begun anew; the last
    value then says so.
    """
    if prepared.options.failed:
        return _reopened(prepared, store)
    last = next(iter(store.runs(prepared.loaded.name, 1)), None)
    open_run = last if last is not None and last.state != "ended" and not prepared.options.fresh else None
    if open_run is not None and store.holder(open_run.spider) is None:
        prepared = with_params(prepared, _same_params(open_run, prepared.options))
    code = inputs_of(prepared).code
    note = ""
    if open_run is not None and open_run.code and open_run.code != code:
        note = (
            f"run {open_run.id} was begun with other code (or settings that parsing depends on): "
            "a new run parses its pages again"
        )
    elif open_run is not None and was_offline:
        note = f"run {open_run.id} parsed archived pages and did not get to the end: a new run asks the site"
    found = store.start_run(
        prepared.loaded.name,
        code,
        params=kept_params(prepared.spider.params, prepared.options.hidden),
        fresh=prepared.options.fresh or bool(note),
    )
    return prepared, found, note


def _reopened(prepared: Prepared, store: Store) -> tuple[Prepared, Run, str]:
    """Go on with a spider's last run, with what failed in it alone, whatever code parsed the rest."""
    spider, options = prepared.loaded.name, prepared.options
    if options.fresh or options.is_offline:
        raise UsageError("--failed goes on with a run", "leave --fresh and --replay out")
    named, last = find_run(store, options.failed), next(iter(store.runs(spider, 1)), None)
    if last is None or named.id != last.id:
        is_other = named.spider != spider
        text = f"is a run of {named.spider}" if is_other else f"is not the last run of {spider}"
        hint = f"what failed then was asked for again by {last.id}: --failed {last.id}" if last else ""
        raise UsageError(f"run {named.id} {text}", "" if is_other else hint)
    prepared = with_params(prepared, _same_params(last, options))
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(last).items()}
    kept = {name: stats.without_failures().to_json() for name, stats in domain_stats.items()}
    count = store.reopen_run(last, kept)
    if not count:
        raise UsageError(f"nothing failed in run {last.id}", f"run {spider} asks for all of it again")
    found = store.start_run(spider, inputs_of(prepared).code)
    return prepared, found, f"{count} URLs that failed are asked for again"


def _same_params(begun: Run, options: Options) -> dict[str, str]:
    """The params of a run that goes on: its own, and secrets given again; UsageError for others."""
    given = options.params
    if begun.params is None:
        return dict(given)
    kept = {name: value for name, value in begun.params.items() if value is not None}
    hint = "leave that param out to go on, or add --fresh to give the run up and begin anew"
    for name, value in sorted(open_params(given, options.hidden).items()):
        if kept.get(name) != value:
            was = f"with --param {name}={kept[name]}" if name in kept else f"without --param {name}"
            raise UsageError(f"run {begun.id} of {begun.spider} was begun {was} and has not ended", hint)
    for name in begun.params.keys() - kept.keys() - given.keys():
        text = f"run {begun.id} of {begun.spider} was begun with --param {name}, whose value is not kept"
        raise UsageError(text, f"give it again: --param {name}=-")
    return {**kept, **given}


def files_of(prepared: Prepared, run: Run) -> RunFiles:
    """The files of a run, without its secrets and for whom the settings say."""
    return RunFiles(
        prepared.options.data, run.spider, run.id, prepared.redaction, is_shared=prepared.settings.share
    )


def _end_unstarted(store: Store, found: Run, clock: Clock, error: Exception, redaction: Redaction) -> None:
    """A run that could not start is no run to go on with; one that has begun is left as it is."""
    if not found.is_resumed and not store.progress(found).done and not isinstance(error, StoreError):
        summary = unstarted(found, clock.wall(), redaction(str(error)))
        store.end_run(found, summary, accepted=False, whole=False)


def _whole(
    prepared: Prepared,
    store: Store,
    found: Run,
    files: RunFiles,
    clock: Clock,
    listeners: Sequence[Listener],
    noted: Sequence[Noted] = (),
) -> dict[str, Any]:
    """The run between the spider's hooks `opened` and `closed`."""
    summary: dict[str, Any] = {}
    with _Guard(is_embedded=prepared.options.is_embedded) as guard:
        prepared.spider.opened()
        try:
            summary |= _crawl(prepared, store, found, files, clock, listeners, guard, noted)
        finally:
            prepared.spider.closed(summary)
    return summary


def _crawl(
    prepared: Prepared,
    store: Store,
    found: Run,
    files: RunFiles,
    clock: Clock,
    listeners: Sequence[Listener],
    guard: "_Guard",
    noted: Sequence[Noted],
) -> dict[str, Any]:
    began = clock.now()
    rules = rules_of(
        prepared.spider,
        allowed_domains=prepared.settings.allowed_domains,
        max_depth=prepared.settings.max_depth,
        obey_nofollow=prepared.settings.obey_nofollow,
        max_links=prepared.settings.max_links,
    )
    first = seeds(prepared.spider, rules)
    rules = starting_from(rules, first)
    for start in range(0, len(first), CHUNK):
        store.add(found, first[start : start + CHUNK])
    exporter = Exporter(store, found, files)
    exporter.begin()
    timeline = Timeline(clock, exporter.fill)
    streaming = Streaming(prepared, store, found, guard.lose_reader)
    is_archived = prepared.settings.archive and not prepared.options.is_offline
    is_kept = is_archived and prepared.options.is_alone
    archive_home = archive_home_of(prepared)
    with archive_home.writing(files, is_kept, None, worker_name()) as keepers:
        watchdog = Watchdog(prepared.settings.parse_timeout, is_armed=not prepared.options.is_embedded)
        watchers: tuple[Listener, ...] = (
            watchdog,
            exporter,
            streaming,
            LogFile(files, clock),
            timeline,
            *keepers,
            *listeners,
        )
        tries, since = _unfinished(store, found)
        began_run = RunBegan(found.spider, found.id, found.is_resumed, tries - 1, found.kills, since)
        for watcher in watchers:
            watcher(began_run)
            for note in noted:
                watcher(note)
            for name in _strays(type(prepared.spider)):
                watcher(Noted(f'{name} in the class sets nothing: write settings = {{"{name}": ...}}'))
        crawler = crawler_of(prepared, rules, store, found, clock, watchers)
        with watchdog:
            stop = guard.run(crawler)
    if is_archived:
        send_archive(archive_home, files, store)
    exporter.export()
    streaming.export()
    pending = store.progress(found).pending
    end = End(
        stop,
        guard.signal if stop is Stop.SIGNAL else 0,
        pending,
        clock.now() - began,
        clock.wall(),
        _is_pause(stop, prepared),
        tries,
        since,
    )
    return conclude(prepared, store, found, files, exporter, timeline, end)


def _unfinished(store: Store, found: Run) -> tuple[int, str]:
    """How many runs in a row will not have come to their end, this one included, and since when (ISO 8601).

    A run that was ended for that reason counts for the next one too, and so do processes that were killed.
    """
    known = (
        [found] if found.is_resumed else [one for one in store.runs(found.spider, 2) if one.id != found.id]
    )
    before = known[0].summary if known else {}
    since = str(before.get("unfinished_since") or moment(found.started_at))
    return int(before.get("unfinished", 0)) + found.kills + 1, since


def _strays(spider: type[Spider]) -> list[str]:
    """Values of the class that are named like settings, as other tools have them; here they do nothing."""
    given = {name: value for kind in spider.__mro__ for name, value in vars(kind).items()}
    plain = {name for name, value in given.items() if isinstance(value, int | float | str | Mapping)}
    return [name for name in setting_names() if name in plain and not hasattr(Spider, name)]


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
        # Imported on first use, as are the workers: each module costs the start of all other runs.
        from scraper.app.archived.compose_offline import compose_offline

        return compose_offline(prepared, rules, store, found, clock, listeners)
    if prepared.options.is_alone:
        return compose(prepared, rules, store, found, clock, listeners, leads=True)
    from scraper.app.running.worker_pool import Here, Workers

    if not prepared.options.ray:
        return Workers(prepared, rules, store, found, clock, listeners, Here())
    from scraper.app.running.ray_workers import RayCluster

    cluster = RayCluster(prepared.options.ray, prepared.settings.store)
    return Workers(prepared, rules, store, found, clock, listeners, cluster)


class _Guard:
    """Turns SIGINT, SIGTERM and SIGHUP (the terminal is gone) into a stop, whatever the run is doing.

    One that is ignored (`nohup`) stays so.

    A second signal ends the process at once, which loses nothing either. A process that `is_embedded` is not
    ours: the second signal goes to whoever heard it before us, and outside the main thread none can be heard.
    """

    def __init__(self, *, is_embedded: bool = False) -> None:
        self.signal = 0
        self._is_embedded = is_embedded
        self._crawler: Crawler | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Guard":
        if threading.current_thread() is not threading.main_thread():
            return self
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.signal and number != signal.SIGHUP:  # shell and terminal both send that one
            if not self._is_embedded:
                os._exit(128 + number)
            self._give_back()
            signal.raise_signal(number)
        self.signal = self.signal or number
        if self._crawler is not None:
            self._crawler.stop()

    def lose_reader(self) -> None:
        """Stop as SIGPIPE ends a program whose output nobody reads any more, but with the state saved."""
        if not self.signal:
            self._handle(signal.SIGPIPE, None)

    def run(self, crawler: Crawler) -> Stop:
        """Crawl until the crawler ends, or a signal does."""
        self._crawler = crawler
        if self.signal:
            crawler.stop()
        return crawler.run()


def _is_pause(stop: Stop, prepared: Prepared) -> bool:
    """Whether a limit was meant for this run alone; one that the spider declares is the size of its work."""
    if stop is Stop.RECORDS:
        return True
    name = {Stop.PAGES: "max_pages", Stop.TIME: "max_time"}.get(stop)
    return name is not None and (name == "max_time" or prepared.settings.source(name) == COMMAND_LINE)
