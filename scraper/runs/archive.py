"""Pages as they were fetched, kept in WARC files (ISO 28500) beside a run's records, and found again.

One gzip member a record, written by a single call: a process that is killed leaves at most one torn member,
at the end of a file that only it wrote; it is cut off at the next open.

Not kept: requests (they hold cookies and passwords; of one that is no GET its method and URL are kept),
Set-Cookie, and pages whose site says noarchive. Bodies are kept decoded, so the fields that tell of codings
and lengths stand under names of ours, and are given their own back when a page is read. A page that did not
change leaves a revisit record, so that the files of one run are a whole picture for other tools.
"""

import fcntl
import heapq
import io
import json
import os
import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from scraper.errors import UsageError
from scraper.model import Entry, Headers, Response, Unchanged, Visit
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.ops.disk import PRIVATE, explained, open_regular
from scraper.ops.patterns import pattern
from scraper.runs import gzip_members, rendered_pages, warc
from scraper.runs.events import Event, Visited
from scraper.urls import canonical, fingerprint

IDENTITY = "Scraper-Fingerprint"
MAX_BODY = 32 * 2**20
_HEADS = 2**20  # bytes of a record beside its body, at most
_COOKIES = frozenset({"set-cookie", "set-cookie2"})
_CODINGS = frozenset({"content-encoding", "transfer-encoding", "content-length", "trailer"})
_ORIGINAL = "Scraper-Original-"
_SAME = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_NOT_MODIFIED = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"
_ANSWER = ("Content-Type", "application/http; msgtype=response")
CARRIED = 0  # in place of a worker's number: what older archives had

_NAME = pattern(r"[!-9;-~\xa0-\xff](?:[ -9;-~\xa0-\xff]*[!-9;-~\xa0-\xff])?")  # no colon, no blank at an end
_PLACES = 40  # bits of an offset: files up to 1 TiB
_OFFSET = (1 << _PLACES) - 1


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
class Place:
    """Where a record begins, and how many bytes it may have once unpacked."""

    file: Path
    offset: int
    most: int


# writing ----------------------------------------------------------------------------------------------------
class Archive:
    """Writes every response that a visit brings along to one file, which belongs to this process alone.

    `before`: the archives of earlier runs, where the copy of a page stands that did not change.
    """

    def __init__(
        self,
        folder: Path,
        worker: int | str | None = None,
        before: "Archives | None" = None,
        mode: int = PRIVATE,
    ) -> None:
        self.path = folder / ("pages.warc.gz" if worker is None else f"pages-{worker}.warc.gz")
        self._before = before
        self._mode = mode
        self._descriptor = -1
        self._size = 0

    def open(self) -> None:
        """Open the file; what a crash tore is cut off first."""
        with explained(self.path):
            self._descriptor = open_regular(self.path, os.O_RDWR | os.O_APPEND, self._mode)
            with suppress(OSError):  # so that nobody takes it away under us; not every file system has locks
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._size = gzip_members.whole(self._descriptor, self.path)
            os.ftruncate(self._descriptor, self._size)
        if not self._size:
            about = b"software: scraper\r\nformat: WARC File Format 1.1\r\n"
            kind = ("Content-Type", "application/warc-fields")
            now = ("WARC-Date", warc.date(SystemClock(0.0).wall()))
            self._append(warc.written("warcinfo", [now, ("WARC-Filename", self.path.name), kind], about))

    def __call__(self, event: Event) -> None:
        if isinstance(event, Visited) and event.visit.response is not None:
            self.keep(event.visit, event.visit.response)

    def keep(self, visit: Visit, response: Response) -> None:
        """Append what a visit brought; of one that did not change only that, if its copy is kept."""
        fp = visit.archived_as or visit.entry.fp
        is_same = isinstance(visit.outcome, Unchanged)
        before = self._before.fields(fp) if is_same and self._before is not None else {}
        if before:
            self._add_revisit(fp, response, before)
        elif response.status != 304:
            self.add(visit.entry, response, fp)

    def add(self, entry: Entry, response: Response, archived_as: bytes = b"") -> None:
        """Append one response, under the fingerprint of its request or another."""
        method = _method_of(entry)
        identity = IDENTITY, (archived_as or entry.fp).hex()
        if response.rendered is not None:
            return self.put(rendered_pages.members(response, identity, _answer_record))
        record = _answer_record(response, [identity])
        self._append(record)
        if method != "GET":
            self._add_request(method, response, warc.head_of(record).get("warc-record-id", ""))

    def _add_request(self, method: str, response: Response, answer: str) -> None:
        """What other tools need to tell the answer to a form from the page of its URL."""
        _, _, rest = response.url.partition("://")
        host, slash, path = rest.partition("/")
        fields = [
            ("WARC-Target-URI", response.url),
            ("WARC-Date", warc.date(response.fetched_at)),
            ("WARC-Concurrent-To", answer),
            ("WARC-Truncated", "unspecified"),
            ("Content-Type", "application/http; msgtype=request"),
        ]
        block = f"{method} {slash or '/'}{path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("utf-8", "replace")
        self._append(warc.written("request", fields, block))

    def _add_revisit(self, fp: bytes, response: Response, before: Mapping[str, str]) -> None:
        fields = [
            ("WARC-Target-URI", response.url),
            ("WARC-Date", warc.date(response.fetched_at)),
            (IDENTITY, fp.hex()),
            ("WARC-Profile", _NOT_MODIFIED if response.status == 304 else _SAME),
            ("WARC-Refers-To", before.get("warc-record-id", "")),
            ("WARC-Refers-To-Target-URI", before.get("warc-target-uri", "")),
            ("WARC-Refers-To-Date", before.get("warc-date", "")),
            ("WARC-Payload-Digest", before.get("warc-payload-digest", "")),
            _ANSWER,
        ]
        lines = [line for line in response.headers.items_all() if _is_kept(line)]
        head = warc.answer_head(response.status, _phrase(response.status), lines)
        self._append(warc.written("revisit", [line for line in fields if line[1]], head))

    def close(self) -> None:
        """Put the file safely on the disk. Safe to repeat."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with explained(self.path):
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def _append(self, record: bytes) -> None:
        self.put(gzip_members.packed(record))

    def put(self, member: bytes) -> None:
        """Append a member as it is, whole or not at all."""
        with explained(self.path):
            try:
                done = 0
                while done < len(member):
                    done += os.write(self._descriptor, member[done:] if done else member)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._descriptor, self._size)
                raise
        self._size += len(member)


@contextmanager
def writing(
    folder: Path,
    is_wanted: bool,
    worker: int | str | None = None,
    before: "Archives | None" = None,
    mode: int = PRIVATE,
) -> Iterator[tuple[Archive, ...]]:
    """An open archive in a run's folder, closed at the end; none where it is not wanted. `mode`: its own."""
    if not is_wanted:
        yield ()
        return
    archive = Archive(folder, worker, before, mode)
    try:
        archive.open()
        yield (archive,)
    finally:
        archive.close()


