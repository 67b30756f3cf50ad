"""The records of one page while it is parsed: a few in memory, very many in a file that has no name."""

import os
import shutil
import struct
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from scraper.model import RecordLine

IN_MEMORY = 4 * 2**20  # characters; far more than the records of most pages

_LENGTHS = struct.Struct("<II")
_READ = 2**20


class RecordSpool:
    """Records in the order in which they were put; can be read from any thread, and more than once."""

    def __init__(self) -> None:
        self._kept: list[RecordLine] = []
        self._room = IN_MEMORY
        self._count = 0
        self._file: IO[bytes] | None = None

    def put(self, record: RecordLine) -> None:
        """Add one at the end."""
        self._count += 1
        self._kept.append(record)
        self._room -= len(record.key) + len(record.line)
        if self._room < 0:
            self._spill()

    def taken(self) -> Collection[RecordLine]:
        """All of them: as a tuple, where that is all there is."""
        return tuple(self._kept) if self._file is None else self

    def __contains__(self, record: object) -> bool:
        return any(one == record for one in self)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[RecordLine]:
        if self._file is not None:
            yield from _records(self._file)
        yield from self._kept

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process: through a file, which that one takes the name from."""
        self._spill()
        assert self._file is not None
        self._file.seek(0)
        with tempfile.NamedTemporaryFile(prefix="scraper-records-", delete=False) as copy:
            shutil.copyfileobj(self._file, copy)
        return _taken_over, (copy.name, self._count)

    @classmethod
    def of_file(cls, file: IO[bytes], count: int) -> "RecordSpool":
        """The records in a file, so many."""
        spool = cls()
        spool._file, spool._count = file, count
        return spool

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="scraper-records-")  # noqa: SIM115 - lives as long as we
        for record in self._kept:
            texts = (
                record.key.encode("utf-8", "surrogatepass"),
                record.line.encode("utf-8", "surrogatepass"),
            )
            self._file.write(b"".join((_LENGTHS.pack(*map(len, texts)), *texts)))
        self._file.flush()
        self._kept, self._room = [], IN_MEMORY


def _taken_over(name: str, count: int) -> RecordSpool:
    file = open(name, "rb")  # noqa: SIM115 - lives as long as the spool
    Path(name).unlink()
    return RecordSpool.of_file(file, count)


def _records(file: IO[bytes]) -> Iterator[RecordLine]:
    buffer, at = b"", 0
    while True:
        key, line = _LENGTHS.unpack_from(buffer) if len(buffer) >= _LENGTHS.size else (0, _READ)
        end = _LENGTHS.size + key + line
        if len(buffer) < end:
            part = os.pread(file.fileno(), max(_READ, end - len(buffer)), at)
            if not part:
                return
            buffer, at = buffer + part, at + len(part)
            continue
        start = 0
        while start + _LENGTHS.size <= len(buffer):
            key, line = _LENGTHS.unpack_from(buffer, start)
            middle, end = start + _LENGTHS.size + key, start + _LENGTHS.size + key + line
            if end > len(buffer):
                break
            texts = buffer[start + _LENGTHS.size : middle], buffer[middle:end]
            yield RecordLine(*(text.decode("utf-8", "surrogatepass") for text in texts))
            start = end
        buffer = buffer[start:]
