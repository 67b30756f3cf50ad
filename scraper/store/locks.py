"""Who is alive on this machine: a file lock per worker, which the system drops with the process.

The file holds the ids of the URLs whose pages the worker is parsing. It is mapped into memory: a note costs
no system call, and what stood there when the process died stays there.
"""

import errno
import fcntl
import mmap
import os
import struct
import weakref
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from scraper.ops.disk import PRIVATE, SHARED, explained, open_regular, share_folder

_ID = struct.Struct("<q")
_MOST_IN_HAND = 256


class Locks:
    """The folder of lock files; this process holds at most one."""

    def __init__(self, folder: Path, *, is_shared: bool = False) -> None:
        self._folder = folder
        self._is_shared = is_shared
        self._held: tuple[Path, int] | None = None
        self._notes: mmap.mmap | None = None
        self._free_places: list[int] = []
        _open_locks.add(self)

    def hold(self, worker: str) -> None:
        """Lock the worker's file until `drop`, or until the process ends in whatever way."""
        with explained(self._folder):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._folder.is_symlink():
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if self._is_shared:
            share_folder(self._folder)
        path = self._path(worker)
        handle = open_regular(path, os.O_RDWR, SHARED if self._is_shared else PRIVATE)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise
        self._held = (path, handle)
        # Opened for itself: the map keeps a copy of its handle, which would keep the lock.
        with suppress(OSError, ValueError), path.open("r+b") as file:  # some file systems map no files
            # Written, not only made as long: in a hole on a full disk the first note would kill the process.
            file.write(bytes(_ID.size * _MOST_IN_HAND))
            file.flush()
            self._notes = mmap.mmap(file.fileno(), _ID.size * _MOST_IN_HAND)
            self._free_places = [_ID.size * place for place in range(_MOST_IN_HAND)]

    def in_hand(self, url: int) -> "_InHand":
        """Keep an id in our file for a while; from any thread."""
        return _InHand(self._notes, self._free_places, url)

    def in_hand_of(self, worker: str) -> list[int]:
        """The ids in a dead worker's file."""
        try:
            notes = self._path(worker).read_bytes()
        except OSError:
            return []
        return [url for (url,) in _ID.iter_unpack(notes[: len(notes) // _ID.size * _ID.size]) if url]

    def is_free(self, worker: str) -> bool:
        """Whether nobody holds the worker's lock: its process is dead."""
        try:
            handle = os.open(self._path(worker), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            # Shared: two that look at once must not take each other for the worker.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(handle)
        return True

    def forget(self, worker: str) -> None:
        """Remove a dead worker's file."""
        self._path(worker).unlink(missing_ok=True)

    def drop(self, *, keep_file: bool = False) -> None:
        """Let go of our own lock; safe to repeat."""
        if self._held is None:
            return
        (path, handle), self._held = self._held, None
        self._notes, self._free_places = None, []  # not closed: a thread may outlive the run
        if not keep_file:
            path.unlink(missing_ok=True)
        os.close(handle)

    def _path(self, worker: str) -> Path:
        return self._folder / f"{quote(worker, safe='')}.lock"


class _InHand:
    """An id in the file, while there is a file and a place free in it."""

    def __init__(self, notes: mmap.mmap | None, free_places: list[int], url: int) -> None:
        self._notes, self._free_places, self._url = notes, free_places, url
        self._place = -1

    def __enter__(self) -> None:
        try:
            self._place = self._free_places.pop()
        except IndexError:
            return
        self._note(self._url)

    def __exit__(self, *_: object) -> None:
        if self._place >= 0:
            self._note(0)
            self._free_places.append(self._place)

    def _note(self, url: int) -> None:
        if self._notes is not None:
            _ID.pack_into(self._notes, self._place, url)


_open_locks: weakref.WeakSet[Locks] = weakref.WeakSet()


def _let_go_in_child() -> None:
    # A forked child shares the lock: it would keep its dead parent alive.
    for locks in _open_locks:
        locks.drop(keep_file=True)


os.register_at_fork(after_in_child=_let_go_in_child)
