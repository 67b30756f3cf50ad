"""Logins through the real command: once, renewed when they are lost, given up after one refusal."""

import html
import itertools
import json
import re
import threading
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.project import Project
from tests.site import Arrival, Reply, Site, page, redirect

PAGES = 60

SPIDER = """
    import os
    from scraper import Spider

    class Members(Spider):
        start_urls = ["{root}"]
        settings = {{"delay": {delay}}}

        def login(self, session):
            answer = session.submit(
                "{root}login", form="form#login", user="ada", password=self.params["password"]
            )
            {after}

        {extra}

        def parse(self, page):
            yield {{"url": page.url, "title": page.css("h1::text").get()}}
            yield from page.follow_all("a")
"""


class Club:
    """A site for members: a form with a token, and a cookie that is good for so many pages."""

    def __init__(self, site: Site, good_for: int = 10**9, lost: Any = None) -> None:
        self.site = site
        self.good_for = good_for
        self.lost = lost or redirect("/login?next=x")
        self.logins: list[dict[str, list[str]]] = []
        self._tokens = itertools.count(1)
        self._left: dict[str, int] = {}
        self._lock = threading.Lock()
        site["/login"] = self.login
        site["/"] = self.member("/", *(f"/p/{n}" for n in range(PAGES)), "/logout")
        for number in range(PAGES):
            site[f"/p/{number}"] = self.member(f"/p/{number}")
        site["/logout"] = self.logout

    def login(self, arrival: Arrival) -> Reply:
        if arrival.method == "GET":
            token = f"t{next(self._tokens)}"
            form = (
                '<form id="login" method="post" action="/login"><input name="user">'
                f'<input type="hidden" name="csrf" value="{token}">'
                '<input type="password" name="password"><input type="checkbox" name="stay">'
                '<button name="go" value="in">Log in</button></form>'
            )
            headers = {"Set-Cookie": f"csrf={token}; Path=/", "Content-Type": "text/html"}
            return Reply(200, f"<h1>Log in</h1>{form}", headers)
        sent = parse_qs(arrival.body.decode())
        self.logins.append(sent)
        is_whole = f"csrf={sent['csrf'][0]}" in arrival.headers.get("cookie", "")
        if not is_whole or sent["password"] != ["opensesame"]:
            return Reply(200, "<h1>Wrong password</h1>", {"Content-Type": "text/html"})
        with self._lock:
            name = f"s{len(self.logins)}"
            self._left[name] = self.good_for
        headers = [("Set-Cookie", f"session={name}; Path=/; HttpOnly"), ("Location", "/")]
        return Reply(303, "", headers)

    def logout(self, arrival: Arrival) -> Reply:
        self._left.clear()
        return redirect("/login")

    def member(self, path: str, *links: str) -> Any:
        def answer(arrival: Arrival) -> Any:
            name = re.search(r"session=(\w+)", arrival.headers.get("cookie", ""))
            with self._lock:
                if name is None or self._left.get(name[1], 0) <= 0:
                    return self.lost
                self._left[name[1]] -= 1
            return page(*links, title=f"member {path}")

        return answer


def write(project: Project, site: Site, extra: str = "", after: str = "pass", delay: float = 0) -> None:
    project.spider("members", SPIDER.format(root=site.url("/"), delay=delay, extra=extra, after=after))


def run(project: Project, password: str = "opensesame", *arguments: str) -> Any:
    return project.run("run", "members", "--json", "--param", f"password={password}", *arguments)


def whole(site: Site) -> set[str]:
    return {site.url("/"), *(site.url(f"/p/{n}") for n in range(PAGES))}


def test_it_comes_before_the_first_page_with_what_the_form_hides(project: Project, site: Site) -> None:
    club = Club(site)
    write(project, site)
    ended = run(project)
    assert ended.code == 0, ended.text
    assert site.paths(robots=True)[:4] == ["/robots.txt", "/login", "/login", "/"]
    assert club.logins == [{"user": ["ada"], "csrf": ["t1"], "password": ["opensesame"], "go": ["in"]}]
    assert {record["url"] for record in project.records("members")} == whole(site)


