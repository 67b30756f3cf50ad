"""Records and changes, page by page: each with a cursor, as JSON, JSON lines or CSV."""

import asyncio
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterable
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from starlette.responses import Response, StreamingResponse

from scraper.app.admin.current_records import offered_changes
from scraper.model.frozen import frozen
from scraper.runs.sinks import sink_for
from scraper.service.operations import Call, json_response
from scraper.service.problems import Problem
from scraper.service.reading import Reader
from scraper.store import START, Cursor, Run, Store

PAGE = 1_000
JSON, LINES, CSV = "application/json", "application/x-ndjson", "text/csv"
FORMATS = {"json": JSON, "jsonl": LINES, "csv": CSV}
_CURSOR = re.compile(r"([0-9]{1,18})-([0-9]{1,9})", re.ASCII)


@frozen
class Part:
    """Some lines in their order, and the cursor of those behind them; empty where there are none."""

    lines: list[str]
    next: str


def format_of(call: Call) -> str:
    """The format that a caller asks for, by `format=` or Accept; Problem 406 where we have none of them."""
    if chosen := call.query.get("format"):
        return str(chosen)
    accepted = call.request.headers.get("accept", "*/*")
    for each in accepted.split(","):
        kind = each.partition(";")[0].strip().lower()
        for name, media_type in FORMATS.items():
            if kind in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
                return name
    raise Problem(406, f"there is no {accepted[:100]!r} of this", f"accepted: {', '.join(FORMATS.values())}")


def records_part(store: Store, run: Run, cursor: str, limit: int) -> Part:
    """Up to `limit` records of a run behind a cursor."""
    at, lines = read_cursor(cursor), list[str]()
    while len(lines) < limit and (kept := store.records(run, at, min(PAGE, limit - len(lines)))):
        lines += [one.line for one in kept]
        at = kept[-1].cursor
    is_more = len(lines) >= limit and bool(store.records(run, at, 1))
    return Part(lines, f"{at[0]}-{at[1]}" if is_more else "")


def read_cursor(text: str) -> Cursor:
    """The place that a cursor names; Problem 400 for a text that is none."""
    if not text:
        return START
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise Problem(400, "this cursor is none of ours", "take it from `next` of the page before, as it is")
    return int(found[1]), int(found[2])


def changes_part(store: Store, run: Run, data: Path, cursor: str, limit: int) -> Part:
    """Up to `limit` changes of a run behind a cursor."""
    start = int(cursor) if cursor.isascii() and cursor.isdigit() and len(cursor) < 16 else -1 if cursor else 0
    if start < 0:
        raise Problem(400, "this cursor is none of ours", "take it from `next` of the page before, as it is")
    if run.id == last_published(store, run.spider):
        return _file_part(data / run.spider / "changes.jsonl", start, limit)
    if run.state == "ended" and not run.is_accepted:
        lines = list(islice(offered_changes(store, run), start, start + limit + 1))
        return Part(lines[:limit], str(start + limit) if len(lines) > limit else "")
    raise Problem(
        404,
        f"the changes of run {run.id} are not kept",
        "the last run that was published has its changes, and one that can be accepted",
    )


def last_published(store: Store, spider: str) -> str:
    """The id of the run whose records are the current ones; empty where there is none."""
    return next((one.id for one in store.runs(spider, 1000) if one.is_accepted), "")


def _file_part(file: Path, start: int, limit: int) -> Part:
    try:
        with file.open("rb") as opened:
            is_inside = start <= os.fstat(opened.fileno()).st_size
            opened.seek(max(0, start - 1) if is_inside else 0)
            if not is_inside or (start and opened.read(1) != b"\n"):
                raise Problem(400, "this cursor is of other changes", "begin again without one")
            lines = [line.decode("utf-8", "replace").rstrip("\n") for line in islice(opened, limit)]
            return Part(lines, str(opened.tell()) if opened.peek(1) else "")
    except FileNotFoundError:
        return Part([], "")


def etag_of(run: Run, *more: object) -> str:
    """A validator of what is read of a run."""
    parts = (run.id, run.state, run.ended_at, run.is_accepted, run.kills, *more)
    return f'W/"{blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'


def not_modified(call: Call, etag: str) -> Response | None:
    """304 where the caller has this already (RFC 9110 13.1.2)."""
    given = call.request.headers.get("if-none-match", "")
    tags = [each.strip().removeprefix("W/") for each in given.split(",")]
    if given.strip() == "*" or etag.removeprefix("W/") in tags:
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})
    return None


class Pages:
    """Answers with the parts that `read(cursor, limit)` gives."""

    def __init__(self, reader: Reader, name: str, etag: str) -> None:
        self._reader = reader
        self._name = name
        self._etag = etag

    async def response(self, call: Call, read: Any) -> Response:
        """A page where a limit is given, and in JSON; else all of it, line by line."""
        wanted, limit, cursor = format_of(call), call.query["limit"], call.query["cursor"] or ""
        headers = {"ETag": self._etag, "Vary": "Accept, Authorization, Cookie"}
        headers["Cache-Control"] = "private, no-cache"
        first = await self._reader.call(read, cursor, limit or PAGE)
        if wanted == "json" or limit:
            if first.next:
                headers |= {"Link": f'<{_next_url(call, first.next)}>; rel="next"'}
            return await self._page(first, wanted, headers)
        if wanted == "jsonl":
            return StreamingResponse(self._lines(first, read), headers=headers, media_type=LINES)
        parts = [first]
        return await self._csv(self._all(parts, read), headers)

    async def _page(self, part: Part, wanted: str, headers: dict[str, str]) -> Response:
        if wanted == "json":
            found = {self._name: [json.loads(line) for line in part.lines], "next": part.next or None}
            return json_response(found, headers=headers)
        if wanted == "jsonl":
            return Response(_encoded(part.lines), headers=headers, media_type=LINES)
        return await self._csv(self._all([part], None), headers)

    async def _all(self, parts: list[Part], read: Any) -> AsyncIterator[list[str]]:
        part = parts[0]
        yield part.lines
        while part.next and read is not None:
            part = await self._reader.call(read, part.next, PAGE)
            yield part.lines

    async def _lines(self, first: Part, read: Any) -> AsyncIterator[bytes]:
        async for lines in self._all([first], read):
            yield _encoded(lines)

    async def _csv(self, parts: AsyncIterator[list[str]], headers: dict[str, str]) -> Response:
        """Its header has the fields of all records, so that it is written before the first byte is sent."""
        folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="scraper-")
        try:
            target = Path(folder.name) / "page.csv"
            sink = sink_for(str(target))
            sink.open()
            async for lines in parts:
                await asyncio.to_thread(sink.write, lines)
            await asyncio.to_thread(sink.close)
            file = await asyncio.to_thread(os.open, target, os.O_RDONLY)
        finally:
            await asyncio.to_thread(folder.cleanup)
        return StreamingResponse(_content(file), headers=headers, media_type=CSV)


async def _content(file: int) -> AsyncIterator[bytes]:
    try:
        while block := await asyncio.to_thread(os.read, file, 256 * 1024):
            yield block
    finally:
        os.close(file)


def _encoded(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


def _next_url(call: Call, cursor: str) -> str:
    return str(call.request.url.include_query_params(cursor=cursor).replace(scheme="", netloc=""))
