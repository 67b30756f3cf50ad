"""How much of an answer has come (RFC 9112 6.3): whether reading it now would have to wait for the server.

A guess for the sake of threads alone: the answer itself is read by the HTTP library, which waits where the
guess was wrong.
"""

import re
from enum import Enum

MOST_HEAD = 65_536  # bytes; more is no head
_TAIL = 4096  # bytes looked at for the last chunk and its trailer fields

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.[0-9] ([0-9]{3})")
_LENGTH = re.compile(rb"\ncontent-length[ \t]*:[ \t]*([0-9]{1,15})[ \t]*(?=\r?\n)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\ntransfer-encoding[ \t]*:[^\n]*chunked", re.IGNORECASE)
_LAST_CHUNK = re.compile(rb"\n0+[ \t]*(?:;[^\r\n]*)?\r?\n(?:[^\r\n]+\r?\n)*\r?\n\Z")
_BODILESS = frozenset((b"204", b"304"))


class Part(Enum):
    """What is here of an answer."""

    MORE = "more is to come"
    WHOLE = "it is here whole"
    UNSURE = "only reading it tells"


def part_of(data: bytes | bytearray, method: str) -> Part:
    """What `data`, all that has come so far in answer to a `method` request, is of the answer."""
    end = _HEAD_END.search(data)
    if end is None:
        return Part.MORE if len(data) <= MOST_HEAD else Part.UNSURE
    status = _STATUS.match(data)
    if status is None or status[1].startswith(b"1"):
        return Part.UNSURE
    if method == "HEAD" or status[1] in _BODILESS:
        return Part.WHOLE
    head = data[: end.start() + 2]
    if _CHUNKED.search(head):
        tail = data[max(end.end() - 2, len(data) - _TAIL) :]
        return Part.WHOLE if _LAST_CHUNK.search(tail) else Part.MORE
    lengths = set(_LENGTH.findall(head))
    if len(lengths) > 1:
        return Part.UNSURE
    if lengths and len(data) - end.end() >= int(lengths.pop()):
        return Part.WHOLE
    return Part.MORE  # without a length it ends with the connection
