"""The body in a WARC record, as a browser would have seen it: without transfer and content codings.

Tools differ: some keep chunks and compression, some take them off and leave the fields that tell of them.
"""

import base64
import hashlib
import re
import zlib
from typing import Any

from scraper.errors import UsageError
from scraper.runs.archive.warc import Message

_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_DIGESTS = {"sha1": "sha1", "sha-1": "sha1", "sha256": "sha256", "sha-256": "sha256", "md5": "md5"}


def decoded(message: Message, most: int) -> tuple[list[bytes], bool]:
    """The body as it stands, without chunks, and without each coding: the last is what a spider sees.

    False where the next step is impossible, or would give more than `most` bytes. UsageError where a coding
    needs a package that is not installed.
    """
    forms = [message.body]
    if "chunked" in message.get("transfer-encoding").lower():
        whole = _unchunked(message.body)
        forms += [] if whole is None else [whole]
    names = [one.strip().lower() for one in message.get("content-encoding").split(",")]
    for name in reversed([one for one in names if one and one != "identity"]):
        found = _decoded(forms[-1], name, most)
        if found is None:
            return forms, False
        forms.append(found)
    return forms, True


def has_digest(told: str, candidates: list[bytes]) -> bool:
    """Whether a payload digest is that of the body in any of its forms; true where it cannot be checked."""
    name, _, value = told.partition(":")
    algorithm = _DIGESTS.get(name.strip().lower())
    if algorithm is None or not value:
        return True
    for body in candidates:
        digest = hashlib.new(algorithm, body, usedforsecurity=False).digest()
        if value.strip().rstrip("=").lower() in (
            digest.hex(),
            base64.b32encode(digest).decode().rstrip("=").lower(),
        ):
            return True
    return False


def _unchunked(body: bytes) -> bytes | None:
    """The body without its chunks; None where it has none."""
    parts, at = list[bytes](), 0
    while found := _SIZE.match(body, at):
        size = int(found[1], 16)
        if not size:
            return b"".join(parts)
        parts.append(body[found.end() : found.end() + size])
        if len(parts[-1]) < size:
            return None
        at = found.end() + size
        at += 2 if body[at : at + 2] == b"\r\n" else 1
    return None


def _decoded(body: bytes, name: str, most: int) -> bytes | None:
    """The body without one coding; as it is where its label lies, None where it is damaged or too large."""
    if name in ("gzip", "x-gzip"):
        return _inflated(body, 31, most) if body[:2] == _GZIP else body
    if name == "deflate":
        for bits in (15, -15):
            if (found := _inflated(body, bits, most)) is not None:
                return found
        return body
    if name == "br":
        return _unbrotlied(body, most)
    if name == "zstd":
        return _unzstded(body, most) if body[:4] == _ZSTD else body
    return None


def _inflated(body: bytes, bits: int, most: int) -> bytes | None:
    parts, size = list[bytes](), 0
    while body:
        unpacker = zlib.decompressobj(bits)
        try:
            parts.append(unpacker.decompress(body, most - size + 1))
        except zlib.error:
            return b"".join(parts) if parts else None
        size += len(parts[-1])
        if size > most or not unpacker.eof:
            return None
        body = unpacker.unused_data if unpacker.unused_data[:2] == _GZIP else b""
    return b"".join(parts)


def _unbrotlied(body: bytes, most: int) -> bytes | None:
    brotli = _package("brotli", "br")
    unpacker, parts, size = brotli.Decompressor(), list[bytes](), 0
    try:
        # By few bytes each time: a small piece can hold very much.
        for at in range(0, len(body), 256):
            parts.append(unpacker.process(body[at : at + 256]))
            size += len(parts[-1])
            if size > most:
                return None
    except brotli.error:
        return None if size else body  # some tools decode it and leave the label
    return b"".join(parts) if unpacker.is_finished() else None


def _unzstded(body: bytes, most: int) -> bytes | None:
    zstandard = _package("zstandard", "zstd")
    try:
        with zstandard.ZstdDecompressor(max_window_size=2**23).stream_reader(body) as reader:
            found: bytes = reader.read(most + 1)
    except zstandard.ZstdError:
        return None
    return found if len(found) <= most else None


def _package(name: str, coding: str) -> Any:
    try:
        # Imported here: extras, which only those need who read such files.
        return __import__(name)
    except ImportError:
        raise UsageError(
            f"a page is packed with {coding}, which needs the package {name}",
            "pip install 'scraper[archive]'",
        ) from None
