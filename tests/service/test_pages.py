"""The dashboard as it is served: pages that can be read without a script, for whoever may."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import requests
from lxml import html

from scraper.ops.schedule import next_time, parse_schedule
from scraper.service.glance import Glances
from scraper.service.pages import sparkline
from scraper.service.view import Views, Wanted, offsets_of
from scraper.store.memory import MemoryStore
from scraper.testing import FakeClock
from tests.project import Project
from tests.service.serving import SLOW, Served, new_project, serving
from tests.service.test_runs import run_to_end
from tests.site import Site, page

EVIL = "<script>alert(1)</script>\u202e\"'"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site({"/": page("/a", title=EVIL), "/a": page(title="B & C")}, host="127.0.0.4") as site:
        yield site


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("pages"))
    project.spider("shop", SLOW.format(name="Shop", url=site.url("/"), delay=0))
    project.spider("broken", f"from scraper import Spider\n{EVIL!r} +")
    with serving(project) as found:
        run_to_end(found, "shop")
        yield found


def shown(served: Served, path: str, status: int = 200) -> html.HtmlElement:
    """A page, held against what all of them keep."""
    answer = served.get(path)
    assert answer.status_code == status and answer.headers["Content-Type"].startswith("text/html")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    tree = html.fromstring(answer.text)
    assert not tree.xpath("//script[not(@src)] | //@style | //@onclick | //style")
    used = [
        *tree.xpath("//script/@src"),
        *tree.xpath("//link/@href"),
        *tree.xpath("//img/@src"),
        *tree.xpath("//a/@href"),
    ]
    assert all(one.startswith(("/", "?", "#", "data:")) for one in used), used
    assert tree.get("lang") == "en" and tree.xpath("//main//h1") and tree.xpath("//title/text()")
    return tree


def test_the_first_page_has_every_spider_with_its_verdict(served: Served) -> None:
    tree = shown(served, "/")
    rows = {row.xpath("th/a/text()")[0]: row for row in tree.xpath("//tbody/tr")}
    assert rows["shop"].xpath("string(.//span[contains(@class, 'badge')])") == "OK"
    assert rows["shop"].xpath("string(td[@data-label='Records'])") == "2"
    assert rows["shop"].xpath(".//button/@data-start") == ["shop"] and not rows["broken"].xpath(".//button")
    assert "line 2" in rows["broken"].text_content()


def test_what_a_site_writes_is_text_on_every_page(served: Served) -> None:
    for path in ("/ui/runs/shop/records", "/ui/runs/shop/changes"):
        tree = shown(served, path)
        assert "<script>alert(1)</script>" in tree.text_content()
        assert "\u202e" not in tree.text_content()


def test_records_are_sorted_filtered_and_paged_without_a_script(served: Served) -> None:
    def titles(query: str) -> list[str]:
        return [
            str(cell)
            for cell in shown(served, f"/ui/runs/shop/records{query}").xpath("//tbody/tr/td[1]/text()")
        ]

    assert titles("?sort=title&order=desc")[0].startswith("B & C")
    assert titles("?sort=title")[0].startswith("<script>")
    assert (
        titles("?filter=b+%26") == ["B & C"]
        and titles("?filter=none") == []
        and titles("?from=1") != titles("")
    )
    tree = shown(served, "/ui/runs/shop/records?sort=title")
    assert tree.xpath("//th[@aria-sort='ascending']//@href") == ["?sort=title&order=desc&from=0"]


def test_a_run_has_its_figures_and_the_proof_of_politeness(served: Served) -> None:
    tree = shown(served, "/ui/runs/shop")
    assert "Proof of politeness" in tree.text_content() and "127.0.0.4" in tree.text_content()
    run_id = tree.xpath("//a[text()='Report']/@href")[0].split("/")[2]
    assert served.get(f"/runs/{run_id}/report").status_code == 200
    assert shown(served, "/ui/spiders/shop").xpath(f"//a[text()='{run_id}']")


def test_pages_that_brought_nothing_new_count_with_their_records(served: Served, site: Site) -> None:
    served.project.spider("again", SLOW.format(name="Again", url=site.url("/"), delay=0))
    for _ in range(2):
        run_to_end(served, "again")
    told = served.get("/runs/again").json()
    figures = shown(served, "/ui/runs/again").xpath("//dd[@data-is='pages' or @data-is='records']/text()")
    assert told["unchanged"] and figures == [str(told["pages"] + told["unchanged"]), str(told["records"])]


def test_problems_are_pages_for_browsers(served: Served) -> None:
    assert "there is no run" in shown(served, "/ui/runs/none", 404).text_content()
    assert "there is no spider" in shown(served, "/ui/spiders/none", 404).text_content()
    assert shown(served, "/ui/runs/shop/records?from=x", 400).xpath("//h1/text()") == ["400"]
    assert served.get("/ui/static/..%2Fpages.py").status_code == 404


def test_a_browser_signs_in_with_a_token_in_a_cookie_that_no_script_reads(project: Project) -> None:
    project.spider("shop", SLOW.format(name="Shop", url="http://127.0.0.9:1/", delay=0))
    token = project.run("token", "add", "phone", "--scope", "read").out.strip()
    with serving(project, "--require-token") as served:
        own = {"Origin": served.url}
        assert shown(served, "/", 401).xpath("//form/@action") == ["/ui/sign-in"]
        assert served.ask("POST", "/ui/sign-in", data={"token": token}).status_code == 403
        wrong = served.ask("POST", "/ui/sign-in", data={"token": "x"}, headers=own)
        assert wrong.status_code == 401 and "not valid" in wrong.text and "Sign out" not in wrong.text
        nowhere = served.get("/docs", headers={"Accept": "text/html,*/*;q=0.8"})
        assert nowhere.status_code == 401 and "/ui/sign-in" in nowhere.text
        signed = served.ask("POST", "/ui/sign-in", data={"token": token}, headers=own)
        cookie = signed.headers["Set-Cookie"]
        assert signed.status_code == 303 and "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert "Secure" not in cookie
        for name, value in (("X-Forwarded-Proto", "https"), ("Forwarded", 'for=x;proto="https"')):
            asked, told = f"{served.url}/ui/sign-in", own | {name: value}
            by_tls = requests.post(asked, {"token": token}, headers=told, timeout=10, allow_redirects=False)
            assert "Secure" in by_tls.headers["Set-Cookie"]
        tree = shown(served, "/")
        assert tree.xpath("//tbody/tr") and not tree.xpath("//button[@data-start]"), "it may only read"
        assert served.ask("POST", "/runs", json={"spider": "shop"}).status_code == 403
        assert served.ask("POST", "/ui/sign-out", headers=own).status_code == 303
        served.session.cookies.clear()
        assert shown(served, "/", 401).xpath("//form")


def test_the_order_of_a_table_has_a_place_for_values_of_every_kind(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    lines = ['{"a":"b"}', '{"a":2}', '{"a":null}', '{"a":[1]}', '{"a":"A"}', "{}", '{"a":10}', "torn"]
    file.write_text("\n".join(lines))
    orders = {"file": str(file), "sort": "a", "is_descending": False, "text": ""}
    found = [file.read_bytes()[place:].split(b"\n")[0].decode() for place in offsets_of(orders)]
    assert found == ['{"a":2}', '{"a":10}', '{"a":"A"}', '{"a":"b"}', '{"a":[1]}', '{"a":null}', "{}"]
    views = Views()
    rows, total = views.rows(file, Wanted("a", True), 5, 10)
    assert (rows, total) == ([{"a": 10}, {"a": 2}], 7)
    assert views.rows(file, Wanted(text="B"), 0, 10)[0] == [{"a": "b"}]
    views.close()


def test_a_glance_reads_only_what_is_new() -> None:
    store = MemoryStore(FakeClock())
    store.join("w")
    glances = Glances()
    assert glances.of(store, ["a", "b"]) == {"a": [], "b": []}
    first = store.start_run("a", "code")
    assert [one.verdict for one in glances.of(store, ["a", "b"])["a"]] == ["running"]
    store.end_run(first, {"verdict": "OK", "records": 7}, accepted=True, whole=True)
    assert [(one.verdict, one.records) for one in glances.of(store, ["a"])["a"]] == [("OK", 7)]
    for n in range(30):
        run = store.start_run("b", "code")
        store.end_run(run, {"verdict": "OK", "records": n}, accepted=True, whole=True)
    found = glances.of(store, ["a", "b"])
    assert [one.records for one in found["b"]] == list(range(10, 30)) and len(found["a"]) == 1
    assert sparkline([1, 2]) == "2.0,14.0 118.0,3.0" and sparkline([1]) == ""
    assert sparkline([7, 7]) == "2.0,14.0 118.0,14.0"


def test_the_next_time_is_the_one_that_cron_has() -> None:
    def after(schedule: str, moment: str) -> str:
        found = next_time(parse_schedule(schedule), datetime.fromisoformat(moment))
        return f"{found:%Y-%m-%d %H:%M}" if found else ""

    assert after("0 3 * * *", "2026-11-29 03:00") == "2026-11-30 03:00"
    assert after("*/15 * * * *", "2026-11-29 03:14:59") == "2026-11-29 03:15"
    assert after("0 0 29 2 *", "2026-03-01 00:00") == "2028-02-29 00:00"
    assert after("0 0 1 * 1", "2026-11-29 12:00") == "2026-11-30 00:00"
    assert after("@reboot", "2026-01-01 00:00") == ""
