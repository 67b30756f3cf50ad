"""Rendered pages beside a bare Playwright loop that opens the same ones, and one tab beside two.

`python -m benchmarks.rendering [--turns N]`: pairs on one site, warm, delay 0; prints medians.
The bare loop blocks the same kinds, asks for no robots.txt and waits for what the script makes.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import ROOT
from tests.site import Reply, Site

PAGES = 25
WAIT = 0.15  # seconds that the site takes for each answer where tabs are compared
_SCRIPT = {"Content-Type": "text/javascript", "Cache-Control": "max-age=600"}
_APP = """
fetch('/api' + location.pathname).then(answer => answer.json()).then(found => {
    for (const row of found.rows) {
        const item = document.createElement('li');
        item.textContent = row;
        app.append(item);
    }
    app.className = 'done';
});
"""
_SPIDER = """
import time
from scraper import Render, Request, Spider

class Drawn(Spider):
    settings = {{"delay": 0, "concurrency": {tabs}}}

    def start(self):
        for number in range({pages} + 1):
            yield Request("{url}" + str(number), render=Render(wait_for=".done"))

    def parse(self, page):
        yield {{"rows": len(page.css("li")), "at": time.monotonic()}}
"""


def site(wait: float) -> Site:
    """A site whose pages are filled by a script."""
    shell = "<title>x</title><ul id=app></ul><script src=/library.js></script><script src=/app.js></script>"
    made = Site({"/robots.txt": 404, "/app.js": Reply(body=_APP, headers=_SCRIPT, wait=wait)})
    made["/library.js"] = Reply(body="//" + "x" * 150_000, headers=_SCRIPT, wait=wait)
    for number in range(PAGES + 1):
        made[f"/{number}"] = Reply(body=shell, headers={"Content-Type": "text/html"}, wait=wait)
        rows = json.dumps({"rows": [f"row {n}" for n in range(50)]})
        made[f"/api/{number}"] = Reply(body=rows, headers={"Content-Type": "application/json"}, wait=wait)
    return made


async def _bare(url: str, program: str) -> float:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program)
        page = await browser.new_page()
        kinds = ("image", "media", "font")

        async def route(one: object) -> None:
            held: object = one
            blocked = held.request.resource_type in kinds  # type: ignore[attr-defined]  # Playwright's
            await (held.abort() if blocked else held.continue_())  # type: ignore[attr-defined]  # Playwright's

        await page.route("**/*", route)
        began = 0.0
        for number in range(PAGES + 1):
            await page.goto(f"{url}{number}")
            await page.wait_for_selector(".done")
            assert (await page.content()).count("<li>") == 50
            began = began or time.monotonic()
        seconds = time.monotonic() - began
        await browser.close()
        return seconds


def bare(url: str) -> float:
    """Seconds of the bare loop from the first page to the last."""
    from scraper.browser import chromium

    return asyncio.run(_bare(url, chromium.find(None)))


def ours(url: str, tabs: int = 1) -> float:
    """Seconds of our run from the first page to the last."""
    with TemporaryDirectory() as folder:
        spider = Path(folder) / "drawn.py"
        spider.write_text(_SPIDER.format(url=url, pages=PAGES, tabs=tabs))
        command = [sys.executable, "-m", "scraper", "run", str(spider), "--quiet"]
        subprocess.run(
            command, cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=True
        )
        lines = (Path(folder) / "data" / "drawn" / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert len(records) == PAGES + 1 and all(one["rows"] == 50 for one in records)
    moments = [one["at"] for one in records]
    return float(max(moments) - min(moments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    turns = parser.parse_args().turns
    with site(0.0) as fast, site(WAIT) as slow:
        pairs = [ours(fast.url("/")) / bare(fast.url("/")) for _ in range(turns)]
        tabs = [ours(slow.url("/")) / ours(slow.url("/"), 2) for _ in range(turns)]
    print(
        f"{PAGES} pages, warm, delay 0: {statistics.median(pairs):.2f} times the bare loop's time",
        sorted(pairs),
    )
    print(f"one tab to two, answers after {WAIT} s: {statistics.median(tabs):.2f} times", sorted(tabs))


if __name__ == "__main__":
    main()
