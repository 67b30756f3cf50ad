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
