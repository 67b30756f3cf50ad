"""`check`: saved pages parsed again, and their records compared with the saved ones."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.new_spider import check_url
from scraper.app.archived import saved_pages
from scraper.app.archived.reparse import Checked, check
from scraper.app.archived.saved_pages import FOLDER, SavedPage
from scraper.app.options import Options, Prepared, open_store, prepare
from scraper.app.project import needed_store
from scraper.app.running.forks import forked
from scraper.cli import failures, text
from scraper.cli.fetch_page import fetch_page, sets_option
from scraper.cli.options import (
    caller,
    command_line,
    data_options,
    hidden_params,
    json_option,
    parse_workers_option,
    ray_option,
    read_params,
)
from scraper.engine.parse_pool import ParseProcess
from scraper.errors import UsageError
from scraper.model import Request
from scraper.ops.printable import json_text, printable
from scraper.runs.archive.reading import run_folders
from scraper.spider import Spider, callback_of
from scraper.spider.discovery import BrokenSpider, list_all
from scraper.urls import domain_of

_MOST_CHANGES = 5  # of one page


@click.command("check")
@click.argument("words", metavar="[SPIDER] [URL]...", nargs=-1)
@data_options
@sets_option
@click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A value for the spider's params."
)
@parse_workers_option
@ray_option
@click.option("--save", is_flag=True, help="Fetch the URLs and keep them with their records.")
@click.option("--callback", metavar="NAME", default="parse", show_default=True, help="What parses the URLs.")
@click.option("--update", is_flag=True, help="Take over the records that the saved pages give now.")
@json_option("One JSON object for each page that differs.")
def check_command(
    words: tuple[str, ...],
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    workers: int,
    ray: str,
    save: bool,
    callback: str,
    update: bool,
    as_json: bool,
) -> int:
    """Parse the saved pages offline and compare with the saved records: exit 1 where they differ.

    Saved pages are those in tests/fixtures/SPIDER/, which --save fetches politely and keeps, and those that
    `run --archive` has kept. Without SPIDER, every spider that has some; with --save, the spider whose start
    URLs are on that domain.

    \b
    python -m scraper check shop
    python -m scraper check shop --save https://shop.example/1 --callback book
    python -m scraper check shop --update
    """
    spider, urls = _named(words)
    if bool(urls) != save:
        told = "--save needs a URL" if save else "a URL is given without --save"
        raise click.UsageError(told, click.get_current_context())
    overrides = (*sets, *([f"store={store}"] if store is not None else []))
    read, hidden = read_params(params), hidden_params(params)
    asked = Options(spider or "", data, (), overrides, read, workers=workers, is_offline=True, ray=ray)
    asked = replace(asked, hidden=hidden)
    if save:
        return _save(replace(asked, spider=spider or _spider_of(urls[0])), urls, callback)
    names = [spider] if spider else _checkable(data)
    if not names:
        new = command_line("check", "SPIDER", "--save", "URL")
        click.echo(f"no saved pages in {FOLDER}/ or {data}/: {new}, or run a spider with --archive")
    # Copies of this process serve one spider; the next would meet what the first has left in it.
    forks = forked(0 if ray or asked.is_alone or len(names) > 1 else workers)
    # All of them, and not only as far as the first that differs.
    differing = [
        _check(replace(asked, spider=name), store, as_json, forks, is_update=update) for name in names
    ]
    return failures.UNHEALTHY if sum(differing) else failures.OK


def _named(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """The spider and the URLs among what was typed."""
    if words and "://" not in words[0]:
        return words[0], [check_url(word) for word in words[1:]]
    return None, [check_url(word) for word in words]


def _spider_of(url: str) -> str:
    """The spider that starts on the domain of a URL."""
    known = [one for one in list_all() if not isinstance(one, BrokenSpider)]
    found = [one.name for one in known if any(_is_on(url, start) for start in one.spider.start_urls)]
    if len(found) != 1:
        told = "several spiders start" if found else "no spider starts"
        raise UsageError(
            f"{told} on {domain_of(url)}", f"name one: {command_line('check', 'SPIDER', '--save', url)}"
        )
    return found[0]


def _is_on(url: str, start: Any) -> bool:
    return isinstance(start, str) and domain_of(start) == domain_of(url)


def _checkable(data: Path) -> list[str]:
    names = [one.name for one in list_all()]
    return [name for name in names if _has_fixtures(name) or run_folders(data / name)]


def _has_fixtures(name: str) -> bool:
    return any((FOLDER / name).glob("*.json"))


# saving -----------------------------------------------------------------------------------------------------
def _save(options: Options, urls: Sequence[str], callback: str) -> int:
    """Fetch pages and keep them; the exit code."""
    prepared = prepare(options)
    caller().redaction = prepared.redaction
    name = callback_of(prepared.spider, callback).__name__
    code = failures.OK
    for url in urls:
        got = fetch_page(url, prepared.settings, options.data)
        if got.response is None:
            click.echo(printable(f"not saved: {got.why}"), err=True)
            code = failures.LATER if got.is_later else failures.UNHEALTHY
            continue
        request = Request(got.start_url or url, name)
        file = saved_pages.file_for(FOLDER / prepared.loaded.name, request)
        saved = saved_pages.save(SavedPage(file, request, got.response), prepared.spider)
        click.echo(printable(f"saved: {url}: {text.count(len(saved.records), 'record')} in {file}"))
    return code


# checking ---------------------------------------------------------------------------------------------------
def _check(
    options: Options, store: str | None, as_json: bool, forks: tuple[ParseProcess, ...], *, is_update: bool
) -> int:
    """Check one spider; the number of pages that differ."""
    prepared = replace(prepare(options), forks=forks)
    caller().redaction = prepared.redaction
    name = prepared.loaded.name
    has_fixtures = _has_fixtures(name)
    if is_update and not has_fixtures:
        raise UsageError(f"{name} has no pages in {FOLDER / name}/", "check --save keeps some")
    if is_update:
        return _update(name, prepared.spider)
    differing = _told(name, _of_fixtures(name, prepared.spider), as_json, "saved page") if has_fixtures else 0
    if run_folders(options.data / name) or not has_fixtures:
        needed_store(options.data, store).close()
        differing += _check_archive(prepared, as_json)
    return differing


def _check_archive(prepared: Prepared, as_json: bool) -> int:
    with closing(open_store(prepared.options.data, prepared.settings.store)) as found:
        checked = check(prepared, found, partial(click.echo, err=True))
        return _told(prepared.loaded.name, checked, as_json, "archived page")


def _of_fixtures(name: str, spider: Spider) -> Iterator[Checked]:
    return (saved_pages.compare(page, spider) for page in saved_pages.saved_pages(FOLDER / name))


def _update(name: str, spider: Spider) -> int:
    """Save the records that the pages give now; the number of pages whose callback raises."""
    raised = 0
    for page in list(saved_pages.saved_pages(FOLDER / name)):
        found = saved_pages.compare(page, spider)
        if not found.is_same:
            for line in saved_pages.differences(found, _MOST_CHANGES):
                click.echo(printable(caller().redaction(line)))
        if found.error:
            raised += 1
        elif not found.is_same:
            saved_pages.save(page, spider)
            click.echo(f"  taken over: {page.file}")
    return raised


def _told(name: str, pages: Iterator[Checked], as_json: bool, noun: str) -> int:
    """Tell of each page that differs, and how many there are; the number of those."""
    count = differing = 0
    for page in pages:
        count += 1
        if page.is_same:
            continue
        differing += 1
        if as_json:
            click.echo(json_text(caller().redaction.value(_facts(name, page))))
            continue
        for line in saved_pages.differences(page, _MOST_CHANGES):
            click.echo(text.cut_columns(caller().redaction(line), 200))
    if not as_json:
        click.echo(f"{name}: {_summary(count, differing, noun)}")
    return differing


def _summary(pages: int, differing: int, noun: str) -> str:
    if not pages:
        return "no page is saved (run --archive saves what a site sends; what did not change is not sent)"
    told = f"{differing:,} differ from their records" if differing else "all give the records they gave"
    return f"{text.count(pages, noun)} parsed, {told}"


def _facts(spider: str, page: Checked) -> dict[str, Any]:
    changes = [
        {
            "change": saved_pages.WORDS[one.change],
            "key": one.key,
            "before": one.before,
            "after": one.after,
        }
        for one in page.changes
    ]
    return {"spider": spider, "url": page.url, "error": page.error, "changes": changes}
