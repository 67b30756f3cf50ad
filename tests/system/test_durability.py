"""Nothing lost, nothing doubled: kills, signals, full disks and damaged files against the real command."""

import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from tests.project import ROOT, Project, read_jsonl
from tests.site import Arrival, Reply, Site, page

SIZE = 100
SPIDER = """
from scraper import Spider

class Walk(Spider):
    start_urls = [{start!r}]
    key = "name"

    def parse(self, page):
        for part in ("one", "two"):
            yield {{"name": page.url + " " + part, "pad": "x" * 500}}
        yield from page.follow_all("a")
"""


@pytest.fixture
def walk(project: Project, site: Site) -> Site:
    """A site of SIZE pages that link back and forth, and a spider that walks it."""
    site["/robots.txt"] = 404
    for number in range(SIZE):
        links = [2 * number + 1, 2 * number + 2, number + 7, number // 2]
        whole = page(*(f"/{n}" for n in links if n < SIZE), text="y" * 2000)
        site[f"/{number}"] = replace(whole, wait=0.005)  # or all would be over before it is killed
    project.spider("walk", SPIDER.format(start=site.url("/0")))
    return site


def wait_for(site: Site, requests: int) -> None:
    give_up = time.monotonic() + 20
    while len(site.arrivals) < requests and time.monotonic() < give_up:
        time.sleep(0.005)


def assert_whole(project: Project, site: Site, size: int = SIZE) -> None:
    """Every page once, every record once, in the published file and in the run's own."""
    names = sorted(f"{site.url(f'/{n}')} {part}" for n in range(size) for part in ("one", "two"))
    assert sorted(record["name"] for record in project.records("walk")) == names
    (folder,) = project.data("walk", "runs").iterdir()
    assert (folder / "records.jsonl").read_bytes().endswith(b"\n")
    assert sorted(record["name"] for record in read_jsonl(folder / "records.jsonl")) == names
    read_jsonl(folder / "log.jsonl")
    (run,) = project.runs("walk")
    assert (run["pages"], run["records"], run["pending"], run["verdict"]) == (size, 2 * size, 0, "OK")


@pytest.mark.parametrize("delay", [0, pytest.param(0.01, marks=pytest.mark.thorough)])
def test_five_kills_lose_nothing_and_double_nothing(project: Project, walk: Site, delay: float) -> None:
    settings = ("--set", f"delay={delay}", "--set", "delay_factor=0")
    dice = random.Random(7)
    for _ in range(5):
        running = project.start("run", "walk", *settings)
        wait_for(walk, len(walk.arrivals) + 10 + dice.randrange(10))
        assert running.kill().code == -signal.SIGKILL
    ended = project.run("run", "walk", *settings)
    assert ended.code == 0, ended.text
    assert_whole(project, walk)
    assert min(walk.gaps()) >= delay
    assert len(walk.arrivals) < 2 * SIZE


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_run_and_the_same_command_goes_on(
    project: Project, walk: Site, number: signal.Signals, code: int
) -> None:
    running = project.start("run", "walk", "--set", "delay=0.03")
    wait_for(walk, 30)
    running.signal(number)
    assert running.wait(5).code == code
    (run,) = project.runs("walk")
    assert (run["verdict"], run["exit_code"]) == ("INCOMPLETE", code)
    assert run["pages"] + 1 == len(walk.arrivals)
    assert not project.data("walk", "records.jsonl").exists()
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    assert_whole(project, walk)
    assert len(walk.paths()) == len(set(walk.paths()))


def test_a_server_that_is_silent_does_not_hold_up_a_signal_and_a_second_one_ends_at_once(
    project: Project, walk: Site
) -> None:
    well = walk.pages["/0"]
    took = []
    for is_impatient in (False, True):
        walk["/0"] = Reply(wait=30)
        before = len(walk.arrivals)
        running = project.start("run", "walk", "--set", "delay=0")
        wait_for(walk, before + (2 if before == 0 else 1))
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        if is_impatient:
            time.sleep(0.1)
            running.signal(signal.SIGTERM)
        assert running.wait().code == 143
        took.append(time.monotonic() - began)
    assert took[1] < took[0] < 30
    walk["/0"] = well
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    assert_whole(project, walk)


def test_a_second_run_of_a_spider_touches_nothing(project: Project, walk: Site) -> None:
    first = project.start("run", "walk", "--set", "delay=0.01")
    wait_for(walk, 20)
    second = project.run("run", "walk", "--set", "delay=0")
    assert second.code == 75 and "already running" in second.err
    assert first.wait().code == 0
    assert_whole(project, walk)
    assert min(walk.gaps()) >= 0.01


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_space(project: Project, walk: Site) -> None:
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, {resource.RLIM_INFINITY}))"
    command = f"{limit}; from scraper.cli import main; main()"
    full = subprocess.run(
        [sys.executable, "-c", command, "run", "walk", "--set", "delay=0"],
        cwd=project.root,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert full.returncode == 1, full.stderr
    assert "free some space" in full.stderr and "Traceback" not in full.stderr
    assert not project.data("walk", "records.jsonl").exists()
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    assert_whole(project, walk)


def test_a_damaged_end_of_the_journal_costs_only_what_was_in_it(project: Project, walk: Site) -> None:
    running = project.start("run", "walk", "--set", "delay=0.005")
    wait_for(walk, 60)
    running.kill()
    journal = project.data("scraper.db-wal")
    content = journal.read_bytes()
    journal.write_bytes(content[:-3000] + bytes(1000))
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    assert_whole(project, walk)


def test_cookies_and_redirects_survive_a_kill(project: Project, site: Site) -> None:
    def members_only(arrival: Arrival) -> Reply:
        return page() if "card=1" in arrival.headers.get("cookie", "") else Reply(403)

    doors = [f"/door{number}" for number in range(20)]
    entrance = page(*doors)
    site["/robots.txt"] = 404
    site["/0"] = Reply(200, entrance.body, {"Content-Type": "text/html", "Set-Cookie": "card=1; Path=/"})
    for number, door in enumerate(doors):
        site[door] = Reply(302, "", {"Location": f"/room{number}"})
        site[f"/room{number}"] = members_only
    project.spider("walk", SPIDER.format(start=site.url("/0")))
    running = project.start("run", "walk", "--set", "delay=0.03")
    wait_for(site, 12)
    running.kill()
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    rooms = [record["name"] for record in project.records("walk") if "/room" in record["name"]]
    assert len(rooms) == len(set(rooms)) == 40


def test_a_disk_that_is_gone_is_waited_for_by_the_next_run(project: Project, walk: Site) -> None:
    running = project.start("run", "walk", "--set", "delay=0.02")
    wait_for(walk, 20)
    away = project.data().with_name("unmounted")
    project.data().rename(away)
    ended = running.wait()
    assert (ended.code, ended.err.count("error:")) == (75, 1), ended.text
    assert "is gone" in ended.err and "the same command resumes the run" in ended.err
    assert not project.data().exists()
    away.rename(project.data())
    assert project.run("run", "walk", "--set", "delay=0").code == 0
    assert_whole(project, walk)
