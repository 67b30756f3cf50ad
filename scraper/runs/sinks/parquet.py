"""Parquet: one schema over all records, written in row groups; needs the extra `parquet` (pyarrow)."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from scraper.errors import UsageError
from scraper.ops.disk import Replacement
from scraper.runs.sinks.table import LIST, Column, Table, mixed, typed

_BATCH = 5_000
# Readers work by row groups: small ones make a file large and slow, large ones cost us memory.
_GROUP_ROWS = 120_000
_GROUP_BYTES = 64 << 20


def check() -> None:
    """Raise UsageError where the extra is not installed."""
    try:
        import pyarrow  # noqa: F401 - optional, and half a second to import
    except ImportError:
        raise UsageError("Parquet needs pyarrow", "pip install 'scraper[parquet]'") from None


def render(table: Table, replacement: Replacement) -> list[str]:
    """Write the table."""
    import pyarrow
    from pyarrow import parquet

    columns = table.columns()
    schema = pyarrow.schema([(column.name, _arrow(pyarrow, column.type)) for column in columns])
    try:
        with parquet.ParquetWriter(str(replacement.part), schema, compression="zstd") as writer:
            for group in _groups(pyarrow, table, columns, schema):
                writer.write_table(group, row_group_size=group.num_rows)
    except pyarrow.ArrowException as error:
        raise UsageError(f"cannot write {replacement.target}: {error}") from error
    replacement.commit()
    return mixed(table)


def _groups(pyarrow: Any, table: Table, columns: list[Column], schema: Any) -> Iterator[Any]:
    """Row groups of records, each as an Arrow table."""
    records = iter(table)
    batches: list[Any] = []
    while batch := list(islice(records, _BATCH)):
        arrays = [
            pyarrow.array([typed(record.get(column.field), column.type) for record in batch], type_)
            for column, type_ in zip(columns, schema.types, strict=True)
        ]
        batches.append(pyarrow.Table.from_arrays(arrays, schema=schema))
        is_full = sum(one.num_rows for one in batches) >= _GROUP_ROWS
        if is_full or sum(one.nbytes for one in batches) >= _GROUP_BYTES:
            yield pyarrow.concat_tables(batches)
            batches = []
    if batches:
        yield pyarrow.concat_tables(batches)


def _arrow(pyarrow: Any, type_: str) -> Any:
    if type_.startswith(LIST):
        return pyarrow.list_(_arrow(pyarrow, type_.removeprefix(LIST)))
    plain = {"bool": pyarrow.bool_, "int": pyarrow.int64, "float": pyarrow.float64}
    return plain.get(type_, pyarrow.string)()
