"""`run --archive`, `reparse` and `check` through the real command, with a site that counts its requests."""

import gzip
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from warcio.archiveiterator import ArchiveIterator

from tests.project import Project
from tests.site import Reply, Site, page, redirect

pytestmark = pytest.mark.thorough

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": 0}}

        def parse(self, page):
            yield {{"url": page.url, "title": page.css("{query}").get()}}
            yield from page.follow_all("a")
"""


@pytest.fixture
def shop(project: Project, site: Site) -> Site:
    site["/"] = page("/a", "/b", "/mine", "/old", "/private", title="home", text="zero")
    site["/a"] = page(title="A", text="first")
    site["/b"] = page(title="B", text="second")
    site["/mine"] = Reply(
        200,
        "<title>mine</title><h1>mine</h1>",
        {"Content-Type": "text/html", "X-Robots-Tag": "noarchive", "Set-Cookie": "sid=topsecret"},
    )
    site["/old"] = redirect("/new")
    site["/new"] = page(title="new", text="third")
    site["/robots.txt"] = "User-agent: *\nDisallow: /private\n"
    write_spider(project, site)
    return site


def write_spider(project: Project, site: Site, query: str = "title::text") -> None:
    project.spider("shop", SPIDER.format(url=site.url(), query=query))


def archived(project: Project) -> list[tuple[str, str]]:
    """File and URL of each response record, read by somebody else's reader."""
    found = []
    for path in sorted(project.data("shop").glob("runs/*/pages*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                if record.rec_type == "response":
                    found.append((path.name, record.rec_headers.get_header("WARC-Target-URI")))
    return found


def titles(project: Project) -> dict[str, Any]:
    return {record["url"].rpartition("/")[2]: record["title"] for record in project.records("shop")}


def test_a_run_keeps_its_pages_but_neither_cookies_nor_what_is_noarchive(
    project: Project, shop: Site
) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    assert sorted(archived(project)) == [
        ("pages.warc.gz", shop.url(path)) for path in ("/", "/a", "/b", "/new", "/old")
    ]
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    assert b"topsecret" not in gzip.decompress(file.read_bytes())


def test_without_archive_no_page_is_kept(project: Project, shop: Site) -> None:
    assert project.run("run", "shop").code == 0
    assert archived(project) == []
    for command in ("reparse", "check"):
        ended = project.run(command, "shop")
        assert ended.code == 2 and "--archive first" in ended.err


def test_reparse_brings_the_same_records_without_a_request(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    before, asked = titles(project), len(shop.arrivals)
    shop.stop()
    ended = project.run("reparse", "shop", "--set", "delay=30", "--json")
    summary = ended.summary
    assert len(shop.arrivals) == asked
    assert (ended.code, summary["pages"], summary["requests"], summary["failed"]) == (0, 4, 0, 0)
    reasons = {line["url"]: line["reason"] for line in project.log("shop") if line["event"] == "denied"}
    assert reasons[shop.url("/mine")] == "noarchive: its site asks that no copy be kept"
    assert "robots.txt line 2" in reasons[shop.url("/private")]
    assert titles(project) == before


def test_what_was_never_archived_fails_with_that_reason(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    source = SPIDER.format(url=shop.url(), query="title::text")
    project.spider("shop", source + """        yield "/elsewhere"\n""".replace("        ", "            "))
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["errors"]) == (1, {"not in the archive": 1})


def test_a_changed_spider_reads_the_archived_pages_anew(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    write_spider(project, shop, "p::text")
    shop.stop()
    ended = project.run("reparse", "shop", "--json")
    assert ended.code == 0, ended.text
    assert titles(project)["a"] == "first"
    assert (ended.summary["pages"], ended.summary["changed"], ended.summary["removed"]) == (4, 4, 0)


def test_pages_that_a_later_run_found_unchanged_are_read_from_the_earlier_archive(
    project: Project, shop: Site
) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    shop["/a"] = page(title="A2")
    second = project.run("run", "shop", "--archive", "--json")
    assert (second.summary["pages"], second.summary["unchanged"]) == (1, 4)
    shop.stop()
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, 4, 0)
    assert (titles(project)["a"], titles(project)["b"]) == ("A2", "B")


def test_an_archived_page_that_has_changed_since_takes_no_newer_record_back(
    project: Project, shop: Site
) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    shop["/a"] = page(title="A2")
    assert project.run("run", "shop").code == 0
    write_spider(project, shop, query="h1::text")
    ended = project.run("reparse", "shop", "--json")
    failed = [line["reason"] for line in project.log("shop") if line.get("url", "").endswith("/a")]
    assert failed == ["in the archive only as it was before its last change"] and ended.summary["failed"] == 1
    assert (titles(project)["a"], titles(project)["b"]) == ("A2", "B")


def test_a_run_broken_by_its_spider_is_mended_by_reparse(project: Project, shop: Site) -> None:
    source = SPIDER.format(url=shop.url(), query="title::text")
    broken = source.replace("yield {", 'page.url[-2:] in ("/a", "/b") and 1 / 0; yield {')
    project.spider("shop", broken)
    assert project.run("run", "shop", "--archive").code == 1
    write_spider(project, shop)
    asked = len(shop.arrivals)
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["verdict"]) == (0, "OK"), ended.text
    assert (titles(project)["a"], len(shop.arrivals)) == ("A", asked)
    assert project.run("check", "shop").code == 0


def test_what_did_not_change_outlives_the_run_that_archived_it(project: Project, site: Site) -> None:
    def tagged(arrival: Any) -> Reply:
        is_known = "if-none-match" in arrival.headers
        return Reply(304 if is_known else 200, "<title>old</title>", {"ETag": '"1"'})

    site["/"] = page("/old", "/gone", title="1")
    site["/old"] = tagged
    site["/gone"] = page(title="gone")
    write_spider(project, site)
    for title in "1234":
        site["/"] = page("/old", *(["/gone"] if title == "1" else []), title=title)
        assert project.run("run", "shop", "--archive", "--set", "retention=2").code == 0
    assert len(project.runs("shop")) == 2
    assert sorted(archived(project)) == [
        ("pages-0.warc.gz", site.url("/old")),
        ("pages.warc.gz", site.url("/")),
        ("pages.warc.gz", site.url("/")),
    ]
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, 2, 0), ended.text
    assert titles(project) == {"": "4", "old": "old"}


def test_a_run_that_has_not_ended_is_not_finished_offline(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive", "--max-pages", "2").code == 0
    ended = project.run("reparse", "shop")
    assert ended.code == 2 and "has not ended" in ended.err
    assert project.run("run", "shop", "--archive").code == 0
    assert project.run("check", "shop").code == 0


def test_check_tells_what_a_changed_spider_would_change(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    before, asked = project.records("shop"), len(shop.arrivals)
    same = project.run("check", "shop")
    assert (same.code, same.out.count("\n")) == (0, 1), same.text
    write_spider(project, shop, "p::text")
    ended = project.run("check", "shop")
    assert ended.code == 1
    assert f'{shop.url("/a")}\n  changed  ["{shop.url("/a")}"]: title "A" -> "first"' in ended.out
    lines = [json.loads(line) for line in project.run("check", "--json").out.splitlines()]
    assert {line["url"] for line in lines} == {shop.url(path) for path in ("/", "/a", "/b", "/new")}
    assert project.records("shop") == before and len(shop.arrivals) == asked


def test_check_tells_missing_and_new_records_and_callbacks_that_raise(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    source = SPIDER.format(url=shop.url(), query="title::text")
    project.spider("shop", source.replace('"url": page.url', '"url": page.url + "#"'))
    out = project.run("check", "shop").out
    assert f'  new      ["{shop.url("/a")}#"]' in out and f'  missing  ["{shop.url("/a")}"]' in out
    project.spider("shop", source.replace("yield {", "1/0; yield {"))
    ended = project.run("check", "shop")
    assert ended.code == 1 and "raised   ZeroDivisionError" in ended.out


def test_a_killed_run_leaves_an_archive_that_the_next_one_goes_on_with(project: Project, site: Site) -> None:
    links = [f"/{n}" for n in range(60)]
    site["/"] = page(*links)
    for link in links:
        site[link] = page(title=link, text="x" * 20_000)
    write_spider(project, site)
    started = project.start("run", "shop", "--archive", "--set", "delay=0.02")
    while len(site.arrivals) < 20:
        assert started.process.poll() is None, started.wait().text
    os.kill(started.process.pid, signal.SIGKILL)
    started.wait()
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    tear(file)
    assert project.run("run", "shop", "--archive").code == 0
    assert {url for _, url in archived(project)} == {site.url(path) for path in ("/", *links)}
    site.stop()
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["records"]) == (0, 61, 61)


def tear(file: Path) -> None:
    """What a kill in the middle of a write leaves behind."""
    with file.open("ab") as opened:
        opened.write(file.read_bytes()[:40])


def test_each_worker_keeps_an_archive_of_its_own(project: Project, new_site: Any) -> None:
    sites = [new_site({"/": page("/a"), "/a": page(title="A")}, host=f"127.0.0.{n}") for n in range(2, 6)]
    urls = [site.url() for site in sites]
    project.spider("shop", SPIDER.format(url='", "'.join(urls), query="title::text"))
    assert project.run("run", "shop", "--archive", "--workers", "2").code == 0
    found = archived(project)
    assert {name for name, _ in found} <= {"pages-1.warc.gz", "pages-2.warc.gz"}
    assert sorted(url for _, url in found) == sorted(site.url(path) for site in sites for path in ("/", "/a"))
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["records"], ended.summary["requests"]) == (0, 8, 0)


def test_a_changed_spider_asks_conditionally_and_parses_what_is_archived(
    project: Project, site: Site
) -> None:
    def tagged(text: str) -> Any:
        def answer(arrival: Any) -> Reply:
            is_known = arrival.headers.get("if-none-match") == '"1"'
            return Reply(304 if is_known else 200, f"<title>{text}</title><p>{text}!</p>", {"ETag": '"1"'})

        return answer

    site["/"] = page("/a", "/b", title="home", text="zero")
    site["/a"] = tagged("A")
    site["/b"] = Reply(200, "<title>B</title><p>B!</p>", {"ETag": '"2"', "X-Robots-Tag": "noarchive"})
    write_spider(project, site)
    assert project.run("run", "shop", "--archive").code == 0
    size = len(archived(project))
    write_spider(project, site, "p::text")
    site.arrivals.clear()
    ended = project.run("run", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["unchanged"]) == (0, 3, 0), ended.text
    asked = {arrival.path: arrival.headers.get("if-none-match") for arrival in site.arrivals}
    assert (asked["/a"], asked["/b"]) == ('"1"', None)
    assert (titles(project)["a"], titles(project)["b"]) == ("A!", "B!")
    again = project.run("run", "shop", "--archive", "--json")
    assert (again.summary["pages"], again.summary["unchanged"]) == (0, 3)
    assert len(archived(project)) == size


def test_what_lies_beyond_a_declared_limit_is_no_failure(project: Project, shop: Site) -> None:
    source = SPIDER.format(url=shop.url(), query="title::text")
    project.spider("shop", source.replace('"delay": 0', '"delay": 0, "max_pages": 3'))
    assert project.run("run", "shop", "--archive").code == 0
    before = project.records("shop")
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, 3, 0), ended.text
    assert project.records("shop") == before


def test_a_reparse_that_was_killed_goes_on_and_by_other_code_is_begun_anew(
    project: Project, shop: Site
) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    before = project.records("shop")
    source = SPIDER.format(url=shop.url(), query="title::text")
    die = 'page.url.endswith("/b") and __import__("os").kill(__import__("os").getpid(), 9); yield {'
    project.spider("shop", source.replace("yield {", die))
    assert project.run("reparse", "shop").code == -signal.SIGKILL
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    other = project.run("run", "shop", "--replay", file)
    assert other.code == 2 and "--fresh gives it up" in other.err
    assert project.run("reparse", "shop").code == -signal.SIGKILL
    ended = project.run("reparse", "shop", "--json")
    assert (ended.summary["resumed"], ended.summary["errors"]) == (True, {"killed the process": 1}), (
        ended.text
    )
    assert project.run("reparse", "shop", "--fresh").code == -signal.SIGKILL
    write_spider(project, shop)
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["resumed"]) == (0, False), ended.text
    # What stands of a page that is not in the archive comes last.
    assert sorted(map(str, project.records("shop"))) == sorted(map(str, before))


