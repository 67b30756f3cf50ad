"""Output formats: one small contract, one module for each family of formats.

`tests/contracts/test_sink.py` checks that every sink keeps the contract.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Protocol

from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.ops.disk import Replacement
from scraper.settings import values

ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".csv", ".parquet", ".sqlite")
STDOUT = "-"
_SCHEMES = ("postgresql://", "postgres://")


@frozen
class Layout:
    """What is known of a table before its first record comes.

    `key`: the fields that tell records apart. `columns`: the fields that a table has in any case, in order,
    and the kinds of their values (`scraper.runs.sinks.table.Table`).
    """

    key: tuple[str, ...] = ()
    columns: Mapping[str, frozenset[str]] = field(default_factory=dict)


class Sink(Protocol):
    """Takes records as lines of JSON, in order, and gives a file that is whole or not there.

    Until `close` has returned, what stood at the target stands there untouched; NAME.part beside it is the
    work under way. Memory is bounded: records go to disk as they come. Every method raises UsageError or
    StoreFull with the target's name, never OSError. Standard output cannot be taken back: there, lines are
    passed on as they come and `abandon` only stops.

    `notes`, after `close`: what was done with what the format cannot hold as it is, a sentence each.
    """

    notes: list[str]

    def open(self, examples: Sequence[str] = ()) -> None:
        """Begin; raises at once where the target cannot be written.

        `examples`: records of an earlier run, whose fields are the columns where none comes in this one.
        """
        ...

    def write(self, lines: Sequence[str]) -> None:
        """Take records, each one JSON object without line end; they may differ in their fields."""
        ...

    def close(self) -> None:
        """Finish: the target holds every record given, or, after an exception, what it held before."""
        ...

    def abandon(self) -> None:
        """Leave the target as it was. Safe at any time, also after `close`, where it does nothing."""
        ...


def sink_for(target: str, layout: Layout | None = None, *, csv_safe: bool = True) -> Sink:
    """The sink for a file's ending, a URL (postgresql://) or "-" (standard output); UsageError for another.

    `csv_safe`: no cell of a CSV file is a formula to a spreadsheet.
    """
    # Imported when asked for: pyarrow, csv and sqlite3 are start-up time that other runs need not pay.
    if target == STDOUT:
        from scraper.runs.sinks.lines import StdoutSink

        return StdoutSink()
    if target.startswith(_SCHEMES):
        from scraper.runs.sinks import postgres
        from scraper.runs.sinks.table import TableSink

        return TableSink(postgres.Place(target), postgres.render, layout or Layout(), postgres.fit)
    path, ending = Path(target), _ending(target)
    if ending in (".jsonl", ".jsonl.gz", ".json"):
        from scraper.runs.sinks.lines import LineSink

        return LineSink(path, as_array=ending == ".json", is_packed=ending == ".jsonl.gz")
    return _table_sink(path, ending, layout or Layout(), csv_safe)


def _table_sink(path: Path, ending: str, layout: Layout, csv_safe: bool) -> Sink:
    from scraper.runs.sinks.table import TableSink

    place = Replacement(path)
    if ending == ".csv":
        from scraper.runs.sinks.csv import render as to_csv

        return TableSink(place, partial(to_csv, is_safe=csv_safe), layout)
    if ending == ".sqlite":
        from scraper.runs.sinks.sqlite import render as to_sqlite

        return TableSink(place, to_sqlite, layout)
    from scraper.runs.sinks.parquet import check
    from scraper.runs.sinks.parquet import render as to_parquet

    check()
    return TableSink(place, to_parquet, layout)


def shown(target: str) -> str:
    """A target as messages and reports name it: without a password."""
    if not target.startswith(_SCHEMES):
        return target
    from scraper.runs.sinks.postgres import shown as without_password

    return without_password(target)


def _ending(target: str) -> str:
    name = Path(target).name.lower()
    found = [ending for ending in ENDINGS if name.endswith(ending) and name != ending]
    if found:
        return max(found, key=len)
    suffix = Path(name).suffix
    meant = values.nearest(suffix.lstrip("."), [ending.lstrip(".") for ending in ENDINGS]) if suffix else None
    advice = f"did you mean .{meant}? " if meant else ""
    raise UsageError(
        f"no format is known for {target!r}", f"{advice}known are {' '.join(ENDINGS)}, postgresql://... and -"
    )
