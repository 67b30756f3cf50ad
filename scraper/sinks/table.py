"""Sinks with columns: records wait on disk until every field is known, so that no column is lost."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from scraper.ops.disk import Replacement, encode, explained

_LARGEST = 2**63


class Spool:
    """The records of a table in a file without a name: written once, read as often as asked.

    `kinds` maps each field, in order of appearance, to the kinds of its values: null, bool, int, big (beyond
    64 bits), float, text, object, list (empty or mixed in depth), or "list of" one of the plain ones.
    """

    def __init__(self, folder: Path) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the spool
        self.kinds: dict[str, set[str]] = {}

    def add(self, lines: Sequence[str]) -> None:
        for line in lines:
            for name, value in fields_of(line).items():
                kinds = self.kinds.get(name)
                if kinds is None:
                    kinds = self.kinds[name] = set()
                kinds |= _kinds(value)
            self._file.write(encode(line) + b"\n")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        return (fields_of(line.decode()) for line in self._file)

    def close(self) -> None:
        self._file.close()


Render = Callable[[Spool, Path], None]


class TableSink:
    """A table of records: spooled while they come, rendered into the file at the end."""

    def __init__(self, target: Path, render: Render) -> None:
        self._target = target
        self._replacement = Replacement(target)
        self._render = render
        self._spool: Spool | None = None

    def open(self) -> None:
        part: BinaryIO = self._replacement.open()
        part.close()
        try:
            with explained(self._target):
                self._spool = Spool(self._replacement.part.parent)
        except BaseException:
            self._replacement.discard()
            raise

    def write(self, lines: Sequence[str]) -> None:
        with explained(self._target):
            self._opened().add(lines)

    def close(self) -> None:
        try:
            with explained(self._target):
                self._render(self._opened(), self._replacement.part)
            self._replacement.commit()
        except BaseException:
            self.abandon()
            raise
        self._forget()

    def abandon(self) -> None:
        if self._spool is not None:
            self._forget()
            self._replacement.discard()

    def _opened(self) -> Spool:
        if self._spool is None:
            raise ValueError("this sink is not open")
        return self._spool

    def _forget(self) -> None:
        spool, self._spool = self._spool, None
        if spool is not None:
            # A full disk speaks up again when the rest of the spool is flushed.
            with suppress(OSError):
                spool.close()


def fields_of(line: str) -> dict[str, Any]:
    """The fields of a record; every name can be written as UTF-8."""
    return {whole(name): value for name, value in json.loads(line).items()}


def whole(text: str) -> str:
    """Text that UTF-8 can carry: surrogates joined to pairs, lone ones replaced by U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def written(value: object) -> str:
    """Any value as JSON text for one cell."""
    return whole(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _kinds(value: object) -> set[str]:
    if not isinstance(value, list):
        return {_kind(value)}
    return {f"list of {_kind(each)}" for each in value} or {"list"}


def _kind(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "int" if -_LARGEST <= value < _LARGEST else "big"
    names = {type(None): "null", bool: "bool", float: "float", str: "text", dict: "object"}
    return names.get(type(value), "list")
