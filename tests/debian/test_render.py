"""Pages rendered by Debian's Chromium: what its servers saw is what we say that we sent, and nothing else."""

import os
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.project import Project
from tests.site import Reply, Site

pytestmark = pytest.mark.debian

SCRIPT = {"Content-Type": "text/javascript"}
JSON = {"Content-Type": "application/json"}
SHELL = "<!doctype html><title>shell</title><div id=app></div><script src=/app.js></script>"
SPIDER = """
    from scraper import Render, Request, Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        settings = {{"delay": {delay}, "render": "always"{more}}}

        def parse(self, page):
            yield {{
                "url": page.url,
                "title": page.css("title::text").get(),
                "app": page.css("#app::text").get(),
                "source": page.source,
                "responses": [(one.url, one.status, one.type) for one in page.responses],
            }}
            yield from page.follow_all("a")
"""
LEAVES_NOTHING_UNTRIED = """
    const frame = document.createElement('iframe'); frame.src = '{other}/frame'; document.body.append(frame);
    new Image().src = '/pixel.png';
    navigator.sendBeacon('/beacon', 'x');
    new WebSocket('ws://' + location.host + '/socket');
    new EventSource('/events');
    new Worker('/worker.js').onmessage = event => document.body.dataset.worker = event.data;
    const hint = document.createElement('link');
    hint.rel = 'prefetch'; hint.href = '/next'; document.head.append(hint);
    const peer = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{stun}'}}]}});
    peer.createDataChannel('x'); peer.createOffer().then(offer => peer.setLocalDescription(offer));
    open('/popup'); open('{other}/popup');
    navigator.serviceWorker && navigator.serviceWorker.register('/service.js').catch(() => 0);
    fetch('/moved', {{method: 'POST', body: 'q=1'}}).then(answer => answer.json())
        .then(answer => app.textContent = answer.said);
    fetch('{other}/open', {{method: 'PUT', body: '{{}}', headers: {{'X-Own': '1'}}}}).catch(() => 0);
    fetch('/private/data').catch(() => 0);
    const link = document.createElement('a');
    link.href = '/second'; link.textContent = 'second'; document.body.append(link);
"""


def sent(project: Project, spider: str) -> Counter[str]:
    """Every request that the log of a spider's runs says was sent, and its pages."""
    lines = project.log(spider)
    loads = [f"{line.get('method', 'GET')} {line['url']}" for line in lines if line.get("sent")]
    robots = [f"GET {line['origin']}/robots.txt" for line in lines if line["event"] == "robots"]
    pages = [f"GET {record['url']}" for record in project.records(spider)]
    return Counter(loads + robots + pages)


def seen(*sites: Site) -> Counter[str]:
    """Every request that arrived."""
    return Counter(f"{one.method} {site.url(one.path)}" for site in sites for one in site.arrivals)


