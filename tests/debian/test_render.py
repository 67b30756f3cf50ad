"""Pages rendered by Debian's Chromium: what its servers saw is what we say that we sent, and nothing else."""

import json
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.project import Project, read_jsonl
from tests.site import Arrival, Reply, Site

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


STEALS = """
    <title>stranger</title><div id=app>stranger</div><script>
    const take = (name, asked) => asked.then(answer => answer.text(), String)
        .then(text => fetch('/taken?' + name, {{method: 'POST', body: text}}));
    take('omitted', fetch('{api}?1', {{credentials: 'omit'}}));
    take('as-it-is', fetch('{api}?2'));
    fetch('{api}?3', {{method: 'POST', mode: 'no-cors', credentials: 'include', body: 'x'}});
    </script>"""


def test_no_page_or_frame_of_another_site_asks_with_credentials_of_ours(
    project: Project, new_site: Callable[..., Site]
) -> None:
    shop, other = new_site(host="127.0.0.1"), new_site(host="127.0.0.2")
    frame = f"<iframe src='{other.url('/frame')}'></iframe>"
    cookies = [
        ("Set-Cookie", f"{name}; HttpOnly") for name in ("sid=secret", "strict=secret; SameSite=Strict")
    ]
    shop["/"] = Reply(body=SHELL + frame, headers=[*cookies, ("Content-Type", "text/html")])
    shop["/app.js"] = Reply(
        body="fetch('/own'); fetch('/omitted', {credentials: 'omit'}).then(() => app.append('in'))",
        headers=SCRIPT,
    )
    shop["*"] = lambda arrival: Reply(
        body=json.dumps(dict(arrival.headers)), headers={**JSON, "Access-Control-Allow-Origin": "*"}
    )
    other["/"] = other["/frame"] = STEALS.format(api=shop.url("/api"))
    other["/taken"] = 204
    own = json.dumps({"auth": {shop.url(""): "ada:secret"}, "headers": {shop.url(""): {"X-Key": "secret"}}})
    starts = f'{shop.url("/")}", "{other.url("/")}'
    project.spider("shop", SPIDER.format(url=starts, delay=0, more=", " + own[1:-1]))

    ended = project.run("run", "shop")

    assert ended.code == 0, ended.text
    by_path = {one.path: one.headers for one in shop.arrivals}
    assert by_path["/own"]["authorization"] and by_path["/own"]["x-key"] == "secret"
    assert by_path["/own"]["cookie"] == "sid=secret; strict=secret"
    assert "cookie" not in by_path["/omitted"]
    assert {"/api?1", "/api?2", "/api?3"} <= {*by_path}
    for one in shop.arrivals:
        if one.path.startswith("/api"):
            assert "secret" not in str(one.headers) and "authorization" not in one.headers, one
    taken = [one for one in other.arrivals if one.path.startswith("/taken")]
    assert len(taken) == 4 and not any(b"secret" in one.body for one in taken)


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


def test_an_element_that_never_comes_fails_its_page_alone_by_the_clock_of_the_page(
    project: Project, site: Site
) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="setInterval(() => app.append('x'), 2000); nowhere()", headers=SCRIPT)
    project.spider(
        "late",
        f"""
        from scraper import Render, Request, Spider

        class Late(Spider):
            settings = {{"delay": 0}}

            def start(self):
                render = Render(wait_for=".never", timeout=300)  # longer than the patience of run()
                yield Request("{site.url("/")}", render=render)

            def parse(self, page):
                yield {{}}
        """,
    )
    ended = project.run("run", "late", "--json")
    assert ended.summary["failed"] == 1
    [failed] = [line for line in project.log("late") if line["event"] == "failed"]
    assert "waited 300 s for .never" in failed["reason"]
    assert "nowhere is not defined" in failed["text"]
    picture = failed["text"].partition("looked like in the end: ")[2].partition(";")[0]
    assert project.data("late", picture).read_bytes().startswith(b"\x89PNG")


