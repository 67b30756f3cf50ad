"""Finds equal keys among any number of records in little memory: rows are partitioned on disk by key.

A part is small enough for a dict, as in a hash join (DeWitt and others, 1984). What is small stays in memory.
"""

import io
import pickle
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from hashlib import blake2b
from typing import IO, Any

from scraper.model.frozen import frozen

_PARTS = 64  # of ten million keys each has 160,000, which take 30 MB
_IN_MEMORY = 64 * 1024  # bytes of a part


class Partitions:
    """Rows by the hash of their key; each part is read in the order in which its rows were put."""

    def __init__(self) -> None:
        self._files: dict[int, IO[bytes]] = {}

    def put(self, key: bytes, row: object) -> None:
        """Add a row under a key as `identity` gives it."""
        self.put_into(key[0] % _PARTS, row)

    def put_into(self, part: int, row: object) -> None:
        """Add a row to a part."""
        file = self._files.get(part)
        if file is None:
            file = self._files[part] = io.BytesIO()
        pickle.dump(row, file)
        if isinstance(file, io.BytesIO) and file.tell() > _IN_MEMORY:
            # No SpooledTemporaryFile: each of its reads and writes is a call in Python, five a row.
            self._files[part] = tempfile.TemporaryFile()  # noqa: SIM115 - see drop
            self._files[part].write(file.getbuffer())

    def take(self, part: int) -> Iterator[Any]:
        """The rows of a part, which are gone then."""
        for _, row in self.places(part):
            yield row
        self.drop(part)

    def places(self, part: int) -> Iterator[tuple[int, Any]]:
        """The rows of a part, each with its place, by which `row` gives it again."""
        file = self._files.get(part)
        if file is None:
            return
        file.seek(0)
        while True:
            place = file.tell()
            try:
                yield place, pickle.load(file)
            except EOFError:
                return

    def row(self, part: int, place: int) -> Any:
        """One row of a part that was read."""
        self._files[part].seek(place)
        return pickle.load(self._files[part])

    def drop(self, part: int) -> None:
        """Forget a part."""
        if (file := self._files.pop(part, None)) is not None:
            file.close()

    def close(self) -> None:
        """Forget what was not taken."""
        for part in list(self._files):
            self.drop(part)

    @staticmethod
    def parts() -> range:
        """The numbers of all parts."""
        return range(_PARTS)


@frozen
class Repeats:
    """Which of some records have the key of an earlier one: bit n of `numbers` is the record n of `total`.

    `differing`: how many of these are not equal to the first; `pair`: the numbers of two that are not.
    """

    numbers: bytes
    total: int
    count: int = 0
    differing: int = 0
    pair: tuple[int, int] | None = None

    def __contains__(self, number: int) -> bool:
        return bool(self.numbers[number >> 3] >> (number & 7) & 1)


def repeats_of(records: Iterable[tuple[str, str]]) -> Repeats:
    """The repeats among (key, line) pairs."""
    total = 0
    with closing(Partitions()) as rows:
        for total, (key, line) in enumerate(records, 1):
            hashed = identity(key)
            rows.put(hashed, (hashed, total - 1, identity(line)[:8]))
        return _found(rows, total)


def _found(rows: Partitions, total: int) -> Repeats:
    numbers = bytearray((total + 7) // 8)
    count = differing = 0
    pair: tuple[int, int] | None = None
    for part in rows.parts():
        firsts: dict[bytes, tuple[int, bytes]] = {}
        for hashed, number, line in rows.take(part):
            first, first_line = firsts.setdefault(hashed, (number, line))
            if first == number:
                continue
            count += 1
            numbers[number >> 3] |= 1 << (number & 7)
            if first_line != line:
                differing += 1
                pair = (first, number) if pair is None or number < pair[1] else pair
    return Repeats(bytes(numbers), total, count, differing, pair)


def identity(text: str) -> bytes:
    """A text in 16 bytes, to be known again by."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
