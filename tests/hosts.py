"""Several hosts that share a run on one PostgreSQL server: what their tests need."""

import os
import time
from collections.abc import Callable
from itertools import pairwise

import psycopg

from tests.project import ROOT, Project
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


def see_no_locks(store: str) -> None:
    """As if every worker to come were on another machine than those who look."""
    with psycopg.connect(store, autocommit=True) as connection:
        connection.execute(
            """CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql
                AS 'BEGIN NEW.lock := ''''; RETURN NEW; END';
            CREATE TRIGGER forget BEFORE INSERT ON workers FOR EACH ROW EXECUTE FUNCTION forget()"""
        )


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
    return {"PYTHONPATH": os.pathsep.join(map(str, (project.root / "clock", ROOT)))}


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def asked(store: str, sql: str) -> list[tuple[object, ...]]:
    with psycopg.connect(store, autocommit=True) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]


def check_whole(one: Project, sites: list[Site], links: int, delay: float) -> None:
    """Every page once in the records, and no gap shorter than the delay."""
    found = sorted(record["path"] for record in one.records("shop"))
    assert found == sorted(
        site.url(path) for site in sites for path in ["/", *(f"/{n}" for n in range(links))]
    )
    assert min(map(gap, sites)) >= delay - 0.001
