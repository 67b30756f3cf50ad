"""A rendered page in an archive: what was sent, what its scripts asked for, and the document that came of it.

One run of members: a `response` for the document as it was sent and for each request of the page, a
`resource` for its picture, a `metadata` record that says which is which, and the document as a `conversion`
(ISO 28500 6.8), which alone stands for the request. A copy of the page takes the whole run of them, see
`span`. What the run had cached already is in the members of the page that asked for it first.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from scraper.model import Headers, Loaded, Rendered, Response
from scraper.runs.archive import gzip_members, warc
from scraper.runs.archive.request_keys import request_key

PART = "Scraper-Part-Of-Page"
"""Marks an answer that belongs to a rendered page."""
_ABOUT, _SPAN, _ASKED = "Scraper-About", "Scraper-Span", "Scraper-Asked"
_MOST_ABOUT = 4 * 2**20
_PICTURE = "urn:fullPage:"  # as other tools name one

AnswerRecord = Callable[[Response, list[warc.Line]], bytes]
ReadPart = Callable[[int], warc.Record | None]
ResponseOf = Callable[[warc.Record | None], Response | None]


class _Members:
    """Members as they are written, and where each begins."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, record: bytes) -> int:
        """Append one; its place."""
        place = self.size
        self.parts.append(gzip_members.packed(record))
        self.size += len(self.parts[-1])
        return place


def members(response: Response, identity: warc.Line, answer_record: AnswerRecord) -> bytes:
    """The members of a rendered page. `answer_record` writes an answer with more WARC fields."""
    rendered = response.rendered
    assert rendered is not None
    made = _Members()
    sent = Response(response.url, response.status, rendered.headers, rendered.source, response.fetched_at)
    plain = rendered.plain or sent
    written = answer_record(sent, [(PART, "1"), _asked(request_key("GET", response.url))])
    about: dict[str, Any] = {
        "status": response.status,
        "headers": [line for line in response.headers.items_all() if not _is_cookie(line)],
        "source": made.add(written),
    }
    if plain is not sent:
        about["plain"] = made.add(answer_record(plain, [(PART, "1"), _asked(request_key("GET", plain.url))]))
    about["loads"] = [_add(one, response, made, answer_record) for one in rendered.loads if _is_kept(one)]
    date = ("WARC-Date", warc.date(response.fetched_at))
    if rendered.screenshot:
        target = ("WARC-Target-URI", _PICTURE + response.url)
        fields = [target, date, (PART, "1"), ("Content-Type", "image/png")]
        about["screenshot"] = made.add(warc.written("resource", fields, rendered.screenshot))
    target = ("WARC-Target-URI", response.url)
    kind = ("Content-Type", "application/json")
    place = made.add(warc.written("metadata", [target, date, (PART, "1"), kind], json.dumps(about).encode()))
    fields = [
        target,
        date,
        identity,
        ("WARC-Refers-To", warc.head_of(written).get("warc-record-id", "")),
        (_ABOUT, str(made.size - place)),
        (_SPAN, str(made.size)),
        ("WARC-Payload-Digest", warc.digest(response.content)),
        ("Content-Type", "text/html; charset=utf-8"),
    ]
    made.add(warc.written("conversion", fields, response.content))
    return b"".join(made.parts)


def _add(one: Loaded, page: Response, made: _Members, answer_record: AnswerRecord) -> list[Any]:
    """Write an answer; what `about` says of it: its place, or what stands for one that is a file."""
    if one.file is not None:
        said = {"url": one.url, "status": one.status, "file": dict(one.file), "asked": one.asked.hex()}
        return [None, one.kind, one.method, said]
    mark = [(PART, "1"), *([_asked(one.asked)] if one.asked else [])]
    answer = Response(one.url, one.status, one.headers, one.content, page.fetched_at)
    return [made.add(answer_record(answer, mark)), one.kind, one.method]


def _is_kept(one: Loaded) -> bool:
    """Whether what a page got is kept with it: not what another page has, but all that its spider sees."""
    is_here = not one.is_cached or one.kind == "fetch"
    return bool(one.status) and is_here and "noarchive" not in one.headers.get("x-robots-tag", "")


