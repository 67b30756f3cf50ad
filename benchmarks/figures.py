"""Small statistics: what is told of a figure measured several times, and ratios within one turn."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the greatest of some measurements."""

    least: float
    middle: float
    most: float

    def text(self, digits: int = 2, unit: str = "") -> str:
        """The median, with least and greatest in brackets where there were several."""
        middle = f"{self.middle:,.{digits}f}{unit}"
        if self.least == self.most:
            return middle
        return f"{middle} ({self.least:,.{digits}f} to {self.most:,.{digits}f})"


def spread(values: Sequence[float]) -> Spread | None:
    """The spread of some measurements; None where there are none."""
    return Spread(min(values), median(values), max(values)) if values else None


def ratios(values: Sequence[float | None], base: Sequence[float | None]) -> list[float]:
    """Value by base, turn by turn; turns in which either is missing or the base is zero are left out."""
    pairs = zip(values, base, strict=True)
    return [value / other for value, other in pairs if value is not None and other]


def gaps(moments: Sequence[float]) -> list[float]:
    """The times between moments, in their order of time."""
    ordered = sorted(moments)
    return [after - before for before, after in pairwise(ordered)]


def most_within(moments: Sequence[float], window: float) -> int:
    """The most moments that lie less than `window` apart."""
    ordered = sorted(moments)
    most = first = 0
    for last, moment in enumerate(ordered):
        while moment - ordered[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most
