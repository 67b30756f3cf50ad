"""The values that a report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from scraper.model.frozen import frozen


@frozen
class Report:
    """A run's report as plain values; every text in it may come from a site.

    `summary`: the content of run.json. `history`: earlier summaries, newest first. `changes`: the first of
    the run's changes, {"change", "key", "before", "after"}; their totals stand in the summary. `failures`:
    cause, count, example ("URL" or "URL: what it said"). `timeline`: second since the start, pages and
    records in that second; seconds without either may be missing. `exemptions`: why robots.txt is not asked,
    by domain. `settings`: those that are not the default, without secrets. `notes`: sentences for a person.
    `program`: how this program is called where the run was.

    Of a run that is not accepted, `summary["offered"]` has the totals and `changes` the first of what
    `accept` would change.
    """

    summary: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]] = ()
    changes: Sequence[Mapping[str, Any]] = ()
    failures: Sequence[tuple[str, int, str]] = ()
    timeline: Sequence[tuple[float, int, int]] = ()
    exemptions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    program: str = "python -m scraper"
