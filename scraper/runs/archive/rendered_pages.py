"""A rendered page in an archive: what was sent, what its scripts asked for, and the document that came of it.

One run of members: a `response` for the document as it was sent and for each request of the page, a
`metadata` record that says which is which, and the document as a `conversion` (ISO 28500 6.8), which alone
stands for the request. A copy of the page takes the whole run of them, see `span`.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scraper.model import Headers, Loaded, Rendered, Response
from scraper.runs.archive import gzip_members, warc

PART = "Scraper-Part-Of-Page"
"""Marks an answer that belongs to a rendered page."""
_ABOUT, _SPAN = "Scraper-About", "Scraper-Span"
_MOST_ABOUT = 4 * 2**20

AnswerRecord = Callable[[Response, list[warc.Line]], bytes]
ReadAnswer = Callable[[int], Response | None]


def members(response: Response, identity: warc.Line, answer_record: AnswerRecord) -> bytes:
    """The members of a rendered page. `answer_record` writes an answer with more WARC fields."""
    rendered = response.rendered
    assert rendered is not None
    parts: list[bytes] = []
    places: list[int] = []

    def add(record: bytes) -> None:
        places.append(sum(map(len, parts)))
        parts.append(gzip_members.packed(record))

    mark = [(PART, "1")]
    source = Response(response.url, response.status, rendered.headers, rendered.source, response.fetched_at)
    written = answer_record(source, mark)
    add(written)
    loads = [one for one in rendered.loads if one.status]
    kept = [
        one for one in loads if not one.is_cached and "noarchive" not in one.headers.get("x-robots-tag", "")
    ]
    for one in kept:
        add(answer_record(Response(one.url, one.status, one.headers, one.content, response.fetched_at), mark))
    about = {
        "status": response.status,
        "headers": [line for line in response.headers.items_all() if not _is_cookie(line)],
        "source": places[0],
        "loads": [[place, one.kind, one.method] for place, one in zip(places[1:], kept, strict=True)],
    }
    date = ("WARC-Date", warc.date(response.fetched_at))
    target = ("WARC-Target-URI", response.url)
    kind = ("Content-Type", "application/json")
    add(warc.written("metadata", [target, date, kind], json.dumps(about).encode()))
    start = sum(map(len, parts))
    fields = [
        target,
        date,
        identity,
        ("WARC-Refers-To", warc.head_of(written).get("warc-record-id", "")),
        (_ABOUT, str(start - places[-1])),
        (_SPAN, str(start)),
        ("WARC-Payload-Digest", warc.digest(response.content)),
        ("Content-Type", "text/html; charset=utf-8"),
    ]
    add(warc.written("conversion", fields, response.content))
    return b"".join(parts)


def _is_cookie(line: warc.Line) -> bool:
    return line[0].lower() in ("set-cookie", "set-cookie2")


def read(record: warc.Record, descriptor: int, offset: int, read_answer: ReadAnswer) -> Response | None:
    """The rendered page whose conversion is at an offset; None where what belongs to it is not there."""
    about = _about(record, descriptor, offset)
    if about is None:
        return None
    start = offset - _number(record.fields, _SPAN)
    source = read_answer(start + int(about.get("source", 0)))
    loads = tuple(_loads(about.get("loads", ()), start, read_answer))
    headers = Headers((str(name), str(value)) for name, value in about.get("headers", ()))
    rendered = Rendered(source.content, source.headers, loads) if source is not None else None
    return Response(
        record.url, int(about.get("status", 200)), headers, record.block, record.moment, rendered=rendered
    )


def _loads(told: Iterable[Any], start: int, read_answer: ReadAnswer) -> Iterable[Loaded]:
    for place, kind, method in told:
        answer = read_answer(start + int(place))
        if answer is not None:
            yield Loaded(answer.url, str(kind), str(method), answer.status, answer.headers, answer.content)


def _about(record: warc.Record, descriptor: int, offset: int) -> dict[str, Any] | None:
    at = offset - _number(record.fields, _ABOUT)
    size = gzip_members.size_at(descriptor, at) if 0 <= at < offset else None
    text = gzip_members.unpacked(os.pread(descriptor, size, at), _MOST_ABOUT) if size else b""
    found = warc.parsed(text)
    try:
        about = json.loads(found.block) if found is not None and found.kind == "metadata" else None
    except ValueError:
        return None
    return about if isinstance(about, dict) else None


def span(fields: Mapping[str, str]) -> int:
    """How many bytes before a record belong to it."""
    return _number(fields, _SPAN) if fields.get("warc-type") == "conversion" else 0


def _number(fields: Mapping[str, str], name: str) -> int:
    text = fields.get(name.lower(), "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 15 else 0
