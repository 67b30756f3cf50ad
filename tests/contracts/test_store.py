"""What every store must do. A new implementation adds a `World` and passes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import pytest

from scraper.engine.groups import HOLD, LEFT_ALONE, Groups
from scraper.errors import LeaseLost, StoreBusy, StoreError
from scraper.model import (
    Deferred,
    Denied,
    Entry,
    Failed,
    Fetched,
    Known,
    NewUrl,
    Outcome,
    RecordLine,
    Redirected,
    Refusal,
    Retry,
    Unchanged,
    Visit,
)
from scraper.store import DomainUpdate, Lease, RobotsCopy, Run, Store
from scraper.store.memory import MemoryStore
from scraper.store.postgres import PostgresStore
from scraper.store.sqlite import SqliteStore
from tests.grids import mostly_thorough
from tests.postgres import Server

FOREVER = 1e12


class FakeClock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class World:
    """One database and any number of workers on it. `close` without `leave` is a crash."""

    def __init__(self, make: Callable[[FakeClock], Any]) -> None:
        self.clock = FakeClock()
        self._make = make
        self.stores: list[Store] = []

    def worker(self, name: str) -> Store:
        store: Store = self._make(self.clock)
        store.join(name)
        self.stores.append(store)
        return store


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    opened: list[MemoryStore] = []

    def memory(clock: FakeClock) -> Store:
        opened.append(MemoryStore(clock, beside=opened[0] if opened else None))
        return opened[-1]

    def sqlite(clock: FakeClock) -> Store:
        return SqliteStore(tmp_path / "scraper.db", clock)

    def postgres() -> Callable[[FakeClock], Store]:
        server: Server = request.getfixturevalue("postgres")
        url = server.database()
        return lambda clock: PostgresStore(url, clock, locks=tmp_path / "locks")

    made = {"memory": memory, "sqlite": sqlite}
    world = World(made[request.param] if request.param in made else postgres())
    yield world
    for store in world.stores:
        store.close()


def url(path: str, domain: str = "a.example", **fields: Any) -> NewUrl:
    address = f"https://{domain}/{path}"
    return NewUrl(domain, blake2b(address.encode(), digest_size=16).digest(), address, **fields)


def page(*lines: str, links: tuple[NewUrl, ...] = (), **fields: Any) -> Fetched:
    records = tuple(RecordLine(line, f'{{"is": "{line}"}}') for line in lines)
    return Fetched(Known(0, etag='"1"', body_hash=b"hash", fetched_at=5.0), records, links, **fields)


def lease_all(store: Store, run: Run) -> dict[str, Lease]:
    return {lease.domain: lease for lease in store.lease(run, 100, FOREVER)}


def settle(store: Store, run: Run, lease: Lease, *visits: tuple[Entry, Outcome]) -> Any:
    return store.settle(run, [Visit(*visit) for visit in visits], [DomainUpdate(lease, lease.due)])


def crawl(store: Store, run: Run, answers: dict[str, Outcome]) -> list[str]:
    """Settle everything pending, by path; what has no answer brings a record of its path's name."""
    asked = []
    while leases := store.lease(run, 100, FOREVER):
        for lease in leases:
            while entries := store.take(run, lease, 1):
                path = entries[0].url.split("/", 3)[3]
                asked.append(path)
                assert not settle(store, run, lease, (entries[0], answers.get(path, page(path)))).lost
            store.release([DomainUpdate(lease, lease.due)])
    return asked


def keys(kept: Any) -> list[str]:
    return [record.key for record in kept]


def run_through(store: Store, answers: dict[str, Outcome], *starts: str, **ending: bool) -> Run:
    run = store.start_run("news", "code")
    store.add(run, [url(start) for start in starts])
    crawl(store, run, answers)
    store.end_run(run, {}, **({"accepted": True, "whole": True} | ending))
    return run


