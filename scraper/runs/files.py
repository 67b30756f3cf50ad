"""The files that are derived from the store: a run's folder and a spider's current records.

data/NAME/records.jsonl, changes.jsonl        replaced as a whole
data/NAME/runs/RUN_ID/records.jsonl, log.jsonl, errors.txt  appended to, by several processes too
data/NAME/runs/RUN_ID/run.json                replaced as a whole
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.errors import SpiderError
from scraper.ops.disk import (
    PRIVATE,
    SHARED,
    encode,
    explained,
    make_folder,
    open_regular,
    replace,
    sync_folder,
)
from scraper.ops.printable import json_text, printable_lines
from scraper.ops.secrets import Redaction

ERRORS = "errors.txt"

_BLOCK = 64 * 1024
_EXAMPLES = 1000


class RunFiles:
    """The files of one run of one spider. Every method raises StoreFull or UsageError, never OSError.

    What tells of a run (log, errors, run.json, report) loses its secrets by `redaction` and is for its owner
    alone, or for the folder's group too where it `is_shared`. No link that stands in the folder is followed.
    """

    def __init__(
        self,
        data: Path,
        spider: str,
        run_id: str,
        redaction: Redaction | None = None,
        *,
        is_shared: bool = False,
    ) -> None:
        for name in (spider, run_id):
            if name in ("", ".", "..") or Path(name).name != name or not name.isprintable():
                raise SpiderError(f"{name!r} cannot be the name of a folder")
        self.home = data / spider
        self.folder = self.home / "runs" / run_id
        self._data = data
        self._redaction = redaction or Redaction()
        self._is_shared = is_shared
        self.mode = SHARED if is_shared else PRIVATE
        # Records are no secret; a colleague who goes on with the run appends to them.
        self._records = _Appended(self.folder / "records.jsonl", 0o664 if is_shared else None)
        self._log = _Appended(self.folder / "log.jsonl", self.mode)
        self._errors = _Appended(self.folder / ERRORS, self.mode)
        self._rejected = _Appended(self.folder / "rejected.jsonl", self.mode)

    def open(self, *, repair: bool = True) -> None:
        """Make the folder, open its files. `repair` cuts a line that a crash tore: not while others write."""
        make_folder(self.folder, self._data, is_shared=self._is_shared)
        for file in (self._records, self._log):
            if repair:
                file.repair()
            file.open()

    def rewrite(self, lines: Iterable[str]) -> int:
        """Make the run's records.jsonl anew from what is committed, for a resume; the number of lines."""
        self._records.close()
        count = _replace_lines(self._records.path, lines)
        self._records.open()
        return count

    def append(self, lines: Sequence[str]) -> None:
        """Add committed records to the run's records.jsonl."""
        if lines:
            self._records.write(encode("\n".join(lines) + "\n"))

    def log(self, event: Mapping[str, Any]) -> None:
        """Add one event to log.jsonl."""
        self._log.write(encode(json_text(self._redaction.value(event)) + "\n"))

    def keep_traceback(self, url: str, text: str) -> None:
        """Add a traceback to errors.txt, which is only there where the spider's code raised."""
        if not self._errors.is_open:
            self._errors.open()
        told = printable_lines(self._redaction(f"{url}\n{text.rstrip()}"))
        self._errors.write(encode(f"{told}\n\n"))

    def reject(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Add to rejected.jsonl: "url", "field" and "reason" of records that were not kept."""
        if not self._rejected.is_open:
            self._rejected.open()
        self._rejected.write(
            encode("".join(f"{json_text(self._redaction.value(each))}\n" for each in records))
        )

    def write_run(self, summary: Mapping[str, Any]) -> None:
        """Replace run.json."""
        text = json_text(self._redaction.value(summary), indent=2)
        replace(self.folder / "run.json", iter([encode(f"{text}\n")]), self.mode)

    def write_report(self, page: str, details: Mapping[str, Any] | None = None) -> None:
        """Replace report.html, and report.json with what it needs to be written again."""
        replace(self.folder / "report.html", iter([encode(self._redaction.known(page))]), self.mode)
        if details is not None:
            text = json_text(self._redaction.value(details))
            replace(self.folder / "report.json", iter([encode(f"{text}\n")]), self.mode)

    def publish(self, lines: Iterable[str]) -> int:
        """Replace the spider's current records.jsonl; the number of lines."""
        return _replace_lines(self.home / "records.jsonl", lines)

    def publish_changes(self, lines: Iterable[str]) -> int:
        """Replace the spider's changes.jsonl; the number of lines."""
        return _replace_lines(self.home / "changes.jsonl", lines)

    def close(self) -> None:
        """Put what was appended safely on the disk. Safe to repeat."""
        for file in (self._records, self._log, self._errors, self._rejected):
            file.close()
        sync_folder(self.folder)


def examples(home: Path) -> list[str]:
    """A few records of the last run of a spider that brought any; its files are in `home`."""
    for path in sorted(home.glob("runs/*/records.jsonl"), reverse=True):
        with suppress(OSError), path.open(encoding="utf-8") as file:
            if lines := [line for line in islice(file, _EXAMPLES) if line.endswith("\n")]:
                return lines
    return []


class _Appended:
    """A file of lines that several processes append to: a write is one call, so lines never mix."""

    def __init__(self, path: Path, mode: int | None) -> None:
        self.path = path
        self._mode = mode
        self._descriptor: int | None = None

    def open(self) -> None:
        with explained(self.path):
            self._descriptor = open_regular(self.path, os.O_RDWR | os.O_APPEND, self._mode)

    @property
    def is_open(self) -> bool:
        return self._descriptor is not None

    def repair(self) -> None:
        """Cut the file back to its last line end."""
        with explained(self.path), os.fdopen(open_regular(self.path, os.O_RDWR, self._mode), "rb+") as file:
            at = file.seek(0, os.SEEK_END)
            while at > 0:
                start = max(0, at - _BLOCK)
                file.seek(start)
                end = file.read(at - start).rfind(b"\n")
                if end >= 0:
                    at = start + end + 1
                    break
                at = start
            file.truncate(at)

    def write(self, content: bytes) -> None:
        """Append whole lines, or none of them where the disk is full."""
        if self._descriptor is None:
            raise ValueError("these files are not open")
        with explained(self.path):
            done = os.write(self._descriptor, content)
            try:
                while done < len(content):
                    done += os.write(self._descriptor, content[done:])
            except OSError:
                self._take_back(done)
                raise

    def _take_back(self, done: int) -> None:
        """Cut off the first `done` bytes of a write that failed, if nothing was appended behind them."""
        descriptor = self._descriptor
        if descriptor is not None and os.lseek(descriptor, 0, os.SEEK_CUR) == (
            size := os.fstat(descriptor).st_size
        ):
            os.ftruncate(descriptor, size - done)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with explained(self.path):
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)


def _replace_lines(path: Path, lines: Iterable[str]) -> int:
    count = 0

    def chunks() -> Iterator[bytes]:
        nonlocal count
        for count, line in enumerate(lines, 1):  # noqa: B007 - the count of all is the last one
            yield encode(line + "\n")

    replace(path, chunks())
    return count
