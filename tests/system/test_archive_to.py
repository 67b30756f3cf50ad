"""`archive_to` and `files_to`: a shared folder and a real S3 server; some processes are killed."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.object_store import ObjectStore
from tests.project import Ended, Project, Started
from tests.site import Reply, Site, page

pytestmark = pytest.mark.thorough

needs_s3 = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("moto", "s3fs", "flask"))),
    reason="moto[server] and s3fs are not installed",
)
PAGES = 40
SPIDER = """
    from scraper import File, Spider

    class Shop(Spider):
        start_urls = ["{url}"]
        key = "url"
        settings = {{"delay": 0, "archive": True}}

        def parse(self, page):
            yield {{"url": page.url, "title": page.css("title::text").get()}}
            yield from page.follow_all("a")
"""


class Elsewhere:
    """A place for archives and files as the tests see it."""

    def __init__(self, folder: Path, server: ObjectStore | None) -> None:
        self.folder, self.server = folder, server
        self.url = server.url if server is not None else str(folder)
        self.environment = server.environment if server is not None else {}

    def names(self) -> list[str]:
        if self.server is not None:
            return self.server.names()
        return sorted(
            path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()
        )


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    found = ObjectStore()
    yield found
    found.stop()


@pytest.fixture(params=["folder", pytest.param("s3", marks=needs_s3)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Elsewhere:
    folder = tmp_path / "shared"
    if request.param == "folder":
        return Elsewhere(folder, None)
    found: ObjectStore = request.getfixturevalue("server")
    found.stop()
    found.start()  # with an empty bucket
    return Elsewhere(folder, found)


@pytest.fixture
def shop(project: Project, site: Site) -> Site:
    links = [f"/{n}" for n in range(PAGES)]
    site["/"] = page(*links, title="home")
    for link in links:
        site[link] = page(title=link, text="x" * 500)
    project.spider("shop", SPIDER.format(url=site.url()))
    return site


def run(project: Project, place: Elsewhere, *words: str) -> Ended:
    return start(project, place, *words).wait()


def start(project: Project, place: Elsewhere, *words: str) -> Started:
    return project.start(*words, "--set", f"archive_to={place.url}", env=place.environment)


def local(project: Project) -> list[Path]:
    return list(project.data("shop").glob("runs/*/pages*.warc.gz"))


def test_a_run_keeps_its_pages_elsewhere_and_they_are_parsed_from_there(
    project: Project, shop: Site, place: Elsewhere
) -> None:
    assert run(project, place, "run", "shop").code == 0
    (name,) = place.names()
    (run_folder,) = project.data("shop", "runs").iterdir()
    assert name.startswith(f"shop/{run_folder.name}/pages-") and name.endswith(".warc.gz")
    assert local(project) == []
    shop.stop()
    before = project.records("shop")
    ended = run(project, place, "reparse", "shop", "--workers", "2", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, PAGES + 1, 0), ended.text
    assert project.records("shop") == before
    assert run(project, place, "check", "shop").code == 0
    refused = project.run("reparse", "shop", env=place.environment)
    assert refused.code == 2 and "no archived pages" in refused.err


def test_what_a_killed_run_archived_is_sent_whole_by_the_next(
    project: Project, shop: Site, place: Elsewhere
) -> None:
    started = start(project, place, "run", "shop", "--set", "delay=0.02")
    while len(shop.arrivals) < PAGES // 2:
        assert started.process.poll() is None, started.wait().text
    os.kill(started.process.pid, signal.SIGKILL)
    started.wait()
    assert place.names() == [] and len(local(project)) == 1
    with local(project)[0].open("ab") as file:
        file.write(b"\x1f\x8b\x08\x04torn")
    assert run(project, place, "run", "shop").code == 0
    assert (len(place.names()), local(project)) == (2, [])
    shop.stop()
    ended = run(project, place, "reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["records"]) == (0, PAGES + 1, PAGES + 1), (
        ended.text
    )


def test_the_archive_of_a_forgotten_run_goes_and_what_is_needed_still_stays(
    project: Project, site: Site, place: Elsewhere
) -> None:
    def kept(arrival: object) -> Reply:
        is_known = "if-none-match" in arrival.headers  # type: ignore[attr-defined]
        return Reply(304 if is_known else 200, "<title>old</title>", {"ETag": '"1"'})

    site["/old"] = kept
    project.spider("shop", SPIDER.format(url=site.url()))
    for title in "123":
        site["/"] = page("/old", title=title)
        assert run(project, place, "run", "shop", "--set", "retention=1").code == 0
    (run_folder,) = project.data("shop", "runs").iterdir()
    assert {name.split("/")[1] for name in place.names()} == {run_folder.name}
    site.stop()
    ended = run(project, place, "reparse", "shop", "--json")
    assert (ended.code, ended.summary["pages"], ended.summary["failed"]) == (0, 2, 0), ended.text


def test_saved_files_go_elsewhere_and_stand_in_the_next_run(
    project: Project, site: Site, place: Elsewhere
) -> None:
    site["/"] = page(title="home")
    site["/data.bin"] = Reply(200, "content" * 1000, {"ETag": '"1"', "Content-Type": "application/pdf"})
    project.spider(
        "shop",
        SPIDER.format(url=site.url()).replace(
            'page.follow_all("a")', f'[File("{site.url()}/data.bin")] if page.url.endswith("/") else []'
        ),
    )
    words = ("run", "shop", "--json", "--set", "archive=false", "--set", f"files_to={place.url}")
    ended = project.run(*words, env=place.environment)
    assert ended.code == 0, ended.text
    path = next(record["path"] for record in project.records("shop") if "path" in record)
    assert place.names() == [f"shop/{path}"]
    assert not [file for file in project.data("shop", "files").rglob("*") if file.is_file()]
    site["/data.bin"] = lambda arrival: Reply(
        304 if "if-none-match" in arrival.headers else 500, "", {"ETag": '"1"'}
    )
    again = project.run(*words, env=place.environment)
    assert (again.code, again.summary["unchanged"]) == (0, 2), again.text
    assert place.names() == [f"shop/{path}"]


@needs_s3
def test_a_segment_that_cannot_be_sent_stays_until_the_next_run(
    project: Project, shop: Site, server: ObjectStore, tmp_path: Path
) -> None:
    place = Elsewhere(tmp_path, server)
    started = start(project, place, "run", "shop", "--set", "delay=0.02", "--json")
    while len(shop.arrivals) < 5:
        assert started.process.poll() is None, started.wait().text
    server.stop()
    ended = started.wait()
    assert (ended.code, ended.summary["records"], len(local(project))) == (0, PAGES + 1, 1), ended.text
    assert any("stays here until the next run" in line.get("text", "") for line in project.log("shop"))
    asked = len(shop.arrivals)
    refused = run(project, place, "run", "shop")
    assert refused.code != 0 and "s3://pages" in refused.err and len(shop.arrivals) == asked, refused.text
    server.start()
    assert run(project, place, "run", "shop").code == 0
    assert (len(server.names()), local(project)) == (2, [])


def test_a_place_without_its_library_is_told_before_anything_is_fetched(project: Project, shop: Site) -> None:
    blocked = project.root / "fsspec"
    blocked.mkdir()
    env = {"PYTHONPATH": str(project.root)}
    (blocked / "core.py").write_text("raise ImportError('none')")
    (blocked / "__init__.py").touch()
    ended = project.run("run", "shop", "--set", "archive_to=s3://bucket", env=env)
    assert ended.code == 2 and not shop.arrivals and "scraper[remote]" in ended.err, ended.text
