"""The report of a run: written at its end, and again when a person accepts the run."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from scraper.runs.files import RunFiles
from scraper.runs.report import Report, render

MOST_CHANGES = 50
MOST_HISTORY = 40

Summary = Mapping[str, Any]
Details = Mapping[str, Any]


def write_report(files: RunFiles, summary: Summary, history: Sequence[Summary], details: Details) -> None:
    """Write report.html, and report.json with what of it stands nowhere else; a failure is only logged.

    `details`: "timeline", "settings", "exemptions", "program" and, of a run that is not accepted, "samples".
    """
    try:
        files.write_report(render(_report(files, summary, history, details)), details)
    except Exception as error:
        files.log({"event": "note", "text": f"the report was not written: {type(error).__name__}: {error}"})


def details_of(files: RunFiles) -> dict[str, Any]:
    """What `write_report` kept of a run; nothing where it is not there or cannot be read."""
    try:
        kept = json.loads((files.folder / "report.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _report(files: RunFiles, summary: Summary, history: Sequence[Summary], details: Details) -> Report:
    is_current = summary.get("published", summary["verdict"] == "OK")
    examples = summary["examples"]
    return Report(
        summary,
        history=history,
        changes=_first_changes(files) if is_current else details.get("samples", ()),
        failures=[(kind, n, examples.get(kind, "")) for kind, n in summary["errors"].items()],
        timeline=[tuple(point) for point in details.get("timeline", ())],
        exemptions=details.get("exemptions", {}),
        settings=details.get("settings", {}),
        program=details.get("program", "python -m scraper"),
    )


def _first_changes(files: RunFiles) -> list[dict[str, Any]]:
    with (files.home / "changes.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, MOST_CHANGES)]
