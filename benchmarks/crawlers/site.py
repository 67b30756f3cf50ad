"""The project's spider for the benchmarks' site."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scraper import Page, Spider


class Site(Spider):
    """Every page of the start URLs' hosts: title, price, and how many entries it lists."""

    name = "site"
    key = "url"

    def start(self) -> list[str]:
        """The start URLs of the job file, `--param job=FILE`."""
        start: list[str] = json.loads(Path(self.params["job"]).read_text("utf-8"))["start"]
        return start

    def parse(self, page: Page) -> Iterator[Any]:
        """One record for each page; a hub's next hub comes before its leaves."""
        yield {
            "url": page.url,
            "title": page.css("h1::text").get(),
            "price": page.css("p.price::text").get(),
            "entries": len(page.css("li.entry")),
        }
        yield from page.follow_all("a.next", priority=1)
        yield from page.follow_all("a")
