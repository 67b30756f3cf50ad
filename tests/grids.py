"""Grids of cases that are much alike."""

from collections.abc import Iterable
from typing import Any

import pytest


def mostly_thorough(cells: Iterable[tuple[Any, ...]], each: int = 3) -> list[Any]:
    """Of a grid's cells the first of `each` is run every time; all are by .ci/run."""
    return [
        pytest.param(*cell, marks=pytest.mark.thorough if number % each else ())
        for number, cell in enumerate(cells)
    ]
