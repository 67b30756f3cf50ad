"""Debian's own cron runs the line that `scraper cron --install` wrote: twice, and quietly."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.project import ROOT, Project
from tests.service.serving import serving
from tests.site import Arrival, Reply, Site, page

pytestmark = pytest.mark.debian

AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n"]
# These have to stay as they are; and cron's environment is bare, so it is told where the package is.
OTHERS = f"# somebody else's\nPYTHONPATH={ROOT}\n17 * * * * true\n"
SHOP = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = [{url!r}]
        key = "url"
        settings = {{"delay": 0.05}}

        def parse(self, page):
            yield {{"url": page.url}}
            yield from page.follow_all("a")
"""


@pytest.fixture
def crontab() -> Iterator[Callable[[], str]]:
    """This user's crontab with a line of somebody else's; afterwards it is what it was."""
    if shutil.which("crontab") is None or shutil.which("cron", path="/usr/sbin") is None:
        pytest.fail("install the package cron")

    def read() -> str:
        return subprocess.run(["crontab", "-l"], capture_output=True, text=True).stdout

    before = subprocess.run(["crontab", "-l"], capture_output=True)
    subprocess.run(["crontab", "-"], input=OTHERS, text=True, check=True)
    yield read
    if before.returncode == 0:
        subprocess.run(["crontab", "-"], input=before.stdout, check=True)
    else:
        subprocess.run(["crontab", "-r"], check=True)


@contextmanager
def daemon() -> Iterator[None]:
    """The cron daemon, started here unless it runs already: it lets no second one live.

    To be started after the crontab was written: it does not see a second change within one second.
    """
    process = subprocess.Popen([*AS_ROOT, "/usr/sbin/cron", "-f"], start_new_session=True)
    try:
        yield
    finally:
        if process.poll() is None:
            subprocess.run([*AS_ROOT, "kill", str(process.pid)], check=False)
            process.wait(10)


def tagged(*links: str) -> Callable[[Arrival], Reply]:
    """A page with an ETag that answers 304 to whoever has it."""

    def answer(arrival: Arrival) -> Reply:
        tag = f'"{arrival.path}"'
        if arrival.headers.get("if-none-match") == tag:
            return Reply(304, headers={"ETag": tag})
        return Reply(200, page(*links).body, {"Content-Type": "text/html", "ETag": tag})

    return answer


def wait_for(is_there: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_there():
            return True
        time.sleep(0.25)
    return False


def test_the_dashboard_tells_when_the_real_crontab_starts_a_spider_next(
    project: Project, crontab: Callable[[], str]
) -> None:
    project.spider("shop", SHOP.format(url="https://example.org/"))
    project.spider("other", SHOP.format(url="https://example.org/"))
    assert project.run("cron", "shop", "23 4 * * *", "--install").code == 0
    assert "cron shop" in crontab() or "run shop" in crontab()
    with serving(project) as served:
        assert served.get("/").text.count(", 04:23") == 1
        assert ", 04:23" in served.get("/ui/spiders/shop").text
        assert ", 04:23" not in served.get("/ui/spiders/other").text
    assert project.run("cron", "shop", "--remove").code == 0
    with serving(project) as served:
        assert ", 04:23" not in served.get("/").text


def test_cron_runs_the_line_twice_and_the_second_run_asks_for_changes_only(
    project: Project, site: Site, crontab: Callable[[], str]
) -> None:
    site.pages |= {"/robots.txt": 404, "/": tagged("/a", "/b"), "/a": tagged(), "/b": tagged()}
    project.spider("shop", SHOP.format(url=site.url()))

    assert project.run("cron", "shop", "* * * * *", "--install").code == 0
    installed = crontab()
    assert installed.startswith(OTHERS)
    assert project.run("cron", "shop", "* * * * *", "--install").code == 0
    assert crontab() == installed

    with daemon():
        assert wait_for(lambda: len(project.runs("shop")) >= 2, seconds=150), "cron has not run it twice"
    assert project.run("cron", "shop", "--remove").code == 0
    assert crontab() == OTHERS

    first, second = project.runs("shop")[:2]
    assert (first["verdict"], second["verdict"]) == ("OK", "OK")
    assert (first["pages"], second["unchanged"], second["records"]) == (3, 3, 3)
    asked = [(a.path, a.headers.get("if-none-match")) for a in site.arrivals if a.path != "/robots.txt"]
    assert [tag for _, tag in asked[:3]] == [None, None, None]
    assert sorted(asked[3:6]) == [("/", '"/"'), ("/a", '"/a"'), ("/b", '"/b"')]
    assert project.data("shop", "cron.log").read_text() == ""