def test_nothing_of_the_browser_is_left_after_kill_9(project: Project, site: Site) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="fetch('/slow')", headers=SCRIPT)
    site["/slow"] = Reply(body="late", wait=20)
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0, more=""))
    run = project.start("run", "shop")
    _until(lambda: "/slow" in site.paths(), 30)
    family = _descendants(run.process.pid)
    assert len(family) > 3
    run.kill()
    sooner_than_the_answer = 15
    _until(lambda: not any(map(_is_alive, family)), sooner_than_the_answer)


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


LOGIN_APP = """
    const token = localStorage.getItem('token');
    if (location.pathname == '/login') {
        document.body.innerHTML = '<input id=user><input id=password type=password><button>Enter</button>';
        document.querySelector('button').onclick = async () => {
            const body = JSON.stringify({user: user.value, password: password.value});
            const answer = await fetch('/api/login', {method: 'POST', body});
            if (!answer.ok) { document.body.append('wrong'); return; }
            localStorage.setItem('token', (await answer.json()).token);
            document.cookie = 'seen=' + document.cookie.includes('sid') + '; path=/';
            history.pushState(0, '', '/home'); document.body.innerHTML = '<p class=welcome>hello</p>';
        };
    } else {
        fetch('/api/secret', {headers: {Authorization: 'Bearer ' + token}})
            .then(answer => answer.text()).then(text => app.textContent = text);
    }
"""
LOGIN_SPIDER = """
    from scraper import Request, Spider

    class Club(Spider):
        start_urls = ["{url}"]
        settings = {{"delay": 0}}

        def login(self, session):
            session.render(
                "{url}login", fill={{"#user": "ann", "#password": self.params.get("word", "sesame-street")}},
                click=["button"], wait_for=".welcome",
            )

        def parse(self, page):
            yield {{"url": page.url, "app": page.css("#app::text").get()}}
            if page.url == "{url}":
                yield Request("{url}app", render=True)
"""


def test_a_login_by_script_is_rendered_once_and_its_cookies_and_storage_serve_all_later_pages(
    project: Project, site: Site
) -> None:
    def secret(arrival: Arrival) -> Reply:
        return Reply(
            body="inside" if arrival.headers.get("authorization") == "Bearer tok-123456789" else "outside"
        )

    site["/"] = lambda arrival: f"<p id=app>{arrival.headers.get('cookie', '')}</p>"
    site["/login"] = site["/app"] = SHELL
    site["/app.js"] = Reply(body=LOGIN_APP, headers=SCRIPT)
    cookie = {"Set-Cookie": "sid=s3cret-session; HttpOnly; Path=/; Max-Age=9000"}
    site["/api/login"] = Reply(body='{"token": "tok-123456789"}', headers={**JSON, **cookie})
    site["/api/secret"] = secret
    project.spider("club", LOGIN_SPIDER.format(url=site.url("/")))
    for _ in range(2):
        ended = project.run("run", "club", "--fresh")
        assert ended.code == 0, ended.text
        records = {record["url"]: record["app"] for record in project.records("club")}
        assert records[site.url("/app")] == "inside"
        assert set(records[site.url("/")].split("; ")) == {"sid=s3cret-session", "seen=false"}
    assert site.paths().count("/api/login") == 1  # the second run is still logged in
    [posted] = [one for one in site.arrivals if one.path == "/api/login"]
    assert posted.body == b'{"user":"ann","password":"sesame-street"}'
    shown = project.data("club").rglob("*.json*")
    assert "tok-123456789" not in "".join(path.read_text("utf-8") for path in shown)


def test_a_login_that_the_site_refuses_ends_the_run_as_one(project: Project, site: Site) -> None:
    site["/login"] = SHELL
    site["/app.js"] = Reply(body=LOGIN_APP.replace(".ok", ".ok || 1"), headers=SCRIPT)
    site["/api/login"] = Reply(401, "no", JSON)
    project.spider("club", LOGIN_SPIDER.format(url=site.url("/")))
    ended = project.run("run", "club", "--param", "word=not-this-one")
    assert ended.code == 77 and "not-this-one" not in ended.text, ended.text


