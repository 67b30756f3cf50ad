"""`reparse` and `check`: archived pages parsed once more, without one request."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from scraper.app.archived.reparse import Checked, check, reparse
from scraper.app.options import Options, open_store, prepare
from scraper.app.project import needed_store
from scraper.cli import text
from scraper.cli.options import data_options, hidden_params, json_option, read_params
from scraper.cli.running import Manner, run_watched
from scraper.ops.printable import json_text, printable
from scraper.runs import archive
from scraper.spider.discovery import list_all

_WORDS = {"added": "new", "changed": "changed", "removed": "missing"}
_SHOWN = 5  # changes of one page

set_option = click.option(
    "--set", "sets", metavar="NAME=VALUE", multiple=True, help="Change a setting. Repeatable."
)
param_option = click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A value for the spider's params."
)


@click.command("reparse")
@click.argument("spider")
@data_options
@set_option
@param_option
@click.option("--fresh", is_flag=True, help="Give up an unfinished run first.")
@click.option("--quiet", is_flag=True, help="Say nothing unless something needs a person.")
@json_option("Print the summary as one JSON object, last line of standard output.")
def reparse_command(
    spider: str,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    fresh: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Parse the archived pages again, without one request: a run of its own, judged and published.

    Needs pages that `run --archive` has kept. A URL that is not among them fails with that reason.

    \b
    python -m scraper reparse shop
    """
    overrides = (*sets, *([f"store={store}"] if store is not None else []))
    options = Options(
        spider,
        data,
        overrides=overrides,
        params=read_params(params),
        hidden=hidden_params(params),
        fresh=fresh,
        is_offline=True,
    )
    return int(run_watched(prepare(options), Manner(quiet, as_json), reparse)["exit_code"])


@click.command("check")
@click.argument("spider", required=False)
@data_options
@set_option
@param_option
@json_option("One JSON object for each page that differs.")
def check_command(
    spider: str | None,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
) -> int:
    """Parse the saved pages offline and compare with the saved records: exit 1 where they differ.

    Without SPIDER, every spider that has archived pages.

    \b
    python -m scraper check shop
    """
    overrides = (*sets, *([f"store={store}"] if store is not None else []))
    names = [spider] if spider else [one.name for one in list_all() if archive.run_folders(data / one.name)]
    if not names:
        click.echo(f"no archived pages in {data}/: run a spider with --archive first")
    needed_store(data, store).close()
    differing = 0
    values = read_params(params)
    for name in names:
        options = Options(name, data, overrides=overrides, params=values, is_offline=True)
        differing += _checked(options, as_json)
    return 1 if differing else 0


def _checked(options: Options, as_json: bool) -> int:
    """Check one spider; the number of pages that differ."""
    prepared = prepare(options)
    pages = differing = 0
    with closing(open_store(options.data, prepared.settings.store)) as store:
        for page in check(prepared, store):
            pages += 1
            if page.is_same:
                continue
            differing += 1
            if as_json:
                click.echo(json_text(_facts(prepared.loaded.name, page)))
            else:
                for line in _lines(page):
                    click.echo(line)
    if not as_json:
        click.echo(f"{prepared.loaded.name}: {_told(pages, differing)}")
    return differing


def _told(pages: int, differing: int) -> str:
    if not pages:
        return "no page is saved (run --archive saves what a site sends; what did not change is not sent)"
    told = f"{differing:,} differ from their records" if differing else "all give the records they gave"
    return f"{text.count(pages, 'saved page')} parsed, {told}"


def _facts(spider: str, page: Checked) -> dict[str, Any]:
    changes = [
        {"change": _WORDS[one.change], "key": one.key, "before": one.before, "after": one.after}
        for one in page.changes
    ]
    return {"spider": spider, "url": page.url, "error": page.error, "changes": changes}


def _lines(page: Checked) -> Iterator[str]:
    yield printable(page.url)
    if page.error:
        yield text.cut_columns(f"  raised   {page.error}", 200)
    for change in page.changes[:_SHOWN]:
        line = f"  {_WORDS[change.change]:<8} {change.key}"
        if change.change == "changed":
            before, after = change.before or {}, change.after or {}
            names = dict.fromkeys([*before, *after])
            line += ": " + ", ".join(
                f"{name} {_shown(before, name)} -> {_shown(after, name)}" for name in names
            )
        yield text.cut_columns(line, 200)
    if len(page.changes) > _SHOWN:
        yield f"  and {len(page.changes) - _SHOWN:,} more"


def _shown(fields: dict[str, Any], name: str) -> str:
    return text.cut(json_text(fields[name]), 40) if name in fields else "(none)"
