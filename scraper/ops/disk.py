"""Files that are whole or not there, and what a disk's refusal means to a person."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from scraper.errors import ScraperError, StoreFull, UsageError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# Python's splitlines, JavaScript and some editors end a line at these; JSON itself does not.
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def explain(error: OSError, path: Path) -> ScraperError:
    """The error to raise for what the system said about writing `path`."""
    if error.errno in _FULL:
        return StoreFull(
            f"cannot write {path}: the disk is full", "free some space; the same command goes on"
        )
    if error.errno in _CLOSED:
        reason = "the disk is read-only" if error.errno == errno.EROFS else "no permission"
        return StoreFull(f"cannot write {path}: {reason}", "write elsewhere, or change who may write there")
    return UsageError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn every OSError about `path` into StoreFull or UsageError."""
    try:
        yield
    except OSError as error:
        raise explain(error, path) from error


def one_line(text: str) -> str:
    """JSON text that is one line to every reader."""
    return _LINE_ENDS.sub(lambda end: f"\\u{ord(end[0]):04x}", text)


def encode(text: str) -> bytes:
    """JSON text as UTF-8; a lone surrogate, which UTF-8 has no bytes for, as its JSON escape."""
    return text.encode("utf-8", "backslashreplace")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlast a power cut, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Replacement:
    """A file written beside its target as NAME.part, which takes the target's place when it is whole."""

    def __init__(self, target: Path) -> None:
        # Through links: the file that a link names is replaced, not the link.
        self.target = Path(os.path.realpath(target))
        self.part = self.target.with_name(f"{self.target.name}.part")

    def open(self) -> BinaryIO:
        """An empty NAME.part; raises StoreFull or UsageError where the target cannot be written."""
        if self.target.is_dir():
            raise UsageError(f"cannot write {self.target}: it is a folder")
        if not self.target.parent.is_dir():
            raise UsageError(f"cannot write {self.target}: there is no folder {self.target.parent}")
        with explained(self.target):
            return self.part.open("wb")

    def commit(self) -> None:
        """Put the part in the target's place; what stands there now stays if that fails."""
        with explained(self.target):
            with self.part.open("rb+") as file:
                os.fsync(file.fileno())
            with suppress(FileNotFoundError):
                self.part.chmod(stat.S_IMODE(self.target.stat().st_mode))
            self.part.replace(self.target)
        sync_folder(self.target.parent)

    def discard(self) -> None:
        """Drop the part. Safe to repeat."""
        with suppress(OSError):
            self.part.unlink()


def replace(target: Path, chunks: Iterator[bytes]) -> None:
    """Write `chunks` as the new content of `target`, all or nothing."""
    replacement = Replacement(target)
    try:
        with explained(target), replacement.open() as file:
            for chunk in chunks:
                file.write(chunk)
        replacement.commit()
    except BaseException:
        replacement.discard()
        raise
