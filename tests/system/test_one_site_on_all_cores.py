"""`run --workers` with fewer domains than workers: real processes parse for the owner, some are killed."""

import os
import signal
import time
from collections import Counter

import pytest

from tests.project import Project, Started
from tests.site import Reply, Site, page

pytestmark = pytest.mark.thorough

PAGES = 150
LAST = PAGES - 1  # its parse waits for the file `go-200`

SPIDER = """
    import os, sys, time
    from pathlib import Path
    from scraper import Drop, Retry, Spider

    is_parser = "parse_process" in sys.argv[0]
    kinds = ("owner", "parser")

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": 0, "concurrency": 1}}

        def parse(self, page):
            Path(f"{{kinds[is_parser]}}-{{os.getpid()}}").touch()
            Path(f"is-{{kinds[is_parser]}}").touch()
            if not os.path.exists(f"is-{{kinds[1]}}"):  # who lists a folder has its pages parsed every time
                time.sleep(0.05)  # until a parse process is there
            {extra}
            yield {{"url": page.url, "meta": page.meta.get("from"), "parser": is_parser}}
            yield from page.follow_all("a", meta={{"from": page.url}})
"""
# Put together: a name that stands there would be an input of the run, and its coming would begin a new one.
WAITING = f"""
            while page.url.endswith("/{LAST}") and not Path(f"go-{{page.status}}").exists():
                time.sleep(0.01)
"""


def write(project: Project, site: Site, extra: str = "pass") -> None:
    project.spider("shop", SPIDER.format(url=site.url(), extra=extra))


@pytest.fixture
def shop(project: Project, site: Site) -> Site:
    site["/"] = page(*(f"/{n}" for n in range(PAGES)), title="home")
    site["*"] = page(title="one")
    write(project, site)
    return site


def pids(project: Project, kind: str) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in project.root.glob(f"{kind}-*")}


def waits(project: Project, started: Started) -> None:
    """Until both owner and parse process have parsed, and little but the last page is left."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        newest = max(project.data("shop").glob("runs/*/records.jsonl"), default=None)
        if newest and newest.read_bytes().count(b"\n") >= PAGES // 2 and pids(project, "parser"):
            return
        assert started.process.poll() is None, started.wait().text
        time.sleep(0.01)
    raise AssertionError(started.kill().text)


def test_pages_of_one_site_are_parsed_in_two_processes_and_asked_for_in_one(
    project: Project, shop: Site
) -> None:
    ended = project.run("run", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["records"]) == (0, PAGES + 1, PAGES + 1)
    records = project.records("shop")
    assert {one["parser"] for one in records} == {True, False}
    assert {one["meta"] for one in records} == {None, shop.url("/")}
    assert set(Counter(shop.paths()).values()) == {1}
    assert len({arrival.connection for arrival in shop.arrivals}) <= 3  # one session, by and by
    again = project.run("run", "shop", "--workers", "2", "--json")
    assert (again.code, again.summary["unchanged"], again.summary["pages"]) == (0, PAGES + 1, 0), again.text


@pytest.mark.parametrize("victim", ["parser", "owner"])
def test_a_process_that_is_killed_costs_no_page_and_no_record_twice(
    project: Project, shop: Site, victim: str
) -> None:
    write(project, shop, WAITING)
    started = project.start("run", "shop", "--workers", "2", "--json")
    waits(project, started)
    for pid in pids(project, victim):
        os.kill(pid, signal.SIGKILL)
    (project.root / "go-200").touch()
    ended = started.wait()
    assert (ended.code, ended.summary["failed"], ended.summary["pages"]) == (0, 0, PAGES + 1), ended.text
    assert len(project.records("shop")) == len({one["url"] for one in project.records("shop")}) == PAGES + 1


@pytest.mark.thorough
def test_a_killed_run_takes_its_processes_along_and_goes_on(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("run", "shop", "--workers", "2")
    waits(project, started)
    started.kill()
    (project.root / "go-200").touch()
    ended = project.run("run", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["resumed"], ended.summary["pages"]) == (0, True, PAGES + 1), ended.text
    assert len(project.records("shop")) == PAGES + 1


@pytest.mark.thorough
def test_an_interrupt_saves_the_state_in_time(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("run", "shop", "--workers", "2")
    waits(project, started)
    started.signal(signal.SIGINT)
    assert started.wait().code == 130
    (project.root / "go-200").touch()
    ended = project.run("run", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["pages"]) == (0, PAGES + 1), ended.text


@pytest.mark.thorough
def test_a_page_that_kills_whatever_parses_it_fails_alone(project: Project, shop: Site) -> None:
    write(project, shop, f'page.url.endswith("/{LAST}") and os.kill(os.getpid(), 9)')
    ended = project.run("run", "shop", "--workers", "2", "--json")
    assert (ended.summary["pages"], ended.summary["failed"]) == (PAGES, 1), ended.text
    assert ended.summary["errors"] == {"killed the process": 1}


def test_what_a_callback_says_of_its_page_holds_wherever_it_is_parsed(project: Project, shop: Site) -> None:
    said = """
            number = page.url.rpartition("/")[2]
            if number.endswith("3"): raise Drop("no offer")
            if number.endswith("5"): raise ValueError("odd")
            if number == "12" and not Path("again").exists():
                Path("again").touch()
                raise Retry("not yet", after=0.2)
            if number.endswith("7"): page.save(f"{number}.html")
    """.strip()
    write(project, shop, said)
    ended = project.run("run", "shop", "--workers", "2", "--json", "--set", "max_errors=20")
    assert (ended.summary["failed"], ended.summary["dropped"]) == (PAGES // 10, PAGES // 10), ended.text
    assert ended.summary["records"] == PAGES + 1 - 2 * (PAGES // 10)
    assert ended.summary["retries"] == 1 and Counter(shop.paths())["/12"] == 2


def test_a_callback_that_asks_its_session_is_run_by_the_owner(project: Project, shop: Site) -> None:
    shop["/price"] = Reply(body="7")
    write(project, shop, f'assert page.session.get("{shop.url("/price")}").text == "7"')
    alone = project.run("run", "shop", "--max-pages", "5", "--json")
    assert (alone.code, alone.summary["pages"]) == (0, 5), alone.text  # with the next request on its way
    shop.arrivals.clear()
    ended = project.run("run", "shop", "--fresh", "--workers", "2", "--json", timeout=120)
    assert (ended.code, ended.summary["pages"]) == (0, PAGES + 1), ended.text
    assert not any(one["parser"] for one in project.records("shop"))
    assert Counter(shop.paths())["/price"] == PAGES + 1
    assert pids(project, "parser")  # it was tried there


@pytest.mark.thorough
def test_many_callbacks_that_raise_end_the_run_soon(project: Project, shop: Site) -> None:
    raises = """
            if page.url.rpartition("/")[2] > "1": raise ValueError("odd")
    """.strip()
    write(project, shop, raises)
    ended = project.run("run", "shop", "--workers", "2", "--json", "--set", "max_errors=5")
    assert ended.code == 1 and ended.summary["verdict"] == "BROKEN", ended.text
    assert ended.summary["failed"] <= 5 + 64
