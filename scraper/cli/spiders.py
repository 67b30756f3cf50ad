"""`list` and `new`: the spiders of a project."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.new_spider import Written, check_new, write_spider
from scraper.app.archived.saved_pages import FOLDER as FIXTURES
from scraper.app.project import existing_store, runs_of, state_of
from scraper.cli import text
from scraper.cli.fetch_page import FetchResult, fetch_page, sets_option, settings_for
from scraper.cli.options import caller, command_line, data_options, json_option
from scraper.ops.printable import json_text, printable
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
@data_options
@sets_option
@click.option("--no-fetch", is_flag=True, help="Do not look at the page: write twelve lines to begin with.")
def new_command(
    name: str, url: str, data: Path, store: str | None, sets: tuple[str, ...], no_fetch: bool
) -> None:
    """Write a spider for a page, and its test.

    The page is fetched once, politely. The spider reads the block that repeats on it, its JSON-LD and its
    next page, as far as they are there; of a page that scripts fill, the JSON that they ask for.
    NAME becomes spiders/NAME.py, tests/test_NAME.py and the page in tests/fixtures/NAME/; what is there
    already is never overwritten.

    \b
    python -m scraper new shop https://shop.example/books
    """
    root = Path.cwd()
    address = check_new(root, name, url)
    got = (
        FetchResult(why="not asked for (--no-fetch)")
        if no_fetch
        else fetch_page(address, settings_for(sets, store), data, looks_behind=True)
    )
    written = write_spider(root, name, got.start_url or address, got.response, got.sitemaps)
    if why := (got.why if got.response is None else written.why_plain):
        click.echo(printable(f"the page played no part: {text.cut(why, 200)}"), err=True)
    for line in _told_new(name, written):
        click.echo(printable(line))


def _told_new(name: str, written: Written) -> Iterator[str]:
    spider, test = (file.relative_to(Path.cwd()) for file in (written.spider, written.test))
    yield f"written: {spider} and {test}"
    if written.records is not None:
        of = "; ".join(written.uses) or "its title: nothing on it repeats"
        yield f"  reads     {text.cut(of, 300)}"
        count = text.count(written.records, "record")
        yield f"  gives     {count} from this page, saved in {FIXTURES / name}/"
        yield f"  edit      {spider}: names, fields, and the links to follow"
    else:
        yield "  look at   what the page is made of, and say in parse() what a record is"
    pytest = "" if find_spec("pytest") else f"{caller().python} -m pip install pytest && "
    yield f"  test it   {pytest}{caller().python} -m pytest {test}"
    yield f"  try it    {command_line('run', name)} --max-pages 3 -o -"
