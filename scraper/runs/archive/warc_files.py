"""WARC files of any tool, read from their beginning: plain, gzip by record or as a whole, zstd; WACZ.

What is damaged is passed over and counted with its place. Nothing is unpacked beyond the bound of a record.
"""

import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from scraper.errors import UsageError
from scraper.runs.archive import warc
from scraper.runs.archive.warc import Record

_CHUNK = 2**16
_LONGEST_HEAD = 2**20
_FARTHEST = 2**26  # bytes in which a first record is looked for
_LOOK = 1024  # bytes of a member that tell whether a record is in it
_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
_DICTIONARY = b"\x5d\x2a\x4d\x18"  # the skippable frame in which WARC's zstd profile keeps its dictionary
_BEGINS = b"WARC/"
_ZIP = b"PK\x03\x04"
_IN_WACZ = re.compile(r"archive/.*\.warc(?:\.gz|\.zst)?\Z")


@dataclass(slots=True)
class Reading:
    """What was passed over in a file: where damage begins (bytes), and how many are too large."""

    file: Path
    damaged: list[int] = field(default_factory=list)
    too_large: int = 0


def records(reading: Reading, most: int) -> Iterator[Record]:
    """The records of a file in its order, none of more than `most` bytes. UsageError where it is no WARC."""
    try:
        with reading.file.open("rb") as file:
            is_packed = file.read(len(_ZIP)) == _ZIP
            file.seek(0)
            for one in _packed(file, reading) if is_packed else [file]:
                try:
                    yield from _Records(one, reading, most)
                except (zipfile.BadZipFile, zlib.error):
                    reading.damaged.append(0)
    except OSError as error:
        raise UsageError(f"{reading.file} cannot be read: {error.strerror}") from None


def _packed(file: IO[bytes], reading: Reading) -> Iterator[IO[bytes]]:
    """The WARC files in a WACZ (1.1.1, 5.1: those in its folder archive/)."""
    try:
        with zipfile.ZipFile(file) as packed:
            for name in filter(_IN_WACZ.match, packed.namelist()):
                with packed.open(name) as one:
                    yield one
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise UsageError(f"{reading.file} is no WACZ that can be read: {error}") from None


class _Gap(Exception):
    """Something had to be left out of the stream."""


class _Records:
    """Cuts a stream of bytes into records."""

    def __init__(self, file: IO[bytes], reading: Reading, most: int) -> None:
        self._reading = reading
        self._most = most
        self._source = _Source(file, reading)
        self._pieces = iter(self._source)
        self._buffer = bytearray()
        self._has_begun = False
        self._is_lost = False
        self._begin = 0

    def __iter__(self) -> Iterator[Record]:
        found: Record | None = None
        member = 0
        while True:
            try:
                # It counts when the next one begins, or the file ends: its checksum has been right then.
                is_more = self._find_begin()
                if found is not None:
                    yield found
                    found = None
                if not is_more:
                    return
                found, member = self._record(), self._source.place
            except _Gap:
                if found is not None and member < self._source.broken_at:
                    yield found
                found = None
                self._buffer.clear()

    def _find_begin(self) -> bool:
        """Move to where a record begins; what is passed on the way is damaged, unless it is line ends."""
        self._drop_line_ends()
        if self._buffer.startswith(_BEGINS) or not self._buffer:
            return bool(self._buffer)
        begin, at, passed = self._place(), -1, 0
        while (at := self._buffer.find(b"\n" + _BEGINS)) < 0:
            passed += len(self._buffer)
            del self._buffer[: max(0, len(self._buffer) - len(_BEGINS))]
            if (not self._has_begun and passed > _FARTHEST) or not self._more():
                break
        if at < 0 and not self._has_begun:
            raise UsageError(f"{self._reading.file} is no WARC file")
        if not self._is_lost:
            self._note_damage(begin)
        if at < 0:
            return False
        del self._buffer[: at + 1]
        return True

    def _drop_line_ends(self) -> None:
        while len(self._buffer) < len(_BEGINS) or self._buffer[0] in b"\r\n":
            while self._buffer.startswith((b"\r", b"\n")):
                del self._buffer[:1]
            if len(self._buffer) < len(_BEGINS) and not self._more():
                return

    def _record(self) -> Record | None:
        """The record that begins here, taken off the buffer; None where it is damaged or too large."""
        self._has_begun, self._is_lost, self._begin = True, False, self._place()
        while (end := warc.END.search(self._buffer)) is None:
            if len(self._buffer) > _LONGEST_HEAD or not self._more():
                self._damaged()
                return None
        head = warc.head_of(bytes(self._buffer[: end.end()]))
        length = head.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 16):
            self._damaged()
            return None
        del self._buffer[: end.end()]
        if int(length) > self._most:
            self._reading.too_large += 1
            self._skip(int(length))
            return None
        while len(self._buffer) < int(length):
            if not self._more():
                self._damaged()
                return None
        block = bytes(self._buffer[: int(length)])
        del self._buffer[: int(length)]
        return Record(head, block)

    def _damaged(self) -> None:
        self._note_damage(self._begin)
        self._is_lost = True
        del self._buffer[: len(_BEGINS)]

    def _skip(self, length: int) -> None:
        while length > 0:
            part = min(length, len(self._buffer))
            del self._buffer[:part]
            length -= part
            if length and not self._more():
                return

    def _more(self) -> bool:
        """Add to the buffer; False at the end."""
        piece = next(self._pieces, None)
        if piece is None:
            return False
        if not piece:
            raise _Gap
        self._buffer += piece
        return True

    def _place(self) -> int:
        """Where in the file the buffer begins, or the member that it is from."""
        is_plain = self._source.is_plain
        return self._source.place + (self._source.length - len(self._buffer) if is_plain else 0)

    def _note_damage(self, place: int) -> None:
        if place not in self._reading.damaged:
            self._reading.damaged.append(place)


