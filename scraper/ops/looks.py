"""What a callback looks at beside its page while it runs: files, folders, databases, programs, connections.

Python tells who listens of each (PEP 578). What is told once, since it was read at an earlier page, is not.
"""

import os
import sys
import sysconfig
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import source_from_cache
from types import FrameType

_FOLDERS = ("os.listdir", "os.scandir")
_OF_OTHERS = {
    "sqlite3.connect": "the database",
    "subprocess.Popen": "the program",
    "os.system": "the program",
    "socket.connect": "a connection to",
}


class _OfThread(threading.local):
    """`found`: what the callback at work has looked at; None where there is none."""

    found: list[str] | None = None


_own = _OfThread()
_is_listening = False


def _hear(event: str, args: tuple[object, ...]) -> None:
    if event != "open" and event not in _FOLDERS and event not in _OF_OTHERS:
        return
    found = _own.found
    if found is None:
        return
    _own.found = None  # what is asked to find out is none of the callback's doing
    try:
        if event in _OF_OTHERS:
            found.append(f"{_OF_OTHERS[event]} {args[-1] if event == 'socket.connect' else args[0]}"[:200])
        elif (event == "open" and _is_read(args[2])) or (
            event in _FOLDERS and not _imports(sys._getframe(1))
        ):
            found.extend(_own_path(args[0]))
    finally:
        _own.found = found


def is_foreign(path: str) -> bool:
    """Whether what is there is a part of Python, its packages or the system."""
    return f"{os.path.realpath(path)}{os.sep}".startswith(_foreign())


@cache
def _foreign() -> tuple[str, ...]:
    own = os.path.dirname(os.path.dirname(__file__))
    places = (sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), own)
    system = ("/usr", "/etc", "/proc", "/sys", "/dev")
    return tuple({os.path.realpath(place) + os.sep for place in (*places, *system)})


def _is_read(flags: object) -> bool:
    return isinstance(flags, int) and flags & os.O_ACCMODE == os.O_RDONLY


def _imports(frame: FrameType) -> bool:
    """Whether it is Python that looks, for a module."""
    return frame.f_code.co_filename.startswith("<frozen importlib")


def _own_path(path: object) -> Iterator[str]:
    """The real path of what is there and may be the user's."""
    real = os.path.realpath(os.fsdecode(path or ".")) if isinstance(path, str | bytes | None) else ""
    if real.endswith(".pyc"):
        with suppress(ValueError):  # a file of that name which is no cache
            real = source_from_cache(real)
    if real and not is_foreign(real) and os.path.exists(real):
        yield real


def is_kept(looked_at: str) -> bool:
    """Whether what was read there may serve later pages too: a table of the project, an open database."""
    is_of_project = looked_at.startswith(os.getcwd() + os.sep)
    return is_of_project or looked_at.startswith(("the database", "a connection"))


@contextmanager
def looking(known: Collection[str] = ()) -> Iterator[list[str]]:
    """What is looked at from here on, in this thread, but for files of the names `known`."""
    global _is_listening
    if not _is_listening:
        _is_listening = True
        sys.addaudithook(_hear)
    before, found = _own.found, list[str]()
    _own.found = found
    try:
        yield found
    finally:
        _own.found = before
        found[:] = [one for one in dict.fromkeys(found) if one not in known]


@contextmanager
def unseen() -> Iterator[None]:
    """Work of this package that a callback asks for: it is nothing that the callback looks at."""
    before, _own.found = _own.found, None
    try:
        yield
    finally:
        _own.found = before
