"""Figures and tables as people read them, in 80 columns."""

import datetime
import os
import shutil
import sys
from collections.abc import Sequence
from textwrap import wrap
from typing import Any, TextIO

import click

from scraper.ops.clock import SystemClock
from scraper.ops.printable import printable

WIDTH = 80
_COLOURS = {"OK": "green", "DEGRADED": "yellow", "INCOMPLETE": "yellow"}


def duration(seconds: float) -> str:
    """Seconds as "0.4 s", "8.2 s", "25 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.1f} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, left = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {left:02} s" if minutes < 10 else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} days {hours % 24} h"


def size(count: float) -> str:
    """Bytes as "288 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1000 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"


def count(number: int, noun: str, plural: str = "") -> str:
    """ "1 page", "2,000 pages"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def moment(wall: float) -> str:
    """A wall moment in local time: the hour for today, with the date otherwise."""
    try:
        then = datetime.datetime.fromtimestamp(wall)
    except (ValueError, OverflowError, OSError):
        return "never"  # what no calendar holds
    today = datetime.datetime.fromtimestamp(SystemClock(0.0).wall()).date()
    return f"{then:%H:%M}" if then.date() == today else f"{then:%Y-%m-%d %H:%M}"


def iso(text: str) -> float:
    """The wall moment of an ISO 8601 text; 0 for none."""
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except (TypeError, ValueError):
        return 0.0


def cut(text: str, width: int) -> str:
    """A text in one line of at most `width` characters."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= width else f"{line[: max(width - 1, 0)]}…"


def cut_columns(text: str, width: int) -> str:
    """The same for a line whose blanks make columns."""
    line = printable(text)
    return line if len(line) <= width else f"{line[: max(width - 1, 0)]}…"


def verdict(word: str) -> str:
    """A verdict in its colour, where colours are seen."""
    return colour(word, _COLOURS.get(word, "red")) if word.isupper() else word


def colour(text: str, name: str, stream: TextIO | None = None) -> str:
    """A text in a colour on a terminal; as it is elsewhere and under NO_COLOR."""
    is_seen = (stream or sys.stdout).isatty() and not os.environ.get("NO_COLOR")
    return click.style(text, fg=name) if is_seen else text


def columns() -> int:
    """The width to write for: the terminal's, or 80."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if sys.stdout.isatty() else WIDTH


def room(stream: TextIO) -> int | None:
    """The width of the terminal that a stream is; None for a file or a pipe, whose lines stay whole."""
    return shutil.get_terminal_size((WIDTH, 24)).columns if stream.isatty() else None


def folded(line: str, indent: int, width: int | None) -> list[str]:
    """A line of prose in lines of `width`, broken between words; a URL stays whole."""
    if width is None or len(line) <= width:
        return [line]
    further = " " * indent
    return wrap(line, width, subsequent_indent=further, break_long_words=False, break_on_hyphens=False)


def with_remark(line: str, indent: int, width: int | None) -> list[str]:
    """A path or command in a line, what is said of it in parentheses in the next where both are too long."""
    told, bracket, remark = line.rpartition(" (")
    if width is None or len(line) <= width or not (bracket and line.endswith(")")):
        return [line]
    return [told.rstrip(), f"{' ' * indent}({remark}"]


def table(heads: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[int] = ()) -> list[str]:
    """A plain table; the last column is cut where the line is full, all others are as wide as they need."""
    cells = [[cut(str(cell), 500) for cell in row] for row in (heads, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for row in cells:
        parts = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        lead = "  ".join(parts) + "  " if parts else ""
        last = row[-1].rjust(widths[-1]) if len(row) - 1 in right else row[-1]
        lines.append((lead + cut(last, max(columns() - len(lead), 12))).rstrip())
    return lines
