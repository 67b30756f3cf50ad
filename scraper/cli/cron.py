"""`cron`: prints or installs the crontab line of a spider, or its systemd units."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from scraper.app.options import Options, prepare
from scraper.cli.options import RUN_FLAGS, command_line, read_overrides, read_params, run_options
from scraper.errors import ScraperError, UsageError
from scraper.ops import cron
from scraper.ops import systemd as systemd_units
from scraper.ops.schedule import parse_schedule
from scraper.runs.sinks import STDOUT
from scraper.spider import discovery


@click.command("cron")
@click.argument("spider")
@click.argument("schedule", metavar="[SCHEDULE]", nargs=-1)
@click.option("--install", is_flag=True, help="Write the line into your crontab, in place of an older one.")
@click.option("--remove", is_flag=True, help="Take the spider's line out of your crontab.")
@click.option("--systemd", is_flag=True, help="Print a timer and a service instead.")
@run_options
@click.option("--data", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Data folder.")
@click.option("--store", metavar="URL", help="The database, where it is not DIR/scraper.db.")
def cron_command(
    spider: str,
    schedule: tuple[str, ...],
    install: bool,
    remove: bool,
    systemd: bool,
    data: Path | None,
    store: str | None,
    **options: Any,
) -> None:
    """The crontab line that runs a spider, or its systemd timer.

    SCHEDULE has five fields: minute, hour, day of month, month, day of week. All other options are those of
    `run`, and go into the line.

    \b
    python -m scraper cron shop "0 3 * * *"             every night at 3, printed
    python -m scraper cron shop "0 3 * * *" --install   written to your crontab
    python -m scraper cron shop "0 3 * * *" -o shop.csv --max-time 50m --install
    python -m scraper cron shop --remove
    """
    if sum((install, remove, systemd)) > 1:
        raise click.UsageError("only one of --install, --remove and --systemd", click.get_current_context())
    folder = Path.cwd()
    if remove:
        _remove(spider, folder)
        return
    if len(schedule) != 1:
        wrong = "stands in quotes" if schedule else "is missing"
        context = click.get_current_context()
        raise click.UsageError(f'a schedule {wrong}, such as "0 3 * * *"', context)
    words = _run_words(store, options)
    job = _job(spider, schedule[0], folder, data, words)
    _check(spider, data, store, options)
    if systemd:
        _print_units(job)
    elif install:
        is_new = cron.install(job)
        click.echo("installed" if is_new else "it stood there already", err=True)
        click.echo(cron.line(job))
    else:
        click.echo(cron.line(job))
        if sys.stdout.isatty():
            again = command_line("cron", spider, schedule[0], *words, data=data or Path("data"))
            click.echo(f"(to write it into your crontab: {again} --install)", err=True)


def _remove(spider: str, folder: Path) -> None:
    name = spider
    with suppress(ScraperError):  # the spider may be gone, and its line not
        name = discovery.find(spider).name
    if any([cron.remove(one, folder) for one in dict.fromkeys((name, spider, Path(spider).stem))]):
        click.echo("removed")
        return
    known = cron.names(cron.read_crontab(), folder)
    there = f"there are {', '.join(known)}" if known else "it has none of this folder"
    raise UsageError(f"your crontab has no line for {name} in {folder}", there)


def _check(spider: str, data: Path | None, store: str | None, options: Mapping[str, Any]) -> None:
    """Find what is wrong with the options now, not at night."""
    if STDOUT in options["output"]:
        raise UsageError("-o -: cron would mail every record", "name a file")
    for one in options["params"]:
        if one.partition("=")[2] == "-":
            raise UsageError(f"--param {one}: nobody types at night", "write @FILE in place of -")
    names = ("max_pages", "max_time", "archive")
    given = read_overrides(options["sets"], store=store, **{name: options[name] for name in names})
    params = read_params(options["params"])
    prepare(Options(spider, data or Path("data"), options["output"], given, params, options["workers"]))


def _run_words(store: str | None, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of `run` as they were typed."""
    words = [] if store is None else ["--store", store]
    for name, flag in RUN_FLAGS.items():
        value = options[name]
        if value is True:
            words.append(flag)
        elif isinstance(value, tuple):
            words += [word for one in value for word in (flag, one)]
        elif value not in (None, False) and not (name == "workers" and value == 1):
            words += [flag, str(value)]
    return tuple(words)


def _job(spider: str, schedule: str, folder: Path, data: Path | None, options: tuple[str, ...]) -> cron.Job:
    loaded = discovery.find(spider)
    is_file = spider.endswith(".py") or "/" in spider
    return cron.Job(
        str(Path(spider).resolve()) if is_file else spider,
        loaded.name,
        parse_schedule(schedule),
        folder,
        Path(sys.executable),
        None if data is None else data.absolute(),
        options,
    )


def _print_units(job: cron.Job) -> None:
    units = systemd_units.units(job, datetime.now().year)
    for name, content in ((units.timer_name, units.timer), (units.service_name, units.service)):
        click.echo(f"# ~/.config/systemd/user/{name}")
        click.echo(content)
    click.echo(f"# systemctl --user daemon-reload && systemctl --user enable --now {units.timer_name}")
    click.echo("# loginctl enable-linger      (else it runs only while you are logged in)")