def test_hostile_pages_end_and_leave_the_next_one_alone(project: Project, site: Site) -> None:
    endless = {
        "/busy": "while (true);",
        "/loop": "location.reload()",
        "/away": "location = 'http://127.0.0.9/'",
        "/talks": "alert(1); confirm(2); open('/popup'); onbeforeunload = event => event.preventDefault()",
        "/polls": "setInterval(() => fetch('/api'), 10)",
        "/grows": "setInterval(() => document.body.append(document.createElement('i')), 1)",
        "/file": "location = '/download'",
        "/files": "setInterval(() => { location = '/download?' + Math.random() }, 50)",
        "/opens": "setInterval(() => open('/popup'), 1)",
    }
    for path, script in endless.items():
        site[path] = f"<title>{path}</title><script>{script}</script>"
    site["/download"] = Reply(body="x", headers={"Content-Disposition": "attachment; filename=a.txt"})
    site["/last"] = "<title>/last</title>"
    urls = [site.url(path) for path in (*endless, "/last")]
    source = SPIDER.format(url="x", delay=0, more="").replace('["x"]', repr(urls))
    project.spider("shop", source)
    ended = project.run("run", "shop", "--json")
    records = project.runs("shop")[-1]
    assert (records["pages"], records["failed"], records["downloads"]) == (8, 2, 51), ended.text
    titles = {
        line.get("title") for line in read_jsonl(next(project.data("shop", "runs").glob("*/records.jsonl")))
    }
    assert titles == {"/away", "/talks", "/polls", "/grows", "/file", "/files", "/opens", "/last"}
    reasons = " ".join(line.get("reason", "") for line in project.log("shop"))
    assert "did not answer for 10 s" in reasons and "led on 10 times by itself" in reasons
    assert site.paths().count("/api") == 5 and "/popup" not in site.paths()


def test_a_host_that_only_pages_ask_for_and_that_is_not_there_is_no_trouble_of_the_run(
    project: Project, site: Site
) -> None:
    site["/"] = "<title>t</title><script>for (const n of [8, 9]) fetch(`http://127.0.0.${n}:1/`)</script>"
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0, more=""))
    ended = project.run("run", "shop", "--json")
    assert ended.code == 0 and ended.summary["verdict"] == "OK", ended.text
    assert "robots.txt is unreachable" in str(ended.summary["by_domain"]["127.0.0.9"]["robots"])


def test_files_that_a_page_leads_to_or_makes_are_files_of_the_run(project: Project, site: Site) -> None:
    site["/"] = """
        <a id=named download=mine.csv href=/named.csv>a</a><a id=sent href=/sent>b</a>
        <a id=big href=/big>c</a><a id=csv href=/inline.csv>d</a><a id=made download=made.txt>e</a>
        <a id=blank target=_blank href=/blank>f</a><a id=ad target=_blank href=/ad>g</a>
        <p id=app>here</p>
        <form method=post action=/export target=hidden><input name=q value=1><button>x</button></form>
        <iframe name=hidden></iframe>
        <script>
            made.href = URL.createObjectURL(new Blob(['made by a script']));
            made.onclick = () => setTimeout(() => URL.revokeObjectURL(made.href), 0);
        </script>"""
    attachment = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="s.zip"'}
    site["/named.csv"] = Reply(body="n,1", headers={"Content-Type": "text/csv"})
    site["/sent"] = Reply(body=b"PK sent", headers=attachment)
    site["/big"] = Reply(body=b"x" * 300_000, headers=attachment)
    site["/inline.csv"] = Reply(body="i,2", headers={"Content-Type": "text/csv"})
    site["/blank"] = Reply(body=b"PK in a tab of its own", headers={"Content-Type": "application/zip"})
    site["/ad"] = "<img src=/pixel.png><script src=/ad.js></script>"
    site["/export"] = lambda arrival: Reply(body=arrival.body, headers={"Content-Disposition": "attachment"})
    project.spider(
        "files",
        f"""
        from scraper import Render, Request, Spider

        class Files(Spider):
            settings = {{"delay": 0, "max_file": "200KB", "archive": True}}

            def start(self):
                names = ("#named", "#sent", "#big", "#csv", "button", "#made", "#blank", "#ad")
                yield Request("{site.url("/")}", render=Render(click=names, wait_for="#app"))

            def parse(self, page):
                yield {{"url": page.url, "files": page.downloads, "app": page.css("#app::text").get()}}
        """,
    )
    ended = project.run("run", "files", "--json")
    assert ended.code == 0, ended.text
    [record] = project.records("files")
    assert record["app"] == "here"
    kept = {one["name"]: project.data("files", one["path"]).read_bytes() for one in record["files"]}
    assert kept == {
        "named.csv": b"n,1",
        "s.zip": b"PK sent",
        "inline.csv": b"i,2",
        "made.txt": b"made by a script",
        "export": b"q=1",
        "blank": b"PK in a tab of its own",
    }
    lines = [line for line in project.log("files") if line["event"] == "load"]
    assert {line["file"] for line in lines if "file" in line} == {one["path"] for one in record["files"]}
    reasons = {line["url"]: line["reason"] for line in lines if "reason" in line}
    assert "file over max_file" in reasons[site.url("/big")]
    assert ended.summary["downloads"] == 6 and seen(site) == sent(project, "files")
    assert "/ad" in site.paths() and not {"/ad.js", "/pixel.png"} & {*site.paths()}


