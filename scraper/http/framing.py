"""One answer read from bytes as they come (RFC 9112 6, 7): head, body without its framing, end.

No byte is looked at twice, and one call reads a bounded number of lines, whatever a server sends.
"""

import re
from collections.abc import Callable

from scraper.errors import BadAnswer, TooLarge, Unreadable
from scraper.http.response_head import ResponseHead, parse_head
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

MOST_HEAD = 256 * 1024  # bytes of all heads of an answer, the interim ones too; as much as Chromium takes
MOST_FIELDS = 5000  # as in curl
MOST_LINE = 4096  # bytes of a chunk's size with its extensions
MOST_TRAILER = 64 * 1024
MOST_OVERHEAD = 8  # bytes of framing to one byte of body; chunks of one byte have five
LINES_A_TURN = 512

_HEAD_END = re.compile(rb"\n\r?\n")
_CHUNK_SIZE = pattern(rb"0*([0-9A-Fa-f]{0,15})[ \t]*(?:;[^\r\n]*)?\r?\n")
_CHUNK_END = pattern(rb"\r?\n")
_LENGTH = pattern(r"[0-9]{1,18}")
_CODINGS = frozenset(("gzip", "x-gzip", "deflate", "compress", "x-compress"))


class LengthConflict(BadAnswer):
    """Two lengths, of which each may be meant (RFC 9112 6.3)."""


@frozen
class Framing:
    """How an answer's body ends: `length` bytes, the last chunk, or (None) the end of the connection.

    `codings`: transfer codings to undo besides chunked. `is_reusable`: the connection may serve again.
    """

    length: int | None
    is_chunked: bool = False
    codings: tuple[str, ...] = ()
    is_reusable: bool = True

    @property
    def is_delimited(self) -> bool:
        """Whether the body tells its own end, so that one cut short is noticed."""
        return self.is_chunked or self.length is not None


def framing_of(head: ResponseHead, method: str) -> Framing:
    """RFC 9112 6.3; BadAnswer or Unreadable for what cannot be told for sure."""
    headers = head.headers
    is_reusable = head.is_clean and head.version == (1, 1)
    if (connection := headers.get("connection")) is not None:
        words = [word.strip() for word in connection.lower().split(",")]
        is_reusable = head.is_clean and "close" not in words and (is_reusable or "keep-alive" in words)
    transfer, length = headers.get("transfer-encoding"), headers.get("content-length")
    if method == "CONNECT" and 200 <= head.status < 300:
        return Framing(0)  # a tunnel begins, whatever its fields say (RFC 9110 9.3.6)
    if method == "HEAD" or head.status in (204, 304):
        return Framing(0, is_reusable=is_reusable and transfer is None)
    if transfer is not None:
        codings, is_chunked = _transfer_codings(transfer)
        # With a length beside it two readers may see two bodies; in HTTP/1.0 there is no such field (6.1).
        is_reusable = is_reusable and is_chunked and length is None and head.version == (1, 1)
        if codings or is_chunked:
            return Framing(None, is_chunked, codings, is_reusable)
    if length is None:
        return Framing(None, is_reusable=False)
    return _by_length(length, is_reusable)


def _transfer_codings(value: str) -> tuple[tuple[str, ...], bool]:
    words = [word for part in value.lower().split(",") if (word := part.strip()) not in ("", "identity")]
    is_chunked = bool(words) and words[-1] == "chunked"
    codings = tuple(word for word in words if word != "chunked")
    if any("chunked" in word for word in codings) or ("chunked" in words and not is_chunked):
        raise Unreadable(f"Transfer-Encoding {value[:40]!r} is not understood")
    # A word that is no coding ("binary") says nothing, as browsers see it.
    return tuple(word for word in codings if word in _CODINGS), is_chunked


def _by_length(value: str, is_reusable: bool) -> Framing:
    if _LENGTH.fullmatch(value):
        return Framing(int(value), is_reusable=is_reusable)
    lengths = {int(word) for part in value.split(",") if _LENGTH.fullmatch(word := part.strip())}
    if len(lengths) > 1:
        raise LengthConflict("two different values of Content-Length")
    if not lengths:
        return Framing(None, is_reusable=False)  # "-5", "five": browsers read to the end
    return Framing(lengths.pop(), is_reusable=is_reusable and _LENGTH.fullmatch(value.strip()) is not None)


