"""What tests of spiders need: a fake web and clock, and sites that behave as real ones do."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scraper.testing.clock import FakeClock as FakeClock
    from scraper.testing.crawling import CrawlResult as CrawlResult
    from scraper.testing.crawling import InlineDownloader as InlineDownloader
    from scraper.testing.crawling import crawl as crawl
    from scraper.testing.saved import check_saved as check_saved
    from scraper.testing.web import Asked as Asked
    from scraper.testing.web import FakeWeb as FakeWeb

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
