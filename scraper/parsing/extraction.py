"""What a page says in a form for machines: JSON-LD, microdata, RDFa, Open Graph, JSON in scripts, tables.

The functions take the tree of a page. JSON-LD, Open Graph, tables and JSON in scripts need nothing more;
microdata, RDFa and readable text need the extra `extract`.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from lxml import etree

from scraper.errors import SpiderError

_LD: Any = etree.XPath("//script[contains(translate(@type, 'JSONLD', 'jsonld'), 'ld+json')]/text()")
_PROPERTIES: Any = etree.XPath("//meta[@property and @content]")
_SCRIPTS: Any = etree.XPath("//script[not(@src)]")
_COMMENT = re.compile(
    r"\A\s*(?:<!--|//\s*<!\[CDATA\[|/\*\s*<!\[CDATA\[\s*\*/)|(?:-->|//\s*\]\]>|/\*\s*\]\]>\s*\*/)\s*\Z"
)
_MOST_SPAN = 1000  # HTML 4.9.11: the most columns that a cell may span
_MOST_ROWS = 65_534
_MOST_CELLS = 1_000_000


def json_ld(root: Any) -> list[Any]:
    """The JSON-LD objects of a page, those of lists and graphs one by one; what is no JSON is left out."""
    found: list[Any] = []
    for text in _LD(root):
        try:
            value = json.loads(_COMMENT.sub("", str(text)), strict=False)
        except ValueError:
            continue
        for one in value if isinstance(value, list) else [value]:
            graph = one.get("@graph") if isinstance(one, dict) else None
            found.extend(graph if isinstance(graph, list) else [one])
    return found


def open_graph(root: Any) -> dict[str, Any]:
    """The properties of a page (og:title, article:author ...); of several with one name a list."""
    found: dict[str, Any] = {}
    for meta in _PROPERTIES(root):
        name, value = meta.get("property").strip(), meta.get("content")
        if name in found:
            before = found[name]
            found[name] = [*before, value] if isinstance(before, list) else [before, value]
        else:
            found[name] = value
    return found


def by_extruct(root: Any, url: str, syntax: str) -> list[Any]:
    """Microdata or RDFa of a page, as extruct gives it."""
    try:
        import extruct
    except ImportError:
        raise SpiderError(f"page.{syntax} needs extruct", "pip install 'scraper[extract]'") from None
    text = etree.tostring(root, encoding="unicode", method="html")
    found: list[Any] = extruct.extract(text, base_url=url, syntaxes=[syntax], errors="ignore").get(syntax, [])
    return found


def main_text(root: Any) -> str:
    """The readable main text of a page, as trafilatura finds it."""
    try:
        import trafilatura
    except ImportError:
        raise SpiderError("page.text_content() needs trafilatura", "pip install 'scraper[extract]'") from None
    return trafilatura.extract(etree.tostring(root, encoding="unicode", method="html")) or ""


# JSON in scripts --------------------------------------------------------------------------------------------
def json_in_scripts(root: Any, path: str) -> Any:
    """The JSON of the script with an id, or of a variable that a script sets, and what a path finds in it.

    `path`: `__NEXT_DATA__.props.pageProps`, `window.__STATE__`, `data.items.0`. SpiderError for none.
    """
    name, _, rest = path.removeprefix("window.").partition(".")
    for script in _SCRIPTS(root):
        text = "".join(script.itertext())
        if script.get("id") == name:
            return _walk(_decoded(text.strip(), name), rest, path)
        found = re.search(rf"(?<![\w$]){re.escape(name)}[\"']?\]?\s*=(?!=)\s*", text)
        if found:
            return _walk(_decoded(text[found.end() :], name), rest, path)
    ids = ", ".join(filter(None, (script.get("id") for script in _SCRIPTS(root)))) or "none"
    raise SpiderError(f"no script has the id {name!r} or sets a variable of that name", f"ids: {ids[:200]}")


def _decoded(text: str, name: str) -> Any:
    wrapped = re.match(r"JSON\.parse\(\s*(?=[\"'])", text)
    try:
        if wrapped:
            return json.loads(_string(text[wrapped.end() :]))
        return json.JSONDecoder(strict=False).raw_decode(text)[0]
    except ValueError:
        pass
    try:
        import chompjs
    except ImportError:
        raise SpiderError(f"{name} is JavaScript, not JSON", "pip install 'scraper[extract]'") from None
    try:
        return chompjs.parse_js_object(text)
    except ValueError:
        raise SpiderError(f"{name} is no value that can be read without running its script") from None


def _string(text: str) -> str:
    """A JavaScript string literal at the beginning of a text; ValueError where it is none."""
    quote = text[:1]
    literal = re.match(rf"{quote}((?:[^\\{quote}\r\n]|\\.)*){quote}", text)
    if literal is None:
        raise ValueError("no string")
    inner = re.sub(r"\\x([0-9a-fA-F]{2})", r"\\u00\1", literal[1]).replace("\\'", "'")
    value: str = json.loads('"' + (re.sub(r'(?<!\\)"', r'\\"', inner)) + '"')
    return value


def _walk(value: Any, rest: str, path: str) -> Any:
    for step in filter(None, rest.split(".")):
        try:
            value = value[int(step)] if isinstance(value, list) else value[step]
        except (KeyError, IndexError, ValueError, TypeError):
            has = ", ".join(map(str, value))[:200] if isinstance(value, dict) else type(value).__name__
            raise SpiderError(f"{path} has no {step!r}", f"there is {has}") from None
    return value


# tables -----------------------------------------------------------------------------------------------------
def tables(elements: Iterable[Any]) -> list[list[dict[str, str]]]:
    """The tables among elements, each as its rows by the names of its columns.

    A cell that spans rows or columns stands in each. Names come from the header rows, joined where there are
    several; a column without one is called by its number from 1.
    """
    found = (one for one in elements if getattr(one, "tag", "") == "table")
    return [rows for rows in map(_table, found) if rows]


def _table(table: Any) -> list[dict[str, str]]:
    grid, heads = _grid(table)
    width = max(map(len, grid), default=0)
    names = list(_names([row for row, is_head in zip(grid, heads, strict=True) if is_head], width))
    return [
        dict(zip(names, (*row, *[""] * (width - len(row))), strict=True))
        for row, is_head in zip(grid, heads, strict=True)
        if not is_head
    ]


def _grid(table: Any) -> tuple[list[list[str]], list[bool]]:
    """The cells of each row by column (HTML 4.9.12), and whether a row is one of headers."""
    grid: list[list[str]] = []
    heads: list[bool] = []
    hanging: dict[int, tuple[int, str]] = {}  # column: rows that a cell from above still takes, its text
    count = 0
    for row in _rows(table):
        cells = [cell for cell in row if cell.tag in ("td", "th")]
        line, hanging = _line(cells, hanging)
        count += len(line)
        if count > _MOST_CELLS:
            raise SpiderError(f"a table of more than {_MOST_CELLS:,} cells")
        grid.append(line)
        is_head = row.getparent().tag == "thead" or all(cell.tag == "th" for cell in cells)
        heads.append(is_head and bool(cells) and all(heads))
    return grid, heads


def _line(
    cells: list[Any], hanging: dict[int, tuple[int, str]]
) -> tuple[list[str], dict[int, tuple[int, str]]]:
    line = {column: text for column, (_, text) in hanging.items()}
    below = {column: (rows - 1, text) for column, (rows, text) in hanging.items() if rows > 1}
    at = 0
    for cell in cells:
        while at in line:
            at += 1
        text = " ".join("".join(cell.itertext()).split())
        columns = range(at, at + _span(cell, "colspan", 1))
        line |= dict.fromkeys(columns, text)
        if (rows := _span(cell, "rowspan", _MOST_ROWS)) > 1:
            below |= dict.fromkeys(columns, (rows - 1, text))
        at = columns.stop
    return [line.get(column, "") for column in range(max(line, default=-1) + 1)], below


def _rows(table: Any) -> Iterator[Any]:
    for part in table:
        if part.tag == "tr":
            yield part
        elif part.tag in ("thead", "tbody", "tfoot"):
            yield from (row for row in part if row.tag == "tr")


def _span(cell: Any, name: str, of_zero: int) -> int:
    text = (cell.get(name) or "").strip()
    most = _MOST_ROWS if name == "rowspan" else _MOST_SPAN
    return min(int(text[:9]) or of_zero, most) if text.isascii() and text.isdecimal() else 1


def _names(heads: list[list[str]], width: int) -> Iterator[str]:
    seen: dict[str, int] = {}
    for at in range(width):
        said = dict.fromkeys(head[at] for head in heads if at < len(head) and head[at])
        name = " ".join(said) or str(at + 1)
        seen[name] = seen.get(name, 0) + 1
        yield name if seen[name] == 1 else f"{name} {seen[name]}"
