"""A spider's current records: exported, compared, or accepted from a run that a person has looked at."""

import getpass
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scraper.app.project import check_spider, state_of
from scraper.app.running.outputs import GROUP, lines_of
from scraper.app.running.publish_records import changes_of, everything, publish
from scraper.app.running.run_report import MOST_HISTORY, details_of, write_report
from scraper.app.running.summary import moment
from scraper.errors import StoreBusy, UsageError
from scraper.ops.disk import is_for_group
from scraper.runs.changes import Change, diff
from scraper.runs.files import RunFiles, examples
from scraper.runs.sinks import Sink
from scraper.spider import discovery
from scraper.store import Run, Store


def current_file(data: Path, spider: str, name: str = "records.jsonl") -> Path:
    """A spider's published file; UsageError where there is none."""
    file = data / spider / name
    if not file.is_file():
        check_spider(spider)
        raise UsageError(
            f"{spider} has no {name} in {data}/ yet", "only a run that is OK or accepted writes it"
        )
    return file


def export(file: Path, sinks: list[Sink]) -> int:
    """Write the records of a file to sinks; how many there were."""
    count = 0
    group: list[str] = []
    try:
        for sink in sinks:
            sink.open(examples(file.parent))
        for line in lines_of(file):
            group.append(line)
            count += 1
            if len(group) == GROUP:
                _pour(group, sinks)
        _pour(group, sinks)
        for sink in sinks:
            sink.close()
    except BaseException:
        for sink in sinks:
            sink.abandon()
        raise
    return count


def _pour(group: list[str], sinks: list[Sink]) -> None:
    for sink in sinks:
        sink.write(group)
    group.clear()


def changes_since(store: Store, run: Run) -> Iterator[Change]:
    """What the current records have that those of a run had not, and the other way round."""
    before = ((kept.key, kept.line) for kept in everything(store, run))
    after = ((kept.key, kept.line) for kept in store.current(run.spider))
    return iter(diff(before, after, whole=run.is_whole or run.is_accepted))


def offered_changes(store: Store, run: Run) -> Iterator[str]:
    """What accepting a run would change, as lines of changes.jsonl."""
    return (change.line() for change in changes_of(store, run, is_whole=run.is_whole))


def accept(store: Store, run: Run, data: Path, now: float) -> dict[str, int]:
    """Make an ended run's records the current ones; the counts of what that changed.

    Who did it and when (`now`, a wall moment) stands in the run's summary and report from then on.
    """
    _check_acceptable(store, run)
    spider = discovery.find(run.spider).spider()
    is_shared = is_for_group(data / run.spider / "runs" / run.id / "run.json")
    files = RunFiles(data, run.spider, run.id, is_shared=is_shared)
    records = int(run.summary["records"])
    counts = publish(store, run, files, spider, is_whole=run.is_whole, records=records)
    accepted = {"by": _user(), "at": moment(now)}
    summary = {**run.summary, **counts, "accepted": accepted, "published": True}
    summary.pop("offered", None)
    store.accept_run(run, summary)
    _tell_accepted(store, run, files, summary)
    return {name: int(counts[name]) for name in ("added", "changed", "removed")}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the number may have no name
        return f"user {os.getuid()}"


def _tell_accepted(store: Store, run: Run, files: RunFiles, summary: Mapping[str, Any]) -> None:
    """Bring run.json and the report in line with what now holds."""
    files.open(repair=False)
    try:
        files.write_run(summary)
        earlier = [one.summary for one in store.runs(run.spider, MOST_HISTORY) if one.number < run.number]
        write_report(files, summary, [one for one in earlier if one], details_of(files))
    finally:
        files.close()


def _check_acceptable(store: Store, run: Run) -> None:
    if run.is_accepted:
        raise UsageError(f"the records of run {run.id} are accepted already")
    if run.state != "ended":
        raise UsageError(
            f"run {run.id} has not ended: {state_of(store, run)}", f"run {run.spider} to its end first"
        )
    if store.holder(run.spider) is not None:
        raise StoreBusy(f"{run.spider} is running", "wait for it or stop it")
    later = [one for one in store.runs(run.spider) if one.is_accepted and one.number > run.number]
    if later:
        raise UsageError(
            f"run {later[0].id} is later and accepted already", "its records are the current ones"
        )
