"""The health policy that a spider declares, and the facts about a run: the input of the verdict."""

import json
from collections.abc import Mapping
from dataclasses import field, fields
from typing import Any

from scraper.errors import SpiderError
from scraper.model.frozen import frozen
from scraper.settings import values

_MOST_FIELDS = 1_000


@frozen
class Health:
    """What a spider declares to be healthy. Shares are between 0 and 1.

    `max_drop`: records or a field's fill rate below (1 - max_drop) x the median of the runs before.
    `max_failed`: share of pages that may fail, be gone (404, 410) or be refused, and of records that may lack
    a `required` field. `max_repeated`: share of records that may be dropped since an earlier one has their
    key and says something else.
    """

    min_records: int | None = None
    max_drop: float = 0.5
    max_failed: float = 0.1
    required: tuple[str, ...] = ()
    allow_empty: bool = False
    max_repeated: float = 0.1


@frozen
class Facts:
    """What is known of a run at its end.

    `pages` were fetched and parsed, `unchanged` stand as they were; `errors` counts the pages whose callback
    raised, by error, `failures` the URLs given up, by reason, `gone` the 404 and 410, `denied` those that may
    not be fetched, by rule. By domain: `refused` counts URLs not fetched because the domain refuses us,
    `blocked` names those left alone for it, `down` is the reason why a domain could not be reached at all,
    `auth` the reason why a login failed. `filled` counts records by field that is not empty,
    `rejected` those that are not kept, `repeated` those that had the key of another
    and were not its equal, `emptied` the pages that bring nothing where they did. `mixed_up` counts, by
    domain, pages whose answers may have been those to other requests. `stopped`: why the run ended before its
    work was done ("SIGTERM", "example.org asks to wait until 14:00"), empty otherwise. `is_limited`: a limit
    that the user set for this run alone was reached, so its totals are not held against other runs.
    `is_given_up`: it was stopped because callbacks raised on page after page.
    """

    pages: int = 0
    unchanged: int = 0
    records: int = 0
    filled: Mapping[str, int] = field(default_factory=dict)
    errors: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, int] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    denied: Mapping[str, int] = field(default_factory=dict)
    down: Mapping[str, str] = field(default_factory=dict)
    auth: Mapping[str, str] = field(default_factory=dict)
    mixed_up: Mapping[str, int] = field(default_factory=dict)
    rejected: int = 0
    rejected_example: str = ""
    emptied: int = 0
    emptied_example: str = ""
    repeated: int = 0
    repeated_example: str = ""
    gone: int = 0
    domains: int = 1
    deferred: int = 0
    stopped: str = ""
    is_limited: bool = False
    is_given_up: bool = False


class Fill:
    """How many records have something in a field, counted as they come.

    Not counted as filled: null, blank text, empty lists and objects. Zero and false are filled.
    """

    def __init__(self, records: int = 0, filled: Mapping[str, int] | None = None) -> None:
        self.records = records
        self.filled: dict[str, int] = dict(filled or {})

    def add(self, line: str) -> None:
        """Count one record, given as its line of JSON."""
        self.records += 1
        for name, value in json.loads(line).items():
            is_empty = (
                value is None or value == [] or value == {} or (isinstance(value, str) and not value.strip())
            )
            # A field that was only ever empty is kept too: 0 % is a fill rate. Fields may come from a site.
            if name in self.filled or len(self.filled) < _MOST_FIELDS:
                self.filled[name] = self.filled.get(name, 0) + (not is_empty)

    def merge(self, other: "Fill") -> None:
        """Add the counts of another worker."""
        self.records += other.records
        for name, count in other.filled.items():
            self.filled[name] = self.filled.get(name, 0) + count

    def rates(self) -> dict[str, float]:
        """Share of the records that have something in a field: what a summary keeps as "fill"."""
        return {name: round(count / self.records, 4) for name, count in self.filled.items() if self.records}


def declared(health: Mapping[str, Any]) -> Health:
    """A spider's `health`; raises SpiderError with every mistake in it."""
    if not isinstance(health, Mapping):
        raise SpiderError(f"health must be a dict, not {type(health).__name__}")
    names = [each.name for each in fields(Health)]
    given: dict[str, Any] = {}
    mistakes = []
    for name, value in health.items():
        if name not in _READERS:
            meant = values.nearest(str(name), names)
            mistakes.append(
                f"{name}: not known" + (f"; did you mean {meant}?" if meant else f" ({', '.join(names)})")
            )
            continue
        try:
            given[name] = _READERS[name](value)
        except ValueError as error:
            mistakes.append(f"{name} = {value!r}: expected {error}")
    if mistakes:
        raise SpiderError("\n  ".join(["health is wrong:", *mistakes]))
    return Health(**given)


def _share(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError("a share between 0 and 1")
    return float(value)


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(name, str) for name in value
    ):
        raise ValueError('a list of fields: ["price"]')
    return tuple(value)


_READERS = {
    "min_records": values.optional(values.whole_number),
    "max_drop": _share,
    "max_failed": _share,
    "max_repeated": _share,
    "required": _names,
    "allow_empty": values.switch,
}
