"""Figures for people, out of values that may be missing or not what they should be."""

import datetime
import math
from collections.abc import Mapping
from typing import Any


def number(values: Mapping[str, Any], name: str) -> float:
    """A finite number of 0 or more; 0 where there is none."""
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
        return 0
    return value


def count(value: float) -> str:
    """12,345"""
    return f"{value:,.0f}"


def counted(values: Mapping[str, Any], name: str) -> str:
    """A number of a mapping, written out."""
    return count(number(values, name))


def share(value: float) -> str:
    """Whole percents, but never 0 % or 100 % for what is only near."""
    whole = round(100 * value)
    if whole == 0 and value > 0:
        return "<1 %"
    return ">99 %" if whole == 100 and value < 1 else f"{whole} %"


def size(value: float) -> str:
    """1.2 MiB"""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """0.8 s, 48 s, 5 min 12 s, 2 h 05 min"""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


def interval(seconds: float) -> str:
    """A delay or gap: 1 s, 1.004 s."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def moment(value: object) -> str:
    """2026-01-02 03:04 UTC, from epoch seconds or ISO 8601; empty for anything else."""
    try:
        if isinstance(value, str):
            at = datetime.datetime.fromisoformat(value)
        elif isinstance(value, int | float):
            at = datetime.datetime.fromtimestamp(value, datetime.UTC)
        else:
            return ""
        return f"{at.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return ""


def median(values: list[float]) -> float:
    """The middle one; 0 of none."""
    ranked = sorted(values)
    middle = len(ranked) // 2
    if not ranked:
        return 0.0
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def plural(n: float, one: str, many: str = "") -> str:
    """1 page, 2 pages"""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
