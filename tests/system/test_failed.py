"""`run --failed`: the run goes on with what failed in it, and asks for nothing else."""

import pytest

from tests.project import Project, read_jsonl
from tests.site import Site, page

SPIDER = """
from scraper import Spider

class Shop(Spider):
    start_urls = [{start!r}]
    key = "url"

    def parse(self, page):
        yield {{"url": page.url, "title": page.css({query!r}).get().strip()}}
        yield from page.follow_all("a")
"""
RUN = ("run", "shop", "--set", "delay=0", "--set", "max_attempts=1", "--json")


@pytest.fixture
def shop(project: Project, site: Site) -> Site:
    site["/robots.txt"] = 404
    site["/"] = page("/1", "/2", "/3", "/list", title="start")
    site["/1"] = page(title="one")
    site["/2"] = 500
    site["/3"] = "<p>three</p>"
    site["/list"] = 500
    project.spider("shop", SPIDER.format(start=site.url(), query="h1::text"))
    return site


def test_only_what_failed_and_what_is_behind_it_is_asked_for(project: Project, shop: Site) -> None:
    first = project.run(*RUN)
    assert first.code == 1 and first.summary["failed"] == 3
    shop["/2"] = page(title="two")
    shop["/list"] = page("/1", "/4", title="list")
    shop["/4"] = page(title="four")
    # The spider is mended as well; pages that it could read stay as they are.
    project.spider("shop", SPIDER.format(start=shop.url(), query="h1::text, p::text"))
    shop.arrivals.clear()
    again = project.run(*RUN, "--failed", first.summary["run_id"])
    assert again.code == 0, again.text
    assert sorted(shop.paths()) == ["/2", "/3", "/4", "/list"]
    summary = again.summary
    assert (summary["run_id"], summary["failed"], summary["verdict"]) == (first.summary["run_id"], 0, "OK")
    titles = {record["title"] for record in project.records("shop")}
    assert titles == {"start", "one", "two", "three", "list", "four"}
    changes = read_jsonl(project.root / "data" / "shop" / "changes.jsonl")
    assert [change["change"] for change in changes] == ["added"] * 6

    nothing = project.run(*RUN, "--failed", "shop")
    assert nothing.code == 2 and "nothing failed in run" in nothing.err

    assert project.run(*RUN).code == 0
    old = project.run(*RUN, "--failed", first.summary["run_id"])
    assert old.code == 2 and "is not the last run of shop" in old.err


def test_a_run_that_is_killed_meanwhile_goes_on_by_the_plain_command(project: Project, shop: Site) -> None:
    first = project.run(*RUN)
    shop["/2"] = page(title="two")
    stopped = project.run(*RUN, "--failed", first.summary["run_id"], "--max-pages", "1")
    assert stopped.summary["pending"] == 2
    shop.arrivals.clear()
    project.run(*RUN)
    assert sorted(shop.paths()) == ["/3", "/list"]
