"""Pages as they were fetched, kept in WARC files (ISO 28500) beside a run's records, and found again.

One gzip member a record, written by a single call: a process that is killed leaves at most one torn member,
at the end of a file that only it wrote; it is cut off at the next open.

Not kept: requests (they hold cookies and passwords), Set-Cookie, and pages whose site says noarchive. Bodies
are kept decoded, so Content-Encoding and Transfer-Encoding are left out as well.
"""

import datetime
import heapq
import io
import os
import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from scraper.errors import UsageError
from scraper.model import Entry, Headers, Response
from scraper.ops.disk import explained
from scraper.runs import gzip_members
from scraper.runs.events import Event, Visited
from scraper.urls import canonical, fingerprint

IDENTITY = "Scraper-Fingerprint"
DROPPED = frozenset(
    {"set-cookie", "set-cookie2", "content-encoding", "transfer-encoding", "content-length", "trailer"}
)
CARRIED = 0  # in place of a worker's number: what older archives had

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRINTABLE = "".join(map(chr, range(32, 127)))
_PLACES = 40  # bits of an offset: files up to 1 TiB
_OFFSET = (1 << _PLACES) - 1


@dataclass(frozen=True, slots=True)
class ArchivedPage:
    """A response as it was fetched. `fp`: its request's fingerprint; empty in files of other programs."""

    url: str
    fp: bytes
    response: Response


def warcio() -> Any:
    """The library that writes and reads records; UsageError where it is not installed."""
    try:
        # Imported here: an extra, which only those need who archive.
        import warcio.archiveiterator
        import warcio.statusandheaders
        import warcio.warcwriter
    except ImportError:
        raise UsageError("the archive needs the package warcio", "pip install 'scraper[archive]'") from None
    return warcio


# writing ----------------------------------------------------------------------------------------------------
class Archive:
    """Writes every response that a visit brings along to one file, which belongs to this process alone."""

    def __init__(self, folder: Path, worker: int | None = None) -> None:
        self.path = folder / ("pages.warc.gz" if worker is None else f"pages-{worker}.warc.gz")
        self._warcio = warcio()
        self._descriptor = -1
        self._size = 0

    def open(self) -> None:
        """Open the file; what a crash tore is cut off first."""
        with explained(self.path):
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            self._size = gzip_members.whole(self._descriptor, self.path)
            os.ftruncate(self._descriptor, self._size)
        if not self._size:
            about = {"software": "scraper", "format": "WARC File Format 1.1"}
            self._append(self._writer().create_warcinfo_record(self.path.name, about))

    def __call__(self, event: Event) -> None:
        if isinstance(event, Visited) and event.visit.response is not None:
            self.add(event.visit.entry, event.visit.response, event.visit.archived_as)

    def add(self, entry: Entry, response: Response, archived_as: bytes = b"") -> None:
        """Append one response, under the fingerprint of its request or another."""
        moment = datetime.datetime.fromtimestamp(response.fetched_at, datetime.UTC)
        fields = {
            "WARC-Date": moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            IDENTITY: (archived_as or entry.fp).hex(),
        }
        head = self._warcio.statusandheaders.StatusAndHeaders(
            _status_line(response.status), list(_kept(response)), protocol="HTTP/1.1"
        )
        record = self._writer().create_warc_record(
            response.url,
            "response",
            payload=io.BytesIO(response.content),
            length=len(response.content),
            http_headers=head,
            warc_headers_dict=fields,
        )
        self._append(record)

    def close(self) -> None:
        """Put the file safely on the disk. Safe to repeat."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with explained(self.path):
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def _writer(self) -> Any:
        # Packed by ourselves: warcio would spend the highest level on it, and write in pieces.
        return self._warcio.warcwriter.BufferWARCWriter(gzip=False, warc_version="1.1")

    def _append(self, record: Any) -> None:
        writer = self._writer()
        writer.write_record(record)
        self.put(gzip_members.packed(writer.get_contents()))

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
def writing(folder: Path, is_wanted: bool, worker: int | None = None) -> Iterator[tuple[Archive, ...]]:
    """An open archive in a run's folder, closed at the end; none where it is not wanted."""
    if not is_wanted:
        yield ()
        return
    archive = Archive(folder, worker)
    try:
        archive.open()
        yield (archive,)
    finally:
        archive.close()


def _status_line(status: int) -> str:
    known = status in HTTPStatus._value2member_map_
    return f"{status} {HTTPStatus(status).phrase}" if known else f"{status} Unknown"