def _asked(key: bytes) -> warc.Line:
    return _ASKED, key.hex()


def asked_in(fields: Mapping[str, str]) -> bytes:
    """The key of the request behind a part, by its WARC fields; empty where it is not said."""
    try:
        return bytes.fromhex(fields.get(_ASKED.lower(), ""))
    except ValueError:
        return b""


def _is_cookie(line: warc.Line) -> bool:
    return line[0].lower() in ("set-cookie", "set-cookie2")


def read(
    record: warc.Record, descriptor: int, offset: int, read_part: ReadPart, response_of: ResponseOf
) -> Response | None:
    """The rendered page whose conversion is at an offset; None where what belongs to it is not there."""
    at = offset - _number(record.fields, _ABOUT)
    size = gzip_members.size_at(descriptor, at) if 0 <= at < offset else None
    text = gzip_members.unpacked(os.pread(descriptor, size, at), _MOST_ABOUT) if size else b""
    about = about_in(warc.parsed(text))
    start = offset - _number(record.fields, _SPAN)
    return page_of(record, about, lambda place: read_part(start + place), response_of) if about else None


def page_of(
    record: warc.Record, about: Mapping[str, Any], read_part: ReadPart, response_of: ResponseOf
) -> Response:
    """The rendered page of a conversion, of what is said about it, and of its parts by their places."""

    def part(name: str) -> warc.Record | None:
        return read_part(int(about[name])) if about.get(name) is not None else None

    source, picture = response_of(part("source")), part("screenshot")
    loads = tuple(_loads(about.get("loads", ()), read_part, response_of))
    headers = Headers((str(name), str(value)) for name, value in about.get("headers", ()))
    rendered = None
    if source is not None:
        screenshot = picture.block if picture is not None else b""
        rendered = Rendered(source.content, source.headers, loads, screenshot, response_of(part("plain")))
    return Response(
        record.url, int(about.get("status", 200)), headers, record.block, record.moment, rendered=rendered
    )


def _loads(told: Iterable[Any], read_part: ReadPart, response_of: ResponseOf) -> Iterable[Loaded]:
    for place, kind, method, *more in told:
        said = more[0] if more else {}
        if place is None:
            asked = bytes.fromhex(str(said.get("asked", "")))
            status, file = int(said.get("status", 200)), said.get("file")
            yield Loaded(str(said.get("url", "")), str(kind), str(method), status, file=file, asked=asked)
            continue
        record = read_part(int(place))
        answer = response_of(record)
        if record is not None and answer is not None:
            asked = asked_in(record.fields)
            yield Loaded(answer.url, kind, method, answer.status, answer.headers, answer.content, asked=asked)


def gathered(record: warc.Record, parts: Sequence[warc.Record], response_of: ResponseOf) -> Response | None:
    """The rendered page of a conversion, of the records that stood before it; None where they are others."""
    about = about_in(parts[-1]) if parts else None
    if about is None:
        return None
    places = sorted({int(place) for place in _places(about)})
    by_place = dict(zip(places, parts, strict=False))
    return page_of(record, about, by_place.get, response_of) if len(places) == len(parts) - 1 else None


def _places(about: Mapping[str, Any]) -> Iterable[Any]:
    alone = (about.get(name) for name in ("source", "plain", "screenshot"))
    return (place for place in (*alone, *(one[0] for one in about.get("loads", ()))) if place is not None)


def is_part(fields: Mapping[str, str]) -> bool:
    """Whether a record belongs to a rendered page, by its WARC fields."""
    return PART.lower() in fields


def about_in(record: warc.Record | None) -> dict[str, Any] | None:
    """What a metadata record of ours says about a page; None for other records."""
    try:
        about = json.loads(record.block) if record is not None and record.kind == "metadata" else None
    except ValueError:
        return None
    return about if isinstance(about, dict) and {"source", "loads"} <= about.keys() else None


def span(fields: Mapping[str, str]) -> int:
    """How many bytes before a record belong to it."""
    return _number(fields, _SPAN) if fields.get("warc-type") == "conversion" else 0


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name.lower(), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0
