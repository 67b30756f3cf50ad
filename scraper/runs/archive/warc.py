"""One WARC record (ISO 28500) as bytes, written and read; and the HTTP message in its block.

Reading is as lenient as files of many tools need: it never raises, what is no record is None.
"""

import base64
import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

Line = tuple[str, str]

_VERSION = pattern(rb"WARC/\d+\.\d+\s*\Z")
_STATUS = pattern(rb"HTTP(?:/\d+(?:\.\d+)?)?\s+(\d{3})(?:\s|\Z)", re.IGNORECASE)
_REQUEST = pattern(rb"([A-Za-z][A-Za-z-]{0,30})\s+(\S+)")
END = pattern(rb"\n\r{0,2}\n")  # some tools write \r twice; those before it go with a line's blanks
_DATE = pattern(r"(\d{4})(?:-?(\d\d)(?:-?(\d\d)(?:[T ]?(\d\d):?(\d\d)(?::?(\d\d)([.,]\d+)?)?Z?)?)?)?")
_WHOLE = len("2026-01-01T00:00:00Z")
_UNFIT = pattern(rb"[\x00-\x08\x0a-\x1f\x7f]")


@frozen
class Record:
    """A record: its fields by lower-case name, and its block."""

    fields: Mapping[str, str]
    block: bytes

    @property
    def kind(self) -> str:
        """WARC-Type."""
        return self.fields.get("warc-type", "").lower()

    @property
    def url(self) -> str:
        """WARC-Target-URI; some tools write it in angle brackets, as WARC 1.0 could be read."""
        url = self.fields.get("warc-target-uri", "")
        return url[1:-1] if url[:1] == "<" and url[-1:] == ">" else url

    @property
    def moment(self) -> float:
        """WARC-Date as epoch seconds; 0.0 where it is none."""
        return moment_of(self.fields.get("warc-date", ""))


@frozen
class Message:
    """An HTTP message: an answer has a `status`, a request a `method`; its fields as they came, its body."""

    lines: tuple[Line, ...]
    body: bytes
    status: int = 0
    method: str = ""

    def get(self, name: str) -> str:
        """The last value of a field; empty where there is none."""
        return next((value for key, value in reversed(self.lines) if key.lower() == name), "")


def written(kind: str, fields: Iterable[Line], block: bytes = b"") -> bytes:
    """A record; WARC-Record-ID, WARC-Block-Digest and Content-Length are added."""
    lines = [("WARC-Type", kind), ("WARC-Record-ID", f"<urn:uuid:{uuid.uuid4()}>"), *fields]
    lines += [("WARC-Block-Digest", digest(block)), ("Content-Length", str(len(block)))]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return b"WARC/1.1\r\n" + head.encode("utf-8", "replace") + b"\r\n" + block + b"\r\n\r\n"


def digest(content: bytes) -> str:
    """A digest as other tools write it: SHA-1 in base 32."""
    return "sha1:" + base64.b32encode(hashlib.sha1(content, usedforsecurity=False).digest()).decode()


def date(moment: float) -> str:
    """Epoch seconds as WARC-Date."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> float:
    """A date, also one that stops at the year, the month, the day or the minute, as epoch seconds."""
    if len(text) >= _WHOLE and text[-1] == "Z":
        with suppress(ValueError):  # it is one of the others
            return datetime.fromisoformat(text).timestamp()
    found = _DATE.match(text.strip())
    if found is None:
        return 0.0
    year, month, day, hour, minute, second = (int(part or n < 3) for n, part in enumerate(found.groups()[:6]))
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC).timestamp() + float(
            (found[7] or "0").replace(",", ".")
        )
    except (ValueError, OverflowError):
        return 0.0


def head_of(text: bytes) -> dict[str, str]:
    """The fields at the beginning of a record by lower-case name; empty where none begins."""
    end = END.search(text)
    return _fields_of(text[: end.start()] if end else text)


def _fields_of(head: bytes) -> dict[str, str]:
    first, _, rest = head.lstrip(b"\r\n").partition(b"\n")
    if not _VERSION.match(first):
        return {}
    return {name.lower(): value for name, value in _lines(rest, "utf-8")}


def parsed(content: bytes) -> Record | None:
    """The record that bytes are; None where they are none, or end before it does."""
    content = content.lstrip(b"\r\n")
    end = END.search(content)
    fields = _fields_of(content[: end.start()]) if end else {}
    length = fields.get("content-length", "")
    if end is None or not (length.isascii() and length.isdigit()) or end.end() + int(length) > len(content):
        return None
    return Record(fields, content[end.end() : end.end() + int(length)])


def message_of(block: bytes) -> Message | None:
    """The HTTP answer or request in a block; None where there is none."""
    block = block.lstrip(b"\r\n")
    end = END.search(block)
    head, body = (block[: end.start()], block[end.end() :]) if end else (block, b"")
    first, _, rest = head.partition(b"\n")
    lines = tuple(_lines(rest, "latin-1"))
    if found := _STATUS.match(first):
        return Message(lines, body, status=int(found[1]))
    if found := _REQUEST.match(first):
        return Message(lines, body, method=found[1].decode().upper())
    return None


def answer_head(status: int, phrase: str, lines: Iterable[Line]) -> bytes:
    """The head of an HTTP answer, its fields byte by byte as they came; each stays one line."""
    fields = (
        name.encode("latin-1", "replace") + b": " + _UNFIT.sub(b" ", value.encode("latin-1", "replace"))
        for name, value in lines
    )
    return b"\r\n".join([f"HTTP/1.1 {status} {phrase}".encode(), *fields, b"", b""])


def _lines(head: bytes, encoding: str) -> Iterable[Line]:
    """Field lines; one that begins with a blank goes on with the one before."""
    text = head.decode(encoding, "replace")
    if "\n " not in text and "\n\t" not in text:
        parts = [line.partition(":") for line in text.split("\n")]
        return [(name.strip(), value.strip(" \t\r")) for name, colon, value in parts if colon]
    lines: list[list[str]] = []
    for line in text.split("\n"):
        line = line.rstrip("\r")
        if line[:1] in (" ", "\t") and lines:
            lines[-1][1] += " " + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            lines.append([name.strip(), value.strip(" \t")])
    return ((name, value) for name, value in lines)