def test_a_login_that_expires_every_25_pages_loses_no_page_and_doubles_none(
    project: Project, site: Site
) -> None:
    club = Club(site, good_for=25)
    write(project, site)
    ended = run(project)
    assert ended.code == 0, ended.text
    records = [record["url"] for record in project.records("members")]
    assert len(records) == len(set(records)) == PAGES + 1 and set(records) == whole(site)
    # Each login fetches the front page once more: 24 pages are left of its 25.
    assert len(club.logins) == 3
    assert ended.summary["by_domain"][site.host]["logins"] == 3
    assert ended.summary["requests"] == len(site.arrivals)


@pytest.mark.parametrize("lost", [401, (page(title="Please log in").body, 200)])
def test_a_401_and_a_page_that_says_so_renew_it_too(project: Project, site: Site, lost: Any) -> None:
    club = Club(site, good_for=25, lost=lost)
    says = 'def logged_out(self, page):\n            return page.css("h1::text").get() == "Please log in"'
    write(project, site, extra=says)
    ended = run(project)
    assert ended.code == 0, ended.text
    assert {record["url"] for record in project.records("members")} == whole(site)
    assert {record["title"] for record in project.records("members")} >= {"member /", "member /p/7"}
    assert len(club.logins) == 3


def test_with_several_requests_in_the_air_it_is_renewed_alone_and_nothing_is_lost(
    project: Project, site: Site
) -> None:
    club = Club(site, good_for=20)
    write(project, site, delay=0.01)
    ended = run(project, "opensesame", "--set", "concurrency=4")
    assert ended.code == 0, ended.text
    records = [record["url"] for record in project.records("members")]
    assert len(records) == len(set(records)) and set(records) == whole(site)
    assert 3 <= len(club.logins) <= 5


def test_the_next_run_does_not_log_in_again(project: Project, site: Site) -> None:
    club = Club(site)
    write(project, site)
    assert run(project).code == 0
    assert run(project).code == 0
    assert len(club.logins) == 1


def test_a_next_run_whose_login_has_expired_logs_in_once(project: Project, site: Site) -> None:
    club = Club(site)
    write(project, site)
    assert run(project).code == 0
    club.logout(site.arrivals[0])
    ended = run(project)
    assert ended.code == 0, ended.text
    assert len(club.logins) == 2
    assert {record["url"] for record in project.records("members")} == whole(site)


def test_a_wrong_password_is_tried_once_and_stands_in_no_file(project: Project, site: Site) -> None:
    club = Club(site)
    raising = "raise RuntimeError(f\"no: {answer.url}?password={self.params['password']}\")"
    write(project, site, after=raising)
    ended = run(project, "Tr0ub4dor")
    assert ended.code == 77 and ended.summary["verdict"] == "AUTH", ended.text
    assert len(club.logins) == 1 and "/" not in site.paths()
    assert "RuntimeError: no:" in " ".join(ended.summary["reasons"])
    assert "Tr0ub4dor" not in ended.text
    kept = [path for path in project.data().rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"Tr0ub4dor" in path.read_bytes()]


def test_a_login_that_does_not_take_is_tried_once(project: Project, site: Site) -> None:
    club = Club(site)
    write(project, site)
    ended = run(project, "wrong")
    assert ended.code == 77, ended.text
    assert len(club.logins) == 1
    assert "still logged out right after a login" in " ".join(ended.summary["reasons"])
    assert site.paths().count("/") <= 2


def test_a_page_that_is_not_for_us_costs_no_further_login_each(project: Project, site: Site) -> None:
    club = Club(site)
    site["/"] = club.member("/", "/admin", *(f"/p/{n}" for n in range(PAGES)))
    site["/admin"] = redirect("/login?next=/admin")
    write(project, site)
    ended = run(project)
    assert {record["url"] for record in project.records("members")} == whole(site)
    assert len(club.logins) <= 2
    failed = [line for line in project.log("members") if line.get("event") == "failed"]
    assert [line["url"] for line in failed] == [site.url("/admin")], ended.text


def test_a_logout_link_is_not_followed(project: Project, site: Site) -> None:
    Club(site)
    write(project, site)
    assert run(project).code == 0
    assert "/logout" not in site.paths()
    denied = {line["url"]: line["reason"] for line in project.log("members") if line["event"] == "denied"}
    assert "logout link" in denied[site.url("/logout")]


