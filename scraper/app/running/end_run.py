"""The end of a run: its verdict, its records published, the run closed or paused, the notification."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from scraper.app.archived.archive_home import ArchiveHome, archive_home_of, send_archive
from scraper.app.compose import saved_files_of
from scraper.app.options import Prepared, command_of, open_params
from scraper.app.running.active_run import ActiveRun
from scraper.app.running.outputs import write_outputs
from scraper.app.running.publish_records import Repeated, preview, publish, repeated_keys
from scraper.app.running.run_output import Exporter, Timeline
from scraper.app.running.run_report import MOST_HISTORY, write_report
from scraper.app.running.summary import End, facts_of, judgement_of, summary_of
from scraper.app.session_opener import reach_from
from scraper.engine.domain_stats import DomainStats
from scraper.engine.plan import Stop
from scraper.errors import ScraperError
from scraper.model import Verdict
from scraper.model.frozen import frozen
from scraper.ops.disk import encode
from scraper.ops.disk import replace as replace_file
from scraper.runs.archive.reading import Archives
from scraper.runs.files import RunFiles
from scraper.runs.health import Facts, Fill
from scraper.runs.judgement import comparable
from scraper.settings import Settings
from scraper.spider import callbacks
from scraper.store import Run, Store
from scraper.urls import with_callback

UNREACHED = "nothing that leads there could be read or followed"
MOST_MEASURED = 500  # runs that are looked through for the last of each spider


@frozen
class _Decision:
    """What becomes of a run: its records taken over, closed before its end, paused; did it see all pages."""

    is_accepted: bool
    is_closed: bool
    is_paused: bool
    is_whole: bool


def conclude(active: ActiveRun, exporter: Exporter, timeline: Timeline, end: End) -> dict[str, Any]:
    """Judge a run, publish its records if it deserves it, and close or pause it; its summary."""
    store, found, files = active.store, active.run, active.files
    settings = active.prepared.settings
    history = [
        one.summary for one in store.runs(found.spider, MOST_HISTORY) if one.summary and one.id != found.id
    ]
    summary, decision = _judged(active, exporter.fill, end, history)
    if decision.is_whole:
        if kept := store.keep_unreached_pages(found):
            files.log({"event": "note", "text": f"{kept} pages keep their records: {UNREACHED}"})
        saved_files_of(active.prepared, found.spider).sweep(found.started_at)
    samples: tuple[Mapping[str, Any], ...] = ()
    if decision.is_accepted:
        summary |= publish(
            store,
            found,
            files,
            active.prepared.spider,
            is_whole=decision.is_whole,
            records=summary["records"],
        )
    elif not decision.is_paused:
        offered = preview(store, found, is_whole=decision.is_whole)
        summary["offered"], samples = offered.counts, offered.samples
    _give_out(active, summary, decision)
    if decision.is_paused:
        store.pause_run(found, summary)
    else:
        store.end_run(found, summary, accepted=decision.is_accepted, whole=decision.is_whole)
    files.write_run(summary)
    write_report(files, summary, history, _details(active.prepared, timeline, samples))
    _notify(settings, files, summary, history)
    _write_metrics(settings.metrics_file, store, files)
    _forget_old_runs(active)
    return summary


def _judged(
    active: ActiveRun, fill: Fill, end: End, history: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], _Decision]:
    """The summary of a run, without its secrets, and what is to become of it."""
    prepared, store, found = active.prepared, active.store, active.run
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(found).items()}
    repeated = Repeated() if end.is_unfinished else repeated_keys(store, found, prepared.spider)
    facts = _with_earlier(facts_of(domain_stats, fill, end, repeated.differing, repeated.example), history)
    judgement = judgement_of(facts, [*comparable(history)], prepared.health, end)
    decision = _decide(active, judgement.verdict, end)
    summary = summary_of(found, domain_stats, fill, judgement, end) | {
        "params": open_params(prepared.spider.params, prepared.options.hidden),
        "command": command_of(prepared),
        "legacy_tls": dict(prepared.settings.legacy_tls),
        "duplicates": repeated.count,
        "duplicate": repeated.example,
        "emptied": facts.emptied,
        "emptied_example": facts.emptied_example,
    }
    if decision.is_closed:
        summary["reasons"].append(
            "taken over as it is; the next run begins anew, with the pages that are known"
        )
    summary = dict(prepared.redaction.value(summary)) | {"published": decision.is_accepted, "unfinished": 0}
    if decision.is_paused or decision.is_closed:
        summary |= {"unfinished": end.tries, "unfinished_since": end.since}
    return summary, decision


def _decide(active: ActiveRun, verdict: Verdict, end: End) -> _Decision:
    is_incomplete = verdict is Verdict.INCOMPLETE
    is_closed = is_incomplete and _is_endless(active.store, active.run, end)
    return _Decision(
        is_accepted=verdict is Verdict.OK or is_closed,
        is_closed=is_closed,
        is_paused=bool(end.signal) or (end.is_unfinished and is_incomplete and not is_closed),
        # Also of a run that is not accepted now: a person may accept it later.
        is_whole=end.stop is Stop.DONE and not end.pending,
    )


def _details(prepared: Prepared, timeline: Timeline, samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the report shows beside the summary."""
    return {
        "timeline": timeline.points,
        "exemptions": dict(prepared.settings.robots_exempt),
        "settings": _chosen(prepared.settings),
        "program": prepared.options.program,
        "samples": samples,
    }


