"""What only a file can do: survive kill -9, fill a disk, meet an older or a newer program."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from scraper.errors import LeaseLost, StoreAway, StoreError, StoreFull, StoreTooNew, UsageError
from scraper.model import Fetched, Known, NewUrl, RecordLine, Unchanged, Visit
from scraper.ops.clock import SystemClock
from scraper.store import DomainUpdate, Run, met_urls, seen
from scraper.store.locks import Locks
from scraper.store.sqlite import SqliteStore, bloom, fingerprint_index, schema
from scraper.store.sqlite.database import Database
from scraper.urls import fingerprint, with_callback
from tests.contracts import test_store as contract

FOREVER = 1e12

# A worker that crawls pages which name each other, says when it has begun, and never ends by itself.
CRAWLER = """
import sys
from pathlib import Path
from tests.store.test_sqlite import crawl_step, url
from scraper.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store.join(sys.argv[2])
run = store.start_run("news", "code")
store.add(run, [url(0)])
steps = 0
while crawl_step(store, run):
    steps += 1
    if steps == 3:
        print("begun", flush=True)
"""

# The same for a worker that knows few URLs as for one that knows millions.
SMALL = """
from tests.store.test_sqlite import shrink
shrink(setattr)
"""

ROOMS = [pytest.param("", marks=pytest.mark.thorough), SMALL]

# Stops outside a transaction: inside one it would hold up every writer of the file.
SLEEPER = """
import os, signal, sys
from pathlib import Path
from scraper.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store.join(sys.argv[2])
store.start_run("news", "code")
os.kill(os.getpid(), signal.SIGSTOP)
"""

# One of several workers of a run, which helps until little is left.
HAND = """
import sys
from pathlib import Path
from tests.store.test_sqlite import crawl_step
from scraper.store.sqlite import SqliteStore

store = SqliteStore(Path(sys.argv[1]))
store.join(sys.argv[2])
run = store.join_run(sys.argv[3])
print("begun", flush=True)
while store.progress(run).done < 300:
    if not crawl_step(store, run, last=400):
        store.heartbeat()
store.leave()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "scraper.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    store.join("w1")
    yield store
    store.close()


def url(number: int, domain: str = "") -> NewUrl:
    name = domain or f"d{number % 5}.example"
    address = f"https://{name}/{number}"
    return NewUrl(name, blake2b(address.encode(), digest_size=16).digest(), address)


def crawl_step(store: SqliteStore, run: Run, last: int = 1_000_000) -> int:
    """Settle a few pages of each free domain; page n names pages 2n+1 and 2n+2 up to `last`."""
    leases = store.lease(run, 100, FOREVER)
    visits = []
    for lease in leases:
        for entry in store.take(run, lease, 3):
            number = int(entry.url.rsplit("/", 1)[1])
            links = tuple(url(n) for n in (2 * number + 1, 2 * number + 2, 0) if n <= last)
            visits.append(Visit(entry, Fetched(Known(0), (RecordLine(str(number), "{}"),), links)))
    updates = [DomainUpdate(lease, 0.0, None, f"after {len(visits)}", None) for lease in leases]
    store.settle(run, visits, updates)
    store.release(updates)
    return len(visits)


def sums(path: Path) -> dict[str, int]:
    connection = sqlite3.connect(path)
    questions = {
        "done": "SELECT count(*) FROM urls WHERE state = 1",
        "pending": "SELECT count(*) FROM urls WHERE state = 0",
        "visits": "SELECT count(*) FROM visits",
        "pages": "SELECT count(*) FROM pages",
        "records": "SELECT count(*) FROM records",
        "counted": "SELECT done FROM runs",
        "waiting": "SELECT pending FROM runs",
    }
    found = {name: connection.execute(question).fetchone()[0] for name, question in questions.items()}
    connection.close()
    return found


