"""`shell` and `fetch --css`: a page, and what selectors find on it."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.project import ROOT, Call, Project
from tests.site import Site, page

CODE = "print(css('h1::text').get(), page.status)"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site({"/": page("/a", title="front"), "/a": page(title="inner <b>")}) as found:
        yield found


def test_a_page_can_be_asked_at_a_prompt_and_others_fetched_politely(project: Project, site: Site) -> None:
    code = f"{CODE}; fetch('a'); {CODE}; print(page.url)"
    said = project.run("shell", site.url(), "--set", "delay=0.3", "-c", code)
    assert said.out.splitlines() == ["front 200", "inner <b> 200", site.url("/a")], said.text
    assert site.paths(robots=True) == ["/robots.txt", "/", "/a"] and min(site.gaps()) >= 0.3


def test_commands_can_be_piped_in(project: Project, site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scraper", "shell", site.url(), "--set", "delay=0"],
        input=f"{CODE}\npage.links()\n1/0\nprint('on')\n",
        cwd=project.root,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "front 200" in done.stdout and site.url("/a") in done.stdout
    assert "ZeroDivisionError" in done.stderr and "on\n" in done.stdout


def test_a_terminal_gets_a_prompt_that_says_what_there_is(project: Project, site: Site) -> None:
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "scraper", "shell", site.url(), "--set", "delay=0"],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=project.root,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "TERM": "dumb", "HOME": str(project.root)},
    )
    os.close(follower)
    os.write(leader, f"{CODE}\nexit()\n".encode())
    told = b""
    try:
        while chunk := os.read(leader, 4096):
            told += chunk
    except OSError:
        pass  # the other end is closed
    os.close(leader)
    assert process.wait(30) == 0
    text = told.decode()
    assert "css(QUERY)" in text and "view()" in text and "front 200" in text and "Traceback" not in text


def test_saved_and_archived_pages_are_asked_without_a_network(
    call: Call, project: Project, site: Site
) -> None:
    project.spider(
        "shop",
        f"""
        from scraper import Spider

        class Shop(Spider):
            start_urls = [{site.url()!r}]
            settings = {{"delay": 0}}

            def parse(self, page):
                yield {{"title": page.css("title::text").get()}}
                yield from page.follow_all("a")
        """,
    )
    assert call("run", "shop", "--archive").code == 0
    assert call("check", "shop", "--save", site.url("/a")).code == 0
    asked = len(site.arrivals)
    site["/a"] = page(title="changed")
    run_id = project.runs("shop")[0]["run_id"]
    for words in ((site.url("/a"), "--run", "shop"), (site.url("/a"), "--run", run_id)):
        assert call("shell", *words, "-c", CODE).out == "inner <b> 200\n"
    (saved,) = (project.root / "tests/fixtures/shop").glob("*.json")
    assert call("shell", saved, "-c", CODE).out == "inner <b> 200\n"
    file = project.root / "own.html"
    file.write_text("<h1>mine</h1>", "utf-8")
    assert call("shell", file, "-c", CODE).out == "mine 200\n"
    facts = project.root / "facts.json"
    facts.write_text(json.dumps({"n": [1]}), "utf-8")
    assert call("shell", facts, "-c", "print(page.json()['n'])").out == "[1]\n"
    assert len(site.arrivals) == asked
    said = call("shell", site.url("/never"), "--run", "shop", "-c", CODE)
    assert said.code == 2 and "not in the archive" in said.err


def test_a_page_that_is_not_there_gives_a_reason_and_no_prompt(call: Call, site: Site) -> None:
    said = call("shell", site.url("/none"), "--set", "delay=0", "-c", CODE)
    assert (said.code, said.out) == (1, "") and "status 404" in said.err
    said = call("shell", "no/such.html", "-c", CODE)
    assert said.code == 2 and "no/such.html cannot be read" in said.err and said.err.count("\n") == 1
    said = call("shell", site.url("/"), "--set", "delay=0", "-c", "fetch('/none')")
    assert said.code == 1 and "status 404" in said.err and "Traceback" not in said.err
    said = call("shell", site.url("/"), "--set", "delay=0", "-c", "page.nothing")
    assert said.code == 1 and "has no attribute 'nothing'" in said.err and "bug" not in said.err


def test_a_view_is_a_file_whose_links_lead_to_the_site(call: Call, site: Site) -> None:
    code = "import os, webbrowser; webbrowser.open = print; name = view(); "
    code += "print(open(name).read()); os.remove(name)"
    said = call("shell", site.url(), "--set", "delay=0", "-c", code)
    assert said.out.startswith("file:///") and f'<head><base href="{site.url()}">' in said.out, said.text


def test_fetch_prints_what_a_query_finds_a_line_each(call: Call, site: Site) -> None:
    site["/"] = "<li>one\n  two</li><li>\x1b[2Jthree</li>"
    words = ("fetch", site.url(), "--set", "delay=0", "--css")
    said = call(*words, "li::text")
    assert said.code == 0 and said.out.splitlines()[0] == "one two" and "\x1b" not in said.out
    assert call(*words, "li").out.startswith("<li>one two</li>")
    said = call(*words, "h7")
    assert (said.code, said.out) == (1, "") and "matched nothing" in said.err
    said = call("fetch", site.url("/none"), "--set", "delay=0", "--css", "li")
    assert (said.code, said.out) == (1, "") and "status 404" in said.err
    asked = len(site.arrivals)
    for query in ("li[", "li::nothing", "::"):
        said = call(*words, query)
        assert said.code == 2 and "is no CSS query" in said.err and said.err.count("\n") == 1, said.text
    assert len(site.arrivals) == asked
