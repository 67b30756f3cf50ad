"""The files of `-o`: they follow the rule of records.jsonl, and one that fails spoils no other."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.app.options import Prepared
from scraper.app.running.publish_records import everything
from scraper.errors import UsageError
from scraper.runs.files import RunFiles
from scraper.sinks import STDOUT, Sink
from scraper.store import Run, Store

GROUP = 1000


def write_outputs(
    prepared: Prepared,
    store: Store,
    found: Run,
    files: RunFiles,
    summary: Mapping[str, Any],
    *,
    is_accepted: bool,
) -> list[dict[str, Any]]:
    """Write what may be written; for each output its target and either "records" or, if not, "reason".

    An accepted run writes the current records. One that a limit cut short writes its own, as a sample, where
    that replaces nothing: to standard output, or with --limit.
    """
    told: list[dict[str, Any]] = []
    for target, sink in zip(prepared.options.outputs, prepared.sinks, strict=True):
        is_sample = not is_accepted and summary["exit_code"] == 0
        if is_accepted:
            written = _write(sink, lines_of(files.home / "records.jsonl"))
        elif is_sample and (target == STDOUT or prepared.options.limit is not None):
            own = (kept.line for kept in everything(store, found))
            written = {**_write(sink, islice(own, prepared.options.limit)), "is_sample": True}
        else:
            sink.abandon()
            written = {"reason": _why_not(summary, is_sample=is_sample)}
        told.append({"target": target, **written})
        for note in sink.notes:
            files.log({"event": "note", "text": f"{target}: {note}"})
    return told


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
