"""Secrets of a run stand in none of its files and in nothing that it says, in no run."""

import base64
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.project import Ended, Project
from tests.site import Arrival, Reply, Site, page

PASSWORD, COOKIE, TOKEN = "opensesame", "c00kie-value", "t0ken-of-the-environment"
SPIDER = """
    import os
    from scraper import Spider

    class Members(Spider):
        start_urls = ["{root}?api_key=k3y-in-the-url", "{root}fine"]
        settings = {{"delay": 0, "auth": {{"127.0.0.1": "ada:auth-pass"}}}}
        health = {{"max_failed": 1.0}}

        def login(self, session):
            session.submit("{root}login", pw=self.params["pass"])

        def parse(self, page):
            if "api_key" not in page.url:
                yield {{"url": page.url}}
                return
            cookie = page.session.cookies["sid"]
            token = os.environ["SHOP_TOKEN"]
            raise ValueError(f"no: {{self.params}} {{token}} {{cookie}} {{page.url}} \\x1b[2J")
"""


def answer(arrival: Arrival) -> Any:
    if arrival.path == "/login":
        form = '<form method=post><input type=password name="pw"></form>'
        return Reply(
            200, form if arrival.method == "GET" else "in", {"Set-Cookie": f"sid={COOKIE}; Max-Age=999"}
        )
    return page()


def run(project: Project, *arguments: str) -> Ended:
    (project.root / "pass.txt").write_text(f"{PASSWORD}\n")
    return project.run(
        "run", "members", "--param", "pass=@pass.txt", "-v", *arguments, env={"SHOP_TOKEN": TOKEN}
    )


def leaks(project: Project, ended: Ended) -> list[str]:
    basic = base64.b64encode(b"ada:auth-pass").decode()
    secrets = (PASSWORD, COOKIE, TOKEN, "auth-pass", basic, "k3y-in-the-url", "\x1b")
    files = [
        one for one in project.data().rglob("*") if one.is_file() and not one.name.startswith("scraper.db")
    ]
    texts = {
        str(one): one.read_text("utf-8")
        for one in files
        if one.suffix in (".jsonl", ".json", ".html", ".txt")
    }
    texts |= {"terminal": ended.out + ended.err}
    return [f"{secret!r} in {name}" for name, text in texts.items() for secret in secrets if secret in text]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.thorough)])
