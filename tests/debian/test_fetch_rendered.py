"""`GET /fetch?render=`: pages that Debian's Chromium renders, in the queues of all other callers."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest
import requests

from scraper.service.rendering import MOST_WAITING, TABS
from tests.project import Project
from tests.service.serving import Served, new_project, serving
from tests.site import Arrival, Reply, Site

pytestmark = pytest.mark.debian

DELAY = 0.1
SCRIPT = {"Content-Type": "text/javascript"}


def shell(script: str, more: str = "") -> Reply:
    html = f"<!doctype html><title>shell</title><div id=app></div>{more}<script>{script}</script>"
    return Reply(200, html, {"Content-Type": "text/html"})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("rendered"))
    settings = f'delay = {DELAY}\nreach = ["127.0.1.0/24"]\nmax_attempts = 1\n'
    (project.root / "scraper.toml").write_text(settings)
    with serving(project) as found:
        yield found
        assert not any("Traceback" in line for line in found.lines), "".join(found.lines)


_hosts = iter(range(20, 250))


@pytest.fixture
def make(new_site: Callable[..., Site]) -> Callable[..., Site]:
    """Makes sites on hosts that no other test asks."""

    def made(host: str = "") -> Site:
        return new_site(host=host or f"127.0.1.{next(_hosts)}")

    return made


def fetch(served: Served, url: str, render: str = "true", **params: object) -> requests.Response:
    wanted = {"url": url, "render": render, **params}
    return requests.get(f"{served.url}/fetch", params=wanted, timeout=60)  # type: ignore[arg-type]


def test_a_page_and_all_that_it_asks_for_passes_the_gates_of_their_domains(
    served: Served, make: Callable[..., Site]
) -> None:
    near, far, private = make(), make(), make("127.0.2.1")
    scripts = "".join(f"<script src={site.url('/lib.js')}></script>" for site in (far, private))
    near["/robots.txt"] = "User-agent: *\nDisallow: /secret\n"
    near["/"] = shell(
        "document.cookie = 'seen=1'; fetch('/secret').catch(() => 0);"
        "fetch('/api').then(answer => answer.json()).then(answer => app.textContent = answer.said + lib)",
        scripts,
    )
    near["/api"] = Reply(200, '{"said": "hello "}', {"Content-Type": "application/json"})
    for site in (far, private):
        site["/lib.js"] = Reply(200, "lib = 'world'", SCRIPT)
    plain = fetch(served, near.url("/"), "false")
    assert "<div id=app></div>" in plain.text and "Scraper-Rendered" not in plain.headers
    shown = fetch(served, near.url("/"), "auto", max_age=60)
    assert shown.status_code == 200 and '<div id="app">hello world</div>' in shown.text
    assert shown.headers["Scraper-Rendered"] == "requests=2, refused=3"
    assert fetch(served, near.url("/"), "auto", max_age=60).headers["Scraper-Cache"].startswith("hit")
    again = fetch(served, near.url("/"), format="json").json()
    reasons = {one["url"]: one.get("reason", "") for one in again["requests"]}
    assert "robots.txt line 2" in reasons[near.url("/secret")]
    assert "loopback" in reasons[private.url("/lib.js")] and private.arrivals == []
    assert near.paths() == ["/", "/", "/api", "/", "/api"] and far.paths() == ["/lib.js"]
    assert [one.headers["cookie"] for one in near.arrivals if one.path == "/api"] == ["seen=1"] * 2
    assert min(near.gaps()) > DELAY - 0.001


def test_callers_of_the_same_domain_come_in_between(served: Served, make: Callable[..., Site]) -> None:
    site = make()
    site["/"] = shell("", "".join(f"<script src=/{n}.js></script>" for n in range(20)))
    site["*"] = Reply(200, "x = 1", SCRIPT)
    first = threading.Event()

    def seen(arrival: Arrival) -> Reply:
        first.set()
        return Reply(200, "x = 1", SCRIPT)

    site["/0.js"] = seen
    with ThreadPoolExecutor(1) as pool:
        page = pool.submit(fetch, served, site.url("/"))
        assert first.wait(30)
        assert fetch(served, site.url("/plain"), "false").status_code == 200 and not page.done()
        assert page.result().headers["Scraper-Rendered"].startswith("requests=20")
    assert min(site.gaps()) > DELAY - 0.001


def test_pages_that_wait_for_slow_domains_leave_tabs_to_others(
    served: Served, make: Callable[..., Site]
) -> None:
    slow, quick = make(), make()
    slow["/robots.txt"] = "User-agent: *\nCrawl-delay: 2\n"
    slow["*"] = shell("fetch('/x')")
    quick["/"] = shell("app.textContent = 'quick'")
    quick["/first"] = shell("app.textContent = 'first'")
    assert "first" in fetch(served, quick.url("/first"), timeout=60).text  # a browser's start takes seconds
    with ThreadPoolExecutor(TABS + 1) as pool:
        held = [pool.submit(fetch, served, slow.url(f"/{n}"), timeout=6) for n in range(TABS + 1)]
        assert "quick" in fetch(served, quick.url("/"), timeout=20).text
        assert not all(one.done() for one in held)
        assert {one.result().status_code for one in held} <= {200, 503, 504}
    assert min(slow.gaps()) > 1.999


def test_a_caller_that_leaves_frees_its_tab_and_costs_no_more_requests(
    served: Served, make: Callable[..., Site]
) -> None:
    site = make()
    site["/"] = shell("const go = n => fetch('/n' + n).then(() => go(n + 1)); go(0)")
    arrived = threading.Event()

    def seen(arrival: Arrival) -> Reply:
        arrived.set()
        return Reply(200, "x")

    site["/n3"], site["*"] = seen, Reply(200, "x")
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as caller:
        line = f"GET /fetch?render=true&timeout=60&url={site.url('/')} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        caller.sendall(line.encode())
        assert arrived.wait(30)
    site["/other"] = shell("app.textContent = 'free'")
    assert "free" in fetch(served, site.url("/other")).text, "its domain has a tab again"
    assert len([path for path in site.paths() if path.startswith("/n")]) <= 6


def test_what_goes_wrong_with_a_page_is_a_problem_in_time(served: Served, make: Callable[..., Site]) -> None:
    site = make()
    site["/poll"] = shell("let n = 0; const go = () => fetch('/x' + n++).then(go); go()")
    site["/busy"] = shell("for (;;);")
    site["/away"] = shell("location = 'http://127.0.1.1:1/'; app.textContent = 'stays'")
    site["/odd"] = shell("fetch('/999').catch(() => app.textContent = 'no status')")
    site["/999"] = Reply(999, "x")
    site["*"] = Reply(200, "x")
    polled = fetch(served, site.url("/poll"), timeout=4)
    assert polled.status_code in (503, 504) and "timeout" in polled.json()["detail"]
    assert fetch(served, site.url("/busy"), timeout=3).status_code == 504
    assert fetch(served, site.url("/away")).status_code == 200
    assert "no status" in fetch(served, site.url("/odd")).text
    limited = make()
    limited["/"] = shell("fetch('/x')")
    limited["/x"] = Reply(429, "no", {"Retry-After": "9"})
    refused = fetch(served, limited.url("/"))
    assert refused.status_code == 503 and 8 <= int(refused.headers["Retry-After"]) <= 10
    assert fetch(served, limited.url("/y"), "false", timeout=1).status_code == 503, "the domain rests"


def test_callers_who_wait_for_a_browser_are_bounded(served: Served, make: Callable[..., Site]) -> None:
    release, sites = threading.Event(), [make() for _ in range(TABS)]

    def hold(arrival: Arrival) -> Reply:
        release.wait(30)
        return Reply(200, "x")

    for site in sites:
        site["/robots.txt"] = 404
        site["*"] = hold
    with ThreadPoolExecutor(TABS + MOST_WAITING + 3) as pool:
        wanted = [sites[n % TABS].url(f"/{n}") for n in range(TABS + MOST_WAITING + 3)]
        calls = [pool.submit(fetch, served, url) for url in wanted]
        full = [one.result() for one in islice(as_completed(calls), 3)]
        release.set()
    assert {one.status_code for one in full} == {429} and all(one.headers["Retry-After"] for one in full)
    assert all(one.result().status_code in (200, 429, 503, 504) for one in calls)


def test_a_token_s_domains_hold_for_what_a_page_asks_for(project: Project, make: Callable[..., Site]) -> None:
    (project.root / "scraper.toml").write_text('delay = 0\nreach = ["127.0.1.0/24"]\n')
    near, far = make(), make()
    near["/"] = shell(
        "app.textContent = window.lib || 'alone'", f"<script src={far.url('/lib.js')}></script>"
    )
    far["/lib.js"] = Reply(200, "lib = 1", SCRIPT)
    made = project.run("token", "add", "desk", "--scope", "fetch", "--domain", near.host)
    with serving(project, "--require-token") as served:
        served.session.headers["Authorization"] = f"Bearer {made.out.strip()}"
        shown = served.get("/fetch", params={"url": near.url("/"), "render": "true"})
        assert "alone" in shown.text and far.arrivals == []
