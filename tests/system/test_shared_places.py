"""Two hosts that write one shared folder, or one place of fsspec, at the same time; one of them is killed."""

import importlib.util
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hosts import asked, until
from tests.object_store import ObjectStore
from tests.project import Project
from tests.site import Reply, Site, page

pytestmark = pytest.mark.thorough
_HAS_S3 = all(map(importlib.util.find_spec, ("moto", "s3fs", "flask")))
_HAS_FSSPEC = importlib.util.find_spec("fsspec")
PAGES, SITES = 12, 4
SPIDER = """
    from scraper import File, Spider

    class Shop(Spider):
        start_urls = {starts}
        key = "url"
        settings = {{"delay": {delay}, "archive": True, "archive_to": "{place}", "files_to": "{place}"}}

        def parse(self, page):
            yield {{"url": page.url}}
            yield File(page.urljoin("/file-of" + page.url.rpartition("/")[2]))
            yield from page.follow_all("a")
"""


@pytest.fixture(
    params=[
        "folder",
        pytest.param("file", marks=pytest.mark.skipif(not _HAS_FSSPEC, reason="fsspec is not installed")),
        pytest.param("s3", marks=pytest.mark.skipif(not _HAS_S3, reason="moto and s3fs are not installed")),
    ]
)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[str, Callable[[], list[str]]]:
    """Where the hosts write, and what is there."""
    folder = tmp_path / "shared"
    if request.param == "s3":
        server = ObjectStore()
        request.addfinalizer(server.stop)
        # moto answers 500 where two write one object at once, which S3 does not: both ask again.
        for name, value in (server.environment | {"AWS_MAX_ATTEMPTS": "5"}).items():
            monkeypatch.setenv(name, value)
        return server.url, server.names

    def names() -> list[str]:
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    return folder.as_uri() if request.param == "file" else str(folder), names


def test_two_hosts_keep_their_pages_and_files_in_one_place_though_one_is_killed(
    store: str,
    hosts: Callable[[str], Project],
    new_site: Callable[..., Site],
    place: tuple[str, Callable[[], list[str]]],
) -> None:
    where, names = place
    delay = 1.0 if where.startswith("s3") else 0.4  # its library takes seconds to load
    sites = [_site(new_site, f"127.0.0.{10 + n}") for n in range(SITES)]
    one, two = hosts("one"), hosts("two")
    for project in (one, two):
        project.spider("shop", SPIDER.format(starts=[site.url() for site in sites], place=where, delay=delay))
    one.run("doctor", "--store", store)  # makes the tables
    helper = two.start("work", "shop", "--store", store, "--stay")
    run = one.start("run", "shop", "--store", store, "--json")
    until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
    helper.kill()
    assert two.run("work", "shop", "--store", store).code == 0
    ended = run.wait()
    assert ended.code == 0, ended.text
    records = one.records("shop")
    assert len(records) == SITES * 2 * (PAGES + 1)
    paths = Counter(record["path"] for record in records if "path" in record)
    assert {f"shop/{path}" for path in paths} == {name for name in names() if "/files/" in name}
    assert not [name for name in names() if name.endswith(".part")]
    for project in (one, two):
        left = [file for file in project.data("shop").rglob("*") if file.name.startswith("pages")]
        assert not left, "some segments were not sent"
    assert one.run("reparse", "shop", "--store", store).code == 0
    assert _sorted(one.records("shop")) == _sorted(records)


def test_another_host_helps_to_parse_an_archive_and_is_killed(
    store: str, hosts: Callable[[str], Project], new_site: Callable[..., Site], tmp_path: Path
) -> None:
    sites = [_site(new_site, f"127.0.0.{10 + n}") for n in range(2 * SITES)]
    one, two = hosts("one"), hosts("two")
    given = {"starts": [site.url() for site in sites], "place": str(tmp_path / "shared"), "delay": 0}
    one.spider("shop", SPIDER.format(**given))
    assert one.run("run", "shop", "--store", store).code == 0
    records = one.records("shop")
    for site in sites:
        site.stop()
    slow = SPIDER.replace('yield {{"url"', '__import__("time").sleep(0.05)\n            yield {{"url"')
    for project in (one, two):
        project.spider("shop", slow.format(**given))
    helper = two.start("work", "shop", "--store", store, "--stay")
    reparse = one.start("reparse", "shop", "--store", store)
    until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
    helper.kill()
    helped = two.run("work", "shop", "--store", store)
    assert (reparse.wait().code, helped.code) == (0, 0), helped.text
    assert _sorted(one.records("shop")) == _sorted(records)
    sql = "SELECT count(*), count(DISTINCT url) FROM visits WHERE run = 2"
    assert asked(store, sql) == [(len(records), len(records))]
    assert "helps run" in helped.err


def _site(new_site: Callable[..., Site], host: str) -> Site:
    """All sites have the same files."""
    links = [f"/{n}" for n in range(PAGES)]
    site = new_site({"/": page(*links)}, host=host)
    for link in ("/", *links):
        site[link] = page(*(links if link == "/" else ()), text="x" * 500)
        name = link.rpartition("/")[2]
        site[f"/file-of{name}"] = Reply(200, f"file {name}" * 2000, {"Content-Type": "application/pdf"})
    return site


def _sorted(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(records, key=lambda record: str(record["url"]))
