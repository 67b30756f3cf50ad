"""The command line in this process: what it says, where, and with which exit code."""

import json
import os
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest

from scraper.cli import COMMANDS, commands, run_summary, text
from scraper.cli.failures import Caller, code_of, guarded
from scraper.cli.options import DataLocation
from scraper.errors import LeaseLost, LoginFailed, ScraperError, SpiderError, StoreAway, StoreBusy, StoreFull
from scraper.urls import join
from tests.project import Call, Ended, calls_in
from tests.site import Site, page

SPIDER = '''
from scraper import Spider

class {cls}(Spider):
    """Titles of a site."""
    start_urls = ["{url}"]
    key = "url"
    settings = {{"delay": 0}}
    {more}

    def parse(self, page):
        yield {{"url": page.url, "title": page.css("title::text").get()}}
        yield from page.follow_all("a")
'''


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in an empty project."""
    (tmp_path / "spiders").mkdir()
    return calls_in(tmp_path, monkeypatch, capfd)


def write(name: str, url: str = "https://example.org/", more: str = "") -> Path:
    file = Path("spiders") / f"{name}.py"
    file.write_text(SPIDER.format(cls=name.capitalize(), url=url, more=more), "utf-8")
    return file


@pytest.fixture
def shop(site: Site) -> Site:
    site["/"] = page("/a", "/b", title="front")
    site["/a"] = page(title="a")
    site["/b"] = page(title="b")
    site["/robots.txt"] = "User-agent: *\nDisallow: /private\n", 200, {"Content-Type": "text/plain"}
    return site


# the commands as a whole ------------------------------------------------------------------------------------
def test_every_command_says_in_the_overview_what_its_help_begins_with() -> None:
    for name, (_, summary) in COMMANDS.items():
        command = commands.get_command(None, name)  # type: ignore[arg-type]  # the context is not looked at
        assert command is not None and command.help is not None
        assert command.help.partition(":")[0].startswith(summary.rstrip(".").partition(":")[0])


def test_every_command_has_help_with_an_example_at_80_columns(call: Call) -> None:
    for name in COMMANDS:
        said = call(name, "--help")
        assert "\\b" not in said.out and max(map(len, said.out.splitlines())) <= 80
        assert said.code == 0 and said.err == ""
        assert f"python -m scraper {name}" in said.out


def test_without_a_command_the_overview_is_shown(call: Call) -> None:
    said = call()
    assert (said.code, said.err) == (0, "")
    assert all(f"  {name} " in said.out for name in COMMANDS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["rnu"], "did you mean run?"),
        (["help"], "did you mean --help?"),
        (["run", "https://shop.example/"], "new NAME URL"),
        (["new", "https://shop.example/", "shop"], "the name comes first"),
        (["cron", "shop", "0", "3", "*", "*", "*"], "stands in quotes"),
        (["run", "shop", "--max-page", "3"], "--max-pages"),
        (["run"], "SPIDER"),
        (["run", "shop", "--workers", "0"], "--workers"),
        (["run", "shop", "--param", "x"], "NAME=VALUE"),
    ],
)
def test_a_wrong_command_or_option_is_answered_with_the_right_one(
    call: Call, words: list[str], hint: str
) -> None:
    said = call(*words)
    assert said.code == 2 and said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1 and hint in said.err


def test_an_unknown_spider_is_told_with_the_nearest(call: Call) -> None:
    write("books")
    said = call("run", "boks")
    assert said.code == 2 and "did you mean books?" in said.err and not Path("data").exists()


@pytest.mark.parametrize("option", [["--max-pages", "0"], ["--max-time", "soon"], ["--set", "dely=1"]])
def test_a_bad_setting_on_the_command_line_starts_nothing(call: Call, option: list[str]) -> None:
    write("shop")
    said = call("run", "shop", *option)
    assert said.code == 2 and "wrong" in said.err and not Path("data").exists()


def test_all_mistakes_are_told_at_once(call: Call) -> None:
    write("shop")
    said = call("run", "shop", "--max-pages", "none at all", "--set", "thread=5")
    assert "max_pages" in said.err and "threads" in said.err


# errors -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (SpiderError("x"), 2, 1),
        (StoreFull("x"), 2, 1),
        (StoreBusy("x"), 75, 75),
        (StoreAway("x"), 75, 75),
        (LeaseLost("x"), 75, 75),
        (LoginFailed("x"), 77, 77),
    ],
)
def test_code_2_says_that_nothing_was_fetched(error: ScraperError, before: int, after: int) -> None:
    assert code_of(error, has_fetched=False) == before
    assert code_of(error, has_fetched=True) == after


def test_a_disk_that_fills_up_in_mid_run_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise StoreFull("no space left for data/scraper.db", "free some space")

    assert guarded(fail, Caller(has_fetched=True)) == 1
    said = capfd.readouterr().err
    assert said.count("\n") == 1 and "free some space" in said and "the same command resumes the run" in said


def test_a_bug_of_ours_is_one_line_and_a_traceback_only_if_asked(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyError("x")

    assert guarded(fail, Caller()) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: this is a bug: KeyError") and said.count("\n") == 1
    guarded(fail, Caller(is_verbose=True))
    assert "Traceback" in capfd.readouterr().err


def test_a_package_that_is_missing_is_no_bug(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ModuleNotFoundError("No module named 'lxml'", name="lxml")

    assert guarded(fail, Caller()) == 2
    assert "lxml is not installed" in capfd.readouterr().err


def test_an_error_in_the_spiders_own_code_names_its_line(call: Call) -> None:
    write("shop", more="def opened(self): raise ValueError('no list today')")
    said = call("run", "shop")
    assert said.code == 2 and said.err.count("\n") == 1
    assert re.search(r"spiders/shop\.py, line \d+", said.err) and "no list today" in said.err


def test_interrupting_a_command_is_no_accident(capfd: pytest.CaptureFixture[str]) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    assert guarded(stop, Caller()) == 130 and "Traceback" not in capfd.readouterr().err


# list, new, runs, show --------------------------------------------------------------------------------------
def test_looking_makes_no_files(call: Call) -> None:
    for words in (["list"], ["runs"], ["runs", "--json"], ["explain", "https://example.org/"]):
        assert call(*words).code == 0
    assert not Path("data").exists()


def test_list_shows_broken_spiders_beside_the_others(call: Call) -> None:
    write("shop")
    Path("spiders/torn.py").write_text("class Torn(Spider:\n", "utf-8")
    said = call("list")
    assert said.code == 0
    assert re.search(r"shop .*Titles of a site\.", said.out) and re.search("torn .*broken.*line 1", said.out)
    rows = [json.loads(line) for line in call("list", "--json").out.splitlines()]
    assert {row["name"]: bool(row["error"]) for row in rows} == {"shop": False, "torn": True}


def test_a_new_spider_and_its_test_are_ready_to_run(call: Call) -> None:
    said = call("new", "shop", "https://shop.example/list?a=1")
    assert said.code == 0 and "run shop" in said.out
    namespace: dict[str, Any] = {}
    source = Path("tests/test_shop.py").read_text("utf-8").replace("from spiders.shop import Shop", "")
    exec(Path("spiders/shop.py").read_text("utf-8"), namespace)
    exec(source, namespace)
    namespace["test_a_page_gives_a_record"]()
    assert "shop" in call("list").out


@pytest.mark.parametrize(
    "url",
    [
        'https://x"""+open("broken","w").write("x")+""".example/',
        'https://a.example/\\\\x?q=\'"{}#"""',
        "https://shop.example/?a=$name${url}",
        "https://b\u00fccher.example/\U0001f600?\u2028#\u202e",
        "https://[2001:db8::1]:8443/",
    ],
)
def test_new_writes_a_url_as_data_whatever_stands_in_it(call: Call, url: str) -> None:
    said = call("new", "shop", url)
    assert said.code in (0, 2) and len(said.err.splitlines()) <= 1, said.err
    if said.code == 0:
        namespace: dict[str, Any] = {}
        exec(Path("spiders/shop.py").read_text("utf-8"), namespace)
        exec(
            Path("tests/test_shop.py").read_text("utf-8").replace("from spiders.shop import Shop", ""),
            {**namespace},
        )
        assert namespace["Shop"].start_urls == [join(None, url)]
    assert not Path("broken").exists()


