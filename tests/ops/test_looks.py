"""What a callback looks at beside its page is heard of, but not what Python and this package do."""

import importlib
import io
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from scraper.ops.looks import is_kept, looking, unseen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "rates.txt").write_text("1")
    (tmp_path / "late_import.py").write_text("import tabnanny, zoneinfo\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def connect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        pass


@pytest.mark.parametrize(
    ("look", "told"),
    [
        (lambda: open("tables/rates.txt").close(), "/tables/rates.txt"),
        (lambda: Path("tables", "rates.txt").read_bytes(), "/tables/rates.txt"),
        (lambda: os.close(os.open(b"tables/rates.txt", os.O_RDONLY)), "/tables/rates.txt"),
        (lambda: os.listdir("tables"), "/tables"),
        (lambda: list(Path("tables").glob("*.txt")), "/tables"),
        (lambda: sqlite3.connect("rates.db").close(), "the database rates.db"),
        (lambda: subprocess.run([sys.executable, "-c", ""]), f"the program {sys.executable}"),
        (connect, "a connection to ('127.0.0.1', "),
    ],
)
def test_what_is_read_is_told(folder: Path, look: Callable[[], object], told: str) -> None:
    with looking() as found:
        look()
    assert found and told in found[0]
    assert is_kept(found[0]) is not told.startswith("the program")
    look()
    assert len(found) == 1


def import_late() -> None:
    for name in ("late_import", "tabnanny"):
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        importlib.import_module(name)


def write() -> None:
    with open("out.txt", "w") as file:
        file.write("x")
    with open("out.txt", "a") as file:
        file.write("x")


def in_another_thread() -> None:
    thread = threading.Thread(target=Path("tables/rates.txt").read_text)
    thread.start()
    thread.join()


def ours() -> None:
    with unseen():
        Path("tables/rates.txt").read_text()


@pytest.mark.parametrize(
    "work",
    [
        import_late,
        write,
        in_another_thread,
        ours,
        lambda: io.BytesIO(b"x").read(),
        lambda: Path("no").exists(),
    ],
)
def test_what_is_no_look_at_anything_is_not(folder: Path, work: Callable[[], object]) -> None:
    with looking({os.path.realpath("late_import.py")}) as found:
        work()
    assert found == []


def test_a_module_of_the_project_that_nobody_knew_of_is_a_file_like_others(folder: Path) -> None:
    for _ in range(2):  # the second time out of its cache
        with looking() as found:
            import_late()
        assert found == [os.path.realpath("late_import.py")]


def test_files_that_are_known_are_left_out(folder: Path) -> None:
    known = os.path.realpath("tables/rates.txt")
    with looking({known}) as found:
        Path("tables/rates.txt").read_text()
    assert found == []
