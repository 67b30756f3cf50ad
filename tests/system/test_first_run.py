"""The first thing that a newcomer does: the bookshop that comes along, through the real command."""

import shutil
import socket
from operator import itemgetter
from pathlib import Path

import pytest

from scraper.testing.bookshop import Bookshop
from scraper.testing.catalogue import books
from scraper.testing.shopfront import GONE
from tests.project import ROOT, Project
from tests.site import Site


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def spider(project: Project) -> Path:
    return Path(shutil.copy(ROOT / "spiders" / "bookshop.py", project.root / "spiders"))


def test_the_bookshop_is_crawled_whole_and_once(project: Project, port: int) -> None:
    ended = project.run("run", "bookshop", "--param", f"port={port}", "--json")
    assert ended.code == 0, ended.text
    records = {record["isbn"]: record for record in project.records("bookshop")}
    assert len(project.records("bookshop")) == len(records) == len(books()) - 1
    for book in books():
        if book is not GONE:
            record = records[book.isbn]
            assert (record["title"], record["author"]) == (book.title, book.author)
            assert record["price"] == book.price / 100
    assert ended.summary["records"] == len(records) and ended.summary["verdict"] == "OK"


def test_a_second_run_finds_nothing_new(project: Project, port: int) -> None:
    arguments = ("run", "bookshop", "--param", f"port={port}", "--json")
    assert project.run(*arguments).code == 0
    before = project.records("bookshop")
    again = project.run(*arguments)
    assert again.code == 0, again.text
    # The order is that of the commits: a page that had to be asked for twice may come later.
    assert sorted(project.records("bookshop"), key=itemgetter("url")) == sorted(before, key=itemgetter("url"))
    assert (again.summary["added"], again.summary["changed"], again.summary["removed"]) == (0, 0, 0)
    assert again.summary["unchanged"] > 200


def test_what_the_shop_closes_is_not_asked_for(project: Project) -> None:
    with Bookshop() as shop:
        port = shop.url().rsplit(":", 1)[1].strip("/")
        ended = project.run("run", "bookshop", "--param", f"port={port}")
        assert ended.code == 0, ended.text
        paths = [hit.path for hit in shop.log]
    assert paths[0] == "/robots.txt" and paths.count("/robots.txt") <= 2
    assert not [path for path in paths if path.startswith(("/checkout", "/account")) or "basket" in path]
    assert all(
        "scraper" in hit.headers["user-agent"].lower() for hit in shop.log if hit.path != "/robots.txt"
    )


def test_a_port_in_use_is_told_in_one_line(project: Project, site: Site) -> None:
    ended = project.run("run", "bookshop", "--param", f"port={site.port}")
    assert ended.code == 2, ended.text
    assert f"port={site.port + 1}" in ended.err and "Traceback" not in ended.text
