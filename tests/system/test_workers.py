"""Several processes of one run, through the real command."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.project import ROOT, Project, Started
from tests.site import Site, page

SIZE = 120
SPIDER = """
import os
from scraper import Spider

class Walk(Spider):
    start_urls = {starts!r}
    key = "url"

    def parse(self, page):
        yield {{"url": page.url, "pid": os.getpid()}}
"""


WAYS = (["--workers", "2"], [])


def workers_of(running: Started) -> list[int]:
    """The two workers, as soon as both have been started."""
    give_up = time.monotonic() + 20
    while len(running.children) < 2 and time.monotonic() < give_up:
        time.sleep(0.002)
    return running.children


def test_two_workers_begin_together_and_each_has_its_share(project: Project) -> None:
    with Site({"/robots.txt": 404, "*": page()}, host="0.0.0.0") as site:
        starts = [f"http://127.0.42.{number + 1}:{site.port}/" for number in range(SIZE)]
        project.spider("walk", SPIDER.format(starts=starts))
        ended = project.run("run", "walk", "--workers", "2")
    assert ended.code == 0, ended.text
    records = project.records("walk")
    assert sorted(record["url"] for record in records) == sorted(starts)
    shares = Counter(record["pid"] for record in records)
    assert len(shares) == 2 and min(shares.values()) >= SIZE // 8  # neither came when all was taken
    assert len({arrival.headers["host"] for arrival in site.arrivals}) == SIZE
    assert Counter(site.paths()) == {"/": SIZE}


@pytest.mark.parametrize("domains", [1, 2], ids=["parse processes", "workers"])
def test_what_opened_sets_reaches_every_process_and_is_the_same_input_in_all(
    project: Project, domains: int
) -> None:
    opened = "    def opened(self):\n        self.rate, self.odd = open('rate' + '.txt').read(), lambda: 1\n"
    (project.root / "rate.txt").write_text("2")
    with Site({"/robots.txt": 404, "*": ("page", 200, {"ETag": '"1"'})}, host="0.0.0.0") as site:
        starts = [f"http://127.0.42.{n % domains + 1}:{site.port}/{n}" for n in range(8)]
        source = SPIDER.format(starts=starts).replace("os.getpid()", "self.rate")
        project.spider("walk", source.replace("    def parse", f"{opened}\n    def parse"))
        ended = [project.run("run", "walk", "--json", "--set", "delay=0", *more) for more in WAYS]
    assert [one.code for one in ended] == [0, 0], ended[0].text
    assert {record["pid"] for record in project.records("walk")} == {"2"}
    assert [one.summary["unchanged"] for one in ended] == [0, 8]


def test_a_signal_reaches_workers_that_have_not_begun(project: Project) -> None:
    project.spider("walk", SPIDER.format(starts=["http://127.0.42.250:9/", "http://127.0.42.251:9/"]))
    running = project.start("run", "walk", "--workers", "2")
    assert len(workers_of(running)) == 2
    running.signal(signal.SIGTERM)
    assert running.wait().code == 143


def test_a_worker_that_dies_before_it_begins_is_replaced_and_holds_nobody_up(project: Project) -> None:
    with Site({"/robots.txt": 404, "/": page()}, host="0.0.0.0") as site:
        starts = [f"http://127.0.42.{number}:{site.port}/" for number in (1, 2)]
        project.spider("walk", SPIDER.format(starts=starts))
        running = project.start("run", "walk", "--workers", "2")
        first, _ = workers_of(running)
        os.kill(first, signal.SIGKILL)
        assert running.wait().code == 0
    assert len(project.records("walk")) == 2


@pytest.mark.thorough
def test_workers_that_come_up_after_their_parent_was_killed_leave_the_run_to_the_next_one(
    project: Project,
) -> None:
    (project.root / "late").mkdir()
    (project.root / "late" / "sitecustomize.py").write_text(
        "import pathlib, sys, time\n"
        "while 'scraper.app.running.worker' in sys.orig_argv and not pathlib.Path('go').exists():\n"
        "    time.sleep(0.01)\n"
    )
    env = {"PYTHONPATH": os.pathsep.join(map(str, (project.root / "late", ROOT)))}
    with Site({"/robots.txt": 404, "/": page()}, host="0.0.0.0") as site:
        starts = [f"http://127.0.42.{number}:{site.port}/" for number in (1, 2)]
        project.spider("walk", SPIDER.format(starts=starts))
        running = project.start("run", "walk", "--workers", "2", env=env)
        workers = workers_of(running)
        os.kill(running.process.pid, signal.SIGKILL)
        (project.root / "go").touch()
        until = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
            time.sleep(0.01)
        assert running.wait().code == -signal.SIGKILL and not site.arrivals
        assert project.run("run", "walk", "--workers", "2").code == 0
    assert len(project.records("walk")) == 2
