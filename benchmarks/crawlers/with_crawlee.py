"""The same crawl with Crawlee's BeautifulSoupCrawler. Its defaults, but where the job says otherwise."""

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from crawlee import ConcurrencySettings, Request
from crawlee.crawlers import BeautifulSoupCrawler
from crawlee.proxy_configuration import ProxyConfiguration
from crawlee.request_loaders import ThrottlingRequestManager
from crawlee.storages import RequestQueue

JOB = json.loads(Path(sys.argv[1]).read_text("utf-8"))


async def options():
    """What the job asks for, in Crawlee's words."""
    chosen = {"respect_robots_txt_file": JOB["obey"]}
    if JOB["is_throttled"]:  # every host named by hand: its way to keep Crawl-delay and Retry-After
        chosen["request_manager"] = ThrottlingRequestManager(
            inner=await RequestQueue.open(),
            domains=sorted({urlsplit(url).hostname for url in JOB["start"]}),
            request_manager_opener=RequestQueue.open,
        )
    if JOB["delay"]:  # its only setting of a rate, for all hosts together
        rate = 60 / JOB["delay"] * (len(JOB["start"]) if JOB["is_broad"] else 1)
        chosen["concurrency_settings"] = ConcurrencySettings(max_tasks_per_minute=rate)
    if JOB["max_pages"]:
        chosen["max_requests_per_crawl"] = JOB["max_pages"]
    if JOB["proxy"]:
        chosen["proxy_configuration"] = ProxyConfiguration(proxy_urls=[JOB["proxy"]])
    return chosen


async def main():
    """Crawl from the start URLs of the job file until no new link is left."""
    crawler = BeautifulSoupCrawler(**await options())

    @crawler.router.default_handler
    async def handle(context):
        soup = context.soup
        price = soup.select_one("p.price")
        await context.push_data(
            {
                "url": context.request.url,
                "title": soup.h1.get_text() if soup.h1 else None,
                "price": price.get_text() if price else None,
                "entries": len(soup.select("li.entry")),
            }
        )
        following = soup.select_one("a.next")
        if following:
            url = context.request.url.rpartition("/hub/")[0] + following["href"]
            await context.add_requests([Request.from_url(url, forefront=True)])
        await context.enqueue_links()

    await crawler.run(JOB["start"])


if __name__ == "__main__":
    asyncio.run(main())
