"""A polite web scraping framework: `from scraper import Spider, Request, Page, Record`, and more kinds."""

from importlib import import_module

TYPE_CHECKING = False  # as type checkers know it; `typing` takes longer to load than all that stands here
if TYPE_CHECKING:
    from typing import Any

    from scraper.app.running.from_python import run as run
    from scraper.errors import Drop as Drop
    from scraper.errors import Retry as Retry
    from scraper.model import Render as Render
    from scraper.model import Request as Request
    from scraper.parsing.page import Page as Page
    from scraper.spider import Spider as Spider
    from scraper.spider.crawl_rules import CrawlRules as CrawlRules
    from scraper.spider.crawl_rules import Rule as Rule
    from scraper.spider.feed_spider import FeedSpider as FeedSpider
    from scraper.spider.file import File as File
    from scraper.spider.record import Record as Record
    from scraper.spider.sitemap_spider import SitemapSpider as SitemapSpider

_HOMES = {
    "Spider": "scraper.spider",
    "Request": "scraper.model",
    "File": "scraper.spider.file",
    "Render": "scraper.model",
    "Page": "scraper.parsing.page",
    "Record": "scraper.spider.record",
    "SitemapSpider": "scraper.spider.sitemap_spider",
    "FeedSpider": "scraper.spider.feed_spider",
    "CrawlRules": "scraper.spider.crawl_rules",
    "Rule": "scraper.spider.crawl_rules",
    "Retry": "scraper.errors",
    "Drop": "scraper.errors",
    "run": "scraper.app.running.from_python",
}

__all__ = [
    "CrawlRules",
    "Drop",
    "FeedSpider",
    "File",
    "Page",
    "Record",
    "Render",
    "Request",
    "Retry",
    "Rule",
    "SitemapSpider",
    "Spider",
    "run",
]


def __getattr__(name: str) -> "Any":
    # Parsers and pydantic take most of the time to start; commands that need neither should not wait.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'scraper' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
