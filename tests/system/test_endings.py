"""What a run leaves and says at its end: outputs, verdicts that ask for a person, and what accept changes."""

import csv
import json
import re
import signal
import stat
from collections.abc import Iterator
from typing import Any

import pytest

from tests.project import Project, read_jsonl
from tests.site import Arrival, Reply, Site, page

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = [{url!r}]
        key = {key!r}
        settings = {{"delay": 0}}
        health = {health!r}

        def parse(self, page):
            for row in page.css("li.book"):
                yield {{"number": row.css("::attr(id)").get(), "title": row.css("::text").get()}}
            yield from page.follow_all("a")
"""


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as found:
        yield found


def books(numbers: range, *links: str, title: str = "Title") -> str:
    rows = "".join(f'<li class="book" id="{n}">{title} {n}</li>' for n in numbers)
    return rows + "".join(f'<a href="{link}">more</a>' for link in links)


def write(project: Project, site: Site, key: str = "number", health: dict[str, object] | None = None) -> None:
    project.spider("shop", SPIDER.format(url=site.url(), key=key, health=health or {}))


def test_outputs_follow_the_rule_of_the_current_records(project: Project, site: Site) -> None:
    site["/"] = books(range(20), "/2")
    site["/2"] = books(range(15, 40))
    write(project, site, health={"max_repeated": 1})
    first = project.run("run", "shop", "-o", "all.csv", "-o", "-", "--json")
    assert first.code == 0, first.text
    rows = list(csv.DictReader((project.root / "all.csv").open()))
    assert [row["number"] for row in rows] == [record["number"] for record in project.records("shop")]
    assert len(rows) == 40 and "5 dropped: same key as an earlier record" in first.err
    assert "all.csv: 40 records" in first.err and len(first.out.splitlines()) == 41

    part = project.run("run", "shop", "--max-pages", "1", "-o", "all.csv", "-o", "-")
    assert (part.code, len(part.out.splitlines())) == (0, 20), part.text
    assert "all.csv was not written: the run is unfinished" in part.err and "not compared yet" in part.err
    assert "standard output: 20 records, a sample" in part.err
    assert len(list(csv.DictReader((project.root / "all.csv").open()))) == 40

    sample = project.run("run", "shop", "--fresh", "--limit", "3", "-o", "sample.jsonl")
    assert sample.code == 0 and len(read_jsonl(project.root / "sample.jsonl")) == 3
    assert "sample.jsonl: 3 records, a sample" in sample.err and len(project.records("shop")) == 40


def test_an_output_that_cannot_be_written_ends_the_run_and_spoils_no_other(
    project: Project, site: Site
) -> None:
    site["/"] = books(range(3))
    wide = project.spider("shop", SPIDER.format(url=site.url(), key="number", health={}))
    wide.write_text(wide.read_text().replace("yield {", 'yield {**{f"c{n}": n for n in range(2001)}, '))
    ended = project.run("run", "shop", "-o", "wide.sqlite", "-o", "wide.jsonl", "--json")
    assert ended.code == 1 and ended.summary["verdict"] == "OK", ended.text
    assert re.search(r"wide\.sqlite was not written: .*column", " ".join(ended.summary["reasons"]))
    assert "export shop -o wide.sqlite" in ended.err
    assert len(read_jsonl(project.root / "wide.jsonl")) == len(project.records("shop")) == 3
    twice = project.run("run", "shop", "-o", "a.csv", "-o", "./a.csv")
    assert twice.code == 2 and "twice" in twice.err and "starts run" in project.run("run", "shop").err


@pytest.mark.parametrize("is_shared", [False, True])
def test_what_accept_would_change_is_shown_and_who_accepted_is_remembered(
    project: Project, site: Site, is_shared: bool
) -> None:
    site["/"] = books(range(20))
    write(project, site)
    (project.root / "scraper.toml").write_text(f"share = {str(is_shared).lower()}\n")
    assert project.run("run", "shop").code == 0
    site["/"] = books(range(5), title="New")
    ended = project.run("run", "shop", "-o", "out.csv", "--json")
    assert ended.code == 1 and ended.summary["offered"] == {"added": 0, "changed": 5, "removed": 15}
    assert "accept would add 0, change 5, remove 15" in ended.err
    assert "out.csv was not written: the run is DEGRADED" in ended.err
    assert not (project.root / "out.csv").exists() and len(project.records("shop")) == 20
    report = next(project.data("shop", "runs").glob(f"{ended.summary['run_id']}/report.html"))
    before = report.read_text("utf-8")
    files = [one for one in report.parent.iterdir() if one.name != "records.jsonl"]
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o660 if is_shared else 0o600}
    assert "What accepting this run would change" in before and "15 removed" in before and "New 4" in before

    assert project.run("accept", "shop").code == 0
    after = report.read_text("utf-8")
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o660 if is_shared else 0o600}
    assert "Accepted" in after and "would change" not in after and before.count("<svg") == after.count("<svg")
    assert "accepted by" in project.run("runs").out and "accepted by" in project.run("show", "shop").out
    assert json.loads((report.parent / "run.json").read_text())["accepted"]["by"]
    assert project.records("shop")[0]["title"] == "New 0"


def test_a_key_that_drops_records_and_pages_that_are_gone_are_no_success(
    project: Project, site: Site
) -> None:
    site["/"] = books(range(10))
    project.spider(
        "wrong", SPIDER.format(url=site.url(), key="shop", health={}).replace("yield {{", "yield {{")
    )
    source = project.root / "spiders" / "wrong.py"
    source.write_text(source.read_text().replace('yield {"number"', 'yield {"shop": "A", "number"'))
    wrong = project.run("run", "wrong", "--json")
    assert wrong.code == 1 and wrong.summary["verdict"] == "DEGRADED"
    assert (
        '(9 of 10): same key as an earlier record: shop=A (number: "0", then "1")'
        in (wrong.summary["reasons"][0])
    )
    site["/"] = page(*[f"/gone/{n}" for n in range(6)], *[f"/{n}" for n in range(4)])
    for n in range(4):
        site[f"/{n}"] = books(range(n, n + 1))
    write(project, site)
    gone = project.run("run", "shop", "--json")
    assert gone.summary["verdict"] == "DEGRADED" and 'health = {"max_failed": 0.6}' in gone.text
    write(project, site, health={"max_failed": 0.6})
    assert project.run("run", "shop").code == 0


@pytest.mark.parametrize(
    ("instead", "told"),
    [
        ("nothing here", "empty, also when asked again"),
        pytest.param(404, "status 404", marks=pytest.mark.thorough),
        pytest.param(Reply(302, "", {"Location": "/sorry"}), "redirects to ", marks=pytest.mark.thorough),
        pytest.param(Reply(302, "", {"Location": "/"}), "redirects to ", marks=pytest.mark.thorough),
    ],
    ids=["empty", "gone", "a page that says sorry", "home"],
)
def test_a_list_that_brings_nothing_replaces_nothing_until_somebody_accepts(
    project: Project, site: Site, instead: Any, told: str
) -> None:
    site["/"] = books(range(10), "/b")
    site["/b"] = books(range(10, 14))
    site["/sorry"] = "back soon"
    write(project, site)
    assert project.run("run", "shop").code == 0
    site["/b"] = instead
    for _ in range(2):
        ended = project.run("run", "shop", "--json")
        assert ended.code == 1 and "1 page brings nothing" in ended.summary["reasons"][0], ended.text
        assert told in ended.summary["reasons"][0] and len(project.records("shop")) == 14
    assert project.run("accept", "shop").code == 0
    assert project.run("run", "shop").code == 0 and len(project.records("shop")) == 10


def test_records_of_pages_that_could_not_be_read_stand_behind_what_was_read_and_are_told(
    project: Project, site: Site
) -> None:
    lists = [f"/{n}" for n in range(20)]
    site["/"] = books(range(2), *lists)
    for n, path in enumerate(lists):
        site[path] = books(range(4 * n + 10, 4 * n + 14))
    write(project, site)
    assert "stand" not in project.run("run", "shop").err
    site["/3"] = Reply(302, "", {"Location": "http://other.test/"})
    site["/5"] = books(range(30, 34)) + books(range(22, 24), title="Moved and renamed")
    ended = project.run("run", "shop", "--json")
    assert (ended.code, ended.summary["records"], ended.summary["standing"]) == (0, 80, 4), ended.text
    assert "4 more stand as they were: their pages were not read this time" in ended.err
    titles = {record["number"]: record["title"] for record in project.records("shop")}
    assert len(titles) == 82 and [titles[n] for n in ("22", "23", "24", "25")] == [
        *("Moved and renamed 22", "Moved and renamed 23", "Title 24", "Title 25")
    ]


@pytest.mark.parametrize("breaks_off", [False, True])
def test_an_error_of_closed_hides_neither_the_summary_nor_the_error_before_it(
    project: Project, site: Site, breaks_off: bool
) -> None:
    site["/"] = books(range(3))
    write(project, site)
    spider = project.root / "spiders" / "shop.py"
    hooks = ["    def closed(self, run):", "        run.clear()", "        raise KeyError('report')"]
    if breaks_off:
        hooks += ["    def start(self):", "        raise ValueError('no list today')"]
    spider.write_text("\n".join([spider.read_text(), *hooks, ""]))
    ended = project.run("run", "shop")
    if breaks_off:
        assert ended.code == 2 and "no list today" in ended.err and "KeyError" not in ended.err, ended.text
        return
    told = "closed() raised KeyError: 'report' (shop.py, line"
    assert ended.code == 1 and told in ended.err and "3 added" in ended.err, ended.text
    assert len(project.records("shop")) == 3
    (run,) = project.runs("shop")
    assert run["exit_code"] == 1 and told in run["reasons"][0]
    assert told in project.run("show", "shop").out
    (errors,) = project.root.glob("data/shop/runs/*/errors.txt")
    assert "raise KeyError('report')" in errors.read_text()


def test_what_a_person_has_accepted_is_what_later_runs_are_held_against(project: Project, site: Site) -> None:
    site["/"] = books(range(40))
    write(project, site)
    for _ in range(2):
        assert project.run("run", "shop").code == 0
    site["/"] = books(range(10))
    assert "10 records, 40 in" in project.run("run", "shop").err
    assert project.run("accept", "shop").code == 0
    for title in ("New", "Newer"):
        site["/"] = books(range(10), title=title)
        again = project.run("run", "shop", "--json")
        assert (again.code, again.summary["changed"]) == (0, 10), again.text
    site["/"] = books(range(4))
    assert "4 records, 10 in the three runs before" in project.run("run", "shop").err


def test_nights_that_never_end_speak_and_keep_what_is_known_up_to_date(project: Project, site: Site) -> None:
    site["/"] = books(range(3), "/a", "/b")
    site["/a"], site["/b"] = books(range(3, 6)), books(range(6, 9))
    write(project, site)
    assert project.run("run", "shop").code == 0

    def month(arrival: Arrival) -> str:
        number = int(arrival.path.rpartition("=")[2])
        return f'<a href="/calendar?month={number + 1}">next</a>'

    site["/calendar"] = month
    site["/"] = books(range(3), "/calendar?month=1", "/a", "/b")
    nights = []
    for night in range(4):
        site["/b"] = books(range(6, 9), title=f"Night {night}")
        site.arrivals.clear()
        nights.append(project.run("run", "shop", "--quiet", "--max-time", "0.5"))
        asked = [path for path in site.paths() if not path.startswith("/calendar")]
        assert len(site.paths()) > 3, nights[-1].text
        if night in (0, 3):
            # What is known comes before the calendar, although the calendar was linked first.
            assert site.paths()[:3] == ["/", "/a", "/b"] and len(asked) == 3
    assert [ended.code for ended in nights] == [0, 0, 1, 1]
    assert nights[0].text == nights[1].text == "exit 0\n\n"
    assert "INCOMPLETE since 20" in nights[2].err and "3 runs in a row" in nights[2].err
    assert "taken over as it is" in nights[3].err and "max_depth" in nights[3].err
    assert project.records("shop")[-1]["title"] == "Night 3 8" and len(project.records("shop")) == 9


def test_errors_are_told_at_the_spiders_own_line_with_their_traceback(project: Project, site: Site) -> None:
    site["/"] = Reply(200, "no json")
    write(project, site)
    source = project.root / "spiders" / "shop.py"
    source.write_text(source.read_text().replace("for row in", "page.json(); [].pop()\n        for row in"))
    ended = project.run("-v", "run", "shop", "--json")
    assert ended.summary["verdict"] == "BROKEN" and "json/decoder.py" not in ended.summary["reasons"][0]
    assert re.search(r"JSONDecodeError in shop\.py, line \d+", ended.summary["reasons"][0])
    assert "page.json(); [].pop()" in ended.err and "Traceback (most recent call last)" in ended.err
    errors = next(project.data("shop", "runs").glob("*/errors.txt")).read_text()
    assert site.url() in errors and "decoder.py" in errors


def test_a_spider_that_raises_page_after_page_is_stopped_before_more_is_asked_for(
    project: Project, site: Site
) -> None:
    site["/"], site["*"] = books(range(1), *(f"/{n}" for n in range(60))), "no json"
    write(project, site)
    source = project.root / "spiders" / "shop.py"
    source.write_text(
        source.read_text().replace("for row in", "page.url.endswith('/') or page.json()\n        for row in")
    )
    ended = project.run("run", "shop", "--quiet")
    assert "BROKEN" in ended.err and "(setting max_errors)" in ended.err
    assert len(site.paths()) in (11, 12)  # one may be in the air already


@pytest.mark.thorough  # it is ended after five seconds of CPU
def test_a_callback_that_never_lets_the_interpreter_go_ends_the_process_and_is_named(
    site: Site, project: Project
) -> None:
    site["/"] = page("/a", title="start")
    site["/a"] = page(title="a")
    project.spider(
        "stuck",
        f"""
        from scraper import Spider

        class Stuck(Spider):
            start_urls = ["{site.url("/")}"]

            def parse(self, page):
                if page.url.endswith("/a"):
                    sum(range(10**13))  # in C, without another thread's turn
                yield {{"url": page.url}}
                yield from page.follow_all("a")
        """,
    )
    ended = project.run("run", "stuck", "--quiet", "--set", "delay=0", "--set", "parse_timeout=0.5")
    assert ended.code == -signal.SIGVTALRM, ended.text
    assert "stuck.py" in ended.err and "in parse" in ended.err
