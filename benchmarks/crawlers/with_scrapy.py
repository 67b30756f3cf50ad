"""The same crawl with Scrapy. Its defaults, but where the job says otherwise; messages at level INFO."""

import json
import sys
from pathlib import Path

import scrapy
from scrapy.crawler import CrawlerProcess

JOB = json.loads(Path(sys.argv[1]).read_text("utf-8"))


class Site(scrapy.Spider):
    """Every page of the start URLs' hosts."""

    name = "site"
    start_urls = JOB["start"]

    def parse(self, response):
        """One record for each page, and its links."""
        yield {
            "url": response.url,
            "title": response.css("h1::text").get(),
            "price": response.css("p.price::text").get(),
            "entries": len(response.css("li.entry")),
        }
        yield from response.follow_all(css="a.next", priority=1)
        yield from response.follow_all(css="a")


def settings():
    """What the job asks for, in Scrapy's words."""
    folder = Path(JOB["folder"])
    chosen = {
        "LOG_LEVEL": "INFO",
        "ROBOTSTXT_OBEY": JOB["obey"],
        "FEEDS": {str(folder / "records.jsonl"): {"format": "jsonlines"}},
    }
    if JOB["delay"] is not None:
        chosen["DOWNLOAD_DELAY"] = JOB["delay"]
    if JOB["is_durable"]:
        chosen["JOBDIR"] = str(folder / "job")
    if JOB["is_broad"]:  # what its documentation says of broad crawls
        chosen["CONCURRENT_REQUESTS"] = 2 * len(JOB["start"])
        chosen["SCHEDULER_PRIORITY_QUEUE"] = "scrapy.pqueues.DownloaderAwarePriorityQueue"
    if JOB["max_pages"]:
        chosen["CLOSESPIDER_PAGECOUNT"] = JOB["max_pages"]
    return chosen


if __name__ == "__main__":
    process = CrawlerProcess(settings())
    process.crawl(Site)
    process.start()
