"""Random sites, random kills, then the same command until it ends: as if nothing had happened.

SOAK_SECONDS=600 pytest -s tests/system/test_random_kills.py: new seeds for so long, each printed.
"""

import contextlib
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from scraper.engine.group_commit import SETTLE_AT, SETTLE_EVERY
from scraper.store import Run
from scraper.store.sqlite.store import SqliteStore
from tests.project import Project, Started, read_jsonl
from tests.site import Reply, Scripted, Site, page, redirect

pytestmark = pytest.mark.thorough

SEEDS = (3, 8, 21)
SOAK = float(os.environ.get("SOAK_SECONDS", "0"))
MOST_BLOWS = 4
SPIDER = """
from scraper import Spider

class Walk(Spider):
    start_urls = {starts!r}
    key = "name"
    health = {{"max_failed": 0.6}}

    def parse(self, page):
        for number in range(len(page.css("h1::text").get())):
            yield {{"name": f"{{page.url}} {{number}}", "pad": "x" * 200}}
        yield from page.follow_all("a")
"""


@dataclass
class Web:
    """Sites that link to each other, and what a run that nobody disturbs makes of them."""

    sites: list[Site]
    records: list[str] = field(default_factory=list)
    requests: Counter[str] = field(default_factory=Counter)
    busy: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    redirected: int = 0
    gone: int = 0

    @property
    def starts(self) -> list[str]:
        return [site.url("/0") for site in self.sites]

    @property
    def arrived(self) -> int:
        return sum(len(site.arrivals) for site in self.sites)

    def add(self, url: str, scripted: Scripted, dice: random.Random) -> None:
        """Put an answer where it belongs; now and then its site is too busy for it, once.

        One that is so more often teaches a pace at which nobody would see the end of this test.
        """
        site = next(site for site in self.sites if url.startswith(site.url()))
        self.requests[url] += 1
        if dice.random() < 0.05 and not self.busy[site.url()]:
            self.busy[site.url()] += 1
            scripted = [Reply(503, headers={"Retry-After": dice.choice("001")}), scripted]
            self.requests[url] += 1
        site[url.removeprefix(site.url(""))] = scripted


def grow(dice: random.Random, sites: list[Site]) -> Web:
    """A web in which every URL can be reached, some in several ways."""
    web = Web(sites)
    names = ["/0"] * len(sites) + [f"/{n}" for n in range(1, dice.randint(20, 120) - len(sites))]
    urls = [(sites[n] if n < len(sites) else dice.choice(sites)).url(name) for n, name in enumerate(names)]
    links: dict[str, list[str]] = {url: [] for url in urls}
    inner = urls[: len(sites)]  # pages: only they lead on
    replies: dict[str, Scripted] = {}
    for url in urls:
        kind = dice.random() if url not in inner else 1.0
        if url not in inner:
            links[dice.choice(inner)].append(url)
        if kind < 0.08:
            replies[url] = redirect(dice.choice(inner))
            web.redirected += 1
        elif kind < 0.13:
            replies[url] = 404
            web.gone += 1
        else:
            inner += [url] if url not in inner else []
            web.pages += 1
    pages = [url for url in urls if url not in replies]
    for url in pages:
        links[url] += dice.choices(urls, k=dice.randint(0, 6))
        title = "x" * dice.randint(1, 3)
        wait = dice.choice((0.0, 0.0, 0.002, 0.005, 0.1 * (dice.random() < 0.2)))
        replies[url] = replace(page(*links[url], title=title, text="y" * dice.randint(0, 3000)), wait=wait)
        web.records += [f"{url} {number}" for number in range(len(title))]
    for url in urls:
        web.add(url, replies[url], dice)
    for site in sites:
        site["/robots.txt"] = 404
    return web


@dataclass
class Blows:
    """What a run suffered."""

    kills: int = 0
    host_settings: int = 0
    told: list[str] = field(default_factory=list)


def strike(running: Started, dice: random.Random, workers: int, blows: Blows) -> None:
    """Kill the parent or a worker, or ask the parent to end."""
    kind = dice.choice(
        ("parent", "parent", "worker", "term") if workers > 1 else ("parent", "parent", "term")
    )
    blows.told.append(kind)
    if kind == "term":
        running.signal(signal.SIGTERM)
        blows.host_settings += 1
        assert running.wait().code in (0, 143, -signal.SIGTERM)
        return
    blows.kills += 1
    if kind == "parent":
        running.kill()
        return
    with contextlib.suppress(OSError, IndexError):
        os.kill(dice.choice(running.children), signal.SIGKILL)


