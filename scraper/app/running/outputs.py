"""The files of `-o`: replaced like records.jsonl; one that fails does not stop the others.

Standard output is no file: nothing stands there that could be replaced, and who reads it waits. So it gets a
run's records as they are committed, each key once, whatever becomes of the run; the exit code tells.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.app.options import Prepared
from scraper.app.running.active_run import ActiveRun
from scraper.app.running.publish_records import coming, everything
from scraper.app.running.summary import moment
from scraper.errors import UsageError
from scraper.ops.disk import one_line
from scraper.runs.events import Event, Settled, Ticked
from scraper.runs.partitions import identity
from scraper.runs.sinks import Sink, shown
from scraper.runs.sinks.lines import StdoutSink
from scraper.store import START, Run, Store, StoredRecord

GROUP = 1000


class Streaming:
    """Passes the records of a run on to standard output; `leave` is called once when its reader is gone."""

    def __init__(self, prepared: Prepared, store: Store, run: Run, leave: Callable[[], None]) -> None:
        self._sinks = [sink for sink in prepared.sinks if isinstance(sink, StdoutSink)]
        self._store = store
        self._run = run
        self._leave = leave
        self._left = prepared.options.limit
        self._line_of = _line_of(prepared)
        self._seen: set[bytes] | None = set() if prepared.spider.key else None
        self._cursor = START
        self._is_left = False

    def __call__(self, event: Event) -> None:
        if self._sinks and isinstance(event, Settled | Ticked):
            self.export()

    def export(self) -> None:
        """Write what has been committed since the last call."""
        while self._sinks and (kept := self._store.records(self._run, self._cursor, GROUP)):
            self._cursor = kept[-1].cursor
            lines = [self._line_of(one) for one in kept if self._is_new(one)][: self._left]
            if self._left is not None:
                self._left -= len(lines)
            for sink in self._sinks:
                sink.write(lines)
        if not self._is_left and any(not sink.has_reader() for sink in self._sinks):
            self._is_left = True
            self._leave()

    def _is_new(self, record: StoredRecord) -> bool:
        if self._seen is None:
            return True
        size = len(self._seen)
        self._seen.add(identity(record.key))
        return len(self._seen) > size


def write_outputs(
    active: ActiveRun, summary: Mapping[str, Any], *, is_accepted: bool, is_whole: bool
) -> list[dict[str, Any]]:
    """Write what may be written; for each output its target and either "records" or, if not, "reason".

    An accepted run writes the current records. One that --limit cut short writes its own, as a sample.
    """
    prepared = active.prepared
    line = _line_of(prepared)
    told: list[dict[str, Any]] = []
    for target, sink in zip(prepared.options.outputs, prepared.sinks, strict=True):
        is_sample = not is_accepted and summary["exit_code"] == 0
        if isinstance(sink, StdoutSink):
            written = {"records": sink.count, "is_sample": is_sample}
        elif is_accepted:
            written = _write(sink, _current(active, is_whole=is_whole))
        elif is_sample and prepared.options.limit is not None:
            own = map(line, everything(active.store, active.run))
            written = {**_write(sink, islice(own, prepared.options.limit)), "is_sample": True}
        else:
            sink.abandon()
            written = {"reason": _why_not(summary, is_sample=is_sample)}
        told.append({"target": shown(target), **written})
        for note in sink.notes:
            active.files.log({"event": "note", "text": f"{shown(target)}: {note}"})
    return told


def _current(active: ActiveRun, *, is_whole: bool) -> Iterator[str]:
    """What records.jsonl has; asked of the store only for what does not stand there."""
    if not active.prepared.options.with_meta:
        return lines_of(active.files.home / "records.jsonl")
    records = coming(active.store, active.run, active.prepared.spider, is_whole=is_whole)
    return map(_with_meta, records)


def _line_of(prepared: Prepared) -> Callable[[StoredRecord], str]:
    return _with_meta if prepared.options.with_meta else lambda kept: kept.line


def _with_meta(kept: StoredRecord) -> str:
    """A record with the URL of its page, and when (ISO 8601) and by which run that was read last."""
    fetched_at = moment(kept.fetched_at) if kept.fetched_at else None
    meta = {"_url": kept.url, "_fetched_at": fetched_at, "_run": kept.run}
    return one_line(json.dumps({**json.loads(kept.line), **meta}, ensure_ascii=False, separators=(",", ":")))


def lines_of(file: Path) -> Iterator[str]:
    """The lines of a JSONL file; UsageError where it cannot be read."""
    try:
        with file.open(encoding="utf-8") as opened:
            for line in opened:
                yield line.rstrip("\n")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None


def _write(sink: Sink, lines: Iterator[str]) -> dict[str, Any]:
    count = 0
    try:
        for group in _groups(lines):
            sink.write(group)
            count += len(group)
        sink.close()
    except BrokenPipeError:
        raise  # who reads our standard output has gone: the command ends as others do
    except Exception as error:
        # Whatever a format cannot hold or a disk cannot take: the run and its other outputs are whole.
        sink.abandon()
        text = " ".join(str(error).split()) or type(error).__name__
        return {"reason": text[:300], "is_failed": True}
    return {"records": count}


def _groups(lines: Iterable[str]) -> Iterator[list[str]]:
    each = iter(lines)
    while group := list(islice(each, GROUP)):
        yield group


def _why_not(summary: Mapping[str, Any], *, is_sample: bool) -> str:
    if is_sample:
        return "the run is unfinished, and would replace whole data by a part"
    return f"the run is {summary['verdict']}, and only one that is OK replaces data"