def test_new_never_overwrites(call: Call) -> None:
    Path("tests").mkdir()
    Path("tests/test_shop.py").write_text("mine", "utf-8")
    said = call("new", "shop", "https://shop.example/")
    assert said.code == 2 and "exists already" in said.err
    assert Path("tests/test_shop.py").read_text("utf-8") == "mine" and not Path("spiders/shop.py").exists()


@pytest.mark.parametrize(
    ("name", "url", "hint"),
    [
        ("shop", "shop.example/list", "write https://shop.example/list"),
        ("shop", "ftp://shop.example/", "only http and https"),
        ("shop", "https://", "no URL"),
        ("My-Shop", "https://shop.example/", "write my_shop"),
        ("class", "https://shop.example/", "cannot be a spider's name"),
        ("../evil", "https://shop.example/", "cannot be a spider's name"),
        ("fine", "https://ada:secret@shop.example/", "a URL with credentials is not fetched"),
    ],
)
def test_new_refuses_what_cannot_work_and_says_what_can(call: Call, name: str, url: str, hint: str) -> None:
    said = call("new", name, url)
    assert said.code == 2 and hint in said.err and list(Path("spiders").iterdir()) == []


def test_an_unknown_run_is_told_with_the_nearest(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    assert call("run", "shop").code == 0
    run_id = json.loads(call("show", "shop", "--json").out)["run_id"]
    said = call("show", run_id[:-1] + "7")
    assert said.code == 2 and f"did you mean {run_id}?" in said.err


# run --------------------------------------------------------------------------------------------------------
def test_a_run_ends_with_a_summary_and_the_next_command(call: Call, shop: Site) -> None:
    write("shop", shop.url(), more="health = {'max_failed': 0.5}")
    shop["/b"] = page("/missing", title="b")
    said = call("run", "shop")
    assert said.code == 0 and said.out == ""
    run_id = json.loads(call("show", "shop", "--json").out)["run_id"]
    assert "shop: OK: 3 records from 3 pages" in said.err
    assert "status 404" in said.err and "/missing" in said.err
    assert "data/shop/records.jsonl" in said.err and f"show {run_id}" in said.err
    assert "no delay between requests" in said.err


def test_records_on_standard_output_are_alone_there(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    said = call("run", "shop", "-o", "-")
    assert [json.loads(line)["title"] for line in said.out.splitlines()] == ["front", "a", "b"]


def test_the_summary_as_json_is_the_last_line_of_standard_output(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    said = call("run", "shop", "-o", "-", "--json", "--quiet")
    lines = said.out.splitlines()
    assert len(lines) == 4 and json.loads(lines[-1])["verdict"] == "OK" and said.err == ""


def test_a_healthy_quiet_run_prints_nothing_at_all(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    assert call("run", "shop", "--quiet") == Ended(0, "", "")


def test_an_unhealthy_quiet_run_says_in_few_lines_what_to_do(call: Call, shop: Site) -> None:
    write("shop", shop.url(), more="health = {'min_records': 10, 'required': ['price']}")
    said = call("run", "shop", "--quiet")
    assert said.code == 1 and said.out == "" and len(said.err.splitlines()) <= 10
    for word in ("shop: DEGRADED", "price", "scraper accept ", "data/shop/runs/"):
        assert word in said.err


def test_a_quiet_run_whose_spider_raises_says_what_its_error_says(call: Call, shop: Site) -> None:
    file = write("shop", shop.url())
    file.write_text(file.read_text("utf-8").replace("page.url,", "page.nothing,"), "utf-8")
    said = call("run", "shop", "--quiet")
    assert said.code == 1 and len(said.err.splitlines()) <= 10
    assert "'Page' object has no attribute 'nothing'" in said.err


def test_a_limit_of_the_user_is_no_fault_and_the_same_command_goes_on(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    said = call("run", "shop", "--max-pages", "1")
    assert said.code == 0 and "max_pages" in said.err and "run shop" in said.err
    assert "resumes run" in call("run", "shop").err


def test_the_reason_for_leaving_robots_out_is_shown(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    said = call("run", "shop", "--set", 'robots_exempt={"127.0.0.1" = "our own server, agreed today"}')
    assert said.code == 0 and said.err.count("our own server, agreed today") >= 2
    assert "/robots.txt" not in shop.paths(robots=True)


def test_a_run_goes_on_when_nobody_reads_its_log_any_more(
    call: Call, shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo = click.echo

    def broken(message: str, err: bool = False) -> None:
        if re.match(r"\d\d:\d\d:\d\d ", message):
            raise BrokenPipeError
        echo(message, err=err)

    monkeypatch.setattr("scraper.cli.running.click.echo", broken)
    write("shop", shop.url())
    said = call("run", "shop")
    assert said.code == 0 and "shop: OK" in said.err and "begins" not in said.err


def test_a_site_cannot_move_the_cursor_of_the_terminal(call: Call, site: Site) -> None:
    site["/"] = page("/%1b[2J")
    write("shop", site.url(), more="def closed(self, run): pass")
    assert "\x1b" not in call("run", "shop").err


def test_a_spider_keeps_its_delay_from_the_last_request_of_a_faster_one(call: Call, shop: Site) -> None:
    write("fast", shop.url("/a"))
    write("slow", shop.url("/b"))
    assert call("run", "fast").code == 0
    assert call("run", "slow", "--set", "delay=0.4").code == 0
    assert shop.gaps()[-1] >= 0.4 and "SHORT" in call("audit", "slow").out
    assert json.loads(call("audit", "slow", "--json").out)["breaches"] == 0


# records ----------------------------------------------------------------------------------------------------
def test_a_run_without_records_replaces_them_only_when_it_is_named_itself(call: Call, shop: Site) -> None:
    file = write("shop", shop.url("/"))
    current = Path("data/shop/records.jsonl")
    assert call("run", "shop", "--quiet").code == 0
    file.write_text(file.read_text("utf-8").replace("yield {", "_ = {"), "utf-8")
    assert call("run", "shop", "--quiet").code == 1
    said = call("accept", "shop")
    assert said.code == 2 and "no records" in said.err and current.read_text()
    run_id = said.err.split()[2]
    assert f"accept {run_id}" in said.err
    assert call("accept", run_id).code == 0 and not current.read_text()


def test_a_check_without_saved_pages_says_so(call: Call, site: Site) -> None:
    site["/"] = "<title>front</title>", 200, {"Content-Type": "text/html", "X-Robots-Tag": "noarchive"}
    write("shop", site.url("/"))
    assert call("run", "shop", "--quiet", "--archive").code == 0
    said = call("check", "shop")
    assert said.code == 0 and "no page is saved" in said.out


def test_a_degraded_run_can_be_accepted_after_a_look(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    assert call("run", "shop").code == 0
    write("shop", shop.url(), more="health = {'min_records': 10}")
    shop["/a"] = page(title="another a")
    shop["/"] = page("/a", title="front")
    assert call("run", "shop", "--quiet").code == 1
    records = Path("data/shop/records.jsonl")
    assert "another a" not in records.read_text("utf-8")
    said = call("accept", "shop")
    assert said.code == 0 and "1 changed, 1 removed" in said.out
    assert "another a" in records.read_text("utf-8") and "/b" not in records.read_text("utf-8")
    assert call("accept", "shop").code == 2


def test_changes_are_told_field_by_field(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    call("run", "shop")
    first = json.loads(call("show", "shop", "--json").out)["run_id"]
    shop["/a"] = page(title="another a")
    call("run", "shop")
    for words in (["changes", "shop"], ["changes", "shop", "--since", first]):
        said = call(*words)
        assert said.code == 0 and "title: a -> another a" in said.out
        assert said.out.splitlines()[-1] == "0 added, 1 changed, 0 removed"
    assert json.loads(call("changes", "shop", "--json").out)["change"] == "changed"


def test_current_records_are_exported_in_any_format(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    assert call("export", "shop", "-o", "-").code == 2
    call("run", "shop")
    assert call("export", "shop", "-o", "shop.csv", "-o", "shop.json").code == 0
    assert Path("shop.csv").read_text("utf-8").splitlines()[0] == '"url","title"'
    assert len(json.loads(Path("shop.json").read_text("utf-8"))) == 3
    assert len(call("export", "shop", "-o", "-").out.splitlines()) == 3


def test_records_that_are_not_kept_are_listed_with_url_field_and_reason(call: Call, shop: Site) -> None:
    file = write("shop", shop.url())
    bad = '"price": float("nan") if page.url.endswith("a") else 1.0}'
    file.write_text(file.read_text("utf-8").replace('"title": page.css("title::text").get()}', bad), "utf-8")
    call("run", "shop")
    (rejected,) = Path("data/shop/runs").glob("*/rejected.jsonl")
    assert [json.loads(line) for line in rejected.read_text("utf-8").splitlines()] == [
        {
            "url": shop.url("/a"),
            "field": "price",
            "reason": "field price is nan: JSON has no such number, write None",
        }
    ]
    assert len(next(rejected.parent.glob("records.jsonl")).read_text("utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    "words", [("runs",), ("show",), ("audit",), ("accept",), ("changes",), ("export", "-o", "-")]
)
def test_a_spider_that_does_not_exist_is_said_to_be_none(
    words: tuple[str, ...], call: Call, shop: Site
) -> None:
    write("shop", shop.url())
    call("run", "shop", "--set", "delay=0")
    said = call(words[0], "shpo", *words[1:])
    assert said.code == 2 and "no spider is named 'shpo'" in said.err and "did you mean shop?" in said.err


def test_a_spider_that_has_not_run_is_told_from_one_that_is_none(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    write("tea", shop.url())
    call("run", "shop", "--set", "delay=0")
    assert call("runs", "tea").out == "no runs of tea yet\n"
    assert "there are no runs of tea yet" in call("show", "tea").err


# audit, fetch, explain --------------------------------------------------------------------------------------
def test_an_audit_proves_the_gaps(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    call("run", "shop", "--set", "delay=0.05")
    said = call("audit", "shop")
    assert said.code == 0 and "no gap was shorter than its delay" in said.out and "status 200" in said.out
    row = json.loads(call("audit", "shop", "--json").out)
    assert row["breaches"] == 0 and row["min_gap_s"] >= 0


def test_one_request_passes_every_check_of_a_run(call: Call, shop: Site) -> None:
    said = call("fetch", shop.url(), "--set", "delay=0")
    assert said.code == 0 and said.out.startswith("200 ") and "<title>front</title>" in said.out
    assert shop.paths(robots=True) == ["/robots.txt", "/"]
    said = call("fetch", shop.url("/private/x"), "--set", "delay=0")
    assert said.code == 1 and said.out == "" and "robots.txt line 2: Disallow: /private" in said.err
    assert shop.paths() == ["/"]
    assert call("runs").out == "no runs yet\n"


def test_the_body_alone_is_byte_by_byte(call: Call, shop: Site) -> None:
    shop["/raw"] = b"\xff\x00no text\r\n", 200, {"Content-Type": "application/octet-stream"}
    command = ["fetch", shop.url("/raw"), "--body", "--set", "delay=0"]
    assert call(*command).out.encode("utf-8", "surrogateescape").endswith(b"no text\r\n")


def test_redirects_are_followed_hop_by_hop_through_the_rules_of_each(call: Call, shop: Site) -> None:
    shop["/old"] = "", 301, {"Location": "/a"}
    shop["/trap"] = "", 302, {"Location": "/private/a"}
    said = call("fetch", shop.url("/old"), "--set", "delay=0")
    assert said.code == 0 and "leads to" in said.err and "<title>a</title>" in said.out
    said = call("fetch", shop.url("/trap"), "--set", "delay=0")
    assert said.code == 1 and "Disallow: /private" in said.err
    assert "/private/a" not in shop.paths()


def test_the_delay_holds_between_two_commands(call: Call, shop: Site) -> None:
    for _ in range(2):
        assert call("fetch", shop.url(), "--set", "delay=0.3").code == 0
    assert len(shop.gaps()) == 2 and min(shop.gaps()) >= 0.3


def test_a_rest_that_a_site_asked_for_is_kept_by_the_next_command(call: Call, shop: Site) -> None:
    shop["/busy"] = "", 503, {"Retry-After": "900"}
    assert call("fetch", shop.url("/busy"), "--set", "delay=0").code == 1
    said = call("fetch", shop.url(), "--set", "delay=0")
    assert said.code == 75 and "Retry-After 900 s" in said.err and shop.paths() == ["/busy"]


@pytest.mark.parametrize("url", ["example.org", "javascript:alert(1)", "https://", "file:///etc/passwd"])
def test_a_wrong_url_is_not_asked_for(call: Call, url: str) -> None:
    assert call("fetch", url).code == 2 and call("explain", url).code == 2
    assert not Path("data").exists()


def test_a_request_by_hand_keeps_the_pace_of_its_domains_group(
    call: Call, new_site: Callable[..., Site]
) -> None:
    sites = [new_site({"/": "hello"}, host=f"127.0.0.{n}") for n in (21, 22)]
    given = ("--set", "delay=0.3", "--set", 'politeness_group={"127.0.0.21": "box", "127.0.0.22": "box"}')
    for site in sites:
        assert call("fetch", site.url(), "--body", *given).out == "hello"
    times = sorted(arrival.at for site in sites for arrival in site.arrivals)
    assert len(times) == 4 and min(later - before for before, later in pairwise(times)) >= 0.3 - 0.001


def test_explain_names_the_rule_and_its_line_without_a_request(call: Call, shop: Site) -> None:
    write("shop", shop.url())
    before = call("explain", shop.url("/private/"), "--spider", "shop")
    assert before.code == 0 and "not known yet" in before.out and shop.arrivals == []
    call("run", "shop")
    arrived = len(shop.arrivals)
    said = call("explain", shop.url("/private/"), "--spider", "shop").out
    assert "would not be fetched: robots: robots.txt line 2: Disallow: /private" in said
    assert "would be fetched" in call("explain", shop.url("/a"), "--spider", "shop").out
    assert "done in run" in call("explain", shop.url("/a"), "--spider", "shop").out
    other = call("explain", shop.url("/a"), "--spider", "shop", "--param", "category=b").out
    assert "with other params" in other
    group = ("--set", 'politeness_group={"127.0.0.1": "box"}')
    assert "shares its pace with the domains of box" in call("explain", shop.url("/a"), *group).out
    outside = call("explain", "http://elsewhere.example/", "--spider", "shop").out
    assert "outside allowed_domains" in outside
    assert len(shop.arrivals) == arrived


def test_explain_can_ask_for_robots_alone(call: Call, shop: Site) -> None:
    said = call("explain", shop.url("/private/"), "--fetch-robots", "--set", "delay=0")
    assert "line 2" in said.out and shop.paths(robots=True) == ["/robots.txt"]


# cookies, cron, doctor --------------------------------------------------------------------------------------
def test_cookies_come_from_a_browser_and_go_again(call: Call) -> None:
    write("shop")
    Path("cookies.txt").write_text(".example.org\tTRUE\t/\tTRUE\t4102444800\tsid\tsecret\n", "utf-8")
    assert "1 cookie of example.org imported" in call("cookies", "shop", "--import", "cookies.txt").out
    shown = call("cookies", "shop").out
    assert "sid" in shown and "secret" not in shown
    assert "secret" in call("cookies", "shop", "--values").out
    assert "example.org" in call("cookies", "shop", "--forget").out
    assert "no cookies" in call("cookies", "shop").out


def test_the_crontab_line_is_printed_and_a_bad_schedule_refused(call: Call, tmp_path: Path) -> None:
    write("shop")
    said = call("cron", "shop", "0 3 * * *")
    assert said.code == 0 and said.out.startswith("0 3 * * * cd ") and "--quiet" in said.out
    assert str(tmp_path) in said.out and said.out.count("\n") == 1
    assert call("cron", "shop", "0 3 * *").code == 2
    assert call("cron", "nobody", "0 3 * * *").code == 2
    assert "OnCalendar" in call("cron", "shop", "@daily", "--systemd").out


def test_the_options_of_a_run_go_into_the_line(call: Call, tmp_path: Path) -> None:
    write("shop")
    options = [
        "--param",
        "day=100% new",
        "--set",
        "delay=2",
        "--workers",
        "2",
        "--max-time",
        "50m",
        "-o",
        "shop.csv",
    ]
    said = call("cron", "shop", "@weekly", *options, "--data", "elsewhere")
    assert said.code == 0, said
    run = said.out.partition(" --quiet ")[2].partition(" 2>&1")[0]
    assert run == (
        f"--data {tmp_path / 'elsewhere'} -o shop.csv --set delay=2 --param day=100\\%' new'"
        " --max-time 50m --workers 2"
    )
    assert said.out.startswith("0 0 * * 0 ")


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--set", "dely=2"], "did you mean delay?"),
        (["--max-time", "soon"], "max_time"),
        (["-o", "shop.xls"], "no format is known"),
        (["-o", "-"], "mail every record"),
        (["--param", "page"], "expected NAME=VALUE"),
    ],
)
def test_what_is_wrong_with_the_options_is_said_now_and_not_at_night(
    call: Call, options: list[str], complaint: str
) -> None:
    write("shop")
    said = call("cron", "shop", "0 3 * * *", *options)
    assert said.code == 2 and complaint in said.err


def test_a_line_is_removed_by_the_spiders_name_its_file_or_what_is_left_of_it(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("shop")
    shop = Path("spiders/shop.py")
    shop.write_text(
        shop.read_text("utf-8").replace("    start_urls", '    name = "store"\n    start_urls'), "utf-8"
    )
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "crontab"
    program.write_text(
        f'#!/bin/sh\ncd {tmp_path}\ncase "$1" in -l) cat tab;; -r) rm tab;; -) cat >tab;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name in ("spiders/shop.py", "store"):
        assert call("cron", "spiders/shop.py", "0 3 * * *", "--install").code == 0
        assert "# scraper: store in" in Path("tab").read_text("utf-8")
        assert call("cron", name, "--remove").code == 0 and not Path("tab").exists()
    call("cron", "spiders/shop.py", "0 3 * * *", "--install")
    said = call("cron", "nobody", "--remove")
    assert said.code == 2 and "no line for nobody" in said.err and "there are store" in said.err
    shop.unlink()
    assert call("cron", "store", "--remove").code == 0 and not Path("tab").exists()


def test_the_doctor_finds_nothing_bad_here_and_a_broken_setting_elsewhere(call: Call) -> None:
    assert call("doctor").code == 0
    Path("scraper.toml").write_text("dely = 1\n", "utf-8")
    said = call("doctor")
    assert said.code == 1 and "BAD" in said.out and "did you mean delay?" in said.out


# words ------------------------------------------------------------------------------------------------------
def summary_of(verdict: str, code: int, **given: Any) -> dict[str, Any]:
    names = "pages unchanged records added changed removed failed denied pending retries bytes domains"
    return {
        **dict.fromkeys([*names.split(), "connections"], 0),
        "run_id": "r1",
        "spider": "shop",
        "verdict": verdict,
        "exit_code": code,
        "reasons": [],
        "seconds": 1.0,
        "min_gap_s": None,
        "by_domain": {},
    } | given


@pytest.mark.parametrize(
    ("verdict", "code", "advice"),
    [
        ("DEGRADED", 1, "accept r1"),
        ("BROKEN", 1, "show r1"),
        ("EMPTY", 1, "show r1"),
        ("BLOCKED", 1, "audit r1"),
        ("AUTH", 77, "login()"),
        ("INCOMPLETE", 75, "run shop"),
        ("INCOMPLETE", 143, "run shop"),
    ],
)
def test_quiet_says_what_to_do_in_ten_lines_at_most(
    monkeypatch: pytest.MonkeyPatch, verdict: str, code: int, advice: str
) -> None:
    monkeypatch.setattr("scraper.cli.options.caller", Caller)
    reasons = [f"reason {n}" for n in range(30)]
    lines = run_summary.quiet(summary_of(verdict, code, reasons=reasons, records=5), DataLocation())
    assert 1 < len(lines) <= 10 and verdict in lines[0] and "reason 0" in lines[1]
    assert any(advice in line for line in lines) and any("log.jsonl" in line for line in lines)


def test_words_of_the_ending_stay_whole_in_a_terminal_of_eighty_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scraper.cli.options.caller", Caller)
    url = f"http://shop.test/{'list' * 30}"
    reason = f"45 records, 150 in the five runs before: 3 pages bring nothing any more, e.g. {url}"
    summary = summary_of(
        "DEGRADED", 1, reasons=[reason], records=5, errors={"KeyError in shop.py, line 3": 4}
    )
    summary["examples"] = {
        "KeyError in shop.py, line 3": f"{url}: KeyError: 'price' (shop.py, line 3: return x)"
    }
    whole = list(run_summary.full(summary, DataLocation(Path("d" * 90)), {}))
    lines = list(run_summary.full(summary, DataLocation(Path("d" * 90)), {}, width=80))
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(whole).split()) and len(lines) > len(whole)
    assert "            (there are no accepted records yet)" in lines
    wide = [line for line in lines if len(line) > 80]
    assert all(line.strip().startswith(url) or "d" * 90 in line for line in wide)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.0005, "0.5 ms"),
        (8.24, "8.2 s"),
        (24.96, "25 s"),
        (59.96, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (400_000, "4 days 15 h"),
    ],
)
def test_durations_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert text.duration(seconds) == told


def test_tables_keep_to_eighty_columns_and_one_line_a_row() -> None:
    lines = text.table(("A", "B"), [("x", "long " * 40), ("y", "two\nlines\x1b[2J")])
    assert len(lines) == 3 and max(map(len, lines)) <= 80 and "\x1b" not in "".join(lines)
