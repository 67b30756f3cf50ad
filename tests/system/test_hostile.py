"""Twenty good sites beside one hostile site of each kind, in one run of the real command."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.hostile import KINDS
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
