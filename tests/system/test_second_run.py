"""The day after: only what changed is fetched, and a bad day takes nothing away from a good one."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.project import Ended, Project, read_jsonl
from tests.site import Arrival, Reply, Scripted, Site, page

SIZE = 25
SPIDER = """
from scraper import Spider

class Daily(Spider):
    start_urls = [{start!r}]
    key = "url"

    def parse(self, page):
        if page.css("h1"):
            yield {{"url": page.url, "title": page.css("h1::text").get()}}
        yield from page.follow_all("a")
"""


def tagged(reply: Reply, tag: str) -> Callable[[Arrival], Reply]:
    """A page with an ETag, which answers 304 to who has it."""

    def answer(arrival: Arrival) -> Reply:
        fields = {"ETag": f'"{tag}"', "Content-Type": "text/html"}
        is_known = arrival.headers.get("if-none-match") == f'"{tag}"'
        return Reply(304, "", fields) if is_known else replace(reply, headers=fields)

    return answer


def leaf(number: int, title: str = "") -> Callable[[Arrival], Reply]:
    title = title or f"title {number}"
    return tagged(page(title=title), title)


@pytest.fixture
def daily(project: Project, site: Site) -> Site:
    """A site of SIZE pages with ETags behind one start page, crawled once."""
    site["/robots.txt"] = 404
    site["/"] = tagged(page(*(f"/{number}" for number in range(SIZE)), title="start"), "start")
    for number in range(SIZE):
        site[f"/{number}"] = leaf(number)
    project.spider("daily", SPIDER.format(start=site.url()))
    first = run(project)
    assert first.code == 0, first.text
    assert len(project.records("daily")) == SIZE + 1
    site.arrivals.clear()
    return site


def run(project: Project, *arguments: str) -> Ended:
    given = ("--set", "delay=0", "--set", "max_attempts=1", "--set", "max_wait=1")
    return project.run("run", "daily", *given, *arguments)


def titles(project: Project) -> dict[str, str]:
    """The published titles by path."""
    return {record["url"].rsplit("/", 1)[1]: record["title"] for record in project.records("daily")}


def changes(project: Project) -> dict[str, str]:
    lines = read_jsonl(project.data("daily", "changes.jsonl"))
    return {str(line["key"]).rsplit("/", 1)[1].strip("']\""): line["change"] for line in lines}


def test_an_unchanged_site_is_asked_conditionally_and_stays_whole(project: Project, daily: Site) -> None:
    before = titles(project)
    ended = run(project)
    assert ended.code == 0, ended.text
    assert all(one.headers.get("if-none-match") for one in daily.arrivals if one.path != "/robots.txt")
    latest = project.runs("daily")[-1]
    assert (latest["pages"], latest["unchanged"], latest["records"]) == (0, SIZE + 1, SIZE + 1)
    assert titles(project) == before
    assert changes(project) == {}


def test_pages_change_vanish_break_and_come_anew(project: Project, daily: Site) -> None:
    daily["/"] = tagged(page(*(f"/{number}" for number in range(1, SIZE + 1)), title="start"), "start 2")
    daily["/1"] = leaf(1, "changed")
    daily["/2"] = 404
    daily["/3"] = 500
    daily["/4"] = Reply(0, reset=True)
    daily[f"/{SIZE}"] = leaf(SIZE, "new")
    ended = run(project, "--set", "delay=0.02")
    assert changes(project) == {"0": "removed", "1": "changed", "2": "removed", "25": "added"}, ended.text
    found = titles(project)
    assert (found["1"], found["25"], found["3"], found["4"]) == ("changed", "new", "title 3", "title 4")
    assert "0" not in found and "2" not in found
    daily["/3"], daily["/4"] = leaf(3, "well again"), leaf(4)
    assert run(project).code == 0
    assert changes(project) == {"3": "changed"}
    assert len(titles(project)) == SIZE


def test_a_list_that_fails_takes_away_nothing_that_is_behind_it(project: Project, daily: Site) -> None:
    lists = [f"/list{number}" for number in range(12)]
    daily["/"] = tagged(page(*lists, title="start"), "start 2")
    for number, path in enumerate(lists):
        daily[path] = tagged(page(f"/{number}", f"/{number + 12}", title=path), path)
    assert run(project).code == 0
    before = titles(project)
    daily["/list3"], daily["/5"] = 500, leaf(5, "changed")
    for _ in range(2):
        ended = run(project)
        assert ended.code == 0, ended.text
        assert titles(project) == before | {"5": "changed"}
    assert changes(project) == {}
    notes = [line["text"] for line in project.log("daily") if line["event"] == "note"]
    assert notes == ["2 pages keep their records: nothing that leads there could be read or followed"] * 2
    daily["/list3"] = tagged(page("/3", title="/list3"), "well")
    assert run(project).code == 0
    assert changes(project) == {"15": "removed"}


def test_what_nofollow_bars_the_way_to_stands_as_it_was(project: Project, daily: Site) -> None:
    inner = tagged(page("/2", "/3", title="inner"), "inner")
    daily["/"] = tagged(page("/inner", *(f"/{n}" for n in range(4, SIZE)), title="start"), "start 2")
    daily["/inner"] = inner
    assert run(project).code == 0
    before = titles(project)
    daily["/inner"] = tagged(page("/4", title="inner", nofollow=("/2", "/never")), "barring")
    for day in range(3):
        daily["/2"], daily["/4"] = 404, leaf(4, f"changed {day}")
        ended = run(project)
        assert ended.code == 0, ended.text
        assert titles(project) == {path: title for path, title in before.items() if path != "3"} | {
            "4": f"changed {day}"
        }
    daily["/inner"] = tagged(page("/2", title="inner"), "followable")
    assert run(project).code == 0
    assert changes(project) == {"2": "removed"}


def test_what_is_fresh_is_not_asked_for(project: Project, site: Site) -> None:
    def fresh(reply: Reply) -> Reply:
        return replace(reply, headers={"Content-Type": "text/html", "Cache-Control": "max-age=600"})

    site["/robots.txt"] = 404
    site["/"] = fresh(page("/a", "/b", title="start"))
    site["/a"], site["/b"] = fresh(page(title="a")), page(title="b")
    project.spider("daily", SPIDER.format(start=site.url()))
    assert [run(project).code for _ in range(2)] == [0, 0]
    assert site.paths() == ["/", "/a", "/b", "/b"]
    assert len(project.records("daily")) == 3


@pytest.mark.parametrize(
    ("day", "verdict", "code"),
    [
        ("empty", "EMPTY", 1),
        ("down", "BROKEN", 1),
        pytest.param("in error", "BROKEN", 1, marks=pytest.mark.thorough),
        ("refusing", "BLOCKED", 1),
        ("shrunk", "DEGRADED", 1),
        ("closed by robots.txt", "EMPTY", 1),
    ],
)
def test_a_bad_day_says_so_and_takes_nothing_away(
    project: Project, daily: Site, day: str, verdict: str, code: int
) -> None:
    before = titles(project)
    if day == "down":
        daily.stop()
    elif day == "closed by robots.txt":
        daily["/robots.txt"] = Reply(200, "User-agent: *\nDisallow: /")
        forget_robots(project)
    else:
        answers: dict[str, Scripted] = {
            "empty": Reply(200, "<p>nothing</p>", {"Content-Type": "text/html"}),
            "in error": 500,
            "refusing": 403,
            "shrunk": page("/1", "/2", title="start"),
        }
        daily["/"] = answers[day]
    ended = run(project)
    assert ended.code == code, ended.text
    assert project.runs("daily")[-1]["verdict"] == verdict
    assert project.runs("daily")[-1]["reasons"]
    assert titles(project) == before
    assert "Traceback" not in ended.text


def forget_robots(project: Project) -> None:
    """As if a day had passed: the copy of robots.txt is no longer good."""
    with sqlite3.connect(project.data("scraper.db")) as database:
        database.execute("UPDATE robots SET until = 0")
    database.close()


@pytest.mark.thorough
def test_runs_that_are_forgotten_leave_their_room_to_the_next(project: Project, daily: Site) -> None:
    sizes = []
    for day in range(7):
        for number in range(SIZE):
            daily[f"/{number}"] = tagged(page(title=f"day {day} " + "x" * 20_000), f"day {day}")
        ended = run(project, "--set", "retention=2")
        assert ended.code == 0, ended.text
        sizes.append(project.data("scraper.db").stat().st_size)
    assert len(list(project.data("daily", "runs").iterdir())) == len(project.runs("daily")) == 2
    assert max(sizes[3:]) <= 1.05 * sizes[3] < 5 * sizes[0]
    assert not list(project.root.rglob("*.part"))
    assert list(changes(project).values()) == ["changed"] * SIZE


def test_a_limited_run_removes_nothing_and_the_next_one_goes_on(project: Project, daily: Site) -> None:
    daily["/1"] = leaf(1, "changed")
    ended = run(project, "--max-pages", "4")
    assert ended.code == 0, ended.text
    assert len(titles(project)) == SIZE + 1
    assert "removed" not in changes(project).values()
    assert run(project).code == 0
    assert (titles(project)["1"], len(titles(project))) == ("changed", SIZE + 1)
    assert len(daily.paths()) == len(set(daily.paths())) == SIZE + 1


def test_a_changed_spider_reads_every_page_again(project: Project, daily: Site) -> None:
    project.spider("daily", SPIDER.format(start=daily.url()).replace('{"url"', '{"new": 1, "url"'))
    assert run(project).code == 0
    assert not [one for one in daily.arrivals if "if-none-match" in one.headers]
    assert all(record["new"] == 1 for record in project.records("daily"))
    assert set(changes(project).values()) == {"changed"}


def test_with_meta_a_record_tells_its_page_and_which_run_read_it_last(project: Project, daily: Site) -> None:
    daily["/3"] = leaf(3, "another title")
    daily["/4"] = 500
    file = project.root / "daily.jsonl"
    ended = run(project, "-o", str(file), "--with-meta", "--set", "timeout=5")
    assert ended.code == 0, ended.text
    first, second = project.runs("daily")
    found = {line["url"]: line for line in read_jsonl(file)}
    assert len(found) == SIZE + 1
    assert all(line["_url"] == url for url, line in found.items())
    assert (found[daily.url("/3")]["title"], found[daily.url("/5")]["title"]) == ("another title", "title 5")
    runs = {url: line["_run"] for url, line in found.items()}
    assert runs.pop(daily.url("/4")) == first["run_id"]
    assert set(runs.values()) == {second["run_id"]}
    assert first["started_at"] < found[daily.url("/4")]["_fetched_at"] < first["ended_at"]
    assert second["started_at"] < found[daily.url("/5")]["_fetched_at"] < second["ended_at"]
    assert all("_url" not in record for record in project.records("daily"))
