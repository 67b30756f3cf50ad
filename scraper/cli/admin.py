"""`cookies`, `cron` and `doctor`: what keeps a spider running."""

import json
import sys
from contextlib import closing
from pathlib import Path

import click

from scraper.app.admin.cookie_admin import forget_cookies, import_cookies, jars
from scraper.app.admin.doctor import State, examine
from scraper.app.options import open_store
from scraper.app.project import store_url
from scraper.cli import text
from scraper.cli.options import command_line, json_option, place_options
from scraper.ops import cron
from scraper.ops.schedule import parse_schedule
from scraper.spider import discovery
from scraper.store import Store


@click.command("cookies")
@click.argument("spider")
@click.option(
    "--import",
    "source",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Add those of a cookies.txt or of a browser's JSON.",
)
@click.option("--forget", is_flag=True, help="Drop the cookies and the logins.")
@click.option("--domain", metavar="D", help="Only of this domain.")
@click.option("--values", is_flag=True, help="Show the values: they are secrets.")
@place_options
@json_option("One JSON object a cookie.")
def cookies_command(
    spider: str,
    source: Path | None,
    forget: bool,
    domain: str | None,
    values: bool,
    data: Path,
    store: str | None,
    as_json: bool,
) -> None:
    """List, import or forget the cookies of a spider.

    \b
    python -m scraper cookies shop
    python -m scraper cookies shop --import cookies.txt
    python -m scraper cookies shop --forget --domain shop.example
    """
    name = discovery.find(spider).name
    with closing(open_store(data, store_url(store))) as found:
        if source is not None:
            for where, number in import_cookies(found, name, source).items():
                click.echo(f"{text.count(number, 'cookie')} of {where} imported")
        elif forget:
            gone = forget_cookies(found, name, domain)
            click.echo(f"forgotten: {', '.join(gone)}" if gone else "there was nothing to forget")
        else:
            _show_cookies(found, name, domain, is_open=values, as_json=as_json)


def _show_cookies(store: Store, spider: str, domain: str | None, *, is_open: bool, as_json: bool) -> None:
    rows = []
    for jar in jars(store, spider):
        if domain in (None, jar.domain):
            rows += [(jar.domain, cookie) for cookie in jar.cookies]
    if as_json:
        for _, cookie in rows:
            shown = cookie if is_open else {**cookie, "value": "..."}
            click.echo(json.dumps(shown, ensure_ascii=False))
        return
    if not rows:
        click.echo(f"{spider} has no cookies")
        return
    cells = []
    for name, cookie in rows:
        ends = text.moment(cookie["expires"]) if cookie["expires"] else "session"
        value = cookie["value"] if is_open else f"({len(cookie['value'])} characters)"
        cells.append((name, text.cut(cookie["name"], 24), cookie["path"], ends, value))
    for line in text.table(("DOMAIN", "NAME", "PATH", "UNTIL", "VALUE"), cells):
        click.echo(line)


@click.command("cron")
@click.argument("spider")
@click.argument("schedule", required=False)
@click.option("--install", is_flag=True, help="Write the line into your crontab, in place of an older one.")
@click.option("--remove", is_flag=True, help="Take the spider's line out of your crontab.")
@click.option("--systemd", is_flag=True, help="Print a timer and a service instead.")
@click.option("--max-time", metavar="TIME", help="Stop each run after a time such as 50m.")
@click.option("--data", metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Data folder.")
def cron_command(
    spider: str,
    schedule: str | None,
    install: bool,
    remove: bool,
    systemd: bool,
    max_time: str | None,
    data: Path | None,
) -> None:
    """The crontab line that runs a spider, or its systemd timer.

    SCHEDULE has five fields: minute, hour, day of month, month, day of week.

    \b
    python -m scraper cron shop "0 3 * * *"              every night at 3, printed
    python -m scraper cron shop "0 3 * * *" --install    the same, written to your crontab
    python -m scraper cron shop --remove
    """
    if sum((install, remove, systemd)) > 1:
        raise click.UsageError("only one of --install, --remove and --systemd", click.get_current_context())
    folder = Path.cwd()
    if remove:
        found = cron.remove(spider, folder)
        click.echo("removed" if found else f"your crontab has no line for {spider} in {folder}")
        return
    if schedule is None:
        context = click.get_current_context()
        raise click.UsageError('a schedule is missing, such as "0 3 * * *"', context)
    job = _job(spider, schedule, folder, data, max_time)
    if systemd:
        _print_units(job)
    elif install:
        is_new = cron.install(job)
        click.echo("installed" if is_new else "it stood there already", err=True)
        click.echo(cron.line(job))
    else:
        click.echo(cron.line(job))
        if sys.stdout.isatty():
            again = command_line("cron", spider, schedule, data=data or Path("data"))
            click.echo(f"(to write it into your crontab: {again} --install)", err=True)


def _job(spider: str, schedule: str, folder: Path, data: Path | None, max_time: str | None) -> cron.Job:
    loaded = discovery.find(spider)
    is_file = spider.endswith(".py") or "/" in spider
    return cron.Job(
        str(Path(spider).resolve()) if is_file else spider,
        loaded.name,
        parse_schedule(schedule),
        folder,
        Path(sys.executable),
        None if data is None else data.absolute(),
        ("--max-time", max_time) if max_time else (),
    )


def _print_units(job: cron.Job) -> None:
    units = cron.systemd_units(job)
    for name, content in ((units.timer_name, units.timer), (units.service_name, units.service)):
        click.echo(f"# ~/.config/systemd/user/{name}")
        click.echo(content)
    click.echo(f"# systemctl --user daemon-reload && systemctl --user enable --now {units.timer_name}")


@click.command("doctor")
@place_options
def doctor_command(data: Path, store: str | None) -> int:
    """Is this machine ready: Python, packages, data, contact, cron.

    Exit 1 if something is BAD.

    \b
    python -m scraper doctor
    """
    findings = list(examine(data, store))
    colours = {State.GOOD: "green", State.NOTE: "yellow", State.BAD: "red"}
    for one in findings:
        click.echo(
            f"{text.colour(f'{one.state:<5}', colours[one.state])} {one.name:<9} {text.clean(one.told)}"
        )
    return 1 if any(one.state is State.BAD for one in findings) else 0
