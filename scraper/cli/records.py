"""`changes`, `export` and `accept`: a spider's records."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.current_records import accept, changes_since, current_file, export
from scraper.app.options import layout_of
from scraper.app.project import find_run, needed_store
from scraper.app.running.outputs import lines_of
from scraper.cli import text
from scraper.cli.options import command_line, data_options, json_option
from scraper.errors import ScraperError, UsageError
from scraper.ops.clock import SystemClock
from scraper.ops.printable import escaped, json_text, printable
from scraper.runs.sinks import STDOUT, Layout, shown, sink_for
from scraper.spider import discovery
from scraper.store import Run

_SIGNS = {"added": "+", "changed": "~", "removed": "-"}


@click.command("changes")
@click.argument("spider")
@click.option("--since", metavar="RUN", help="Against the records of this run, instead of the run before.")
@data_options
@json_option("The lines of changes.jsonl.")
def changes_command(spider: str, since: str | None, data: Path, store: str | None, as_json: bool) -> None:
    """What the last accepted run added, changed and removed.

    \b
    python -m scraper changes shop
    python -m scraper changes shop --since 20260102-030405-7 --json
    """
    if since is None:
        _show_changes(lines_of(current_file(data, spider, "changes.jsonl")), as_json)
        return
    with closing(needed_store(data, store)) as found:
        run = find_run(found, since)
        if run.spider != spider:
            raise UsageError(f"run {run.id} is one of {run.spider}, not of {spider}")
        _show_changes((change.line() for change in changes_since(found, run)), as_json)


def _show_changes(lines: Iterable[str], as_json: bool) -> None:
    counts: Counter[str] = Counter()
    for line in lines:
        if as_json:
            click.echo(escaped(line))
            continue
        change = json.loads(line)
        counts[change["change"]] += 1
        click.echo(text.cut(f"{_SIGNS.get(change['change'], '?')} {_told(change)}", max(text.columns(), 80)))
    if not as_json:
        click.echo(", ".join(f"{counts[kind]:,} {kind}" for kind in _SIGNS))


def _told(change: Mapping[str, Any]) -> str:
    """A change in a line: the fields that differ, or the record."""
    if change["change"] != "changed":
        record = change["after"] or change["before"] or {}
        return "  ".join(f"{name}: {_value(value)}" for name, value in record.items())
    before, after = change["before"], change["after"]
    fields = dict.fromkeys([*before, *after])
    told = [f"{name}: {_value(before.get(name))} -> {_value(after.get(name))}" for name in fields]
    return f"{change['key']}  {'  '.join(told)}"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json_text(value)


@click.command("export")
@click.argument("spider")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    multiple=True,
    required=True,
    help=".jsonl .jsonl.gz .json .csv .parquet .sqlite, postgresql://..., or - (standard output). "
    "Repeatable.",
)
@click.option(
    "--data",
    metavar="DIR",
    default="data",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of database, records and runs.",
)
def export_command(spider: str, output: tuple[str, ...], data: Path) -> None:
    """Write a spider's current records to a file of any format.

    \b
    python -m scraper export shop -o shop.csv
    python -m scraper export shop -o - | head
    """
    layout = _layout(spider)
    sinks = [sink_for(target, layout) for target in output]
    count = export(current_file(data, spider), sinks)
    for target, sink in zip(output, sinks, strict=True):
        if target != STDOUT:
            click.echo(f"{text.count(count, 'record')} written to {shown(target)}", err=True)
        for note in sink.notes:
            click.echo(f"  {printable(note)}", err=True)


def _layout(spider: str) -> Layout:
    """What the spider says about its records; nothing where its file is gone or does not load any more."""
    try:
        return layout_of(discovery.find(spider).spider)
    except ScraperError:
        return Layout()


@click.command("accept")
@click.argument("run")
@data_options
def accept_command(run: str, data: Path, store: str | None) -> None:
    """Take over the records of a run that was not OK, after a look at it.

    RUN is the id of a run, or a spider's name for its last run. Its records become the current ones.
    A run without any records is taken by its id only.

    \b
    python -m scraper show 20260102-030405-7
    python -m scraper accept 20260102-030405-7
    """
    with closing(needed_store(data, store)) as found:
        known = find_run(found, run)
        _check_meant(run, known, data)
        counts = accept(found, known, data, SystemClock(found.anchor()).wall())
    told = ", ".join(f"{number:,} {kind}" for kind, number in counts.items())
    click.echo(f"accepted: {known.spider}, run {known.id}: {told}")
    click.echo(f"  files     {data / known.spider / 'records.jsonl'}")


def _check_meant(given: str, run: Run, data: Path) -> None:
    """A name alone does not take over nothing in place of something: there is no way back."""
    if given != run.id and run.state == "ended" and not run.summary.get("records"):
        raise UsageError(
            f"run {run.id} of {run.spider} brought no records: it would remove all that are there",
            f"if that is meant: {command_line('accept', run.id, data=data)}",
        )
