"""A table of records sorted or filtered: where each line begins, in the order that was asked for.

`python -m scraper.service.view` is a process of its own, since a million records take seconds and memory that
the service has other uses for. Its orders are one line of JSON on standard input; it writes 8 bytes a line.
"""

import json
import os
import subprocess
import sys
import threading
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

from scraper.model.frozen import frozen
from scraper.service.problems import Problem

MOST_VIEWS = 16
TIME = 120.0  # seconds to sort
WIDTH = 8


@frozen
class Wanted:
    """What a table shows: sorted by a field (empty: as committed), only lines that hold a text."""

    sort: str = ""
    is_descending: bool = False
    text: str = ""


class Views:
    """The tables that were asked for last, in files of their own."""

    def __init__(self) -> None:
        self._folder: TemporaryDirectory[str] | None = None
        self._made: OrderedDict[object, Path] = OrderedDict()
        self._count = 0
        self._lock = threading.Lock()

    def rows(self, file: Path, wanted: Wanted, start: int, limit: int) -> tuple[list[dict[str, Any]], int]:
        """Records from a place in the table on, and how many there are. Blocks: a thread calls it."""
        with self._view(file, wanted) as index, file.open("rb") as lines:
            total = index.seek(0, os.SEEK_END) // WIDTH
            index.seek(start * WIDTH)
            places = array("Q")
            places.frombytes(index.read(limit * WIDTH))
            found = []
            for place in places:
                lines.seek(place)
                found.append(_record(lines.readline()))
        return found, total

    def _view(self, file: Path, wanted: Wanted) -> BinaryIO:
        """The open file of a table, which others may remove meanwhile."""
        stat = file.stat()
        key = (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, wanted)
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key].open("rb")
            if self._folder is None:
                self._folder = TemporaryDirectory(prefix="scraper-views-")
            self._count += 1
            target = Path(self._folder.name) / f"{self._count}"
        # Outside: one that takes seconds holds up no other. Who asks for it meanwhile makes it twice.
        _make(file, target, wanted)
        with self._lock:
            self._drop(self._made.pop(key, None))
            self._made[key] = target
            while len(self._made) > MOST_VIEWS:
                self._drop(self._made.popitem(last=False)[1])
            return target.open("rb")

    @staticmethod
    def _drop(file: Path | None) -> None:
        if file is not None:
            file.unlink(missing_ok=True)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            self._folder.cleanup()


def _make(file: Path, target: Path, wanted: Wanted) -> None:
    orders: dict[str, Any] = {"file": str(file), "target": str(target), "sort": wanted.sort}
    orders |= {"is_descending": wanted.is_descending, "text": wanted.text}
    command = [sys.executable, "-m", "scraper.service.view"]
    try:
        done = subprocess.run(command, input=json.dumps(orders).encode(), timeout=TIME, capture_output=True)
    except subprocess.TimeoutExpired:
        raise Problem(503, f"the table took longer than {TIME:g} s", "export the records instead") from None
    if done.returncode:
        raise Problem(503, "the table could not be made", "the run's records.jsonl has the records")


def _record(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


# in the process of its own ------------------------------------------------------------------------
def offsets_of(orders: Mapping[str, Any]) -> "array[int]":
    """Where the lines begin that are wanted, in their order."""
    found = list(_chosen(orders))
    if orders["sort"]:
        # Stable both ways: what is equal stays as it was committed.
        found.sort(key=lambda each: each[0], reverse=orders["is_descending"])
    return array("Q", (place for _, place in found))


def _chosen(orders: Mapping[str, Any]) -> Iterator[tuple[tuple[int, Any], int]]:
    sort, text = orders["sort"], orders["text"].casefold()
    place = 0
    with Path(orders["file"]).open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n") and (not text or text in line.decode("utf-8", "replace").casefold()):
                yield (_key(_record(line).get(sort)) if sort else (0, 0)), place
            place += len(line)


def _key(value: Any) -> tuple[int, Any]:
    """An order over values of every kind: numbers, then texts, then the rest, and what is not there last."""
    if isinstance(value, int | float):
        return 0, value
    if isinstance(value, str):
        return 1, value.casefold()
    return (3, "") if value is None else (2, json.dumps(value, sort_keys=True))


def main() -> None:
    """Make one view."""
    orders = json.loads(sys.stdin.buffer.read())
    with Path(orders["target"]).open("wb") as file:
        offsets_of(orders).tofile(file)


if __name__ == "__main__":
    main()