def test_the_servers_log_equals_ours_request_for_request(
    project: Project, new_site: Callable[..., Site]
) -> None:
    near, far = new_site(host="127.0.0.1"), new_site(host="127.0.0.2")
    stun = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stun.bind(("127.0.0.1", 0))
    stun.setblocking(False)
    script = LEAVES_NOTHING_UNTRIED.format(other=far.url(""), stun=stun.getsockname()[1])
    near["/robots.txt"] = "User-agent: *\nDisallow: /private"
    near["/"] = near["/second"] = SHELL + f'<script src="{far.url("/library.js")}"></script>'
    near["/app.js"] = Reply(body=script, headers=SCRIPT)
    near["/moved"] = Reply(307, headers={"Location": "/api"})
    near["/api"] = Reply(body='{"said": "hello"}', headers=JSON)
    near["/worker.js"] = Reply(body="fetch('/from-worker').then(() => postMessage('done'))", headers=SCRIPT)
    near["/from-worker"] = "w"
    allow = {"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "*"}
    far["/open"] = Reply(body="{}", headers={**JSON, **allow, "Access-Control-Allow-Methods": "PUT"})
    far["/library.js"] = Reply(body="window.library = 1", headers=SCRIPT)
    far["/frame"] = "<script src=/in-frame.js></script><iframe src=/inner></iframe>"
    far["/inner"] = "<p>inner<script src=/in-inner.js></script>"
    far["/in-frame.js"] = far["/in-inner.js"] = Reply(body="1", headers=SCRIPT)
    project.spider("shop", SPIDER.format(url=near.url("/"), delay=0.1, more=""))

    ended = project.run("run", "shop", "--json", "--archive")

    assert ended.code == 0, ended.text
    assert seen(near, far) == sent(project, "shop")
    assert [record["app"] for record in project.records("shop")] == ["hello", "hello"]
    paths = Counter(near.paths(robots=True))
    assert (paths["/"], paths["/robots.txt"], paths["/app.js"], paths["/from-worker"]) == (1, 1, 1, 2)
    never = {
        "/pixel.png",
        "/beacon",
        "/socket",
        "/events",
        "/next",
        "/popup",
        "/service.js",
        "/private/data",
        "/favicon.ico",
    }
    assert never & {*near.paths(), *far.paths()} == set()
    assert {"/inner", "/in-inner.js", "/in-frame.js"} <= set(far.paths())
    assert min(near.gaps()) >= 0.1 and min(far.gaps()) >= 0.1
    with pytest.raises(BlockingIOError):
        stun.recv(1)
    stun.close()
    reasons = {urlsplit(line["url"]).path: line["reason"] for line in project.log("shop") if "reason" in line}
    assert "WebSocket" in reasons["/socket"] and "EventSource" in reasons["/events"]
    assert "robots.txt line 2" in reasons["/private/data"] and "render_load" in reasons["/pixel.png"]
    audit = project.run("audit", "shop")
    assert audit.code == 0, audit.text
    by_domain = ended.summary["by_domain"]
    assert by_domain["127.0.0.1"]["requests"] == len(near.arrivals)
    assert by_domain["127.0.0.2"]["requests"] == len(far.arrivals)
    asked, records = len(near.arrivals), project.records("shop")
    again = project.run("reparse", "shop", "--set", "browser=/nowhere/chromium")
    assert again.code == 0 and len(near.arrivals) == asked, again.text
    assert project.records("shop") == records


def test_a_page_is_filled_in_clicked_scrolled_and_waited_for(project: Project, site: Site) -> None:
    site["/"] = "<input id=q><button>Search</button>" + SHELL
    site["/app.js"] = Reply(
        body="""
        document.querySelector('button').onclick = () => fetch('/api?q=' + document.querySelector('#q').value)
            .then(answer => answer.json())
            .then(found => setTimeout(() => { app.innerHTML = '<b class=hit>' + found.name + '</b>' }, 5000));
        addEventListener('scroll', () => document.title = 'scrolled');
        document.body.style.height = '5000px';
        """,
        headers=SCRIPT,
    )
    site["/api"] = lambda arrival: Reply(body=f'{{"name": "found {arrival.path}"}}', headers=JSON)
    project.spider(
        "search",
        f"""
        from scraper import Render, Request, Spider

        class Search(Spider):
            settings = {{"delay": 0}}

            def start(self):
                how = Render(
                    fill={{"#q": "tea"}}, click=["text=Search"], scroll=1, wait_for=".hit",
                    script="document.body.dataset.mine = 7", screenshot=True,
                )
                yield Request("{site.url("/")}", render=how)

            def parse(self, page):
                yield {{
                    "hit": page.css(".hit::text").get(),
                    "title": page.css("title::text").get(),
                    "mine": page.css("body::attr(data-mine)").get(),
                    "plain": ".hit" in page.source,
                    "json": page.responses[0].json(),
                    "picture": page.screenshot,
                }}
        """,
    )
    ended = project.run("run", "search")
    assert ended.code == 0, ended.text
    [record] = project.records("search")
    assert (record["hit"], record["title"], record["mine"]) == ("found /api?q=tea", "scrolled", "7")
    assert record["json"] == {"name": "found /api?q=tea"} and not record["plain"]
    picture = project.data("search", record["picture"]["path"]).read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) == record["picture"]["size"]


def test_an_element_that_never_comes_fails_its_page_alone_and_soon(project: Project, site: Site) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="setInterval(() => app.append('x'), 50); nowhere()", headers=SCRIPT)
    project.spider(
        "late",
        f"""
        from scraper import Render, Request, Spider

        class Late(Spider):
            settings = {{"delay": 0}}

            def start(self):
                yield Request("{site.url("/")}", render=Render(wait_for=".never"))

            def parse(self, page):
                yield {{}}
        """,
    )
    began = time.monotonic()
    ended = project.run("run", "late", "--json")
    assert time.monotonic() - began < 20  # 30 s of the page's time, not of ours
    assert ended.summary["failed"] == 1
    [failed] = [line for line in project.log("late") if line["event"] == "failed"]
    assert "waited 30 s for .never" in failed["reason"]
    assert "nowhere is not defined" in failed["text"]


def test_nothing_of_the_browser_is_left_two_seconds_after_kill_9(project: Project, site: Site) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="fetch('/slow')", headers=SCRIPT)
    site["/slow"] = Reply(body="late", wait=20)
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0, more=""))
    run = project.start("run", "shop")
    _until(lambda: "/slow" in site.paths(), 30)
    family = _descendants(run.process.pid)
    assert len(family) > 3
    run.kill()
    _until(lambda: not any(Path(f"/proc/{pid}").exists() and _is_alive(pid) for pid in family), 2)


def _until(is_so: Callable[[], bool], seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _descendants(pid: int) -> set[int]:
    found: set[int] = set()
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue
            parents[int(name)] = int(stat.rpartition(")")[2].split()[1])
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, its in parents.items() if its == parent]
        found.update(children)
        waiting += children
    return found