def test_a_login_that_robots_txt_closes_is_not_sent(project: Project, site: Site) -> None:
    club = Club(site)
    site["/robots.txt"] = "User-agent: *\nDisallow: /login\n"
    write(project, site)
    ended = run(project)
    assert ended.code == 77, ended.text
    assert site.paths(robots=True) == ["/robots.txt"] and not club.logins
    assert "robots.txt line 2: Disallow: /login" in " ".join(ended.summary["reasons"])


def test_a_login_on_a_host_that_is_not_named_is_refused(project: Project, site: Site, new_site: Any) -> None:
    other = new_site({"/": "sso"}, host="127.0.0.2")
    Club(site)
    write(project, site, after=f'session.get("{other.url("/")}")')
    ended = run(project)
    assert ended.code == 77 and "outside allowed_domains" in " ".join(ended.summary["reasons"])
    assert not other.arrivals


def test_a_named_login_host_is_asked_by_its_own_rules_and_gets_nothing_of_ours(
    project: Project, site: Site, new_site: Any
) -> None:
    other = new_site({"/": "sso", "/open": "sso"}, host="127.0.0.2")
    other["/robots.txt"] = "User-agent: *\nDisallow: /closed\n"
    Club(site)
    calls = f'''session.headers["X-Token"] = "secret-token"
            session.get("{other.url("/open")}"); session.get("{other.url("/")}")
            try:
                session.get("{other.url("/closed")}")
            except Exception as error:
                assert "robots.txt line 2" in str(error), error
            else:
                raise AssertionError("closed was asked for")'''
    write(project, site, after=calls, delay=0.2)
    secrets = {site.host: "ada:secret-basic"}
    ended = run(
        project,
        "opensesame",
        "--max-pages",
        "3",
        "--set",
        f"auth={json.dumps(secrets)}",
        "--set",
        f"allowed_domains={site.host},{other.host}",
    )
    assert ended.code == 0, ended.text
    assert other.paths(robots=True) == ["/robots.txt", "/open", "/"]
    assert min(other.gaps()) >= 0.2 and min(site.gaps()) >= 0.2
    sent = [json.dumps(dict(arrival.headers)) for arrival in other.arrivals]
    assert not [one for one in sent if "secret" in one or "authorization" in one or "session=" in one]
    kept = [path for path in project.data().rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if b"secret-" in path.read_bytes()]
    own = [arrival for arrival in site.arrivals if arrival.path == "/p/0"]
    assert own[0].headers["x-token"] == "secret-token" and own[0].headers["authorization"].startswith("Basic")


def test_a_login_that_redirects_to_itself_ends_at_once(project: Project, site: Site) -> None:
    site["/login"] = redirect("/login")
    site["/"] = page()
    write(project, site)
    ended = run(project)
    assert ended.code == 77, ended.text
    assert site.paths() == ["/login"] and "redirects to itself" in " ".join(ended.summary["reasons"])


def test_every_call_of_a_login_keeps_the_delay_on_the_servers_clock(project: Project, site: Site) -> None:
    Club(site)
    site["/far"] = [redirect("/near"), page()]
    site["/near"] = page()
    write(project, site, after=f'session.get("{site.url("/far")}")', delay=0.15)
    ended = run(project, "opensesame", "--max-pages", "3")
    assert ended.code == 0, ended.text
    assert len(site.gaps()) >= 7 and min(site.gaps()) >= 0.15
    assert html.escape("/far") in site.paths()


def test_callbacks_have_the_session_too(project: Project, site: Site) -> None:
    site["/"] = page(title="front")
    site["/more"] = Reply(200, json.dumps({"price": 7}), {"Content-Type": "application/json"})
    project.spider(
        "more",
        f'''
        from scraper import Spider

        class More(Spider):
            start_urls = ["{site.url("/")}"]
            settings = {{"delay": 0.2}}

            def parse(self, page):
                yield {{"price": page.session.get(page.urljoin("/more")).json()["price"]}}
        ''',
    )
    ended = project.run("run", "more", "--json")
    assert ended.code == 0, ended.text
    assert project.records("more") == [{"price": 7}]
    assert min(site.gaps()) >= 0.2 and ended.summary["requests"] == 3 and ended.summary["connections"] == 1
