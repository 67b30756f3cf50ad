"""Politeness by the server's own clock, through the real command: delays, rests, processes side by side."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate

import pytest

from tests.project import Project
from tests.site import Arrival, Reply, Scripted, Site, page

SPIDER = """
from scraper import Spider

class Walk(Spider):
    start_urls = {starts!r}
    key = "url"

    def parse(self, page):
        yield {{"url": page.url}}
        yield from page.follow_all("a")
"""
START = page("/a", "/b", "/c", title="start")
NewSite = Callable[..., Site]


def sets(*settings: str) -> list[str]:
    return [part for one in settings for part in ("--set", one)]


def tree(size: int, name: str = "") -> dict[str, Scripted]:
    """Pages of which each links to two more."""
    pages: dict[str, Scripted] = {"/robots.txt": 404}
    for number in range(size):
        links = [f"/{name}{n}" for n in (2 * number + 1, 2 * number + 2) if n < size]
        pages[f"/{name}{number}"] = page(*links)
    return pages


def host() -> str:
    """An address that no other test of this run has."""
    return f"127.0.{random.randint(30, 99)}.{random.randint(1, 250)}"


# rests that a site asks for ---------------------------------------------------------------------------------
def busy(status: int, wait: str | Callable[[], str] | None, **fields: str) -> list[Scripted]:
    """Once an answer that asks to wait, then a page."""

    def answer(arrival: Arrival) -> Reply:
        value = wait() if callable(wait) else wait
        return Reply(status, "", {**fields, **({} if value is None else {"Retry-After": value})})

    return [answer, page(title="at last")]


def in_two_seconds() -> str:
    return formatdate(time.time() + 2, usegmt=True)


# name: what "/a" answers first, and the least rest of the whole domain after it (s)
RESTS: dict[str, tuple[list[Scripted], float]] = {
    "503": (busy(503, "1"), 1.0),
    "429": (busy(429, "1"), 1.0),
    "413": (busy(413, "1"), 1.0),
    "500": (busy(500, "1"), 1.0),
    "301": (busy(301, "1", Location="/d"), 1.0),
    "a date": (busy(503, in_two_seconds), 1.0),
    "nonsense": (busy(429, "soon"), 0.2),
    "nothing": (busy(429, None), 0.2),
    "the past": (busy(503, "Sun, 06 Nov 1994 08:49:37 GMT"), 0.2),
}


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Mapping[str, Site]]]:
    project = Project(tmp_path_factory.mktemp("rests"))
    sites = {
        name: Site({"/": START, "/a": answers, "*": page(), "/robots.txt": 404}, host=f"127.0.21.{number}")
        for number, (name, (answers, _)) in enumerate(RESTS.items(), 1)
    }
    sites["robots.txt"] = Site({"/": START, "*": page()}, host="127.0.21.99")
    sites["robots.txt"]["/robots.txt"] = [*busy(503, "1")[:1], Reply(200, "User-agent: *\nDisallow: /c")]
    project.spider("walk", SPIDER.format(starts=[site.url() for site in sites.values()]))
    ended = project.run("run", "walk", *sets("delay=0.2", "max_wait=3"))
    assert ended.code == 0, ended.text
    yield project, sites
    for site in sites.values():
        site.stop()
    project.end()


@pytest.mark.parametrize("name", RESTS)
def test_a_rest_holds_for_the_whole_domain(rested: tuple[Project, Mapping[str, Site]], name: str) -> None:
    site, least = rested[1][name], RESTS[name][1]
    asked = next(number for number, one in enumerate(site.arrivals) if one.path == "/a")
    assert site.arrivals[asked + 1].at - site.arrivals[asked].at >= least
    assert min(site.gaps()) >= 0.2
    assert {"/", "/a", "/b", "/c"} <= set(site.paths())


def test_a_rest_holds_for_robots_txt_too(rested: tuple[Project, Mapping[str, Site]]) -> None:
    site = rested[1]["robots.txt"]
    assert site.paths(robots=True) == ["/robots.txt", "/robots.txt", "/", "/a", "/b"]
    assert site.gaps()[0] >= 1.0


@pytest.mark.parametrize(
    ("robots", "pages"),
    [
        (404, {"/a": Reply(429, "", {"Retry-After": "3600"})}),
        pytest.param(
            404,
            {"/a": Reply(503, "", {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"})},
            marks=pytest.mark.thorough,
        ),
        (Reply(503, "", {"Retry-After": "3600"}), {}),
        (Reply(200, "User-agent: *\nCrawl-delay: 200"), {}),
    ],
)
def test_a_wait_that_is_too_long_ends_the_run_at_once_and_is_kept(
    project: Project, site: Site, robots: Scripted, pages: Mapping[str, Scripted]
) -> None:
    site.pages |= {"/": START, "*": page(), "/robots.txt": robots, **pages}
    project.spider("walk", SPIDER.format(starts=[site.url()]))
    for _ in range(2):
        ended = project.run("run", "walk", *sets("delay=0.1"))
        assert ended.code == 75, ended.text
    assert len(site.arrivals) == (3 if pages else 1)
    assert all("reason" in line for line in project.log("walk") if line["event"] == "deferred")
    assert project.runs("walk")[-1]["deferred"] == (3 if pages else 1)


# delays -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("rules", "delay", "least"),
    [
        ("Crawl-delay: 0.25", 0.1, 0.25),
        ("Crawl-delay: 0.25", 0, 0.25),
        ("Request-rate: 4/1s", 0.1, 0.25),
    ],
)
def test_the_longest_delay_counts_from_the_first_request_on(
    project: Project, site: Site, rules: str, delay: float, least: float
) -> None:
    site.pages |= {"/": START, "*": page(), "/robots.txt": Reply(200, f"User-agent: *\n{rules}")}
    project.spider("walk", SPIDER.format(starts=[site.url()]))
    ended = project.run("run", "walk", *sets(f"delay={delay}"))
    assert ended.code == 0, ended.text
    assert len(site.arrivals) == 5
    assert min(site.gaps()) >= least


def test_the_ports_of_a_domain_share_its_delay_and_each_has_its_robots_txt(
    project: Project, new_site: NewSite
) -> None:
    one, two = (new_site(tree(8), host="127.0.22.1") for _ in range(2))
    project.spider("walk", SPIDER.format(starts=[one.url("/0"), two.url("/0")]))
    assert project.run("run", "walk", *sets("delay=0.05", "delay_factor=0")).code == 0
    moments = sorted(arrival.at for arrival in one.arrivals + two.arrivals)
    assert len(moments) == 18
    assert min(later - earlier for earlier, later in itertools.pairwise(moments)) >= 0.05
    assert one.arrivals[0].path == two.arrivals[0].path == "/robots.txt"


def test_the_next_run_keeps_the_delay_to_the_last_request(project: Project, site: Site) -> None:
    site.pages |= tree(1)
    project.spider("walk", SPIDER.format(starts=[site.url("/0")]))
    for _ in range(2):
        assert project.run("run", "walk", *sets("delay=0.5")).code == 0
    assert len(site.arrivals) == 3 and min(site.gaps()) >= 0.5


def test_two_spiders_in_two_processes_keep_the_delay_of_their_domain(
    project: Project, new_site: NewSite
) -> None:
    site = new_site(tree(12, "a") | tree(12, "b"), host=host())
    for name in "ab":
        project.spider(name, SPIDER.format(starts=[site.url(f"/{name}0")]))
    both = [project.start("run", name, *sets("delay=0.05", "delay_factor=0")) for name in "ab"]
    assert [one.wait().code for one in both] == [0, 0]
    assert min(site.gaps()) >= 0.05
    assert sorted(site.paths()) == sorted(path for path in site.pages if path != "/robots.txt")
    assert [len(project.records(name)) for name in "ab"] == [12, 12]
    assert site.paths(robots=True).count("/robots.txt") == 1


def test_with_several_in_the_air_nothing_is_sent_into_a_rest(project: Project, new_site: NewSite) -> None:
    answered: list[float] = []

    def slow(arrival: Arrival) -> Reply:
        return Reply(200, "", {"Content-Type": "text/html"}, wait=0.3)

    def busy_once(arrival: Arrival) -> Reply:
        answered.append(arrival.at)
        return Reply(503, "", {"Retry-After": "1"}) if len(answered) == 1 else page()

    links = [f"/{number}" for number in range(10)]
    site = new_site({"/": page(*links), "*": slow, "/5": busy_once, "/robots.txt": 404}, host=host())
    project.spider("walk", SPIDER.format(starts=[site.url()]))
    settings = sets("delay=0.1", "delay_factor=0", "concurrency=4")
    assert project.run("run", "walk", *settings).code == 0
    inside = [one.at - answered[0] for one in site.arrivals if 0.05 < one.at - answered[0] < 1.0]
    assert inside == []
    assert len(set(site.paths())) == 11


def test_slow_answers_with_several_in_the_air_do_not_slow_each_other_down(
    project: Project, new_site: NewSite
) -> None:
    three = threading.Barrier(3)  # it answers none before three are in flight

    def slow(arrival: Arrival) -> Reply:
        three.wait(60)
        return page()

    links = [f"/{number}" for number in range(12)]
    site = new_site({"/": page(*links), "*": slow, "/robots.txt": 404}, host=host())
    project.spider("walk", SPIDER.format(starts=[site.url()]))
    assert project.run("run", "walk", *sets("delay=0.05", "concurrency=4")).code == 0
    assert sorted(site.paths()) == ["/", *sorted(links)]
    assert project.runs("walk")[-1]["min_gap_s"] >= 0.05
