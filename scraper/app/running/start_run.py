"""One run of a spider in this process, from the claim on it in the store to the verdict."""

from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scraper.app.archived.archive_home import archive_home_of, send_archive
from scraper.app.compose import compose, worker_name
from scraper.app.options import Prepared, files_for, having_opened, rules_for
from scraper.app.running.active_run import ActiveRun
from scraper.app.running.end_run import conclude
from scraper.app.running.outputs import Streaming
from scraper.app.running.page_source import keep_source
from scraper.app.running.run_inputs import other_inputs
from scraper.app.running.run_output import Exporter, LogFile, Timeline
from scraper.app.running.start_or_resume import start_or_resume
from scraper.app.running.stop_signals import Crawler, StopSignals
from scraper.app.running.summary import End, moment, unstarted
from scraper.app.running.watchdog import Watchdog
from scraper.engine.plan import Stop
from scraper.errors import StoreError
from scraper.http.caching import CLOCK_ERROR
from scraper.ops.clock import SystemClock
from scraper.ops.looks import looking
from scraper.ops.tracebacks import files_of, told, traceback_of
from scraper.runs.events import Event, Listener, Noted, RunBegan
from scraper.runs.files import examples
from scraper.settings import COMMAND_LINE
from scraper.settings import names as setting_names
from scraper.spider import Spider
from scraper.spider.links import seeds
from scraper.spider.rules import Rules, starting_from
from scraper.store import Run, Store

CHUNK = 5000
MOST_LOOKED_AT = 10


def run(prepared: Prepared, store: Store, listeners: Sequence[Listener] = ()) -> dict[str, Any]:
    """Run a spider to its end or to a stop; the summary (run.json), with the exit code in it.

    Raises StoreBusy before anything is touched while another run of the spider is alive.
    """
    clock = SystemClock(store.anchor())
    store.join(worker_name())
    try:
        was_offline = keep_source(prepared, store)
        prepared, found, note = start_or_resume(prepared, store, was_offline=was_offline)
        files = files_for(prepared, found)
        active = ActiveRun(prepared, store, found, files, clock)
        try:
            files.open()
            for sink in prepared.sinks:
                sink.open(examples(files.home))
            noted = [Noted(text) for text in (note, _clock_note(store, found, clock.wall())) if text]
            return _with_hooks(active, listeners, noted)
        except Exception as error:
            _end_unstarted(active, error)
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


def _end_unstarted(active: ActiveRun, error: Exception) -> None:
    """A run that could not start is no run to go on with; one that has begun is left as it is."""
    store, found = active.store, active.run
    if not found.is_resumed and not store.progress(found).done and not isinstance(error, StoreError):
        summary = unstarted(found, active.clock.wall(), active.prepared.redaction(str(error)))
        store.end_run(found, summary, accepted=False, whole=False)


def _with_hooks(active: ActiveRun, listeners: Sequence[Listener], noted: Sequence[Noted]) -> dict[str, Any]:
    """Crawl between the spider's hooks `opened` and `closed`."""
    prepared = active.prepared
    with StopSignals(is_embedded=prepared.options.is_embedded) as signals:
        with looking() as looked_at:
            prepared.spider.opened()
        active = replace(active, prepared=having_opened(prepared, looked_at))
        try:
            summary = _crawl(active, listeners, signals, noted)
        except BaseException:
            with suppress(Exception):  # why the run broke off is what is to be told
                prepared.spider.closed({})
            raise
        _tell_spider(active, summary)
    return summary


def _tell_spider(active: ActiveRun, summary: dict[str, Any]) -> None:
    """Call `closed`. The run has ended, whatever comes of that: an error is one more reason to look."""
    spider, redaction = active.prepared.spider, active.prepared.redaction
    try:
        spider.closed(deepcopy(summary))
    except (Exception, SystemExit) as error:
        summary["reasons"].append(redaction(f"closed() raised {told(error, files_of(type(spider)))}"))
        summary["exit_code"] = summary["exit_code"] or 1
        active.files.keep_traceback("closed()", traceback_of(error))
        active.files.write_run(summary)
        if summary["published"]:
            active.store.accept_run(active.run, summary)


