"""The files that a run writes as it goes: records after each commit, and a log of what was not fetched."""

import datetime
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from scraper.model import Deferred, Denied, Failed, Fetched, Loaded, Outcome, Retry, Visit
from scraper.ops.clock import Clock
from scraper.runs.events import (
    DomainLeft,
    Event,
    Noted,
    PaceSet,
    Postponed,
    Refused,
    RestBegan,
    RobotsRead,
    Settled,
    Ticked,
    Visited,
)
from scraper.runs.files import RunFiles
from scraper.runs.health import Fill
from scraper.store import START, Run, Store

PAGE = 1000
MOST_POINTS = 240
MOST_TRACEBACKS, MOST_KINDS = 3, 20  # of one kind of error, and kinds


class Exporter:
    """Feeds the run's records.jsonl from the store, after the commit and in its order.

    The store is the truth: a resumed run writes the file anew, so that no torn or doubled line survives.
    """

    def __init__(self, store: Store, run: Run, files: RunFiles) -> None:
        self.fill = Fill()
        self._store = store
        self._run = run
        self._files = files
        self._cursor = START

    def begin(self) -> None:
        """Write what a killed run had committed."""
        if self._run.is_resumed:
            self._files.rewrite(())
        self.export()

    def export(self) -> None:
        """Append what has been committed since the last call."""
        while kept := self._store.records(self._run, self._cursor, PAGE):
            self._cursor = kept[-1].cursor
            lines = [one.line for one in kept]
            self._files.append(lines)
            for line in lines:
                self.fill.add(line)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Settled):
            self.export()


class Timeline:
    """How the run went: (second, pages, records) between two points, for the report's time line."""

    def __init__(self, clock: Clock, fill: Fill) -> None:
        self.points: list[tuple[float, int, int]] = []
        self._clock = clock
        self._fill = fill
        self._began = clock.now()
        self._every = 1.0
        self._pages, self._records = 0, fill.records

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Ticked):
            return
        second = self._clock.now() - self._began
        if second < len(self.points) * self._every:
            return
        pages, records = event.pages - self._pages, self._fill.records - self._records
        self.points.append((round(second, 1), pages, records))
        self._pages, self._records = event.pages, self._fill.records
        if len(self.points) >= MOST_POINTS:
            # Half as many, each for twice the time: a run of days takes no more room than one of minutes.
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points = [(second, a + c, b + d) for (_, a, b), (second, c, d) in pairs]
            self._every *= 2


class LogFile:
    """Writes log.jsonl: every URL that was not fetched with its reason, and what happened to its domain.

    Every record that was not kept goes to rejected.jsonl.

    The first tracebacks of each kind of error go to errors.txt.
    """

    def __init__(self, files: RunFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self._raised: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if (
            isinstance(event, Visited)
            and isinstance(failed := event.visit.outcome, Failed)
            and failed.traceback
        ):
            self._raised[failed.error] += 1
            if self._raised[failed.error] <= MOST_TRACEBACKS and len(self._raised) <= MOST_KINDS:
                self._files.keep_traceback(event.visit.entry.url, failed.traceback)
        if isinstance(event, Visited) and event.visit.rejected:
            url = event.visit.entry.url
            self._files.reject(
                [{"url": url, "field": field, "reason": reason} for reason, field in event.visit.rejected]
            )
        for line in _lines(event):
            at = datetime.datetime.fromtimestamp(self._clock.wall(), datetime.UTC)
            self._files.log({"at": at.isoformat(timespec="milliseconds"), **line})


def _lines(event: Event) -> Iterator[Mapping[str, Any]]:
    if isinstance(event, Visited):
        yield from _load_lines(event.visit)
    if (line := _line(event)) is not None:
        yield line


def _load_lines(visit: Visit) -> Iterator[Mapping[str, Any]]:
    """What a rendered page asked for. Of one reason for many, as for pictures, there is one line."""
    refused: dict[str, list[Loaded]] = {}
    for loaded in visit.loads:
        if loaded.reason and not loaded.sent_at:
            refused.setdefault(loaded.reason, []).append(loaded)
        else:
            yield _load_line(visit, loaded)
    for same in refused.values():
        line = _load_line(visit, same[0])
        yield {**line, "loads": len(same)} if len(same) > 1 else line


def _load_line(visit: Visit, loaded: Loaded) -> Mapping[str, Any]:
    """What a rendered page asked for: the answer, or why there was none."""
    line: dict[str, Any] = {"event": "load", "url": loaded.url, "page": visit.entry.url, "kind": loaded.kind}
    if loaded.method != "GET":
        line["method"] = loaded.method
    if loaded.reason:
        line["reason"] = loaded.reason
    if loaded.status:
        line |= {"status": loaded.status, "size": loaded.size}
    if loaded.file is not None:
        line["file"] = loaded.file["path"]
    if loaded.sent_at:
        line["sent"] = True
    return line


def _line(event: Event) -> Mapping[str, Any] | None:
    match event:
        case Visited(visit=visit):
            return _visit_line(visit)
        case Refused(url=url, reason=reason, links=1):
            return {"event": "denied", "url": url, "reason": reason}
        case Refused(url=url, reason=reason, links=links):
            return {"event": "denied", "url": url, "reason": reason, "links": links}
        case Postponed(url=url, reason=reason):
            return {"event": "deferred", "url": url, "reason": reason}
        case Noted(text=text):
            return {"event": "note", "text": text}
        case _:
            return _domain_line(event)


def _domain_line(event: Event) -> Mapping[str, Any] | None:
    match event:
        case PaceSet(domain=domain, delay=delay, source=source):
            return {"event": "pace", "domain": domain, "delay_s": round(delay, 3), "source": source}
        case RestBegan(domain=domain, seconds=seconds, reason=reason):
            return {"event": "rest", "domain": domain, "seconds": round(seconds, 1), "reason": reason}
        case DomainLeft(domain=domain, reason=reason):
            return {"event": "left", "domain": domain, "reason": reason}
        case RobotsRead(origin=origin, status=status, hash=digest):
            return {"event": "robots", "origin": origin, "status": status, "hash": digest}
        case _:
            return None


def _visit_line(visit: Visit) -> Mapping[str, Any] | None:
    told = _told(visit.outcome)
    if told is None and not visit.rejected and not visit.notes:
        return None
    event = told[0] if told else "rejected" if visit.rejected else "note"
    line: dict[str, Any] = {"event": event, "url": visit.entry.url}
    if told:
        line["reason"] = told[1]
    if visit.rejected:
        line["rejected"] = [reason for reason, _ in visit.rejected[:5]]
    if visit.notes:
        line["text"] = "; ".join(visit.notes)
    if visit.exchange is not None and visit.exchange.status:
        line["status"] = visit.exchange.status
    return line


def _told(outcome: Outcome) -> tuple[str, str] | None:
    match outcome:
        case Denied(reason=reason):
            return "denied", reason
        case Failed(reason=reason):
            return "failed", reason
        case Retry(reason=reason):
            return "retry", reason
        case Deferred(reason=reason):
            return "deferred", reason
        case Fetched(dropped=reason) if reason:
            return "dropped", reason
        case _:
            return None