def tagged(text: str, **fields: str) -> Any:
    def answer(arrival: Any) -> Reply:
        is_known = arrival.headers.get("if-none-match") == '"1"'
        body = "" if is_known else f"<title>{text}</title><p>{text}!</p><a href=/a>a</a><a href=/b>b</a>"
        return Reply(304 if is_known else 200, body, {"ETag": '"1"', "Content-Type": "text/html", **fields})

    return answer


def test_what_is_not_yet_archived_is_asked_for_in_full_once(project: Project, site: Site) -> None:
    site["/"] = tagged("home")
    site["/a"] = tagged("A", **{"Cache-Control": "max-age=86400"})
    site["/b"] = tagged("B", **{"X-Robots-Tag": "noarchive"})
    write_spider(project, site)
    assert project.run("run", "shop").code == 0
    before = project.records("shop")
    # /a need not be asked for, but for its body; /b may not be kept.
    for conditions in ({"/": None, "/a": None, "/b": '"1"'}, {"/": '"1"', "/b": '"1"'}):
        site.arrivals.clear()
        ended = project.run("run", "shop", "--archive", "--json")
        assert (ended.code, ended.summary["unchanged"], project.records("shop")) == (0, 3, before)
        asked = {arrival.path: arrival.headers.get("if-none-match") for arrival in site.arrivals}
        assert asked == conditions
    assert len(archived(project)) == 2
    write_spider(project, site, "p::text")
    ended = project.run("reparse", "shop", "--json")
    assert titles(project) == {"": "home!", "a": "A!", "b": "B"}, ended.text