GRAPH_SPIDER = """
    from scraper import Render, Request, Spider

    class Graph(Spider):
        settings = {{"delay": 0, "archive": True}}

        def start(self):
            for path in ("one", "two", "led"):
                how = Render(wait_for="[data-secret]", screenshot=True, click={click})
                yield Request("{url}" + path, render=how)

        def parse(self, page):
            yield {{
                "url": page.url, "app": page.css("#app::text").get(), "source": page.source,
                "responses": [(one.url, one.method, one.status, one.json()) for one in page.responses],
                "screenshot": page.screenshot,
            }}
"""


def test_an_archive_holds_all_of_a_rendered_page_and_a_browser_can_render_it_again_without_a_network(
    project: Project, site: Site, tmp_path: Path
) -> None:
    site["/one"] = site["/two"] = site["/two?x"] = "<button>more</button>" + SHELL
    site["/led"] = "<script>location.replace('/two?x')</script>"
    site["/app.js"] = Reply(
        body="""
        const body = JSON.stringify({q: location.pathname});
        fetch('/graph', {method: 'POST', body}).then(answer => answer.json()).then(found => {
            app.textContent = found.said;
            fetch('/secret').then(answer => document.body.dataset.secret = answer.status);
        });
        document.querySelector('button').onclick = () => fetch('/more');
        """,
        headers=SCRIPT,
    )
    site["/graph"] = lambda arrival: Reply(body=f'{{"said": "asked {json.loads(arrival.body)["q"]}"}}')
    site["/secret"] = Reply(403, "{}")
    project.spider("graph", GRAPH_SPIDER.format(url=site.url("/"), click=()))
    assert project.run("run", "graph").code == 0
    asked, first = len(site.arrivals), _by_url(project)
    assert [one["app"] for one in first.values()] == ["asked /one", "asked /two", "asked /two"]
    assert all(len(one["responses"]) == 2 and one["screenshot"] for one in first.values())
    [archive] = project.data("graph", "runs").glob("*/pages.warc.gz")
    kept = tmp_path / "kept.warc.gz"
    kept.write_bytes(archive.read_bytes())
    without = ("--set", "browser=/nowhere/chromium")
    assert project.run("check", "graph", *without).code == 0
    assert project.run("reparse", "graph", *without).code == 0 and _by_url(project) == first
    ended = project.run("run", "graph", "--replay", str(kept), *without)
    assert ended.code == 0 and _by_url(project) == first, ended.text

    project.spider("graph", GRAPH_SPIDER.format(url=site.url("/"), click=("button",)))
    for again in (("reparse", "graph"), ("run", "graph", "--replay", str(kept), "--workers", "2")):
        ended = project.run(*again)
        assert ended.code == 0 and "rendered  3, which sent 0 requests" in ended.err, ended.text
        found = _by_url(project)
        assert [(one["app"], one["responses"]) for one in found.values()] == [
            (one["app"], one["responses"]) for one in first.values()
        ]
        missing = [line["url"] for line in project.log("graph") if line.get("reason") == "not in the archive"]
        assert set(missing) == {site.url("/more")}
    assert len(site.arrivals) == asked