def _answer_record(response: Response, more: list[warc.Line]) -> bytes:
    """An answer as a record, with `more` fields."""
    fields = [
        ("WARC-Target-URI", response.url),
        ("WARC-Date", warc.date(response.fetched_at)),
        *more,
        ("WARC-Payload-Digest", warc.digest(response.content)),
        _ANSWER,
    ]
    head = warc.answer_head(response.status, _phrase(response.status), _kept(response))
    return warc.written("response", fields, head + response.content)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def _method_of(entry: Entry) -> str:
    return str(json.loads(entry.request).get("method", "GET")) if entry.request else "GET"


def _is_kept(line: warc.Line) -> bool:
    """Whether a field can stand in one line, and may stand in a file."""
    return line[0].lower() not in _COOKIES and _NAME.fullmatch(line[0]) is not None


def _kept(response: Response) -> Iterator[warc.Line]:
    """The header fields that stand in the archive; the length is that of the body as it is kept."""
    for name, value in filter(_is_kept, response.headers.items_all()):
        yield f"{_ORIGINAL}{name}" if name.lower() in _CODINGS else name, value
    yield "Content-Length", str(len(response.content))


def _seen(lines: Sequence[warc.Line]) -> Iterator[warc.Line]:
    """The header fields as the spider saw them."""
    for name, value in lines:
        if name.startswith(_ORIGINAL):
            yield name.removeprefix(_ORIGINAL), value
        elif name.lower() not in _CODINGS:
            yield name, value


class Answers(Protocol):
    """What answers requests where there is no network."""

    def find(self, entry: Entry) -> Place | ArchivedPage | None:
        """Where the answer to a request is, or the answer itself; None where there is none."""
        ...

    def note(self, damage: Damage) -> None:
        """Note a record that could not be read."""
        ...

    def notes(self) -> Iterable[str]:
        """What could not be read so far."""
        ...

    def close(self) -> None:
        """Let go of the files."""
        ...


# reading ----------------------------------------------------------------------------------------------------
def pages(folder: Path, max_body: int = MAX_BODY) -> Iterator[ArchivedPage]:
    """Every response archived in a run's folder, in the order in which each process wrote its own."""
    for file in _files(folder):
        with _opened(file) as descriptor:
            for offset, size in gzip_members.listed(descriptor.fileno(), file):
                page = _read(descriptor.fileno(), offset, size, max_body + _HEADS)
                if page is not None:
                    yield page


