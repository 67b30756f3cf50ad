"""Runs and their helpers on PostgreSQL, as real processes."""

import signal
from collections.abc import Callable

import psycopg

from tests.hosts import SPIDER, asked, check_whole, pages, spider, until
from tests.project import Project
from tests.site import Reply, Site


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

    def test_pages_of_helpers_count_against_max_pages(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 60, 0.2)
        helper = two.start("work", "--store", store, "--stay")
        ended = one.run("run", "shop", "--store", store, "--max-pages", 60, "--json")
        helper.signal(signal.SIGTERM)
        assert helper.wait().code == 143
        pages = sum(len(site.paths()) for site in sites)
        assert ended.code == 0 and 60 <= pages <= 90, (pages, ended.text)

    def test_a_run_that_left_its_own_domains_waits_for_its_helpers(self, store, started) -> None:  # type: ignore[no-untyped-def]
        one, two, sites = started(4, 60, 0.2)
        run = one.start("run", "shop", "--store", store, "--json")
        until(lambda: all(len(site.arrivals) > 2 for site in sites))
        helper = two.start("work", "--store", store)
        until(lambda: len(asked(store, "SELECT DISTINCT owner FROM domains WHERE owner IS NOT NULL")) == 2)
        mine = asked(store, "SELECT d.name FROM domains d JOIN runs r ON r.owner = d.owner")
        for site in sites:
            if (site.host,) in mine:
                for n in range(60):
                    site[f"/{n}"] = Reply(429, headers={"Retry-After": "3600"})
        ended, helped = run.wait(), helper.wait()
        assert (ended.code, helped.code) == (75, 0), f"{ended.text}{helped.text}"
        whole = [site for site in sites if (site.host,) not in mine]
        assert whole and all(len(set(site.paths())) == 61 for site in whole)


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
