"""`run`: one run of a spider, with its progress."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from scraper.app.options import Options, Prepared, open_store, prepare
from scraper.app.project import told_worker
from scraper.app.running.start_run import run
from scraper.app.running.summary import MOST_TRIES
from scraper.cli import run_summary, text
from scraper.cli.options import (
    DataLocation,
    caller,
    data_options,
    hidden_params,
    json_option,
    ray_option,
    read_overrides,
    read_params,
    run_options,
)
from scraper.cli.progress import ConsoleLog, Counts, Pace, ProgressLog, unfinished
from scraper.errors import StoreBusy
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.ops.cron_log import trim_log
from scraper.ops.printable import json_text, printable
from scraper.runs.events import Event, Listener, RunBegan, Ticked, Visited
from scraper.runs.sinks import STDOUT
from scraper.settings import DEFAULT
from scraper.store import Store

Go = Callable[[Prepared, Store, Sequence[Listener]], dict[str, Any]]


@frozen
class OutputMode:
    """How much is said, and where."""

    is_quiet: bool
    as_json: bool


@click.command("run")
@click.argument("spider")
@data_options
@run_options
@click.option(
    "--limit", metavar="N", type=click.IntRange(1), help="A sample: stop after N records, and give -o those."
)
@click.option(
    "--replay",
    metavar="FILE",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take a WARC file of any tool as the web: no request is made. Repeatable.",
)
@ray_option
@click.option(
    "--failed", metavar="RUN", default="", help="Go on with the last run: ask for what failed in it, no more."
)
@click.option("--fresh", is_flag=True, help="Give up an unfinished run and begin a new one.")
@click.option("--quiet", is_flag=True, help="Say nothing unless something needs a person: for cron.")
@json_option("Print the summary as one JSON object, last line of standard output.")
def run_command(spider: str, quiet: bool, as_json: bool, **given: Any) -> int:
    """Crawl: start a run, or resume one that did not end.

    SPIDER is a name (spiders/NAME.py) or a file.

    \b
    python -m scraper run bookshop
    python -m scraper run shop --limit 20 -o sample.csv
    python -m scraper run shop --set delay=3 --param category=poetry
    python -m scraper run shop -o - | jq .title
    python -m scraper run shop --quiet --max-time 50m      (what cron wants)
    """
    options = _options(spider, **given)
    caller().redaction.add(options.params[name] for name in options.hidden)
    prepared = prepare(options)
    caller().redaction = prepared.redaction
    if quiet:
        trim_log(options.data / prepared.loaded.name / "cron.log")
    summary = run_watched(prepared, OutputMode(quiet, as_json), _replay() if options.replay else run)
    return int(summary["exit_code"])


def _options(
    spider: str,
    data: Path,
    store: str | None,
    output: tuple[str, ...],
    with_meta: bool,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    max_pages: str | None,
    max_time: str | None,
    limit: int | None,
    workers: int,
    archive: bool,
    replay: tuple[Path, ...],
    ray: str,
    failed: str,
    fresh: bool,
) -> Options:
    return Options(
        spider,
        data=data,
        outputs=output,
        overrides=read_overrides(sets, max_pages=max_pages, max_time=max_time, store=store, archive=archive),
        params=read_params(params),
        hidden=hidden_params(params),
        workers=workers,
        fresh=fresh,
        limit=limit,
        program=caller().program,
        is_offline=bool(replay),
        replay=replay,
        failed=failed,
        ray=ray,
        with_meta=with_meta,
    )


def _replay() -> Go:
    # Imported on first use: few runs read files, and each module costs the start of all others.
    from scraper.app.archived.replay import replay

    return replay


def run_watched(prepared: Prepared, mode: OutputMode, go: Go = run) -> dict[str, Any]:
    """Run a spider with output by `mode`, and tell how it ended; the summary."""
    data = prepared.options.data
    opened = open_store(data, prepared.settings.store, is_shared=prepared.settings.share)
    try:
        with _watched(prepared, mode) as listeners:
            summary = go(prepared, opened, listeners)
    except StoreBusy as error:
        raise _already_running(error, opened, prepared.loaded.name) from error
    finally:
        opened.close()
    _tell_end(summary, prepared, mode)
    return summary


def _tell_end(summary: dict[str, Any], prepared: Prepared, mode: OutputMode) -> None:
    location = DataLocation(prepared.options.data)
    if mode.is_quiet:
        lines: Sequence[str] = run_summary.quiet(summary, location)
    else:
        exempt = prepared.settings.robots_exempt
        lines = list(run_summary.full(summary, location, exempt, width=text.room(sys.stderr)))
    with suppress(OSError):  # the terminal may be gone (SIGHUP)
        for line in lines:
            click.echo(line, err=True)
    if mode.as_json:
        click.echo(json_text(summary))


@contextmanager
def _watched(prepared: Prepared, mode: OutputMode) -> Iterator[Sequence[Listener]]:
    """The listeners of a run: none that speaks, lines, or the live view."""
    found, counts = prepared.settings, Counts(prepared.loaded.name)
    if mode.is_quiet:
        yield (_note_fetching(), _note_killed)
        return
    limits = (found.max_pages, found.max_time)
    # Where records are printed on the same terminal, a view would stand in their way.
    if sys.stderr.isatty() and not (STDOUT in prepared.options.outputs and sys.stdout.isatty()):
        # Imported here: a run in cron needs no live view, and it takes as long to load as much of the engine.
        from scraper.cli.live import View

        with View(counts, limits) as view:
            yield (_note_fetching(), counts, _console_log(prepared, counts, view.say))
        return
    yield (_note_fetching(), counts, _console_log(prepared, counts, _log), ProgressLog(counts, _log, limits))


def _console_log(prepared: Prepared, counts: Counts, say: Any) -> ConsoleLog:
    found = prepared.settings
    source = found.source("delay")
    pace = Pace(found.delay, "default delay" if source == DEFAULT else f"delay of {source}")
    redaction = prepared.redaction

    def tell(line: str) -> None:
        say(printable(redaction(line)))

    return ConsoleLog(
        counts, tell, pace, found.robots_exempt, found.max_attempts, is_verbose=caller().is_verbose
    )


def _note_fetching() -> Listener:
    ours = caller()

    def note(event: Event) -> None:
        match event:
            case Visited(visit=visit) if visit.exchange is not None:
                ours.has_fetched = True
            case Ticked(pages=pages, failed=failed) if pages or failed:
                ours.has_fetched = True

    return note


def _note_killed(event: Event) -> None:
    """Say, also in cron, what is no longer an accident; at once, since this run may be killed too."""
    if isinstance(event, RunBegan) and event.killed and event.unfinished + 1 >= MOST_TRIES:
        with suppress(OSError):
            click.echo(printable(unfinished(event)), err=True)


def _log(line: str) -> None:
    now = datetime.fromtimestamp(SystemClock(0.0).wall())
    # Who read along may be gone (`2>&1 | head`), or the disk be full under the log: no matter of the run's.
    with suppress(OSError):
        click.echo(f"{now:%H:%M:%S} {line}", err=True)


def _already_running(error: StoreBusy, store: Store, spider: str) -> StoreBusy:
    """Who runs the spider, in words for people."""
    holder = store.holder(spider)
    if holder is None:
        return error
    who = told_worker(holder[0])
    return StoreBusy(
        f"{spider} is already running: {who} since {text.moment(holder[1])}", "wait for it or stop it"
    )