def _with_earlier(facts: Facts, history: Sequence[Mapping[str, Any]]) -> Facts:
    """The facts, with pages that the run before found empty where nobody accepted it and none came back.

    That run's versions of the pages are the last ones now: they cannot tell any more what once was there.
    """
    before = history[0] if history else {}
    is_open = before.get("verdict") == Verdict.DEGRADED and not before.get("published", True)
    if facts.emptied or not is_open or facts.records > before["records"]:
        return facts
    return replace(facts, emptied=before.get("emptied", 0), emptied_example=before.get("emptied_example", ""))


def _is_endless(store: Store, found: Run, end: End) -> bool:
    """Whether a run that does not come to its end has only new pages left, behind all that were known.

    It would keep the known ones from ever being asked again, and their changes from being published.
    """
    if not (end.is_pause and end.is_overdue) or store.known_pending(found):
        return False
    return any(one.is_accepted for one in store.runs(found.spider, MOST_HISTORY))


def _give_out(active: ActiveRun, summary: dict[str, Any], decision: _Decision) -> None:
    """Write the files of `-o`. One that failed needs a person, though the run itself is as good as it was."""
    outputs = write_outputs(active, summary, is_accepted=decision.is_accepted, is_whole=decision.is_whole)
    summary["outputs"] = outputs
    for output in outputs:
        if output.get("is_failed"):
            summary["reasons"].append(f"{output['target']} was not written: {output['reason']}")
            summary["exit_code"] = summary["exit_code"] or 1


def _notify(
    settings: Settings, files: RunFiles, summary: Mapping[str, Any], history: list[Mapping[str, Any]]
) -> None:
    if settings.notify is None or summary["exit_code"] in (129, 130, 141, 143):
        return
    # Imported on first use: a run that tells nobody need not load what sends mail.
    from scraper.ops import notify

    before = history[0].get("verdict") if history else None
    changes = sum(int(summary[name]) for name in ("added", "changed", "removed"))
    if notify.should_notify(before, summary["verdict"], changes, settings.notify_changes):
        message = notify.message(summary, files.folder / "report.html", before)
        failure = notify.send(settings.notify, message, judge=reach_from(settings, set()).allowed)
        if failure is not None:
            files.log({"event": "note", "text": f"the notification was not sent: {failure}"})


def last_of_each(store: Store) -> list[Mapping[str, Any]]:
    """The summary of the last ended run of each spider that has run lately."""
    found: dict[str, Mapping[str, Any]] = {}
    for run in store.runs(None, MOST_MEASURED):
        if "by_domain" in run.summary:
            found.setdefault(run.spider, run.summary)
    return [found[name] for name in sorted(found)]


def _write_metrics(target: str | None, store: Store, files: RunFiles) -> None:
    if target is None:
        return
    # Imported on first use: most projects have no such file.
    from scraper.runs import metrics

    try:
        # For whoever collects them, who is another user.
        replace_file(Path(target), iter([encode(metrics.render(last_of_each(store)))]), 0o644)
    except ScraperError as error:
        files.log({"event": "note", "text": f"{target} was not written: {error}"})


def _chosen(settings: Settings) -> dict[str, str]:
    """The settings that somebody set, without those that may hold a secret."""
    shown = {field.name for field in fields(settings) if field.repr}
    return {name: str(getattr(settings, name)) for name in settings.sources if name in shown}


def _forget_old_runs(active: ActiveRun) -> None:
    prepared, store, files, found = active.prepared, active.store, active.files, active.run
    keep = prepared.settings.retention
    if len(store.runs(found.spider, keep + 1)) <= keep:
        return
    old = store.prune(found.spider, keep)
    archive_home = archive_home_of(prepared)
    if _carry_pages(active, archive_home, old):
        send_archive(archive_home, files, store)
    try:
        archive_home.forget(old)
    except ScraperError as error:
        files.log({"event": "note", "text": f"old archives were not removed: {error}"})
    for run_id in old:
        shutil.rmtree(files.folder.parent / run_id, ignore_errors=True)


def _carry_pages(active: ActiveRun, archive_home: ArchiveHome, old: list[str]) -> bool:
    """Save what an archive that is about to go has of pages that did not change since; whether it had any."""
    prepared, store, files = active.prepared, active.store, active.files

    def is_needed(fp: bytes) -> bool:
        named = (with_callback(fp, callback) for callback in ("parse", *callbacks(prepared.spider)))
        return any(store.lookup(prepared.loaded.name, one) is not None for one in named)

    archives = None
    try:
        folders = archive_home.folders()
        going = [folder for folder in folders if folder.name in old]
        if not going:
            return False
        archives = Archives(folders)
        return bool(archives.carry(going, files.folder, is_needed, files.mode))
    except ScraperError as error:
        files.log({"event": "note", "text": f"archived pages were not carried over: {error}"})
        return False
    finally:
        if archives is not None:
            archives.close()
