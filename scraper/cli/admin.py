"""`cookies` and `doctor`."""

from contextlib import closing
from pathlib import Path

import click

from scraper.app.admin.cookie_admin import cookies_by_domain, forget_cookies, import_cookies
from scraper.app.admin.doctor import State, examine
from scraper.app.options import open_store
from scraper.app.project import store_url
from scraper.cli import text
from scraper.cli.options import data_options, json_option
from scraper.ops.printable import json_text, printable
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
@data_options
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
            done = import_cookies(found, name, source)
            for where, number in done.added.items():
                click.echo(f"{text.count(number, 'cookie')} of {where} imported")
            if done.expired:
                click.echo(f"{text.count(done.expired, 'cookie')} left out: expired")
            if done.partitioned:
                click.echo(f"{text.count(done.partitioned, 'cookie')} left out: for frames in another site")
        elif forget:
            gone = forget_cookies(found, name, domain)
            click.echo(f"forgotten: {', '.join(gone)}" if gone else "there was nothing to forget")
        else:
            _show_cookies(found, name, domain, is_open=values, as_json=as_json)


def _show_cookies(store: Store, spider: str, domain: str | None, *, is_open: bool, as_json: bool) -> None:
    rows = []
    for found in cookies_by_domain(store, spider):
        if domain in (None, found.domain):
            rows += [(found.domain, cookie) for cookie in found.cookies]
    if as_json:
        for _, cookie in rows:
            shown = cookie if is_open else {**cookie, "value": "..."}
            click.echo(json_text(shown))
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


@click.command("doctor")
@data_options
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
            f"{text.colour(f'{one.state:<5}', colours[one.state])} {one.name:<9} {printable(one.told)}"
        )
    return 1 if any(one.state is State.BAD for one in findings) else 0
