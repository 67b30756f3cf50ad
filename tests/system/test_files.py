"""Files over real sockets: gone on with after kill -9 and after a cut, and never in memory."""

import hashlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.project import Project

CONTENT = bytes(range(251)) * 20_000  # 5 MB
ETAG = '"v1"'
SPIDER = """
from scraper import File, Spider

class Data(Spider):
    start_urls = ["http://127.0.0.1:{port}/"]
    settings = {{"delay": 0.05, "max_body": 1_000_000}}

    def parse(self, page):
        yield File("http://127.0.0.1:{port}/data.bin")
"""


@dataclass
class FileSite:
    """A server of one file that knows ranges. `stops_at`: how far the next answers get, each in turn.

    `drips`: seconds between its bytes. `holds`: what stopped stays open, as on a line that hangs, to the
    end of the test.
    """

    stops_at: list[int] = field(default_factory=list)
    holds: bool = False
    drips: float = 0.0
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)
    port: int = 0


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    site: FileSite


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/data.bin":
            self._send_file(self.headers.get("Range"), self.headers.get("If-Range"))
        else:
            self._send(200 if self.path == "/" else 404, {"Content-Type": "text/html"}, b"<p>list</p>")

    def _send_file(self, ranged: str | None, condition: str | None) -> None:
        self.server.site.asked.append((ranged, condition))
        told = {"ETag": ETAG, "Content-Type": "application/x-data"}
        if self.headers.get("If-None-Match") == ETAG:
            self._send(304, told, b"")
        elif ranged and condition == ETAG:
            first = int(ranged[6:-1])
            told["Content-Range"] = f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self._send(206, told, CONTENT[first:])
        else:
            self._send(200, told, CONTENT)

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        site = self.server.site
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/data.bin" and site.drips:
            for n in range(200):
                self.wfile.write(body[n : n + 1])
                time.sleep(site.drips)
        most = site.stops_at.pop(0) if self.path == "/data.bin" and site.stops_at else None
        self.wfile.write(body[:most])
        if most is not None:
            self.close_connection = True
            if site.holds:
                site.end.wait(60)

    def log_message(self, *_: Any) -> None:
        """`asked` is the log."""


@pytest.fixture
def file_site() -> Iterator[FileSite]:
    server = _Server(("127.0.0.1", 0), _Handler)
    server.site = FileSite(port=server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server.site
    server.site.end.set()
    server.shutdown()
    server.server_close()


def assert_saved(project: Project) -> None:
    """The one file, whole, and nothing beside it."""
    (record,) = project.records("data")
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (record["size"], record["type"]) == (len(CONTENT), "application/x-data")
    (saved,) = (path for path in project.data("data", "files").rglob("*") if path.is_file())
    assert saved == project.data("data", record["path"])
    assert saved.read_bytes() == CONTENT


def part_of(project: Project, size: int) -> Path:
    """The part, once so much of it is on disk."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        for path in project.data("data", "files", "parts").glob("*.part"):
            if path.stat().st_size >= size:
                return path
        time.sleep(0.01)
    raise AssertionError("the file does not come")


def test_a_killed_download_goes_on_where_it_was(project: Project, file_site: FileSite) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    file_site.stops_at, file_site.holds = [3_000_000], True
    started = project.start("run", "data")
    part_of(project, 3_000_000)
    started.kill()
    ended = project.run("run", "data")
    assert ended.code == 0, ended.text
    assert file_site.asked == [(None, None), ("bytes=3000000-", ETAG)]
    assert_saved(project)


def test_a_connection_that_is_cut_again_and_again_loses_no_byte(
    project: Project, file_site: FileSite
) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    file_site.stops_at = [1_100_000] * 4
    ended = project.run("run", "data", "--set", "max_attempts=2", "--set", "timeout=5")
    assert ended.code == 0, ended.text
    assert [ranged for ranged, _ in file_site.asked] == [
        None,
        *(f"bytes={number * 1_100_000}-" for number in range(1, 5)),
    ]
    assert_saved(project)


def test_a_second_run_asks_only_whether_it_changed(project: Project, file_site: FileSite) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    assert project.run("run", "data").code == 0
    ended = project.run("run", "data", "--json")
    assert (ended.summary["unchanged"], ended.summary["changed"], ended.summary["added"]) == (2, 0, 0)
    assert_saved(project)


def test_a_reparse_takes_files_from_the_folder_and_forgets_no_version(
    project: Project, file_site: FileSite
) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    assert project.run("run", "data", "--archive").code == 0
    ended = project.run("reparse", "data")
    assert ended.code == 0, ended.text
    assert_saved(project)
    assert project.run("run", "data", "--archive", "--json").summary["unchanged"] == 2
    assert file_site.asked == [(None, None)] * 2


def test_a_stop_does_not_wait_for_a_file(project: Project, file_site: FileSite) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    file_site.stops_at, file_site.holds = [3_000_000], True
    started = project.start("run", "data")
    part = part_of(project, 3_000_000)
    started.signal(signal.SIGTERM)
    assert started.wait().code == 143
    assert part.stat().st_size == 3_000_000


def test_a_file_that_hardly_comes_is_given_up(project: Project, file_site: FileSite) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    file_site.drips = 0.05
    ended = project.run("run", "data", "--set", "timeout=0.2", "--set", "max_attempts=1")
    assert ended.code == 1, ended.text
    assert "timed out" in ended.err


def test_a_folder_of_files_that_is_a_link_is_not_written_to(project: Project, file_site: FileSite) -> None:
    project.spider("data", SPIDER.format(port=file_site.port))
    project.data("data").mkdir(parents=True)
    project.data("data", "files").symlink_to(project.root)
    ended = project.run("run", "data")
    assert ended.code == 1
    assert "it is a link" in ended.err
    assert not list(project.root.glob("parts"))
