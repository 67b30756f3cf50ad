"""Values as people write them: durations, sizes, switches, lists, tables, and the name they meant.

Every reader takes what a file gives (numbers, lists) as well as what a command line gives (text), and raises
ValueError saying what is expected.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scraper.ops.patterns import pattern

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_DURATION_PART = pattern(rf"({_NUMBER})\s*(ms|s|m|h|d|w)\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = pattern(rf"({_NUMBER})\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_CLOCK_TIME = pattern(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SWITCHES = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_LONGEST = 10_000

Reader = Callable[[object], Any]


def number(value: object) -> float:
    """A finite number that is not negative."""
    if isinstance(value, str) and len(value) < _LONGEST:
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("a number, 0 or more")
    return float(value)


def whole_number(value: object, least: int = 0) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"a whole number, {least} or more")
    return value


def duration(value: object) -> float:
    """Seconds from 90, "90", "50m", "1h30m" or "1.5 h"."""
    try:
        return number(value)
    except ValueError:
        pass
    text = value.strip().lower() if isinstance(value, str) else ""
    seconds, at = 0.0, 0
    while part := _DURATION_PART.match(text, at):
        seconds += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if not text or at < len(text) or seconds == math.inf:
        raise ValueError('a duration: seconds, or like "50m" or "1h30m"')
    return seconds


def size(value: object) -> int:
    """Bytes from 1000, "10MB" (a million each) or "32 MiB" (1,048,576 each)."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    found = _SIZE.fullmatch(text) if len(text) < 40 else None
    if not found or (found[3] and not found[2]):
        raise ValueError('a size: bytes, or like "10 MB" or "32 MiB"')
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def switch(value: object) -> bool:
    """True or False from a boolean, or from true/false, yes/no, on/off, 1/0."""
    if isinstance(value, str):
        value = _SWITCHES.get(value.strip().lower())
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(value: object) -> str:
    """One line of text that is not blank."""
    if not isinstance(value, str) or not value.strip() or not value.strip().isprintable():
        raise ValueError("one line of text")
    return value.strip()


def listing(value: object) -> tuple[Any, ...]:
    """The elements of a list; of text those between commas, or of the list that it writes out."""
    if isinstance(value, str):
        written = value.strip()
        value = (
            _written(written) if written.startswith("[") else [part.strip() for part in written.split(",")]
        )
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError("a list")
    return tuple(each for each in value if each != "")


def table(value: object) -> Mapping[str, Any]:
    """A mapping with text as keys; text is read as JSON or TOML: {"a": 1}, {a = 1} or a = 1."""
    if isinstance(value, str):
        value = _written(value.strip())
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError('a table: {"name": "value"}')
    return value


def hours(value: object) -> tuple[int, int]:
    """The first and the last minute of the day from "22:00-06:30"; the range may pass midnight."""
    ends = [_CLOCK_TIME.fullmatch(end.strip()) for end in value.split("-")] if isinstance(value, str) else []
    minutes = [int(end[1]) * 60 + int(end[2]) for end in ends if end]
    if len(ends) != 2 or len(minutes) != 2 or minutes[0] == minutes[1]:
        raise ValueError('two different times of day: "22:00-06:00"')
    return minutes[0], minutes[1]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that somebody who wrote `name` meant, if any comes near."""
    # Imported on first use: only a mistake needs it.
    from difflib import get_close_matches

    known = list(names)
    wanted = re.sub(r"\W+", "_", name[:100].strip().lower())
    if close := get_close_matches(wanted, known, n=1, cutoff=0.75):
        return close[0]
    inside = [each for each in known if wanted and (each in wanted or wanted in each)]
    if inside:
        return max(inside, key=len)
    return next(iter(get_close_matches(wanted, known, n=1)), None)


def at_least(least: int) -> Reader:
    return lambda value: whole_number(value, least)


def positive(read: Callable[[object], float | int], what: str) -> Reader:
    def reader(value: object) -> float | int:
        if not (given := read(value)):
            raise ValueError(f"{what} above 0")
        return given

    return reader


def one_of(*words: str) -> Reader:
    def reader(value: object) -> str:
        given = str(value).strip().lower()
        if given not in words:
            raise ValueError(" or ".join(words))
        return given

    return reader


def some_of(*words: str) -> Reader:
    def reader(value: object) -> tuple[str, ...]:
        given = tuple(str(each).strip().lower() for each in listing(value))
        if not set(given) <= set(words):
            raise ValueError(f"a list of {', '.join(words)}")
        return given

    return reader


def optional(read: Reader) -> Reader:
    def reader(value: object) -> Any:
        is_none = value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null"))
        return None if is_none else read(value)

    return reader


def _written(source: str) -> object:
    """The value that a piece of JSON or TOML writes out; None where it is neither."""
    if len(source) > 100 * _LONGEST:
        return None
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        pass
    import tomllib

    for document, pick in ((f"value = {source}", "value"), (source, None)):
        try:
            read = tomllib.loads(document)
        except (ValueError, RecursionError):
            continue
        return read[pick] if pick else read
    return None