class _Source:
    """The unpacked bytes of a file, piece by piece; an empty piece where something was left out.

    `place`: where in the file the member begins that is being unpacked; `broken_at`: the last damaged one.
    """

    def __init__(self, file: IO[bytes], reading: Reading) -> None:
        self._file = file
        self._reading = reading
        self.place = 0
        self.broken_at = 0
        self.length = 0
        self.is_plain = False

    def __iter__(self) -> Iterator[bytes]:
        start = self._file.read(_CHUNK)
        self._file.seek(0)
        if start[:3] == _GZIP:
            return self._gzip()
        if start[:4] in (_ZSTD, _DICTIONARY):
            return self._zstd(start[:4] == _DICTIONARY)
        if _BEGINS not in start and (at := self._first_member()):
            self._reading.damaged.append(0)
            self._file.seek(at)
            self.place = at
            return self._gzip()
        return self._plain()

    def _first_member(self) -> int:
        """Where the first record begins that is packed by itself, behind what is damaged; 0 without one."""
        at = 0
        while at < _FARTHEST:
            self._file.seek(at)
            piece = self._file.read(_CHUNK)
            found = piece.find(_GZIP)
            while found >= 0:
                if _unpacks_to_record(piece[found : found + _LOOK]):
                    return at + found
                found = piece.find(_GZIP, found + 1)
            if len(piece) < _CHUNK:
                break
            at += len(piece) - _LOOK
        self._file.seek(0)
        return 0

    def _plain(self) -> Iterator[bytes]:
        self.is_plain = True
        while piece := self._file.read(_CHUNK):
            self.place, self.length = self._file.tell() - len(piece), len(piece)
            yield piece

    def _gzip(self) -> Iterator[bytes]:
        unpacker, data = zlib.decompressobj(31), b""
        while data or (data := self._file.read(_CHUNK)):
            try:
                piece = unpacker.decompress(data, _CHUNK)
            except zlib.error:
                data = self._next_member()
                unpacker = zlib.decompressobj(31)
                yield b""
                continue
            if piece:
                yield piece
            data = unpacker.unconsumed_tail
            if unpacker.eof:
                data = unpacker.unused_data.lstrip(b"\0")
                self.place = self._file.tell() - len(data)
                unpacker = zlib.decompressobj(31)

    def _next_member(self) -> bytes:
        """Note the damage, and read on where the next member begins."""
        self.broken_at = self.place
        if self.place not in self._reading.damaged:
            self._reading.damaged.append(self.place)
        at = self.place + 1
        while True:
            self._file.seek(at)
            piece = self._file.read(_CHUNK)
            found = piece.find(_GZIP)
            if found >= 0:
                self.place = at + found
                self._file.seek(self.place)
                return self._file.read(_CHUNK)
            if len(piece) < _CHUNK:
                return b""
            at += len(piece) - len(_GZIP) + 1

    def _zstd(self, has_dictionary: bool) -> Iterator[bytes]:
        zstandard = _zstandard(self._reading.file)
        dictionary = self._dictionary(zstandard) if has_dictionary else None
        unpacker = (
            zstandard.ZstdDecompressor(dict_data=dictionary) if dictionary else zstandard.ZstdDecompressor()
        )
        reader = unpacker.stream_reader(self._file, read_size=_CHUNK, read_across_frames=True)
        try:
            while piece := reader.read(_CHUNK):
                yield piece
                self.place = self._file.tell()
        except zstandard.ZstdError:
            self._reading.damaged.append(self.place)

    def _dictionary(self, zstandard: Any) -> Any:
        _, size = struct.unpack("<4sI", self._file.read(8))
        content = self._file.read(min(size, 2**24))
        if content.startswith(_ZSTD):
            content = zstandard.ZstdDecompressor().decompress(content, max_output_size=2**24)
        return zstandard.ZstdCompressionDict(content)


def _unpacks_to_record(start: bytes) -> bool:
    try:
        return zlib.decompressobj(31).decompress(start, len(_BEGINS)) == _BEGINS
    except zlib.error:
        return False


def _zstandard(file: Path) -> Any:
    try:
        # Imported here: an extra, which only those need who read such files.
        import zstandard
    except ImportError:
        raise UsageError(f"{file} is packed with zstd", "pip install 'scraper[archive]'") from None
    return zstandard
