"""CSV (RFC 4180): UTF-8, a header with every field of every record, nested values as JSON."""

import csv

from scraper.ops.disk import Replacement
from scraper.sinks.table import Table, text_of


def render(table: Table, replacement: Replacement) -> list[str]:
    """Write the table; null and missing values are empty cells."""
    columns = table.columns()
    with replacement.part.open("w", encoding="utf-8", newline="") as file:
        # A header in quotes tells a reader that guesses the dialect that quotes may come further down.
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow([column.name for column in columns])
        rows = csv.writer(file)
        for record in table:
            rows.writerow([text_of(record.get(column.field)) for column in columns])
    replacement.commit()
    return []
