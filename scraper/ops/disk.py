"""Atomic replacement of files, and disk errors as messages for people."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from scraper.errors import ScraperError, StoreFull, UsageError
from scraper.ops.patterns import pattern

PRIVATE, SHARED = 0o600, 0o660  # files that may hold secrets: for their owner alone, or for a group too
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CLOSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# Python's splitlines, JavaScript and some editors end a line at these; JSON itself does not.
_LINE_ENDS = pattern("[\x85\u2028\u2029]")


def explain(error: OSError, path: Path) -> ScraperError:
    """The error to raise for what the system said about writing `path`."""
    if error.errno in _FULL:
        # Whether the same command goes on is for those to say who know whether the run has ended.
        return StoreFull(f"cannot write {path}: the disk is full", "free some space")
    if error.errno in _CLOSED:
        reason = "the disk is read-only" if error.errno == errno.EROFS else "no permission"
        return StoreFull(f"cannot write {path}: {reason}", "write elsewhere, or change who may write there")
    if error.errno == errno.ELOOP:
        return UsageError(f"cannot write {path}: it is a link", "remove it: where it leads is not written to")
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


def make_folder(folder: Path, below: Path, *, is_shared: bool = False) -> None:
    """Make a folder and those between it and `below`; one that is a link is refused (UsageError)."""
    with explained(folder):
        below.mkdir(parents=True, exist_ok=True)
        path = below
        for name in folder.relative_to(below).parts:
            path /= name
            with suppress(FileExistsError):
                path.mkdir()
                if is_shared:
                    share_folder(path)
            if path.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def share_folder(folder: Path) -> None:
    """Let a folder's group write in it, and new files belong to that group; not in somebody else's folder.

    Nor behind a link, which another of the team may have planted to open a folder of ours to all.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, stat.S_IMODE(os.fstat(descriptor).st_mode) | 0o2070)
        finally:
            os.close(descriptor)


def is_for_group(path: Path) -> bool:
    """Whether a file may be read by its group; one that is not there may not."""
    with suppress(OSError):
        return bool(path.lstat().st_mode & stat.S_IRGRP)
    return False


def open_regular(path: Path, flags: int, mode: int | None) -> int:
    """A descriptor of a plain file, made if it is not there; a link or a pipe somebody planted is an OSError.

    `mode` is that of the file from now on, where it is ours; None: as the umask has it.
    """
    # Without O_NONBLOCK a pipe would hold us until somebody reads it.
    descriptor = os.open(
        path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode or 0o666
    )
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    if mode is not None and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
        os.fchmod(descriptor, mode)
    return descriptor


def create(path: Path, mode: int) -> int:
    """A descriptor of a new file; what stands there, a link too, is removed first and never followed."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def _followed(target: Path) -> Path:
    """Where a target that a person named leads: through their own links, not through those of others."""
    with suppress(FileNotFoundError):
        if target.is_symlink() and target.lstat().st_uid not in (os.geteuid(), 0):
            raise UsageError(f"cannot write {target}: it is a link of another user", "remove it")
    return Path(os.path.realpath(target))


class Replacement:
    """A file written beside its target as NAME.part, which takes the target's place when it is whole.

    `mode`: of the new file; None: that of the old one. In a data folder (`follows` False) a link in the place
    of the target is replaced; a person's own target is looked up through their links.
    """

    def __init__(self, target: Path, *, mode: int | None = None, follows: bool = True) -> None:
        self.target = _followed(target) if follows else target.absolute()
        self.part = self.target.with_name(f"{self.target.name}.part")
        self.folder = self.target.parent
        self._mode = mode

    def open(self) -> BinaryIO:
        """An empty NAME.part; raises StoreFull or UsageError where the target cannot be written."""
        if self.target.is_dir():
            raise UsageError(f"cannot write {self.target}: it is a folder")
        if not self.target.parent.is_dir():
            raise UsageError(f"cannot write {self.target}: there is no folder {self.target.parent}")
        with explained(self.target):
            return os.fdopen(create(self.part, 0o666 if self._mode is None else self._mode), "wb")

    def commit(self) -> None:
        """Put the part in the target's place; what stands there now stays if that fails."""
        with explained(self.target):
            descriptor = os.open(self.part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if (mode := self._wanted_mode()) is not None:
                    os.fchmod(descriptor, mode)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self.part.replace(self.target)
        sync_folder(self.target.parent)

    def _wanted_mode(self) -> int | None:
        if self._mode is not None:
            return self._mode
        with suppress(FileNotFoundError):
            found = self.target.lstat().st_mode
            return stat.S_IMODE(found) if stat.S_ISREG(found) else None
        return None

    def discard(self) -> None:
        """Drop the part. Safe to repeat."""
        with suppress(OSError):
            self.part.unlink()


def replace(target: Path, chunks: Iterator[bytes], mode: int | None = None) -> None:
    """Write `chunks` as the new content of a file in a data folder, all or nothing."""
    replacement = Replacement(target, mode=mode, follows=False)
    try:
        with explained(target), replacement.open() as file:
            for chunk in chunks:
                file.write(chunk)
        replacement.commit()
    except BaseException:
        replacement.discard()
        raise