def _by_url(project: Project) -> dict[str, dict[str, Any]]:
    return {one["url"]: one for one in sorted(project.records("graph"), key=lambda one: str(one["url"]))}


def test_auto_renders_only_where_a_page_is_a_shell_or_nothing_came_of_it(
    project: Project, site: Site
) -> None:
    links = "".join(
        f'<a href="/{path}">x</a>' for path in ("plain/1", "shell/1", "late/1", "late/2", "empty/1")
    )
    note = "<p>" + "A page of a shop with a long notice about itself. " * 6 + "</p>"
    plain = f"<title>plain</title>{note}<b class=item>p</b><script src=/app.js></script>"
    site["/"] = f"<title>home</title>{note}{links}<script src=/app.js></script>"
    site["/plain/1"] = plain
    site["/shell/1"] = SHELL
    site["/late/1"] = site["/late/2"] = f"{note}<div class=list></div><script src=/app.js></script>"
    site["/empty/1"] = f"{note}<script src=/none.js></script>"
    site["/app.js"] = Reply(
        body="(document.querySelector('.list') || app).innerHTML = '<b class=item>' + location.pathname",
        headers=SCRIPT,
    )
    site["/none.js"] = Reply(body="1", headers=SCRIPT)
    project.spider(
        "mixed",
        f"""
        from scraper import Spider

        class Mixed(Spider):
            start_urls = ["{site.url("/")}"]
            settings = {{"delay": 0, "render": "auto"}}

            def parse(self, page):
                for item in page.css(".item::text").getall():
                    yield {{"item": item}}
                yield from page.follow_all("a")
        """,
    )
    ended = project.run("run", "mixed", "--json")
    assert ended.code == 0, ended.text
    assert sorted(one["item"] for one in project.records("mixed")) == ["/late/1", "/late/2", "/shell/1", "p"]
    why = ended.summary["rendered_for"]
    assert why == {
        "an empty #app": 1,
        "nothing in it without its scripts": 2,
        "others like it need their scripts": 1,
    }
    assert "rendered  4, which sent 2 requests" in ended.err
    assert site.paths().count("/late/1") == 1
    again = project.run("run", "mixed", "--json")
    assert again.summary["rendered_for"]["others like it need their scripts"] == 3  # from the first one on
    for path in ("/late/1", "/late/2"):  # they no longer need their scripts
        site[path] = f"{note}<b class=item>{path}</b><script src=/app.js></script>"
    found = [project.run("run", "mixed", "--json").summary for _ in range(2)]
    assert [one["rendered_for"].get("others like it need their scripts", 0) for one in found] == [2, 1]
    assert sorted(one["item"] for one in project.records("mixed")) == ["/late/1", "/late/2", "/shell/1", "p"]


def test_fetch_render_lists_the_json_behind_a_page_largest_first(
    project: Project, new_site: Callable[..., Site]
) -> None:
    near, far = new_site(host="127.0.0.1"), new_site(host="127.0.0.2")
    near["/"] = SHELL
    near["/app.js"] = Reply(
        body=f"""
        fetch('/api/settings').then(answer => answer.json());
        fetch('{far.url("/items?page=2")}').then(answer => answer.json())
            .then(found => app.innerHTML = found.data.items.map(one => '<p>' + one.name).join(''));
        """,
        headers=SCRIPT,
    )
    near["/api/settings"] = Reply(body='{"theme": "dark"}', headers=JSON)
    items = [{"name": f"tea {n}", "cents": n} for n in range(5)]
    allow = {"Access-Control-Allow-Origin": "*"}
    far["/items"] = Reply(body=json.dumps({"data": {"items": items}}), headers={**JSON, **allow})
    setting = ("--set", "delay=0.1", "--set", 'reach=["127.0.0.2"]')
    ended = project.run("fetch", near.url("/"), "--render", *setting)
    assert ended.code == 0 and "<p>tea 4" in ended.out, ended.text
    *_, first, path, second = ended.out.splitlines()
    assert f"GET {far.url('/items?page=2')}" in first and f"GET {near.url('/api/settings')}" in second
    assert path.strip() == "5 x page.json()['data']['items']: name, cents"
    assert far.paths(robots=True) == ["/robots.txt", "/items?page=2"] and min(near.gaps()) >= 0.1
    found = project.run("fetch", near.url("/"), "--render", "--css", "#app p::text", *setting)
    assert found.out.splitlines() == [one["name"] for one in items]


