"""`list` and `new`: the spiders of a project."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.new_spider import write_spider
from scraper.app.project import existing_store, runs_of, state_of
from scraper.cli import text
from scraper.cli.options import caller, command_line, data_options, json_option
from scraper.ops.printable import json_text
from scraper.spider.discovery import FOLDER, BrokenSpider, LoadedSpider, list_all
from scraper.store import Store


@click.command("list")
@data_options
@json_option("One JSON object a spider.")
def list_command(data: Path, store: str | None, as_json: bool) -> None:
    """The spiders that can be run, with their last run and its verdict.

    \b
    python -m scraper list
    """
    found = existing_store(data, store)
    try:
        rows = [_facts(spider, found) for spider in list_all()]
    finally:
        if found is not None:
            found.close()
    if as_json:
        for row in rows:
            click.echo(json_text(row))
    elif rows:
        shown = [
            (row["name"], row["verdict"], row["last_run"], row["summary"] or row["error"]) for row in rows
        ]
        for line in text.table(("SPIDER", "VERDICT", "LAST RUN", "WHAT IT DOES"), shown):
            click.echo(line)
    elif FOLDER.is_dir():
        click.echo(f"no spiders in {FOLDER}/ yet: {command_line('new', 'NAME', 'URL')}")
    else:
        new = command_line("new", "NAME", "URL")
        click.echo(f"no {FOLDER}/ here: change to your project's folder, or begin one with {new}")


def _facts(spider: LoadedSpider | BrokenSpider, store: Store | None) -> dict[str, Any]:
    facts = {"name": spider.name, "path": str(spider.path), "summary": "", "error": ""}
    facts |= {"last_run": "", "run_id": "", "verdict": ""}
    if isinstance(spider, BrokenSpider):
        return facts | {"verdict": "broken", "error": spider.reason}
    facts["summary"] = spider.summary
    if store is not None and (last := runs_of(store, spider.name, 1)):
        started = text.moment(last[0].started_at)
        facts |= {"last_run": started, "run_id": last[0].id, "verdict": state_of(store, last[0])}
    return facts


@click.command("new")
@click.argument("name")
@click.argument("url")
def new_command(name: str, url: str) -> None:
    """Write a spider file and its test, ready to edit.

    NAME becomes spiders/NAME.py and tests/test_NAME.py; what is there already is never overwritten.

    \b
    python -m scraper new shop https://shop.example/books
    """
    spider, test = write_spider(Path.cwd(), name, url)
    click.echo(f"written: {spider.relative_to(Path.cwd())} and {test.relative_to(Path.cwd())}")
    click.echo("  look at   what the page is made of, and say in parse() what a record is")
    pytest = "" if find_spec("pytest") else f"{caller().python} -m pip install pytest && "
    click.echo(f"  test it   {pytest}{caller().python} -m pytest {test.relative_to(Path.cwd())}")
    click.echo(f"  try it    {command_line('run', name)} --max-pages 3 -o -")
