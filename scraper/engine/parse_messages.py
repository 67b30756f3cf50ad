"""What goes between a run and its parse processes: values of the model, pickled.

A page's links are those of many others, and are sent once: the pickle of one message refers to what earlier
ones held. Now and then both sides forget, so that neither keeps all that was ever sent.
"""

import io
import pickle
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import IO, Any

from scraper import model
from scraper.model.frozen import frozen

_FORGET_AFTER = 2 * 2**20  # bytes
_WRITE_AT = 2**17
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


@frozen
class _Forget:
    """From here on nothing refers to what was sent before."""


class Sender:
    """Writes values to a pipe; what was sent last is on its way after `flush`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._buffer = io.BytesIO()
        self._pickler = self._new_pickler()
        self._since = 0

    def send(self, value: object) -> None:
        """Add a value."""
        self._pickler.dump(value)
        if self._buffer.tell() > _WRITE_AT:
            self.flush()

    def flush(self) -> None:
        """Write what was added. OSError: the other side is gone."""
        self._since += self._buffer.tell()
        if self._since > _FORGET_AFTER:
            self._pickler.dump(_Forget())
            self._pickler, self._since = self._new_pickler(), 0
        with self._buffer.getbuffer() as view:
            self._file.write(view)
        self._file.flush()
        self._buffer.seek(0)
        self._buffer.truncate()

    def _new_pickler(self) -> pickle.Pickler:
        pickler = pickle.Pickler(self._buffer, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        return pickler


class Receiver:
    """Reads what a Sender has written: only our own processes, as a pickle can do anything."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._unpickler = pickle.Unpickler(file)

    def receive(self) -> Any:
        """The next value; EOFError or another error where the sender is gone, maybe in the middle of one."""
        while isinstance(value := self._unpickler.load(), _Forget):
            self._unpickler = pickle.Unpickler(self._file)
        return value


def _reducer(cls: type[Any]) -> Callable[[Any], tuple[type[Any], tuple[Any, ...]]]:
    names = [one.name for one in fields(cls)]
    # Given one name it returns the bare value.
    values = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return lambda value: (cls, values(value))


# The values' own way through a list of fields takes several times as long.
_REDUCERS = {cls: _reducer(cls) for cls in _VALUES}
