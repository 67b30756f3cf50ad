"""Debian's nginx serves a file to the real command: killed on the way, gone on with, then left alone."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debian.conftest import Nginx
from tests.project import Project

pytestmark = pytest.mark.debian

CONTENT = bytes(range(251)) * 24_000  # 6 MB
SPIDER = """
from scraper import File, Spider

class Data(Spider):
    start_urls = [{url!r}]
    settings = {{"delay": 0.05, "max_body": 1_000_000}}

    def parse(self, page):
        yield from (File(url) for url in page.links())
"""


def test_a_killed_download_goes_on_by_range_and_is_then_known(
    project: Project, nginx: Callable[..., Nginx], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "index.html").write_text('<a href="data.zip">data</a>')
    (root / "data.zip").write_bytes(CONTENT)
    os.utime(root / "data.zip", (1_700_000_000, 1_700_000_000))
    server = nginx(root, extra="limit_rate 4m;")
    project.spider("data", SPIDER.format(url=server.url()))
    started, parts = project.start("run", "data"), project.data("data", "files", "parts")
    give_up = time.monotonic() + 20
    while sum(path.stat().st_size for path in parts.glob("*.part")) < 1_000_000:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    started.kill()
    for _ in range(2):
        ended = project.run("run", "data", "--json")
        assert ended.code == 0, ended.text
    statuses = [status for _, _, path, status, *_ in server.requests() if path == "/data.zip"]
    assert statuses[-2:] == ["206", "304"]
    (record,) = project.records("data")
    assert (record["name"], record["type"], record["size"]) == ("data.zip", "application/zip", len(CONTENT))
    assert record["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert project.data("data", record["path"]).read_bytes() == CONTENT
    assert list(parts.iterdir()) == []
