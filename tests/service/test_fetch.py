"""`GET /fetch`: the page of a URL with one call, as politely as a run."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import requests
from bs4 import BeautifulSoup

from scraper import settings as settings_of
from scraper.app.one_url.step import Step
from scraper.model import Headers
from scraper.model import Response as SiteResponse
from scraper.service import fetch as fetch_module
from scraper.service.copies import Copies
from scraper.service.copy_files import CopyFiles
from scraper.service.fetch import FetchApi
from scraper.service.fetching import MOST_QUEUED
from scraper.service.markdown import markdown_of
from scraper.service.problems import Problem
from scraper.service.rendering import Renderings
from tests.project import Project
from tests.service.serving import SLOW, Served, new_project, serving
from tests.site import Reply, Site, page, redirect

ROBOTS = "User-agent: *\nDisallow: /private\nCrawl-delay: 1\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("fetch"))
    (project.root / "scraper.toml").write_text('delay = 0.05\nreach = ["127.0.0.0/8"]\nmax_attempts = 1\n')
    with serving(project) as found:
        yield found
        assert not any("Traceback" in line for line in found.lines), "".join(found.lines)


_hosts = iter(range(20, 250))


@pytest.fixture
def shop(new_site: Callable[..., Site]) -> Site:
    """A site on a host that no other test asks."""
    return new_site({"/": page("/a", title="Käse")}, host=f"127.0.0.{next(_hosts)}")


def fetch(served: Served, url: str, **params: object) -> requests.Response:
    return served.get("/fetch", params={"url": url, **params})  # type: ignore[arg-type]


def test_the_site_s_status_and_body_come_with_what_it_cost(served: Served, shop: Site) -> None:
    shop["/gone"] = Reply(410, "away", {"Content-Type": "text/plain", "Set-Cookie": "a=b"})
    first = fetch(served, shop.url("/"))
    assert (first.status_code, "<h1>Käse</h1>" in first.text) == (200, True)
    assert first.headers["Scraper-Cache"] == "miss" and first.headers["Scraper-Final-Url"] == shop.url("/")
    assert "no robots.txt" in first.headers["Scraper-Robots"]
    gone = fetch(served, shop.url("/gone"))
    assert (gone.status_code, gone.text) == (410, "away") and "Set-Cookie" not in gone.headers
    assert "delay" in gone.headers["Scraper-Rule"]
    assert "sandbox" in gone.headers["Content-Security-Policy"]
    assert min(shop.gaps()) > 0.049


def test_a_page_comes_as_text_markdown_or_json(served: Served, shop: Site) -> None:
    url = shop.url("/")
    assert "Käse" in fetch(served, url, format="text", max_age=60).text.splitlines()
    markdown = fetch(served, url, format="markdown", max_age=60)
    assert "# Käse" in markdown.text and "[/a](/a)" in markdown.text
    told = fetch(served, url, format="json", max_age=60).json()
    assert (told["status"], told["encoding"], told["url"]) == (200, "utf-8", url) and "Käse" in told["text"]
    assert shop.paths() == ["/"]


@pytest.mark.parametrize(
    ("html", "markdown"),
    [
        (
            "<a href='javascript:x()'>a</a> <a href=' java&#10;SCRIPT:x()'>b</a> <a href=vbscript:x>c</a>",
            "a b c",
        ),
        (
            "<a href='/a b)'>there</a> <a href='mailto:a@b.example'>us</a>",
            "[there](/a%20b%29) [us](mailto:a@b.example)",
        ),
        (
            "<img src='data:image/png;base64,aa' alt=photo> <img src=/a.png alt='x](b)'>",
            r"photo ![x]\(b)](/a.png)",
        ),
        (
            "[a](javascript:x) &lt;script&gt; [b]: javascript:x",
            r"[a]\(javascript:x) \<script> [b]\: javascript:x",
        ),
        ("<pre>a[1](b)\n```\n[x](javascript:x)</pre>", "```\na[1](b)\n'''\n[x](javascript:x)\n```"),
    ],
)
def test_no_link_of_markdown_runs_anything_and_text_stays_text(html: str, markdown: str) -> None:
    assert markdown_of(BeautifulSoup(html, "lxml")).strip() == markdown


@pytest.mark.parametrize(
    "body", [b"<b><i>" * 20_000 + b"x", b"<ul><li>" * 900 + b"x", b"<p a\x01b=c>x\x1b[31m</p>", b"x\x9b\r\n"]
)
def test_hostile_pages_come_in_every_format_or_are_problems(served: Served, shop: Site, body: bytes) -> None:
    shop["/"] = Reply(200, body, {"Content-Type": "text/html; charset=latin-1"})
    for wanted in ("text", "markdown", "json"):
        got = fetch(served, shop.url("/"), format=wanted, max_age=60)
        assert got.status_code in (200, 502) and "\x1b" not in got.text and "\x9b" not in got.text[:50]


def test_what_takes_too_long_to_make_is_given_up_and_the_next_page_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def endless(got: Any) -> Any:
        while True:
            pass

    def at_once(got: Any) -> Any:
        return "made"

    monkeypatch.setattr(fetch_module, "FORMATTED", {"markdown": endless, "text": at_once})
    nobody: Any = None

    async def ask() -> Any:
        api = FetchApi(nobody, nobody, nobody, nobody, time.time, parse_timeout=0.05)
        for _ in range(2 * fetch_module.PARSED_AT_ONCE):
            with pytest.raises(Problem, match="markdown of the page takes longer"):
                await api.formatted(nobody, "markdown")
        return await api.formatted(nobody, "text")

    assert asyncio.run(ask()) == "made"


def test_no_caller_can_stop_the_service_as_a_run_of_its_own(served: Served, shop: Site) -> None:
    fetch(served, shop.url("/"))
    assert served.delete("/runs/(service)").status_code == 409
    assert served.post("/runs/(service)/accept").status_code == 409


def test_a_status_that_is_none_is_502(served: Served, shop: Site) -> None:
    shop["/odd"] = Reply(999, "away")
    odd = fetch(served, shop.url("/odd"))
    assert (odd.status_code, odd.json()["site_status"]) == (502, 999)


def test_small_pages_do_not_fill_the_memory() -> None:
    copies = Copies(40_000)
    for n in range(100):
        step = Step(f"http://a.example/{n}", SiteResponse(f"http://a.example/{n}", 200, Headers(), b""))
        copies.keep((step.url, "false"), step, 0.0)
    kept = [n for n in range(100) if copies.find((f"http://a.example/{n}", "false"), 60, 1.0)]
    assert 1 <= len(kept) < 10 and kept[-1] == 99


def test_a_site_whose_name_is_none_is_502(served: Served) -> None:
    unknown = fetch(served, "http://no-such-name.invalid/")
    assert unknown.status_code == 502 and "resolve" in unknown.json()["detail"]


def test_a_copy_that_is_young_enough_is_not_asked_for_again(served: Served, shop: Site) -> None:
    shop["/secret"] = Reply(200, "mine", {"Cache-Control": "no-store"})
    url = shop.url("/")
    assert fetch(served, url, max_age=60).headers["Scraper-Cache"] == "miss"
    again = fetch(served, url, max_age=60)
    assert again.headers["Scraper-Cache"] == "hit; age=0" and again.headers["Scraper-Waited"] == "0.000"
    assert fetch(served, url).headers["Scraper-Cache"] == "miss"
    for _ in range(2):
        assert fetch(served, shop.url("/secret"), max_age=60).headers["Scraper-Cache"] == "miss"
    assert shop.paths() == ["/", "/", "/secret", "/secret"]


@pytest.mark.thorough
def test_copies_outlive_the_service_in_private_files_that_are_bounded(
    project: Project, shop: Site, tmp_path: Path
) -> None:
    (project.root / "scraper.toml").write_text('delay = 0\nreach = ["127.0.0.0/8"]\n')
    url = shop.url("/")
    with serving(project) as served:
        assert fetch(served, url, max_age=60).headers["Scraper-Cache"] == "miss"
        served.process.kill()
    with serving(project) as again:
        kept = fetch(again, url, max_age=60)
        assert kept.headers["Scraper-Cache"].startswith("hit") and "<h1>Käse</h1>" in kept.text
        assert "no robots.txt" in kept.headers["Scraper-Robots"]
    assert shop.paths() == ["/"]
    folder = project.data("(service)", "copies")
    modes = [one.stat().st_mode & 0o777 for one in (folder, *folder.iterdir())]
    assert modes == [0o700, 0o600]
    files = CopyFiles(tmp_path / "few", most=20_000)
    for n in range(30):
        step = Step(
            f"http://a.example/{n}", SiteResponse(f"http://a.example/{n}", 200, Headers(), b"x" * 1000)
        )
        files.write((step.url, "false"), step, 1.0)
    assert files.read(("http://a.example/29", "false")) == (step, 1.0)
    assert sum(one.stat().st_size for one in (tmp_path / "few").iterdir()) <= 20_000
    for one in (tmp_path / "few").iterdir():
        one.write_bytes(one.read_bytes()[:-1])
    assert files.read(("http://a.example/29", "false")) is None, "half of a page is none"


def test_a_url_that_robots_txt_denies_is_403_with_the_line(served: Served, shop: Site) -> None:
    shop["/robots.txt"] = ROBOTS
    denied = fetch(served, shop.url("/private/x"))
    assert denied.status_code == 403 and denied.headers["Content-Type"] == "application/problem+json"
    assert "robots.txt line 2: Disallow: /private" in denied.json()["detail"]
    assert shop.paths() == []


def test_a_wait_that_is_too_long_is_503_with_its_rule_and_when_to_come_again(
    served: Served, shop: Site
) -> None:
    shop["/robots.txt"] = ROBOTS.replace("1", "90")
    early = fetch(served, shop.url("/"), timeout=60)
    assert early.status_code == 503 and 60 < int(early.headers["Retry-After"]) <= 91, "it is known at once"
    assert early.json()["rule"].startswith("robots Crawl-delay 90") and early.json()["hint"]


def test_what_a_site_asks_for_with_retry_after_is_obeyed(served: Served, shop: Site) -> None:
    shop["/busy"] = Reply(503, "later", {"Retry-After": "30"})
    assert fetch(served, shop.url("/busy")).status_code == 503
    resting = fetch(served, shop.url("/"), timeout=3)
    assert resting.status_code == 503 and "Retry-After" in resting.json()["detail"]
    assert 25 <= int(resting.headers["Retry-After"]) <= 32 and shop.paths() == ["/busy"]


def test_a_block_is_502_with_what_was_recognised(served: Served, shop: Site) -> None:
    shop["/"] = Reply(403, "<title>Just a moment...</title>", {"cf-mitigated": "challenge"})
    blocked = fetch(served, shop.url("/"))
    told = blocked.json()
    assert (blocked.status_code, told["site_status"]) == (502, 403) and "Cloudflare" in told["blocked"]


def test_redirects_are_followed_hop_by_hop_on_each_domain_s_clock(
    served: Served, shop: Site, new_site: Callable[..., Site]
) -> None:
    other = new_site({"/robots.txt": ROBOTS, "/": "there"}, host=f"127.0.0.{next(_hosts)}")
    shop["/go"] = redirect(other.url("/"))
    shop["/no"] = redirect(other.url("/private"))
    shop["/round"] = redirect("/round")
    assert fetch(served, shop.url("/go")).headers["Scraper-Final-Url"] == other.url("/")
    assert fetch(served, shop.url("/no")).status_code == 403
    assert fetch(served, shop.url("/round"), timeout=60).status_code == 502
    assert min(shop.gaps()) > 0.049 and other.paths() == ["/"]


def test_callers_of_one_domain_stand_in_one_fair_queue_that_is_bounded(served: Served, shop: Site) -> None:
    release, arrived = threading.Event(), threading.Event()

    def hold(arrival: object) -> Reply:
        arrived.set()
        release.wait(30)
        return Reply(200, "page")

    def call(path: str) -> requests.Response:
        url = f"{served.url}/fetch"
        return requests.get(url, params={"url": shop.url(path), "timeout": 60}, timeout=60)

    shop["/first"], shop["*"] = hold, Reply(200, "page")
    with ThreadPoolExecutor(MOST_QUEUED + 13) as pool:
        calls = [pool.submit(call, "/first")]
        assert arrived.wait(20)
        calls += [pool.submit(call, f"/{n}") for n in range(MOST_QUEUED + 12)]
        full = [one.result() for one in islice(as_completed(calls), 12)]
        assert {one.status_code for one in full} == {429} and all(one.headers["Retry-After"] for one in full)
        release.set()
    done = [one.result() for one in calls]
    assert [one.status_code for one in done].count(200) == MOST_QUEUED + 1
    assert max(float(one.headers["Scraper-Waited"]) for one in done if one.status_code == 200) > 2
    assert min(shop.gaps()) > 0.049


def test_a_caller_who_leaves_costs_no_request(served: Served, shop: Site) -> None:
    release, arrived = threading.Event(), threading.Event()

    def hold(arrival: object) -> Reply:
        arrived.set()
        release.wait(30)
        return Reply(200, "page")

    shop["/first"] = hold
    host, port = served.url.removeprefix("http://").split(":")

    def leave(path: str) -> None:
        with socket.create_connection((host, int(port))) as caller:
            caller.sendall(f"GET /fetch?url={shop.url(path)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            caller.settimeout(0.3)
            with suppress(TimeoutError):
                caller.recv(1)

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(fetch, served, shop.url("/first"))
        assert arrived.wait(20)
        list(pool.map(leave, ["/a", "/b", "/c"]))
        release.set()
        assert first.result().status_code == 200
    assert fetch(served, shop.url("/")).status_code == 200
    assert shop.paths() == ["/first", "/"]


def test_without_a_browser_rendering_is_501_before_anything_is_asked_for() -> None:
    settings = settings_of.load({"browser": "no-such-browser"}, (), Path(os.devnull), {})
    fetches: Any = None
    with pytest.raises(Problem) as refused, Renderings(fetches, settings).caller():
        pass
    assert refused.value.status == 501 and refused.value.hint


def test_a_slow_domain_holds_no_other_up(served: Served, shop: Site, new_site: Callable[..., Site]) -> None:
    release = threading.Event()

    def hold(arrival: object) -> Reply:
        release.wait(20)
        return Reply(200, "late")

    shop["/slow"] = hold
    quick = new_site({"/": "quick"}, host=f"127.0.0.{next(_hosts)}")
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(fetch, served, shop.url("/slow"))
        assert fetch(served, quick.url("/")).text == "quick" and not slow.done()
        release.set()
        assert slow.result().text == "late"


def test_a_run_and_a_fetch_share_the_clock_of_a_domain(served: Served, shop: Site) -> None:
    for n in range(6):
        shop[f"/{n}"] = page(title=f"{n}")
    shop["/"] = page(*[f"/{n}" for n in range(6)])
    served.project.spider("shop", SLOW.format(name="Shop", url=shop.url("/"), delay=0.3))
    begun = served.post("/runs", {"spider": "shop"})
    assert begun.status_code == 201, begun.text
    assert fetch(served, shop.url("/5"), timeout=30).status_code == 200
    with served.get(f"/runs/{begun.json()['run_id']}/events", stream=True) as events:
        assert '"verdict": "OK"' in events.text.splitlines()[-2]
    assert min(shop.gaps()) > 0.049 and len(shop.paths()) == 8


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("http://127.0.0.1:1/", "loopback"),
        ("http://localhost:1/", "loopback"),
        ("http://[::1]:1/", "loopback"),
        ("http://10.0.0.1/", "private"),
        ("http://192.168.1.1/", "private"),
        ("http://[fd00::1]/", "private"),
        ("http://169.254.1.1/", "link-local"),
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        ("http://100.64.0.1/", "carrier-grade"),
        ("http://224.0.0.1/", "multicast"),
        ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://[64:ff9b::7f00:1]/", "loopback"),
        ("http://0.0.0.0/", "wildcard"),
        ("http://2130706433/", "loopback"),
        ("http://0x7f.1/", "loopback"),
    ],
)
def test_no_address_of_this_machine_or_its_networks_is_reached(bare: Served, url: str, kind: str) -> None:
    refused = fetch(bare, url, timeout=5)
    assert refused.status_code == 403, refused.text
    assert kind in refused.json()["detail"] and refused.json()["reach"] is True


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(new_project(tmp_path_factory.mktemp("bare"))) as found:
        yield found


@pytest.mark.parametrize(
    "url",
    [
        "",
        "x",
        "ftp://a.example/",
        "file:///etc/passwd",
        "http://",
        "http://a b/",
        "javascript:1",
        "//a.example",
    ],
)
def test_what_is_no_web_address_is_400(bare: Served, url: str) -> None:
    assert fetch(bare, url).status_code in (400, 403, 502)


def test_a_token_fetches_its_own_domains_up_to_its_quota(
    project: Project, shop: Site, new_site: Callable[..., Site]
) -> None:
    (project.root / "scraper.toml").write_text('delay = 0\nreach = ["127.0.0.0/8"]\n')
    other = new_site({"/": "other"}, host=f"127.0.0.{next(_hosts)}")
    shop["/away"] = redirect(other.url("/"))
    made = project.run("token", "add", "desk", "--scope", "fetch", "--domain", shop.host, "--quota", "3")
    headers = {"Authorization": f"Bearer {made.out.strip()}"}
    with serving(project, "--require-token") as served:
        served.session.headers.update(headers)
        assert fetch(served, shop.url("/")).status_code == 200
        refused = fetch(served, other.url("/"))
        assert refused.status_code == 403 and refused.json()["domain"] == other.host
        assert fetch(served, shop.url("/away")).status_code == 403 and other.arrivals == []
        assert fetch(served, shop.url("/")).status_code == 200
        over = fetch(served, shop.url("/"))
        assert over.status_code == 429 and 0 < int(over.headers["Retry-After"]) <= 86_400
        assert served.get("/runs").status_code == 403
        threading.Event().wait(1.3)
    with serving(project, "--require-token") as again:
        again.session.headers.update(headers)
        assert fetch(again, shop.url("/")).status_code == 429, "the quota outlives the service"


def test_credentials_in_a_url_are_neither_sent_nor_shown(served: Served, shop: Site) -> None:
    shop["/on"] = redirect(shop.url("/x").replace("//", "//ann:secret@"))
    given, led = fetch(served, shop.url("/").replace("//", "//ann:secret@")), fetch(served, shop.url("/on"))
    assert (given.status_code, led.status_code) == (400, 403) and shop.paths() == ["/on"]
    assert "secret" not in given.text + led.text and "credentials" in led.json()["detail"]


def test_no_other_page_can_make_a_browser_fetch(served: Served, shop: Site) -> None:
    answer = served.get("/fetch", params={"url": shop.url("/")}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and shop.arrivals == []


@pytest.mark.thorough
def test_two_services_of_one_project_share_the_clock_of_a_domain(served: Served, shop: Site) -> None:
    with serving(served.project) as other, ThreadPoolExecutor(8) as pool:
        calls = [
            pool.submit(fetch, one, shop.url(f"/{n}"), timeout=60)
            for n in range(6)
            for one in (served, other)
        ]
        assert {one.result().status_code for one in calls} == {404}
    assert len(shop.paths()) == 12 and min(shop.gaps()) > 0.049


def test_the_command_and_the_service_fetch_side_by_side(served: Served, shop: Site, tmp_path: Path) -> None:
    shop["/x"] = "x"
    assert fetch(served, shop.url("/")).status_code == 200
    ended = served.project.run("fetch", shop.url("/x"), "--body")
    assert (ended.code, ended.out) == (0, "x"), ended.text
    assert min(shop.gaps()) > 0.049


def test_metrics_count_what_was_asked_of_each_domain(served: Served, shop: Site) -> None:
    for _ in range(3):
        fetch(served, shop.url("/"))
    fetch(served, shop.url("/"), max_age=60)
    fetch(served, shop.url("/"), max_age=60)
    text = served.get("/metrics").text
    assert f'scraper_fetch_requests_total{{domain="{shop.host}"}} {len(shop.arrivals)}\n' in text
    gap = float(text.partition(f'scraper_fetch_min_gap_seconds{{domain="{shop.host}"}} ')[2].split("\n")[0])
    assert 0.049 < gap < min(shop.gaps()) + 0.05
    assert (
        'scraper_fetch_calls_total{outcome="cached"}' in text and "scraper_fetch_wait_seconds_total" in text
    )
