"""Twenty good sites beside one hostile site of each kind, in one run of the real command."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.hostile import KINDS
from tests.project import ROOT, Project
from tests.site import Site, page

DELAY = 0.25
PAGES = 12
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


def rate_of(site: Site) -> float:
    """What part of its polite rate a site was visited at."""
    times = [arrival.at for arrival in site.arrivals if arrival.path != "/robots.txt"]
    return (len(times) - 1) * DELAY / (times[-1] - times[0])


def test_good_sites_keep_their_rate_beside_twelve_hostile_ones(
    project: Project, good: list[Site], hostile: dict[str, str]
) -> None:
    assert len(hostile) == len(KINDS) == 12
    urls = [site.url(f"/{number}") for number in range(PAGES) for site in good]
    urls += [f"{url}{number}" for url in hostile.values() for number in range(3)]
    project.spider(
        "hostile",
        f"""
        from scraper import Spider

        class Hostile(Spider):
            start_urls = {urls!r}

            def parse(self, page):
                yield {{"url": page.url, "title": page.css("title::text").get()}}
        """,
    )
    rates = [0.0]
    for _ in range(2):  # the machine that tests may be busy
        for site in good:
            site.arrivals.clear()
        settings = (f"delay={DELAY}", "delay_factor=0", "timeout=1", "max_attempts=1", "max_wait=1")
        arguments = [part for setting in settings for part in ("--set", setting)]
        ended = project.run("run", "hostile", "--fresh", "--json", "--max-time", "7", *arguments)
        assert "bug" not in ended.err, ended.text
        assert [sorted(site.paths()) for site in good] == [sorted(f"/{n}" for n in range(PAGES))] * GOOD
        rates.append(statistics.mean(rate_of(site) for site in good))
        if rates[-1] > 0.95:
            break
    assert max(rates) > 0.9, rates
