"""What every sink keeps: all records or the old file, whatever their fields, whatever goes wrong."""

import csv
import gzip
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import psycopg.rows
import pytest

import scraper.runs.sinks.postgres
from scraper.errors import StoreFull, UsageError
from scraper.runs.sinks import Layout, Sink, sink_for
from tests.full_disk import small_files
from tests.postgres import Server

HOSTILE = 'a "quoted"; comma, tab\t line\nbreak \x00 naïve 漢字 🦊 </script> =1+1'


def read_csv(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_sqlite(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT * FROM records")
        return [dict(zip([column[0] for column in rows.description], row, strict=True)) for row in rows]


def read_parquet(path: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    rows: list[dict[str, Any]] = parquet.read_table(str(path)).to_pylist()
    return rows


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def read_packed(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).split(b"\n")[:-1]]


def read_postgres(url: str) -> list[dict[str, Any]]:
    with psycopg.connect(url.partition("?")[0], row_factory=psycopg.rows.dict_row) as connection:
        return connection.execute("SELECT * FROM records").fetchall()


def columns_of_postgres(url: str) -> list[str]:
    with psycopg.connect(url.partition("?")[0]) as connection:
        return [column.name for column in connection.execute("SELECT * FROM records").description or ()]


POSTGRES = "postgres"
READERS: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    ".jsonl": read_lines,
    ".jsonl.gz": read_packed,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".csv": read_csv,
    ".sqlite": read_sqlite,
    ".parquet": read_parquet,
}


def put(sink: Sink, *batches: list[dict[str, Any]]) -> None:
    sink.open()
    for batch in batches:
        sink.write([json.dumps(record, ensure_ascii=False) for record in batch])
    sink.close()


def filled(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if value not in (None, "")}


@dataclass(frozen=True)
class Target:
    """Somewhere to write to, and what stands there then."""

    name: str
    read: Callable[[], list[dict[str, Any]]]
    columns: Callable[[], list[str]]


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    """A target of the kind that the test names."""
    kind = request.param
    if kind == POSTGRES:
        url = request.getfixturevalue("postgres").database()
        return Target(url, partial(read_postgres, url), partial(columns_of_postgres, url))
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"records{kind}"
    return Target(str(path), partial(READERS[kind], path), partial(columns, path))


def kinds(*names: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("place", names, indirect=True)


@pytest.fixture(params=sorted(READERS))
def ending(request: pytest.FixtureRequest) -> str:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path, ending: str) -> Path:
    return tmp_path / f"records{ending}"


@kinds(*sorted(READERS), POSTGRES)
class TestEverySink:
    def test_gives_back_every_record_in_order(self, place: Target) -> None:
        records = [{"name": f"book {n}", "about": "x" * n} for n in range(1, 50)]
        put(sink_for(place.name), records[:20], [], records[20:])
        assert place.read() == records

    def test_keeps_any_text_as_it_is(self, place: Target) -> None:
        text = HOSTILE.replace("\0", "\ufffd") if place.name.startswith("postgresql") else HOSTILE
        put(sink := sink_for(place.name), [{"text": HOSTILE, 'odd "field", name': "1"}])
        assert place.read() == [{"text": text, 'odd "field", name': "1"}]
        assert bool(sink.notes) == (text != HOSTILE)

    def test_loses_no_field_where_records_differ(self, place: Target) -> None:
        records: list[dict[str, Any]] = [{"a": "1"}, {"b": "2"}, {"a": "3", "c": "4"}, {"c": None}]
        put(sink_for(place.name), records[:1], records[1:])
        assert [filled(record) for record in place.read()] == [filled(record) for record in records]

    def test_survives_surrogates_that_no_file_can_hold(self, place: Target) -> None:
        sink = sink_for(place.name)
        sink.open()
        sink.write(['{"text": "\\ud83e\\udd8a \\ud800 end"}', '{"text": "\ud800"}'])
        sink.close()
        found = place.read()
        assert len(found) == 2 and "🦊" in found[0]["text"] and found[0]["text"].endswith(" end")

    def test_takes_values_of_any_kind_in_one_field(self, place: Target) -> None:
        kinds = [1, 2.5, True, "text", None, [1, "a"], {"x": {"y": []}}, 10**30, -(2**63), float("inf"), []]
        put(sink_for(place.name), [{"n": n, "value": value} for n, value in enumerate(kinds)])
        assert len(place.read()) == len(kinds)

    def test_a_run_without_records_gives_an_empty_file_of_the_format(self, place: Target) -> None:
        put(sink_for(place.name))
        assert place.read() == []

    def test_replaces_what_is_there_of_yesterday_and_leaves_nothing_else(
        self, place: Target, tmp_path: Path
    ) -> None:
        put(sink_for(place.name), [{"day": "1"}, {"day": "1"}])
        put(sink_for(place.name), [{"day": "2"}])
        assert place.read() == [{"day": "2"}]
        assert list(map(str, tmp_path.iterdir())) in ([place.name], [])

    def test_what_is_abandoned_changes_nothing(self, place: Target) -> None:
        put(sink_for(place.name), [{"day": "1"}])
        sink = sink_for(place.name)
        sink.abandon()
        sink.open()
        sink.write(['{"day": "2"}'])
        sink.abandon()
        sink.abandon()
        assert place.read() == [{"day": "1"}]

    def test_abandon_after_close_takes_nothing_back(self, place: Target) -> None:
        sink = sink_for(place.name)
        put(sink, [{"a": "1"}])
        sink.abandon()
        assert place.read() == [{"a": "1"}]

    def test_writing_before_open_is_a_mistake_of_the_caller(self, place: Target) -> None:
        with pytest.raises(ValueError, match="not open"):
            sink_for(place.name).write(['{"a": 1}'])


class TestEveryFile:
    def test_the_old_file_stands_until_close(self, target: Path) -> None:
        target.write_text("yesterday")
        sink = sink_for(str(target))
        sink.open()
        sink.write(['{"a": 1}'])
        assert target.read_text() == "yesterday"
        sink.abandon()

    def test_abandon_leaves_the_old_file_and_no_traces(self, target: Path) -> None:
        target.write_text("yesterday")
        sink = sink_for(str(target))
        sink.abandon()
        sink.open()
        sink.write(['{"a": 1}'])
        sink.abandon()
        sink.abandon()
        assert target.read_text() == "yesterday" and list(target.parent.iterdir()) == [target]

    def test_what_a_killed_process_left_is_overwritten(self, target: Path, ending: str) -> None:
        target.with_name(f"{target.name}.part").write_bytes(b"half of a line" * 1000)
        put(sink_for(str(target)), [{"a": "1"}])
        assert READERS[ending](target) == [{"a": "1"}] and list(target.parent.iterdir()) == [target]

    def test_a_full_disk_is_told_and_the_old_file_stands(self, target: Path) -> None:
        target.write_text("yesterday")
        sink = sink_for(str(target))
        sink.open()
        noise = [json.dumps({"n": n, "text": f"{hash((n, 'noise')):x}" * 20}) for n in range(2000)]
        with small_files(1000), pytest.raises(StoreFull, match="disk is full"):
            sink.write(noise)
            sink.close()
        sink.abandon()
        assert target.read_text() == "yesterday" and list(target.parent.iterdir()) == [target]

    def test_a_folder_that_is_not_there_is_told_at_open(self, tmp_path: Path, ending: str) -> None:
        with pytest.raises(UsageError, match="there is no folder"):
            sink_for(str(tmp_path / "none" / f"x{ending}")).open()

    def test_a_folder_in_the_targets_place_is_told_at_open(self, target: Path) -> None:
        target.mkdir()
        with pytest.raises(UsageError, match="is a folder"):
            sink_for(str(target)).open()

    def test_a_link_stays_a_link_and_its_file_is_replaced(
        self, target: Path, tmp_path: Path, ending: str
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        target.symlink_to(tmp_path / "elsewhere" / "real")
        put(sink_for(str(target)), [{"a": "1"}])
        assert target.is_symlink() and READERS[ending](tmp_path / "elsewhere" / "real") == [{"a": "1"}]

    def test_the_file_keeps_the_permissions_it_had(self, target: Path) -> None:
        target.write_text("yesterday")
        target.chmod(0o640)
        put(sink_for(str(target)), [{"a": "1"}])
        assert target.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("target", ["x.jsonn", "x.xlsx", "x", "", ".csv", "x.csv.gz", "x.parqet"])
def test_an_unknown_ending_lists_the_known_ones(target: str) -> None:
    with pytest.raises(UsageError, match=r"known are \.jsonl"):
        sink_for(target)


def test_an_ending_nearly_right_is_suggested() -> None:
    with pytest.raises(UsageError, match=r"did you mean \.parquet"):
        sink_for("x.parqet")


def test_endings_are_known_in_any_case(tmp_path: Path) -> None:
    put(sink_for(str(tmp_path / "X.CSV")), [{"a": "1"}])
    assert (tmp_path / "X.CSV").read_bytes() == b'"a"\r\n1\r\n'


def test_csv_has_nested_values_as_json_and_nothing_for_null(tmp_path: Path) -> None:
    put(
        sink_for(str(tmp_path / "x.csv")),
        [{"n": 1, "no": None, "yes": True, "tags": ["ä", 2], "in": {"b": 1.5}}],
    )
    assert read_csv(tmp_path / "x.csv") == [
        {"n": "1", "no": "", "yes": "true", "tags": '["ä",2]', "in": '{"b":1.5}'}
    ]


def test_sqlite_has_numbers_as_numbers(tmp_path: Path) -> None:
    put(
        sink_for(str(tmp_path / "x.sqlite")),
        [{"i": 7, "f": 1.5, "b": True, "s": "7", "l": [1], "big": 10**20}],
    )
    expected = {"i": 7, "f": 1.5, "b": 1, "s": "7", "l": "[1]", "big": "100000000000000000000"}
    assert read_sqlite(tmp_path / "x.sqlite") == [expected]


def test_parquet_has_types_that_hold_every_batch(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    first = {"n": 1, "f": 1, "tags": [], "mixed": 1, "in": {"a": 1}, "none": None}
    last = {"n": 2, "f": 2.5, "tags": ["x", None], "mixed": "b", "in": {"b": [2]}, "none": None}
    put(sink_for(str(tmp_path / "x.parquet")), [first] * 5000, [last])
    rows = read_parquet(tmp_path / "x.parquet")
    assert rows[0] == {**first, "f": 1.0, "mixed": "1", "in": '{"a":1}'}
    assert rows[5000] == {**last, "mixed": "b", "in": '{"b":[2]}'}


def columns(path: Path) -> list[str]:
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file))
    if path.suffix == ".parquet":
        return list(pytest.importorskip("pyarrow.parquet").read_schema(str(path)).names)
    with closing(sqlite3.connect(path)) as database:
        return [row[1] for row in database.execute("PRAGMA table_info(records)")]


@kinds(".csv", ".parquet", ".sqlite", POSTGRES)
class TestTables:
    def test_a_result_without_records_has_the_declared_columns(self, place: Target) -> None:
        layout = Layout(("url",), {"price": frozenset({"float"}), "url": frozenset({"text"})})
        put(sink_for(place.name, layout))
        assert place.columns() == ["price", "url"]

    def test_or_those_of_an_earlier_run(self, place: Target) -> None:
        sink = sink_for(place.name)
        sink.open(['{"url": "u", "price": 1.5}', '{"url": "v", "stock": 2}'])
        sink.close()
        assert place.columns() == ["url", "price", "stock"]

    def test_or_at_least_one(self, place: Target) -> None:
        put(sink_for(place.name))
        assert place.columns() == ["none"]

    def test_columns_of_an_earlier_run_are_no_columns_of_a_run_with_records(self, place: Target) -> None:
        sink = sink_for(place.name)
        sink.open(['{"old": 1}'])
        sink.write(['{"new": 1}'])
        sink.close()
        assert place.columns() == ["new"]

    def test_names_that_differ_by_case_only_get_a_number_and_a_note(self, place: Target) -> None:
        sink = sink_for(place.name)
        put(sink, [{"Name": "a", "name": "b", "NAME_2": "c"}])
        assert place.columns() == ["Name", "name_2", "NAME_2_2"]
        assert sink.notes == [
            "field 'name' is column 'name_2': another differs from it by case only",
            "field 'NAME_2' is column 'NAME_2_2': another differs from it by case only",
        ]


@kinds(".csv", ".parquet", ".sqlite")
def test_a_name_with_a_line_break_becomes_one_line_and_a_note(place: Target) -> None:
    sink = sink_for(place.name)
    put(sink, [{"a\n\x00b": "1", "a b": "2"}])
    assert place.columns() == ["a b", "a b_2"]
    assert "its name does not fit" in sink.notes[0]


@kinds(".parquet", ".sqlite", POSTGRES)
class TestTypes:
    def test_text_with_a_number_in_it_is_text_as_it_is(self, place: Target) -> None:
        sink = sink_for(place.name)
        put(sink, [{"sku": "A-1"}, {"sku": 17}, {"sku": None}])
        assert place.read() == [{"sku": "A-1"}, {"sku": "17"}, {"sku": None}]
        assert sink.notes == ["column 'sku' is text: it has int and text"]

    def test_an_integer_that_a_float_cannot_hold_is_not_rounded(self, place: Target) -> None:
        sink = sink_for(place.name)
        put(sink, [{"id": 2**53 + 1, "price": 3}, {"id": 0.5, "price": 2.5}])
        found = place.read()
        assert found == [{"id": "9007199254740993", "price": 3.0}, {"id": "0.5", "price": 2.5}]
        assert sink.notes == ["column 'id' is text: it has float and integers beyond 53 bits"]

    def test_an_integer_beyond_64_bits_makes_its_column_text(self, place: Target) -> None:
        sink = sink_for(place.name)
        put(sink, [{"n": 2**63 - 1, "m": 2**63}, {"n": -(2**63), "m": 1}])
        found = place.read()
        assert found == [{"n": 2**63 - 1, "m": "9223372036854775808"}, {"n": -(2**63), "m": "1"}]
        assert sink.notes == ["column 'm' is text: it has integers beyond 64 bits and int"]

    def test_a_declared_type_holds_whatever_the_values_of_today(self, place: Target) -> None:
        put(sink_for(place.name, Layout((), {"p": frozenset({"float"})})), [{"p": 3}])
        assert isinstance(place.read()[0]["p"], float)


def test_parquet_lists_of_one_kind_stay_lists(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    record = {"tags": ["a", None], "sizes": [1, 2.5], "mixed": ["a", 1], "deep": [[1]]}
    put(sink_for(str(tmp_path / "x.parquet")), [record])
    assert read_parquet(tmp_path / "x.parquet") == [
        {"tags": ["a", None], "sizes": [1.0, 2.5], "mixed": ["a", "1"], "deep": "[[1]]"}
    ]


def test_parquet_has_large_row_groups(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    put(sink_for(str(tmp_path / "x.parquet")), [{"n": n} for n in range(130_000)])
    metadata = parquet.read_metadata(str(tmp_path / "x.parquet"))
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [120_000, 10_000]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A target that holds the records of yesterday and a table of somebody else's, who has it open."""
    put(sink_for(str(tmp_path / "x.sqlite"), Layout(("id",))), [{"id": n, "day": "1"} for n in range(500)])
    with closing(sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)) as opened:
        opened.execute("CREATE TABLE notes (text)")
        opened.execute("INSERT INTO notes VALUES ('mine')")
        yield opened


class TestSqlite:
    """Written inside itself: what lies beside a database and who has it open is then the affair of SQLite."""

    @pytest.mark.parametrize("mode", ["wal", "delete", "truncate", "persist"])
    def test_who_has_it_open_sees_the_new_rows_and_keeps_its_own(
        self, tmp_path: Path, database: sqlite3.Connection, mode: str
    ) -> None:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute("INSERT INTO notes VALUES ('still in the log')")
        assert database.execute("SELECT count(*) FROM records").fetchone() == (500,)
        put(sink_for(str(tmp_path / "x.sqlite"), Layout(("id",))), [{"id": 1, "day": "2"}])
        assert database.execute("SELECT * FROM records").fetchall() == [(1, "2")]
        assert read_sqlite(tmp_path / "x.sqlite") == [{"id": 1, "day": "2"}]
        assert database.execute("SELECT text FROM notes").fetchall() == [("mine",), ("still in the log",)]
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert not (tmp_path / "x.sqlite.part").exists()

    def test_a_reader_in_the_middle_of_its_work_goes_on_with_what_it_began(
        self, tmp_path: Path, database: sqlite3.Connection
    ) -> None:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("BEGIN")
        assert database.execute("SELECT count(*) FROM records").fetchone() == (500,)
        put(sink_for(str(tmp_path / "x.sqlite")), [{"id": 1}])
        assert database.execute("SELECT count(*) FROM records").fetchone() == (500,)
        database.execute("COMMIT")
        assert database.execute("SELECT count(*) FROM records").fetchone() == (1,)

    def test_indexes_and_triggers_on_the_records_stay(
        self, tmp_path: Path, database: sqlite3.Connection
    ) -> None:
        database.execute("CREATE INDEX by_day ON records (day)")
        for records in ([{"id": 2, "day": "2"}], [{"id": 3, "day": "3", "more": 1}]):
            sink = sink_for(str(tmp_path / "x.sqlite"), Layout(("id",)))
            put(sink, records)
            assert sink.notes == []
            plan = database.execute("EXPLAIN QUERY PLAN SELECT * FROM records WHERE day = '3'").fetchall()
            assert "by_day" in str(plan)
        put(sink := sink_for(str(tmp_path / "x.sqlite"), Layout(("id",))), [{"id": 4}])
        assert sink.notes == ["the index or trigger 'by_day' of records does not fit its new columns"]

    def test_somebody_who_does_not_stop_writing_is_named_and_nothing_changes(
        self, tmp_path: Path, database: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scraper.runs.sinks.sqlite.PATIENCE", 0.01)
        database.execute("BEGIN IMMEDIATE")
        sink = sink_for(str(tmp_path / "x.sqlite"))
        sink.open()
        with pytest.raises(UsageError, match="another program is writing"):
            sink.close()
        database.execute("COMMIT")
        assert database.execute("SELECT count(*) FROM records").fetchone() == (500,)
        assert not (tmp_path / "x.sqlite.part").exists()

    def test_what_a_deleted_database_left_beside_is_not_taken_for_the_new_ones(
        self, tmp_path: Path, database: sqlite3.Connection
    ) -> None:
        database.execute("PRAGMA journal_mode = wal")
        database.execute("UPDATE records SET day = 'old'")
        (tmp_path / "x.sqlite").unlink()
        put(sink_for(str(tmp_path / "x.sqlite")), [{"id": 7}])
        assert read_sqlite(tmp_path / "x.sqlite") == [{"id": 7}]

    def test_a_database_in_another_encoding_keeps_it(self, tmp_path: Path) -> None:
        with closing(sqlite3.connect(tmp_path / "x.sqlite")) as database:
            database.execute("PRAGMA encoding = 'UTF-16le'")
            database.execute("CREATE TABLE notes (text)")
        put(sink_for(str(tmp_path / "x.sqlite")), [{"text": HOSTILE}])
        assert read_sqlite(tmp_path / "x.sqlite") == [{"text": HOSTILE}]

    def test_the_key_is_the_primary_key(self, tmp_path: Path) -> None:
        put(
            sink_for(str(tmp_path / "x.sqlite"), Layout(("b", "a"))), [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}]
        )
        with closing(sqlite3.connect(tmp_path / "x.sqlite")) as database:
            keys = {row[1]: row[5] for row in database.execute("PRAGMA table_info(records)")}
        assert keys == {"a": 2, "b": 1}

    def test_records_with_one_key_are_all_kept_without_a_primary_key(self, tmp_path: Path) -> None:
        sink = sink_for(str(tmp_path / "x.sqlite"), Layout(("a",)))
        put(sink, [{"a": "1"}, {"a": 1}])
        assert read_sqlite(tmp_path / "x.sqlite") == [{"a": "1"}, {"a": "1"}]
        assert sink.notes[-1] == "no primary key: two records have the same"


class TestPostgres:
    """A table that others may use too: they lose nothing, and see the old records or the new ones."""

    @pytest.fixture
    def url(self, postgres: Server) -> str:
        return postgres.database()

    @pytest.fixture
    def server(self, url: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(url, autocommit=True) as connection:
            yield connection

    def test_a_key_is_a_unique_index_and_only_rows_that_changed_are_written(
        self, url: str, server: psycopg.Connection[Any]
    ) -> None:
        layout = Layout(("id",), {"price": frozenset({"float"})})
        put(sink_for(url, layout), [{"id": n, "price": 1.5} for n in range(3)])
        before = dict(server.execute("SELECT id, xmin::text FROM records").fetchall())
        server.execute("CREATE VIEW dear AS SELECT * FROM records WHERE price > 2")
        put(sink_for(url, layout), [{"id": 0, "price": 1.5}, {"id": 1, "price": 2.5}, {"id": 7}])
        assert server.execute("SELECT id, price FROM records ORDER BY id").fetchall() == [
            (0, 1.5),
            (1, 2.5),
            (7, None),
        ]
        after = dict(server.execute("SELECT id, xmin::text FROM records").fetchall())
        assert (after[0] == before[0], after[1] == before[1]) == (True, False)
        assert server.execute("SELECT id FROM dear").fetchall() == [(1,)]

    def test_a_table_that_somebody_made_keeps_its_types_its_columns_and_its_key(
        self, url: str, server: psycopg.Connection[Any]
    ) -> None:
        server.execute("CREATE SCHEMA shop")
        server.execute(
            "CREATE TABLE shop.books (row serial, isbn varchar(5) PRIMARY KEY, day date, cost numeric,"
            " raw jsonb, tags text[], note text DEFAULT 'new')"
        )
        record = {
            "isbn": "a",
            "day": "2026-01-31",
            "cost": 2.5,
            "raw": ["x", {"y": "\0"}],
            "tags": ["t", None],
        }
        target = f"{url}?table=shop.books"
        put(sink_for(target, Layout(("isbn",))), [record])
        server.execute("UPDATE shop.books SET note = 'mine'")
        put(sink_for(target, Layout(("isbn",))), [{**record, "cost": 10**30}])
        assert server.execute("SELECT * FROM shop.books").fetchall() == [
            (1, "a", date(2026, 1, 31), Decimal(10**30), ["x", {"y": "\ufffd"}], ["t", None], "mine")
        ]

    @pytest.mark.parametrize("record", [{"isbn": "too long"}, {"isbn": "a", "day": "soon"}])
    def test_a_value_that_does_not_fit_such_a_type_is_told_and_nothing_changes(
        self, url: str, server: psycopg.Connection[Any], record: dict[str, Any]
    ) -> None:
        server.execute("CREATE TABLE records (isbn varchar(5), day date)")
        put(sink_for(url), [{"isbn": "old"}])
        with pytest.raises(UsageError, match=r"cannot write postgresql.*column (isbn|day)"):
            put(sink_for(url), [{"isbn": "b", "more": 1}, record])
        assert server.execute("SELECT * FROM records").fetchall() == [("old", None)]

    def test_a_field_that_becomes_text_one_day_takes_its_column_along(
        self, url: str, server: psycopg.Connection[Any]
    ) -> None:
        put(sink_for(url, Layout(("id",))), [{"id": 1, "stock": 3, "gone": 1}])
        put(sink_for(url, Layout(("id",))), [{"id": "x1", "stock": "none"}])
        assert server.execute("SELECT id, stock, gone FROM records").fetchall() == [("x1", "none", None)]

    def test_records_with_one_key_are_all_kept_without_a_unique_index(self, url: str) -> None:
        put(sink := sink_for(url, Layout(("a",))), [{"a": "1"}, {"a": 1}])
        assert read_postgres(url) == [{"a": "1"}, {"a": "1"}]
        assert sink.notes[-1] == "no unique key: two records have the same, or one has none"
        put(sink_for(url, Layout(("a",))), [{"a": "1"}])
        put(sink_for(url, Layout(("a",))), [{"a": "1"}, {"a": None}])
        assert read_postgres(url) == [{"a": "1"}, {"a": None}]

    def test_names_that_no_column_can_have_are_changed_and_told(self, url: str) -> None:
        long = "ä" * 40
        put(sink := sink_for(url), [{"xmin": 1, "": 2, long + "a": 3, long + "b": 4, 'q"uo\0te%s': 5}])
        names = ["xmin_2", "none", "ä" * 31, "ä" * 30 + "_2", 'q"uo\ufffdte%s']
        assert columns_of_postgres(url) == names
        assert "field 'xmin' is column 'xmin_2': its name does not fit" in sink.notes

    def test_readers_see_the_old_rows_until_all_new_ones_are_there(
        self, url: str, server: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(sink_for(url), [{"a": 1}])
        seen: list[Any] = []
        table = "scraper.runs.sinks.postgres._Writing._apply"
        apply = scraper.runs.sinks.postgres._Writing._apply

        def watched(*given: Any) -> None:
            apply(*given)
            seen.extend(server.execute("SELECT a FROM records").fetchall())

        monkeypatch.setattr(table, watched)
        put(sink_for(url), [{"a": 2}, {"a": 3}])
        assert seen == [(1,)] and len(read_postgres(url)) == 2

    def test_somebody_who_holds_the_table_is_told_and_nothing_changes(
        self, url: str, server: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("scraper.runs.sinks.postgres.PATIENCE", 0.05)
        put(sink_for(url), [{"a": 1}])
        sink = sink_for(url)
        sink.open()
        with server.transaction():
            server.execute("LOCK TABLE records IN ROW EXCLUSIVE MODE")
            with pytest.raises(UsageError, match="another program holds the table"):
                sink.close()
        assert read_postgres(url) == [{"a": 1}]

    def test_a_server_that_is_away_or_a_table_of_others_is_told_at_open_without_the_password(
        self, url: str, server: psycopg.Connection[Any]
    ) -> None:
        with pytest.raises(
            UsageError, match=r"cannot write postgresql://me@127\.0\.0\.1:1/db\?table=x"
        ) as told:
            sink_for("postgresql://me:geheim@127.0.0.1:1/db?table=x").open()
        assert "geheim" not in str(told.value)
        server.execute("CREATE ROLE reader LOGIN")
        put(sink_for(url), [{"a": 1}])
        with pytest.raises(UsageError, match="permission denied"):
            sink_for(url.replace("scraper@", "reader@")).open()


def test_packed_lines_are_the_same_bytes_for_the_same_records(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        put(sink_for(str(tmp_path / name)), [{"a": 1}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_standard_output_gets_the_lines_in_utf8(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    put(sink_for("-"), [{"a": "ä🦊"}], [{"b": 1}])
    assert capfdbinary.readouterr().out == '{"a": "ä🦊"}\n{"b": 1}\n'.encode()


def test_a_reader_of_standard_output_that_leaves_early_is_no_error() -> None:
    program = (
        "from scraper.runs.sinks import sink_for\n"
        "sink = sink_for('-'); sink.open()\n"
        "for _ in range(200): sink.write(['{\"a\": \"' + 'x' * 10000 + '\"}'])\n"
        "sink.close()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert (child.stderr.read(), child.wait(10)) == (b"", 0)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        (" =1", "' =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-5", "-5"),
        ("+4.5%", "+4.5%"),
        ("-1,234.50", "-1,234.50"),
        ("a=b", "a=b"),
    ],
)
def test_no_cell_of_a_csv_file_is_a_formula_unless_that_is_wanted(
    tmp_path: Path, text: str, cell: str
) -> None:
    for is_safe, expected in ((True, cell), (False, text)):
        sink = sink_for(str(tmp_path / "x.csv"), csv_safe=is_safe)
        sink.open()
        sink.write([json.dumps({"a": text, "n": -1, "=name": 1})])
        sink.close()
        (row,) = read_csv(tmp_path / "x.csv")
        assert (row["a"], row["n"]) == (expected, "-1")
        assert list(row)[2] == ("'=name" if is_safe else "=name")
