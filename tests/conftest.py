"""Fixtures of the system tests: a scriptable site (or several) and a project with the real command line."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.postgres import Server, binaries
from tests.project import Call, Project, calls_in
from tests.site import Scripted, Site

# More than there are cores: the system tests mostly wait.
PROCESSES = 4
# Without compiled modules each start of the program takes twice as much CPU, and there are hundreds of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Files that take long: none of them shall begin when all others are at their end.
LONG = ("tests/test_tutorial", "tests/engine/test_limiters", "tests/system/", "tests/service/", "tests/app/")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Several processes for the whole suite; one for a part of it, which is over before they have started."""
    return PROCESSES if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first. What needs PostgreSQL, a Debian package, is marked like the others."""
    items.sort(key=lambda item: [item.nodeid.startswith(start) for start in LONG], reverse=True)
    for item in items:
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        told = [
            *getattr(item, "fixturenames", ()),
            *" ".join(one for one in params if isinstance(one, str)).split(),
        ]
        if "postgres" in told and item.get_closest_marker("long") is None:
            item.add_marker(pytest.mark.debian)


@pytest.fixture
def site() -> Iterator[Site]:
    """One site on 127.0.0.1, empty: every path answers 404."""
    with Site() as site:
        yield site


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    """Make sites: `new_site({"/": "hello"}, host="127.0.0.2")`; another host is another domain."""
    sites: list[Site] = []

    def make(pages: dict[str, Scripted] | None = None, host: str = "127.0.0.1", port: int = 0) -> Site:
        sites.append(Site(pages, host, port))
        return sites[-1]

    yield make
    for site in sites:
        site.stop()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """An empty project folder and `python -m scraper` in it."""
    project = Project(tmp_path / "project")
    yield project
    project.end()


@pytest.fixture
def call(project: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Run a command in the project's folder, in this process: for what needs none of its own."""
    return calls_in(project.root, monkeypatch, capfd)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; the tests that need one are skipped where none is installed."""
    if binaries() is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    server = Server()
    yield server
    server.remove()
