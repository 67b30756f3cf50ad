"""One function that cleans whatever comes from outside before a person sees it: terminal, report, mail.

What could move a cursor, hide, reorder or break the text around it is shown as U+FFFD: C0 and C1 controls,
which begin escape sequences (ECMA-48), bidi controls (UAX 9), invisible characters, tags, lone surrogates.
Joiners stay: words and emoji need them.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from scraper.ops.patterns import pattern

HIDDEN = pattern(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_REPLACED = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """One line in which nothing is hidden; a tab stays."""
    if text.isprintable():
        return text  # nothing hidden is, nor a tab
    return HIDDEN.sub(lambda found: "\t" if found[0] == "\t" else _REPLACED, text)


def printable_lines(text: str) -> str:
    """The same for a text of several lines."""
    return "\n".join(map(printable, text.split("\n")))


def printable_value(found: Any, clean: Callable[[str], str] = printable) -> Any:
    """A JSON-able value in which every text is printable."""
    if isinstance(found, str):
        return clean(found)
    if isinstance(found, Mapping):
        return {printable(str(key)): printable_value(each, clean) for key, each in found.items()}
    if isinstance(found, list | tuple):
        return [printable_value(each, clean) for each in found]
    return found


def json_text(value: object, indent: int | None = None) -> str:
    """JSON in which what is hidden stands as its escape."""
    return escaped(json.dumps(value, ensure_ascii=False, default=str, indent=indent))


def escaped(text: str) -> str:
    """JSON, on any number of lines, that means the same and that no terminal obeys."""
    if text.isascii() and "\x7f" not in text:
        return text  # what else is hidden and ASCII stands as its escape already
    return HIDDEN.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)
