"""`shell`: a page at a Python prompt."""

import code
import importlib.util
import sys
import tempfile
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.new_spider import check_url
from scraper.app.archived import saved_pages
from scraper.app.project import find_run, needed_store
from scraper.cli import failures
from scraper.cli.fetch_page import FetchResult, fetch_page, sets_option, settings_for
from scraper.cli.options import data_options
from scraper.errors import ScraperError, UsageError
from scraper.model import Headers, Request, Response
from scraper.ops.printable import printable
from scraper.parsing.page import Page
from scraper.runs.archive.reading import Archives, run_folders

Ask = Callable[[str], FetchResult]

_BANNER = """{page}
  page              the page: page.css(), page.xpath(), page.links(), page.jsonld, page.tables() ...
  css(QUERY)        what a CSS query finds on it: css("h1::text").get()
  fetch(URL)        another page, fetched politely; it becomes `page`
  view()            the page in a browser, as it was sent"""


@click.command("shell")
@click.argument("target", metavar="URL|FILE")
@data_options
@sets_option
@click.option(
    "--run", "run", metavar="RUN", help="The page as this run (or a spider's last) has archived it."
)
@click.option("-c", "source", metavar="CODE", help="Run this code instead of asking for some.")
def shell_command(
    target: str, data: Path, store: str | None, sets: tuple[str, ...], run: str | None, source: str | None
) -> int:
    """Open a page at a Python prompt, to try selectors (IPython where it is installed).

    The page is fetched politely, once; or it is a saved page (FILE: a page of tests/fixtures/, or any HTML
    file), or with --run an archived one. At the prompt: page, css, fetch, view.

    \b
    python -m scraper shell https://shop.example/
    python -m scraper shell tests/fixtures/shop/index.json
    python -m scraper shell https://shop.example/ --run shop
    python -m scraper shell https://shop.example/ -c 'print(css("h1").get())'
    """
    settings = settings_for(sets, store)

    def ask(url: str) -> FetchResult:
        return fetch_page(url, settings, data)

    if run is not None:
        page = _archived(check_url(target), run, data, store)
    elif "://" not in target:
        page = _saved(Path(target))
    else:
        got = ask(check_url(target))
        if got.response is None:
            click.echo(printable(f"not fetched: {got.why}"), err=True)
            return failures.LATER if got.is_later else failures.UNHEALTHY
        page = Page(Request(check_url(target)), got.response)
    _interact(_Shell(page, ask).names, source)
    return failures.OK


def _archived(url: str, run: str, data: Path, store: str | None) -> Page:
    """A page as a run kept it, or an earlier one where it had not changed."""
    with closing(needed_store(data, store)) as found:
        known = find_run(found, run)
    folders = [folder for folder in run_folders(data / known.spider) if folder.name <= known.id]
    archives = Archives(folders)
    try:
        kept = archives.find(url)
    finally:
        archives.close()
    if kept is None:
        raise UsageError(f"{url[:200]} is not in the archive of {known.spider}", "run --archive keeps pages")
    return Page(Request(url), kept.response)


def _saved(file: Path) -> Page:
    """A saved page, or a file as the page of its own URL."""
    if file.suffix == ".json" and "fixtures" in file.resolve().parts:
        for page in saved_pages.saved_pages(file.parent, file.name):
            return page.page()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", "give a URL with https://, or a saved page"
        ) from None
    kind = {".json": "application/json", ".xml": "application/xml"}.get(file.suffix, "text/html")
    url = file.resolve().as_uri()
    return Page(Request(url), Response(url, 200, Headers([("Content-Type", kind)]), content))


class _Shell:
    """The names at the prompt; `fetch` puts another page behind them."""

    def __init__(self, page: Page, ask: Ask) -> None:
        self._ask = ask
        self.names: dict[str, Any] = {"css": self.css, "fetch": self.fetch, "view": self.view}
        self._show(page)

    def _show(self, page: Page) -> None:
        self._page = self.names["page"] = page

    def css(self, query: str) -> Any:
        """What a CSS query finds on the page."""
        return self._page.css(query)

    def fetch(self, url: str) -> Page:
        """Another page, through the gates of a run; relative to the one that is here."""
        address = check_url(self._page.urljoin(url))
        got = self._ask(address)
        if got.response is None:
            raise ScraperError(f"not fetched: {got.why}")
        self._show(Page(Request(address), got.response))
        return self._page

    def view(self) -> str:
        """Open the page in a browser, from a file; the file's name."""
        base = f'<base href="{printable(self._page.url).replace(chr(34), "%22")}">'.encode()
        with tempfile.NamedTemporaryFile(suffix=".html", prefix="page-", delete=False) as file:
            head, mark, rest = self._page.content.partition(b"<head>")
            file.write(head + mark + base + rest if mark else base + self._page.content)
        webbrowser.open(Path(file.name).as_uri())
        return file.name


def _interact(names: dict[str, Any], source: str | None) -> None:
    banner = _BANNER.format(page=printable(repr(names["page"])))
    if source is not None:
        _run(source, names)
    elif sys.stdin.isatty() and importlib.util.find_spec("IPython") is not None:
        _ipython(names, banner, [])
    else:
        code.interact(banner if sys.stdin.isatty() else "", local=names, exitmsg="")


def _run(source: str, names: dict[str, Any]) -> None:
    try:
        exec(compile(source, "-c", "exec"), names)
    except ScraperError:
        raise
    except Exception as error:  # the code is the user's, and may raise anything
        raise UsageError(f"-c: {type(error).__name__}: {error}") from error


def _ipython(names: dict[str, Any], banner: str, arguments: Sequence[str]) -> None:
    # Imported here: it takes a second to start, and need not be there.
    import IPython

    click.echo(banner)
    IPython.start_ipython(argv=["--no-banner", "--no-confirm-exit", *arguments], user_ns=names)
