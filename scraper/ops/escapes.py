"""Finds texts however they are written: in any case, escaped for URL, HTML, JSON or Python, once or often."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from html import unescape

from scraper.ops.patterns import pattern

_ESCAPE = pattern(
    r"(?i)(?:%(?:25)*[0-9a-f]{2})+"
    r"|&(?:amp;)*(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});"
    r"|(?:\\+x[0-9a-f]{2})+"
    r"|(?:\\+u[0-9a-f]{4})+"
    r"|\\+[nrtbf\"'/]|\\{2,}"
)
_OCTET = pattern(r"(?i)[%\\]+(?:25)*x?([0-9a-f]{2})")
_UNIT = pattern(r"(?i)\\+u([0-9a-f]{4})")
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
_OTHER = pattern(r"[^\x00-\x7f]")

Piece = tuple[str, int, int]
"""A character, and where in a text it is written."""


class Sought:
    """Texts to be found, `folded`."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        self._is_ascii = True

    def add(self, texts: Iterable[str]) -> None:
        """Look for these too."""
        self._texts.update(texts)
        self._is_ascii = all(map(str.isascii, self._texts))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where a text holds them, however they are written there."""
        if not self._texts:
            return []
        is_ascii = self._is_ascii
        if is_ascii or text.isascii():
            found = self._found(_lower(text))
        else:
            found = list(self._spans(text, _others(text)))
        if "%" in text or "&" in text or "\\" in text:
            found += self._spans(text, _pieces(text, is_ascii=is_ascii))
        return _merged(found) if found else found

    def _found(self, canonical: str) -> list[tuple[int, int]]:
        # One regular expression would try thousands of alternatives at each place.
        texts = [text for text in self._texts if text in canonical]
        return [span for text in texts for span in _every(text, canonical)]

    def _spans(self, text: str, pieces: Iterable[Piece]) -> Iterator[tuple[int, int]]:
        canonical, starts, places = _canonical(text, pieces)
        for start, end in self._found(canonical):
            yield _place(start, starts, places)[0], _place(end - 1, starts, places)[1]


def _every(sought: str, text: str) -> Iterator[tuple[int, int]]:
    at = text.find(sought)
    while at >= 0:
        yield at, at + len(sought)
        at = text.find(sought, at + len(sought))


def folded(text: str) -> str:
    """A text without differences of case and of composition."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKD", text.casefold())


_folded = lru_cache(maxsize=4096)(folded)  # of characters


def unescaped(text: str) -> str:
    """A text without its escapes."""
    return _canonical(text, _pieces(text, is_ascii=True))[0]


def _canonical(text: str, pieces: Iterable[Piece]) -> tuple[str, list[int], list[tuple[int, int]]]:
    """A text with its pieces written out, where in it each stretch begins, and where that was.

    A stretch is a piece, or all between two (its end is 0: each character stands for itself).
    """
    parts: list[str] = []
    starts: list[int] = []
    places: list[tuple[int, int]] = []
    length = last = 0

    def add(part: str, start: int, end: int) -> None:
        nonlocal length
        if part:
            parts.append(part)
            starts.append(length)
            places.append((start, end))
            length += len(part)

    for char, start, end in pieces:
        add(_lower(text[last:start]), last, 0)
        add(_folded(char), start, end)
        last = end
    add(_lower(text[last:]), last, 0)
    return "".join(parts), starts, places


def _lower(text: str) -> str:
    """A text in lower case, as long as before."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def _place(at: int, starts: list[int], places: list[tuple[int, int]]) -> tuple[int, int]:
    number = bisect_right(starts, at) - 1
    start, end = places[number]
    return (start, end) if end else (start + at - starts[number], start + at - starts[number] + 1)


def _others(text: str) -> Iterator[Piece]:
    if not text.isascii():
        for found in _OTHER.finditer(text):
            if _folded(found[0]) != found[0]:
                yield found[0], found.start(), found.end()


def _pieces(text: str, *, is_ascii: bool) -> Iterator[Piece]:
    last = 0
    for found in _ESCAPE.finditer(text):
        if not is_ascii:
            yield from _shifted(_others(text[last : found.start()]), last)
        last = found.end()
        yield from _shifted(_characters(found[0]), found.start())
    if not is_ascii:
        yield from _shifted(_others(text[last:]), last)


def _shifted(pieces: Iterable[Piece], by: int) -> Iterator[Piece]:
    return ((char, start + by, end + by) for char, start, end in pieces)


def _characters(escape: str) -> Iterator[Piece]:
    """The characters that a run of escapes stands for."""
    if escape[0] == "&":
        char = unescape("&" + escape[1:].replace("amp;", "") if len(escape) > 5 else escape)
        yield char, 0, len(escape)
    elif escape[0] == "%" or escape.lstrip("\\")[:1] in ("x", "X"):
        yield from _decoded(list(_OCTET.finditer(escape)))
    elif escape.lstrip("\\")[:1] in ("u", "U"):
        yield from _joined(list(_UNIT.finditer(escape)))
    else:
        last = escape.lstrip("\\")
        yield _CONTROLS.get(last.lower(), last) or "\\", 0, len(escape)


def _decoded(octets: list[re.Match[str]]) -> Iterator[Piece]:
    data = bytes(int(one[1], 16) for one in octets)
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = ""
    if not text:
        yield from ((chr(value), one.start(), one.end()) for value, one in zip(data, octets, strict=True))
    at = 0
    for char in text:
        end = at + len(char.encode())
        yield char, octets[at].start(), octets[end - 1].end()
        at = end


def _joined(units: list[re.Match[str]]) -> Iterator[Piece]:
    at = 0
    while at < len(units):
        code, width = int(units[at][1], 16), 1
        if 0xD800 <= code < 0xDC00 and at + 1 < len(units):
            code, width = 0x10000 + ((code - 0xD800) << 10) + (int(units[at + 1][1], 16) & 0x3FF), 2
        yield chr(code), units[at].start(), units[at + width - 1].end()
        at += width


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
