"""What tests of spiders need: a fake web and clock, and sites that behave as real ones do."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Asked": "scraper.testing.web",
    "CrawlResult": "scraper.testing.crawling",
    "FakeClock": "scraper.testing.clock",
    "FakeWeb": "scraper.testing.web",
    "InlineDownloader": "scraper.testing.crawling",
    "check_saved": "scraper.testing.saved",
    "crawl": "scraper.testing.crawling",
}


def __getattr__(name: str) -> Any:
    # The shop that we ship comes through here too, and shall not bring the whole engine into `list`.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'scraper.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
