"""A run as it happens, for any number of listeners: one look a second at the store and the run's log.

The run is another process, and stays so: what it has committed and logged is all that is known of it here.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from scraper.app.project import facts_of_run
from scraper.engine.domain_stats import DomainStats, total
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.politeness import throttle
from scraper.service.problems import Problem
from scraper.service.reading import Reader
from scraper.store import Run, Store

MOST_STREAMS = 100
MOST_DOMAINS = 50
MOST_LINES = 200  # of the log at each look; those beyond come with the next
BACKLOG = 64 * 1024  # bytes of the log that a new listener gets
EVERY = 1.0


@frozen
class Look:
    """What one look saw: `progress`, log lines with the offset behind each, and whether the run goes on."""

    progress: Mapping[str, Any]
    lines: tuple[tuple[int, str], ...]
    offset: int
    is_over: bool


class Events:
    """The streams of all runs, and how many there are."""

    def __init__(self, reader: Reader, data: Path) -> None:
        self._reader = reader
        self._data = data
        self._streams = 0
        self._closing = asyncio.Event()

    def close(self) -> None:
        """End every stream: the service stops."""
        self._closing.set()

    def response(self, run: Run, last_id: str) -> Response:
        """The events of a run behind `last_id`; Problem 503 where too many listen already."""
        if self._streams >= MOST_STREAMS:
            raise Problem(
                503, f"{MOST_STREAMS} streams are open already", "close one, or ask again later",
                headers={"Retry-After": "30", "Connection": "close"},
            )  # fmt: skip
        offset = int(last_id) if last_id.isascii() and last_id.isdigit() and len(last_id) < 16 else -1
        self._streams += 1
        return _Stream(self._stream(run, offset), self._close_one)

    def _close_one(self) -> None:
        self._streams -= 1

    async def _stream(self, run: Run, offset: int) -> AsyncIterator[bytes]:
        log = self._data / run.spider / "runs" / run.id / "log.jsonl"
        yield b"retry: 3000\n\n"
        while not self._closing.is_set():
            look = await self._reader.call(look_at, run.id, log, offset)
            offset = look.offset
            for place, line in look.lines:
                yield _event("log", line, place)
            yield _event("progress", json.dumps(look.progress, default=str), offset)
            if look.is_over:
                yield _event("end", json.dumps({"verdict": look.progress["verdict"]}), offset)
                return
            await self._pause()

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._closing.wait(), EVERY)
        except TimeoutError:
            pass


class _Stream(StreamingResponse):
    """Calls `close` at its end, also where the caller left before it began."""

    def __init__(self, content: AsyncIterator[bytes], close: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(content, headers=headers, media_type="text/event-stream")
        self._close = close

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._close()


def look_at(store: Store, run_id: str, log: Path, offset: int) -> Look:
    """Look at a run once; `offset` -1: begin a little before the end of its log."""
    run = store.run(run_id)
    if run is None:
        return Look({"verdict": "forgotten"}, (), 0, True)
    # The state first: what is written after it is seen by the next look, and the last look sees all.
    is_over = run.state != "running" or not store.is_led(run)
    lines, offset = _lines_behind(log, offset)
    return Look(progress_of(store, run), tuple(lines), offset, is_over and len(lines) < MOST_LINES)


def progress_of(store: Store, run: Run) -> dict[str, Any]:
    """Where a run stands: counts of all, and of its domains with the reason why each waits."""
    progress = store.progress(run)
    domain_stats = {name: DomainStats.from_json(text) for name, text in store.domain_stats(run).items()}
    whole = total(list(domain_stats.values()))
    facts = facts_of_run(store, run)
    counts = ("pages", "unchanged", "failed", "denied", "retries", "requests", "bytes")
    most = sorted(domain_stats.items(), key=lambda each: -each[1].requests)[:MOST_DOMAINS]
    now = SystemClock(store.anchor()).now()
    return {
        "run_id": run.id,
        "spider": run.spider,
        "state": run.state,
        "verdict": facts["verdict"],
        "pending": progress.pending,
        "done": progress.done,
        **{name: getattr(whole, name) for name in counts},
        "records": whole.records + whole.kept_records,
        "min_gap_s": whole.min_gap_s,
        "failures": whole.errors,
        "denials": whole.denials,
        "domains": len(domain_stats),
        "by_domain": [_domain(store, name, stats, now) for name, stats in most],
    }


def _domain(store: Store, name: str, stats: DomainStats, now: float) -> dict[str, Any]:
    row = store.domain(name)
    state = throttle.from_json(row["state"]) if row is not None else throttle.State()
    due = max(row["due"], state.due, state.rest_until) if row is not None else 0.0
    is_resting = state.rest_until > now
    return {
        "domain": name,
        "pages": stats.pages + stats.unchanged,
        "records": stats.records + stats.kept_records,
        "failed": stats.failed,
        "min_gap_s": stats.min_gap_s,
        "delay_s": stats.delay_s,
        "wait_s": round(max(0.0, due - now), 1),
        "reason": stats.left or (state.reason if is_resting else "") or stats.delay_source,
    }


def _lines_behind(log: Path, offset: int) -> tuple[list[tuple[int, str]], int]:
    """The whole lines behind an offset, each with the offset behind it; and the offset behind the last."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = offset if 0 <= offset <= size else max(0, size - BACKLOG)
            file.seek(start)
            if start and offset < 0:
                start += len(file.readline())
            found: list[tuple[int, str]] = []
            for line in file:
                if not line.endswith(b"\n") or len(found) == MOST_LINES:
                    break
                start += len(line)
                found.append((start, line.decode("utf-8", "replace").rstrip("\n")))
            return found, start
    except OSError:
        return [], 0


def _event(kind: str, data: str, place: int) -> bytes:
    return f"event: {kind}\nid: {place}\ndata: {data}\n\n".encode("utf-8", "replace")