def wait_for(web: Web, running: Started, dice: random.Random) -> None:
    """Until some more requests came, sometimes also until a moment without any."""
    wanted, give_up = web.arrived + dice.randint(1, 60), time.monotonic() + dice.choice((0.5, 5.0))
    while web.arrived < wanted and time.monotonic() < give_up and running.process.poll() is None:
        time.sleep(0.002)


def last_run(project: Project) -> Run | None:
    """The one run of the spider, as the store has it."""
    if not project.data("scraper.db").exists():
        return None
    store = SqliteStore(project.data("scraper.db"))
    try:
        runs = store.runs("walk")
    finally:
        store.close()
    assert len(runs) <= 1
    return runs[0] if runs else None


def is_over(project: Project) -> bool:
    """Whether the run ended; killed between its end and that of its process it is not to be run again."""
    run = last_run(project)
    return run is not None and run.state == "ended"


def disturb(project: Project, web: Web, dice: random.Random, command: list[str], workers: int) -> Blows:
    """Run the same command until the run has ended, striking it now and then."""
    blows = Blows()
    while not is_over(project):
        running = project.start("run", "walk", *command)
        for _ in range(dice.choice((1, 1, 2))):
            if len(blows.told) < MOST_BLOWS and running.process.returncode is None:
                wait_for(web, running, dice)
                strike(running, dice, workers, blows)
        if running.process.returncode is None:
            ended = running.wait()
            assert ended.code == 0, f"{blows.told}\n{ended.text}"
    return blows


def assert_undisturbed(project: Project, web: Web) -> None:
    """Pages, records and counts as of a run that nobody touched, and every line whole."""
    assert sorted(record["name"] for record in project.records("walk")) == sorted(web.records)
    (folder,) = project.data("walk", "runs").iterdir()
    assert (folder / "records.jsonl").read_bytes().endswith(b"\n")
    assert sorted(one["name"] for one in read_jsonl(folder / "records.jsonl")) == sorted(web.records)
    read_jsonl(folder / "log.jsonl")
    assert len(read_jsonl(project.data("walk", "changes.jsonl"))) == len(web.records)
    run = last_run(project)
    assert run is not None
    counts = {name: run.summary[name] for name in ("pages", "records", "redirected", "failed", "pending")}
    wanted = {"pages": web.pages, "records": len(web.records), "redirected": web.redirected}
    assert counts == wanted | {"failed": web.gone, "pending": 0}
    assert run.summary["verdict"] == "OK"


def assert_polite(web: Web, blows: Blows, delay: float) -> None:
    """No gap shorter than the delay, nothing left out, and only what was not settled asked for again."""
    asked = Counter(site.url(path) for site in web.sites for path in site.paths())
    assert not web.requests - asked
    again = (asked - web.requests).total()
    # A kill also loses what is in flight or has just come, one of each for every domain.
    group = min(SETTLE_AT, len(web.sites) * SETTLE_EVERY / delay) if delay else SETTLE_AT
    assert again <= blows.kills * (group + 3 * len(web.sites)), (again, blows.told)
    if delay:
        assert min(gap for site in web.sites for gap in site.gaps()) >= delay, blows.told


def check(seed: int, root: Path) -> str:
    """One random web with its kills; what was done, in a line."""
    dice = random.Random(seed)
    delay, workers = dice.choice((0, 0.01)), dice.choice((1, 2))
    project = Project(root)
    with contextlib.ExitStack() as stack:
        stack.callback(project.end)
        count = dice.randint(workers, 3)
        web = grow(dice, [stack.enter_context(Site(host=f"127.0.41.{n + 1}")) for n in range(count)])
        project.spider("walk", SPIDER.format(starts=web.starts))
        command = ["--set", f"delay={delay}", "--set", "delay_factor=0", "--workers", str(workers)]
        blows = disturb(project, web, dice, command, workers)
        assert_undisturbed(project, web)
        assert_polite(web, blows, delay)
        asked = web.arrived - sum(web.requests.values())
        return f"{web.pages} pages, {count} sites, {workers} workers, delay {delay}, {blows.told}, +{asked}"


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_any_moment_leave_no_trace(seed: int, tmp_path: Path) -> None:
    check(seed, tmp_path / "project")


@pytest.mark.skipif(not SOAK, reason="set SOAK_SECONDS to soak")
def test_soak(tmp_path: Path) -> None:
    give_up, dice = time.monotonic() + SOAK, random.Random()
    while time.monotonic() < give_up:
        seed = dice.randrange(10**6)
        print(f"seed {seed}", flush=True)
        print(f"  {check(seed, tmp_path / str(seed))}", flush=True)