class Archives:
    """The archives of several runs (folders, oldest first) as one: the last response of a request counts.

    The folders may be a function, which is called at first use: to ask for them may take long.

    The index is made at first use and costs 16 bytes a response. Threads may share one object. `max_body`:
    bytes, once unpacked. `damaged`: the records that could not be read so far; each is passed over.
    """

    def __init__(
        self, folders: Sequence[Path] | Callable[[], Sequence[Path]], max_body: int = MAX_BODY
    ) -> None:
        self.damaged: list[Damage] = []
        self._most = max_body + _HEADS
        self._folders = folders
        self._files: list[io.FileIO] = []
        self._keys: array[int] | None = None
        self._places: array[int] = array("Q")
        self._lock = threading.Lock()

    def find(self, url: str) -> ArchivedPage | None:
        """The last response to a GET of a URL."""
        identity = canonical(url)
        return self.get(fingerprint("GET", identity)) if identity else None

    def get(self, fp: bytes) -> ArchivedPage | None:
        """The last response to a request, by its fingerprint."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return None
        page = self._page(self._places[at])
        return page if page is not None and page.fp == fp else None

    def place(self, fp: bytes) -> Place | None:
        """Where the last response to a request is, for whoever reads it elsewhere."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        return self._place(self._places[at]) if at < len(keys) and keys[at] == key else None

    def places(self) -> Iterator[Place]:
        """Where the last response of every request is, oldest first."""
        self._index()
        return map(self._place, sorted(self._places))

    def note(self, damage: Damage) -> None:
        """Note a record that could not be read; once."""
        if damage not in self.damaged:
            self.damaged.append(damage)

    def has(self, fp: bytes) -> bool:
        """Whether a response to a request is here; what was archived since the first use does not count."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        return at < len(keys) and keys[at] == key

    def fields(self, fp: bytes) -> Mapping[str, str]:
        """The WARC fields of the last response to a request; empty where there is none."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        if at == len(keys) or keys[at] != key:
            return {}
        place = self._places[at]
        found = gzip_members.head(self._files[place >> _PLACES].fileno(), place & _OFFSET)
        return found if _fp_of(found) == fp else {}

    def check(self) -> None:
        """Raise UsageError where a file cannot be read at all."""
        for folder in self._found():
            for file in _files(folder):
                _opened(file).close()

    def pages(self) -> Iterator[ArchivedPage]:
        """The last response of every request, oldest first."""
        self._index()
        for place in sorted(self._places):
            page = self._page(place)
            if page is not None:
                yield page

    def carry(
        self, old: Collection[Path], to: Path, is_needed: Callable[[bytes], bool], mode: int = PRIVATE
    ) -> int:
        """Copy what only `old` folders have, as far as it is needed still, to a newer one; how many."""
        self._index()
        count = 0
        with writing(to, True, CARRIED, mode=mode) as (target,):
            for place in sorted(self._places):
                file, offset = self._files[place >> _PLACES], place & _OFFSET
                head = gzip_members.head(file.fileno(), offset)
                if Path(str(file.name)).parent not in old or not is_needed(_fp_of(head)):
                    continue
                before = min(offset, rendered_pages.span(head))
                size = gzip_members.size_at(file.fileno(), offset) or 0
                target.put(os.pread(file.fileno(), before + size, offset - before))
                count += 1
        return count

    def notes(self) -> list[str]:
        """What could not be read so far, a sentence for each file."""
        return [f"{file}: {reason}" for file, reason in self.told_damage()]

    def told_damage(self) -> list[tuple[str, str]]:
        """Of each damaged file what could not be read."""
        files = dict.fromkeys(damage.file for damage in self.damaged)
        places = {file: [one.offset for one in self.damaged if one.file == file] for file in files}
        return [
            (str(file), f"{len(at)} records cannot be read, the first at byte {min(at)}: passed over")
            for file, at in places.items()
        ]

    def __len__(self) -> int:
        return len(self._index())

    def close(self) -> None:
        """Let go of the files. Safe to repeat."""
        for file in self._files:
            file.close()
        self._files.clear()
        self._keys = None

    def _found(self) -> Sequence[Path]:
        return self._folders() if callable(self._folders) else self._folders

    def _place(self, place: int) -> Place:
        file = self._files[place >> _PLACES]
        return Place(Path(str(file.name)), place & _OFFSET, self._most)

    def _page(self, place: int) -> ArchivedPage | None:
        file, offset = self._files[place >> _PLACES], place & _OFFSET
        page = _read(file.fileno(), offset, gzip_members.size_at(file.fileno(), offset) or 0, self._most)
        if page is None:
            self.note(Damage(Path(str(file.name)), offset))
        return page

    def _index(self) -> "array[int]":
        with self._lock:
            if self._keys is None:
                self._keys, self._places = self._gathered()
            return self._keys

    def _gathered(self) -> "tuple[array[int], array[int]]":
        keys, places = array("Q"), array("Q")
        for folder in self._found():
            # A domain may go from one process to another within a run, so its files are one by date.
            for _, key, place in heapq.merge(*map(self._heads, _files(folder))):
                keys.append(key)
                places.append(place)
        order = sorted(range(len(keys)), key=keys.__getitem__)  # stable: the last of equals is the newest
        last = [at for n, at in enumerate(order) if n + 1 == len(order) or keys[order[n + 1]] != keys[at]]
        return array("Q", map(keys.__getitem__, last)), array("Q", map(places.__getitem__, last))

    def _heads(self, file: Path) -> Iterator[tuple[str, int, int]]:
        """Date, key and place of each response in a file."""
        opened = _opened(file)
        self._files.append(opened)
        number = len(self._files) - 1 << _PLACES
        damaged: list[int] = []
        for offset, _ in gzip_members.listed(opened.fileno(), file, damaged):
            while damaged:
                self.note(Damage(file, damaged.pop(0)))
            fields = gzip_members.head(opened.fileno(), offset)
            if not fields:
                self.note(Damage(file, offset))
            if fp := _fp_of(fields):
                yield fields.get("warc-date", ""), _key(fp), number | offset
        for offset in damaged:
            self.note(Damage(file, offset))  # torn at its end: by a kill, or later


