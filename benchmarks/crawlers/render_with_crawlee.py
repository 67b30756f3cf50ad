"""Rendered pages with Crawlee's PlaywrightCrawler. Its defaults, but where the job says otherwise."""

import asyncio
import json
import sys
import time
from pathlib import Path

from crawlee import ConcurrencySettings
from crawlee.crawlers import PlaywrightCrawler

JOB = json.loads(Path(sys.argv[1]).read_text("utf-8"))


async def main():
    """Render the pages of the job."""
    rate = {"max_tasks_per_minute": 60 / JOB["delay"]} if JOB["delay"] else {}
    crawler = PlaywrightCrawler(
        browser_launch_options={"executable_path": JOB["program"], "chromium_sandbox": False},
        headless=True,
        respect_robots_txt_file=True,
        concurrency_settings=ConcurrencySettings(max_concurrency=1, desired_concurrency=1, **rate),
    )
    records = []

    @crawler.pre_navigation_hook
    async def block(context):
        if JOB["blocks"]:
            await context.block_requests(extra_url_patterns=["*.png"])

    @crawler.router.default_handler
    async def handle(context):
        await context.page.wait_for_selector(".done")
        rows = (await context.page.content()).count("<li>")
        records.append({"rows": rows, "at": time.monotonic()})

    await crawler.run(JOB["urls"])
    Path(JOB["out"]).write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
