"""`--workers` of `reparse`, `check` and `run --replay`: real processes, some of which are killed."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.postgres import Server
from tests.project import Project, Started
from tests.site import Site, page

pytestmark = pytest.mark.thorough

PAGES = 120
WAITS = 60  # the page whose parse waits for the file `go-200`

SPIDER = """
    import os, time
    from pathlib import Path
    from scraper import Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": 0}}

        def parse(self, page):
            print("a callback may print")
            {extra}
            yield {{"url": page.url, "title": page.css("title::text").get()}}
            yield from page.follow_all("a")
"""
# Put together: a name that stands there would be an input of the run, and its coming would begin a new one.
WAITING = f"""
            while page.url.endswith("/{WAITS}") and not Path(f"go-{{page.status}}").exists():
                time.sleep(0.01)
"""
DEADLY = """page.url.endswith("/7") and os.kill(os.getpid(), 9)"""


def write(project: Project, site: Site, extra: str = "pass") -> None:
    project.spider("shop", SPIDER.format(url=site.url(), extra=extra))


@pytest.fixture
def shop(project: Project, site: Site) -> Site:
    """A site whose pages are archived, and which is gone."""
    links = [f"/{n}" for n in range(PAGES)]
    site["/"] = page(*links, title="home")
    for n, link in enumerate(links):
        site[link] = page("/", f"/{(n * 7) % PAGES}", title=link)
    write(project, site)
    assert project.run("run", "shop", "--archive").code == 0
    site.stop()
    return site


def begun(project: Project, started: Started, records: int = 1) -> list[int]:
    """The parse processes of a command that has settled some pages and waits for one."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        _, *files = sorted(project.data("shop").glob("runs/*/records.jsonl"))  # the first run's is whole
        if len(started.children) == 2 and any(one.read_bytes().count(b"\n") >= records for one in files):
            return started.children
        assert started.process.poll() is None, started.wait().text
        time.sleep(0.01)
    raise AssertionError(started.kill().text)


def lives(process: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice does not."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


def test_parse_processes_bring_what_one_process_brings_in_its_order(project: Project, shop: Site) -> None:
    assert project.run("reparse", "shop").code == 0
    before = project.records("shop")
    ended = project.run("reparse", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["requests"]) == (0, PAGES + 1, 0), ended.text
    assert ended.summary["command"][:4] == ["reparse", "shop", "--fresh", "--workers"]
    assert project.records("shop") == before
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    ended = project.run("run", "shop", "--replay", file, "--workers", "2", "--json")
    assert (ended.code, ended.summary["pages"]) == (0, PAGES + 1), ended.text
    assert project.records("shop") == before


def test_a_killed_parse_process_costs_no_page_and_no_record_twice(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("reparse", "shop", "--workers", "2", "--json")
    for child in begun(project, started):
        os.kill(child, signal.SIGKILL)
    (project.root / "go-200").touch()
    ended = started.wait()
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, PAGES + 1, 0), ended.text
    assert len({one["url"] for one in project.records("shop")}) == len(project.records("shop")) == PAGES + 1


def test_a_killed_reparse_takes_its_processes_along_and_goes_on(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("reparse", "shop", "--workers", "2")
    children = begun(project, started)
    started.kill()
    until = time.monotonic() + 10
    while any(map(lives, children)):
        assert time.monotonic() < until
    (project.root / "go-200").touch()
    ended = project.run("reparse", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["resumed"], ended.summary["pages"]) == (0, True, PAGES + 1), ended.text
    assert len(project.records("shop")) == PAGES + 1


def test_a_run_does_not_go_on_with_what_a_killed_reparse_has_left(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("reparse", "shop", "--workers", "2")
    begun(project, started)
    started.kill()
    (project.root / "go-200").touch()
    ended = project.run("run", "shop", "--json", "--max-pages", "3", "--set", "max_attempts=1")
    assert ended.summary["resumed"] is False and "a new run asks the site" in ended.text, ended.text


def test_a_page_that_kills_its_process_fails_alone(project: Project, shop: Site) -> None:
    write(project, shop, DEADLY)
    ended = project.run("reparse", "shop", "--workers", "2", "--json")
    assert (ended.summary["pages"], ended.summary["failed"]) == (PAGES, 1), ended.text
    assert ended.summary["errors"] == {"killed the process": 1}
    checked = project.run("check", "shop", "--workers", "2")
    assert checked.code == 1 and "the process died 2 times" in checked.out


def test_check_in_processes_tells_what_differs(project: Project, shop: Site) -> None:
    same = project.run("check", "shop", "--workers", "2")
    assert (same.code, f"{PAGES + 1} archived pages parsed" in same.out) == (0, True), same.text
    project.spider("shop", SPIDER.format(url=shop.url(), extra="pass").replace("title::text", "p::text"))
    one, two = project.run("check", "shop"), project.run("check", "shop", "--workers", "2")
    told = [line for line in one.out.splitlines() if line != "a callback may print"]
    assert (two.code, two.out.splitlines()) == (1, told), two.text


def test_a_spider_that_cannot_be_loaded_there_ends_with_its_reason(project: Project, shop: Site) -> None:
    source = SPIDER.format(url=shop.url(), extra="pass")
    there = 'if "parse_process" in __import__("sys").argv[0]: raise RuntimeError("not here")'
    source = source.replace("class Shop", f"{there}\n\n    class Shop")
    project.spider("shop", source)
    ended = project.run("reparse", "shop", "--workers", "2")
    assert ended.code != 0 and "the processes that parse end with exit code" in ended.err, ended.text


def test_a_project_on_postgresql_is_parsed_in_processes_and_no_other_host_fetches_for_it(
    project: Project, site: Site, postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = postgres.database()
    links = [f"/{n}" for n in range(PAGES)]
    site["/"] = page(*links, title="home")
    site["*"] = page(title="one")
    write(project, site)
    assert project.run("run", "shop", "--archive", "--store", store).code == 0
    site.stop()
    write(project, site, WAITING)
    started = project.start("reparse", "shop", "--workers", "2", "--json", "--store", store)
    os.kill(begun(project, started)[0], signal.SIGKILL)
    other = Project(tmp_path_factory.mktemp("other"))
    write(other, site, WAITING)
    asked = other.run("work", "shop", "--store", store)
    assert (asked.code, "archived pages that are not those here" in asked.err) == (2, True), asked.text
    (project.root / "go-200").touch()
    ended = started.wait()
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, PAGES + 1, 0), ended.text
    assert len({one["url"] for one in project.records("shop")}) == len(project.records("shop")) == PAGES + 1
    write(project, site)
    assert project.run("check", "shop", "--workers", "2", "--store", store).code == 0


def test_an_interrupt_saves_what_is_parsed_and_the_same_command_goes_on(project: Project, shop: Site) -> None:
    write(project, shop, WAITING)
    started = project.start("reparse", "shop", "--workers", "2")
    children = begun(project, started)
    started.signal(signal.SIGINT)
    assert started.wait().code == 130
    assert not any(map(lives, children))
    (project.root / "go-200").touch()
    ended = project.run("reparse", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["resumed"], ended.summary["pages"]) == (0, True, PAGES + 1), ended.text
