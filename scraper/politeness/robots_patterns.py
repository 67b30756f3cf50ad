"""Paths and patterns of robots.txt (RFC 9309 2.2.2, 2.2.3), which tdmrep.json has too.

Both are brought to one spelling, where a `*` or `$` that means itself is percent-encoded. So a path can be
given a `$` of its own at its end, and the `$` that ends a pattern is then matched like any other character.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Generic, TypeVar

from scraper.ops.patterns import pattern

_T = TypeVar("_T")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_TO_SPELL = pattern(r"[^A-Za-z0-9\-._~:/?#\[\]@!&'()+,;=](?:(?<=%)[0-9A-Fa-f]{2})?")
_STARS = pattern(r"\*+")
_FEW = 100  # patterns with `*`: most sites have fewer
_KEY = 6  # characters
_URL = pattern(r"(?:(?:[A-Za-z][A-Za-z0-9+.\-]*:)?//[^/?#]*)?([^#]*)")


def spelled_path(url: str) -> str:
    """Path and query of a URL in the one spelling, and `$`."""
    found = _URL.match(url)
    path = found[1] if found else ""
    if not path.isascii():
        path = path.encode("utf-8", "surrogatepass").decode("latin-1")  # a character per octet
    return ("" if path.startswith("/") else "/") + _TO_SPELL.sub(_spell, path) + "$"


def spelled_pattern(value: bytes) -> str:
    """A pattern in the one spelling: each `*`, and a `$` at the end, stay as they are."""
    text = value.decode("latin-1")
    pieces = text.removesuffix("$").split("*")
    return "*".join(_TO_SPELL.sub(_spell, piece) for piece in pieces) + ("$" if text.endswith("$") else "")


def _spell(found: re.Match[str]) -> str:
    """An unreserved octet as a character, any other as `%XX`."""
    text = found[0]
    octet = int(text[1:], 16) if len(text) == 3 else ord(text)
    return chr(octet) if chr(octet) in _UNRESERVED else f"%{octet:02X}"


class Patterns(Generic[_T]):
    """Values by pattern. Patterns without `*` are found by their text, so that many cost no more than few.

    Of very many with `*` those are looked at of which a piece begins somewhere in the path.
    """

    __slots__ = ("_globs", "_keys", "_lengths", "_values")

    def __init__(self, values: Mapping[str, _T]) -> None:
        globs = sorted((pattern for pattern in values if "*" in pattern), key=len, reverse=True)
        self._globs = [(len(pattern), _STARS.split(pattern), values[pattern]) for pattern in globs]
        self._keys = _by_key([pieces for _, pieces, _ in self._globs]) if len(globs) > _FEW else {}
        self._values = {pattern: value for pattern, value in values.items() if "*" not in pattern}
        self._lengths = sorted(set(map(len, self._values)), reverse=True)

    def find(self, path: str) -> tuple[int, _T | None]:
        """Octets and value of the longest pattern that matches; 0 and None where none does."""
        octets, found = 0, None
        for length in self._lengths:
            start = path[:length]
            if start in self._values:
                octets, found = len(start), self._values[start]
                break
        for length, pieces, value in self._near(path):
            if length <= octets:
                break
            if pieces[-1] in path and path.startswith(pieces[0]) and _has_in_order(path, pieces):
                return length, value
        return octets, found

    def _near(self, path: str) -> Iterable[tuple[int, list[str], _T]]:
        """The patterns with `*` that may match a path, the longest first."""
        if not self._keys:
            return self._globs
        lengths = {len(key) for key in self._keys}
        inside = {path[at : at + length] for length in lengths for at in range(len(path))}
        found = (self._keys[key] for key in inside & self._keys.keys())
        return [self._globs[at] for at in sorted(chain.from_iterable(found))]


def _by_key(globs: Sequence[list[str]]) -> dict[str, list[int]]:
    """The numbers of patterns by the beginning of one of their pieces: that which the fewest of them have."""
    keys = [[piece[:_KEY] for piece in pieces if piece] or [""] for pieces in globs]
    often = Counter(chain.from_iterable(keys))
    found: dict[str, list[int]] = {}
    for at, own in enumerate(keys):
        key = own[0] if len(own) == 1 else min(own, key=lambda one: (often[one], -len(one)))
        found.setdefault(key, []).append(at)
    return found


def _has_in_order(path: str, pieces: list[str]) -> bool:
    # The first place where a piece is found leaves the most room for the rest: no other needs a try.
    end = 0
    for piece in pieces:
        start = path.find(piece, end)
        if start < 0:
            return False
        end = start + len(piece)
    return True
