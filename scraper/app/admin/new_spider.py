"""A new spider: its file and a test on a saved page that passes, both to be edited."""

import keyword
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from string import Template

from scraper.app.admin.spider_draft import Draft, draft, literal, plain_draft
from scraper.app.archived import saved_pages
from scraper.app.archived.saved_pages import SavedPage
from scraper.errors import ScraperError, UsageError
from scraper.model import Request, Response
from scraper.model.frozen import frozen
from scraper.ops.disk import explained
from scraper.ops.tracebacks import told
from scraper.parsing.page import Page
from scraper.politeness.scope import has_credentials
from scraper.spider import discovery
from scraper.urls import domain_of, join

_SAVED_TEST = Template('''"""The spider $name on pages as its site had them, without a network."""

from scraper.testing import check_saved
from spiders.$name import $cls


def test_saved_pages_give_their_records() -> None:
    # One more page: python -m scraper check $name --save URL. Other records are meant: check $name --update.
    check_saved($cls)
''')

_PLAIN_TEST = Template('''"""The spider $name on a page as its site has it, without a network."""

from scraper.testing import FakeWeb, crawl
from spiders.$name import $cls

# Replace it by a page of the site: python -m scraper check $name --save URL
PAGE = """<!doctype html>
<html><head><title>A page</title></head>
<body><h1>A page</h1></body></html>
"""


def test_a_page_gives_a_record() -> None:
    url = $url
    result = crawl($cls, FakeWeb({url: PAGE}))
    assert result.records == [{"url": url, "title": "A page"}]
''')


@frozen
class Written:
    """What was written. `uses`: what of the page the spider reads; `records`: how many it makes of it.

    `why_plain`: why the page played no part.
    """

    spider: Path
    test: Path
    uses: tuple[str, ...] = ()
    records: int | None = None
    why_plain: str = ""


def write_spider(
    root: Path, name: str, url: str, response: Response | None = None, sitemaps: Sequence[str] = ()
) -> Written:
    """Write spiders/NAME.py and tests/test_NAME.py, for a page where its response is there.

    UsageError where one exists or something is wrong.
    """
    address = check_new(root, name, url)
    cls = "".join(word.capitalize() for word in name.split("_") if word)
    if response is None:
        return _write_plain(root, name, cls, address)
    try:
        return _write_for(root, name, cls, Page(Request(address), response), sitemaps)
    except ScraperError as error:
        return replace(_write_plain(root, name, cls, address), why_plain=error.message)
    except Exception as error:  # a page may be anything, and the twelve lines are better than none
        return replace(_write_plain(root, name, cls, address), why_plain=told(error))


def check_new(root: Path, name: str, url: str) -> str:
    """The URL in its usual spelling; UsageError where name or URL cannot be, or a file is there already."""
    check_name(name)
    address = check_url(url)
    if has_credentials(address):  # such a start URL is denied, and would stand in the code
        raise UsageError("a URL with credentials is not fetched", "give them to the spider: setting auth")
    for file in (*_files(root, name), root / saved_pages.FOLDER / name):
        if file.exists():
            raise UsageError(f"{file.relative_to(root)} exists already", "choose another name, or remove it")
    return address


def _files(root: Path, name: str) -> tuple[Path, Path]:
    return root / "spiders" / f"{name}.py", root / "tests" / f"test_{name}.py"


def _write_plain(root: Path, name: str, cls: str, address: str) -> Written:
    spider, test = _files(root, name)
    _write(spider, plain_draft(cls, address).source)
    _write(test, _PLAIN_TEST.substitute(name=name, cls=cls, url=literal(address)))
    return Written(spider, test)


def _write_for(root: Path, name: str, cls: str, page: Page, sitemaps: Sequence[str]) -> Written:
    """The spider of a page; nothing is left of it where it does not run on that page."""
    found: Draft = draft(cls, page, sitemaps)
    spider, test = _files(root, name)
    folder = root / saved_pages.FOLDER / name
    _write(spider, found.source)
    try:
        made = discovery.load(spider).spider()
        request = next(iter(made.start()))
        request = Request(request) if isinstance(request, str) else request
        file = saved_pages.file_for(folder, Request(page.request.url))
        saved = saved_pages.save(SavedPage(file, request, page.response), made)
    except BaseException:
        spider.unlink(missing_ok=True)
        raise
    _write(test, _SAVED_TEST.substitute(name=name, cls=cls))
    return Written(spider, test, found.uses, len(saved.records))


def _write(file: Path, text: str) -> None:
    with explained(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)


def check_name(name: str) -> None:
    """UsageError unless a name can be a module's."""
    if re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name) and not keyword.iskeyword(name) and name not in _TAKEN:
        return
    if "://" in name:
        raise UsageError(
            f"{name[:80]!r} is a URL", "the name comes first, as in: new shop https://shop.example/"
        )
    near = re.sub(r"\W+|^[^a-zA-Z]+", "_", name.strip()).strip("_").lower()[:60]
    is_better = re.fullmatch(r"[a-z][a-z0-9_]*", near) and not keyword.iskeyword(near) and near not in _TAKEN
    hint = f"write {near}" if is_better else "lower-case letters, digits and _, beginning with a letter"
    raise UsageError(f"{name[:80]!r} cannot be a spider's name", hint)


_TAKEN = frozenset({"scraper", "spiders", "tests", "requests"})


def check_url(url: str) -> str:
    """An absolute http(s) URL in its usual spelling; UsageError says what was probably meant."""
    text = url.strip()
    if not re.match(r"https?://", text, re.IGNORECASE):
        scheme = re.match(r"([a-zA-Z][a-zA-Z0-9+.-]*):(?![0-9])", text)
        if scheme:
            raise UsageError(f"{text[:200]!r} is no web address", "only http and https are fetched")
        raise UsageError(f"{text[:200]!r} has no scheme", f"write https://{text.lstrip('/')[:200]}")
    address = join(None, text)
    if address is None or not domain_of(address):
        raise UsageError(f"{text[:200]!r} is no URL", "write it as in https://example.org/path")
    return address