class ResponseParser:
    """The answer to one `method` request. `feed` it what has come; BadAnswer and its like are raised.

    `head` once it is there; `take_body()` what came of the body since the last call; `has_more`: a call ended
    before all that came was looked at, `feed(b"")` goes on. `is_reusable` counts once it `is_complete`.
    """

    def __init__(self, method: str) -> None:
        self._method = method
        self._buffer = bytearray()
        self._at = 0  # what lies before it is read
        self._seen = 0  # no line ends before it
        self._body = bytearray()
        self._left = 0
        self._overhead = 0
        self._size = 0
        self._step: Callable[[], bool] = self._read_head
        self._is_clean = True
        self.head: ResponseHead | None = None
        self.framing = Framing(None)
        self.has_more = False
        self.is_complete = False

    @property
    def has_begun(self) -> bool:
        """Whether anything has come."""
        return bool(self._buffer or self._overhead or self.head is not None)

    @property
    def is_reusable(self) -> bool:
        """Whether the connection may serve again: all was understood and nothing stands after it."""
        is_understood = self._is_clean and self.framing.is_reusable
        return self.is_complete and is_understood and not self._buffer

    @property
    def surplus(self) -> bytes:
        """What came after the answer's end."""
        return bytes(self._buffer[:64]) if self.is_complete else b""

    def feed(self, data: bytes) -> None:
        """Read on in what has come, up to the bound of one call."""
        self._buffer += data
        self.has_more = False
        for _ in range(LINES_A_TURN):
            if not self._step():
                break
        else:
            self.has_more = not self.is_complete
        if self._at:
            del self._buffer[: self._at]
            self._seen = max(0, self._seen - self._at)
            self._at = 0
        if self._overhead > MOST_HEAD + MOST_OVERHEAD * self._size:
            raise TooLarge("more framing than body")

    def end(self) -> None:
        """The connection has ended: so has an answer without a length."""
        if self._step == self._read_to_end:
            self._finish()
        if not self.is_complete:
            raise BadAnswer("the body ends too early" if self.head else "the answer ends too early")

    def take_body(self) -> bytes:
        """What came of the body since the last call."""
        if not self._body:
            return b""
        taken = bytes(self._body)
        self._body.clear()
        return taken

    # steps: each reads one thing and tells whether there may be another ------------------------------------
    def _read_head(self) -> bool:
        found = _HEAD_END.search(self._buffer, max(self._seen - 2, self._at))
        if found is None or found.end() - self._at <= 4:  # empty lines before the status line are none of it
            if found is not None:
                self._seen = found.end() + 2
                return True
            self._seen = len(self._buffer)
            if self._overhead + self._seen - self._at > MOST_HEAD:
                raise TooLarge(f"header fields over {MOST_HEAD // 1024} KiB")
            return False
        data = self._buffer[self._at : found.start() + 1]
        self._overhead += found.end() - self._at
        if self._overhead > MOST_HEAD:
            raise TooLarge(f"header fields over {MOST_HEAD // 1024} KiB")
        if data.count(b"\n") > MOST_FIELDS:
            raise TooLarge(f"more than {MOST_FIELDS} header fields")
        self._at = self._seen = found.end()
        head = parse_head(data)
        self._is_clean = self._is_clean and head.is_clean
        if head.status == 101:
            raise BadAnswer("the server switched to another protocol unasked")
        if head.status >= 200:  # the others announce what is to come (RFC 9110 15.2)
            self._begin_body(head)
        return True

    def _begin_body(self, head: ResponseHead) -> None:
        self.head = head
        self.framing = framing = framing_of(head, self._method)
        if framing.is_chunked:
            self._step = self._read_chunk_size
        elif framing.length is None:
            self._step = self._read_to_end
        else:
            self._left = framing.length
            self._step = self._read_length
            self._read_length()

    def _take(self, size: int) -> None:
        self._body += memoryview(self._buffer)[self._at : self._at + size]
        self._at += size
        self._size += size

    def _read_to_end(self) -> bool:
        self._take(len(self._buffer) - self._at)
        return False

    def _read_length(self) -> bool:
        size = min(self._left, len(self._buffer) - self._at)
        self._take(size)
        self._left -= size
        if not self._left:
            self._finish()
        return False

    def _line_end(self, most: int, what: str) -> int:
        """Where the line that begins here ends; 0 where its end has not come."""
        end = self._buffer.find(b"\n", max(self._seen, self._at))
        if (end if end >= 0 else len(self._buffer)) - self._at > most:
            raise TooLarge(f"{what} over {most // 1024} KiB")
        self._seen = end + 1 if end >= 0 else len(self._buffer)
        return end + 1

    def _read_chunk_size(self) -> bool:
        end = self._line_end(MOST_LINE, "a chunk's size")
        if not end:
            return False
        size = _CHUNK_SIZE.fullmatch(self._buffer, self._at, end)
        if size is None or self._buffer[self._at] in b"\r\n; \t":
            raise BadAnswer("a chunk's size is no number")
        self._overhead += end - self._at
        self._at = end
        self._left = int(size[1] or b"0", 16)
        self._step = self._read_chunk if self._left else self._read_trailer
        return True

    def _read_chunk(self) -> bool:
        size = min(self._left, len(self._buffer) - self._at)
        self._take(size)
        self._left -= size
        if self._left:
            return False
        end = _CHUNK_END.match(self._buffer, self._at)
        if end is None:
            if len(self._buffer) - self._at >= 2 or bytes(self._buffer[self._at :]) not in (b"", b"\r"):
                raise BadAnswer("a chunk is longer than it says")
            return False
        self._at = self._seen = end.end()
        self._step = self._read_chunk_size
        return True

    def _read_trailer(self) -> bool:
        end = self._line_end(MOST_TRAILER, "trailer fields")
        if not end:
            return False
        is_last = bytes(self._buffer[self._at : end]) in (b"\r\n", b"\n")
        self._left += end - self._at
        self._at = end
        if self._left > MOST_TRAILER:
            raise TooLarge(f"trailer fields over {MOST_TRAILER // 1024} KiB")
        if is_last:
            self._finish()
        return not is_last

    def _finish(self) -> None:
        self.is_complete = True
        self._step = bool  # whatever comes now is none of it
