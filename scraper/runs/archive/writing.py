"""Writing an archive: one file for each process."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from scraper.model import Entry, Response, Unchanged, Visit
from scraper.ops.clock import SystemClock
from scraper.ops.disk import PRIVATE, explained, open_regular
from scraper.runs.archive import gzip_members, rendered_pages, warc
from scraper.runs.archive.answers import ANSWER, IDENTITY, answer_record, is_kept, method_of, phrase
from scraper.runs.events import Event, Visited

_SAME = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
_NOT_MODIFIED = "http://netpreserve.org/warc/1.1/revisit/server-not-modified"


class Copies(Protocol):
    """Where the copy of a page stands that did not change since."""

    def fields(self, fp: bytes) -> Mapping[str, str]:
        """The WARC fields of the last response to a request; empty where there is none."""
        ...


class Archive:
    """Writes every response that a visit brings along to one file, which belongs to this process alone.

    `before`: the archives of earlier runs, where the copy of a page stands that did not change.
    """

    def __init__(
        self,
        folder: Path,
        worker: int | str | None = None,
        before: Copies | None = None,
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
        method = method_of(entry)
        identity = IDENTITY, (archived_as or entry.fp).hex()
        if response.rendered is not None:
            return self.put(rendered_pages.members(response, identity, answer_record))
        record = answer_record(response, [identity])
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
            ANSWER,
        ]
        lines = [line for line in response.headers.items_all() if is_kept(line)]
        head = warc.answer_head(response.status, phrase(response.status), lines)
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
    before: Copies | None = None,
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
