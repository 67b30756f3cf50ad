"""Ten workers on PostgreSQL as real processes: what takes minutes. `python -m pytest -m long`."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.hosts import SPIDER, asked, check_whole, forget_locks, pages, spider, until
from tests.postgres import Server
from tests.project import Project, Started
from tests.site import Site

pytestmark = pytest.mark.long

WORKERS = 10


@pytest.fixture
def ten(store: str, tmp_path: Path) -> Iterator[Callable[[Site, list[str], float], list[Started]]]:
    """Start a run and nine helpers, each on a host of its own."""
    made: list[Project] = []

    def make(site: Site, starts: list[str], delay: float) -> list[Started]:
        running = []
        for number in range(WORKERS):
            made.append(Project(tmp_path / f"host{number}"))
            made[-1].spider("shop", SPIDER.format(starts=starts, delay=delay))
            command = ("work", "--stay") if number else ("run", "shop")
            running.append(made[-1].start(*command, "--store", store))
            if not number:
                until(lambda: site.arrivals, 120)
        return running

    yield make
    for project in made:
        project.end()


def shares(store: str) -> list[int]:
    """How many domains each worker holds that holds any."""
    rows = asked(store, "SELECT count(*) FROM domains WHERE owner IS NOT NULL GROUP BY owner")
    return sorted(int(str(count)) for (count,) in rows)


def is_fair(store: str, workers: int, domains: int) -> bool:
    found = shares(store)
    mean = domains / workers
    return len(found) == workers and 0.8 * mean <= found[0] and found[-1] <= 1.2 * mean


def test_two_thousand_domains_are_shared_fairly_also_when_workers_leave_and_join(
    store: str, ten: Callable[[Site, list[str], float], list[Started]]
) -> None:
    with Site(pages(40), host="0.0.0.0") as site:
        hosts = [f"127.1.{n // 250}.{n % 250 + 1}" for n in range(2000)]
        running = ten(site, [f"http://{host}:{site.port}/" for host in hosts], 20.0)
        until(lambda: is_fair(store, WORKERS, 2000), 240)
        running[3].signal(signal.SIGTERM)
        running[4].kill()
        assert running[3].wait().code == 143
        forget_locks(store)
        until(lambda: is_fair(store, WORKERS - 2, 2000), 240)
        until(lambda: len({arrival.headers["host"] for arrival in list(site.arrivals)}) == 2000, 240)
        for one in reversed(running):
            with contextlib.suppress(ProcessLookupError):
                one.signal(signal.SIGTERM)
        assert {one.wait(120).code for one in running if one not in (running[3], running[4])} <= {143, 75}
        times: dict[str, list[float]] = {}
        for arrival in site.arrivals:
            times.setdefault(arrival.headers["host"], []).append(arrival.at)
        assert len(times) == 2000
        gaps = [later - before for each in times.values() for before, later in pairwise(each)]
        assert gaps and min(gaps) >= 20.0 - 0.001


@pytest.mark.parametrize(("seconds", "code"), [(50, 0), (75, 75)])
def test_a_server_that_is_away_for_a_minute_costs_nothing(tmp_path: Path, seconds: int, code: int) -> None:
    server, links = Server(), 60
    project = Project(tmp_path / "host")
    sites = [Site(pages(links), host=f"127.0.0.{10 + n}") for n in range(4)]
    try:
        store, command = server.database(), ("run", "shop", "--workers", "4", "--json")
        spider(project, sites, 0.2)
        running = project.start(*command, "--store", store)
        until(lambda: all(len(site.arrivals) > 10 for site in sites), 120)
        server.stop("fast")
        time.sleep(seconds)
        server.revive()
        ended = running.wait()
        assert ended.code == code, ended.text
        if code:
            assert "cannot reach postgresql://" in ended.err, ended.text
            ended = project.run(*command, "--store", store)
        assert ended.code == 0 and "Traceback" not in ended.err, ended.text
        check_whole(project, sites, links, 0.2)
        paths = ["/robots.txt", "/", *(f"/{n}" for n in range(links))]
        assert all(max(map(site.paths().count, paths)) <= 2 for site in sites)
    finally:
        project.end()
        server.remove()
        for site in sites:
            site.stop()


def test_one_domain_stays_where_it_is_among_ten(
    store: str, ten: Callable[[Site, list[str], float], list[Started]]
) -> None:
    with Site(pages(60)) as site:
        running = ten(site, [site.url()], 0.5)
        until(lambda: len(asked(store, "SELECT 1 FROM workers")) == WORKERS, 120)
        assert running[0].wait(180).code == 0
        assert asked(store, "SELECT epoch FROM domains WHERE name = '127.0.0.1'")[0][0] <= 3  # type: ignore[operator]
        times = [arrival.at for arrival in site.arrivals]
        assert min(later - before for before, later in pairwise(times)) >= 0.5 - 0.001
        assert sorted(site.paths()) == sorted(["/", *(f"/{n}" for n in range(60))])