class TestKill:
    @pytest.mark.parametrize("rooms", ROOMS, ids=["as they are", "small"])
    def test_a_crawl_killed_again_and_again_keeps_its_sums(self, path: Path, rooms: str) -> None:
        for turn in range(4):
            with start(path, f"w{turn}", rooms + CRAWLER) as process:
                assert process.stdout is not None and process.stdout.readline() == b"begun\n"
                process.send_signal(signal.SIGKILL)
                process.wait()
            found = sums(path)
            one = {found[name] for name in ("done", "visits", "pages", "records", "counted")}
            assert len(one) == 1 and found["pending"] == found["waiting"] > 0
        after = SqliteStore(path)
        after.join("last")
        run = after.start_run("news", "code")
        assert run.is_resumed, "the dead was known as dead at once"
        # What the killed ones have found is found; the rest of a small tree, and no more.
        before = sums(path)["done"]
        asked = crawl_step(after, run)
        assert asked and sums(path)["done"] == before + asked
        keys = [kept.key for kept in after.records(run, limit=1_000_000)]
        assert len(keys) == len(set(keys)) == before + asked
        after.close()

    def test_a_stopped_worker_keeps_its_domains(self, path: Path) -> None:
        with start(path, "sleeper", SLEEPER) as process:
            assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
            other = SqliteStore(path)
            other.join("other")
            assert other.holder("news") is not None
            process.kill()
            process.wait()
            other.heartbeat()
            assert other.holder("news") is None
            other.close()

    def test_a_worker_taken_for_dead_can_write_nothing(self, path: Path, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        (lease,) = store.lease(run, 1, FOREVER)
        visit = Visit(store.take(run, lease, 1)[0], Fetched(Known(0), (RecordLine("late", "{}"),)))
        (path.parent / "locks" / "w1.lock").unlink()
        other = SqliteStore(path)
        other.join("w2")
        assert store.settle(run, [visit], [DomainUpdate(lease, 0.0)]).lost == {"d0.example"}
        assert store.take(run, lease, 1) == [] and store.records(run) == []
        with pytest.raises(LeaseLost):
            store.lease(run, 1, FOREVER)
        with pytest.raises(LeaseLost):
            store.heartbeat()
        other.close()

    def test_a_forked_child_neither_writes_nor_keeps_its_parent_alive(self, store: SqliteStore) -> None:
        child = os.fork()
        if child == 0:
            try:
                store.progress(Run("", 1, "", "", 0.0))
            except StoreError:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        store.heartbeat()


def start(path: Path, worker: str, script: str = CRAWLER, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", script, str(path), worker, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent.parent)


class TestManyProcesses:
    @pytest.mark.parametrize("rooms", ROOMS, ids=["as they are", "small"])
    def test_workers_that_crawl_at_once_do_each_page_once_though_one_is_killed(
        self, path: Path, store: SqliteStore, rooms: str
    ) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        processes = [start(path, f"child{i}", rooms + HAND, run.id) for i in range(3)]
        assert processes[0].stdout is not None and processes[0].stdout.readline() == b"begun\n"
        processes[0].kill()
        codes = []
        for process in processes:
            with process:
                codes.append(process.wait())
        assert codes == [-signal.SIGKILL, 0, 0]
        store.heartbeat()
        # What the killed one had in hand may be all that was left.
        while crawl_step(store, run, last=400):
            pass
        counts = dict.fromkeys(("done", "visits", "pages", "records", "counted"), 401)
        assert sums(path) == counts | {"pending": 0, "waiting": 0}
        assert sorted(int(kept.key) for kept in store.records(run)) == list(range(401))


class TestFile:
    def test_only_its_owner_may_read_it(self, path: Path, store: SqliteStore) -> None:
        store.start_run("news", "code")
        files = list(path.parent.glob("scraper.db*")) + list((path.parent / "locks").iterdir())
        assert len(files) == 4
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}

    def test_a_newer_file_is_refused_with_a_clear_sentence(self, path: Path, store: SqliteStore) -> None:
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        known = len(schema.MIGRATIONS)
        with pytest.raises(
            StoreTooNew, match=rf"schema 99, this program knows {known}\) \(update the program"
        ):
            SqliteStore(path)

    def test_an_older_file_is_brought_up_to_date(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        store = SqliteStore(path)
        store.join("w1")
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        store.leave()
        store.close()
        more = "ALTER TABLE urls ADD COLUMN note TEXT", "CREATE TABLE more(note TEXT)"
        monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more))
        for worker in ("w2", "w3"):
            store = SqliteStore(path)
            store.join(worker)
            assert len(store.lease(store.start_run("news", "code"), 1, FOREVER)) == 1
            store.leave()
            store.close()

    def test_a_migration_that_fails_leaves_the_file_as_it_was(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        SqliteStore(path).close()
        first = schema.MIGRATIONS
        monkeypatch.setattr(schema, "MIGRATIONS", (*first, ("CREATE TABLE half(a)", "CREATE NONSENSE")))
        with pytest.raises(StoreError):
            SqliteStore(path)
        monkeypatch.setattr(schema, "MIGRATIONS", first)
        SqliteStore(path).close()

    def test_a_file_that_is_no_database_is_named(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("these are notes, not a database" * 99)
        with pytest.raises(StoreError, match=r"scraper\.db is no usable database"):
            SqliteStore(path)

    def test_a_place_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "data").write_text("a file where a folder should be")
        with pytest.raises(StoreFull, match="cannot write"):
            SqliteStore(tmp_path / "data" / "scraper.db")

    def test_a_read_only_database_is_told(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        run = store.start_run("news", "code")
        execute(store, "PRAGMA query_only = 1")
        with pytest.raises(StoreFull, match="cannot write"):
            store.add(run, [url(0)])
        execute(store, "PRAGMA query_only = 0")
        assert store.add(run, [url(0)]) == 1

    def test_a_full_disk_loses_nothing_and_the_store_works_on_afterwards(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        pages = execute(store, "PRAGMA page_count")
        execute(store, f"PRAGMA max_page_count = {pages + 10}")
        with pytest.raises(StoreFull, match=r"cannot write .* \(free some space"):
            store.add(run, [url(n) for n in range(20_000)])
        assert store.progress(run).pending == 1
        execute(store, "PRAGMA max_page_count = 1000000")
        assert store.add(run, [url(n) for n in range(200)]) == 199
        assert store.progress(run).pending == 200
        assert crawl_step(store, run) == 15

    def test_a_file_limit_of_the_system_is_a_full_disk(self, path: Path) -> None:
        script = """
import resource, sys
from pathlib import Path
from tests.store.test_sqlite import url
from scraper.errors import StoreFull
from scraper.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.join("w1")
run = store.start_run("news", "code")
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    for start in range(0, 99_000, 1_000):
        store.add(run, [url(n) for n in range(start, start + 1_000)])
except StoreFull:
    sys.exit(7)
"""
        root = Path(__file__).parent.parent.parent
        done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=root, check=False)
        assert done.returncode == 7
        after = SqliteStore(path)
        after.join("w2")
        run = after.start_run("news", "code")
        assert after.progress(run).pending == sums(path)["pending"]
        after.close()

    def test_a_file_that_was_removed_while_in_use_is_noticed(self, path: Path, store: SqliteStore) -> None:
        store.heartbeat()
        path.rename(path.with_name("elsewhere.db"))
        with pytest.raises(StoreError, match="removed or replaced"):
            store.heartbeat()

    def test_a_disk_that_does_not_answer_or_is_gone_is_away_for_now(
        self, path: Path, store: SqliteStore
    ) -> None:
        path.parent.rename(path.parent.with_name("unmounted"))
        with pytest.raises(StoreAway, match="is gone"):
            store.heartbeat()
        database = Database(path.parent.with_name("other") / "scraper.db")
        for code in (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_LOCK, sqlite3.SQLITE_BUSY):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = code
            with pytest.raises(StoreAway), database.read():
                raise error
        database.close()

    def test_many_processes_may_open_a_new_file_at_once(self, path: Path) -> None:
        script = """
import sys
from pathlib import Path
from scraper.store.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
store.join(sys.argv[2])
store.leave()
"""
        arguments = [sys.executable, "-c", script, str(path)]
        root = Path(__file__).parent.parent.parent
        processes = [subprocess.Popen([*arguments, f"w{i}"], cwd=root) for i in range(5)]
        assert [process.wait() for process in processes] == [0] * 5

    def test_the_room_of_a_dropped_run_is_used_again(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(n) for n in range(10_000)])
        store.end_run(run, {}, accepted=False, whole=False)
        before = execute(store, "PRAGMA page_count")
        store.end_run(store.start_run("news", "code"), {}, accepted=True, whole=True)
        assert store.prune("news", keep=1) == [run.id]
        store.add(store.start_run("news", "code"), [url(n) for n in range(10_000, 20_000)])
        assert execute(store, "PRAGMA page_count") < before * 1.1


def execute(store: SqliteStore, sql: str) -> Any:
    with store._database.read() as connection:
        row = connection.execute(sql).fetchone()
    return row and row[0]


class TestOlderFiles:
    def test_pages_of_an_older_file_are_known_by_what_they_are_known_by_now(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, other = fingerprint("GET", "https://a.example/"), fingerprint("GET", "https://a.example/book")
        with monkeypatch.context() as patch:
            patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
            SqliteStore(path).close()
        with sqlite3.connect(path) as old:
            old.execute("INSERT INTO domains(id, name) VALUES (1, 'a.example')")
            old.execute("INSERT INTO queues(id, spider, domain, free, due) VALUES (1, 'news', 1, 1, 0)")
            old.execute(
                "INSERT INTO runs(number, id, spider, code, state, started_at, accepted, whole)"
                " VALUES (1, 'r-1', 'news', 'code', 'ended', 0, 1, 1)"
            )
            for number, (fp, request) in enumerate(((plain, None), (other, '{"callback":"parse_book"}')), 1):
                old.execute(
                    "INSERT INTO urls VALUES (?, 1, ?, 'u', ?, 0, 0, 0, 0, 1, 1, ?, NULL)",
                    (number, fp, request, number),
                )
                table = ("fresh", "settled")[number - 1]
                old.execute(f"INSERT INTO {table} VALUES (1, ?, ?, 1)", (fp[:10], number))
                old.execute(
                    "INSERT INTO pages VALUES (?, ?, 1, 1, 'code', '\"1\"', NULL, 0, x'', 0, x'', '')",
                    (number, number),
                )
        store = SqliteStore(path)
        store.join("w1")
        run = store.start_run("news", "code")
        store.add(run, [NewUrl("a.example", fp, "u") for fp in (plain, with_callback(other, "parse_book"))])
        (lease,) = store.lease(run, 1, FOREVER)
        assert [entry.known and entry.known.inputs for entry in store.take(run, lease, 9)] == ["code"] * 2
        assert store.lookup("news", other) is None and store.runs("news")[1].params is None
        store.close()


class TestTime:
    def test_all_processes_of_a_boot_share_one_line(self, path: Path) -> None:
        one, two = SqliteStore(path), SqliteStore(path)
        assert one.anchor() == two.anchor()
        one.close()
        two.close()

    def test_time_never_goes_back_over_a_reboot(self, path: Path) -> None:
        later = SystemClock().now() + 9_999.0
        store = SqliteStore(path, SystemClock(later - SystemClock(0.0).now()))
        store.join("w1")
        store.leave()
        execute(store, "UPDATE meta SET v = 'an earlier boot' WHERE k = 'boot'")
        assert SystemClock(store.anchor()).now() >= later
        store.close()


def shrink(setattr: Callable[[object, str, object], None]) -> None:
    """Make all that is kept of URLs so small that a few of them fill it."""
    setattr(seen, "AT_HAND", 5)
    setattr(seen, "LATELY", 5)
    setattr(seen, "MOVED", 1)
    setattr(met_urls, "SIZES", (30, 60))
    setattr(fingerprint_index, "_ROOM", {"fresh": 4, "recent": 12})
    setattr(fingerprint_index, "_SINK", 3)
    setattr(bloom, "_WORTHWHILE", 30)
    setattr(bloom, "_SIZE", 1 << 14)
    setattr(bloom, "_PARTS", 4)
    setattr(bloom, "_STRETCH", 40)
    setattr(bloom, "_KEEP", 60)


@pytest.fixture
def small_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a few URLs do what millions do."""
    shrink(monkeypatch.setattr)


@pytest.mark.usefixtures("small_levels")
class TestKnown:
    def levels(self, store: SqliteStore) -> list[int]:
        return [execute(store, f"SELECT count(*) FROM {name}") for name in ("fresh", "recent", "settled")]

    def test_fingerprints_sink_and_none_is_lost_or_doubled(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        for start in range(0, 100, 7):
            store.add(run, [url(n) for n in range(start, start + 7)])
        fresh, recent, settled = self.levels(store)
        assert fresh <= 6 and recent <= 14 and fresh + recent + settled == 105
        store._seen.clear()
        assert store.add(run, [url(n) for n in range(105)]) == 0

    def test_a_row_above_stands_for_one_below_until_it_sinks_onto_it(self, store: SqliteStore) -> None:
        for _ in range(3):
            run = store.start_run("news", "code")
            for _ in range(2):
                store._seen.clear()
                assert sum(store.add(run, [url(n)]) for n in range(50)) in (50, 0)
            assert store.progress(run).pending == 50
            store.end_run(run, {}, accepted=True, whole=True)
        assert execute(store, "SELECT count(DISTINCT stem) FROM known") == 50
        assert all(rows < room for rows, room in zip(self.levels(store), (7, 15, 51), strict=True))

    def test_the_count_of_rows_stays_true(self, store: SqliteStore) -> None:
        for _ in range(4):
            run = store.start_run("news", "code")
            store.add(run, [url(n) for n in range(60)])
            store.end_run(run, {}, accepted=True, whole=True)
        for place, name in enumerate(("fresh", "recent")):
            counted = execute(store, f"SELECT rows FROM levels WHERE name = '{name}'")
            assert 0 <= counted - self.levels(store)[place] <= 15

    def test_what_is_pruned_is_known_no_more(self, store: SqliteStore) -> None:
        first = store.start_run("news", "code")
        store.add(first, [url(n) for n in range(40)])
        store.end_run(first, {}, accepted=False, whole=False)
        store.end_run(store.start_run("news", "code"), {}, accepted=True, whole=True)
        assert store.prune("news", keep=1) == [first.id] and self.levels(store) == [0, 0, 0]
        assert store.lookup("news", url(1).fp) is None
        assert store.add(store.start_run("news", "code"), [url(n) for n in range(40)]) == 40


@pytest.mark.usefixtures("small_levels")
class TestMetUrls:
    """What this process has met is not looked for in the file; it holds some hundred URLs here."""

    def test_all_that_a_run_has_met_are_met_once(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        for start in range(0, 300, 20):
            store.add(run, [url(n) for n in range(start, start + 20)])
        assert store.add(run, [url(n) for n in range(300)]) == 0 and store.progress(run).pending == 300
        store.end_run(run, {}, accepted=True, whole=True)
        assert store.add(store.start_run("news", "code"), [url(n) for n in range(300)]) == 300

    def found(self, met: met_urls.MetUrls, fps: Iterable[bytes]) -> dict[bytes, int]:
        """The ids of those that are there; the others are told."""
        fps, ids = list(fps), dict[bytes, int]()
        assert set(met.find(fps, ids)) == set(fps) - set(ids)
        return ids

    def test_ids_are_found_and_the_last_ones_stay_where_there_are_too_many(self) -> None:
        met = met_urls.MetUrls()
        ids = {url(n).fp: n for n in range(1, 25)}
        met.add(ids)
        assert self.found(met, (url(n).fp for n in range(99))) == ids
        for start in range(25, 1000, 25):
            last = {url(n).fp: n for n in range(start, start + 25)}
            met.add(last)
            assert self.found(met, last) == last
        found = self.found(met, (url(n).fp for n in range(1000)))
        assert all(found[url(n).fp] == n for n in range(1000) if url(n).fp in found)
        assert len(found) <= 19 + 60 + 32

    def test_only_what_has_no_room_at_hand_is_moved_and_a_few_are_waited_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        monkeypatch.setattr(seen, "AT_HAND", 100)
        monkeypatch.setattr(seen, "MOVED", 10)
        kept = seen.Seen(urls={url(n).fp: n for n in range(1, 110)})
        kept.trim()
        assert len(kept.urls) == 109
        kept.urls |= {url(n).fp: n for n in range(110, 130)}
        kept.trim()
        assert list(kept.urls.values()) == list(range(30, 130))
        assert self.found(kept.met, (url(n).fp for n in range(1, 130))) == {
            url(n).fp: n for n in range(1, 30)
        }

    def test_an_id_that_does_not_fit_is_left_out(self) -> None:
        met = met_urls.MetUrls()
        met.add({url(1).fp: 2**32, url(2).fp: 2**32 - 1})
        assert self.found(met, [url(1).fp, url(2).fp]) == {url(2).fp: 2**32 - 1}


@pytest.mark.usefixtures("small_levels")
class TestBloomFilter:
    """New URLs are not looked for; none that is known may be taken for new, whatever happened before."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many URLs were looked for, at each time."""
        asked: list[int] = []
        find = fingerprint_index.find

        def count_and_find(connection: sqlite3.Connection, keys: Collection[fingerprint_index.Key]) -> Any:
            asked.append(len(keys))
            return find(connection, keys)

        monkeypatch.setattr(fingerprint_index, "find", count_and_find)
        return asked

    @pytest.fixture
    def run(self, store: SqliteStore) -> Run:
        """A run that knows URLs 0 to 99, and has kept a Bloom filter that lacks the last of them."""
        run = store.start_run("news", "code")
        for start in range(0, 100, 20):
            assert add(store, run, range(start, start + 20)) == 20
        assert 60 <= execute(store, "SELECT v FROM meta WHERE k = 'sieve'") < 100
        return run

    @pytest.fixture
    def other(self, path: Path, run: Run) -> Iterator[SqliteStore]:
        """Another process that works on the run."""
        other = SqliteStore(path)
        other.join("other")
        other.join_run(run.id)
        yield other
        other.close()

    def test_few_of_the_new_are_looked_for_and_all_of_the_known(
        self, store: SqliteStore, run: Run, asked: list[int]
    ) -> None:
        assert add(store, run, range(100, 400)) == 300 and add(store, run, range(400)) == 0
        assert asked[0] < 15 and asked[1] == 400

    def test_what_another_process_has_added_is_known(
        self, store: SqliteStore, other: SqliteStore, run: Run, asked: list[int]
    ) -> None:
        for start in range(100, 410, 31):
            assert add(other, run, range(start, start + 30)) == 30
            assert add(store, run, range(start, start + 31)) == 1
            assert add(other, run, range(start, start + 31)) == 0
        assert add(store, run, range(410)) == add(other, run, range(410)) == 0
        assert min(asked) < 5, "both have used a Bloom filter"

    def test_numbers_that_a_failed_transaction_gave_back_hide_nothing(
        self, store: SqliteStore, other: SqliteStore, run: Run
    ) -> None:
        execute(store, "CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(StoreError, match="no"):
            add(store, run, range(100, 130))
        execute(store, "DROP TRIGGER no")
        assert add(other, run, range(200, 240)) == 40
        assert add(store, run, range(200, 250)) == 10 and add(store, run, range(100, 130)) == 30

    def test_a_file_opened_again_knows_what_it_knew(
        self, path: Path, store: SqliteStore, run: Run, asked: list[int]
    ) -> None:
        store.close()
        again = SqliteStore(path)
        again.join("again")
        run = again.start_run("news", "code")
        asked.clear()
        assert add(again, run, range(130)) == 30 and asked[0] < 105
        again.close()

    def test_a_file_without_a_bloom_filter_gets_one_by_and_by(
        self, run: Run, other: SqliteStore, asked: list[int]
    ) -> None:
        execute(other, "DELETE FROM meta WHERE k = 'sieve'")
        execute(other, "DELETE FROM sieve")
        for number in range(4):
            asked.clear()
            assert add(other, run, range(101 + number)) == 1
            assert (asked[0] < 101 + number) == (number >= 2), "40 rows are taken in at each time"

    def test_a_new_run_meets_old_urls_again(self, store: SqliteStore, run: Run) -> None:
        store.end_run(run, {}, accepted=True, whole=True)
        later = store.start_run("news", "code")
        assert add(store, later, range(100)) == 100 == store.progress(later).pending
        assert execute(store, "SELECT count(*) FROM urls") == 100

    def test_what_is_pruned_is_new_again(self, store: SqliteStore, run: Run) -> None:
        store.end_run(run, {}, accepted=True, whole=True)
        old = [run.id]
        for _ in range(2):
            later = store.start_run("news", "code")
            add(store, later, range(40))
            store.end_run(later, {}, accepted=True, whole=True)
            old.append(later.id)
        assert store.prune("news", keep=1) == old[:2]
        last = store.start_run("news", "code")
        assert add(store, last, range(40, 100)) == 60 and add(store, last, range(100)) == 40
        assert execute(store, "SELECT count(*) FROM urls") == 100

    def test_a_small_file_does_without(self, store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bloom, "_WORTHWHILE", 500)
        run = store.start_run("news", "code")
        for start in range(0, 400, 20):
            add(store, run, range(start, start + 20))
        assert not store._seen.bloom._bits
        assert execute(store, "SELECT count(*) FROM sieve") == 0


def add(store: SqliteStore, run: Run, numbers: range) -> int:
    """How many of these URLs are new to the file, whatever this process has seen itself."""
    store._seen.clear()
    return store.add(run, [url(n) for n in numbers])


@pytest.mark.usefixtures("small_levels")
class TestTwinsInSmallRooms(contract.TestTwins):
    """The same histories, with all that only many URLs bring about."""


@pytest.mark.usefixtures("small_levels")
class TestHotPath:
    def test_no_statement_of_it_scans_a_table(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        said: set[str] = set()
        connect = sqlite3.connect

        def connect_and_listen(*args: Any, **kwargs: Any) -> sqlite3.Connection:
            connection: sqlite3.Connection = connect(*args, **kwargs)
            connection.set_trace_callback(said.add)
            return connection

        monkeypatch.setattr(sqlite3, "connect", connect_and_listen)
        stores = [SqliteStore(path), SqliteStore(path)]
        for number, store in enumerate(stores):
            store.join(f"w{number}")
        run = stores[0].start_run("news", "code")
        stores[1].join_run(run.id)
        said.clear()
        stores[0].add(run, [url(n) for n in range(60)])
        for _ in range(4):
            for store in stores:
                crawl_step(store, run)
                store.heartbeat()
                store.progress(run)
                store.lease(run, 1, FOREVER)
                store.records(run)
        # A third one comes when there is a Bloom filter to begin with.
        stores.append(SqliteStore(path))
        stores[-1].join("w2")
        stores[-1].join_run(run.id)
        for store in stores:
            crawl_step(store, run)
        connection = connect(path)
        verbs = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
        plans = [
            (statement, row[3])
            for statement in said
            if statement.lstrip().startswith(verbs)
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
        connection.close()
        assert len(plans) > 30 and any("FROM sieve" in statement for statement in said)
        # Two of the tables of fingerprints hold so many rows and no more, counted once in as many new URLs.
        # The Bloom filter has 64.
        small = (
            "SCAN workers",
            "SCAN CONSTANT ROW",
            "SCAN w",
            "SCAN given",
            "CONSTANT ROWS",
            "SCAN fresh",
            "SCAN recent",
            "SCAN sieve",
            "SCAN json_each VIRTUAL TABLE INDEX 1:",  # the URLs in hand
        )
        assert [plan for plan in plans if plan[1].startswith("SCAN") and not plan[1].endswith(small)] == []
        assert [plan for plan in plans if "TEMP B-TREE" in plan[1]] == []

    def test_what_was_seen_is_forgotten_with_a_transaction_that_failed(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        execute(store, "CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(StoreError, match="no"):
            store.add(run, [url(0)])
        execute(store, "DROP TRIGGER no")
        assert store.add(run, [url(0)]) == 1
        assert len(store.lease(run, 1, FOREVER)) == 1

    def test_a_settlement_that_failed_can_be_sent_again(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        (lease,) = store.lease(run, 1, FOREVER)
        visit = Visit(
            store.take(run, lease, 1)[0], Fetched(Known(0), (RecordLine("k", '"\ud800"'),), (url(1),))
        )
        execute(store, "CREATE TRIGGER no BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'no'); END")
        with pytest.raises(StoreError, match="no"):
            store.settle(run, [visit], [DomainUpdate(lease, 0.0)])
        execute(store, "DROP TRIGGER no")
        assert store.settle(run, [visit], [DomainUpdate(lease, 0.0)]).new == 1
        assert [kept.line for kept in store.records(run)] == ['"?"']

    def test_a_page_whose_last_version_was_pruned_is_asked_for_again(self, store: SqliteStore) -> None:
        run = store.start_run("news", "code")
        store.add(run, [url(0)])
        (lease,) = store.lease(run, 1, FOREVER)
        (entry,) = store.take(run, lease, 1)
        store.settle(run, [Visit(entry, Unchanged(Known(1)))], [DomainUpdate(lease, 0.0)])
        assert store.progress(run).pending == 1


def test_a_second_store_of_a_process_leaves_the_locks_of_the_first(tmp_path: Path) -> None:
    first, script = SqliteStore(tmp_path / "scraper.db"), tmp_path / "writes.py"
    script.write_text(
        "import sqlite3, sys\n"
        "try:\n    sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')\n"
        "except sqlite3.OperationalError as error:\n    print(error)\n"
    )
    with first._database.write():
        Database(tmp_path / "scraper.db").close()
        command = [sys.executable, str(script), str(tmp_path / "scraper.db")]
        assert subprocess.check_output(command, text=True) == "database is locked\n"
    first.close()


def test_a_link_in_the_place_of_the_locks_opens_no_folder_to_a_team(tmp_path: Path) -> None:
    private, data = tmp_path / "private", tmp_path / "data"
    private.mkdir(mode=0o700)
    data.mkdir()
    (data / "locks").symlink_to(private)
    store = SqliteStore(data / "scraper.db", is_shared=True)
    with pytest.raises(UsageError, match="locks: it is a link"):
        store.join("host-1-a")
    store.close()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700 and not list(private.iterdir())


@pytest.mark.parametrize("end", ["-wal", "-shm"])
@pytest.mark.parametrize("kind", ["link", "second name"])
def test_a_link_that_was_planted_beside_the_database_is_not_written_through(
    tmp_path: Path, end: str, kind: str
) -> None:
    file, victim = tmp_path / "scraper.db", tmp_path / "victim"
    SqliteStore(file).close()
    victim.write_text("mine")
    planted = file.with_name(file.name + end)
    planted.symlink_to(victim) if kind == "link" else planted.hardlink_to(victim)
    with pytest.raises(UsageError, match=f"scraper.db{end}: it is a link"):
        SqliteStore(file)
    assert victim.read_text() == "mine"


def test_where_the_disk_fills_up_a_note_of_a_page_in_hand_still_has_its_place(tmp_path: Path) -> None:
    locks = Locks(tmp_path)
    locks.hold("host-1-a")
    (file,) = tmp_path.glob("*.lock")
    assert file.stat().st_blocks > 0
    locks.drop()
