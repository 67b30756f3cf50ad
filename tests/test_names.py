"""What `from scraper import ...` gives, when it runs and to a type checker."""

import ast
import subprocess
import sys
from pathlib import Path

import scraper

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
    stub = ast.parse(Path(scraper.__file__).with_suffix(".pyi").read_text("utf-8"))
    named = [alias.asname for one in stub.body if isinstance(one, ast.ImportFrom) for alias in one.names]
    assert sorted(filter(None, named)) == sorted(scraper.__all__)
    assert all(getattr(scraper, name).__name__ == name for name in scraper.__all__)


def test_spiders_of_every_kind_pass_a_strict_type_check(tmp_path: Path) -> None:
    file = tmp_path / "typed.py"
    file.write_text(TYPED, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
