"""Sinks with columns: records wait on disk until every field is known, so that no column is lost.

One rule for all of them: a column has one type, that of all its values; where they have none in common it is
text, in which text stands as it is and everything else as JSON. Names that differ by case only get a number.
"""

import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from scraper.model.frozen import frozen
from scraper.ops.disk import encode, explained
from scraper.runs.sinks import Layout

LIST = "list of "
NAMELESS = "none"  # a table without any field still has a column: readers refuse one that has none

_LARGEST = 2**63
_EXACT = 2**53  # up to here a float holds every integer
_MOST_NOTES = 20


@frozen
class Column:
    """`field` of the records, `name` in the file, `type`: bool, int, float, text, "list of" one of these."""

    field: str
    name: str
    type: str


# The name of the column for a field, with a number behind it where another has that name.
Fit = Callable[[str, str], str]
_CONTROLS = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]+")


def in_one_line(field: str, suffix: str) -> str:
    """A name that readers take as it is: DuckDB 2.0 reads no CSV file with a line feed in its header."""
    return _CONTROLS.sub(" ", field) + suffix


class Table:
    """Records in a file without a name: written once, read as often as asked.

    `kinds` maps each field, in order of appearance, to the kinds of its values: null, bool, int, long (beyond
    53 bits), big (beyond 64), float, text, object, list (empty), or "list of" one of these. What `layout`
    declares stands first, whether a record has it or not.
    """

    def __init__(
        self, folder: Path, layout: Layout, examples: Sequence[str] = (), fit: Fit = in_one_line
    ) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as long as the table
        self._examples = examples
        self._fit = fit
        self.key = tuple(map(whole, layout.key))
        self.kinds: dict[str, set[str]] = {name: set(kinds) for name, kinds in layout.columns.items()}
        self._is_empty = True

    def add(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._learn(fields_of(line))
            self._file.write(encode(line) + b"\n")
            self._is_empty = False

    def _learn(self, fields: Mapping[str, Any]) -> None:
        for name, value in fields.items():
            kinds = self.kinds.get(name)
            if kinds is None:
                kinds = self.kinds[name] = set()
            kinds |= _kinds(value)

    def columns(self) -> list[Column]:
        """The columns of the file, at least one."""
        if self._is_empty:
            for line in self._examples:
                self._learn(fields_of(line))
            for name in self.key:
                self.kinds.setdefault(name, set())
        taken: set[str] = set()
        found = []
        for field, kinds in self.kinds.items():
            name, n = self._fit(field, ""), 1
            while name.casefold() in taken:
                n += 1
                name = self._fit(field, f"_{n}")
            taken.add(name.casefold())
            found.append(Column(field, name, type_of(kinds)))
        return found or [Column(NAMELESS, NAMELESS, "text")]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._file.seek(0)
        return (fields_of(line.decode()) for line in self._file)

    def close(self) -> None:
        self._file.close()


class Place(Protocol):
    """Where a table goes, as far as its sink minds: `folder` has room for what waits."""

    folder: Path

    def open(self) -> Any:
        """Something to close; raises at once where the target cannot be written."""
        ...

    def discard(self) -> None:
        """Take back what `open` began. Safe to repeat."""
        ...


P = TypeVar("P", bound=Place)


class TableSink(Generic[P]):
    """A table of records: kept while they come, rendered into its place at the end.

    `render` says what it did with what the format cannot hold.
    """

    def __init__(
        self, place: P, render: Callable[[Table, P], list[str]], layout: Layout, fit: Fit = in_one_line
    ) -> None:
        self.notes: list[str] = []
        self._place = place
        self._render = render
        self._layout = layout
        self._fit = fit
        self._table: Table | None = None

    def open(self, examples: Sequence[str] = ()) -> None:
        self._place.open().close()
        try:
            with explained(self._place.folder):
                self._table = Table(self._place.folder, self._layout, examples, self._fit)
        except BaseException:
            self._place.discard()
            raise

    def write(self, lines: Sequence[str]) -> None:
        with explained(self._place.folder):
            self._opened().add(lines)

    def close(self) -> None:
        try:
            table = self._opened()
            with explained(self._place.folder):
                notes = [*_renamed(table.columns()), *self._render(table, self._place)]
            self.notes = notes[:_MOST_NOTES]
        except BaseException:
            self.abandon()
            raise
        self._forget()

    def abandon(self) -> None:
        if self._table is not None:
            self._forget()
            self._place.discard()

    def _opened(self) -> Table:
        if self._table is None:
            raise ValueError("this sink is not open")
        return self._table

    def _forget(self) -> None:
        table, self._table = self._table, None
        if table is not None:
            # A full disk speaks up again when the rest of the table is flushed.
            with suppress(OSError):
                table.close()


def type_of(kinds: set[str] | frozenset[str]) -> str:
    """The one type that holds every value exactly: bool, int, float, text, or "list of" one of these."""
    found = kinds - {"null"}
    if found and all(kind == "list" or kind.startswith(LIST) for kind in found):
        inner = {kind.removeprefix(LIST) for kind in found if kind.startswith(LIST)}
        is_deep = any(kind in ("object", "list") or kind.startswith(LIST) for kind in inner)
        return "text" if is_deep else f"{LIST}{type_of(inner)}"
    if found and found <= {"int", "long"}:
        return "int"
    if "float" in found and found <= {"int", "float"}:
        return "float"
    return "bool" if found == {"bool"} else "text"


def mixed(table: Table) -> list[str]:
    """What to say of columns that are text because no other type holds all their values."""
    notes = []
    for column in table.columns():
        kinds = table.kinds.get(column.field, set()) - {"null"}
        if column.type == "text" and (len(kinds) > 1 or "big" in kinds):
            told = " and ".join(_TOLD.get(kind, kind) for kind in sorted(kinds))
            notes.append(f"column {column.name!r} is text: it has {told}")
    return notes


def _renamed(columns: Sequence[Column]) -> list[str]:
    notes = []
    for column in columns:
        if column.name != column.field:
            is_twin = any(
                one is not column and one.name.casefold() == column.field.casefold() for one in columns
            )
            reason = "another differs from it by case only" if is_twin else "its name does not fit"
            notes.append(f"field {column.field!r} is column {column.name!r}: {reason}")
    return notes


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


def text_of(value: object) -> str | None:
    """A value in a column of text: text as it is, null as null, everything else as JSON."""
    if value is None:
        return None
    if isinstance(value, str):
        return whole(value)
    return whole(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def typed(value: Any, type_: str) -> Any:
    """A value as one of its column's type, lists element by element."""
    if type_ == "text" or value is None:
        return text_of(value)
    if type_.startswith(LIST):
        return [typed(each, type_.removeprefix(LIST)) for each in value]
    return float(value) if type_ == "float" else value


_TOLD = {"long": "integers beyond 53 bits", "big": "integers beyond 64 bits"}


def _kinds(value: object) -> set[str]:
    if not isinstance(value, list):
        return {_kind(value)}
    return {f"{LIST}{_kind(each)}" for each in value} or {"list"}


def _kind(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if -_EXACT <= value <= _EXACT:
            return "int"
        return "long" if -_LARGEST <= value < _LARGEST else "big"
    names = {type(None): "null", bool: "bool", float: "float", str: "text", dict: "object"}
    return names.get(type(value), "list")