def test_they_stand_nowhere_also_when_a_cookie_logged_us_in(
    project: Project, site: Site, workers: str
) -> None:
    site["*"] = answer
    site["/robots.txt"] = 404
    project.spider("members", SPIDER.format(root=site.url("/")))
    for count in (1, 2):
        ended = run(project, "--workers", workers)
        failed = [line for line in project.log("members") if line["event"] == "failed"]
        assert len(failed) == count and "ValueError: no:" in failed[-1]["reason"], ended.text
        assert not leaks(project, ended)
        shown = project.run("show", "members")
        assert not leaks(project, shown)
    assert [arrival.path for arrival in site.arrivals].count("/login") == 2
    folder = next(project.data("members", "runs").iterdir())
    for name in ("log.jsonl", "run.json", "report.html", "errors.txt"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name


def test_a_parameter_comes_from_a_file_the_environment_or_standard_input(
    project: Project, tmp_path: Path
) -> None:
    project.spider(
        "p",
        """
        from scraper import Spider
        class P(Spider):
            def start(self):
                raise SystemError(str(sorted(self.params.items())))
        """,
    )
    (project.root / "f").write_text("from file\r\n")
    ended = project.run(
        "run", "p", *(w for v in ("a=@f", "b=@env:B", "c=@@at") for w in ("--param", v)), env={"B": "x y"}
    )
    assert "('a', '" in ended.err and "('c', '@at')" in ended.err, ended.text
    for value in ("a=@missing", "a=@env:MISSING", "a=-"):
        ended = project.run("run", "p", "--param", value)
        assert ended.code == 2 and "--param a" in ended.err and len(ended.err.splitlines()) == 1, ended.text
    ended = project.run("cron", "p", "0 3 * * *", "--param", "password=-")
    assert ended.code == 2 and "nobody types at night (write @FILE in place of -)" in ended.err, ended.text


def test_a_requests_own_fields_and_what_a_site_says_to_a_login_stand_nowhere(
    project: Project, site: Site
) -> None:
    site["*"] = Reply(404, "\x1b[31m no \u202e")
    source = """
        from scraper import Request, Spider

        class Own(Spider):
            def start(self):
                fields = {{"X-Token": "t0ken-of-a-field", "Authorization": "Bearer b3arer"}}
                yield Request({root!r}, headers=fields)

            handle_statuses = [404]

            def parse(self, page):
                raise ValueError("t0ken-of-a-field, or only b3arer")
        """
    project.spider("own", source.format(root=site.url()))
    ended = project.run("run", "own", "-v")
    assert "ValueError: ***, or only ***" in ended.err, ended.text
    told = "\n".join(one.read_text() for one in project.data("own").rglob("*.*") if one.suffix != ".gz")
    assert "t0ken-of-a-field" not in told and "b3arer" not in told

    login = (
        "def login(self, session):\n                raise OSError(session.get({root!r}).text)\n\n            "
    )
    source = source.replace("def start", f"{login}def start")
    project.spider("own", source.format(root=site.url()))
    ended, shown = project.run("run", "own", "--fresh"), project.run("show", "own")
    assert ended.code == 77 and "left      127.0.0.1: login on" in shown.out, shown.text
    assert not {"\x1b", "\u202e"} & set(ended.text + shown.text)


def test_what_check_tells_of_archived_pages_has_no_secret(project: Project, site: Site) -> None:
    site["*"] = page(title="page")
    project.spider(
        "searched",
        """
        from scraper import Spider

        class Searched(Spider):
            settings = {{"delay": 0, "archive": True}}

            def start(self):
                yield {root!r} + self.params["q"]

            def parse(self, page):
                yield {{"title": page.css("title::text").get(), "was": {was}}}
        """.format(root=site.url("/search?q="), was=1),
    )
    (project.root / "q.txt").write_text("geheimes-w0rt")
    asked = ("--param", "q=@q.txt")
    assert project.run("run", "searched", *asked).code == 0
    path = project.root / "spiders" / "searched.py"
    path.write_text(path.read_text().replace('"was": 1', '"was": self.params["q"]'))
    for more in ((), ("--json",)):
        checked = project.run("check", "searched", *asked, *more)
        assert checked.code == 1 and "***" in checked.out and "geheimes-w0rt" not in checked.text


def test_what_drop_failed_and_an_error_say_of_a_request_has_none_of_its_secrets(
    project: Project, site: Site
) -> None:
    source = """
        from scraper import Drop, Request, Spider

        class Told(Spider):
            settings = {{"delay": 0}}
            secrets = "t0ken-of-a-field k3y-in-the-url"

            def start(self):
                for path in ("drop", "raise"):
                    url = "{root}" + path + "?api_key=k3y-in-the-url"
                    yield Request(url, headers={{"X-Token": "t0ken-of-a-field"}})

            def parse(self, page):
                raise (Drop if "drop" in page.url else ValueError)(self.secrets)

            def failed(self, request, why):
                raise KeyError(self.secrets)
        """
    site["*"] = page()
    site["/robots.txt"] = 404
    project.spider("told", source.format(root=site.url("/")))
    ended = project.run("run", "told", "-v")
    reasons = [line["reason"] for line in project.log("told") if line["event"] in ("dropped", "failed")]
    assert sorted(reasons)[0] == "*** ***" and "failed() raised KeyError" in sorted(reasons)[1], ended.text
    told = ended.text + "\n".join(one.read_text() for one in project.data("told").rglob("*.*"))
    assert "t0ken-of-a-field" not in told and "k3y-in-the-url" not in told
    assert b"raised KeyError: 't0ken" not in project.data("scraper.db").read_bytes()
