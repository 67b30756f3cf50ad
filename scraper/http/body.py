"""The body of an answer, decoded by its Content-Encoding within a bound."""

import zlib
from typing import Any

from scraper.errors import BadAnswer, TooLarge, Unreadable

CHUNK = 65_536
GZIP = b"\x1f\x8b"


def read_body(raw: Any, coding: str, limit: float, *, is_cut: bool = False) -> bytes:
    """The body, decoded by its Content-Encoding, never more than `limit` bytes of it in memory.

    With `is_cut` the first `limit` bytes of a longer one; else that raises TooLarge. BadAnswer where it is
    truncated or damaged, Unreadable where the coding was not asked for.
    """
    decoder = _decoder(coding)
    chunks: list[bytes] = []
    received = size = 0
    # At the end of a known length another read would find nothing, and take its time.
    while raw.length_remaining != 0 and (chunk := raw.read(CHUNK, decode_content=False)):
        received += len(chunk)
        if decoder is not None:
            chunk = decoder.feed(chunk, int(limit - size) + 1)
        size += len(chunk)
        if max(size, received) > limit and is_cut:
            return b"".join([*chunks, chunk])[: int(limit)]
        if max(size, received) > limit:
            raise TooLarge(f"body over {limit / 2**20:g} MiB")
        chunks.append(chunk)
    if decoder is not None and not decoder.is_complete:
        raise BadAnswer("the compressed body ends too early")
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class _Inflate:
    """gzip and deflate with a bound on what comes out (RFC 9110 8.4.1)."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: Any = None
        self._is_plain = False

    def feed(self, data: bytes, most: int) -> bytes:
        """At most `most` bytes: one more than allowed is enough to know that there is more."""
        if self._inner is None and not self._is_plain:
            self._inner = _inflater(data, self._coding)
            self._is_plain = self._inner is None
        if self._is_plain:
            return data
        out: list[bytes] = []
        while data and most > 0:
            piece = self._inner.decompress(data, most)
            out.append(piece)
            most -= len(piece)
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._next_member(self._inner.unused_data)
        return b"".join(out)

    def _next_member(self, rest: bytes) -> bytes:
        if rest[:2] != GZIP:
            return b""  # padding after the last member is ignored, as gzip does
        self._inner = zlib.decompressobj(31)
        return rest

    @property
    def is_complete(self) -> bool:
        return self._inner is None or bool(self._inner.eof)


def _inflater(start: bytes, coding: str) -> Any:
    """The decompressor for a body that starts so; None where the label lies and nothing was compressed."""
    if start[:2] == GZIP:
        return zlib.decompressobj(31)
    if coding == "deflate":
        for bits in (15, -15):  # many servers send raw deflate without the zlib header
            try:
                zlib.decompressobj(bits).decompress(start, 1)
            except zlib.error:
                continue
            return zlib.decompressobj(bits)
    return None


def _decoder(coding: str) -> _Inflate | None:
    codings = [name for part in coding.split(",") if (name := part.strip().lower()) not in ("", "identity")]
    if not codings:
        return None
    if len(codings) == 1 and codings[0] in ("gzip", "x-gzip", "deflate"):
        return _Inflate(codings[0])
    raise Unreadable(f"Content-Encoding {coding[:40]!r} was not asked for")
