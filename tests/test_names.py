"""What `from scraper import ...` gives, when it runs and to a type checker."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import scraper
from tests.project import ROOT

TYPED = """
from collections.abc import Iterator
from typing import Any

from scraper import CrawlRules, Drop, FeedSpider, Page, Request, Retry, Rule, SitemapSpider


class Sold(SitemapSpider):
    start_urls = ["https://a.example/"]
    rules = [("/item/", "parse_item")]
    since = "2026-01-01"
    handle_statuses = {410}

    def parse_item(self, page: Page) -> Iterator[Any]:
        if page.status == 410:
            raise Drop("sold")
        yield Request(page.url, self.parse_item, budget=3)
        raise Retry("no price yet", after=60)

    def failed(self, request: Request, why: str) -> Iterator[Any]:
        yield {"url": request.url, "why": why}


class Walk(CrawlRules):
    rules = [Rule(allow="/item/", callback="parse_item")]

    def parse_item(self, page: Page) -> Iterator[Any]:
        yield from page.links(allow=r"x")


class News(FeedSpider):
    key = "id"
"""


def test_every_name_is_there_and_known_to_type_checkers() -> None:
    source = ast.parse(Path(scraper.__file__).read_text("utf-8"))
    for_checkers = next(one for one in source.body if isinstance(one, ast.If))
    named = [
        alias.asname for one in for_checkers.body if isinstance(one, ast.ImportFrom) for alias in one.names
    ]
    assert sorted(filter(None, named)) == sorted(scraper.__all__)
    assert all(getattr(scraper, name).__name__ == name for name in scraper.__all__)


def annotated(source: str) -> str:
    """A spider of the documentation with the annotations that it leaves out to be short."""
    types = {"page": "Page", "request": "Request", "why": "str", "asked": "Asked"}
    tree = ast.parse(source)
    for function in (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)):
        function.returns = function.returns or ast.Name("Any")
        for argument in function.args.args:
            if argument.annotation is None and argument.arg != "self":
                argument.annotation = ast.Name(types.get(argument.arg, "Any"))
    names = "from typing import Any\nfrom scraper import Page, Request\nfrom scraper.testing import Asked\n"
    return names + ast.unparse(tree)


def documented() -> Iterator[tuple[str, str]]:
    """The Python of the documentation, each block as a module, as other blocks of its page import it."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text, name = page.read_text("utf-8"), page.stem.replace("-", "_").lower()
        blocks = re.findall(r"^```python[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        if page.name == "reference.md":
            blocks = ["\n".join(blocks)]  # one goes on where the one before ends
        for number, block in enumerate(blocks):
            named = re.match(r"# spiders/(\w+)\.py", block)
            own = named[1] if named else number
            yield f"{name}_{own}", re.sub(r"\bspiders\.(\w+)", rf"{name}_\1", block)


def test_spiders_of_every_kind_pass_a_strict_type_check_also_those_of_the_documentation(
    tmp_path: Path,
) -> None:
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    for name, block in documented():
        (tmp_path / f"{name}.py").write_text(annotated(block), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--cache-dir",
        str(tmp_path / "cache"),
        *map(str, tmp_path.glob("*.py")),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
