"""Domains that share a pace, as on one address: the real engine on a fake web and clock."""

from itertools import pairwise
from typing import Any

import pytest

from scraper import Spider
from scraper.settings import Settings, grouping
from scraper.testing import CrawlResult, FakeWeb, crawl

SITES = ("a.example", "b.example", "c.example", "alone.example")
GROUP = {"a.example": "box", "b.example": "box", "c.example": "box"}


class Walk(Spider):
    start_urls = [f"https://{site}/" for site in SITES]

    def parse(self, page: Any) -> Any:
        yield {"url": page.url}
        yield from page.follow_all("a")


def web(latency: float = 0.0) -> FakeWeb:
    links = "".join(f"<a href=/{n}>x</a>" for n in range(5))
    pages: dict[str, Any] = {f"https://{site}/": links for site in SITES}
    pages |= {f"https://{site}/{n}": "<p>page" for site in SITES for n in range(5)}
    return FakeWeb(pages, latency=latency)


def gaps(result: CrawlResult, *names: str) -> list[float]:
    times = [asked.at for asked in result.requests if any(f"//{name}/" in asked.url for name in names)]
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("latency", [0.0, 0.4])
@pytest.mark.parametrize("concurrency", [1, 4])
def test_the_delay_lies_between_any_two_requests_to_a_group(latency: float, concurrency: int) -> None:
    result = crawl(Walk, web(latency), politeness_group=GROUP, concurrency=concurrency)
    assert len(result.records) == 24 and not result.failed
    assert min(gaps(result, *GROUP)) >= 1.0 - 1e-6
    assert min(gaps(result, "alone.example")) >= 1.0 - 1e-6
    # Who shares nothing is not held up: it has a third of the requests, and needs a third of the time.
    ends = {name: max(one.at for one in result.requests if name in one.url) for name in SITES}
    begun = result.requests[0].at
    assert ends["alone.example"] - begun < (ends["c.example"] - begun) / 2


def test_those_of_a_group_take_turns() -> None:
    result = crawl(Walk, web(), politeness_group=GROUP)
    hosts = [asked.url.split("/")[2] for asked in result.requests if "alone" not in asked.url]
    assert {hosts.count(name) for name in GROUP} == {7}
    assert all(len({*hosts[n : n + 6]}) == 3 for n in range(len(hosts) - 6)), hosts


def test_a_longer_delay_of_one_holds_for_the_next_of_another_too() -> None:
    pages = web()
    pages["https://b.example/robots.txt"] = "User-agent: *\nCrawl-delay: 4"
    result = crawl(Walk, pages, politeness_group=GROUP)
    asked = [one for one in result.requests if "alone" not in one.url]
    after_b = [
        later.at - one.at
        for one, later in pairwise(asked)
        if "b.example" in one.url and "robots" not in one.url
    ]
    assert after_b and min(after_b) >= 4.0 - 1e-6


def test_without_a_group_nothing_is_shared() -> None:
    assert min(gaps(crawl(Walk, web()), *GROUP)) < 0.5


def test_the_clock_of_a_group_goes_on_in_the_next_run() -> None:
    first = crawl(Walk, (pages := web()), politeness_group=GROUP)
    later = crawl(Walk, pages, politeness_group=GROUP, store=first.store)
    ends = max(asked.at for asked in first.requests if "alone" not in asked.url)
    assert min(asked.at for asked in later.requests if "alone" not in asked.url) >= ends + 1.0 - 1e-6


@pytest.mark.parametrize(
    ("domain", "group"),
    [
        ("a.blogs.example", "blogs"),
        ("own.blogs.example", "own"),
        ("blogs.example", ""),
        ("127.0.0.1", "here"),
        ("x.example", ""),
    ],
)
def test_the_name_of_a_domain_decides_before_a_pattern(domain: str, group: str) -> None:
    groups = {"*.blogs.example": "blogs", "own.blogs.example": "own", "127.0.0.1": "here"}
    assert grouping(Settings(politeness_group=groups))(domain) == group
