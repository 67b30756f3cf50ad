"""Rendered pages: the project, a bare Playwright loop, scrapy-playwright and Crawlee's PlaywrightCrawler.

`python -m benchmarks rendering`. All open the same pages of one site with one Chromium, one page at a time,
and wait for the same element. Pictures are blocked where there is a way to; the bare loop asks for no
robots.txt.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.contestants import CRAWLEE_PLAYWRIGHT, CRAWLERS, OURS, ROOT, SCRAPY_PLAYWRIGHT, installed
from benchmarks.figures import gaps, ratios, spread
from benchmarks.report import Bars, Table
from scraper.browser import chromium
from tests.site import Reply, Site

PAGES = 25
SLOW_PAGES = 5  # that are opened at a delay of one second
DELAY = 1.0
WAIT = 0.15  # seconds that the site takes for each answer where tabs are compared
BARE_PLAYWRIGHT = "bare Playwright loop"
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
    settings = {{"delay": {delay}, "concurrency": {tabs}}}

    def start(self):
        for url in {urls!r}:
            yield Request(url, render=Render(wait_for=".done"))

    def parse(self, page):
        yield {{"rows": len(page.css("li")), "at": time.monotonic()}}
"""

Crawl = Callable[[Sequence[str], float], list[float]]
"""Opens URLs at a delay; when each page was there."""


@contextmanager
def site(wait: float = 0.0) -> Iterator[Site]:
    """A site whose pages are filled by a script."""
    shell = "<title>x</title><ul id=app></ul><img src=/picture.png>"
    shell += "<script src=/library.js></script><script src=/app.js></script>"
    with Site({"/robots.txt": 404, "/app.js": Reply(body=_APP, headers=_SCRIPT, wait=wait)}) as made:
        made["/library.js"] = Reply(body="//" + "x" * 150_000, headers=_SCRIPT, wait=wait)
        made["/picture.png"] = Reply(body=b"\x89PNG", headers={"Content-Type": "image/png"}, wait=wait)
        for number in range(PAGES + 1):
            made[f"/{number}"] = Reply(body=shell, headers={"Content-Type": "text/html"}, wait=wait)
            rows = json.dumps({"rows": [f"row {n}" for n in range(50)]})
            made[f"/api/{number}"] = Reply(body=rows, headers={"Content-Type": "application/json"}, wait=wait)
        yield made


async def _bare(urls: Sequence[str]) -> list[float]:
    # Imported here, an extra.
    from playwright.async_api import Route, async_playwright

    async def route(one: Route) -> None:
        is_blocked = one.request.resource_type in ("image", "media", "font")
        await (one.abort() if is_blocked else one.continue_())

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium.find(None))
        page = await browser.new_page()
        await page.route("**/*", route)
        moments = []
        for url in urls:
            await page.goto(url)
            await page.wait_for_selector(".done")
            assert (await page.content()).count("<li>") == 50
            moments.append(time.monotonic())
        await browser.close()
        return moments


def bare(urls: Sequence[str], delay: float) -> list[float]:
    """The bare loop; it knows no delay."""
    return asyncio.run(_bare(urls))


def ours(urls: Sequence[str], delay: float, tabs: int = 1) -> list[float]:
    """The project."""
    with TemporaryDirectory() as folder:
        spider = Path(folder) / "drawn.py"
        spider.write_text(_SPIDER.format(urls=list(urls), delay=delay, tabs=tabs), "utf-8")
        command = [sys.executable, "-m", "scraper", "run", str(spider), "--quiet"]
        environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
        subprocess.run(command, cwd=folder, env=environment, check=True)
        return _moments(Path(folder) / "data" / "drawn" / "records.jsonl", len(urls))


def rival(name: str, script: str) -> Crawl:
    """A rival, by its script."""
    python = installed(name)

    def crawl(urls: Sequence[str], delay: float) -> list[float]:
        with TemporaryDirectory() as folder:
            job, out = Path(folder) / "job.json", Path(folder) / "records.jsonl"
            program = chromium.find(None)
            told = {"urls": list(urls), "delay": delay, "program": program, "out": str(out), "blocks": True}
            job.write_text(json.dumps(told), "utf-8")
            with open(Path(folder) / "output.txt", "wb") as output:
                command = [str(python), str(CRAWLERS / script), str(job)]
                subprocess.run(command, cwd=folder, stdout=output, stderr=output, timeout=600, check=True)
            return _moments(out, len(urls))

    return crawl


def _moments(path: Path, count: int) -> list[float]:
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(records) == count and all(one["rows"] == 50 for one in records), path.read_text("utf-8")[:500]
    return [one["at"] for one in records]


def _seconds(moments: Sequence[float]) -> float:
    return max(moments) - min(moments)


def rendering(*, turns: int) -> Table:
    """Time beside a bare loop, requests a page, and what of a delay of a second is kept."""
    crawls: dict[str, Crawl] = {
        OURS: ours,
        BARE_PLAYWRIGHT: bare,
        SCRAPY_PLAYWRIGHT: rival(SCRAPY_PLAYWRIGHT, "render_with_scrapy.py"),
        CRAWLEE_PLAYWRIGHT: rival(CRAWLEE_PLAYWRIGHT, "render_with_crawlee.py"),
    }
    times: dict[str, list[float | None]] = {name: [] for name in crawls}
    sent: dict[str, float] = {}
    for _ in range(turns):
        for name, crawl in crawls.items():
            with site() as made:
                times[name].append(_seconds(crawl([made.url(f"/{n}") for n in range(PAGES + 1)], 0.0)))
                sent[name] = len(made.arrivals) / (PAGES + 1)
    with site(WAIT) as slow:
        urls = [slow.url(f"/{n}") for n in range(PAGES + 1)]
        tabs = spread([_seconds(ours(urls, 0.0)) / _seconds(ours(urls, 0.0, 2)) for _ in range(turns)])
    rows = [["", "time by the bare loop's", "requests a page", f"gaps under {DELAY:g} s", "smallest gap"]]
    bars = []
    for name, crawl in crawls.items():
        ratio = spread(ratios(times[name], times[BARE_PLAYWRIGHT]))
        assert ratio is not None
        bars.append((name, ratio))
        rows.append([name, ratio.text(), f"{sent[name]:.1f}", *_politeness(name, crawl)])
    assert tabs is not None
    text = (
        f"{PAGES} pages after a first one, delay 0, one page at a time: the time from the first to the last "
        f"page by that of a loop of `goto` and `wait_for_selector`. Each page has two scripts (fresh for ten "
        f"minutes), a picture and a request of its script; a page whose requests Playwright routes has no "
        f"HTTP cache. Then {SLOW_PAGES} pages at a delay of {DELAY:g} s, set as each documentation says: how "
        f"many requests followed the one before sooner, by the site's clock. Two tabs of the project, where "
        f"each answer takes {WAIT} s, are {tabs.text()} times as fast as one."
    )
    return Table("rendering", "Pages that a browser renders", text, rows, Bars("time by a bare loop's", bars))


def _politeness(name: str, crawl: Crawl) -> tuple[str, str]:
    """Requests that came too soon, of all; and the smallest gap."""
    if name == BARE_PLAYWRIGHT:
        return "-", "-"
    with site() as made:
        crawl([made.url(f"/{n}") for n in range(SLOW_PAGES)], DELAY)
        found = gaps([one.at for one in made.arrivals])
    return f"{sum(gap < DELAY for gap in found)} of {len(found)}", f"{min(found):.3f} s"
