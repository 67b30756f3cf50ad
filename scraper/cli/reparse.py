"""`reparse`: the archived pages of a spider parsed again, without one request."""

from dataclasses import replace
from pathlib import Path

import click

from scraper.app.archived.reparse import reparse
from scraper.app.options import Options, prepare
from scraper.app.running.forks import forked
from scraper.cli.options import (
    data_options,
    hidden_params,
    json_option,
    parse_workers_option,
    ray_option,
    read_params,
)
from scraper.cli.running import OutputMode, run_watched

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
@parse_workers_option
@ray_option
@click.option("--fresh", is_flag=True, help="Give up an unfinished run first.")
@click.option("--quiet", is_flag=True, help="Say nothing unless something needs a person.")
@json_option("Print the summary as one JSON object, last line of standard output.")
def reparse_command(
    spider: str,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    workers: int,
    ray: str,
    fresh: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Parse the archived pages again, without one request: a run of its own, judged and published.

    Needs pages that `run --archive` has kept. A URL that is not among them fails with that reason.

    \b
    python -m scraper reparse shop
    python -m scraper reparse shop --workers 4
    """
    overrides = (*sets, *([f"store={store}"] if store is not None else []))
    options = Options(
        spider,
        data,
        overrides=overrides,
        params=read_params(params),
        hidden=hidden_params(params),
        workers=workers,
        fresh=fresh,
        is_offline=True,
        ray=ray,
    )
    forks = forked(0 if ray or options.is_alone else workers)
    prepared = replace(prepare(options), forks=forks)
    return int(run_watched(prepared, OutputMode(quiet, as_json), reparse)["exit_code"])
