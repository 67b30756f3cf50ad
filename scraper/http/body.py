"""The body of an answer, decoded by its codings within a bound (RFC 9110 8.4, RFC 9112 7)."""

import struct
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from scraper.errors import BadAnswer, TooLarge, Unreadable
from scraper.ops.patterns import pattern

try:
    import brotli
except ImportError:  # the extra `compression`
    brotli = None
try:
    from compression import zstd  # Python 3.14
except ImportError:
    try:
        from backports import zstd
    except ImportError:
        zstd = None

GZIP = b"\x1f\x8b"
EAGER = 2**20  # bytes that are decoded as they come; the rest of a larger body is left to whoever wants it
LARGE = 2**17  # bytes; who parses more than that takes long
_PIECE = 256 * 1024
_SLICE = 32 * 1024
_MOST_MEMBERS = 1000  # of one gzip or zstd body, beside one for each KiB that comes out of it
_START = 16  # bytes that tell whether a label lies
_MOST_CODINGS = 5  # curl stops there too
_FRAME = pattern(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")
_ZSTD_WINDOW = 23  # 8 MiB: more is no content coding (RFC 9659)
_KNOWN = frozenset("br zstd compress x-compress exi pack200-gzip aes128gcm dcb dcz".split())


class _Decoder(Protocol):
    """One coding undone: at most `most` bytes at a time, the rest with the next call."""

    @property
    def is_complete(self) -> bool:
        """Whether the coded stream has ended as it should."""
        ...

    @property
    def lacks_checksum(self) -> bool:
        """Whether it would be complete with the checksum of what came out of it."""
        ...

    def feed(self, data: bytes, most: int) -> bytes:
        """Take bytes and give at most `most`; fewer when no more can be had of what came so far."""
        ...


class Body:
    """Undecoded bytes in, at most `limit` decoded ones out.

    With `is_cut` the first `limit` bytes of a longer body are wanted, else it raises TooLarge. Raises
    BadAnswer where it is damaged, Unreadable where a coding is known and not ours to undo.
    """

    def __init__(self, codings: tuple[str, ...], limit: float, *, is_cut: bool = False) -> None:
        self._decoders = _decoders(codings)
        self._limit = int(min(limit, 2**62))
        self._is_cut = is_cut
        self._received = 0
        self._waiting = bytearray()
        self._out = bytearray()
        self._is_full = [False] * len(self._decoders)  # each gave all that it was asked for last
        self._is_damaged = False

    grace = 0.0  # seconds that it may take beyond its exchange's deadline

    @property
    def is_coded(self) -> bool:
        """Whether there is a coding to undo."""
        return bool(self._decoders)

    @property
    def is_full(self) -> bool:
        """Whether all that is wanted is here, though more may come."""
        return self._is_cut and len(self._out) >= self._limit

    @property
    def is_ended(self) -> bool:
        """Whether the codings say that it is whole, whatever its length was said to be."""
        is_over = bool(self._decoders) and not self._waiting and not self._is_damaged
        return is_over and all(one.is_complete for one in self._decoders)

    @property
    def is_heavy(self) -> bool:
        """Whether finishing and parsing it takes long, by its size."""
        return len(self._out) >= LARGE or (self._received > _START and bool(self._waiting))

    def write(self, data: bytes) -> None:
        """Take what has come."""
        self._received += len(data)
        if not self._decoders:
            self._out += data
        else:
            self._waiting += data
            if self._received >= _START and len(self._out) < EAGER:
                self._decode(EAGER)
        if max(self._received, len(self._out)) > self._limit and not self._is_cut:
            raise TooLarge(f"body over {self._limit / 2**20:g} MiB")

    def drain(self) -> bytes:
        """What can be decoded now, at most `EAGER` bytes, and is not kept: for a body that goes to disk."""
        self._decode(EAGER)
        out = bytes(self._out)
        self._out.clear()
        return out

    def finish(self, *, is_framed: bool = False) -> bytes:
        """The whole body. `is_framed`: its framing was whole, so that its checksum may lack, as in curl."""
        if not self._received:
            return b""  # the answer to HEAD names the coding of a body that does not come
        if self._decoders and not self.is_full:
            self._decode(self._limit + 1)
        if len(self._out) > self._limit and not self._is_cut:
            raise TooLarge(f"body over {self._limit / 2**20:g} MiB")
        if not self.is_full and not all(
            one.is_complete or (is_framed and one.lacks_checksum) for one in self._decoders
        ):
            raise BadAnswer("the compressed body ends too early")
        return bytes(self._out if len(self._out) <= self._limit else self._out[: self._limit])

    def _decode(self, until: int) -> None:
        self._is_damaged = True  # should a decoder raise
        while len(self._out) < until and ((first := self._backlog()) is not None or self._waiting):
            piece = b""
            if first is None:
                # In slices: what a decoder cannot take yet it copies with each call.
                first, piece = 0, bytes(self._waiting[:_SLICE])
                del self._waiting[: len(piece)]
            room = min(_PIECE, until - len(self._out))
            for place in range(first, len(self._decoders)):
                piece = self._decoders[place].feed(piece, room)
                self._is_full[place] = len(piece) == room
            self._out += piece
        self._is_damaged = False

    def _backlog(self) -> int | None:
        """The last decoder that has more to give; those before it wait, or its backlog would grow."""
        return max((place for place, is_full in enumerate(self._is_full) if is_full), default=None)


class _Inflate:
    """gzip and deflate, and the other of the two where the label is wrong, or neither."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: Any = None
        self._is_plain = False
        self._rest = b""
        self._is_full = False
        self._spare_members = float(_MOST_MEMBERS)
        self._crc, self._adler, self._size = 0, 1, 0  # of the present member, decoded

    def feed(self, data: bytes, most: int) -> bytes:
        if self._inner is None and data and not self._is_plain:
            self._inner = _inflater(data, self._coding)
            self._is_plain = self._inner is None
        data = self._rest + data if self._rest else data
        if self._is_plain or self._inner is None:
            self._rest = data[most:]
            return data[:most]
        out: list[bytes] = []
        while most > 0 and (data or self._is_full):
            piece = self._inner.decompress(data, most)
            self._is_full = len(piece) == most  # zlib may hold output back with all input taken
            out.append(piece)
            self._count(piece)
            most -= len(piece)
            self._spare_members += len(piece) / 1024
            data = self._inner.unconsumed_tail
            if self._inner.eof:
                data = self._next_member(self._inner.unused_data)
        self._rest = data
        return b"".join(out)

    def _next_member(self, rest: bytes) -> bytes:
        if rest[:2] != GZIP:
            return b""  # padding after the last member is ignored, as gzip does
        self._spare_members -= 1
        if self._spare_members < 0:
            raise BadAnswer("a gzip body of empty members")
        self._inner = zlib.decompressobj(31)
        self._crc, self._adler, self._size = 0, 1, 0
        return rest

    def _count(self, piece: bytes) -> None:
        self._crc, self._adler = zlib.crc32(piece, self._crc), zlib.adler32(piece, self._adler)
        self._size += len(piece)

    @property
    def is_complete(self) -> bool:
        return not self._rest and (self._inner is None or bool(self._inner.eof))

    @property
    def lacks_checksum(self) -> bool:
        if self._rest or self._inner is None:
            return False
        # zlib does not tell whether the data has ended: the checksum, or what lacks of it, shows it.
        of_gzip = struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
        of_zlib = struct.pack(">I", self._adler)
        return any(
            _ends_with(self._inner, checksum[come:])
            for checksum in (of_gzip, of_zlib)
            for come in range(len(checksum))
        )


def _ends_with(inflater: Any, rest: bytes) -> bool:
    attempt = inflater.copy()
    try:
        return not attempt.decompress(rest, 1) and bool(attempt.eof)
    except zlib.error:
        return False


def _inflater(start: bytes, coding: str) -> Any:
    """The decompressor for a body that starts so; None where the label lies and nothing was compressed."""
    if start[:2] == GZIP:
        return zlib.decompressobj(31)
    for bits in (15, -15) if coding == "deflate" else (15,):  # deflate often comes without the zlib header
        try:
            zlib.decompressobj(bits).decompress(start, 1)
        except zlib.error:
            continue
        return zlib.decompressobj(bits)
    return None


class _Brotli:
    def __init__(self, _: str) -> None:
        self._inner = brotli.Decompressor()
        self._waiting = b""
        self._rest = b""

    def feed(self, data: bytes, most: int) -> bytes:
        # It gives 32 KiB where less was asked for, and takes nothing while it has more to give.
        self._waiting += data
        out = self._rest
        try:
            while len(out) < most and not self._inner.is_finished():
                taken = self._waiting if self._inner.can_accept_more_data() else b""
                piece = self._inner.process(taken, output_buffer_limit=most)
                self._waiting = self._waiting[len(taken) :]
                out += piece
                if not piece and not taken:
                    break
        except brotli.error:
            raise BadAnswer("the compressed body is damaged") from None
        self._rest = out[most:]
        return out[:most]

    @property
    def is_complete(self) -> bool:
        return not self._rest and bool(self._inner.is_finished())

    lacks_checksum = False  # it has none


class _Zstd:
    """Frames of zstd, some of them to be skipped, one after the other (RFC 8878 3)."""

    def __init__(self, _: str) -> None:
        self._spare_frames = float(_MOST_MEMBERS)
        self._rest = b""
        self._new()

    def _new(self) -> None:
        self._inner = zstd.ZstdDecompressor(
            options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
        )

    def feed(self, data: bytes, most: int) -> bytes:
        data, self._rest = self._rest + data, b""
        out = b""
        try:
            while True:
                if self._inner.eof:
                    if not _FRAME.match(data):
                        self._rest = data if len(data) < 4 else b""  # padding after the last frame
                        return out
                    self._count_frame()
                piece: bytes = self._inner.decompress(data, most - len(out))
                out += piece
                self._spare_frames += len(piece) / 1024
                if not self._inner.eof or len(out) == most:
                    self._rest = self._inner.unused_data
                    return out
                data = self._inner.unused_data
        except zstd.ZstdError:
            raise BadAnswer("the compressed body is damaged") from None

    def _count_frame(self) -> None:
        self._spare_frames -= 1
        if self._spare_frames < 0:
            raise BadAnswer("a zstd body of empty frames")
        self._new()

    @property
    def is_complete(self) -> bool:
        return bool(self._inner.eof) and not _FRAME.match(self._rest)

    lacks_checksum = False  # one that is announced is part of the frame


_MAKERS: dict[str, Callable[[str], _Decoder]] = {"gzip": _Inflate, "x-gzip": _Inflate, "deflate": _Inflate}
if brotli is not None:
    _MAKERS["br"] = _Brotli
if zstd is not None:
    _MAKERS["zstd"] = _Zstd
ACCEPTED = ", ".join(coding for coding in _MAKERS if coding != "x-gzip")
"""What Accept-Encoding says."""


def _decoders(codings: tuple[str, ...]) -> list[_Decoder]:
    """What undoes codings, given in the order they were applied in; a word that is none says nothing."""
    names = [coding for coding in codings if coding in _MAKERS or coding in _KNOWN]
    if len(names) > _MOST_CODINGS:
        raise Unreadable(f"more than {_MOST_CODINGS} codings on one body")
    for name in names:
        if name not in _MAKERS:
            hint = "pip install 'scraper[compression]'" if name in ("br", "zstd") else ""
            raise Unreadable(f"Content-Encoding {name!r} was not asked for", hint)
    return [_MAKERS[name](name) for name in reversed(names)]


def codings_of(value: str) -> tuple[str, ...]:
    """The words of a Content-Encoding."""
    return tuple(word for part in value.lower().split(",") if (word := part.strip())) if value else ()
