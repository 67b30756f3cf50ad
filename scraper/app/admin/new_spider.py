"""A new spider: its file and a test on a saved page that passes, both to be edited."""

import ast
import json
import keyword
import re
from pathlib import Path
from string import Template

from scraper.errors import UsageError
from scraper.ops.disk import explained
from scraper.urls import domain_of, host_of, join

_SPIDER = Template('''"""Spider for $host."""

from collections.abc import Iterator

from scraper import Page, Spider


class $cls(Spider):
    """What there is at $host."""

    start_urls = [$url]
    key = "url"  # the fields that tell one record from another, in every run

    def parse(self, page: Page) -> Iterator[object]:
        """Yield records (dicts) and the links to follow."""
        yield {
            "url": page.url,
            "title": page.css("title::text").get("").strip(),
        }
        yield from page.follow_all("a")  # every link of the site, until you say which
''')

_TEST = Template('''"""The spider $name on a page as its site has it, without a network."""

from scraper.testing import FakeWeb, crawl
from spiders.$name import $cls

# Replace it by a page of the site, cut down: python -m scraper fetch URL --body
PAGE = """<!doctype html>
<html><head><title>A page</title></head>
<body><h1>A page</h1></body></html>
"""


def test_a_page_gives_a_record() -> None:
    url = $url
    result = crawl($cls, FakeWeb({url: PAGE}))
    assert result.records == [{"url": url, "title": "A page"}]
''')


def write_spider(root: Path, name: str, url: str) -> tuple[Path, Path]:
    """Write spiders/NAME.py and tests/test_NAME.py; UsageError where one exists or something is wrong."""
    check_name(name)
    address = check_url(url)
    spider, test = root / "spiders" / f"{name}.py", root / "tests" / f"test_{name}.py"
    for file in (spider, test):
        if file.exists():
            raise UsageError(f"{file.relative_to(root)} exists already", "choose another name, or remove it")
    cls = "".join(word.capitalize() for word in name.split("_") if word)
    words = {
        "name": name,
        "cls": cls,
        "host": _plain_host(address),
        "url": _quoted(address),
    }
    for file, template in ((spider, _SPIDER), (test, _TEST)):
        with explained(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as opened:
                opened.write(template.substitute(words))
    return spider, test


def check_name(name: str) -> None:
    """UsageError unless a name can be a module's."""
    if re.fullmatch(r"[a-z][a-z0-9_]{0,60}", name) and not keyword.iskeyword(name) and name not in _TAKEN:
        return
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


def _plain_host(address: str) -> str:
    """A host that may stand in a docstring: the URL Standard lets quotes and brackets into host names."""
    host = host_of(address)
    return host if re.fullmatch(r"[a-z0-9._:-]{1,253}", host) else "a site"


def _quoted(text: str) -> str:
    """A text as a string literal in double quotes, checked to be one and to mean that text."""
    literal = json.dumps(text)  # ASCII, with the escapes that Python shares
    if ast.literal_eval(literal) != text:
        raise UsageError(f"{text[:200]!r} cannot be written into a file", "write its characters as %XX")
    return literal
