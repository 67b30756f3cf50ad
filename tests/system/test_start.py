"""What a run of a plain spider loads: start-up is paid by every run, also by those that cron starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.project import PATIENCE, Project, _environment
from tests.site import Site, page

SPIDER = """
from scraper import Spider

class Plain(Spider):
    start_urls = [{start!r}]

    def parse(self, page):
        yield {{"url": page.url, "title": page.css("h1::text").get()}}
"""
WAITING = """
import sys

print("import time: | | a spider", file=sys.stderr, flush=True)
open("nobody writes")
"""
# Of the libraries and of our own modules, those that only other runs need.
NOT_NEEDED = (
    *"asyncio bs4 difflib multiprocessing psycopg pyarrow pydantic rich selectolax smtplib".split(),
    *"subprocess tldextract unittest warcio xml.sax".split(),
    *"scraper.app.archived.crawl_archive scraper.engine.parse_pool scraper.parsing.script_json".split(),
    *"scraper.browser.tasks scraper.engine.auto_rendering scraper.engine.rendered_visits".split(),
    *"scraper.engine.rendering scraper.app.rendered_shapes".split(),
    *"scraper.app.running.worker_pool scraper.cli.live scraper.http.digest scraper.ops.notify".split(),
    *"scraper.parsing.feed scraper.parsing.form_controls scraper.parsing.lexbor scraper.parsing.soup".split(),
    *"scraper.runs.archive.warc_files scraper.store.postgres".split(),
)


def test_a_run_of_a_plain_spider_loads_only_what_it_needs(project: Project, site: Site) -> None:
    site["/"] = page(title="one")
    project.spider("plain", SPIDER.format(start=site.url()))
    ended = project.run("run", "plain", "--set", "delay=0", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert ended.code == 0, ended.text
    loaded = {line.rpartition("|")[2].strip() for line in ended.err.splitlines() if "import time:" in line}
    assert {"parsel", "requests", "scraper.engine.engine"} <= loaded
    assert not loaded.intersection(NOT_NEEDED)


def test_a_folder_that_is_gone_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = ["sh", "-c", 'cd gone && rmdir ../gone && exec "$0" -m scraper list', sys.executable]
    ended = subprocess.run(
        command, cwd=tmp_path, env=_environment(), capture_output=True, text=True, timeout=PATIENCE
    )
    assert ended.returncode == 2 and "is gone: change to your project's folder" in ended.stderr, ended.stderr
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("loaded", ["gc", "click", "a spider"])
def test_an_interrupt_while_a_command_starts_ends_it_without_a_traceback(
    project: Project, loaded: str
) -> None:
    os.mkfifo(project.root / "nobody writes")
    project.spider("waits", WAITING)
    started = project.start("run", "waits", env={"PYTHONPROFILEIMPORTTIME": "1"})
    assert started.process.stderr is not None
    for line in started.process.stderr:
        if line.rpartition("|")[2].strip() == loaded:
            break
    started.signal()
    ended = started.wait()
    told = [line for line in ended.err.splitlines() if "import time:" not in line]
    assert ended.code in (-signal.SIGINT, 130) and told in ([], ["error: stopped"]), ended.text