def _kept(response: Response) -> Iterator[tuple[str, str]]:
    """The header fields that stand in the archive, each in one line of ASCII."""
    for name, value in response.headers.items_all():
        if name.lower() not in DROPPED and _TOKEN.fullmatch(name):
            line = " ".join(value.split())
            yield name, quote(line.encode("latin-1", "replace"), safe=_PRINTABLE)
    yield "Content-Length", str(len(response.content))


# reading ----------------------------------------------------------------------------------------------------
def pages(folder: Path) -> Iterator[ArchivedPage]:
    """Every response archived in a run's folder, in the order in which each process wrote its own."""
    for file in _files(folder):
        with _opened(file) as descriptor:
            for offset, size in gzip_members.listed(descriptor.fileno(), file):
                page = _read(descriptor.fileno(), offset, size)
                if page is not None:
                    yield page


class Archives:
    """The archives of several runs (folders, oldest first) as one: the last response of a request counts.

    The index is made at first use and costs 16 bytes a response. Threads may share one object.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
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

    def has(self, fp: bytes) -> bool:
        """Whether a response to a request is here; what was archived since the first use does not count."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        return at < len(keys) and keys[at] == key

    def pages(self) -> Iterator[ArchivedPage]:
        """The last response of every request, oldest first."""
        self._index()
        for place in sorted(self._places):
            page = self._page(place)
            if page is not None:
                yield page

    def carry(self, old: Collection[Path], to: Path, is_needed: Callable[[bytes], bool]) -> int:
        """Copy what only `old` folders have, as far as it is needed still, to a newer one; how many."""
        self._index()
        count = 0
        with writing(to, True, CARRIED) as (target,):
            for place in sorted(self._places):
                file, offset = self._files[place >> _PLACES], place & _OFFSET
                if Path(str(file.name)).parent not in old or not is_needed(
                    _fp_of(gzip_members.head(file.fileno(), offset))
                ):
                    continue
                target.put(os.pread(file.fileno(), gzip_members.size_at(file.fileno(), offset) or 0, offset))
                count += 1
        return count

    def __len__(self) -> int:
        return len(self._index())

    def close(self) -> None:
        """Let go of the files. Safe to repeat."""
        for file in self._files:
            file.close()
        self._files.clear()
        self._keys = None

    def _page(self, place: int) -> ArchivedPage | None:
        file = self._files[place >> _PLACES].fileno()
        offset = place & _OFFSET
        return _read(file, offset, gzip_members.size_at(file, offset) or 0)

    def _index(self) -> "array[int]":
        with self._lock:
            if self._keys is None:
                self._keys, self._places = self._gathered()
            return self._keys

    def _gathered(self) -> "tuple[array[int], array[int]]":
        keys, places = array("Q"), array("Q")
        for folder in self._folders:
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
        for offset, _ in gzip_members.listed(opened.fileno(), file):
            fields = gzip_members.head(opened.fileno(), offset)
            if fp := _fp_of(fields):
                yield fields.get("warc-date", ""), _key(fp), number | offset


def run_folders(home: Path) -> list[Path]:
    """The folders of a spider's runs that hold an archive, oldest first (a run's id ends with its number)."""
    found = {file.parent for file in home.glob("runs/*/pages*.warc.gz")}
    return sorted(found, key=lambda folder: int("0" + re.sub(r".*?(\d*)$", r"\1", folder.name)))


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
    return _hex(fields.get(IDENTITY.lower(), "")) if fields.get("warc-type") == "response" else b""


def _read(descriptor: int, offset: int, size: int) -> ArchivedPage | None:
    """The response at an offset; None for other records and for damaged ones."""
    content = gzip_members.unpacked(os.pread(descriptor, size, offset)) if size else b""
    record = (
        next(iter(warcio().archiveiterator.ArchiveIterator(io.BytesIO(content))), None) if content else None
    )
    if record is None or record.rec_type != "response":
        return None
    url = record.rec_headers.get_header("WARC-Target-URI") or ""
    moment = datetime.datetime.fromisoformat(record.rec_headers.get_header("WARC-Date"))
    response = Response(
        url,
        int(record.http_headers.get_statuscode()),
        Headers(record.http_headers.headers),
        record.content_stream().read(),
        moment.timestamp(),
    )
    return ArchivedPage(url, _hex(record.rec_headers.get_header(IDENTITY) or ""), response)
