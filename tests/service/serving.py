"""A real `python -m scraper serve` on a project of its own, and what is asked of it."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.project import Project, _environment

SLOW = """
from scraper import Spider
class {name}(Spider):
    "A page after the other."
    start_urls = ["{url}"]
    settings = {{"delay": {delay}, "max_attempts": 1}}
    key = "title"
    def parse(self, page):
        yield {{"title": page.css("h1::text").get(), "tag": self.params.get("tag")}}
        yield from page.follow_all("a")
"""


class Served:
    """A service that listens; `get`, `post` and `delete` ask it."""

    def __init__(self, process: subprocess.Popen[str], url: str, project: Project) -> None:
        self.process = process
        self.url = url
        self.project = project
        self.lines: list[str] = []
        self.session = requests.Session()
        self.session.trust_env = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines += self.process.stderr

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.url + path, timeout=40, allow_redirects=False, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> requests.Response:
        return self.ask("POST", path, json=json, **options)

    def delete(self, path: str, **options: Any) -> requests.Response:
        return self.ask("DELETE", path, **options)


@contextmanager
def serving(project: Project, *options: str) -> Iterator[Served]:
    """Serve a project on a free port of this machine until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scraper", "serve", "--port", "0", *options],
        cwd=project.root,
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+:[0-9]+", line)
        assert found, line + process.stderr.read()
        yield Served(process, found[0], project)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def new_project(folder: Path) -> Project:
    """An empty project."""
    return Project(folder / "project")
