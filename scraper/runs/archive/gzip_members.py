"""Files of gzip members, one a record, of which each tells its own length.

The length stands in the extra field `sl` of gzip's header, which the WARC 0.9 draft (9.2) proposed and every
gzip reader passes over: so finding the end of a file, or one record, does not mean unpacking all before it.
"""

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from scraper.errors import StoreError

LEVEL = 6

_MEMBER = struct.Struct("<4sIBBH2sHII")  # gzip's header with one extra field: sl, member and content length
_MAGIC = b"\x1f\x8b\x08\x04"
_OTHERS = (b"WARC/", b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18", b"PK\x03\x04")  # plain, zstd, WACZ
_SCAN = 2**20  # bytes read at once in search of a member
_MOST = 2**30  # bytes of a record of our own file that is only looked at
_HEAD_END = b"\r\n\r\n"
_MOST_HEADS = 768  # bytes that hold the head of most records: to unpack more than that costs time
_HEAD = 8192  # bytes that hold the head of any record: a URL has 2,000 characters at most


def packed(content: bytes) -> bytes:
    """A record as one member."""
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(content) + packer.flush()
    size = _MEMBER.size + len(body) + 8
    head = _MEMBER.pack(_MAGIC, 0, 0, 255, 12, b"sl", 8, size, len(content) & 0xFFFFFFFF)
    return head + body + struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF)


def size_at(descriptor: int, offset: int) -> int | None:
    """The length of the member at an offset; None where there is none of ours."""
    head = os.pread(descriptor, _MEMBER.size, offset)
    if len(head) < _MEMBER.size:
        return None
    magic, _, _, _, _, name, _, size, _ = _MEMBER.unpack(head)
    return size if (magic, name) == (_MAGIC, b"sl") and size > _MEMBER.size else None


def listed(descriptor: int, file: Path, damaged: list[int] | None = None) -> Iterator[tuple[int, int]]:
    """Offset and length of each whole member.

    What is damaged, or torn at the end, is passed over: where it begins is added to `damaged`.
    """
    end = os.fstat(descriptor).st_size
    if _is_of_others(os.pread(descriptor, _MEMBER.size, 0)):
        _check(descriptor, file)
    offset = 0
    while offset < end:
        size = size_at(descriptor, offset)
        if size is not None and _is_followed(descriptor, offset, size, end):
            yield offset, size
            offset += size
        else:
            if damaged is not None:
                damaged.append(offset)
            offset = _next(descriptor, offset, end) or end


def _is_of_others(start: bytes) -> bool:
    """Whether a file begins as those of other programs; one that begins with neither is damaged."""
    is_other_gzip = start[:3] == _MAGIC[:3] and start[:4] != _MAGIC and start[12:14] != b"sl"
    return is_other_gzip or start.startswith(_OTHERS)


def _check(descriptor: int, file: Path) -> None:
    """Raise StoreError for a file in which there is no member of ours."""
    end = os.fstat(descriptor).st_size
    if size_at(descriptor, 0) is None and end >= _MEMBER.size and _next(descriptor, 0, end) is None:
        raise StoreError(f"{file} was not written by this program", "move it elsewhere")


def _is_followed(descriptor: int, offset: int, size: int, end: int) -> bool:
    """Whether a member's length is right: it ends the file or another begins there; or it is sound itself."""
    after = offset + size
    if after >= end:
        return after == end
    return size_at(descriptor, after) is not None or not _is_torn(descriptor, offset, size)


def _next(descriptor: int, offset: int, end: int) -> int | None:
    """Where the next member begins behind an offset; None where none does."""
    at = offset + 1
    while at < end:
        part = os.pread(descriptor, _SCAN, at)
        found = part.find(_MAGIC)
        while found >= 0:
            if size_at(descriptor, at + found) is not None:
                return at + found
            found = part.find(_MAGIC, found + 1)
        at += max(1, len(part) - len(_MAGIC) + 1)
    return None


def _is_torn(descriptor: int, offset: int, size: int) -> bool:
    return not unpacked(os.pread(descriptor, size, offset))


def whole(descriptor: int, file: Path) -> int:
    """The length of a file without what is torn at its end."""
    _check(descriptor, file)  # it is about to be cut
    start = end = 0
    for start, size in listed(descriptor, file):
        end = start + size
    # After a power cut a member may have its length and not its bytes.
    return end if not end or not _is_torn(descriptor, start, end - start) else start


def unpacked(member: bytes, most: int = _MOST) -> bytes:
    """The record in a member; nothing where it is damaged or has more than `most` bytes."""
    unpacker = zlib.decompressobj(31)
    try:
        content = unpacker.decompress(member, most)
    except zlib.error:
        return b""
    return content if unpacker.eof else b""


def head(descriptor: int, offset: int) -> dict[str, str]:
    """The WARC fields of a record by lower-case name."""
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(os.pread(descriptor, _HEAD, offset), _MOST_HEADS)
        if _HEAD_END not in text:
            text += unpacker.decompress(unpacker.unconsumed_tail, _HEAD)
    except zlib.error:
        return {}
    lines = text.partition(_HEAD_END)[0].decode("utf-8", "replace").split("\r\n")
    fields = (line.partition(":") for line in lines)
    return {name.lower(): value.strip() for name, _, value in fields}
