"""A project moved between stores: the same afterwards, or untouched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from scraper.errors import StoreError
from scraper.model import Known, Redirected, Retry, Unchanged
from scraper.politeness import throttle
from scraper.store import DomainUpdate, RobotsCopy, Store
from scraper.store.copying import COLUMNS, Copyable, copy
from scraper.store.postgres import PostgresStore
from scraper.store.postgres.tables import PostgresCopyable, PostgresTables
from scraper.store.sqlite import SqliteStore
from scraper.store.sqlite.tables import SqliteCopyable
from tests.contracts.test_store import keys, page, run_through, settle, url
from tests.postgres import Server

FOREVER = 1e12


class Place:
    """Where a store can be made, and copied from or to."""

    def __init__(self, kind: str, folder: Path, server: Server | None) -> None:
        self.folder = folder
        self.url = server.database() if server is not None and kind == "postgres" else ""
        folder.mkdir()

    def store(self) -> Store:
        if self.url:
            return PostgresStore(self.url, locks=self.folder / "locks")
        return SqliteStore(self.folder / "scraper.db")

    def copyable(self) -> Copyable:
        if self.url:
            return PostgresCopyable(self.url, self.folder / "locks")
        return SqliteCopyable(self.folder / "scraper.db")


@pytest.fixture(
    params=["sqlite to postgres", "postgres to sqlite", "postgres to postgres", "sqlite to sqlite"]
)
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Place]]:
    server = request.getfixturevalue("postgres") if "postgres" in request.param else None
    yield [Place(kind, tmp_path / str(n), server) for n, kind in enumerate(request.param.split(" to "))]


def fill(store: Store) -> None:
    """Two runs that ended and one that is under way, with something in every table."""
    run_through(
        store, {"1": page("one", "zwei \x00 \U0001f600", links=(url("2"), url("x", "b.example")))}, "1", "3"
    )
    run_through(store, {"3": Redirected(url("4", hops=1))}, "1", "3", whole=False)
    run = store.start_run("news", "code", params={"category": "a", "password": None})
    store.add(run, [url("1"), url("5", priority=7), url("6", request='{"method": "POST"}')])
    store.keep_note("token", "a", "{}")
    store.keep_robots(RobotsCopy("https://a.example", b"\x00\xff", 200, 1.0, 2.0, etag='"e"', via="p"))
    for lease in store.lease(run, 9, FOREVER):
        (first, second, *_) = store.take(run, lease, 3)
        settle(
            store,
            run,
            lease,
            (first, page("five", links=(url("7"),))),
            (second, Unchanged(Known(0, etag="n"))),
        )
        (entry, *_) = store.take(run, lease, 1)
        settle(store, run, lease, (entry, Retry("503")))
        state = throttle.to_json(throttle.State(due=lease.due + 50.0, rest_until=lease.due + 60.0))
        store.release([DomainUpdate(lease, lease.due + 50.0, state, '{"cookie": 1}', '{"pages": 2}')])
    store.pause_run(run, {"verdict": "INCOMPLETE"})
    store.leave()


def everything(store: Store) -> list[object]:
    """What a store knows, without the numbers that are its own."""
    store.join("reader")
    found: list[object] = [store.runs(), list(store.current("news")), store.sessions("news")]
    run = store.start_run("news", "code")
    pending = store.progress(run)
    found += [store.domain_stats(run), store.records(run), (pending.pending, pending.done)]
    found += [store.robots("https://a.example")]
    found += [store.lookup("news", url(path).fp) for path in "1234567"]
    for lease in store.lease(run, 9, FOREVER):
        found += [lease.session, lease.epoch, store.take(run, lease, 99)]
        store.release([DomainUpdate(lease, lease.due)])
    store.pause_run(run, {})
    store.leave()
    return found


def test_a_copy_knows_all_that_the_original_knows_and_goes_on(places: list[Place]) -> None:
    source, target = places
    old = source.store()
    old.join("w1")
    fill(old)
    counts = copy(source.copyable(), target.copyable())
    assert counts["records"] > 3 and set(counts) == set(COLUMNS)
    new = target.store()
    expected, found = everything(old), everything(new)
    assert [str(one).replace("\x00", "\ufffd") for one in expected[2:]] == [str(one) for one in found[2:]]
    assert keys(found[1]) == [key.replace("\x00", "\ufffd") for key in keys(expected[1])]
    assert found[0] == expected[0]
    new.join("w2")
    run = new.start_run("news", "code")
    assert new.add(run, [url("5"), url("8"), url("9")]) == 2
    (lease, *_) = new.lease(run, 1, FOREVER)
    settle(new, run, lease, (new.take(run, lease, 1)[0], page("more")))
    assert "more" in keys(new.records(run))
    for store in (old, new):
        store.close()


def test_what_is_there_is_never_mixed(places: list[Place]) -> None:
    for place in places:
        store = place.store()
        store.join("w1")
        fill(store)
        store.close()
    with pytest.raises(StoreError, match="is not empty"):
        copy(places[0].copyable(), places[1].copyable())


def test_a_copy_that_is_not_the_same_is_not_kept(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = Place("sqlite", tmp_path / "a", None), Place("postgres", tmp_path / "b", postgres)
    store = source.store()
    store.join("w1")
    fill(store)
    store.close()
    insert = PostgresTables.insert

    def forgetful(tables: PostgresTables, table: str, rows: object) -> None:
        every = list(rows)  # type: ignore[call-overload]
        insert(tables, table, every[:-1] if table == "visits" else every)

    monkeypatch.setattr(PostgresTables, "insert", forgetful)
    with pytest.raises(StoreError, match=r"visits of .* nothing was kept"):
        copy(source.copyable(), target.copyable())
    left = target.store()
    assert left.runs() == []
    left.close()


def test_the_clock_of_a_domain_keeps_its_distance_from_now() -> None:
    state = throttle.State(due=100.0, rest_until=0.0, sent_at=90.0)
    moved = throttle.shifted(state, 3600.0)
    assert (moved.due, moved.rest_until, moved.sent_at) == (3700.0, 0.0, 3690.0)
