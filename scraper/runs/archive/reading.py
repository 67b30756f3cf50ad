"""Reading archives: those of several runs as one, a response by its request or its place."""

import heapq
import io
import os
import re
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scraper.errors import UsageError
from scraper.model import Entry, Response
from scraper.ops.disk import PRIVATE
from scraper.runs.archive import gzip_members, rendered_pages
from scraper.runs.archive.answers import ArchivedPage, Damage, RecordLocation, fp_of, is_known, read_page
from scraper.runs.archive.writing import writing
from scraper.urls import canonical, fingerprint

MAX_BODY = 32 * 2**20
CARRIED = 0  # in place of a worker's number: what older archives had
_HEADS = 2**20  # bytes of a record beside its body, at most
_PLACES = 40  # bits of an offset: files up to 1 TiB
_OFFSET = (1 << _PLACES) - 1


class Answers(Protocol):
    """What answers requests where there is no network."""

    def find(self, entry: Entry) -> RecordLocation | ArchivedPage | None:
        """Where the answer to a request is, or the answer itself; None where there is none."""
        ...

    def load(self, key: bytes) -> Response | None:
        """The answer to a single request, of whatever page, by its `request_key`."""
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


def pages(folder: Path, max_body: int = MAX_BODY) -> Iterator[ArchivedPage]:
    """Every response archived in a run's folder, in the order in which each process wrote its own."""
    for file in archive_files(folder):
        with opened(file) as descriptor:
            for offset, size in gzip_members.listed(descriptor.fileno(), file):
                page = read_page(descriptor.fileno(), offset, size, max_body + _HEADS)
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
        self.most = max_body + _HEADS
        self._folders = folders
        self._files: list[io.FileIO] = []
        self._paths: list[Path] = []
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

    def place(self, fp: bytes) -> RecordLocation | None:
        """Where the last response to a request is, for whoever reads it elsewhere."""
        keys, key = self._index(), _key(fp)
        at = bisect_left(keys, key)
        return self._place(self._places[at]) if at < len(keys) and keys[at] == key else None

    def places(self) -> Iterator[RecordLocation]:
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
        return found if fp_of(found) == fp else {}

    def check(self) -> None:
        """Raise UsageError where a file cannot be read at all."""
        for folder in self.folders():
            for file in archive_files(folder):
                opened(file).close()

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
                if Path(str(file.name)).parent not in old or not is_needed(fp_of(head)):
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
        self._paths.clear()
        self._keys = None

    def folders(self) -> Sequence[Path]:
        """The folders of the runs, oldest first."""
        return self._folders() if callable(self._folders) else self._folders

    def _place(self, place: int) -> RecordLocation:
        return RecordLocation(self._paths[place >> _PLACES], place & _OFFSET, self.most)

    def _page(self, place: int) -> ArchivedPage | None:
        file, offset = self._files[place >> _PLACES], place & _OFFSET
        page = read_page(file.fileno(), offset, gzip_members.size_at(file.fileno(), offset) or 0, self.most)
        if page is None:
            self.note(Damage(self._paths[place >> _PLACES], offset))
        return page

    def _index(self) -> "array[int]":
        with self._lock:
            if self._keys is None:
                self._keys, self._places = self._gathered()
            return self._keys

    def _gathered(self) -> "tuple[array[int], array[int]]":
        keys, places = array("Q"), array("Q")
        for folder in self.folders():
            # A domain may go from one process to another within a run, so its files are one by date.
            for _, key, place in heapq.merge(*map(self._heads, archive_files(folder))):
                keys.append(key)
                places.append(place)
        order = sorted(range(len(keys)), key=keys.__getitem__)  # stable: the last of equals is the newest
        last = [at for n, at in enumerate(order) if n + 1 == len(order) or keys[order[n + 1]] != keys[at]]
        return array("Q", map(keys.__getitem__, last)), array("Q", map(places.__getitem__, last))

    def _heads(self, file: Path) -> Iterator[tuple[str, int, int]]:
        """Date, key and place of each response in a file."""
        descriptor = opened(file)
        self._files.append(descriptor)
        self._paths.append(file)
        number = len(self._files) - 1 << _PLACES
        damaged: list[int] = []
        for offset, _ in gzip_members.listed(descriptor.fileno(), file, damaged):
            while damaged:
                self.note(Damage(file, damaged.pop(0)))
            fields = gzip_members.head(descriptor.fileno(), offset)
            if not is_known(fields):
                self.note(Damage(file, offset))
            if fp := fp_of(fields):
                yield fields.get("warc-date", ""), _key(fp), number | offset
        for offset in damaged:
            self.note(Damage(file, offset))  # torn at its end: by a kill, or later


class Reader:
    """Reads records by their places; keeps the files open that it has met."""

    def __init__(self) -> None:
        self._files: dict[Path, io.FileIO] = {}

    def is_rendered(self, place: RecordLocation, fp: bytes) -> bool:
        """Whether the document of a rendered page is at a place, and stands for a request."""
        fields = gzip_members.head(self._file(place).fileno(), place.offset)
        return fields.get("warc-type") == "conversion" and fp_of(fields) == fp

    def read(self, place: RecordLocation) -> ArchivedPage | Damage:
        """The response at a place."""
        file = self._file(place)
        size = gzip_members.size_at(file.fileno(), place.offset) or 0
        page = read_page(file.fileno(), place.offset, size, place.most)
        return page if page is not None else Damage(place.file, place.offset)

    def _file(self, place: RecordLocation) -> io.FileIO:
        file = self._files.get(place.file)
        if file is None:
            file = self._files[place.file] = opened(place.file)
        return file


def run_folders(home: Path, runs: str = "runs/*") -> list[Path]:
    """The folders of a spider's runs that hold an archive, oldest first."""
    return oldest_first({file.parent for file in home.glob(f"{runs}/pages*.warc.gz")})


def oldest_first(folders: Collection[Path]) -> list[Path]:
    """Folders of runs by age: a run's id ends with its number."""
    return sorted(folders, key=lambda folder: int("0" + re.sub(r".*?(\d*)$", r"\1", folder.name)))


def archive_files(folder: Path) -> list[Path]:
    """The files of a run's archive."""
    return sorted(folder.glob("pages*.warc.gz"))


def opened(file: Path) -> io.FileIO:
    """A file of an archive; UsageError where it cannot be read."""
    try:
        return io.FileIO(file)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _key(fp: bytes) -> int:
    return int.from_bytes(fp[:8], "big")
