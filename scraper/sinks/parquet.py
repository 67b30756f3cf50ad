"""Parquet: one schema over all records, written in batches; needs the extra `parquet` (pyarrow)."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.errors import UsageError
from scraper.sinks.table import Spool, whole, written

_BATCH = 5_000
_LIST = "list of "


def check() -> None:
    """Raise UsageError where the extra is not installed."""
    try:
        import pyarrow  # noqa: F401 - optional, and half a second to import
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "pip install 'scraper[parquet]'") from None


def render(spool: Spool, path: Path) -> None:
    """Write the table; fields whose values have no type in common, and nested ones, become JSON text."""
    import pyarrow
    from pyarrow import parquet

    types = {name: _type(kinds) for name, kinds in spool.kinds.items()}
    schema = pyarrow.schema([(name, _arrow(pyarrow, type_)) for name, type_ in types.items()])
    records = iter(spool)
    try:
        with parquet.ParquetWriter(str(path), schema, compression="zstd") as writer:
            while batch := list(islice(records, _BATCH)):
                writer.write_table(pyarrow.Table.from_pylist(list(_rows(batch, types)), schema=schema))
    except pyarrow.ArrowException as error:
        raise UsageError(f"cannot write {path}: {error}") from error


def _type(kinds: set[str]) -> str:
    """The name of the one type that holds every value: bool, int, float, text, a list of these, or json."""
    found = kinds - {"null"}
    listed = {kind.removeprefix(_LIST) for kind in found if kind.startswith(_LIST)}
    if found and all(kind == "list" or kind.startswith(_LIST) for kind in found):
        inner = _type(listed)
        return "json" if inner == "json" or _LIST in inner else f"{_LIST}{inner}"
    if found <= {"int", "float"} and "float" in found:
        return "float"
    if len(found) <= 1 and found <= {"bool", "int", "text"}:
        return next(iter(found), "text")
    return "json"


def _arrow(pyarrow: Any, type_: str) -> Any:
    if type_.startswith(_LIST):
        return pyarrow.list_(_arrow(pyarrow, type_.removeprefix(_LIST)))
    plain = {"bool": pyarrow.bool_, "int": pyarrow.int64, "float": pyarrow.float64}
    return plain.get(type_, pyarrow.string)()


def _rows(batch: list[dict[str, Any]], types: dict[str, str]) -> Iterator[dict[str, Any]]:
    for record in batch:
        yield {name: _cell(record.get(name), type_) for name, type_ in types.items()}


def _cell(value: Any, type_: str) -> Any:
    if value is None:
        return None
    if type_.startswith(_LIST):
        return [_cell(each, type_.removeprefix(_LIST)) for each in value]
    if type_ == "json":
        return written(value)
    if type_ == "float":
        return float(value)
    return whole(value) if type_ == "text" else value
