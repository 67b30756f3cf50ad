"""Fixtures of system tests on PostgreSQL."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hosts import pages, shorten, spider
from tests.postgres import Server
from tests.project import Project
from tests.site import Site


@pytest.fixture
def store(postgres: Server) -> str:
    """An empty database whose leases are short."""
    return postgres.database()


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Callable[[str], Project]]:
    """Projects by name: each a host of its own, which sees no lock of another one's workers."""
    made: list[Project] = []

    def make(name: str) -> Project:
        made.append(Project(tmp_path / name))
        return made[-1]

    yield make
    for project in made:
        project.end()


@pytest.fixture
def started(
    store: str, hosts: Callable[[str], Project], new_site: Callable[..., Site]
) -> Callable[[int, int, float], tuple[Project, Project, list[Site]]]:
    def make(sites: int, links: int, delay: float) -> tuple[Project, Project, list[Site]]:
        every = [new_site(pages(links), host=f"127.0.0.{10 + n}") for n in range(sites)]
        one, two = hosts("one"), hosts("two")
        for project in (one, two):
            spider(project, every, delay)
        assert one.run("doctor", "--store", store).code in (0, 1)
        shorten(store)
        return one, two, every

    return make
