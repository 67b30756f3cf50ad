"""What only the store on PostgreSQL has: a server that can go away, and workers that write at once."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from random import Random
from typing import Any

import psycopg
import pytest

from scraper.errors import LeaseLost, StoreAway, StoreError, StoreTooNew, UsageError
from scraper.model import Fetched, Known, NewUrl, RecordLine, Visit
from scraper.ops.clock import SystemClock
from scraper.store import START, DomainUpdate, Lease, Run, StoredRecord, met_urls, seen
from scraper.store.postgres import PostgresStore, database, frontier, ownership, schema
from scraper.testing import FakeClock
from tests.postgres import Server

FOREVER = 1e12
Make = Callable[[str], PostgresStore]


@pytest.fixture
def url(postgres: Server) -> str:
    return postgres.database()


@pytest.fixture
def worker(url: str, tmp_path: Path) -> Iterator[Make]:
    """Workers by name, as if each were on a machine of its own: no lock says that it is dead."""
    made: list[PostgresStore] = []

    def make(name: str) -> PostgresStore:
        made.append(PostgresStore(url, locks=tmp_path / name))
        made[-1].join(name)
        execute(url, "UPDATE workers SET lock = ''")
        return made[-1]

    yield make
    for store in made:
        store.close()


def execute(url: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(sql)  # type: ignore[arg-type]
        return found.fetchall() if found.description else []


def page_url(domain: str, path: int | str) -> NewUrl:
    address = f"https://{domain}/{path}"
    return NewUrl(domain, blake2b(address.encode(), digest_size=16).digest(), address)


def page(*links: NewUrl, record: str = "r") -> Fetched:
    return Fetched(Known(0), (RecordLine(record, f'{{"is": "{record}"}}'),), links)


def expire(url: str, worker: str) -> None:
    execute(url, f"UPDATE workers SET lease_until = 0 WHERE id = '{worker}'")
    # As if the server had been up for long.
    assert execute(url, "SELECT 1")


def begin(store: PostgresStore, *urls: NewUrl) -> tuple[Run, dict[str, Lease]]:
    run = store.start_run("news", "code")
    store.add(run, urls)
    return run, {lease.domain: lease for lease in store.lease(run, 100, FOREVER)}


def settle(store: PostgresStore, run: Run, lease: Lease, outcome: Fetched | None = None) -> Any:
    (entry,) = store.take(run, lease, 1)
    return store.settle(run, [Visit(entry, outcome or page(record=entry.url))], [DomainUpdate(lease, 0.0)])


class TestOpening:
    def test_a_schema_of_a_newer_program_is_told(self, url: str, worker: Make, tmp_path: Path) -> None:
        worker("w1")
        execute(url, "UPDATE meta SET v = '99' WHERE k = 'schema'")
        with pytest.raises(StoreTooNew, match="schema 99, this program knows"):
            PostgresStore(url, locks=tmp_path)

    def test_eight_that_open_an_empty_database_at_once_make_its_tables_once(
        self, url: str, tmp_path: Path
    ) -> None:
        in_threads(8, lambda number: PostgresStore(url, locks=tmp_path).close())
        assert execute(url, "SELECT count(*) FROM meta") == [(1,)]

    def test_others_can_read_while_the_indexes_of_a_newer_schema_are_made(
        self, url: str, worker: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as older:
            older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
            begin(worker("old"), page_url("a.test", 1))
        with psycopg.connect(url) as changing, psycopg.connect(url, autocommit=True) as reading:
            reading.execute("SET lock_timeout = '50ms'")
            read_after = []
            for statement in schema.MIGRATIONS[3]:
                changing.execute(statement)
                try:
                    reading.execute("SELECT count(*) FROM urls JOIN visits ON visits.url = urls.id")
                    read_after.append(statement)
                except psycopg.errors.LockNotAvailable:
                    break
        assert [each for each in schema.MIGRATIONS[3] if each.startswith("CREATE")] == read_after

    def test_a_run_goes_on_in_a_database_of_an_older_program(
        self, url: str, worker: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        with monkeypatch.context() as older:
            older.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:3])
            store = worker("old")
            run, leases = begin(store, page_url("a.test", 1), page_url("a.test", 2))
            settle(store, run, leases["a.test"], page(page_url("a.test", 3), record="first"))
            store.leave()
        assert not caplog.messages
        store = worker("new")
        assert f"changing schema 3 to {len(schema.MIGRATIONS)}" in caplog.text
        run, leases = begin(store, page_url("a.test", 1), page_url("a.test", 4))
        assert execute(url, "SELECT v FROM meta WHERE k = 'schema'") == [(str(len(schema.MIGRATIONS)),)]
        assert len(store.take(run, leases["a.test"], 10)) == 3
        settle(store, run, leases["a.test"], page(record="second"))
        store.end_run(run, {}, accepted=True, whole=True)
        assert [record.key for record in store.current("news")] == ["first", "second"]


class TestKnown:
    def test_what_a_run_has_met_is_read_in_the_index_alone(self, url: str, worker: Make) -> None:
        begin(worker("w1"), *(page_url("a.test", number) for number in range(50)))
        execute(url, "VACUUM ANALYZE urls")
        with psycopg.connect(url, options=database._OPTIONS) as connection:
            fp = page_url("a.test", 1).fp
            plan = connection.execute(f"EXPLAIN {frontier._FIND}", ([1], [fp])).fetchall()
        assert any("Index Only Scan using urls_met" in line for (line,) in plan)

    def test_what_no_longer_finds_room_at_hand_is_known_all_the_same(
        self, worker: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(seen, "AT_HAND", 5)
        monkeypatch.setattr(seen, "MOVED", 1)
        monkeypatch.setattr(met_urls, "SIZES", (30, 60))
        store, urls = worker("w1"), [page_url(f"{name}.test", 1) for name in range(60)]
        run, _ = begin(store)
        assert [store.add(run, urls[start : start + 7]) for start in range(0, 60, 7)] == [7] * 8 + [4]
        assert [store.add(run, urls[start : start + 9]) for start in range(0, 60, 9)] == [0] * 7
        assert store.progress(run).pending == 60

    def test_a_link_that_another_worker_adds_at_the_same_moment_is_one_url(
        self, url: str, worker: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second, link = worker("w1"), worker("w2"), page_url("b.test", 1)
        run, leases = begin(first, page_url("a.test", 1))
        helped, insert = second.join_run(run.id), frontier.Change.insert

        def late(change: frontier.Change, own: Any = ()) -> None:
            monkeypatch.undo()
            assert second.add(helped, [link]) == 1
            insert(change, own)

        monkeypatch.setattr(frontier.Change, "insert", late)
        assert settle(first, run, leases["a.test"], page(link)).new == 0
        assert execute(url, f"SELECT id FROM urls WHERE url = '{link.url}'") == execute(
            url, "SELECT unnest(links) FROM pages"
        )
        assert first.add(run, [link]) == 0
        assert first.progress(run).pending == 1

    def test_a_worker_that_has_its_share_does_not_read_what_others_hold_and_looks_ever_more_rarely(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        clock, looks, reads = FakeClock(), list[float](), list[int]()
        stores = [PostgresStore(url, clock, locks=tmp_path) for _ in range(2)]
        for number, store in enumerate(stores):
            store.join(f"w{number}")
        run = stores[0].start_run("news", "code")
        stores[1].join_run(run.id)
        stores[0].add(run, [page_url(f"{n}.test", 1) for n in range(8)])
        held = {store: {one.domain: one for one in store.lease(run, 4, FOREVER)} for store in stores}
        assert [len(leases) for leases in held.values()] == [4, 4]
        wanted, surplus = ownership.wanted, ownership._surplus
        monkeypatch.setattr(ownership, "wanted", lambda *of: looks.append(clock.now()) or wanted(*of))
        monkeypatch.setattr(ownership, "_surplus", lambda *of: reads.append(1) or surplus(*of))
        for _ in range(30):
            assert stores[1].lease(run, 20, FOREVER) == []
            clock.sleep(1.0)
        assert len(looks) <= 8 and not reads
        (given, *_) = held[stores[1]].values()
        settle(stores[1], run, given)
        stores[1].release([DomainUpdate(given, 0.0)])
        assert stores[1].lease(run, 20, FOREVER) == []
        assert looks[-1] == clock.now(), "what has changed is looked at at once"
        for store in stores:
            store.close()

    def test_the_next_owner_waits_as_long_as_the_last_one_would_though_it_reads_the_server_s_time_better(
        self, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        exact = PostgresStore(url, locks=tmp_path)
        behind = exact.anchor() - 0.4
        with monkeypatch.context() as patched:
            patched.setattr(PostgresStore, "_measured", lambda _: (behind, 0.5))
            inexact = PostgresStore(url, locks=tmp_path)
        for name, store in (("inexact", inexact), ("exact", exact)):
            store.join(name)
        run = inexact.start_run("news", "code")
        exact.join_run(run.id)
        inexact.add(run, [page_url("a.test", 1)])
        (lease,) = inexact.lease(run, 1, FOREVER)
        due = SystemClock(inexact.anchor()).now() + 60.0
        inexact.release([DomainUpdate(lease, due)])
        (taken,) = exact.lease(run, 1, FOREVER)
        assert taken.due - exact.anchor() >= due - inexact.anchor()  # in the uptime of the machine
        for store in (inexact, exact):
            store.close()

    def test_the_clock_of_a_worker_is_never_ahead_of_the_server_s(self, url: str, tmp_path: Path) -> None:
        store = PostgresStore(url, locks=tmp_path)
        before = SystemClock(store.anchor()).now()
        ((server,),) = execute(url, "SELECT extract(epoch FROM clock_timestamp())::float8")
        assert before <= server
        store.close()

    def test_a_server_that_is_not_there_is_told_without_the_password(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(database, "_AT_FIRST", 0.0)
        with pytest.raises(StoreError, match=r"cannot reach postgresql://127\.0\.0\.1:1/db") as told:
            PostgresStore("postgresql://me:geheim@127.0.0.1:1/db", locks=tmp_path)
        assert "Connection refused" in str(told.value) and "geheim" not in str(told.value)

    def test_a_worker_of_a_run_that_is_under_way_waits_for_a_server_that_is_away_when_it_starts(
        self, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        connect, refused = psycopg.connect, list[str]()

        def refuse_first(given: str, **options: Any) -> Any:
            if len(refused) < 5:
                refused.append(given)
                raise psycopg.OperationalError("Connection refused")
            return connect(given, **options)

        monkeypatch.setattr(psycopg, "connect", refuse_first)
        monkeypatch.setattr(database, "sleep", lambda seconds: None)
        monkeypatch.setattr(database, "_AT_FIRST", 0.0)
        with pytest.raises(StoreAway, match="Connection refused") as told:
            PostgresStore(url, locks=tmp_path)
        assert not told.value.was_there
        PostgresStore(url, locks=tmp_path, is_awaited=True).close()
        assert len(refused) == 5

    def test_a_server_that_is_about_to_start_is_waited_for_by_every_command(
        self, url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        connect, refused = psycopg.connect, list[str]()

        def refuse_first(given: str, **options: Any) -> Any:
            if len(refused) < 5:
                refused.append("FATAL:  the database system is starting up\nDETAIL:  Not yet.")
                raise psycopg.OperationalError(refused[-1])
            return connect(given, **options)

        monkeypatch.setattr(psycopg, "connect", refuse_first)
        monkeypatch.setattr(database, "sleep", lambda seconds: None)
        monkeypatch.setattr(database, "_AT_FIRST", 0.0)
        PostgresStore(url, locks=tmp_path).close()
        refused.clear()
        monkeypatch.setattr(database, "PATIENCE", 0.0)
        with pytest.raises(StoreAway, match="starting up") as told:
            PostgresStore(url, locks=tmp_path)
        assert told.value.was_there

    def test_a_pooler_that_lets_us_in_while_the_server_is_away_is_asked_until_it_is_back(
        self, url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect, refusals = psycopg.connect, list[str]()

        def refuse(*_: object) -> None:
            refusals.append("server login has been failing")
            raise psycopg.errors.ProtocolViolation(refusals[-1])

        def connect_to_pooler(given: str, **options: Any) -> Any:
            if "enable_seqscan" in given:
                raise psycopg.OperationalError("unsupported startup parameter: options")
            connection = connect(given, **options)
            if is_away and len(refusals) < 2 * database._MOST_TRIES:
                monkeypatch.setattr(connection, "execute", refuse)
            return connection

        is_away = False
        monkeypatch.setattr(psycopg, "connect", connect_to_pooler)
        monkeypatch.setattr(database, "sleep", lambda seconds: None)
        found = database.Database(url)
        found.close()
        is_away = True
        assert found.write(lambda connection: connection.execute("SELECT 7").fetchone()) == (7,)
        assert refusals
        found.close()
        refusals.clear()
        with (
            monkeypatch.context() as impatient,
            pytest.raises(StoreAway, match="server login has been failing") as told,
        ):
            impatient.setattr(database, "PATIENCE", 0.0)
            found.write(lambda connection: connection.execute("SELECT 7").fetchone())
        refusals.clear()
        with pytest.raises(StoreAway):  # who tidies up then does not wait once more
            found.rows("SELECT 7")
        assert told.value.was_there and len(refusals) == 1

    def test_a_database_that_lacks_letters_is_refused_before_it_has_anything(
        self, postgres: Server, tmp_path: Path
    ) -> None:
        postgres.execute("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
        with pytest.raises(UsageError, match=r"LATIN1.*createdb .* UTF8"):
            PostgresStore(postgres.url("latin"), locks=tmp_path)

    def test_a_database_that_knows_no_letters_keeps_them_as_they_are(
        self, postgres: Server, tmp_path: Path
    ) -> None:
        postgres.execute("CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0")
        store = PostgresStore(postgres.url("bytes"), locks=tmp_path)
        store.join("w1")
        run, leases = begin(store, page_url("a.example", "prix-5-€-😀"))
        settle(store, run, leases["a.example"])
        assert [kept.key for kept in store.records(run)] == ["https://a.example/prix-5-€-😀"]
        store.close()

    def test_a_server_that_has_no_connection_left_for_our_role_is_there(
        self, postgres: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        postgres.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 0")
        monkeypatch.setattr(database, "_AT_FIRST", 0.0)
        with pytest.raises(StoreAway, match="no connection left") as told:
            PostgresStore(postgres.url().replace("scraper@", "few@"), locks=tmp_path)
        assert told.value.was_there

    def test_what_an_administrator_allows_a_statement_does_not_end_ours(
        self, url: str, postgres: Server
    ) -> None:
        postgres.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET statement_timeout = '20ms'")
        found = database.Database(url)
        assert found.row("SELECT 7 FROM pg_sleep(0.05)") == (7,)
        found.close()

    def test_a_url_that_is_none_is_a_mistake_of_the_user(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="postgresql://user@host"):
            PostgresStore("postgresql://127.0.0.1/db?nonsense=1", locks=tmp_path)


def test_a_project_on_sqlite_imports_no_psycopg(tmp_path: Path) -> None:
    code = f"""
