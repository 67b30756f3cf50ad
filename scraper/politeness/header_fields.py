"""How values of header fields are written: HTTP-dates, delta-seconds, lists with quoted strings."""

import re
from datetime import UTC, datetime

from scraper.ops.patterns import pattern

MAX_DELTA = 2**31

_MAX_VALUE = 8192
_DIGITS = pattern(r"[0-9]+")
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}
_DAY = "(?:mon|tue|wed|thu|fri|sat|sun)"
_LONG_DAY = "(?:mon|tues|wednes|thurs|fri|satur|sun)day"
_MONTH = "(?P<month>" + "|".join(_MONTHS) + ")"
_TIME = "(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_DATES = tuple(
    pattern(source, re.IGNORECASE | re.ASCII)
    for source in (
        rf"{_DAY}, (?P<day>[0-9]{{1,2}}) {_MONTH} (?P<year>[0-9]{{4}}) {_TIME} (?:GMT|UTC)",
        rf"{_LONG_DAY}, (?P<day>[0-9]{{2}})-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} (?:GMT|UTC)",
        rf"{_DAY} {_MONTH} (?P<day> ?[0-9]{{1,2}}) {_TIME} (?P<year>[0-9]{{4}})",
    )
)
_ZERO_ZONE = pattern(r" (?:[+-]0000|Z|UT)$")
_ISO_DATE = pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:")
_SCRIPT_DATE = pattern(
    r"[A-Z][a-z]{2} [A-Z][a-z]{2} [0-9]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT[+-][0-9]{4}"
)
_PARTS = {separator: pattern(rf'(?:[^"{separator}]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL) for separator in ",;"}
_ESCAPED = pattern(r"\\(.)", re.DOTALL)


def http_date(text: str, now: float) -> float | None:
    """Epoch seconds of an HTTP-date in any of its three formats; None if it is no such date.

    RFC 9110 5.6.7; letter case and the zone name UTC are let pass as RFC 9111 4.2 asks. `now` decides the
    century of two-digit years.
    """
    for date in _DATES:
        if found := date.fullmatch(text.strip(" \t")):
            return _moment(found, now)
    return None


def loose_date(text: str, now: float) -> float | None:
    """Epoch seconds of a date as servers write it: by HTTP, with a zone, by ISO 8601 or JavaScript."""
    text = text.strip(" \t")
    if (moment := http_date(_ZERO_ZONE.sub(" GMT", text), now)) is not None:
        return moment
    try:
        if found := _SCRIPT_DATE.match(text):
            return datetime.strptime(found[0], "%a %b %d %Y %H:%M:%S GMT%z").timestamp()
        moment_of_iso = datetime.fromisoformat(text) if _ISO_DATE.match(text) else None
    except ValueError:
        return None
    return (
        moment_of_iso.timestamp() if moment_of_iso is not None and moment_of_iso.tzinfo is not None else None
    )


def _moment(found: re.Match[str], now: float) -> float | None:
    year = int(found["year"])
    if len(found["year"]) == 2:
        return _in_century(found, year, now)
    return _epoch(found, year)


def _in_century(found: re.Match[str], year: int, now: float) -> float | None:
    """RFC 9110 5.6.7: what seems more than 50 years ahead lies in the past."""
    today = datetime.fromtimestamp(now, UTC)
    year += today.year - today.year % 100
    moment = _epoch(found, year)
    limit = _epoch_of(today.year + 50, today.month, min(today.day, 28))
    return _epoch(found, year - 100) if moment is None or moment > limit else moment


def _epoch_of(year: int, month: int, day: int) -> float:
    return datetime(year, month, day, 23, 59, 59, tzinfo=UTC).timestamp()


def _epoch(found: re.Match[str], year: int) -> float | None:
    # A leap second is written 60, which datetime does not know.
    second = int(found["second"])
    try:
        moment = datetime(
            year,
            _MONTHS[found["month"].lower()],
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            59 if second == 60 else second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp() + (second == 60)


def delta_seconds(text: str, most: int = MAX_DELTA) -> int | None:
    """A number of seconds, 1*DIGIT, at most `most`; None if it is anything else (RFC 9111 1.2.2)."""
    if not _DIGITS.fullmatch(text):
        return None
    digits = text.lstrip("0")
    # Python refuses to read very long numbers.
    return most if len(digits) > 12 else min(int(digits or "0"), most)


def split_list(value: str, separator: str = ",") -> list[str]:
    """The members of a list split at "," or ";", except inside quoted strings; empty ones left out."""
    parts = _PARTS[separator].findall(value[:_MAX_VALUE])
    return [stripped for part in parts if (stripped := part.strip(" \t"))]


def unquote(text: str) -> str:
    """The content of a quoted string (RFC 9110 5.6.4); other text as it is."""
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return _ESCAPED.sub(r"\1", text[1:-1])
    return text
