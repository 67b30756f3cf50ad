"""Runs and their helpers on PostgreSQL, as real processes."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from tests.postgres import Server
from tests.project import Project
from tests.site import Site, page

LEASE = 1.5

SPIDER = """
    from scraper import Spider

    class Shop(Spider):
        start_urls = {starts}
        key = "path"
        settings = {{"delay": {delay}, "reach": ["127.0.0.0/8"]}}

        def parse(self, page):
            yield {{"path": page.url}}
            yield from page.follow_all("a")
"""


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


def spider(project: Project, sites: list[Site], delay: float) -> None:
    project.spider("shop", SPIDER.format(starts=[site.url() for site in sites], delay=delay))


def shorten(store: str) -> None:
    """Make the tables, and the leases short."""
    with psycopg.connect(store, autocommit=True) as connection:
        connection.execute("INSERT INTO meta VALUES ('lease', %s)", (str(LEASE),))


def pages(links: int) -> dict[str, object]:
    every = [f"/{n}" for n in range(links)]
    return {"/": page(*every), **{path: page("/") for path in every}}


def gap(site: Site) -> float:
    times = [arrival.at for arrival in site.arrivals]
    return min((after - before for before, after in pairwise(times)), default=9.0)


def forget_locks(store: str) -> None:
    """As if every worker were on another machine than those who look."""
    with psycopg.connect(store, autocommit=True) as connection:
        connection.execute("UPDATE workers SET lock = ''")


def clock_ahead(project: Project, seconds: float) -> dict[str, str]:
    """The environment of a host whose clock is wrong, and that was started at another time."""
    (project.root / "clock").mkdir()
    (project.root / "clock" / "sitecustomize.py").write_text(
        "import time\n"
        "wall, ticks = time.time, time.clock_gettime\n"
        f"time.time = lambda: wall() + {seconds}\n"
        f"time.clock_gettime = lambda of: ticks(of) + {seconds} / 7\n"
    )
    return {"PYTHONPATH": str(project.root / "clock")}


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def asked(store: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(store, autocommit=True) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]


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


def check_whole(one: Project, sites: list[Site], links: int, delay: float) -> None:
    """Every page once in the records, and no gap shorter than the delay."""
    found = sorted(record["path"] for record in one.records("shop"))
    assert found == sorted(
        site.url(path) for site in sites for path in ["/", *(f"/{n}" for n in range(links))]
    )
    assert min(map(gap, sites)) >= delay - 0.001


class TestHelping:
    def test_a_helper_on_another_host_shares_the_run_and_leaves_with_it(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 30, 0.2)
        helper = two.start("work", "--store", store, "--stay")
        ended = one.run("run", "shop", "--store", store, "--json")
        until(lambda: not asked(store, "SELECT 1 FROM workers"))
        helper.signal(signal.SIGTERM)
        left = helper.wait()
        assert ended.code == 0, ended.text
        assert left.code == 143 and "helps run" in left.err, left.text
        check_whole(one, sites, 30, 0.2)
        assert asked(store, "SELECT 1 FROM domains WHERE epoch > 2"), "none changed hands"

    def test_code_of_another_hash_is_refused_with_what_to_update(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(1, 20, 0.3)
        two.spider("shop", SPIDER.format(starts=[sites[0].url()], delay=0.3) + "\n    # older\n    OLD = 1\n")
        run = one.start("run", "shop", "--store", store)
        until(lambda: sites[0].arrivals)
        refused = two.run("work", "shop", "--store", store)
        assert refused.code == 2 and "update spiders/shop.py" in refused.err.replace(str(two.root) + "/", "")
        run.signal()
        run.wait()

    def test_without_a_run_it_says_so_and_leaves(self, store, started) -> None:  # type: ignore[no-untyped-def]
        _, two, _ = started(1, 1, 0.0)
        ended = two.run("work", "shop", "--store", store)
        assert (ended.code, "no run of shop is under way" in ended.err) == (75, True), ended.text


class TestFaults:
    def test_a_helper_that_is_killed_costs_its_lease_and_no_record(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 30, 0.3)
        run = one.start("run", "shop", "--store", store, "--json")
        until(lambda: sites[0].arrivals)
        helper = two.start("work", "shop", "--store", store)
        until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
        forget_locks(store)
        helper.kill()
        ended = run.wait()
        assert ended.code == 0, ended.text
        check_whole(one, sites, 30, 0.3)

    def test_a_helper_frozen_for_longer_than_its_lease_sends_nothing_more(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 30, 0.3)
        run = one.start("run", "shop", "--store", store, "--json")
        until(lambda: sites[0].arrivals)
        helper = two.start("work", "shop", "--store", store)
        until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
        forget_locks(store)
        helper.signal(signal.SIGSTOP)
        until(lambda: len(asked(store, "SELECT 1 FROM workers")) == 1)
        helper.signal(signal.SIGCONT)
        thawed = helper.wait()
        assert thawed.code == 75 and "taken for dead" in thawed.err, thawed.text
        assert run.wait().code == 0
        check_whole(one, sites, 30, 0.3)

    def test_a_server_that_is_killed_and_started_again_loses_and_doubles_nothing(
        self,
        hosts,
        new_site,  # type: ignore[no-untyped-def]
    ) -> None:
        server = Server()
        try:
            store = server.database()
            sites = [new_site(pages(10), host=f"127.0.0.{10 + n}") for n in range(2)]
            one = hosts("one")
            spider(one, sites, 0.2)
            run = one.start("run", "shop", "--store", store, "--json")
            until(lambda: len(sites[0].arrivals) > 4)
            server.kill()
            server.revive()
            ended = run.wait()
            assert ended.code == 0, ended.text
            check_whole(one, sites, 10, 0.2)
        finally:
            server.remove()

    def test_a_host_whose_clock_is_an_hour_wrong_changes_nothing(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 30, 0.2)
        helper = two.start("work", "--store", store, "--stay", env=clock_ahead(two, -3600.0))
        ended = one.run("run", "shop", "--store", store, "--json")
        helper.signal(signal.SIGTERM)
        assert (ended.code, helper.wait().code) == (0, 143), ended.text
        check_whole(one, sites, 30, 0.2)
        assert asked(store, "SELECT 1 FROM domains WHERE epoch > 2"), "none changed hands"

    def test_sites_of_one_group_share_a_pace_across_hosts_whose_clocks_differ(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 8, 0.1)
        group = json.dumps({site.host: "box" for site in sites})
        given = ("--store", store, "--set", f"politeness_group={group}")
        helper = two.start("work", *given, "--stay", env=clock_ahead(two, 3600.0))
        ended = one.run("run", "shop", *given, "--json")
        helper.signal(signal.SIGTERM)
        assert (ended.code, helper.wait().code) == (0, 143), ended.text
        check_whole(one, sites, 8, 0.1)
        times = sorted(arrival.at for site in sites for arrival in site.arrivals)
        assert min(after - before for before, after in pairwise(times)) >= 0.1 - 0.001


class TestTable:
    def test_a_run_writes_its_records_into_a_table_and_nothing_shows_the_password(
        self, store: str, hosts: Callable[[str], Project], new_site: Callable[..., Site]
    ) -> None:
        project, site = hosts("one"), new_site(pages(3))
        spider(project, [site], 0)
        target = store.replace("scraper@", "scraper:geheim@") + "?table=found"
        ended = project.run("run", "shop", "-o", target)
        assert (ended.code, len(asked(store, "SELECT path FROM found"))) == (0, 4), ended.text
        psycopg.connect(store, autocommit=True).execute("ALTER TABLE found ALTER path TYPE date USING NULL")
        ended = project.run("export", "shop", "-o", target)
        assert ended.code == 2 and "column path" in ended.err, ended.text
        ended = project.run("run", "shop", "--fresh", "-o", target)
        assert ended.code == 1 and "?table=found was not written: cannot write" in ended.text
        files = [file.read_bytes() for file in (project.root / "data").rglob("*") if file.is_file()]
        assert not any(b"geheim" in content for content in files) and "geheim" not in ended.text
