"""What every sink keeps: all records or the old file, whatever their fields, whatever goes wrong."""

import csv
import gzip
import json
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from scraper.errors import StoreFull, UsageError
from scraper.sinks import Layout, Sink, sink_for

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


READERS = {
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


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """A disk on which no file can grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(params=sorted(READERS))
def ending(request: pytest.FixtureRequest) -> str:
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return str(request.param)


@pytest.fixture
def target(tmp_path: Path, ending: str) -> Path:
    return tmp_path / f"records{ending}"


class TestEverySink:
    def test_gives_back_every_record_in_order(self, target: Path, ending: str) -> None:
        records = [{"name": f"book {n}", "about": "x" * n} for n in range(1, 50)]
        put(sink_for(str(target)), records[:20], [], records[20:])
        assert READERS[ending](target) == records

    def test_keeps_any_text_as_it_is(self, target: Path, ending: str) -> None:
        put(sink_for(str(target)), [{"text": HOSTILE, 'odd "field", name': "1"}])
        assert READERS[ending](target) == [{"text": HOSTILE, 'odd "field", name': "1"}]

    def test_loses_no_field_where_records_differ(self, target: Path, ending: str) -> None:
        records: list[dict[str, Any]] = [{"a": "1"}, {"b": "2"}, {"a": "3", "c": "4"}, {"c": None}]
        put(sink_for(str(target)), records[:1], records[1:])
        assert [filled(record) for record in READERS[ending](target)] == [
            filled(record) for record in records
        ]

    def test_survives_surrogates_that_no_file_can_hold(self, target: Path, ending: str) -> None:
        sink = sink_for(str(target))
        sink.open()
        sink.write(['{"text": "\\ud83e\\udd8a \\ud800 end"}', '{"text": "\ud800"}'])
        sink.close()
        found = READERS[ending](target)
        assert len(found) == 2 and "🦊" in found[0]["text"] and found[0]["text"].endswith(" end")

    def test_takes_values_of_any_kind_in_one_field(self, target: Path, ending: str) -> None:
        kinds = [1, 2.5, True, "text", None, [1, "a"], {"x": {"y": []}}, 10**30, -(2**63), float("inf"), []]
        put(sink_for(str(target)), [{"n": n, "value": value} for n, value in enumerate(kinds)])
        assert len(READERS[ending](target)) == len(kinds)

    def test_a_run_without_records_gives_an_empty_file_of_the_format(self, target: Path, ending: str) -> None:
        put(sink_for(str(target)))
        assert target.exists() and READERS[ending](target) == []

    def test_replaces_the_file_of_yesterday_and_leaves_nothing_else(self, target: Path, ending: str) -> None:
        put(sink_for(str(target)), [{"day": "1"}, {"day": "1"}])
        put(sink_for(str(target)), [{"day": "2"}])
        assert READERS[ending](target) == [{"day": "2"}]
        assert list(target.parent.iterdir()) == [target]

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

    def test_abandon_after_close_takes_nothing_back(self, target: Path, ending: str) -> None:
        sink = sink_for(str(target))
        put(sink, [{"a": "1"}])
        sink.abandon()
        assert READERS[ending](target) == [{"a": "1"}]

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

    def test_writing_before_open_is_a_mistake_of_the_caller(self, target: Path) -> None:
        with pytest.raises(ValueError, match="not open"):
            sink_for(str(target)).write(['{"a": 1}'])


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


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".sqlite"])
class TestTables:
    def test_a_result_without_records_has_the_declared_columns(self, tmp_path: Path, ending: str) -> None:
        layout = Layout(("url",), {"price": frozenset({"float"}), "url": frozenset({"text"})})
        put(sink_for(str(tmp_path / f"x{ending}"), layout))
        assert columns(tmp_path / f"x{ending}") == ["price", "url"]

    def test_or_those_of_an_earlier_run(self, tmp_path: Path, ending: str) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        sink.open(['{"url": "u", "price": 1.5}', '{"url": "v", "stock": 2}'])
        sink.close()
        assert columns(tmp_path / f"x{ending}") == ["url", "price", "stock"]

    def test_or_at_least_one(self, tmp_path: Path, ending: str) -> None:
        put(sink_for(str(tmp_path / f"x{ending}")))
        assert columns(tmp_path / f"x{ending}") == ["none"]

    def test_columns_of_an_earlier_run_are_no_columns_of_a_run_with_records(
        self, tmp_path: Path, ending: str
    ) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        sink.open(['{"old": 1}'])
        sink.write(['{"new": 1}'])
        sink.close()
        assert columns(tmp_path / f"x{ending}") == ["new"]

    def test_names_that_differ_by_case_only_get_a_number_and_a_note(
        self, tmp_path: Path, ending: str
    ) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        put(sink, [{"Name": "a", "name": "b", "NAME_2": "c", "": "d"}])
        assert columns(tmp_path / f"x{ending}") == ["Name", "name_2", "NAME_2_2", ""]
        assert sink.notes == [
            "field 'name' is column 'name_2': another differs from it by case only",
            "field 'NAME_2' is column 'NAME_2_2': another differs from it by case only",
        ]


@pytest.mark.parametrize("ending", [".parquet", ".sqlite"])
class TestTypes:
    def test_text_with_a_number_in_it_is_text_as_it_is(self, tmp_path: Path, ending: str) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        put(sink, [{"sku": "A-1"}, {"sku": 17}, {"sku": None}])
        assert READERS[ending](tmp_path / f"x{ending}") == [{"sku": "A-1"}, {"sku": "17"}, {"sku": None}]
        assert sink.notes == ["column 'sku' is text: it has int and text"]

    def test_an_integer_that_a_float_cannot_hold_is_not_rounded(self, tmp_path: Path, ending: str) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        put(sink, [{"id": 2**53 + 1, "price": 3}, {"id": 0.5, "price": 2.5}])
        found = READERS[ending](tmp_path / f"x{ending}")
        assert found == [{"id": "9007199254740993", "price": 3.0}, {"id": "0.5", "price": 2.5}]
        assert sink.notes == ["column 'id' is text: it has float and integers beyond 53 bits"]

    def test_an_integer_beyond_64_bits_makes_its_column_text(self, tmp_path: Path, ending: str) -> None:
        sink = sink_for(str(tmp_path / f"x{ending}"))
        put(sink, [{"n": 2**63 - 1, "m": 2**63}, {"n": -(2**63), "m": 1}])
        found = READERS[ending](tmp_path / f"x{ending}")
        assert found == [{"n": 2**63 - 1, "m": "9223372036854775808"}, {"n": -(2**63), "m": "1"}]
        assert sink.notes == ["column 'm' is text: it has integers beyond 64 bits and int"]

    def test_a_declared_type_holds_whatever_the_values_of_today(self, tmp_path: Path, ending: str) -> None:
        put(sink_for(str(tmp_path / f"x{ending}"), Layout((), {"p": frozenset({"float"})})), [{"p": 3}])
        assert isinstance(READERS[ending](tmp_path / f"x{ending}")[0]["p"], float)


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
        monkeypatch.setattr("scraper.sinks.sqlite.PATIENCE", 0.01)
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


def test_packed_lines_are_the_same_bytes_for_the_same_records(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        put(sink_for(str(tmp_path / name)), [{"a": 1}])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_standard_output_gets_the_lines_in_utf8(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    put(sink_for("-"), [{"a": "ä🦊"}], [{"b": 1}])
    assert capfdbinary.readouterr().out == '{"a": "ä🦊"}\n{"b": 1}\n'.encode()


def test_a_reader_of_standard_output_that_leaves_early_is_no_error() -> None:
    program = (
        "from scraper.sinks import sink_for\n"
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
