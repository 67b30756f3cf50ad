"""Twenty good sites beside one hostile site of each kind, in one run of the real command."""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.hostile import KINDS, MISSING
from tests.project import ROOT, Project
from tests.site import Site, page

DELAY = 0.1
PAGES = 6
GOOD = 20


@pytest.fixture(scope="module")
def hostile() -> Iterator[dict[str, str]]:
    """The hostile sites, in a process of their own: what they do must not slow the good ones down."""
    command = [sys.executable, "-m", "tests.hostile"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        yield json.loads(one.stdout.readline())
        one.kill()


@pytest.fixture
def good() -> Iterator[list[Site]]:
    sites = [
        Site({"*": page(title="good", text="word " * 1000), "/robots.txt": 404}, f"127.0.2.{number}")
        for number in range(1, GOOD + 1)
    ]
    yield sites
    for site in sites:
        site.stop()


def test_good_sites_get_all_their_visits_beside_twelve_hostile_ones(
    project: Project, good: list[Site], hostile: dict[str, str]
) -> None:
    """The rate is for `python -m benchmarks.hostile`, what bounds it for tests/http/test_fair_share.py."""
    assert len(hostile) == len(KINDS) == 12
    project.spider("hostile", spider_of(good, hostile))
    settings = (f"delay={DELAY}", "delay_factor=0", "timeout=1", "max_attempts=1", "max_wait=1")
    arguments = [part for setting in settings for part in ("--set", setting)]
    ended = project.run("run", "hostile", "--json", "--max-time", "60", *arguments)
    assert "bug" not in ended.err, ended.text
    assert [sorted(site.paths()) for site in good] == [sorted(f"/{n}" for n in range(PAGES))] * GOOD
    assert ended.summary["by_domain"]["127.0.3.1"]["pages"] == 0


def answer_twice(client: socket.socket, numbers: Iterator[int]) -> None:
    """Answer each request, and from the eleventh on once more a little later."""
    with contextlib.suppress(OSError), client, client.makefile("rb") as lines:
        while line := lines.readline():
            while lines.readline().strip():
                pass
            path = line.split()[1]
            body = b"<title>%b</title>" % path
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n"
            answer = MISSING if path == b"/robots.txt" else head % len(body) + body
            client.sendall(answer)
            if answer is not MISSING and next(numbers) > 10:
                time.sleep(0.005)
                client.sendall(answer)


def accept_twice(server: socket.socket, numbers: Iterator[int]) -> None:
    with contextlib.suppress(OSError):
        while True:
            threading.Thread(target=answer_twice, args=(server.accept()[0], numbers), daemon=True).start()


def test_where_pages_may_be_those_of_other_urls_nothing_is_published_and_the_next_run_gets_its_own(
    project: Project,
) -> None:
    """Without a delay the second answer to one request meets the next."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept_twice, args=(server, itertools.count(1)), daemon=True).start()
        urls = [f"http://127.0.0.1:{server.getsockname()[1]}/{n}" for n in range(40)]
        project.spider(
            "twice",
            f"""
            from scraper import Spider

            class Twice(Spider):
                start_urls = {urls!r}
                settings = {{"delay": 0}}

                def parse(self, page):
                    yield {{"url": page.url, "title": page.css("title::text").get()}}
            """,
        )
        first = project.run("run", "twice", "--json")
        assert first.code == 1 and first.summary["verdict"] == "BROKEN", first.text
        assert "may be those of other URLs" in first.summary["reasons"][0] and not project.records("twice")
        second = project.run("run", "twice", "--json")
    assert second.code == 0, second.text
    found = {record["url"]: record["title"] for record in project.records("twice")}
    assert found == {url: url[url.rindex("/") :] for url in urls}


def spider_of(good: list[Site], hostile: dict[str, str]) -> str:
    urls = [site.url(f"/{number}") for number in range(PAGES) for site in good]
    urls += [f"{url}{number}" for url in hostile.values() for number in range(1)]
    return f"""
        from scraper import Spider

        class Hostile(Spider):
            start_urls = {urls!r}

            def parse(self, page):
                yield {{"url": page.url, "title": page.css("title::text").get()}}
        """
