"""Types: the project's, and those that a spider of a user has."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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


def mypy(*paths: Path) -> tuple[int, str]:
    """All with one cache: the second check then reads the project's own types from it."""
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, paths)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300)
    return done.returncode, done.stdout + done.stderr


def test_the_project_passes_a_strict_type_check() -> None:
    code, output = mypy()
    assert code == 0, output


def test_spiders_of_every_kind_pass_a_strict_type_check_also_those_of_the_documentation(
    tmp_path: Path,
) -> None:
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    for name, block in documented():
        (tmp_path / f"{name}.py").write_text(annotated(block), encoding="utf-8")
    code, output = mypy(*tmp_path.glob("*.py"))
    assert code == 0, output
