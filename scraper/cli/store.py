"""`store`: copies the database of a project."""

from pathlib import Path

import click

from scraper.app.admin.store_copy import copy_store
from scraper.cli import text
from scraper.cli.options import data_options
from scraper.errors import UsageError


@click.command("store")
@click.argument("action", type=click.Choice(["copy"]))
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
@data_options
def store_command(action: str, source: str, target: str, data: Path, store: str | None) -> None:
    """Copy a project between SQLite and PostgreSQL: history, records, sessions, clocks and robots.txt.

    Whole or not at all: TO must be empty, nobody may be running a spider, and what was written is compared
    with what was read, by counts and hashes, before it counts. Files in the data folder stay where they are.

    \b
    python -m scraper store copy sqlite:///data/scraper.db postgresql://db/news
    """
    if store is not None:
        raise UsageError("--store means nothing here", "write store copy FROM TO")
    counts = copy_store(source, target, data, lambda table: click.echo(f"{table} ...", err=True))
    told = ", ".join(f"{counts[name]} {name}" for name in ("runs", "urls", "visits", "records"))
    click.echo(f"copied and compared: {told} ({text.count(sum(counts.values()), 'row')} in all)")
