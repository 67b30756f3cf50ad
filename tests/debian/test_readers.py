"""Other tools read the files of the sinks: pinned versions of them, in an environment of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scraper.runs.sinks import Layout, sink_for

pytestmark = pytest.mark.debian

TOOLS = ["duckdb==1.3.2", "pandas==2.3.1", "polars==1.31.0", "sqlite-utils==3.38", "pyarrow==20.0.0"]
# What each tool makes of the file in its first argument: names of the columns, number of rows, the last row.
READ = """
import json, sys
path, tool = sys.argv[1:]
if tool == "duckdb":
    import duckdb
    found = duckdb.sql(f"SELECT * FROM '{path}'")
    names, rows = found.columns, found.fetchall()
elif tool == "pandas":
    import pandas
    found = pandas.read_csv(path) if path.endswith(".csv") else pandas.read_parquet(path)
    names, rows = list(found.columns), found.astype(object).where(found.notna(), None).values.tolist()
elif tool == "polars":
    import polars
    is_csv = path.endswith(".csv")
    found = polars.read_csv(path, infer_schema_length=None) if is_csv else polars.read_parquet(path)
    names, rows = found.columns, found.rows()
else:
    import sqlite_utils
    table = sqlite_utils.Database(path)["records"]
    names, rows = [column.name for column in table.columns], [tuple(row.values()) for row in table.rows]
    assert table.pks == ["url"], table.pks
print(json.dumps([list(names), len(rows), [*rows[-1]] if rows else None], default=str))
"""
PLAIN = {"url": "u", "Name": "a", "name": "x", "price": 3, "id": 7, "big": 1, "sku": 17, "text": "plain"}
LAST = {
    "url": "last",
    "Name": "ä🦊",
    "name": 'a "b", c',
    "price": 2.5,
    "id": 2**53 + 1,
    "big": 10**25,
    "sku": "A-1",
    "text": "late\nline break",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that has the tools."""
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([str(folder / "bin" / "pip"), "install", "-q", *TOOLS], check=True)
    return folder / "bin" / "python"


def read(python: Path, path: Path, tool: str) -> list[Any]:
    done = subprocess.run([str(python), "-c", READ, str(path), tool], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


READERS = [
    *((tool, ending) for tool in ("duckdb", "pandas", "polars") for ending in ("csv", "parquet")),
    ("sqlite-utils", "sqlite"),
]


@pytest.mark.parametrize(("tool", "ending"), READERS)
def test_every_value_comes_back(python: Path, tmp_path: Path, tool: str, ending: str) -> None:
    sink = sink_for(str(tmp_path / f"full.{ending}"), Layout(("url",)))
    sink.open()
    lasting = LAST if ending != "csv" else LAST | {"big": 1}
    # Of a CSV file DuckDB guesses the types from its beginning, the dialect too.
    first = PLAIN | {"url": "u", "price": 1.5, "sku": "B-2"}
    plain = [PLAIN | {"url": f"u{n}"} for n in range(30_000)]
    sink.write([json.dumps(record) for record in (first, *plain, lasting)])
    sink.close()
    names, count, last = read(python, tmp_path / f"full.{ending}", tool)
    assert names == ["url", "Name", "name_2", "price", "id", "big", "sku", "text"] and count == 30_002
    if ending == "csv":
        # A file without types: 2.50, and what is too large for the reader, are the reader's affair.
        assert [str(value) for value in last] == [str(value) for value in lasting.values()]
    else:
        assert last == [str(value) if name == "big" else value for name, value in lasting.items()]


@pytest.mark.parametrize(("tool", "ending"), READERS)
def test_a_result_without_records_has_columns(python: Path, tmp_path: Path, tool: str, ending: str) -> None:
    sink = sink_for(str(tmp_path / f"empty.{ending}"), Layout(("url",)))
    sink.open([json.dumps(LAST)])
    sink.close()
    names, count, _ = read(python, tmp_path / f"empty.{ending}", tool)
    assert names == ["url", "Name", "name_2", "price", "id", "big", "sku", "text"] and count == 0
