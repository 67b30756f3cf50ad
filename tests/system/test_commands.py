"""Commands as processes: what only a process of its own can show."""

import json
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.project import ROOT, Project
from tests.site import Reply, Site, page

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": {delay}}}

        def parse(self, page):
            yield {{"url": page.url}}
            yield from page.follow_all("a")
"""


def shop(project: Project, site: Site, delay: float = 0.0, size: int = 30) -> None:
    site["/"] = page(*(f"/{number}" for number in range(size)))
    for number in range(size):
        site[f"/{number}"] = page(title=str(number))
    project.spider("shop", SPIDER.format(url=site.url(), delay=delay))


def test_the_overview_costs_little(project: Project) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert project.run("--help").code == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.3


def test_a_second_run_says_who_runs_the_spider_and_touches_nothing(project: Project, site: Site) -> None:
    shop(project, site, delay=0.3)
    first = project.start("run", "shop")
    while not site.paths():
        assert first.process.poll() is None
    second = project.run("run", "shop", "--quiet")
    assert second.code == 75 and second.out == ""
    assert re.fullmatch(
        rf"error: shop is already running: pid {first.process.pid} on \S+ since \d\d:\d\d .*\n", second.err
    )
    assert "running" in project.run("runs").out
    first.signal(signal.SIGINT)
    ended = first.wait()
    assert ended.code == 130 and "run shop" in ended.err and "Traceback" not in ended.err
    assert len(project.runs("shop")) == 1


def test_a_request_by_hand_waits_for_the_run_that_has_the_domain(project: Project, site: Site) -> None:
    shop(project, site, delay=0.1, size=10)
    first = project.start("run", "shop", "--quiet")
    while not site.paths():
        assert first.process.poll() is None
    fetched = project.run("fetch", site.url("/hand"), "--set", "delay=0.1", timeout=30)
    assert fetched.code in (1, 75), fetched.text  # the path is not there; busy is an honest answer too
    assert first.wait().code == 0
    assert min(site.gaps()) >= 0.1


def test_a_killed_run_is_called_so_and_the_same_command_goes_on(project: Project, site: Site) -> None:
    shop(project, site, delay=0.05)
    for pages in (5, 10):
        killed = project.start("run", "shop", "--quiet")
        while len(site.paths()) < pages:
            assert killed.process.poll() is None
            time.sleep(0.01)
        assert killed.kill().err == "", "once is an accident"
    assert "killed" in project.run("runs").out and "killed" in project.run("list").out
    quiet = project.run("run", "shop", "--quiet", "--max-pages", "1")
    assert re.fullmatch(
        r"shop: INCOMPLETE since [0-9-]{10} [0-9:]{5} UTC: 2 runs before this one did not get to the end, "
        r"2 of them killed\n",
        quiet.err,
    )
    again = project.run("run", "shop", "--json")
    assert again.code == 0 and again.summary["resumed"] is True and "resumes run" in again.err
    assert len(project.records("shop")) == 31


def test_records_on_standard_output_mean_the_same_and_move_no_cursor(project: Project, site: Site) -> None:
    title = "\x9b31m \u202eliame \x1b[2J \u4e2d\u6587"
    site["/"] = page(title=title)
    project.spider(
        "titles",
        f"""
        from scraper import Spider

        class Titles(Spider):
            start_urls = [{site.url()!r}]
            settings = {{"delay": 0}}

            def parse(self, page):
                yield {{"title": page.css("title::text").get()}}
        """,
    )
    for command in ("run titles -o -", "export titles -o -", "changes titles --json"):
        out = project.run(*command.split()).out
        assert out.rstrip("\n").isprintable() and "\u4e2d\u6587" in out, command
        found = json.loads(out)
        assert found.get("after", found) == {"title": title}, command
    assert project.records("titles") == [{"title": title}]


def test_a_reader_that_leaves_is_no_accident(project: Project, site: Site) -> None:
    shop(project, site)
    command = f"{sys.executable} -m scraper run shop -o - --quiet | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=project.root,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert json.loads(done.stdout)["url"] == site.url() and done.stderr == ""


def test_a_run_whose_records_nobody_reads_any_more_stops_and_goes_on_later(
    project: Project, site: Site
) -> None:
    shop(project, site, delay=0.1)
    run = project.start("run", "shop", "-o", "-")
    assert run.process.stdout is not None and run.process.stderr is not None
    assert json.loads(run.process.stdout.readline())["url"] == site.url()
    assert len(site.paths()) < 20, "records come as they are committed"
    run.process.stdout.close()
    told = run.process.stderr.read()
    assert run.process.wait(30) == 141
    assert "SIGPIPE" in told and "go on" in told and len(site.paths()) < 30
    assert project.run("run", "shop", "--quiet").code == 0
    assert len(project.records("shop")) == 31 and len(site.paths()) <= 32


@pytest.mark.parametrize("command", [["list"], ["runs"], ["--help"], ["run", "shop", "--json", "--quiet"]])
def test_a_closed_pipe_ends_any_command_quietly(project: Project, site: Site, command: list[str]) -> None:
    shop(project, site)
    process = subprocess.Popen(
        [sys.executable, "-m", "scraper", *command],
        cwd=project.root,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 141 and said == b""


@pytest.mark.parametrize("command", [["--help"], ["run", "shop", "--json", "--quiet"]])
def test_standard_output_on_a_full_disk_is_told_in_a_line(
    project: Project, site: Site, command: list[str]
) -> None:
    shop(project, site)
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "scraper", *command],
            cwd=project.root,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode in (1, 2)
    assert ended.stderr == "error: the disk is full (free some space): what was written is not whole\n"


def test_data_that_is_no_folder_or_from_a_newer_program_is_refused_in_a_line(
    project: Project, site: Site
) -> None:
    shop(project, site)
    (project.root / "file").write_text("")
    ended = project.run("run", "shop", "--data", "file")
    assert ended.code == 2 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert project.run("run", "shop", "--quiet").code == 0
    connection = sqlite3.connect(project.data("scraper.db"))
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    arrived = len(site.arrivals)
    for words in (["run", "shop"], ["runs"], ["list"], ["fetch", site.url()]):
        ended = project.run(*words)
        assert ended.code == 2 and "newer version" in ended.err and ended.err.count("\n") == 1
    assert len(site.arrivals) == arrived


def test_a_setting_that_stands_beside_the_settings_is_told(project: Project, site: Site) -> None:
    project.spider(
        "walk",
        f"""
        from scraper import Spider

        class Walk(Spider):
            start_urls = [{site.url("/")!r}]
            settings = {{"max_pages": 1}}
            delay = 0.25
            headers = property(lambda self: {{}})

            def parse(self, page):
                yield {{"url": page.url}}

            def timeout(self):
                return 3
        """,
    )
    said = project.run("run", "walk").text
    assert 'delay in the class sets nothing: write settings = {"delay": ...}' in said
    assert said.count("sets nothing") == 1


def test_progress_is_lines_where_no_terminal_is(project: Project, site: Site) -> None:
    shop(project, site, size=10)
    site["/robots.txt"] = (
        "User-agent: *\nCrawl-delay: 0.03\nDisallow: /3\n",
        200,
        {"Content-Type": "text/plain"},
    )
    site["/7"] = [Reply(503, headers={"Retry-After": "1"}), page(title="7")]
    ended = project.run("run", "shop")
    assert ended.code == 0 and ended.out == "" and "\x1b" not in ended.err
    assert "127.0.0.1: 1 request every 0.03 s (robots.txt Crawl-delay)" in ended.err
    assert "127.0.0.1: rests for 2.0 s: refused by rate (status 503, Retry-After 1 s)" in ended.err
    assert "robots.txt line 3: Disallow: /3" in ended.err
    assert "smallest gap" in ended.err


def test_a_terminal_that_goes_away_stops_a_run_in_order(project: Project, site: Site) -> None:
    shop(project, site, delay=0.3)
    run = project.start("run", "shop")
    while not site.paths():
        assert run.process.poll() is None
    run.signal(signal.SIGHUP)
    run.signal(signal.SIGHUP)
    ended = run.wait()
    assert ended.code == 129 and "go on" in ended.err, ended.text
    assert project.run("run", "shop", "--set", "delay=0").code == 0