import sys
sys.modules["psycopg"] = None
from pathlib import Path
from scraper.app.options import open_store
import scraper.cli.running
open_store(Path({str(tmp_path)!r})).close()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


class TestLeases:
    def test_a_worker_whose_lease_ran_out_is_replaced_and_can_write_nothing(
        self, url: str, worker: Make
    ) -> None:
        one, two = worker("w1"), worker("w2")
        run, leases = begin(one, page_url("a.example", 1))
        two.join_run(run.id)
        (entry,) = one.take(run, leases["a.example"], 1)
        long_since(two)
        expire(url, "w1")
        two.heartbeat()
        (lease,) = two.lease(run, 1, FOREVER)
        assert (lease.crashes, lease.epoch > leases["a.example"].epoch) == (1, True)
        with pytest.raises(LeaseLost):
            one.settle(run, [Visit(entry, page())], [DomainUpdate(leases["a.example"], 0.0)])
        with pytest.raises(LeaseLost):
            one.heartbeat()
        assert two.records(run) == []

    def test_a_worker_that_comes_back_before_anybody_took_over_goes_on(self, url: str, worker: Make) -> None:
        one = worker("w1")
        run, leases = begin(one, page_url("a.example", 1))
        expire(url, "w1")
        one.heartbeat()
        assert settle(one, run, leases["a.example"]).lost == frozenset()

    def test_everybody_has_one_more_lease_after_a_restart_of_the_server(self, url: str, worker: Make) -> None:
        one, two = worker("w1"), worker("w2")
        begin(one, page_url("a.example", 1))
        two._workers._ttl = 1e9  # the server has been up for less than that
        expire(url, "w1")
        two.heartbeat()
        assert two.holder("news") is not None

    def test_the_deadline_is_a_lease_after_the_last_write_and_gone_without_one(self, worker: Make) -> None:
        one = worker("w1")
        now = one._clock.now()
        assert 0 < one.deadline - now <= 15.0
        one.leave()
        assert one.deadline < 0

    def test_one_in_the_middle_of_a_transaction_is_not_taken_for_dead(self, url: str, worker: Make) -> None:
        one, two = worker("w1"), worker("w2")
        begin(one, page_url("a.example", 1))
        long_since(two)
        with psycopg.connect(url) as held:
            held.execute("SELECT 1 FROM workers WHERE id = 'w1' FOR UPDATE")
            execute_unlocked = two.heartbeat
            two._workers._is_gone = lambda row: True  # type: ignore[method-assign]
            execute_unlocked()
            assert execute(url, "SELECT count(*) FROM workers") == [(2,)]

    def test_the_server_looks_whether_a_silent_host_is_still_there(self, worker: Make) -> None:
        assert worker("w1")._database.rows("SHOW tcp_keepalives_idle") == [("5",)]

    def test_what_another_program_has_locked_is_waited_for_but_not_for_ever(
        self, url: str, worker: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = worker("w1")
        run, leases = begin(store, page_url("a.example", 1))
        monkeypatch.setattr(database, "sleep", lambda seconds: None)
        monkeypatch.setitem(database._BOUNDS, "lock_timeout", "5ms")
        with psycopg.connect(url) as other:
            other.execute("SELECT 1 FROM domains FOR UPDATE")
            with pytest.raises(StoreAway, match=r"lock timeout.*pg_stat_activity"):
                settle(store, run, leases["a.example"])
        assert settle(store, run, leases["a.example"]).lost == frozenset()
        assert len(store.records(run)) == 1

    def test_a_server_that_has_lost_what_we_committed_is_left_to_those_who_know_no_more_than_it(
        self, url: str, worker: Make
    ) -> None:
        store = worker("w1")
        run, leases = begin(store, page_url("a.example", 1))
        execute(url, "UPDATE workers SET commits = commits - 1")
        with pytest.raises(LeaseLost):
            settle(store, run, leases["a.example"])


class TestPagesThatKill:
    def test_one_is_known_on_other_hosts_from_the_second_death_on(self, url: str, worker: Make) -> None:
        run, _ = begin(worker("w0"), page_url("a.example", 1), page_url("a.example", 2))
        found, dying = [], []
        for number in range(4):
            host = worker(f"w{number + 1}")
            host.join_run(run.id)
            expire(url, f"w{number}")
            long_since(host)
            host.heartbeat()
            (lease,) = host.lease(run, 1, FOREVER)
            entries = host.take(run, lease, 2)
            found.append([(entry.url[-1], entry.crashes) for entry in entries])
            dying.append(host.in_hand(entries[0].id))
            dying[-1].__enter__()
        assert found == [
            [("1", 0), ("2", 0)],
            [("2", 0), ("1", 1)],
            [("1", 1), ("2", 1)],
            [("2", 1), ("1", 2)],
        ], "the first death told nothing"

    def test_nothing_is_noted_of_a_domain_whose_pages_are_settled(self, url: str, worker: Make) -> None:
        run, _ = begin(worker("w0"), *(page_url("a.example", n) for n in range(3)))
        host = worker("w1")
        host.join_run(run.id)
        expire(url, "w0")
        long_since(host)
        host.heartbeat()
        (lease,) = host.lease(run, 1, FOREVER)
        noted = []
        for _ in range(2):
            (entry,) = host.take(run, lease, 1)
            with host.in_hand(entry.id):
                noted += [count for (count,) in execute(url, "SELECT count(*) FROM in_hand")]
            host.settle(run, [Visit(entry, page(record=entry.url))], [DomainUpdate(lease, 0.0)])
        assert (noted, execute(url, "SELECT count(*) FROM in_hand")) == ([1, 0], [(0,)])


def long_since(store: PostgresStore) -> None:
    """Judge the lease alone, as a server that has been up for long."""
    store._workers._ttl = -1e9


class TestAnswersThatAreLost:
    """COMMIT is sent and the connection breaks: what was done stands once, and is told as if nothing was."""

    @pytest.fixture
    def cut(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Fill it: "before" or "after" the server has the COMMIT, the next connections break."""
        plan: list[str] = []
        execute = psycopg.Cursor.execute

        def cutting(cursor: Any, query: Any, *values: Any, **more: Any) -> Any:
            if query != "COMMIT" or not plan:
                return execute(cursor, query, *values, **more)
            when = plan.pop(0)
            if when == "after":
                execute(cursor, query)
            cursor.connection.pgconn.finish()
            raise psycopg.OperationalError("the connection is lost")

        monkeypatch.setattr(psycopg.Cursor, "execute", cutting)
        return plan

    @pytest.mark.parametrize(
        "when", [["before"], ["after"], ["before", "after"], ["before", "before", "after"]]
    )
    def test_a_settlement_stands_once(self, when: list[str], worker: Make, cut: list[str]) -> None:
        store = worker("w1")
        run, leases = begin(store, page_url("a.example", 1))
        cut += when
        done = settle(store, run, leases["a.example"], page(page_url("a.example", 2), record="one"))
        assert (done.new, done.lost, cut) == (1, frozenset(), [])
        assert [kept.key for kept in store.records(run)] == ["one"]
        assert (store.progress(run).pending, store.progress(run).done) == (1, 1)

    def test_a_server_that_breaks_each_connection_is_not_asked_for_ever(
        self, worker: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, asked = worker("w1"), list[str]()

        def breaking(connection: Any, query: Any, *values: Any, **more: Any) -> Any:
            assert len(asked) < 100, "it is asked without end"
            asked.append(query)
            connection.pgconn.finish()
            raise psycopg.OperationalError("the connection is lost")

        monkeypatch.setattr(database, "sleep", lambda seconds: None)
        parameters = store._database._parameters
        monkeypatch.setattr(store._database, "another", lambda: psycopg.connect(**parameters))
        monkeypatch.setattr(psycopg.Connection, "execute", breaking)
        with pytest.raises(StoreError, match="again and again"):
            store.runs()
        assert set(asked) and len(asked) <= database._MOST_TRIES

    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_run_is_begun_once_and_is_new(self, when: str, worker: Make, cut: list[str]) -> None:
        store = worker("w1")
        cut += [when]
        run = store.start_run("news", "code")
        assert (run.is_resumed, len(store.runs())) == (False, 1)
        cut += [when]
        store.end_run(run, {}, accepted=True, whole=True)
        assert [one.state for one in store.runs()] == ["ended"]

    def test_what_is_leased_is_ours(self, worker: Make, cut: list[str]) -> None:
        store = worker("w1")
        run = store.start_run("news", "code")
        store.add(run, [page_url("a.example", 1)])
        cut += ["after"]
        (lease,) = store.lease(run, 9, FOREVER)
        assert len(store.take(run, lease, 1)) == 1

    def test_a_server_that_was_killed_is_waited_for(self, tmp_path: Path, own_server: Server) -> None:
        store = PostgresStore(own_server.database(), locks=tmp_path)
        store.join("w1")
        run, leases = begin(store, page_url("a.example", 1), page_url("a.example", 2))
        settle(store, run, leases["a.example"])
        own_server.stop("immediate")
        starting = threading.Thread(target=own_server.start)
        starting.start()
        settle(store, run, leases["a.example"])
        starting.join()
        assert len(store.records(run)) == 2
        store.close()


@pytest.fixture
def own_server(postgres: Server) -> Iterator[Server]:
    server = Server()
    yield server
    server.remove()


class TestAtTheSameTime:
    def test_sites_that_link_to_each_other_are_crawled_by_four_at_once(self, url: str, worker: Make) -> None:
        """Each page links to pages of all other sites, so that all write rows of all domains."""
        names = [f"{n}.example" for n in range(12)]
        every = [page_url(name, n) for name in names for n in range(15)]
        stores = [worker(f"w{number}") for number in range(4)]
        run = stores[0].start_run("news", "code")
        for store in stores[1:]:
            store.join_run(run.id)
        stores[0].add(run, [page_url(name, 0) for name in names])

        def crawl(number: int) -> None:
            store, dice = stores[number], Random(number)
            while store.progress(run).pending:
                for lease in store.lease(run, 3, FOREVER):
                    for _ in range(4):
                        entries = store.take(run, lease, 5)
                        links = [tuple(dice.sample(every, 40)) for _ in entries]
                        visits = [
                            Visit(entry, page(*some, record=entry.url))
                            for entry, some in zip(entries, links, strict=True)
                        ]
                        store.settle(run, visits, [DomainUpdate(lease, 0.0)])
                    store.release([DomainUpdate(lease, 0.0)])

        in_threads(4, crawl)
        kept: list[StoredRecord] = []
        while some := stores[0].records(run, kept[-1].cursor if kept else START):
            kept += some
        progress = stores[0].progress(run)
        assert (progress.pending, progress.done) == (0, len(kept))
        assert len({one.key for one in kept}) == len(kept) > 150
        assert execute(url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == [
            (0,)
        ]

    def test_who_reads_records_on_and_on_misses_none_that_others_commit(self, worker: Make) -> None:
        stores = [worker(f"w{number}") for number in range(4)]
        run = stores[0].start_run("news", "code")
        names = [f"{n}.example" for n in range(3)]
        stores[0].add(run, [page_url(name, n) for name in names for n in range(60)])
        for store in stores[1:]:
            store.join_run(run.id)
        seen: list[str] = []

        def work(number: int) -> None:
            if number == 0:
                cursor = START
                while len(seen) < 180:
                    for one in stores[0].records(run, cursor):
                        seen.append(one.key)
                        cursor = one.cursor
                return
            store = stores[number]
            lease = store.lease_domain(run, names[number - 1])
            assert lease is not None
            for _ in range(60):
                settle(store, run, lease)

        in_threads(4, work)
        assert len(set(seen)) == len(seen) == 180

    def test_a_url_found_while_its_domain_is_given_back_is_not_forgotten(self, worker: Make) -> None:
        one, two = worker("w1"), worker("w2")
        run, leases = begin(one, page_url("a.example", 0))
        two.join_run(run.id)
        settle(one, run, leases["a.example"])
        lease = leases["a.example"]
        for n in range(1, 40):
            one_lease = lease

            def give_back_or_find(number: int, lease: Lease = one_lease, n: int = n) -> None:
                if number:
                    two.add(run, [page_url("a.example", n)])
                else:
                    one.release([DomainUpdate(lease, 0.0)])

            in_threads(2, give_back_or_find)
            (lease,) = one.lease(run, 1, FOREVER)
            settle(one, run, lease)
        assert one.progress(run).pending == 0


def in_threads(number: int, work: Callable[[int], None]) -> None:
    """Run the same in several threads at once; what one raises is raised."""
    raised: list[BaseException] = []

    def one(place: int) -> None:
        try:
            work(place)
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
