"""The head of an answer (RFC 9112 4, 5): status line and fields, read as leniently as browsers do.

A field that is none (`Server Name: x`, a line without a colon) is left out alone; all others count.
"""

import re

from scraper.errors import BadAnswer
from scraper.model import Headers
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

# Chromium looks for the protocol in the first bytes of an answer; RFC 9112 2.2 speaks of an empty line there.
_STATUS = re.compile(
    r"([\s\S]{0,4}?)HTTP(?:/([0-9]+)(?:\.([0-9]+))?)?[ \t]*([0-9]{3})(?![0-9])([^\r\n]*)\r?\n", re.IGNORECASE
)
# One field line: name, blanks before the colon, value. Without a name it is no field.
_LINE = re.compile(r"(?:([!#$%&'*+\-.^_`|~0-9A-Za-z]+)([ \t]*):)?[ \t]*([^\n]*)\n")
_FOLD = pattern(r"(?:(?<![ \t])[ \t]++)?\r?\n[ \t]++")
_BARE_CR = pattern(r"\r(?!\n)")


@frozen
class ResponseHead:
    """`version`: (1, 1); values are latin-1. `is_clean`: every line was what the standard says."""

    version: tuple[int, int]
    status: int
    reason: str
    headers: Headers
    is_clean: bool


def parse_head(data: bytes | bytearray) -> ResponseHead:
    """Read a whole head, the empty line at its end left out; BadAnswer for what is no HTTP."""
    text = data.decode("latin-1")
    status = _STATUS.match(text)
    if status is None or status[4] < "100":
        raise BadAnswer(f"not HTTP: {text.splitlines()[0][:60].strip()!r}" if text.strip() else "not HTTP")
    if "\0" in text:
        raise BadAnswer("a zero byte in the header fields")
    text = text[status.end() :]
    is_clean = not status[1] and status[3] is not None
    if "\n " in text or "\n\t" in text or text[:1] in (" ", "\t"):
        is_clean = is_clean and text[:1] not in (" ", "\t")
        text = _FOLD.sub(" ", text)  # RFC 9112 5.2: a line that goes on is one line
    if text.count("\r") != text.count("\r\n"):
        is_clean = False
        text = _BARE_CR.sub(" ", text)
    lines = _LINE.findall(text)
    fields = [(name, value.rstrip(" \t\r")) for name, _, value in lines if name]
    is_clean = is_clean and len(fields) == len(lines) and not any(blanks for _, blanks, _ in lines)
    version = int(status[2][:4]) if status[2] else 1, int(status[3][:4]) if status[3] else 0
    return ResponseHead(version, int(status[4]), status[5].strip(), Headers(fields), is_clean)
