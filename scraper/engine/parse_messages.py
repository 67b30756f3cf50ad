"""What goes between a run and its parse processes: values of the model, pickled, each in a frame.

A page's links are those of many others, and are sent once: the pickle of one message refers to what earlier
ones held. Now and then both sides forget, so that neither keeps all that was ever sent.
"""

import io
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import fields
from operator import attrgetter
from typing import IO, Any

from scraper import model

_FORGET_AFTER = 2 * 2**20  # bytes
_READ = 2**18
_HEAD = struct.Struct("<Q?")  # the length of what follows, and whether both sides forget after it
_VALUES: tuple[type[Any], ...] = (
    model.Denied,
    model.Entry,
    model.Failed,
    model.Fetched,
    model.Known,
    model.NewUrl,
    model.Reaction,
    model.RecordLine,
    model.Redirected,
    model.Refusal,
    model.Response,
    model.Retry,
    model.Unchanged,
    model.Visit,
)


class Sender:
    """Writes values to a pipe."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._buffer = io.BytesIO()
        self._pickler = self._new_pickler()
        self._since = 0

    def send(self, value: object) -> None:
        """Write a value; waits while the pipe is full. OSError: the other side is gone."""
        self._buffer.seek(_HEAD.size)
        self._pickler.dump(value)
        size = self._buffer.tell()
        self._since += size
        forgets = self._since > _FORGET_AFTER
        with self._buffer.getbuffer() as view:
            _HEAD.pack_into(view, 0, size - _HEAD.size, forgets)
            self._file.write(view[:size])
        self._file.flush()
        self._buffer.truncate(_HEAD.size)
        if forgets:
            self._pickler, self._since = self._new_pickler(), 0

    def _new_pickler(self) -> pickle.Pickler:
        pickler = pickle.Pickler(self._buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        return pickler


class Receiver:
    """Reads what a Sender has written: only our own processes, as a pickle can do anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self._descriptor = file.fileno()
        os.set_blocking(self._descriptor, False)
        self._bytes = bytearray()
        self._frame = io.BytesIO()
        self._unpickler = pickle.Unpickler(self._frame)

    def receive(self) -> list[Any]:
        """The values that are there, maybe none. EOFError: the sender is gone, and so is half a value."""
        is_over = False
        try:
            while not is_over:
                chunk = os.read(self._descriptor, _READ)
                is_over = not chunk
                self._bytes += chunk
        except BlockingIOError:
            pass
        values = list(self._whole())
        if is_over and not values:
            raise EOFError
        return values

    def _whole(self) -> Iterator[Any]:
        """The values that are there whole."""
        start = 0
        while len(self._bytes) >= (begins := start + _HEAD.size):
            size, forgets = _HEAD.unpack_from(self._bytes, start)
            if len(self._bytes) < begins + size:
                break
            start = begins + size
            self._frame.seek(0)
            self._frame.write(memoryview(self._bytes)[begins:start])
            self._frame.truncate()
            self._frame.seek(0)
            yield self._unpickler.load()
            if forgets:
                self._unpickler = pickle.Unpickler(self._frame)
        del self._bytes[:start]


def _reducer(cls: type[Any]) -> Callable[[Any], tuple[type[Any], tuple[Any, ...]]]:
    names = [one.name for one in fields(cls)]
    # Given one name it returns the bare value.
    values = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return lambda value: (cls, values(value))


# The values' own way through a list of fields takes several times as long.
_REDUCERS = {cls: _reducer(cls) for cls in _VALUES}
