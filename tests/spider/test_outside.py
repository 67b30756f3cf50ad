"""Files, variables and attributes that a spider's code names are inputs of its parses."""

import ast
import contextlib
import copy
import importlib
import logging
import re
import sqlite3
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scraper.spider.code import code_of
from scraper.spider.discovery import load

SPIDER = """
import os, json, lib
RATES = open("rates.txt")
TABLE = Path(__file__).parent / "tables" / "table.json"
AREA, PASSWORD = os.environ["AREA"], os.getenv("DB_PASSWORD")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "spiders" / "tables").mkdir(parents=True)
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "__init__.py").write_text("WORDS = 'words.txt'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("AREA", "north")
    return tmp_path


def found(folder: Path, **attributes: Any) -> str:
    code = code_of(ast.parse(SPIDER), folder=str(folder / "spiders"))
    return code.outside.hash(SimpleNamespace(params={"a": "b"}, **attributes))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("rates.txt", True),
        ("spiders/rates.txt", True),
        ("spiders/tables/table.json", True),
        ("lib/words.txt", True),
        ("spiders/unnamed.txt", False),
    ],
)
def test_a_file_counts_where_the_code_names_it(folder: Path, name: str, counts: bool) -> None:
    before = found(folder)
    (folder / name).write_text("1")
    first = found(folder)
    (folder / name).write_text("2")
    assert len({before, first, found(folder)}) == (3 if counts else 1)


@pytest.mark.parametrize(("name", "counts"), [("AREA", True), ("DB_PASSWORD", False), ("HOME", False)])
def test_a_variable_counts_where_the_code_names_it_and_it_is_no_password(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, counts: bool
) -> None:
    before = found(folder)
    monkeypatch.setenv(name, "south")
    assert (found(folder) != before) == counts


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.environ['SHOP_' + kind]",
        "import os\nos.environ[f'{shop}_AREA']",
        "import os\n{name for name in os.environ if name.startswith('SHOP_')}",
        "from os.path import expandvars\nexpandvars('$SHOP_AREA/rates')",
        "from os import environ as e\ne['SHOP_AREA']",
    ],
)
def test_a_variable_counts_whose_name_the_code_puts_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    outside = code_of(ast.parse(code)).outside
    hashes = []
    for area in ("north", "south"):
        monkeypatch.setenv("SHOP_AREA", area)
        hashes.append(outside.hash(SimpleNamespace(params={})))
    assert len({*hashes}) == 2


def test_what_systemd_sets_anew_for_each_start_is_put_together_by_no_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = code_of(ast.parse("import os\nos.environ[f'{shop}_ID']")).outside
    before = outside.hash(SimpleNamespace(params={}))
    monkeypatch.setenv("INVOCATION_ID", "1")
    assert outside.hash(SimpleNamespace(params={})) == before


@pytest.mark.parametrize(
    ("reads", "file"),
    [
        ("open('ra' + 'tes.txt').read()", "rates.txt"),
        ("Path(__file__).with_suffix('.json').read_text()", "spiders/shop.json"),
        ("[path.read_text() for path in Path('tables').glob('*.csv')]", "tables/a.csv"),
        ("sqlite3.connect(f'{str.lower(\"RATES\")}.db').execute('select * from rates')", "rates.db"),
    ],
)
def test_a_file_counts_that_a_module_reads_when_it_is_loaded_by_whatever_name(
    folder: Path, reads: str, file: str
) -> None:
    imports = "from pathlib import Path\nimport sqlite3\nfrom scraper import Spider\n"
    (folder / "spiders" / "shop.py").write_text(f"{imports}READ = {reads}\nclass S(Spider): ...\n")
    (folder / "tables").mkdir()
    hashes = []
    for rate in "1", "2", "2":
        (folder / file).unlink(missing_ok=True)
        if file.endswith(".db"):
            with contextlib.closing(sqlite3.connect(folder / file)) as database:
                database.executescript(f"create table rates(rate); insert into rates values ({rate})")
        else:
            (folder / file).write_text(rate)
        hashes.append(load(folder / "spiders" / "shop.py").code.outside.hash(SimpleNamespace(params={})))
    assert len({*hashes}) == 2 and hashes[1] == hashes[2]


class Area(Enum):
    NORTH = 1
    SOUTH = 2


@dataclass
class Rate:
    of: Decimal


@pytest.mark.parametrize(
    "values",
    [
        (Decimal("1.10"), Decimal("1.20")),
        (date(2026, 1, 1), date(2026, 1, 2)),
        ({("a", 1): 2}, {("a", 1): 3}),
        ({1: "a", "b": 2}, {1: "a", "b": 3}),
        ([Decimal(1), {"x": {Decimal(2)}}], [Decimal(1), {"x": {Decimal(3)}}]),
        (Path("a"), Path("b")),
        (re.compile("a"), re.compile("b")),
        (Area.NORTH, Area.SOUTH),
        (Rate(Decimal(1)), Rate(Decimal(2))),
        (SimpleNamespace(rates=deque([1])), SimpleNamespace(rates=deque([2]))),
        (float("nan"), 1.0),
    ],
    ids=lambda values: type(values[0]).__name__,
)
def test_data_of_any_kind_that_stands_on_the_spider_counts(folder: Path, values: tuple[Any, Any]) -> None:
    one, other = values
    assert found(folder, kept=one) == found(folder, kept=copy.deepcopy(one)) != found(folder, kept=other)
    assert found(folder, kept=one) != found(folder)


def test_what_is_no_data_says_nothing(folder: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value in (threading.Lock(), logging.getLogger("x"), sqlite3.connect(":memory:"), Area, len, endless):
        assert found(folder, kept=value) == found(folder)


def test_what_stands_on_the_spider_counts_as_far_as_it_is_data(folder: Path) -> None:
    hashes: Callable[..., str] = lambda **given: found(folder, **given)  # noqa: E731
    assert hashes(rate=1.5) != hashes(rate=1.6) != hashes()
    assert hashes(ids={"a", "b"}) == hashes(ids={"b", "a"}) != hashes(ids={"a"})
    assert hashes(connection=object()) == hashes()


def test_a_module_counts_that_is_loaded_by_a_name_that_is_put_together_or_run_as_a_file(folder: Path) -> None:
    (folder / "plugin_a.py").write_text("WORD = 1")
    (folder / "run_me.py").write_text("WORD = 1")
    sys.modules.pop("plugin_a", None)
    loads = "from importlib import import_module\nimport lib\nPLUGIN = import_module(f'plugin_{KIND}')\n"
    code = code_of(ast.parse(loads + "exec(open('run_me.py').read())"), folder=str(folder))
    spider = SimpleNamespace(params={})
    hashes = [code.outside.hash(spider)]
    importlib.invalidate_caches()
    importlib.import_module("plugin_a")
    hashes.append(code.outside.hash(spider))
    for name in ("plugin_a.py", "run_me.py"):
        (folder / name).write_text("WORD = 2")
        hashes.append(code.outside.hash(spider))
    (folder / "lib" / "__init__.py").write_text("WORDS = 'x'\n")
    assert len({*hashes}) == 4 and code.outside.hash(spider) == hashes[-1], "lib is part of the code"


def test_a_spider_that_names_nothing_has_nothing() -> None:
    assert code_of(ast.parse("A = '/', '.', 'no such file'")).outside.hash(SimpleNamespace(params={})) == ""
