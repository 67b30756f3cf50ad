"""An answer as a WARC record, and back: which header fields are kept, and which the spider saw."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path

from scraper.model import Entry, Headers, Response
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.runs.archive import gzip_members, rendered_pages, warc

IDENTITY = "Scraper-Fingerprint"
_KINDS = frozenset({"warcinfo", "request", "revisit", "resource", "metadata"})
_COOKIES = frozenset({"set-cookie", "set-cookie2"})
_CODINGS = frozenset({"content-encoding", "transfer-encoding", "content-length", "trailer"})
_ORIGINAL = "Scraper-Original-"
ANSWER = ("Content-Type", "application/http; msgtype=response")

_NAME = pattern(r"[!-9;-~\xa0-\xff](?:[ -9;-~\xa0-\xff]*[!-9;-~\xa0-\xff])?")  # no colon, no blank at an end


@frozen
class ArchivedPage:
    """A response as it was fetched. `fp`: its request's fingerprint; empty in files of other programs."""

    url: str
    fp: bytes
    response: Response


@frozen
class Damage:
    """A record that cannot be read: where it begins in its file."""

    file: Path
    offset: int


@frozen
class RecordLocation:
    """Where a record begins, and how many bytes it may have once unpacked."""

    file: Path
    offset: int
    most: int


def answer_record(response: Response, more: list[warc.Line]) -> bytes:
    """An answer as a record, with `more` fields."""
    fields = [
        ("WARC-Target-URI", response.url),
        ("WARC-Date", warc.date(response.fetched_at)),
        *more,
        ("WARC-Payload-Digest", warc.digest(response.content)),
        ANSWER,
    ]
    head = warc.answer_head(response.status, phrase(response.status), _kept(response))
    return warc.written("response", fields, head + response.content)


def phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def method_of(entry: Entry) -> str:
    return str(json.loads(entry.request).get("method", "GET")) if entry.request else "GET"


def is_kept(line: warc.Line) -> bool:
    """Whether a field can stand in one line, and may stand in a file."""
    return line[0].lower() not in _COOKIES and _NAME.fullmatch(line[0]) is not None


def _kept(response: Response) -> Iterator[warc.Line]:
    """The header fields that stand in the archive; the length is that of the body as it is kept."""
    for name, value in filter(is_kept, response.headers.items_all()):
        yield f"{_ORIGINAL}{name}" if name.lower() in _CODINGS else name, value
    yield "Content-Length", str(len(response.content))


def _seen(lines: Sequence[warc.Line]) -> Iterator[warc.Line]:
    """The header fields as the spider saw them."""
    for name, value in lines:
        if name.startswith(_ORIGINAL):
            yield name.removeprefix(_ORIGINAL), value
        elif name.lower() not in _CODINGS:
            yield name, value


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def fp_of(fields: Mapping[str, str]) -> bytes:
    """The fingerprint of the request behind a response; empty for other records."""
    is_answer = fields.get("warc-type") in ("response", "conversion")
    return _hex(fields.get(IDENTITY.lower(), "")) if is_answer else b""


def is_known(fields: Mapping[str, str]) -> bool:
    """Whether the head of a record says all that one of ours says."""
    kind = fields.get("warc-type")
    if kind not in ("response", "conversion"):
        return kind in _KINDS
    return bool(fp_of(fields)) or rendered_pages.PART.lower() in fields


def read_page(descriptor: int, offset: int, size: int, most: int) -> ArchivedPage | None:
    """The response at an offset; None for other records and for damaged ones."""
    record = _record(descriptor, offset, size, most)
    if record is not None and record.kind == "conversion":
        response = rendered_pages.read(
            record, descriptor, offset, lambda at: _part(descriptor, at, most), response_of
        )
    else:
        response = response_of(record)
    if record is None or response is None or rendered_pages.PART.lower() in record.fields:
        return None
    return ArchivedPage(record.url, _hex(record.fields.get(IDENTITY.lower(), "")), response)


def read_answer(descriptor: int, offset: int, most: int) -> Response | None:
    """An answer as it came, also one that belongs to a rendered page."""
    return response_of(_part(descriptor, offset, most))


def _part(descriptor: int, offset: int, most: int) -> warc.Record | None:
    size = gzip_members.size_at(descriptor, offset) if offset >= 0 else None
    return _record(descriptor, offset, size, most) if size else None


def _record(descriptor: int, offset: int, size: int, most: int) -> warc.Record | None:
    content = gzip_members.unpacked(os.pread(descriptor, min(size, most), offset), most) if size else b""
    return warc.parsed(content)


def response_of(record: warc.Record | None) -> Response | None:
    """The answer in a record; None for other records."""
    message = warc.message_of(record.block) if record is not None and record.kind == "response" else None
    if record is None or message is None or not message.status:
        return None
    is_ours = {IDENTITY.lower(), rendered_pages.PART.lower()} & record.fields.keys()
    lines = _seen(message.lines) if is_ours else message.lines
    return Response(record.url, message.status, Headers(lines), message.body, record.moment)