class Reader:
    """Reads records by their places; keeps the files open that it has met."""

    def __init__(self) -> None:
        self._files: dict[Path, io.FileIO] = {}

    def read(self, place: Place) -> ArchivedPage | Damage:
        """The response at a place."""
        file = self._files.get(place.file)
        if file is None:
            file = self._files[place.file] = _opened(place.file)
        size = gzip_members.size_at(file.fileno(), place.offset) or 0
        page = _read(file.fileno(), place.offset, size, place.most)
        return page if page is not None else Damage(place.file, place.offset)


def run_folders(home: Path, runs: str = "runs/*") -> list[Path]:
    """The folders of a spider's runs that hold an archive, oldest first."""
    return oldest_first({file.parent for file in home.glob(f"{runs}/pages*.warc.gz")})


def oldest_first(folders: Collection[Path]) -> list[Path]:
    """Folders of runs by age: a run's id ends with its number."""
    return sorted(folders, key=lambda folder: int("0" + re.sub(r".*?(\d*)$", r"\1", folder.name)))


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("pages*.warc.gz"))


def _opened(file: Path) -> io.FileIO:
    try:
        return io.FileIO(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _key(fp: bytes) -> int:
    return int.from_bytes(fp[:8], "big")


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def _fp_of(fields: Mapping[str, str]) -> bytes:
    """The fingerprint of the request behind a response; empty for other records."""
    is_answer = fields.get("warc-type") in ("response", "conversion")
    return _hex(fields.get(IDENTITY.lower(), "")) if is_answer else b""


def _read(descriptor: int, offset: int, size: int, most: int) -> ArchivedPage | None:
    """The response at an offset; None for other records and for damaged ones."""
    record = _record(descriptor, offset, size, most)
    if record is not None and record.kind == "conversion":
        response = rendered_pages.read(record, descriptor, offset, lambda at: _part(descriptor, at, most))
    else:
        response = _response(record)
    if record is None or response is None or rendered_pages.PART.lower() in record.fields:
        return None
    return ArchivedPage(record.url, _hex(record.fields.get(IDENTITY.lower(), "")), response)


def _part(descriptor: int, offset: int, most: int) -> Response | None:
    """An answer that belongs to a rendered page."""
    size = gzip_members.size_at(descriptor, offset) if offset >= 0 else None
    return _response(_record(descriptor, offset, size, most)) if size else None


def _record(descriptor: int, offset: int, size: int, most: int) -> warc.Record | None:
    content = gzip_members.unpacked(os.pread(descriptor, min(size, most), offset), most) if size else b""
    return warc.parsed(content)


def _response(record: warc.Record | None) -> Response | None:
    message = warc.message_of(record.block) if record is not None and record.kind == "response" else None
    if record is None or message is None or not message.status:
        return None
    is_ours = {IDENTITY.lower(), rendered_pages.PART.lower()} & record.fields.keys()
    lines = _seen(message.lines) if is_ours else message.lines
    return Response(record.url, message.status, Headers(lines), message.body, record.moment)
