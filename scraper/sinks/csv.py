"""CSV (RFC 4180): UTF-8, a header with every field of every record, nested values as JSON."""

import csv
from pathlib import Path

from scraper.sinks.table import Spool, whole, written


def render(spool: Spool, path: Path) -> None:
    """Write the table; null and missing values are empty cells."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        columns = list(spool.kinds)
        if columns:
            rows.writerow(columns)
        for record in spool:
            rows.writerow([_cell(record.get(column)) for column in columns])


def _cell(value: object) -> str:
    if value is None:
        return ""
    return whole(value) if isinstance(value, str) else written(value)