def test_reparse_goes_on_behind_an_entry_page_that_may_not_be_kept(project: Project, site: Site) -> None:
    site["/"] = tagged("home", **{"X-Robots-Tag": "noindex, noarchive"})
    site["/a"] = tagged("A")
    site["/b"] = tagged("B")
    write_spider(project, site)
    assert project.run("run", "shop", "--archive").code == 0
    write_spider(project, site, "p::text")
    ended = project.run("reparse", "shop", "--json")
    assert (ended.code, ended.summary["requests"]) == (0, 0), ended.text
    assert titles(project) == {"": "home", "a": "A!", "b": "B!"}


def test_reparse_and_check_take_the_params_of_the_last_run(project: Project, site: Site) -> None:
    site["/"] = tagged("home")
    site["/a"] = site["/b"] = tagged("A")
    source = SPIDER.format(url=site.url(), query="title::text").replace(
        '"title":', '"for": self.params["who"], "title":'
    )
    project.spider("shop", source)
    assert project.run("run", "shop", "--archive", "--param", "who=ann").code == 0
    assert project.run("check", "shop").code == 0
    for given, who in (([], "ann"), (["--param", "who=bob"], "bob"), ([], "bob")):
        assert project.run("reparse", "shop", *given).code == 0
        assert {record["for"] for record in project.records("shop")} == {who}


