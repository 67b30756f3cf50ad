from scraper.testing.clock import FakeClock as FakeClock
from scraper.testing.crawling import CrawlResult as CrawlResult
from scraper.testing.crawling import InlineDownloader as InlineDownloader
from scraper.testing.crawling import crawl as crawl
from scraper.testing.saved import check_saved as check_saved
from scraper.testing.web import Asked as Asked
from scraper.testing.web import FakeWeb as FakeWeb
