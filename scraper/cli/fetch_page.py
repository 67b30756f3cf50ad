"""One polite request for a command that works on its page: `new`, `shell`, `check --save`."""

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import click

from scraper import settings as settings_of
from scraper.app.one_url.fetch_one import SingleUrlFetcher, probing
from scraper.app.one_url.step import Step
from scraper.app.options import open_store
from scraper.cli.options import caller
from scraper.engine.robots_cache import RobotsRules
from scraper.errors import ScraperError
from scraper.model import Response
from scraper.model.frozen import frozen
from scraper.ops.printable import printable
from scraper.settings import Settings
from scraper.urls import origin_of

sets_option = click.option(
    "--set", "sets", metavar="NAME=VALUE", multiple=True, help="Change a setting. Repeatable."
)


@frozen
class FetchResult:
    """What came of a URL: its response where that is a page, else `why` not; `is_later`: it may come.

    `start_url`: where to begin, when the page has moved to another origin. `sitemaps`: what robots.txt names.
    """

    response: Response | None = None
    why: str = ""
    is_later: bool = False
    start_url: str = ""
    sitemaps: tuple[str, ...] = ()


def settings_for(
    sets: tuple[str, ...], store: str | None, of_spider: dict[str, object] | None = None
) -> Settings:
    """The settings of a command by its options."""
    overrides = [*sets, *([f"store={store}"] if store is not None else [])]
    return settings_of.load(of_spider or {}, overrides, Path.cwd(), os.environ)


def fetch_page(
    url: str,
    settings: Settings,
    data: Path,
    tell: Callable[[Step], None] | None = None,
    *,
    looks_behind: bool = False,
) -> FetchResult:
    """Fetch a page through the gates of a run; what stands in the way is told, not raised.

    `looks_behind`: of a page that is a shell, get the JSON that its scripts ask for.
    """
    try:
        with closing(open_store(data, settings.store)) as store, probing(store, settings, tell_wait) as probe:
            caller().has_fetched = True
            step = None
            for step in probe.fetch(url):
                if tell is not None:
                    tell(step)
            shown = step.response if step is not None else None
            if looks_behind and step is not None and step.response is not None and step.is_ok:
                step = _behind(probe, step, step.response, settings)
            rules = probe.robots_rules(step.url) if step is not None and step.response is not None else None
    except ScraperError as error:
        return FetchResult(why=str(error), is_later=True)
    assert step is not None  # fetch() yields one at least
    sitemaps = rules.robots.sitemaps if isinstance(rules, RobotsRules) else ()
    got = _got(url, step, tuple(sitemaps))
    return got if step.response is shown else replace(got, start_url=step.url)


def _behind(probe: SingleUrlFetcher, step: Step, response: Response, settings: Settings) -> Step:
    # Imported on first use, as few pages are shells.
    from scraper.app.one_url.render_one import json_behind

    try:
        found = json_behind(probe, response, settings)
    except ScraperError as error:
        tell_wait(f"the page is a shell that scripts fill, and was not rendered: {error}")
        return step
    if found is None:
        return step
    tell_wait(f"the page is a shell; its scripts ask for {found.url}, and so does the spider")
    return replace(step, url=found.url, response=found)


def _got(url: str, step: Step, sitemaps: tuple[str, ...]) -> FetchResult:
    if step.response is None or not step.is_ok:
        why = step.refusal or step.error or f"status {step.response.status if step.response else 0}"
        return FetchResult(why=f"{step.url}: {why}", is_later=step.is_later)
    moved = step.url if origin_of(step.url) != origin_of(url) else ""
    return FetchResult(step.response, start_url=moved, sitemaps=sitemaps)


def tell_wait(line: str) -> None:
    """A line on a wait, for people."""
    click.echo(printable(line), err=True)
