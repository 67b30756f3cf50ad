"""Sites in every kind of trouble, each on a domain of its own, in one run of the real command.

Each site has "/" with links to "/a", where the trouble is, and "/b", which is well. What must come of "/a"
stands beside each trouble; "/b" must be fetched in any case, unless the trouble is the whole site's.
"""

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pytest

from tests.project import Ended, Project, read_jsonl
from tests.site import Arrival, Reply, Scripted, Site, page, redirect

DELAY = 0.1
SETTINGS = (f"delay={DELAY}", "timeout=0.5", "max_attempts=2", "max_body=1000000", "max_wait=5")
HTML = {"Content-Type": "text/html"}
OK = "HTTP/1.1 200 OK\r\n"


def raw(*parts: str | bytes) -> Reply:
    """These bytes for an answer, then the end of the connection."""
    return Reply(raw=b"".join(part.encode() if isinstance(part, str) else part for part in parts))


def coded(body: bytes, coding: str) -> Reply:
    return Reply(200, body, {**HTML, "Content-Encoding": coding})


def html(body: str | bytes, **fields: str) -> Reply:
    return Reply(200, body, {**HTML, **{name.replace("_", "-"): value for name, value in fields.items()}})


def ask_for_a_cookie(arrival: Arrival) -> Reply:
    if "known=1" in arrival.headers.get("cookie", ""):
        return page(title="in")
    return Reply(302, "", {"Location": "/a", "Set-Cookie": "known=1; Path=/"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """`a`: what "/a" answers; `outcome` of `where`: fetched, or its event in the log and a part of why."""

    a: Scripted
    outcome: str = "fetched"
    more: Mapping[str, Scripted] = field(default_factory=dict)
    robots: Scripted = 404
    has_rest: bool = True  # "/b" is fetched all the same
    where: str = "/a"


GOOD = page(title="good")
DENY_A = "User-agent: *\nDisallow: /a"
TRY_AGAIN: Mapping[str, Scripted] = {
    "an error once": [500, GOOD],
    "a reset before the answer": [Reply(0, reset=True), GOOD],
    "a reset in the body": [Reply(200, "x" * 500, HTML, cut=50, reset=True), GOOD],
    "a connection closed without a word": [Reply(0), GOOD],
    "a body that ends too early": [Reply(200, "x" * 500, HTML, cut=50), GOOD],
    "gzip that ends too early": [coded(gzip.compress(os.urandom(900))[:300], "gzip"), GOOD],
    "no HTTP": [raw("SSH-2.0-OpenSSH_9.2\r\n"), GOOD],
    "chunks without an end": [raw(OK, "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), GOOD],
    "chunks of nonsense": [raw(OK, "Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), GOOD],
    "two lengths": [Reply(200, "x" * 9, [("Content-Length", "9"), ("Content-Length", "5")]), GOOD],
    "too many requests, without a hint": [429, GOOD],
}
PAGES = {
    **{name: Trouble(answers) for name, answers in TRY_AGAIN.items()},
    "an error for good": Trouble(502, "failed: status 502, after 2 attempts"),
    "an answer that does not begin": Trouble(Reply(wait=3), "failed: timed out"),
    "an answer that drips": Trouble(Reply(200, "x" * 500, drip=0.02), "failed: timed out"),
    "a body without bounds": Trouble(Reply(200, "x" * 2_000_000), "failed: body over"),
    "a gzip bomb": Trouble(coded(gzip.compress(bytes(50_000_000)), "gzip"), "failed: body over"),
    "a deflate bomb": Trouble(coded(zlib.compress(bytes(50_000_000)), "deflate"), "failed: body over"),
    "a header line of 100 kB": Trouble(html("x", X_Long="y" * 100_000)),
    "a head of 300 kB": Trouble(html("x", X_Long="y" * 300_000), "failed: header fields over"),
    "a coding that nobody asked for": Trouble(coded(b"x", "compress"), "failed: was not asked for"),
    "a coding that is none": Trouble(coded(b"<title>plain</title>", "UTF-8")),
    "an answer after early hints": Trouble(
        raw("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", OK, "Content-Length: 2\r\n\r\nok")
    ),
    "a label that lies": Trouble(coded(b"<title>plain</title>", "gzip")),
    "a length that is too short": Trouble(Reply(200, f"{OK}\r\nsmuggled", {"Content-Length": "5"})),
    "a length that is no number": Trouble(Reply(200, "x", {"Content-Length": "abc"}, close=True)),
    "HTTP/1.0": Trouble(raw("HTTP/1.0 200 OK\r\n\r\n<title>old</title>")),
    "a line that is no header field": Trouble(raw(OK, "nonsense\r\nContent-Length: 2\r\n\r\nok")),
    "an unknown status": Trouble(raw("HTTP/1.1 999 No\r\nContent-Length: 0\r\n\r\n"), "failed: status 999"),
    "304 unasked": Trouble(304, "failed: status 304"),
    "206 unasked": Trouble(206, "failed: status 206"),
    "204": Trouble(204),
    "a page of nothing": Trouble(html("")),
    "bytes at random": Trouble(html(os.urandom(9000))),
    "an encoding that nobody knows": Trouble(
        html(b"\xff\xfe\xfa", Content_Type="text/html; charset=klingon")
    ),
    "a page of open tags": Trouble(html("<div>" * 60_000 + "<b>" * 1000)),
    "a connection closed after the answer": Trouble(Reply(200, "<title>x</title>", HTML, close=True)),
    "a circle": Trouble(redirect("/c"), "failed: redirects in a circle", {"/c": redirect("/a")}),
    "a redirect to a cookie": Trouble(ask_for_a_cookie),
    "a redirect to its other spelling": Trouble(
        redirect("/c?x=1&a=2"), "fetched", {"/c?x=1&a=2": redirect("/c?a=2&x=1"), "/c?a=2&x=1": GOOD}
    ),
    "a redirect to what is closed": Trouble(
        redirect("/private/x"),
        "denied: Disallow: /private",
        robots=Reply(200, "User-agent: *\nDisallow: /private"),
        where="/private/x",
    ),
    "a redirect to a file": Trouble(redirect("file:///etc/passwd"), "failed: no web address"),
    "a redirect to a stranger": Trouble(redirect("http://127.9.9.9/"), "denied: outside allowed_domains"),
    "a redirect with a password": Trouble(redirect("http://me:secret@127.9.9.9/"), "denied: credentials"),
    "a redirect to nowhere": Trouble(302, "failed: without a Location"),
    "a refusal": Trouble(403, "failed: 403 Forbidden"),
    "a challenge that says 200": Trouble(
        html("<title>Just a moment...</title><script>window._cf_chl_opt={}</script>"), "failed: Cloudflare"
    ),
}
ROBOTS = {
    "robots.txt with an error": Trouble(GOOD, "", robots=503, has_rest=False),
    "robots.txt that is busy": Trouble(GOOD, "", robots=429, has_rest=False),
    "robots.txt that does not answer": Trouble(GOOD, "", robots=Reply(wait=3), has_rest=False),
    "robots.txt that breaks off": Trouble(GOOD, "", robots=Reply(0, reset=True), has_rest=False),
    "robots.txt in a circle": Trouble(GOOD, "", robots=redirect("/robots.txt"), has_rest=False),
    "robots.txt that is gone": Trouble(GOOD, robots=410),
    "robots.txt that is forbidden": Trouble(GOOD, robots=403),
    "robots.txt that is a page": Trouble(GOOD, robots=html("<html>User-agent: *<br>Disallow: /</html>")),
    "robots.txt that is noise": Trouble(GOOD, robots=Reply(200, bytes(range(256)) * 9)),
    "robots.txt with a mark": Trouble(
        GOOD, "denied: line 2", robots=Reply(200, b"\xef\xbb\xbf" + DENY_A.encode())
    ),
    "robots.txt five redirects away": Trouble(
        GOOD,
        "denied: line 2",
        {f"/r{n}": redirect(f"/r{n + 1}") for n in range(1, 5)} | {"/r5": Reply(200, DENY_A)},
        redirect("/r1"),
    ),
    "robots.txt that comes at the second try": Trouble(
        GOOD, "denied: line 2", robots=[503, Reply(200, DENY_A)]
    ),
    "robots.txt beyond 500 KiB": Trouble(
        GOOD, "denied: line 2", robots=Reply(200, f"{DENY_A}\n{'#' * 600_000}\nDisallow: /b")
    ),
}
ALL = PAGES | ROBOTS

SPIDER = """
from scraper import Spider

class Faults(Spider):
    start_urls = {starts!r}
    key = "url"

    def parse(self, page):
        yield {{"url": page.url, "asked": page.request.url}}
        yield from page.follow_all("a")
"""


@dataclass(frozen=True, slots=True)
class Crawled:
    """What the one run left."""

    ended: Ended
    sites: Mapping[str, Site]
    fetched: frozenset[str]
    log: Mapping[str, str]

    def outcome(self, url: str) -> str:
        return "fetched" if url in self.fetched else self.log.get(url, "lost")


@pytest.fixture(scope="module")
def crawled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crawled]:
    project = Project(tmp_path_factory.mktemp("faults"))
    sites: dict[str, Site] = {}
    for number, (name, trouble) in enumerate(ALL.items(), 1):
        links = page("/a", "/b", title="start")
        pages = {"/robots.txt": trouble.robots, "/": links, "/a": trouble.a, "/b": GOOD, **trouble.more}
        sites[name] = Site(pages, host=f"127.0.20.{number}")
    project.spider("faults", SPIDER.format(starts=[site.url() for site in sites.values()]))
    ended = project.run("run", "faults", *(part for one in SETTINGS for part in ("--set", one)))
    (folder,) = project.data("faults", "runs").iterdir()
    fetched = frozenset(record["asked"] for record in read_jsonl(folder / "records.jsonl"))
    log = {
        line["url"]: f"{line['event']}: {line.get('reason', '')}"
        for line in read_jsonl(folder / "log.jsonl")
        if line.get("event") in ("failed", "denied", "deferred")
    }
    yield Crawled(ended, sites, fetched, log)
    for site in sites.values():
        site.stop()
    project.end()


def test_the_run_ends_and_says_what_failed(crawled: Crawled) -> None:
    assert crawled.ended.code in (0, 1), crawled.ended.text
    failed = [url for url, told in crawled.log.items() if told.startswith("failed")]
    assert len(failed) == sum(trouble.outcome.startswith("failed") for trouble in ALL.values())
    assert "Traceback" not in crawled.ended.text and "bug" not in crawled.ended.err


@pytest.mark.parametrize("name", ALL)
def test_trouble_is_met_as_it_should_be(crawled: Crawled, name: str) -> None:
    site, trouble = crawled.sites[name], ALL[name]
    kind, _, reason = trouble.outcome.partition(": ")
    outcome = crawled.outcome(site.url(trouble.where))
    assert not trouble.outcome or (outcome.startswith(kind) and reason in outcome), outcome
    rest = crawled.outcome(site.url("/b" if trouble.has_rest else "/"))
    assert rest.startswith("fetched" if trouble.has_rest else "denied: robots.txt is unreachable"), rest


@pytest.mark.parametrize("name", ALL)
def test_in_trouble_the_delay_is_kept_and_robots_txt_comes_first(crawled: Crawled, name: str) -> None:
    site = crawled.sites[name]
    assert min(site.gaps(), default=DELAY) >= DELAY
    assert site.arrivals[0].path == "/robots.txt"
    assert len(site.arrivals) <= 30


def test_what_is_closed_or_strange_is_never_asked_for(crawled: Crawled) -> None:
    assert crawled.sites["a redirect to what is closed"].paths() == ["/", "/a", "/b"]
    for name, trouble in ROBOTS.items():
        if not trouble.has_rest:
            assert set(crawled.sites[name].paths(robots=True)) == {"/robots.txt"}


DEADLY = """
import os
from scraper import Spider

class Deadly(Spider):
    start_urls = ["{url}deadly", "{url}a", "{url}b"]
    settings = {{"delay": 0}}

    def parse(self, page):
        if page.url.endswith("deadly"):
            os.kill(os.getpid(), 9)  # as the system does to one that fills the memory
        yield {{"url": page.url}}
"""


def test_a_page_that_kills_the_process_goes_behind_the_others_and_is_given_up(
    project: Project, site: Site
) -> None:
    site["*"] = page()
    project.spider("deadly", DEADLY.format(url=site.url("/")))
    assert project.run("run", "deadly").code == -9
    assert project.run("run", "deadly").code == -9
    assert project.run("run", "deadly").code == 1
    (failed,) = (line for line in project.log("deadly") if line["event"] == "failed")
    assert failed["url"] == site.url("/deadly") and "the process died 2 times" in failed["reason"]
    assert site.paths().count("/deadly") == 2
    (run,) = project.runs("deadly")
    assert (run["pages"], run["failed"]) == (2, 1)
