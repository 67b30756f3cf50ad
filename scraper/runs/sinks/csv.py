"""CSV (RFC 4180): UTF-8, a header with every field of every record, nested values as JSON.

A text that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, CSV injection); numbers
stay as they are.
"""

import csv
import os
import re

from scraper.ops.disk import Replacement
from scraper.runs.sinks.table import Table, text_of

# The wide forms are the same to a spreadsheet that is set to an East Asian language.
_FORMULA = re.compile("[\\s\x00]*[=+\\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n|%]")
_NUMBER = re.compile(r"[+-]?\d[\d.,]{0,30}(?:e[+-]?\d{1,3})?%?", re.IGNORECASE | re.ASCII)


def render(table: Table, replacement: Replacement, *, is_safe: bool = True) -> list[str]:
    """Write the table; null and missing values are empty cells. `is_safe`: no cell is a formula."""
    columns = table.columns()
    shown = _safe if is_safe else text_of
    descriptor = os.open(replacement.part, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        # A header in quotes tells a reader that guesses the dialect that quotes may come further down.
        csv.writer(file, quoting=csv.QUOTE_ALL).writerow([shown(column.name) for column in columns])
        rows = csv.writer(file)
        for record in table:
            rows.writerow([shown(record.get(column.field)) for column in columns])
    replacement.commit()
    return []


def _safe(value: object) -> str | None:
    cell = text_of(value)
    if isinstance(value, str) and cell and _FORMULA.match(cell) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