def test_a_browser_that_grows_is_replaced_and_two_tabs_share_the_work(project: Project, site: Site) -> None:
    site["/"] = "".join(f'<a href="/{n}">{n}</a>' for n in range(12))
    for n in range(12):
        site[f"/{n}"] = SHELL
    site["/app.js"] = Reply(body="fetch('/api').then(() => app.textContent = 'done')", headers=SCRIPT)
    site["/api"] = "x"
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0, more=', "concurrency": 2'))
    ended = project.run("run", "shop", "--set", "render_memory=1MB")
    assert ended.code == 0, ended.text
    assert [record["app"] for record in project.records("shop")].count("done") == 12
    assert seen(site) == sent(project, "shop")
    assert any("the browser was replaced" in line.get("text", "") for line in project.log("shop"))


def test_new_writes_a_spider_for_the_json_behind_a_shell(project: Project, site: Site) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="fetch('/api/teas?page=1').then(answer => answer.json())", headers=SCRIPT)
    teas = [{"id": n, "name": f"tea {n}", "price": n * 2.5} for n in range(1, 9)]
    site["/api/teas"] = Reply(body=json.dumps({"teas": teas}), headers=JSON)
    written = project.run("new", "teas", site.url("/"), "--set", "delay=0")
    assert written.code == 0 and "so does the spider" in written.err, written.text
    asked = len(site.arrivals)
    ended = project.run("run", "teas", "--set", "delay=0")
    assert ended.code == 0 and len(project.records("teas")) == 8, ended.text
    assert [one.path for one in site.arrivals[asked:]] == ["/api/teas?page=1"]  # no browser, no page


def test_what_pages_ask_for_may_keep_a_delay_of_its_own_between_pages_that_keep_theirs(
    project: Project, site: Site
) -> None:
    site["/"] = SHELL + '<a href="/second">second</a>'
    site["/second"] = SHELL
    site["/app.js"] = Reply(body="fetch('/1').then(() => fetch('/2'))", headers=SCRIPT)
    site["/1"] = site["/2"] = "x"
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=2, more=', "render_delay": 0.1'))
    ended = project.run("run", "shop")
    assert ended.code == 0, ended.text
    assert site.paths(robots=True) == ["/robots.txt", "/", "/app.js", "/1", "/2", "/second", "/1", "/2"]
    gaps = site.gaps()
    assert min(gaps[0], gaps[4]) >= 2.0 and min(gaps) >= 0.1 and max(gaps[3], gaps[5], gaps[6]) < 2.0
    audit = project.run("audit", "shop")
    assert audit.code == 0 and "loads 0.1 s" in audit.out, audit.text


def test_two_processes_share_the_clock_of_a_domain_that_the_pages_of_both_ask(
    project: Project, new_site: Callable[..., Site]
) -> None:
    one, other, far = (new_site(host=f"127.0.0.{n}") for n in (1, 2, 3))
    far["/lib.js"] = Reply(body="1", headers={**SCRIPT, "Cache-Control": "no-cache"})
    shell = SHELL + f'<script src="{far.url("/lib.js")}"></script>'
    for site in (one, other):
        site["/"] = shell + "".join(f'<a href="/{n}">{n}</a>' for n in range(4))
        site["/app.js"] = Reply(body="fetch('/api').then(() => app.textContent = 'done')", headers=SCRIPT)
        site["/api"] = "x"
        for n in range(4):
            site[f"/{n}"] = shell
    starts = repr([one.url("/"), other.url("/")])
    source = SPIDER.format(url="x", delay=0.1, more="").replace('["x"]', starts)
    project.spider("shop", source)
    ended = project.run("run", "shop", "--workers", "2")
    assert ended.code == 0 and len(project.records("shop")) == 10, ended.text
    assert seen(one, other, far) == sent(project, "shop")
    assert min(far.gaps()) >= 0.1 and project.run("audit", "shop").code == 0


