"""WARC files of any tool as the web: their answers, each found by method, URL and body of its request."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from scraper.app.archived.reparse import last_offline
from scraper.app.options import Prepared
from scraper.app.running.start_run import run
from scraper.errors import UsageError
from scraper.http.request_body import body_of
from scraper.model import Entry, Headers, Response
from scraper.runs.archive import rendered_pages, warc, warc_bodies
from scraper.runs.archive.answers import ArchivedPage, Damage, response_of
from scraper.runs.archive.reading import Archives
from scraper.runs.archive.request_keys import request_key
from scraper.runs.archive.warc import Message, Record
from scraper.runs.archive.warc_files import Reading, records
from scraper.runs.archive.writing import Archive, writing
from scraper.runs.events import Listener
from scraper.spider.identity import archived_as, request_of
from scraper.store import Store
from scraper.urls import fingerprint

_HEADS = 2**20
_CODINGS = frozenset({"content-encoding", "transfer-encoding", "content-length"})
_ORIGINAL = "scraper-original-"
_IDENTITY = "scraper-fingerprint"


def replay(prepared: Prepared, store: Store, listeners: Sequence[Listener] = ()) -> dict[str, Any]:
    """Run a spider on `prepared.options.replay`, without a request; the summary."""
    last_offline(prepared, store)
    with TemporaryDirectory(prefix="scraper-replay-") as folder:
        answers = Replayed(prepared.options.replay, Path(folder), prepared.settings.max_body)
        return run(replace(prepared, answers=answers), store, listeners)


class _Asked(NamedTuple):
    """The request behind an answer, where it is no GET."""

    method: str
    body: bytes
    kind: str


_GET = _Asked("GET", b"", "")


@dataclass(slots=True)
class _Met:
    """A record that may answer a request. `place`: where its body is, once that is known."""

    url: str
    moment: float
    place: bytes = b""
    fp: bytes = b""
    spot: str = ""
    ids: tuple[str, ...] = ()
    refers_to: tuple[str, ...] = ()
    head: Message | None = None
    is_rendered: bool = False


@dataclass(slots=True)
class _Files:
    """What the files hold."""

    asked: dict[str, _Asked] = field(default_factory=dict)
    met: list[_Met] = field(default_factory=list)
    places: dict[str, bytes] = field(default_factory=dict)
    parts: list[Record] = field(default_factory=list)
    loads: dict[bytes, bytes] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)

    def leave_out(self, reason: str) -> None:
        """Count a record that is not replayed, or what is odd about one."""
        self.left_out[reason] = self.left_out.get(reason, 0) + 1


class Replayed:
    """The answers in WARC files. They are copied into `folder` first, one by one packed, to be found again.

    Of several answers to one request the last by date counts; a revisit stands for the record that it names,
    wherever in the files that is. UsageError where a file is no WARC or none has an answer.
    """

    def __init__(self, files: Sequence[Path], folder: Path, max_body: int) -> None:
        self._max_body = max_body
        self._found = _Files()
        with writing(folder, True) as (target,):
            for file in files:
                self._read(file, target)
        self._archives = Archives([folder], max_body)
        self._answers = self._matched()
        if not self._answers:
            told = "; ".join(
                (", ".join(map(str, files)) + ": there is no answer of a site in it", *self.notes())
            )
            raise UsageError(told)

    def __len__(self) -> int:
        return len(self._answers)

    def find(self, entry: Entry) -> ArchivedPage | None:
        """The answer to a request."""
        request = request_of(entry)
        body, headers = body_of(request)
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        exact, key = archived_as(entry), request_key(request.method, entry.url, body or b"", kind or "")
        found = self._answers.get(exact) or self._answers.get(key)
        if found is None and key in self._found.loads:
            found = self._found.loads[key], None
        page = self._archives.get(found[0]) if found else None
        if found is None or page is None:
            return None
        page = replace(page, fp=exact if exact in self._answers else key)
        response = page.response
        if response.rendered is None:
            # The record of another URL may hold the same bytes; a script may have led on to another one.
            response = replace(response, url=entry.url)
        if (head := found[1]) is not None:
            response = replace(response, status=head.status, headers=Headers(_lines(head)))
        return replace(page, response=response)

    def load(self, key: bytes) -> Response | None:
        """The answer to a single request, by its `request_key`."""
        place = self._found.loads.get(key) or self._answers.get(key, (b"", None))[0]
        page = self._archives.get(place) if place else None
        return page.response if page is not None else None

    def note(self, damage: Damage) -> None:
        """Note a record that could not be read."""
        self._archives.note(damage)

    def notes(self) -> Iterator[str]:
        """What was passed over."""
        for reason, count in self._found.left_out.items():
            yield f"{count:,} records: {reason}"
        for reading in self._found.readings:
            if reading.damaged:
                at = f"the first at byte {min(reading.damaged)}"
                yield f"{reading.file}: {len(reading.damaged)} records cannot be read, {at}: passed over"
            if reading.too_large:
                yield f"{reading.file}: {reading.too_large} records are larger than max_body: passed over"

    def close(self) -> None:
        """Let go of the files."""
        self._archives.close()

    # reading ------------------------------------------------------------------------------------------------
    def _read(self, file: Path, target: Archive) -> None:
        reading = Reading(file)
        self._found.readings.append(reading)
        self._found.parts = []
        for record in records(reading, self._max_body + _HEADS):
            if record.kind == "request":
                self._note_request(record)
            elif record.kind == "revisit":
                self._note_revisit(record)
            elif rendered_pages.is_part(record.fields) or rendered_pages.about_in(record) is not None:
                self._take_part(record, target)
            elif record.kind in ("response", "resource") or _is_rendered(record):
                self._take(record, target)

    def _note_request(self, record: Record) -> None:
        message = warc.message_of(record.block)
        if message is None or message.method in ("", "GET"):
            return
        asked = _Asked(message.method, message.body, message.get("content-type"))
        for name in (*_ids(record), _spot(record)):
            self._found.asked[name] = asked

    def _note_revisit(self, record: Record) -> None:
        fields = record.fields
        named = f"{fields.get('warc-refers-to-target-uri', '')} {fields.get('warc-refers-to-date', '')}"
        digest = fields.get("warc-payload-digest", "")
        refers = (fields.get("warc-refers-to", ""), named.strip("<> "), digest)
        head = warc.message_of(record.block)
        head = replace(head, body=b"") if head is not None and head.status not in (0, 304) else None
        met = _Met(record.url, record.moment, b"", b"", _spot(record), _ids(record), refers, head)
        self._found.met.append(met)

    def _take(self, record: Record, target: Archive) -> None:
        if not record.url.startswith(("http://", "https://")):
            return self._found.leave_out("no answer over HTTP")
        if record.fields.get("warc-truncated"):
            return self._found.leave_out("cut off by its tool")
        if "warc-segment-number" in record.fields:
            return self._found.leave_out("an answer in several records (segments)")
        message = _message(record)
        if message is None:
            return self._found.leave_out("no HTTP answer that can be read")
        if message.status == 304:
            return self._found.leave_out("status 304: the page that it confirms stands")
        forms, is_decoded = warc_bodies.decoded(message, self._max_body)
        if not is_decoded:
            return self._found.leave_out("a body that is damaged or larger than max_body")
        if not warc_bodies.has_digest(record.fields.get("warc-payload-digest", ""), forms):
            self._found.leave_out("a payload digest that is not that of its body (tools differ): replayed")
        return self._copy(record, message, forms[-1], target)

    def _take_part(self, record: Record, target: Archive) -> None:
        """Take what belongs to the rendered page that follows it; an answer among it also stands alone."""
        self._found.parts.append(record)
        response = response_of(record)
        if response is not None:
            place = fingerprint("PART", str(len(self._found.loads)), record.url.encode())
            target.add(Entry(0, "", place, record.url), response)
            asked = rendered_pages.asked_in(record.fields) or request_key("GET", record.url)
            self._found.loads[asked] = place

    def _copy(self, record: Record, message: Message, body: bytes, target: Archive) -> None:
        place = fingerprint("RECORD", str(len(self._found.met)))
        response = Response(record.url, message.status, Headers(_lines(message)), body, record.moment)
        if record.kind == "conversion":
            parts, self._found.parts = self._found.parts, []
            response = rendered_pages.gathered(record, parts, response_of) or response
        target.add(Entry(0, "", place, record.url), response)
        fp = bytes.fromhex(record.fields[_IDENTITY]) if _is_hex(record.fields.get(_IDENTITY, "")) else b""
        met = _Met(record.url, record.moment, place, fp, _spot(record), _ids(record))
        met.is_rendered = response.rendered is not None
        self._found.met.append(met)
        fields = record.fields
        named = f"{record.url} {fields.get('warc-date', '')}"
        for name in (fields.get("warc-record-id", ""), named, fields.get("warc-payload-digest", "")):
            if name:
                self._found.places[name] = place

    # matching -----------------------------------------------------------------------------------------------
    def _matched(self) -> dict[bytes, tuple[bytes, Message | None]]:
        """What answers each request: a body by its place, and the head of the revisit that names it."""
        answers: dict[bytes, tuple[bytes, Message | None]] = {}
        named = [next(filter(None, map(self._found.asked.get, met.ids)), None) for met in self._found.met]
        taken = {id(asked) for asked in named}
        pairs = sorted(zip(self._found.met, named, strict=True), key=lambda pair: pair[0].moment)
        for met, known in pairs:
            asked = known or self._found.asked.get(met.spot) or _GET
            if known is None and id(asked) in taken:
                asked = _GET  # it is another answer's
            key = request_key(asked.method, met.url, asked.body, asked.kind)
            place = met.place or next(filter(None, map(self._found.places.get, met.refers_to)), b"")
            if place:
                if not (met.is_rendered and met.fp):  # the document of its URL is another one
                    answers[key] = place, met.head
                if met.fp:
                    answers[met.fp] = place, met.head
            elif key not in answers:
                self._found.leave_out("a revisit of a record that is in none of the files")
        return answers


def _is_rendered(record: Record) -> bool:
    """Whether a conversion is the document of a page that we rendered; others are of many kinds."""
    return record.kind == "conversion" and _IDENTITY in record.fields


def _message(record: Record) -> Message | None:
    """The answer in a record; a resource, or the document of a rendered page, is one without a head."""
    if record.kind in ("resource", "conversion"):
        kind = record.fields.get("content-type", "")
        return Message((("Content-Type", kind),) if kind else (), record.block, status=200)
    message = warc.message_of(record.block)
    return message if message is not None and message.status else None


def _lines(message: Message) -> Iterable[tuple[str, str]]:
    for name, value in message.lines:
        if name.lower().startswith(_ORIGINAL):
            yield name[len(_ORIGINAL) :], value
        elif name.lower() not in _CODINGS:
            yield name, value


def _ids(record: Record) -> tuple[str, ...]:
    """The names by which request and answer know each other."""
    names = (record.fields.get("warc-record-id", ""), record.fields.get("warc-concurrent-to", ""))
    return tuple(filter(None, names))


def _spot(record: Record) -> str:
    """What stands for them where neither names the other."""
    return f"{record.url} {record.fields.get('warc-date', '')}"


def _is_hex(text: str) -> bool:
    return len(text) == 32 and all(char in "0123456789abcdef" for char in text)
