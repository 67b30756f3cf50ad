"""Sinks that keep the lines as they are: JSON Lines, plain or packed, a JSON array, standard output."""

import gzip
import os
import select
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from scraper.ops.disk import Replacement, encode, explain, explained
from scraper.ops.printable import escaped


class LineSink:
    """A file with a record a line; `as_array` puts them into one JSON array, `is_packed` gzips."""

    def __init__(self, target: Path, *, as_array: bool = False, is_packed: bool = False) -> None:
        self.notes: list[str] = []
        self._target = target
        self._replacement = Replacement(target)
        self._as_array = as_array
        self._is_packed = is_packed
        self._part: BinaryIO | None = None
        self._file: BinaryIO | gzip.GzipFile | None = None
        self._is_empty = True

    def open(self, examples: Sequence[str] = ()) -> None:
        self._part = self._file = self._replacement.open()
        if self._is_packed:
            # No name and no moment inside, so that equal records give equal bytes.
            self._file = gzip.GzipFile(filename="", mode="wb", fileobj=self._part, mtime=0)
        self._is_empty = True

    def write(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        glue = ",\n" if self._as_array else "\n"
        lead = ("[\n" if self._is_empty else glue) if self._as_array else ""
        end = "" if self._as_array else "\n"
        self._put(encode(f"{lead}{glue.join(lines)}{end}"))
        self._is_empty = False

    def close(self) -> None:
        try:
            if self._as_array:
                self._put(b"[]\n" if self._is_empty else b"\n]\n")
            with explained(self._target):
                self._shut()
            self._replacement.commit()
        except BaseException:
            self._drop()
            raise

    def abandon(self) -> None:
        if self._part is not None:
            self._drop()

    def _drop(self) -> None:
        # A full disk speaks up again when the rest of the buffer is flushed.
        with suppress(OSError):
            self._shut()
        self._replacement.discard()

    def _put(self, content: bytes) -> None:
        if self._file is None:
            raise ValueError("this sink is not open")
        with explained(self._target):
            self._file.write(content)

    def _shut(self) -> None:
        file, part, self._file, self._part = self._file, self._part, None, None
        try:
            if file is not None:
                file.close()
        finally:
            if part is not None:
                part.close()


class StdoutSink:
    """JSON Lines on standard output, in UTF-8 whatever the locale; what a terminal would obey stands escaped.

    A reader that leaves ends it quietly.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.count = 0
        self._is_closed = True

    def open(self, examples: Sequence[str] = ()) -> None:
        sys.stdout.flush()
        self._is_closed = False

    def write(self, lines: Sequence[str]) -> None:
        if lines and not self._is_closed:
            self._pass_on(encode(escaped("\n".join(lines)) + "\n"))
            self.count += len(lines)

    def close(self) -> None:
        self._is_closed = True

    def abandon(self) -> None:
        self._is_closed = True

    def has_reader(self) -> bool:
        """Whether what is written can still be read by anybody, as far as the system knows."""
        if self._is_closed:
            return False
        with suppress(OSError, ValueError):  # standard output may be no file at all
            look = select.poll()
            look.register(sys.stdout.fileno(), 0)
            return not look.poll(0)  # POLLERR: the other end of the pipe is closed
        return True

    def _pass_on(self, content: bytes) -> None:
        try:
            sys.stdout.buffer.write(content)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            self._is_closed = True
            # Else the interpreter fails again on its way out, when it flushes what nobody reads.
            with suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        except OSError as error:
            raise explain(error, Path("standard output")) from error
