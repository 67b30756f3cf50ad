"""Tables as rows by the names of their columns (HTML 4.9)."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from lxml import etree

from scraper.errors import SpiderError

_MOST_SPAN = 1000  # HTML 4.9.11: the most columns that a cell may span
_MOST_ROWS = 65_534
_MOST_CELLS = 1_000_000
_MOST_TEXT = 2**26  # characters of all rows: of cells that span and of tables in tables it stands in each
_LENGTH: Any = etree.XPath("string-length()")
_INTEGER = re.compile(r"[ \t\n\f\r]*\+?([0-9]+)")  # HTML 2.3.4.2: what follows the digits does not count
_UNSEEN = frozenset(("script", "style", "template", "noscript"))
# What a browser shows on a line of its own; without a blank its text would run into its neighbour's.
_LINES = frozenset(
    "address article aside blockquote br caption center dd details dialog dir div dl dt fieldset figcaption"
    " figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr legend li main menu nav ol option p pre search"
    " section summary table tbody td tfoot th thead tr ul".split()
)

# Column: rows that a cell from above still takes, its text.
_Hanging = dict[int, tuple[int, str]]


def tables(elements: Iterable[Any]) -> list[list[dict[str, str]]]:
    """The tables among elements, each as its rows by the names of its columns.

    A cell that spans rows or columns stands in each. Names come from the header rows, joined where there are
    several; a column without one is called by its number from 1. SpiderError where there are too many cells.
    """
    made: list[list[dict[str, str]]] = []
    room, text = _MOST_CELLS, _MOST_TEXT
    for one in elements:
        if getattr(one, "tag", "") == "table":
            _check_text(text := text - int(_LENGTH(one)))
            grid, heads = _grid(one, room)
            width = max(map(len, grid), default=0)
            room -= len(grid) * width  # shorter rows are filled up
            _check(0, room)
            _check_text(text := text - sum(map(len, chain.from_iterable(grid))))
            made.append(_rows(grid, heads, width, text))
    return [rows for rows in made if rows]


def _rows(grid: list[list[str]], heads: list[bool], width: int, text: int) -> list[dict[str, str]]:
    named = [row for row, is_head in zip(grid, heads, strict=True) if is_head]
    names = list(_names(named, width, text // max(1, len(grid) - len(named))))
    return [
        dict(zip(names, (*row, *[""] * (width - len(row))), strict=True))
        for row, is_head in zip(grid, heads, strict=True)
        if not is_head
    ]


def _grid(table: Any, room: int) -> tuple[list[list[str]], list[bool]]:
    """The cells of each row by column (HTML 4.9.12), and whether a row is one of headers."""
    grid: list[list[str]] = []
    heads: list[bool] = []
    for group in _groups(table):
        hanging: _Hanging = {}  # no cell reaches beyond its group of rows
        for row in group:
            cells = [cell for cell in row if cell.tag in ("td", "th")]
            line, hanging = _line(cells, hanging, room)
            room -= len(line)
            grid.append(line)
            is_head = row.getparent().tag == "thead" or all(cell.tag == "th" for cell in cells)
            heads.append(is_head and bool(cells) and all(heads))
    return grid, heads


def _line(cells: list[Any], hanging: _Hanging, room: int) -> tuple[list[str], _Hanging]:
    line = {column: text for column, (_, text) in hanging.items()}
    below = {column: (rows - 1, text) for column, (rows, text) in hanging.items() if rows > 1}
    at = 0
    for cell in cells:
        while at in line:
            at += 1
        columns = range(at, at + _span(cell, "colspan", 1, _MOST_SPAN))
        _check(columns.stop, room)
        text = _text(cell)
        line |= dict.fromkeys(columns, text)
        if (rows := _span(cell, "rowspan", _MOST_ROWS, _MOST_ROWS)) > 1:
            below |= dict.fromkeys(columns, (rows - 1, text))
        at = columns.stop
    width = max(line, default=-1) + 1
    _check(width, room)
    return [line.get(column, "") for column in range(width)], below


def _check(cells: int, room: int) -> None:
    if cells > room:
        raise SpiderError(f"tables of more than {_MOST_CELLS:,} cells")


def _check_text(room: int) -> None:
    if room < 0:
        raise SpiderError(f"tables of more than {_MOST_TEXT:,} characters: what spans stands in each row")


def _groups(table: Any) -> Iterator[list[Any]]:
    """Rows that belong together: those of each thead, tbody and tfoot, and those in between."""
    loose: list[Any] = []
    for part in table:
        if part.tag == "tr":
            loose.append(part)
        elif part.tag in ("thead", "tbody", "tfoot"):
            yield loose
            loose = []
            yield [row for row in part if row.tag == "tr"]
    yield loose


def _span(cell: Any, name: str, of_zero: int, most: int) -> int:
    found = _INTEGER.match(cell.get(name) or "")
    return min(int(found[1][:9]) or of_zero, most) if found else 1


def _text(cell: Any) -> str:
    """The text that a browser shows in a cell, in one line."""
    if not len(cell):
        return " ".join((cell.text or "").split())
    pieces: list[str] = []
    unseen = 0
    for event, element in etree.iterwalk(cell, events=("start", "end", "comment", "pi")):
        if event == "start":
            is_line = element.tag in _LINES
            unseen += element.tag in _UNSEEN
            pieces += [" " if is_line else "", "" if unseen else element.text or ""]
        else:
            if event == "end":
                unseen -= element.tag in _UNSEEN
                pieces.append(" " if element.tag in _LINES else "")
            if element is not cell and not unseen:
                pieces.append(element.tail or "")
    return " ".join("".join(pieces).split())


def _names(heads: list[list[str]], width: int, room: int) -> Iterator[str]:
    """The names of columns, which have room for so many characters in a row."""
    seen: dict[str, int] = {}
    for at in range(width):
        said = dict.fromkeys(head[at] for head in heads if at < len(head) and head[at])
        _check_text(room := room - sum(map(len, said)))
        name = " ".join(said) or str(at + 1)
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}"
