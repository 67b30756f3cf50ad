"""Rendered pages with scrapy-playwright. Its defaults, but where the job says otherwise."""

import json
import sys
import time
from pathlib import Path

import scrapy
from scrapy.crawler import CrawlerProcess
from scrapy_playwright.page import PageMethod

JOB = json.loads(Path(sys.argv[1]).read_text("utf-8"))


class Drawn(scrapy.Spider):
    """Every page of the job, once its script has filled it."""

    name = "drawn"

    async def start(self):
        """The pages, in their order."""
        for url in JOB["urls"]:
            ready = [PageMethod("wait_for_selector", ".done")]
            yield scrapy.Request(url, meta={"playwright": True, "playwright_page_methods": ready})

    def parse(self, response):
        """One record for each page."""
        yield {"rows": len(response.css("li")), "at": time.monotonic()}


HANDLER = "scrapy_playwright.handler.ScrapyPlaywrightDownloadHandler"
CHOSEN = {
    "LOG_LEVEL": "INFO",
    "ROBOTSTXT_OBEY": True,
    "TWISTED_REACTOR": "twisted.internet.asyncioreactor.AsyncioSelectorReactor",
    "DOWNLOAD_HANDLERS": {"http": HANDLER, "https": HANDLER},
    "PLAYWRIGHT_LAUNCH_OPTIONS": {"executable_path": JOB["program"]},
    "PLAYWRIGHT_MAX_PAGES_PER_CONTEXT": 1,
    "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
    "DOWNLOAD_DELAY": JOB["delay"],
    "FEEDS": {JOB["out"]: {"format": "jsonlines"}},
}
if JOB["blocks"]:
    CHOSEN["PLAYWRIGHT_ABORT_REQUEST"] = lambda request: request.resource_type in ("image", "media", "font")

if __name__ == "__main__":
    process = CrawlerProcess(CHOSEN)
    process.crawl(Drawn)
    process.start()