def _crawl(
    active: ActiveRun, listeners: Sequence[Listener], signals: StopSignals, noted: Sequence[Noted]
) -> dict[str, Any]:
    prepared, store, found, clock = active.prepared, active.store, active.run, active.clock
    began = clock.now()
    repeated: list[str] = []
    rules = _seeded(active, repeated)
    exporter = Exporter(store, found, active.files)
    exporter.begin()
    timeline = Timeline(clock, exporter.fill)
    streaming = Streaming(prepared, store, found, signals.lose_reader)
    watchdog = Watchdog(prepared.settings.parse_timeout, is_armed=not prepared.options.is_embedded)
    is_archived = prepared.settings.archive and not prepared.options.is_offline
    archive_home = archive_home_of(prepared)
    tries, since = _unfinished(store, found)
    writes_here = is_archived and prepared.options.is_alone
    with archive_home.writing(active.files, writes_here, None, worker_name()) as keepers:
        own = (watchdog, exporter, streaming, LogFile(active.files, clock), timeline)
        watchers: tuple[Listener, ...] = (*own, *keepers, *listeners)
        began_run = RunBegan(found.spider, found.id, found.is_resumed, tries - 1, found.kills, since)
        others = [Noted(text) for text in (other_inputs(prepared, store, found),) if text]
        noted = [*noted, *others, *_strays(type(prepared.spider)), *_repeats(repeated)]
        _tell(watchers, began_run, *noted)
        crawler = crawler_of(active, rules, watchers)
        with watchdog:
            stop = signals.run(crawler)
    if is_archived:
        send_archive(archive_home, active.files, store)
    exporter.export()
    streaming.export()
    end = End(
        stop,
        signals.signal if stop is Stop.SIGNAL else 0,
        pending=store.progress(found).pending,
        seconds=clock.now() - began,
        ended_at=clock.wall(),
        is_pause=_is_pause(stop, prepared),
        tries=tries,
        since=since,
        filtered=len(repeated),
    )
    return conclude(active, exporter, timeline, end)


def _tell(listeners: Sequence[Listener], *events: Event) -> None:
    for event in events:
        for listener in listeners:
            listener(event)


def _seeded(active: ActiveRun, repeated: list[str]) -> Rules:
    """Add the start URLs to the frontier; the spider's rules, by what they are. `repeated`: see `seeds`."""
    rules = rules_for(active.prepared)
    first = seeds(active.prepared.spider, rules, repeated)
    for start in range(0, len(first), CHUNK):
        active.store.add(active.run, first[start : start + CHUNK])
    return starting_from(rules, first)


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


def _repeats(urls: Sequence[str]) -> list[Noted]:
    """What to say of start requests that are not made."""
    if not urls:
        return []
    told = "a start request repeats" if len(urls) == 1 else f"{len(urls)} start requests repeat"
    return [Noted(f"{told} another and so is made once, e.g. {urls[0][:200]} (dont_filter asks each time)")]


def _strays(spider: type[Spider]) -> list[Noted]:
    """What to say of values of the class that are named like settings, as other tools have them."""
    given = {name: value for kind in spider.__mro__ for name, value in vars(kind).items()}
    plain = {name for name, value in given.items() if isinstance(value, int | float | str | Mapping)}
    strays = [name for name in setting_names() if name in plain and not hasattr(Spider, name)]
    return [Noted(f'{name} in the class sets nothing: write settings = {{"{name}": ...}}') for name in strays]


def crawler_of(active: ActiveRun, rules: Rules, listeners: Sequence[Listener]) -> Crawler:
    """The engine, with `--workers` the processes that each run one, or what parses the archive."""
    prepared, store, found, clock = active.prepared, active.store, active.run, active.clock
    if prepared.options.is_offline:
        # Imported on first use, as are the workers: each module costs the start of all other runs.
        from scraper.app.archived.compose_offline import compose_offline

        return compose_offline(prepared, rules, store, found, clock, listeners)
    if prepared.options.is_alone:
        return compose(prepared, rules, store, found, clock, listeners, leads=True)
    from scraper.app.running.worker_pool import Hosts, ThisHost, Workers

    notes = deque[str]()
    hosts: Hosts = ThisHost()
    if prepared.options.ray:
        from scraper.app.running.ray_workers import RayCluster

        hosts = RayCluster(prepared.options.ray, prepared.settings.store, notes.append)
    return Workers(prepared, rules, store, found, clock, listeners, hosts, notes)


def _is_pause(stop: Stop, prepared: Prepared) -> bool:
    """Whether a limit was meant for this run alone; one that the spider declares is the size of its work."""
    if stop is Stop.RECORDS:
        return True
    name = {Stop.PAGES: "max_pages", Stop.TIME: "max_time"}.get(stop)
    return name is not None and (name == "max_time" or prepared.settings.source(name) == COMMAND_LINE)