class TestFrontier:
    def test_a_url_is_pending_once_however_often_it_is_added(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        assert store.add(run, [url("1"), url("2"), url("1")]) == 2
        assert store.add(run, [url("2"), url("3")]) == 1
        assert store.progress(run).pending == 3

    def test_the_same_url_added_by_eight_workers_is_one_row(self, world: World) -> None:
        stores = [world.worker(f"w{i}") for i in range(8)]
        run = stores[0].start_run("news", "code")
        for store in stores[1:]:
            store.join_run(run.id)
        assert sum(store.add(run, [url("1")]) for store in stores) == 1

    def test_one_fingerprint_on_two_domains_is_two_urls(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        twin = replace(url("1", "b.example"), fp=url("1").fp)
        assert store.add(run, [url("1"), twin]) == 2
        other = world.worker("w2")
        other.join_run(run.id)
        assert other.add(run, [url("1"), replace(twin, domain="c.example")]) == 1

    def test_higher_priority_goes_first_and_equals_go_in_order(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(
            run, [url("1"), url("2"), url("3", priority=5), url("4", priority=-1), url("5", priority=5)]
        )
        assert crawl(store, run, {}) == ["3", "5", "1", "2", "4"]

    def test_what_a_request_carries_comes_back(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1", request='{"method": "POST"}', priority=2**40, depth=2, hops=1)])
        lease = lease_all(store, run)["a.example"]
        (entry,) = store.take(run, lease, 9)
        assert (entry.request, entry.priority, entry.depth, entry.hops) == ('{"method": "POST"}', 2**40, 2, 1)
        assert (entry.fp, entry.url, entry.attempts, entry.known) == (url("1").fp, url("1").url, 0, None)

    def test_what_is_held_is_not_given_out_again(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        lease = lease_all(store, run)["a.example"]
        first = store.take(run, lease, 1)
        rest = store.take(run, lease, 2, held=[first[0].id])
        assert [entry.url[-1] for entry in rest] == ["2", "3"]

    def test_a_retry_goes_behind_its_equals_and_counts_its_attempts(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("low", priority=-1)])
        lease = lease_all(store, run)["a.example"]
        settle(store, run, lease, (store.take(run, lease, 1)[0], Retry("503")))
        second, again, _ = store.take(run, lease, 9)
        assert (second.url[-1], again.url[-1], again.attempts) == ("2", "1", 1)
        settle(store, run, lease, (again, Retry("not its fault", counts=False)))
        assert store.take(run, lease, 9)[1].attempts == 1

    def test_a_deferred_url_stays_pending(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        settle(store, run, lease, (store.take(run, lease, 1)[0], Deferred("asks for 2 hours")))
        assert store.progress(run).pending == 1
        assert len(store.take(run, lease, 1)) == 1


class TestSettlement:
    def test_requests_that_the_run_has_made_already_are_counted(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        links = (url("1"), url("2"), url("3"), url("4"))
        settled = settle(store, run, lease, (one, page("one", links=links, filtered=2)))
        assert (settled.new, settled.filtered) == (2, 4)
        settled = settle(store, run, lease, (two, Redirected(url("1", hops=1))))
        assert (settled.new, settled.filtered) == (0, 1)

    def test_requests_that_repeat_one_with_another_meta_are_named(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        red, blue = (url("3", request=f'{{"meta":{{"shelf":"{shelf}"}}}}') for shelf in ("red", "blue"))
        assert settle(store, run, lease, (one, page("one", links=(red, red, blue)))).other_meta == (blue.url,)
        assert settle(store, run, lease, (two, page("two", links=(red, blue)))).other_meta == (blue.url,)

    def test_pages_done_and_records_agree(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("0")])
        links = {str(i): page(str(i), links=(url(str(i + 1)), url("0"))) for i in range(20)}
        asked = crawl(store, run, dict(links))
        progress = store.progress(run)
        assert (len(asked), progress.done, progress.pending, progress.next_due) == (21, 21, 0, None)
        assert keys(store.records(run)) == [str(i) for i in range(21)]

    def test_repeating_it_changes_nothing(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        lease = lease_all(store, run)["a.example"]
        one, two, three = store.take(run, lease, 3)
        outcomes = (
            (one, page("one", links=(url("4"),))),
            (two, Retry("503")),
            (three, Redirected(url("5", hops=1))),
        )
        results = [settle(store, run, lease, *outcomes).new for _ in range(3)]
        assert results == [2, 0, 0]
        assert keys(store.records(run)) == ["one"]
        assert store.progress(run).done == 2
        assert [entry.attempts for entry in store.take(run, lease, 9) if entry.id == two.id] == [1]

    def test_visits_of_a_lost_domain_are_left_out_and_the_others_stand(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("1", "b.example")])
        leases = lease_all(store, run)
        entries = [store.take(run, lease, 1)[0] for lease in leases.values()]
        stale = replace(leases["b.example"], epoch=leases["b.example"].epoch - 1)
        visits = [Visit(entry, page(entry.domain, links=(url("2", entry.domain),))) for entry in entries]
        updates = [DomainUpdate(leases["a.example"], 1.0), DomainUpdate(stale, 9.0, session="wrong")]
        settled = store.settle(run, visits, updates)
        assert settled.lost == {"b.example"} and settled.new == 1
        assert keys(store.records(run)) == ["a.example"]
        assert store.sessions("news") == {}

    def test_records_stand_in_the_order_of_the_visits(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "2")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        lease = lease_all(store, run)["a.example"]
        two, one, three = store.take(run, lease, 3)
        settle(store, run, lease, (one, page("1")), (two, Unchanged(Known(0))), (three, page("3")))
        assert keys(store.records(run)) == ["1", "2", "3"]

    def test_a_visit_of_a_domain_that_is_not_named_is_lost(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        entry = store.take(run, lease_all(store, run)["a.example"], 1)[0]
        assert store.settle(run, [Visit(entry, page("1"))], []).lost == {"a.example"}
        assert store.records(run) == []

    def test_a_refused_link_is_told_once_a_run(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        refusal, other = Refusal("mailto:x", "scheme"), Refusal("ftp://x/\ud800", "scheme")
        assert settle(store, run, lease, (one, page(refused=(refusal, refusal)))).refused == (refusal,)
        assert settle(store, run, lease, (two, page(refused=(refusal, other)))).refused == (other,)

    def test_links_that_a_page_only_counts_are_told_once_with_their_number(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        here = [Refusal("http://a.example/1", f"{kind}: 7 more links on this page", 7) for kind in "ab"]
        assert settle(store, run, lease, (one, page(refused=(*here, here[0])))).refused == tuple(here)
        assert settle(store, run, lease, (two, page(refused=(here[0],)))).refused == ()

    def test_a_run_names_so_many_refused_links_and_counts_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in ("sqlite.settle", "postgres.settle", "memory.frontier"):
            monkeypatch.setattr(f"scraper.store.{module}.MOST_REFUSED", 2)
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        links = [Refusal(f"ftp://x/{number}", "scheme") for number in range(4)]
        told = settle(store, run, lease, (one, page(refused=tuple(links[:3])))).refused
        assert told == (*links[:2], Refusal("", "scheme"))
        assert settle(store, run, lease, (two, page(refused=tuple(links)))).refused == (
            Refusal("", "scheme"),
        )

    def test_a_link_to_a_domain_nobody_knows_makes_it_known(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        settle(store, run, lease, (store.take(run, lease, 1)[0], page(links=(url("x", "new.example"),))))
        assert list(lease_all(store, run)) == ["new.example"]

    def test_reasons_are_kept_for_those_who_ask(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        crawl(store, run, {"1": Denied("robots.txt line 3"), "2": Failed("404", is_gone=True)})
        found = store.lookup("news", url("1").fp)
        assert found is not None and (found["state"], found["reason"]) == ("denied", "robots.txt line 3")
        assert store.lookup("news", url("9").fp) is None
        assert store.lookup("other", url("1").fp) is None


class TestRedirects:
    def test_a_hop_becomes_pending_with_its_hops(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("old")])
        assert crawl(store, run, {"old": Redirected(url("new", hops=1))}) == ["old", "new"]

    def test_a_page_that_sends_to_itself_is_asked_again(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("wall")])
        lease = lease_all(store, run)["a.example"]
        settle(store, run, lease, (store.take(run, lease, 1)[0], Redirected(url("wall", hops=1))))
        (entry,) = store.take(run, lease, 9)
        assert (entry.hops, entry.attempts, store.progress(run).done) == (1, 0, 0)

    def test_a_page_that_sends_to_another_spelling_of_itself_is_asked_by_that(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("list?b=1&a=2")])
        lease = lease_all(store, run)["a.example"]
        (entry,) = store.take(run, lease, 1)
        spelled = replace(url("list?b=1&a=2", hops=1), url="https://a.example/list?a=2&b=1")
        settle(store, run, lease, (entry, Redirected(spelled)))
        (again,) = store.take(run, lease, 9)
        assert (again.id, again.url) == (entry.id, spelled.url)

    def test_two_pages_that_send_to_each_other_count_their_hops(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("a"), url("b")])
        lease = lease_all(store, run)["a.example"]
        one, two = store.take(run, lease, 2)
        to_b, to_a = Redirected(url("b", hops=1)), Redirected(url("a", hops=1))
        assert settle(store, run, lease, (one, to_b), (two, to_a)).new == 2
        assert [entry.hops for entry in store.take(run, lease, 9)] == [1, 1]

    def test_a_hop_to_a_page_that_was_fetched_adds_nothing(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("login"), url("1"), url("2")])
        answers: dict[str, Outcome] = {path: Redirected(url("login", hops=1)) for path in "12"}
        assert crawl(store, run, answers) == ["login", "1", "2"]


class TestOwnership:
    def test_a_domain_has_one_owner_at_a_time(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1"), url("1", "b.example")])
        assert len(one.lease(run, 1, FOREVER)) == 1
        assert len(two.lease(run, 9, FOREVER)) == 1
        assert one.lease(run, 9, FOREVER) == []

    def test_only_domains_due_in_time_are_leased_earliest_first(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        names = {"a.example": 30.0, "b.example": 10.0, "c.example": 20.0}
        store.add(run, [url("1", name) for name in names])
        leases = lease_all(store, run)
        store.release([DomainUpdate(leases[name], due) for name, due in names.items()])
        assert store.progress(run).next_due == 10.0
        assert [lease.domain for lease in store.lease(run, 9, before=25.0)] == ["b.example", "c.example"]
        assert store.progress(run).next_due == 30.0

    def test_what_is_left_of_a_domain_reaches_its_next_owner(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1")])
        (first,) = one.lease(run, 1, FOREVER)
        one.settle(run, [], [DomainUpdate(first, 7.0, "politeness", "cookies", "counts")])
        one.release([DomainUpdate(first, 8.0)])
        (second,) = two.lease(run, 1, FOREVER)
        assert (second.due, second.state) == (8.0, "politeness")
        assert (second.session, second.stats) == ("cookies", "counts")
        assert second.epoch > first.epoch
        assert two.domain_stats(run) == {"a.example": "counts"}

    def test_politeness_is_shared_by_spiders_and_the_session_is_not(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        lease = store.lease_domain(run, "a.example")
        assert lease is not None
        store.release([DomainUpdate(lease, 7.0, "politeness", "cookies", "counts")])
        other = world.worker("w2")
        lease = other.lease_domain(other.start_run("blogs", "code"), "a.example")
        assert lease is not None
        assert (lease.due, lease.state, lease.session, lease.stats) == (7.0, "politeness", "", "")

    def test_a_release_with_a_stale_epoch_changes_nothing(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        (first,) = store.lease(run, 1, FOREVER)
        store.release([DomainUpdate(first, 5.0)])
        (second,) = store.lease(run, 1, FOREVER)
        store.release([DomainUpdate(first, 99.0, session="old")])
        assert store.lease(run, 1, FOREVER) == []
        assert store.take(run, first, 1) == []
        assert len(store.take(run, second, 1)) == 1

    def test_a_domain_is_parked_only_while_nothing_is_pending(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1")])
        lease = lease_all(one, run)["a.example"]
        settle(one, run, lease, (one.take(run, lease, 1)[0], page("1")))
        assert one.take(run, lease, 1) == []
        # Another worker finds a link between the last look and the release.
        assert two.add(run, [url("2")]) == 1
        one.release([DomainUpdate(lease, 0.0)])
        assert list(lease_all(two, run)) == ["a.example"]

    def test_a_parked_domain_is_woken_by_a_new_url(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        crawl(store, run, {})
        assert (lease_all(store, run), store.progress(run).next_due) == ({}, None)
        store.add(run, [url("2")])
        assert list(lease_all(store, run)) == ["a.example"]

    def test_a_domain_is_leased_by_name_even_with_nothing_pending(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        lease = one.lease_domain(run, "a.example")
        assert lease is not None and one.lease_domain(run, "a.example") == lease
        assert two.lease_domain(run, "a.example") is None
        one.release([DomainUpdate(lease, 0.0)])
        assert two.lease_domain(run, "a.example") is not None

    def test_a_politeness_group_has_one_owner_and_its_clock_outlives_it(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        news = one.start_run("news", "code")
        blogs = two.start_run("blogs", "code")

        def groups(store: Store, run: Run) -> Groups:
            return Groups(store, run, {"a.example": "box", "b.example": "box"}.get, world.clock)  # type: ignore[arg-type]

        first, second = groups(one, news), groups(two, blogs)
        assert first.join("a.example", 2.0) and first.join("b.example", 2.0)
        assert not second.join("b.example", 2.0), "one pace, one owner"
        group = first.of("a.example")
        assert group is not None
        group.limiter.enter()
        group.limiter.answered()
        sent_at = world.clock.now()
        one.settle(news, [], first.updates(["a.example"]))
        assert one.heartbeat() == {"group:box"} and first.give_way("group:box") == frozenset(), "not at once"
        world.clock.time += HOLD
        assert first.give_way("group:box") == {"a.example", "b.example"}
        first.leave("a.example"), first.leave("b.example")
        assert not first.join("a.example", 2.0) and second.join("b.example", 2.0)
        taken = second.of("b.example")
        assert taken is not None and taken.limiter.due == sent_at + 2.0
        two.close()
        world.clock.time += LEFT_ALONE
        one.heartbeat()
        assert first.join("a.example", 2.0)
        adopted = first.of("a.example")
        assert adopted is not None and adopted.limiter.due == world.clock.now() + 2.0

    def test_a_domain_that_another_spider_waits_for_is_handed_over(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        news, blogs = one.start_run("news", "code"), two.start_run("blogs", "code")
        one.add(news, [url("1"), url("2")])
        two.add(blogs, [url("1")])
        lease = lease_all(one, news)["a.example"]
        assert one.heartbeat() == frozenset()
        assert lease_all(two, blogs) == {}
        assert one.heartbeat() == {"a.example"}
        one.release([DomainUpdate(lease, 0.0)])
        assert lease_all(one, news) == {}, "it goes to the one who waited"
        lease = lease_all(two, blogs)["a.example"]
        two.release([DomainUpdate(lease, 0.0)])
        assert list(lease_all(one, news)) == ["a.example"]

    def test_a_run_that_ended_is_promised_nothing(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        news, blogs = one.start_run("news", "code"), two.start_run("blogs", "code")
        one.add(news, [url("1")])
        two.add(blogs, [url("1")])
        lease = lease_all(one, news)["a.example"]
        lease_all(two, blogs)
        two.end_run(blogs, {}, accepted=False, whole=False)
        one.release([DomainUpdate(lease, 0.0)])
        assert list(lease_all(one, news)) == ["a.example"]

    def test_a_promise_to_one_who_went_away_is_dropped(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        news, blogs = one.start_run("news", "code"), two.start_run("blogs", "code")
        one.add(news, [url("1")])
        two.add(blogs, [url("1")])
        lease = lease_all(one, news)["a.example"]
        lease_all(two, blogs)
        world.clock.sleep(60.0)
        assert one.heartbeat() == frozenset()
        one.release([DomainUpdate(lease, 0.0)])
        assert list(lease_all(one, news)) == ["a.example"]

    def test_one_domain_does_not_wander_among_the_workers_of_a_run(self, world: World) -> None:
        stores = [world.worker(f"w{i}") for i in range(4)]
        run = stores[0].start_run("news", "code")
        stores[0].add(run, [url("1"), url("2")])
        for store in stores[1:]:
            store.join_run(run.id)
        assert lease_all(stores[0], run)
        assert [lease_all(store, run) for store in stores[1:]] == [{}, {}, {}]
        assert stores[0].heartbeat() == frozenset()

    def test_a_worker_that_joins_late_is_given_its_share(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        one.add(run, [url("1", f"{i}.example") for i in range(7)])
        leases = lease_all(one, run)
        two.join_run(run.id)
        for _ in range(2):
            assert lease_all(two, run) == {}
            world.clock.sleep(2.0)
        asked = one.heartbeat()
        assert len(asked) == 3
        one.release([DomainUpdate(leases[name], world.clock.now()) for name in asked])
        assert lease_all(one, run) == {}, "they are for the other"
        assert lease_all(two, run).keys() == asked
        world.clock.sleep(2.0)
        assert lease_all(two, run) == {} and one.heartbeat() == frozenset()

    def test_what_the_others_leave_lying_is_for_whoever_is_there(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1", f"{i}.example") for i in range(4)])
        leases = lease_all(one, run)
        assert len(leases) == 4, "new ones have been due for ever"
        one.release([DomainUpdate(lease, world.clock.now()) for lease in leases.values()])
        assert len(lease_all(one, run)) == 1
        world.clock.sleep(5.0)
        assert len(lease_all(one, run)) == 3


class TestCrashes:
    def test_what_was_in_hand_is_pending_for_the_next_owner(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        lease = lease_all(store, run)["a.example"]
        one, _ = store.take(run, lease, 2)
        settle(store, run, lease, (one, page("one")))
        store.settle(run, [], [DomainUpdate(lease, 50.0, session="cookies")])
        store.close()
        after = world.worker("w2")
        run = after.start_run("news", "code")
        assert run.is_resumed
        lease = lease_all(after, run)["a.example"]
        assert (lease.crashes, lease.due, lease.session) == (1, 50.0, "cookies")
        assert crawl_leased(after, run, lease) == ["2", "3"]
        assert keys(after.records(run)) == ["one", "2", "3"]

    def test_something_settled_clears_the_count_of_crashes(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        for i in range(2, 4):
            lease_all(store, run)
            store.close()
            store = world.worker(f"w{i}")
            run = store.start_run("news", "code")
        lease = lease_all(store, run)["a.example"]
        assert lease.crashes == 2
        settle(store, run, lease, (store.take(run, lease, 1)[0], page("1")))
        found = store.domain("a.example")
        assert found is not None and found["crashes"] == 0

    def test_a_page_that_was_being_parsed_at_a_crash_goes_behind_the_others_and_counts_it(
        self, world: World
    ) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        dying: list[Any] = []
        for number in (1, 2):
            lease = lease_all(store, run)["a.example"]
            entries = {one.url: one for one in store.take(run, lease, 3)}
            assert entries[url("1").url].crashes == number - 1
            with store.in_hand(entries[url("2").url].id):
                pass  # it went well
            dying.append(store.in_hand(entries[url("1").url].id))
            dying[-1].__enter__()
            store.close()
            store = world.worker(f"w{number + 1}")
            run = store.start_run("news", "code")
        lease = lease_all(store, run)["a.example"]
        found = [(one.url, one.attempts, one.crashes) for one in store.take(run, lease, 3)]
        assert found == [(url("2").url, 0, 0), (url("3").url, 0, 0), (url("1").url, 2, 2)]

    def test_a_crash_does_not_count_for_a_page_that_is_settled_or_in_another_run(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        (entry,) = store.take(run, lease, 1)
        dying = store.in_hand(entry.id)
        dying.__enter__()
        settle(store, run, lease, (entry, page("1")))
        store.close()
        store = world.worker("w2")
        run = store.start_run("news", "code", fresh=True)
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        assert [one.crashes for one in store.take(run, lease, 1)] == [0]

    def test_a_heartbeat_frees_the_domains_of_the_dead(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1")])
        (lease,) = one.lease(run, 1, FOREVER)
        one.close()
        two.heartbeat()
        (found,) = two.lease(run, 1, FOREVER)
        assert found.epoch > lease.epoch

    def test_two_reapers_free_a_domain_once(self, world: World) -> None:
        one, two, three = (world.worker(f"w{i}") for i in range(3))
        run = one.start_run("news", "code")
        two.join_run(run.id)
        three.join_run(run.id)
        one.add(run, [url("1")])
        one.lease(run, 1, FOREVER)
        one.close()
        two.heartbeat()
        (lease,) = two.lease(run, 1, FOREVER)
        three.heartbeat()
        assert lease.crashes == 1
        assert len(two.take(run, lease, 1)) == 1

    def test_a_domain_that_died_with_nothing_pending_is_parked(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1")])
        (lease,) = one.lease(run, 1, FOREVER)
        settle(one, run, lease, (one.take(run, lease, 1)[0], page("1")))
        one.close()
        two.heartbeat()
        assert two.lease(run, 1, FOREVER) == []
        assert two.progress(run).next_due is None

    def test_those_who_leave_give_everything_back(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.add(run, [url("1")])
        one.lease(run, 1, FOREVER)
        one.leave()
        one.leave()
        (lease,) = two.lease(run, 1, FOREVER)
        assert lease.crashes == 0

    def test_a_name_is_used_once(self, world: World) -> None:
        world.worker("w1")
        with pytest.raises(StoreError):
            world.worker("w1")


def crawl_leased(store: Store, run: Run, lease: Lease) -> list[str]:
    asked = []
    while entries := store.take(run, lease, 1):
        asked.append(entries[0].url.split("/", 3)[3])
        settle(store, run, lease, (entries[0], page(asked[-1])))
    return asked


class TestRuns:
    def test_a_second_run_of_a_spider_is_told_who_holds_it(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        with pytest.raises(StoreBusy, match="w1 since 1970-01-12"):
            two.start_run("news", "code")
        assert two.holder("news") == ("w1", world.clock.wall())
        assert two.start_run("blogs", "code").number != run.number
        one.close()
        assert two.holder("news") is None
        assert two.start_run("news", "code").id == run.id

    def test_a_run_is_held_while_any_of_its_workers_lives(self, world: World) -> None:
        one, two, three = (world.worker(f"w{i}") for i in range(3))
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.close()
        with pytest.raises(StoreBusy):
            three.start_run("news", "code")
        two.leave()
        assert three.start_run("news", "code").is_resumed

    def test_a_run_knows_how_often_it_was_killed_since_it_was_begun_or_paused(self, world: World) -> None:
        kills = []
        for name in ("w1", "w2", "w3"):
            store = world.worker(name)
            run = store.start_run("news", "code")
            kills.append(run.kills)
            store.close()
        store = world.worker("w4")
        run = store.start_run("news", "code")
        store.pause_run(run, {})
        kills += [run.kills, store.start_run("news", "code").kills]
        assert kills == [0, 1, 2, 3, 0]

    def test_a_run_is_led_by_whoever_began_it_and_by_nobody_else(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        assert two.is_led(run)
        one.pause_run(run, {})
        assert not two.is_led(run)
        run = one.start_run("blogs", "code")
        two.join_run(run.id)
        one.close()
        assert not two.is_led(run)

    def test_a_run_is_helped_while_another_worker_holds_domains_for_it(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        one.add(run, [url("1"), url("1", "b.example")])
        two.join_run(run.id)
        assert one.lease(run, 1, FOREVER) and not one.is_helped(run)
        (lease,) = two.lease(run, 1, FOREVER)
        assert one.is_helped(run)
        two.release([DomainUpdate(lease, 0.0)])
        assert not one.is_helped(run)
        assert two.lease(run, 1, FOREVER) and one.is_helped(run)
        two.close()
        assert not one.is_helped(run), "the dead help nobody"

    def test_a_paused_run_is_resumed_with_all_that_was_pending(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2")])
        store.pause_run(run, {"verdict": "INCOMPLETE"})
        assert store.runs("news")[0].state == "paused"
        resumed = store.start_run("news", "code")
        assert (resumed.id, resumed.is_resumed, resumed.state) == (run.id, True, "running")
        assert crawl(store, resumed, {}) == ["1", "2"]

    def test_a_fresh_run_leaves_what_was_pending_behind(self, world: World) -> None:
        store = world.worker("w1")
        old = store.start_run("news", "code")
        store.add(old, [url("1"), url("2"), url("3")])
        run = store.start_run("news", "code", fresh=True)
        assert (run.is_resumed, run.number > old.number) == (False, True)
        assert store.lease(run, 9, FOREVER) == []
        assert store.add(run, [url("2")]) == 1
        assert crawl(store, run, {}) == ["2"]
        dropped = store.runs("news")[1]
        assert (dropped.state, dropped.is_accepted, dropped.summary["verdict"]) == (
            "ended",
            False,
            "INCOMPLETE",
        )

    def test_what_a_run_knows_is_new_to_the_next(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("1", links=(url("2"),)), "2": Failed("500")}, "1")
        run = store.start_run("news", "code")
        assert store.add(run, [url("1"), url("1")]) == 1
        assert crawl(store, run, {"1": page("1", links=(url("2"),))}) == ["1", "2"]

    def test_nothing_is_written_to_a_run_that_ended(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code")
        two.join_run(run.id)
        one.end_run(run, {}, accepted=True, whole=True)
        with pytest.raises(LeaseLost):
            two.add(run, [url("1")])
        with pytest.raises(LeaseLost):
            one.end_run(run, {}, accepted=False, whole=False)
        with pytest.raises(StoreError):
            two.join_run(run.id)

    def test_runs_are_listed_newest_first_with_what_was_said_of_them(self, world: World) -> None:
        store = world.worker("w1")
        first = run_through(store, {}, "1")
        second = store.start_run("news", "code2")
        store.end_run(second, {"pages": 3}, accepted=False, whole=True)
        store.start_run("blogs", "code")
        runs = store.runs("news")
        assert [run.id for run in runs] == [second.id, first.id]
        assert (runs[0].summary["pages"], runs[0].is_accepted, runs[0].is_whole) == (3, False, True)
        assert (runs[0].code, runs[1].is_accepted, runs[1].ended_at) == ("code2", True, world.clock.wall())
        assert len(store.runs()) == 3 and len(store.runs(limit=1)) == 1

    def test_a_run_keeps_the_params_it_was_begun_with(self, world: World) -> None:
        one, two = world.worker("w1"), world.worker("w2")
        run = one.start_run("news", "code", params={"category": "a"})
        one.pause_run(run, {})
        again = two.start_run("news", "code", params={"category": "b"})
        assert again.is_resumed and again.params == two.runs("news")[0].params == {"category": "a"}


class TestSecondVisits:
    def known(self, store: Store, run: Run) -> Known | None:
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        (entry,) = store.take(run, lease, 1)
        store.release([DomainUpdate(lease, 0.0)])
        return entry.known

    def test_the_validators_of_an_accepted_run_are_known(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1")
        known = self.known(store, store.start_run("news", "code"))
        assert known is not None
        assert (known.etag, known.body_hash, known.fetched_at) == ('"1"', b"hash", 5.0)

    def test_what_the_last_version_brought_is_known(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("a", "b", links=(url("2"),))}, "1")
        known = self.known(store, store.start_run("news", "code"))
        assert known is not None and (known.records, known.links) == (2, 1)

    def test_pages_of_an_accepted_run_come_before_new_ones_also_when_tried_again(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("1", links=(url("2"),))}, "1", "4")
        run_through(store, {}, "5", accepted=False)
        run = store.start_run("news", "code")
        store.add(run, [url("3"), url("5"), url("1"), url("9", priority=1)])
        lease = lease_all(store, run)["a.example"]
        urgent, one, *new = store.take(run, lease, 9)
        assert [entry.url for entry in (urgent, one, *new)] == [url(n).url for n in ("9", "1", "3", "5")]
        assert store.known_pending(run) == 1
        settle(store, run, lease, (urgent, page("9")), (one, Unchanged(Known(0))))
        two = store.take(run, lease, 1)[0]
        settle(store, run, lease, (two, Retry("503")))
        assert [entry.url for entry in store.take(run, lease, 9)] == [url(n).url for n in ("2", "3", "5")]
        assert store.known_pending(run) == 1

    def test_a_run_that_was_not_accepted_leaves_nothing_known(self, world: World) -> None:
        store = world.worker("w1")
        run = run_through(store, {}, "1", accepted=False)
        assert self.known(store, store.start_run("news", "code")) is None
        assert self.known(store, store.start_run("news", "other", fresh=True)) is None
        store.accept_run(run)
        assert self.known(store, store.start_run("news", "code", fresh=True)) is not None

    def test_a_version_comes_back_with_what_its_parse_depended_on(self, world: World) -> None:
        store = world.worker("w1")
        parsed = page("one")
        parsed = replace(parsed, known=replace(parsed.known, inputs="code:meta"), facts={"noarchive": True})
        run_through(store, {"1": parsed}, "1")
        run = store.start_run("news", "other")
        store.add(run, [url("1")])
        crawl(store, run, {"1": Unchanged(Known(0, etag='"2"'))})
        store.end_run(run, {}, accepted=True, whole=True)
        known = self.known(store, store.start_run("news", "other"))
        assert known is not None
        assert (known.etag, known.inputs, known.is_noarchive) == ('"2"', "code:meta", True)

    def test_pages_that_were_got_with_another_session_stand_no_more(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1")
        store.leave()
        other = world.worker("w2")
        other.keep_session("news", "b.example", "{}")
        other.keep_session("blogs", "a.example", "{}")
        known = self.known(other, other.start_run("news", "code"))
        assert known is not None and known.etag == '"1"'
        other.leave()
        last = world.worker("w3")
        last.keep_session("news", "a.example", "{}")
        known = self.known(last, last.start_run("news", "code"))
        assert known is not None and known == Known(known.version)

    def test_an_unchanged_page_brings_its_last_records_and_links(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("one", "two", links=(url("2"), url("x", "b.example")))}, "1")
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        answers: dict[str, Outcome] = {"1": Unchanged(Known(0, etag='"9"')), "x": Unchanged(Known(0))}
        assert sorted(crawl(store, run, answers)) == ["1", "2", "x"]
        assert sorted(keys(store.records(run))) == ["2", "one", "two", "x"]
        assert store.progress(run).done == 3
        store.end_run(run, {}, accepted=True, whole=True)
        known = self.known(store, store.start_run("news", "code"))
        assert known is not None and known.etag == '"9"'

    def test_the_links_of_a_page_that_may_not_be_kept_are_followed_and_its_records_stand(
        self, world: World
    ) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("one", links=(url("2"),))}, "1", accepted=False)
        run = run_through(store, {"1": Denied("noarchive", keeps_links=True)}, "1")
        assert keys(store.records(run)) == ["2"]
        run_through(store, {"1": page("one", links=(url("2"),))}, "1")
        run_through(store, {"1": Denied("noarchive", keeps_links=True)}, "1")
        assert sorted(keys(store.current("news"))) == ["2", "one"]

    def test_a_link_of_an_unchanged_and_of_a_read_page_is_met_once(self, world: World) -> None:
        store = world.worker("w1")
        both = page("one", links=(url("x"),))
        answers: dict[str, Outcome] = {"1": both, "2": both}
        run_through(store, answers, "1", "2")
        for first, second in (("1", "2"), ("2", "1")):
            run = store.start_run("news", "code")
            store.add(run, [url(first), url(second)])
            (lease,) = store.lease(run, 1, FOREVER)
            one, two = store.take(run, lease, 2)
            assert settle(store, run, lease, (one, Unchanged(Known(0))), (two, both)).new == 1
            assert (store.progress(run).pending, store.progress(run).done) == (1, 2)
            store.release([DomainUpdate(lease, 0.0)])
            store.end_run(run, {}, accepted=True, whole=True)

    def test_records_are_read_by_parts(self, world: World) -> None:
        store = world.worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [url("1"), url("2"), url("3")])
        crawl(store, run, {"1": page("a", "b", "c"), "2": page(), "3": page("d", "e")})
        first = store.records(run, limit=2)
        assert keys(first) == ["a", "b"]
        second = store.records(run, after=first[-1].cursor, limit=2)
        assert keys(second) == ["c", "d"]
        third = store.records(run, after=second[-1].cursor)
        assert keys(third) == ["e"]
        assert store.records(run, after=third[-1].cursor) == []
        assert (first[0].url, first[0].line) == (url("1").url, '{"is": "a"}')


class TestCurrentRecords:
    def current(self, store: Store) -> list[str]:
        return sorted(keys(store.current("news")))

    def test_only_accepted_runs_count(self, world: World) -> None:
        store = world.worker("w1")
        assert self.current(store) == []
        run_through(store, {"1": page("good")}, "1")
        bad = run_through(store, {"1": page("bad")}, "1", accepted=False)
        assert self.current(store) == ["good"]
        store.accept_run(bad)
        assert self.current(store) == ["bad"]

    def test_a_page_that_a_whole_run_no_longer_met_is_gone(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1", "2", "3")
        run_through(store, {}, "1", whole=False)
        assert self.current(store) == ["1", "2", "3"]
        run_through(store, {}, "1", "2")
        assert self.current(store) == ["1", "2"]

    def test_a_page_that_could_not_be_read_keeps_what_it_had(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1", "2", "3")
        for _ in range(2):
            run_through(store, {"1": Failed("500"), "2": Denied("robots")}, "1", "2", "3")
        assert self.current(store) == ["1", "2", "3"]
        assert keys(store.records(store.runs("news")[0])) == ["3"]

    def test_what_was_read_comes_before_what_stands_and_the_latest_run_before_earlier_ones(
        self, world: World
    ) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1", "2", "3")
        run_through(store, {"1": Denied("robots")}, "1", "2", "3")
        assert keys(store.current("news")) == ["2", "3", "1"]
        run_through(store, {"3": page("3, later")}, "3", whole=False)
        assert keys(store.current("news")) == ["3, later", "2", "1"]

    def test_what_only_an_unread_page_leads_to_stands_for_as_long_as_its_links_are_known(
        self, world: World
    ) -> None:
        def links(*paths: str) -> tuple[NewUrl, ...]:
            return tuple(map(url, paths))

        store = world.worker("w1")
        first: dict[str, Outcome] = {
            "list": page(links=links("gone", "1", "2")),
            "1": page("1", links=links("1b", "list")),
        }
        run_through(store, first, "list", "3")
        run_through(store, {**first, "list": page(links=links("1", "2")), "3": page("3")}, "list", "3")
        for day in range(3):
            run = store.start_run("news", "code")
            store.add(run, [url("list"), url("3")])
            asked = crawl(store, run, {"list": Failed("500"), "3": page(links=links("2"))})
            assert sorted(asked) == ["2", "3", "list"]
            assert [store.keep_unreached_pages(run) for _ in range(2)] == [2, 0], "1 and 1b"
            assert keys(store.records(run)) == ["2"]
            store.end_run(run, {}, accepted=day != 1, whole=True)
            assert self.current(store) == ["1", "1b", "2"]
        store.prune("news", keep=1)
        assert self.current(store) == ["1", "1b", "2"]
        run_through(store, {"list": Failed("500")}, "list")
        assert self.current(store) == []

    def test_what_only_barred_links_lead_to_stands_for_as_long_as_they_are_barred(self, world: World) -> None:
        store = world.worker("w1")
        inner = page("inner", links=(url("a"), url("b"), url("c")))
        first: dict[str, Outcome] = {"list": page("list", links=(url("inner"), url("c"))), "inner": inner}
        run_through(store, first, "list", "a")
        barring = page("list", links=(url("a"),), barred=(url("inner"), url("a"), url("never met")))
        known = replace(inner.known, version=0)
        for outcome in (barring, Unchanged(known), Unchanged(known)):
            run = store.start_run("news", "code")
            store.add(run, [url("list")])
            assert sorted(crawl(store, run, {"list": outcome, "a": page("new a")})) == ["a", "list"]
            assert [store.keep_unreached_pages(run) for _ in range(2)] == [3, 0]
            store.end_run(run, {}, accepted=True, whole=True)
            assert self.current(store) == ["b", "c", "inner", "list", "new a"]
            assert sorted(keys(store.records(run))) == ["list", "new a"]
        run_through(store, {"list": page("list", links=(url("a"),))}, "list")
        assert self.current(store) == ["a", "list"]

    @pytest.mark.parametrize("whole", [True, False])
    def test_those_of_a_run_that_is_yet_to_be_accepted_are_known_before(
        self, world: World, whole: bool
    ) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1", "2", "3", "4")
        answers: dict[str, Outcome] = {"1": Failed("500"), "2": Failed("404", is_gone=True)}
        run = run_through(store, answers, "1", "2", "3", "5", accepted=False)
        coming = keys(store.current("news", run, whole=whole))
        assert self.current(store) == ["1", "2", "3", "4"]
        assert sorted(coming) == ["1", "3", "5"] if whole else ["1", "3", "4", "5"]

    def test_a_page_that_is_gone_or_moved_brings_nothing(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {}, "1", "2")
        run_through(store, {"1": Failed("404", is_gone=True), "2": Redirected(url("4", hops=1))}, "1", "2")
        assert self.current(store) == ["4"]

    def test_records_of_a_failure_stand_instead_until_the_page_is_read_again(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("old")}, "1")
        failed = Failed("500", records=page("failed").records, links=(url("mirror"),))
        assert keys(store.records(run_through(store, {"1": failed}, "1"))) == ["failed", "mirror"]
        assert self.current(store) == ["failed", "mirror"]
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        (entry,) = store.take(run, lease_all(store, run)["a.example"], 1)
        assert entry.known is None

    def test_what_failed_in_the_last_run_is_pending_again_and_nothing_else(self, world: World) -> None:
        store = world.worker("w1")
        answers: dict[str, Outcome] = {
            "2": Failed("500", records=page("failed").records),
            "3": Failed("404", is_gone=True),
            "4": Denied("robots"),
        }
        run = run_through(store, answers, "1", "2", "3", "4")
        assert store.reopen_run(run, {"a.example": '{"failed": 0}'}) == 2
        again = store.start_run("news", "other code")
        assert (again.id, again.is_resumed, again.is_accepted) == (run.id, True, True)
        assert store.domain_stats(again) == {"a.example": '{"failed": 0}'}
        assert store.progress(again).pending == 2
        assert crawl(store, again, {"3": Failed("404", is_gone=True)}) == ["2", "3"]
        assert keys(store.records(again)) == ["1", "2"]
        assert (keys(store.current("news")), keys(store.current("news", without=again))) == (["1", "2"], [])
        store.end_run(again, {}, accepted=False, whole=False)
        (kept,) = store.runs("news")
        assert (kept.state, kept.is_accepted, kept.is_whole) == ("ended", True, True)

    def test_what_stood_behind_a_list_that_failed_is_met_by_way_of_it(self, world: World) -> None:
        store = world.worker("w1")
        lists = {"list": page("list", links=(url("a"), url("b")))}
        run_through(store, lists, "list")
        run = store.start_run("news", "code")
        store.add(run, [url("list")])
        crawl(store, run, {"list": Failed("500")})
        assert store.keep_unreached_pages(run) == 2
        store.end_run(run, {}, accepted=True, whole=True)
        assert store.reopen_run(run, {}) == 1
        again = store.start_run("news", "code")
        assert crawl(store, again, {**lists, "a": page("new a")}) == ["list", "a", "b"]
        assert self.current(store) == ["b", "list", "new a"]

    def test_only_the_last_run_is_reopened_and_only_while_nobody_runs_the_spider(self, world: World) -> None:
        store, other = world.worker("w1"), world.worker("w2")
        first = run_through(store, {"1": Failed("500")}, "1")
        second = run_through(store, {}, "1")
        with pytest.raises(StoreError, match="not the last"):
            store.reopen_run(first, {})
        assert store.reopen_run(second, {}) == 0
        assert store.runs("news")[0].state == "ended"
        held = other.start_run("news", "code")
        with pytest.raises(StoreBusy):
            store.reopen_run(held, {})

    def test_pruning_keeps_them(self, world: World) -> None:
        store = world.worker("w1")
        ids = [run_through(store, {"1": page(f"v{i}")}, "1", "2", f"only{i}").id for i in range(5)]
        run_through(store, {"1": Failed("500")}, "1", "2")
        run_through(store, {}, "2", accepted=False)
        before = self.current(store)
        assert store.prune("news", keep=1) == ids
        assert self.current(store) == before == ["2", "v4"]
        assert len(store.runs("news")) == 2
        assert store.prune("news", keep=1) == []
        assert store.lookup("news", url("only1").fp) is None
        run = store.start_run("news", "code")
        store.add(run, [url("2"), url("only1")])
        assert sorted(crawl(store, run, {})) == ["2", "only1"]

    def test_pruning_never_loses_the_links_of_an_unchanged_page(self, world: World) -> None:
        store = world.worker("w1")
        run_through(store, {"1": page("one", links=(url("2"),))}, "1")
        run_through(store, {"1": Failed("500")}, "1")
        run_through(store, {"1": Failed("500")}, "1")
        store.prune("news", keep=1)
        run = store.start_run("news", "code")
        store.add(run, [url("1")])
        lease = lease_all(store, run)["a.example"]
        (entry,) = store.take(run, lease, 1)
        assert entry.known is None, "asked in full, for its links were forgotten"
        assert self.current(store) == ["one"]


class TestSmallRooms:
    def test_a_run_is_found_by_its_id(self, world: World) -> None:
        store = world.worker("a")
        run = store.start_run("news", "code", params={"tag": "x"})
        assert store.run(run.id) == run and store.run("20260101-000000-99") is None

    def test_notes_are_kept_by_kind_and_name_and_added_only_once(self, world: World) -> None:
        store, other = world.worker("a"), world.worker("b")
        store.keep_note("token", "1", "one")
        store.keep_note("token", "1", "two")
        other.keep_note("quota", "1", "7")
        assert other.notes("token") == {"1": "two"} and store.notes("none") == {}
        assert (other.add_note("key", "k", "first"), store.add_note("key", "k", "second")) == (
            "first",
            "first",
        )
        assert (store.drop_note("token", "1"), store.drop_note("token", "1")) == (True, False)
        assert other.notes("token") == {} and other.notes("quota") == {"1": "7"}

    def test_robots_copies_are_kept_whole(self, world: World) -> None:
        store = world.worker("w1")
        copy = RobotsCopy("https://a.example", b"\x00\xff", None, 1.0, 2.0, since=0.5, etag='"e"')
        assert store.robots("https://a.example") is None
        store.keep_robots(replace(copy, status=200))
        store.keep_robots(copy, replace(copy, origin="https://b.example"))
        assert store.robots("https://a.example") == copy
        assert store.robots("https://b.example") == replace(copy, origin="https://b.example")

    def test_a_session_is_replaced_only_while_nobody_runs_the_spider(self, world: World) -> None:
        store = world.worker("w1")
        store.keep_session("news", "a.example", "cookies")
        assert store.sessions("news") == {"a.example": "cookies"}
        run = store.start_run("news", "code")
        with pytest.raises(StoreBusy):
            store.keep_session("news", "a.example", "others")
        lease = store.lease_domain(run, "a.example")
        assert lease is not None and lease.session == "cookies"

    def test_a_domain_is_shown_to_those_who_ask(self, world: World) -> None:
        store = world.worker("w1")
        assert store.domain("a.example") is None
        run = store.start_run("news", "code")
        lease = store.lease_domain(run, "a.example")
        assert lease is not None
        store.settle(run, [], [DomainUpdate(lease, 3.0, state="{}")])
        found = store.domain("a.example")
        assert found is not None
        assert (found["owner"], found["due"], found["state"]) == ("w1", 3.0, "{}")


class TestTwins:
    """Whatever is done to both, the database and its twin in memory answer alike."""

    @pytest.mark.parametrize("seed", mostly_thorough([(seed,) for seed in range(25)]))
    def test_the_file_agrees_on_a_random_history(self, seed: int, tmp_path: Path) -> None:
        compare(lambda clock: SqliteStore(tmp_path / "s.db", clock), seed)

    @pytest.mark.parametrize("seed", mostly_thorough([(seed,) for seed in range(25)]))
    def test_the_server_agrees_on_a_random_history(self, seed: int, postgres: Server, tmp_path: Path) -> None:
        url = postgres.database()
        compare(lambda clock: PostgresStore(url, clock, locks=tmp_path / "locks"), seed)


def compare(make: Callable[[FakeClock], Store], seed: int) -> None:
    """Two workers live through the same on a database and on its twin."""
    clock, dice = FakeClock(), Random(seed)
    first = MemoryStore(clock)
    twins = [Twins(MemoryStore(clock, beside=first) if i else first, make(clock)) for i in range(2)]
    for i, pair in enumerate(twins):
        pair.each(lambda store, name=f"w{i}": store.join(name))
    for _ in range(3):
        live(twins, dice, clock)
    for pair in twins:
        pair.each(lambda store: store.close())


class Twins:
    """A worker on each of two stores; what they answer must be equal."""

    def __init__(self, *stores: Store) -> None:
        self.stores = stores
        self.run: Any = None
        self.leases: dict[str, Any] = {}
        self.hand: dict[str, Any] = {}

    def each(self, verb: Callable[..., Any], *answers: Any) -> list[Any]:
        return [verb(store, *parts) for store, *parts in zip(self.stores, *answers, strict=True)]

    def same(self, verb: Callable[..., Any], *answers: Any) -> Any:
        one, two = self.each(verb, *answers)
        assert one == two
        return one


def live(twins: list[Twins], dice: Random, clock: FakeClock) -> None:
    """One run with random pages, ended at random."""
    head = twins[0]
    head.run = head.each(lambda store: store.start_run("news", "code"))
    assert head.run[0] == head.run[1]
    for other in twins[1:]:
        other.run = other.each(lambda store, run: store.join_run(run.id), head.run)
    head.same(lambda store, run: store.add(run, [some_url(Random(0)), url("0")]), head.run)
    for _ in range(60):
        step(dice.choice(twins), dice, clock)
        pair = dice.choice(twins)
        pair.same(lambda store, run: store.progress(run), pair.run)
    for pair in twins:
        give_back(pair, list(pair.leases))
    reopens = dice.random() < 0.5
    ending = {"accepted": dice.random() < 0.6, "whole": dice.random() < 0.6}
    if dice.random() < 0.8:
        head.each(lambda store, run: store.end_run(run, {}, **ending), head.run)
    else:
        head.each(lambda store, run: store.pause_run(run, {}), head.run)
        twins[1].each(lambda store: store.leave())
        name = f"w{dice.random()}"
        twins[1].each(lambda store: store.join(name))
    if dice.random() < 0.3:
        head.same(lambda store: store.prune("news", 1))
    if reopens:
        for pair in twins[1:]:
            name = f"w{dice.random()}"
            pair.each(lambda store: store.leave())
            pair.each(partial(lambda name, store: store.join(name), name))
        head.same(lambda store, run: store.reopen_run(run, {}), head.run)
    head.same(
        lambda store: sorted(
            (kept.url, kept.line, kept.run, kept.fetched_at) for kept in store.current("news")
        )
    )


def some_url(dice: Random) -> NewUrl:
    fields = {"priority": dice.choice([0, 0, 0, 1]), "depth": dice.randrange(3)}
    return url(str(dice.randrange(12)), f"{dice.choice('abc')}.example", **fields)


def some_outcome(dice: Random, entry: Entry) -> Outcome:
    links = tuple(some_url(dice) for _ in range(dice.randrange(4)))
    to = replace(some_url(dice), hops=entry.hops + 1)
    outcomes: list[Outcome] = [
        page(*"ab"[: dice.randrange(3)], links=links, refused=(Refusal(f"x:{dice.randrange(9)}", "scheme"),)),
        Redirected(to if dice.random() < 0.8 else replace(to, domain=entry.domain, fp=entry.fp)),
        Retry("503", counts=dice.random() < 0.5),
        Deferred("later"),
        Denied("robots", keeps_links=dice.random() < 0.5),
        Failed("gone", is_gone=dice.random() < 0.5),
        replace(
            Failed("500", is_gone=dice.random() < 0.3),
            records=page(*"cd"[: dice.randrange(3)]).records,
            links=links,
            refused=(Refusal(f"y:{dice.randrange(9)}", "scheme"),),
        ),
    ]
    if entry.known is not None:
        outcomes += [Unchanged(Known(0, etag="new"))] * 3
    return dice.choice(outcomes)


def step(pair: Twins, dice: Random, clock: FakeClock) -> None:
    clock.sleep(dice.choice([0.0, 2.0, 20.0]))
    match dice.randrange(10):
        case 0 | 1:
            leases = pair.each(lambda store, run: lease_all(store, run), pair.run)
            assert leases[0] == leases[1]
            pair.leases |= {name: [found[name] for found in leases] for name in leases[0]}
        case 2 | 3 | 4 | 5 | 6 if pair.leases:
            name = dice.choice(sorted(pair.leases))
            size = dice.randrange(1, 4)
            taken = pair.each(
                lambda store, run, lease: store.take(run, lease, size), pair.run, pair.leases[name]
            )
            assert [plain(entry) for entry in taken[0]] == [plain(entry) for entry in taken[1]]
            outcomes = [some_outcome(dice, entry) for entry in taken[0]]
            settle_both(pair, pair.leases[name], taken, outcomes)
            if dice.random() < 0.3:
                settle_both(pair, pair.leases[name], taken, outcomes)
        case 7 if pair.leases:
            give_back(pair, [dice.choice(sorted(pair.leases))])
        case 8:
            # What others wait for is a hint: a store may tell it sooner or later.
            pair.each(lambda store: store.heartbeat())
        case _:
            pair.same(lambda store, run: [(kept.key, kept.url) for kept in store.records(run)], pair.run)


def plain(entry: Entry) -> Any:
    """An entry without the numbers that a store gives as it likes."""
    return replace(entry, id=0, known=entry.known and replace(entry.known, version=0))


def settle_both(pair: Twins, leases: Any, taken: Any, outcomes: list[Outcome]) -> None:
    def send(store: Store, run: Run, lease: Lease, entries: list[Entry]) -> Any:
        visits = [Visit(entry, outcome) for entry, outcome in zip(entries, outcomes, strict=True)]
        return store.settle(run, visits, [DomainUpdate(lease, lease.due, "s", "c", f"{len(visits)}")])

    pair.same(send, pair.run, leases, taken)


def give_back(pair: Twins, names: list[str]) -> None:
    for name in names:
        pair.each(lambda store, lease: store.release([DomainUpdate(lease, 1.0)]), pair.leases.pop(name))