def test_a_domain_sends_its_own_pages_and_what_others_pages_ask_of_it_one_after_the_other(
    project: Project, new_site: Callable[..., Site]
) -> None:
    near, far = new_site(host="127.0.0.1"), new_site(host="127.0.0.2")
    lasts, delay = 0.3, 0.2  # seconds to the first byte of the far site's answers, and between its requests
    near["/"] = SHELL + f'<script src="{far.url("/lib.js")}"></script>'
    near["/app.js"] = Reply(
        body="".join(f"fetch('{far.url(f'/api/{n}')}').finally(() => " for n in range(4))
        + "app.textContent = 'done'"
        + ")" * 4,
        headers=SCRIPT,
    )
    far["/lib.js"] = Reply(body="1", headers=SCRIPT, wait=lasts)
    far["*"] = Reply(body="<p>far", headers={"Access-Control-Allow-Origin": "*"}, wait=lasts)
    plain = [far.url(f"/page/{n}") for n in range(14)]
    project.spider(
        "both",
        f"""
        from scraper import Render, Request, Spider

        class Both(Spider):
            settings = {{"delay": {delay}}}
            allowed_domains = ["127.0.0.1", "127.0.0.2"]

            def start(self):
                yield Request("{near.url("/")}", render=Render(wait_for="text=done"))
                for url in {plain!r}:
                    yield url

            def parse(self, page):
                yield {{"url": page.url}}
        """,
    )
    ended = project.run("run", "both", "--json")
    assert ended.code == 0 and len(project.records("both")) == 15, ended.text
    assert min(far.gaps()) >= lasts + delay
    kinds = ["page" if path.startswith("/page") else "load" for path in far.paths()]
    first = kinds.index("load")
    assert kinds.count("load") == 5 and "page" in kinds[first:], kinds
    # Neither keeps the other out.
    last = len(kinds) - 1 - kinds[::-1].index("load")
    assert last - first <= 3 * 5, kinds


def test_a_page_is_rendered_to_its_end_though_another_run_waits_for_its_domain(
    project: Project, site: Site
) -> None:
    site["/"] = SHELL
    more = "".join(f".then(() => fetch('/{n}'))" for n in range(9))
    site["/app.js"] = Reply(
        body=f"Promise.resolve(){more}.then(() => app.textContent = 'done')", headers=SCRIPT
    )
    site["*"] = "<h1>x</h1>"
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0.4, more=""))
    plain = SPIDER.format(url=site.url("/plain"), delay=0.4, more="").replace('"always"', '"never"')
    project.spider("other", plain.replace("Shop", "Other"))
    first = project.start("run", "shop")
    _until(lambda: "/app.js" in site.paths(), 30)
    assert project.run("run", "other").code == 0
    ended = first.wait()
    assert ended.code == 0 and project.records("shop")[0]["app"] == "done", ended.text
    # Handed over after what was in hand, which is the whole page, and not begun again.
    assert site.paths() == ["/", "/app.js", *(f"/{n}" for n in range(9)), "/plain"]


def test_what_a_page_had_asked_for_when_the_run_was_stopped_is_in_the_log_too(
    project: Project, site: Site
) -> None:
    site["/"] = SHELL
    site["/app.js"] = Reply(body="let n = 0; setInterval(() => fetch(`/x${n++}`), 50)", headers=SCRIPT)
    site["*"] = "x"
    project.spider("shop", SPIDER.format(url=site.url("/"), delay=0.2, more=""))
    run = project.start("run", "shop")
    _until(lambda: "/x5" in site.paths(), 30)
    run.signal(signal.SIGTERM)
    assert run.wait().code == 143
    assert seen(site) - sent(project, "shop") == Counter({f"GET {site.url('/')}": 1})
