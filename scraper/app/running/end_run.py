"""The end of a run: judged, published if it deserves it, closed or paused, told to people."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import fields
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.app.options import Prepared, command_of, open_params
from scraper.app.running.publish_records import publish
from scraper.app.running.run_output import Exporter, Timeline
from scraper.app.running.summary import End, facts_of, judgement_of, summary_of
from scraper.engine.domain_stats import DomainStats
from scraper.engine.plan import Stop
from scraper.errors import ScraperError
from scraper.model import Verdict
from scraper.ops import notify
from scraper.runs.archive import Archives, run_folders
from scraper.runs.files import RunFiles
from scraper.runs.report import Report, render
from scraper.settings import Settings
from scraper.spider import callbacks
from scraper.store import UNMET, Run, Store
from scraper.urls import with_callback

MOST_HISTORY = 40
MOST_CHANGES = 50


def conclude(
    prepared: Prepared,
    store: Store,
    found: Run,
    files: RunFiles,
    exporter: Exporter,
    timeline: Timeline,
    end: End,
) -> dict[str, Any]:
    """Judge a run, publish its records if it deserves it, and close or pause it; its summary."""
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(found).items()}
    facts = facts_of(domain_stats, exporter.fill, end)
    history = [
        one.summary for one in store.runs(found.spider, MOST_HISTORY) if one.summary and one.id != found.id
    ]
    fine = [summary for summary in history if summary.get("verdict") == Verdict.OK]
    judgement = judgement_of(facts, fine, prepared.health, end)
    summary = summary_of(found, domain_stats, exporter.fill, judgement, end) | {
        "params": open_params(prepared.spider.params, prepared.options.hidden),
        "command": command_of(prepared),
        "legacy_tls": dict(prepared.settings.legacy_tls),
    }
    summary = dict(prepared.redaction.value(summary))
    is_accepted = judgement.verdict is Verdict.OK
    # Also of a run that is not accepted now: a person may accept it later.
    is_whole = end.stop is Stop.DONE and not end.pending
    if is_whole and (standing := store.let_stand(found)):
        files.log({"event": "note", "text": f"{standing} pages stand as they were: {UNMET}"})
    if is_accepted:
        summary |= publish(store, found, files, prepared.spider, is_whole=is_whole)
    if summary["exit_code"] == 0:
        _write_outputs(prepared, store, found, files)
    if end.signal or (end.is_unfinished and judgement.verdict is Verdict.INCOMPLETE):
        store.pause_run(found, summary)
    else:
        store.end_run(found, summary, accepted=is_accepted, whole=is_whole)
    files.write_run(summary)
    _tell_people(prepared, files, summary, history, timeline, is_accepted)
    _forget_old_runs(prepared, store, files, found)
    return summary


def _write_outputs(prepared: Prepared, store: Store, found: Run, files: RunFiles) -> None:
    for target, sink in zip(prepared.options.outputs, prepared.sinks, strict=True):
        cursor = 0
        while kept := store.records(found, cursor):
            cursor = kept[-1].cursor
            sink.write([one.line for one in kept])
        sink.close()
        for note in sink.notes:
            files.log({"event": "note", "text": f"{target}: {note}"})


def _tell_people(
    prepared: Prepared,
    files: RunFiles,
    summary: Mapping[str, Any],
    history: list[Mapping[str, Any]],
    timeline: Timeline,
    is_accepted: bool,
) -> None:
    """Write the report and send the notification; neither can fail the run, whose end is written already."""
    errors, examples = summary["errors"], summary["examples"]
    report = Report(
        summary,
        history=history,
        changes=_first_changes(files) if is_accepted else (),
        failures=[(kind, n, examples.get(kind, "")) for kind, n in errors.items()],
        timeline=timeline.points,
        exemptions=prepared.settings.robots_exempt,
        settings=_chosen(prepared.settings),
    )
    try:
        files.write_report(render(report))
    except Exception as error:
        files.log({"event": "note", "text": f"the report was not written: {type(error).__name__}: {error}"})
    _notify(prepared.settings, files, summary, history)


def _notify(
    settings: Settings, files: RunFiles, summary: Mapping[str, Any], history: list[Mapping[str, Any]]
) -> None:
    if settings.notify is None or summary["exit_code"] in (129, 130, 143):
        return
    before = history[0].get("verdict") if history else None
    changes = sum(int(summary[name]) for name in ("added", "changed", "removed"))
    if notify.should_notify(before, summary["verdict"], changes, settings.notify_changes):
        message = notify.message(summary, files.folder / "report.html", before)
        trouble = notify.send(settings.notify, message)
        if trouble is not None:
            files.log({"event": "note", "text": f"the notification was not sent: {trouble}"})


def _first_changes(files: RunFiles) -> list[dict[str, Any]]:
    with (files.home / "changes.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(line) for line in islice(lines, MOST_CHANGES)]


def _chosen(settings: Settings) -> dict[str, str]:
    """The settings that somebody set, without those that may hold a secret."""
    shown = {field.name for field in fields(settings) if field.repr}
    return {name: str(getattr(settings, name)) for name in settings.sources if name in shown}


def _forget_old_runs(prepared: Prepared, store: Store, files: RunFiles, found: Run) -> None:
    keep = prepared.settings.retention
    if len(store.runs(found.spider, keep + 1)) <= keep:
        return
    old = [files.folder.parent / run_id for run_id in store.prune(found.spider, keep)]
    _carry_pages(store, files, prepared, old)
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)


def _carry_pages(store: Store, files: RunFiles, prepared: Prepared, old: list[Path]) -> None:
    """Save what an archive that is about to go has of pages that did not change since."""

    def is_needed(fp: bytes) -> bool:
        named = (with_callback(fp, callback) for callback in ("parse", *callbacks(prepared.spider)))
        return any(store.lookup(prepared.loaded.name, one) is not None for one in named)

    folders = run_folders(files.home)
    if not set(old) & set(folders):
        return
    archives = Archives(folders)
    try:
        archives.carry(old, files.folder, is_needed, files.mode)
    except ScraperError as error:
        files.log({"event": "note", "text": f"archived pages were not carried over: {error}"})
    finally:
        archives.close()