def test_one_archived_page_serves_all_callbacks_of_its_url(project: Project, site: Site) -> None:
    site["/"] = tagged("home")
    source = """
        from scraper import Spider

        class Shop(Spider):
            start_urls = ["{url}"]
            settings = {{"delay": 0}}

            def parse(self, page):
                yield page.follow("/a", self.parse_one)
                yield page.follow("/a", self.parse_two)

            def parse_one(self, page):
                yield {{"by": "one", "title": page.css("{query}").get()}}

            def parse_two(self, page):
                yield {{"by": "two", "title": page.css("{query}").get()}}
    """
    site["/a"] = tagged("A")
    project.spider("shop", source.format(url=site.url(), query="title::text"))
    assert project.run("run", "shop", "--archive").code == 0
    assert project.run("check", "shop").code == 0
    project.spider("shop", source.format(url=site.url(), query="p::text"))
    assert project.run("check", "shop").code == 1
    assert project.run("reparse", "shop").code == 0
    assert [(one["by"], one["title"]) for one in project.records("shop")] == [("one", "A!"), ("two", "A!")]


def test_a_file_that_cannot_be_read_is_told_before_a_run_begins(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    file.rename(file.with_name("kept"))
    file.mkdir()
    ended = project.run("reparse", "shop")
    assert ended.code == 2 and "cannot be read" in ended.err
    assert [run["verdict"] for run in project.runs("shop")] == ["OK"]


def test_a_damaged_record_is_told_with_its_place_and_costs_only_its_page(
    project: Project, shop: Site
) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    content = bytearray(file.read_bytes())
    begins = [found.start() for found in re.finditer(rb"\x1f\x8b\x08\x04", content)]
    content[begins[-1] + 60 : begins[-1] + 70] = bytes(10)
    file.write_bytes(content)
    for command in ("check", "reparse"):
        ended = project.run(command, "shop")
        assert ended.code == 1 and "bug" not in ended.err + ended.out
        assert f"the first at byte {begins[-1]}" in ended.out + ended.err


def test_a_run_is_replayed_from_its_own_file_without_a_request(project: Project, shop: Site) -> None:
    assert project.run("run", "shop", "--archive").code == 0
    before = project.records("shop")
    (file,) = project.data("shop").glob("runs/*/pages.warc.gz")
    copy = project.root / "web.warc.gz"
    file.rename(copy)
    asked = len(shop.arrivals)
    ended = project.run("run", "shop", "--replay", copy)
    assert ended.code in (0, 1) and "bug" not in ended.err
    # What stands of a page that is not in the archive comes last.
    assert sorted(map(str, project.records("shop"))) == sorted(map(str, before))
    assert len(shop.arrivals) == asked
    ended = project.run("run", "shop", "--replay", project.spider("nothing", "x = 1"))
    assert ended.code == 2 and "is no WARC file" in ended.err
