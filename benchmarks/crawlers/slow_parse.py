"""The project's spider for the benchmarks' site, with a parse that computes for 20 ms."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scraper import Page, Spider


class SlowParse(Spider):
    """Every page of the start URLs' hosts, after 20 ms of CPU time."""

    name = "site"
    key = "url"

    def start(self) -> list[str]:
        """The start URLs of the job file, `--param job=FILE`."""
        start: list[str] = json.loads(Path(self.params["job"]).read_text("utf-8"))["start"]
        return start

    def parse(self, page: Page) -> Iterator[Any]:
        """One record for each page."""
        until = time.thread_time() + 0.02
        while time.thread_time() < until:
            pass
        yield {"url": page.url, "title": page.css("h1::text").get()}
        yield from page.follow_all("a")
