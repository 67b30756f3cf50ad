"""What goes wrong between hosts and their PostgreSQL server: real processes, signals, a proxy, PgBouncer."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from scraper.runs.sinks import Layout, sink_for
from tests.hosts import asked, check_whole, clock_ahead, forget_locks, pages, see_no_locks, spider, until
from tests.pgbouncer import Pooler
from tests.postgres import Server
from tests.project import Project
from tests.proxy import Proxy

Started = Callable[[int, int, float], tuple[Project, Project, list[Any]]]


class TestHosts:
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

    def test_a_worker_frozen_for_longer_than_its_lease_says_so_in_one_line_and_is_replaced(
        self, store: str, started: Started
    ) -> None:
        one, _, sites = started(4, 30, 0.3)
        run = one.start("run", "shop", "--store", store, "--workers", "2", "--verbose")
        until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
        forget_locks(store)
        frozen = run.children[0]
        os.kill(frozen, signal.SIGSTOP)
        until(lambda: len(asked(store, "SELECT 1 FROM workers")) == 2)  # the parent is one of them
        os.kill(frozen, signal.SIGCONT)
        until(lambda: len(asked(store, "SELECT 1 FROM workers")) == 3)
        ended = run.wait()
        assert ended.code == 0, ended.text
        assert "ended with exit code 75 (" in ended.err and "taken for dead" in ended.err, ended.text
        assert "Traceback" not in ended.err, ended.text
        check_whole(one, sites, 30, 0.3)

    @pytest.mark.debian  # a server of its own
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

    def test_a_page_that_kills_one_host_after_the_other_fails_and_the_run_ends(
        self, store: str, started: Started
    ) -> None:
        one, two, _ = started(1, 3, 0.1)
        see_no_locks(store)
        for project in (one, two):
            path = project.root / "spiders" / "shop.py"
            deadly = 'if page.url.endswith("/1"): __import__("os").kill(__import__("os").getpid(), 9)'
            path.write_text(path.read_text().replace("yield {", f"{deadly}\n        yield {{"))
        codes, deaths = [-9], 0
        while codes[-1] in (-9, 75) and len(codes) < 40:
            helper = two.start("work", "shop", "--store", store)
            codes.append(one.run("run", "shop", "--store", store).code)
            deaths += (codes[-1] == -9) + (helper.wait().code == -9)
        assert (codes[-1], deaths) == (1, 3), codes
        lines = [*one.log("shop"), *two.log("shop")]  # whichever of them met it last
        (failed,) = [line for line in lines if line.get("reason", "").startswith("the process died")]
        assert failed["url"].endswith("/1")


@pytest.fixture
def proxied(store: str) -> Iterator[tuple[str, Proxy]]:
    """The store by way of a proxy."""
    info = psycopg.conninfo.conninfo_to_dict(store)
    with Proxy(int(str(info["port"]))) as proxy:
        yield store.replace(f":{info['port']}/", f":{proxy.port}/"), proxy


class TestServer:
    @pytest.mark.debian  # a server of its own
    def test_a_graceful_restart_is_waited_for(self, hosts, new_site) -> None:  # type: ignore[no-untyped-def]
        server = Server()
        try:
            store = server.database()
            sites = [new_site(pages(10), host=f"127.0.0.{10 + n}") for n in range(2)]
            one = hosts("one")
            spider(one, sites, 0.2)
            run = one.start("run", "shop", "--store", store, "--json")
            until(lambda: len(sites[0].arrivals) > 4)
            server.stop("fast")
            server.start()
            ended = run.wait()
            assert ended.code == 0, ended.text
            check_whole(one, sites, 10, 0.2)
        finally:
            server.remove()

    def test_a_host_cut_off_from_the_store_sends_nothing_after_its_lease_and_is_replaced(
        self, store: str, proxied: tuple[str, Proxy], started: Started
    ) -> None:
        by_proxy, proxy = proxied
        one, two, sites = started(4, 30, 0.3)
        run = one.start("run", "shop", "--store", store, "--json")
        until(lambda: sites[0].arrivals)
        helper = two.start("work", "shop", "--store", by_proxy)
        until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
        forget_locks(store)
        proxy.hold()
        until(lambda: len(asked(store, "SELECT 1 FROM workers")) == 1)
        proxy.heal()
        healed = helper.wait()
        assert healed.code == 75 and "taken for dead" in healed.err, healed.text
        assert run.wait().code == 0
        check_whole(one, sites, 30, 0.3)

    def test_a_commit_whose_answer_was_cut_is_not_made_again(
        self, store: str, proxied: tuple[str, Proxy], started: Started
    ) -> None:
        by_proxy, proxy = proxied
        one, _, sites = started(2, 20, 0.1)
        run = one.start("run", "shop", "--store", by_proxy, "--json")
        until(lambda: len(sites[0].arrivals) > 2)
        for _ in range(5):
            proxy.cut_answer(b"COMMIT\0")
            until(lambda: not proxy.is_to_cut)
        ended = run.wait()
        assert ended.code == 0, ended.text
        check_whole(one, sites, 20, 0.1)
        assert asked(store, "SELECT count(*), count(DISTINCT key) FROM records") == [(42, 42)]

    def test_a_run_that_finds_no_connection_left_waits_for_one(self, store: str, started: Started) -> None:
        one, two, sites = started(2, 15, 0.2)
        run = one.start("run", "shop", "--store", store, "--json")
        until(lambda: len(sites[0].arrivals) > 2)
        with contextlib.ExitStack() as taken, psycopg.connect(store, autocommit=True) as mine:
            with contextlib.suppress(psycopg.OperationalError):
                while True:
                    taken.enter_context(psycopg.connect(store))
            mine.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scraper'"
            )
            until(lambda: _took(store, taken))
            refused = two.run("work", "shop", "--store", store)
            assert refused.code == 75 and "has no connection left" in refused.err, refused.text
        ended = run.wait()
        assert ended.code == 0, ended.text
        check_whole(one, sites, 15, 0.2)

    def test_a_long_transaction_of_another_program_holds_nobody_up(
        self, store: str, started: Started
    ) -> None:
        one, two, sites = started(4, 20, 0.2)
        with psycopg.connect(store) as foreign:
            foreign.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            for (table,) in asked(
                store,
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            ):
                foreign.execute(f"SELECT count(*) FROM {table}")  # type: ignore[arg-type]
            helper = two.start("work", "--store", store, "--stay")
            ended = one.run("run", "shop", "--store", store, "--json")
            assert ended.code == 0, ended.text
            helper.signal(signal.SIGTERM)
            assert helper.wait().code == 143
        check_whole(one, sites, 20, 0.2)


def _took(store: str, taken: contextlib.ExitStack) -> bool:
    """Whether the last place of the server was to be had, and is ours now."""
    try:
        taken.enter_context(psycopg.connect(store))
    except psycopg.OperationalError:
        return False
    return True


class TestPgBouncer:
    """In transaction mode each transaction may be on another connection of the server."""

    @pytest.fixture
    def pooled(self, store: str, tmp_path: Path) -> Iterator[str]:
        with Pooler(store, tmp_path / "pooler", size=2) as pooler:
            yield pooler.url

    def test_hosts_share_a_run_by_way_of_it(self, pooled: str, store: str, started: Started) -> None:
        one, two, sites = started(4, 20, 0.2)
        helper = two.start("work", "--store", pooled, "--stay")
        ended = one.run("run", "shop", "--store", pooled, "--json")
        helper.signal(signal.SIGTERM)
        assert (ended.code, helper.wait().code) == (0, 143), ended.text
        check_whole(one, sites, 20, 0.2)
        assert one.run("runs", "--store", pooled).code == 0

    def test_records_go_into_a_table_by_way_of_it(self, pooled: str, store: str) -> None:
        for turn in range(3):
            sink = sink_for(f"{pooled}?table=found", Layout(("id",)))
            sink.open()
            sink.write([json.dumps({"id": n, "turn": turn}) for n in range(100)])
            sink.close()
        assert asked(store, "SELECT count(*), min(turn) FROM found") == [(100, 2)]
