"""Copies of pages in the data folder, for the service that is started next: private, bounded, and no loss."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from scraper.app.one_url.step import Step
from scraper.model import Headers, Loaded, Rendered, Response
from scraper.ops.disk import PRIVATE
from scraper.politeness.throttle import Pace

MOST = 64 * 2**20  # bytes of all copies
_FULL = 0.75  # of that much is left of them when there are more


class CopyFiles:
    """A file for each copy: a line of JSON, then the body. What cannot be written or read is no copy."""

    def __init__(self, folder: Path, most: int = MOST) -> None:
        self._folder = folder
        self._most = most
        self._written = float("inf")  # since the folder was last looked through

    def write(self, key: tuple[str, str], step: Step, at: float) -> None:
        """Keep a page."""
        assert step.response is not None
        head = json.dumps({"key": key, "at": at} | _dump(step)).encode("ascii")
        with suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._path(key)
            # No fsync: after a power cut the page is asked for again.
            part = path.with_suffix(f".{os.getpid()}")
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(part, flags, PRIVATE), "wb") as file:
                file.write(head + b"\n" + step.response.content)
            os.replace(part, path)
            self._written += len(head) + len(step.response.content)
            if self._written > self._most / 8:
                self._written = 0
                self._trim()

    def read(self, key: tuple[str, str]) -> tuple[Step, float] | None:
        """A page, and when it was fetched (wall)."""
        try:
            head, _, content = self._path(key).read_bytes().partition(b"\n")
            kept = json.loads(head)
            if kept["key"] != list(key) or kept["size"] != len(content):
                return None
            return _load(kept, content), float(kept["at"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def _path(self, key: tuple[str, str]) -> Path:
        return self._folder / f"{blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()}.page"

    def _trim(self) -> None:
        """Remove the oldest until there is room again."""
        files = sorted(self._sizes())
        size = sum(size for _, size, _ in files)
        if size <= self._most:
            return
        for _, one, path in files:
            if size <= self._most * _FULL:
                return
            with suppress(OSError):
                path.unlink()
            size -= one

    def _sizes(self) -> Iterator[tuple[float, int, Path]]:
        for path in self._folder.iterdir():
            with suppress(OSError):
                stat = path.stat()
                yield stat.st_mtime, stat.st_size, path


def _dump(step: Step) -> dict[str, Any]:
    response, pace = step.response, step.pace
    assert response is not None
    told: dict[str, Any] = {
        "url": step.url,
        "status": response.status,
        "headers": list(response.headers.items_all()),
        "fetched_at": response.fetched_at,
        "size": len(response.content),
        "robots": step.robots,
        "pace": [pace.delay, pace.source] if pace is not None else None,
    }
    if response.rendered is not None:
        loads = response.rendered.loads
        told["loads"] = [
            [one.url, one.kind, one.method, one.status, one.type, one.reason, one.sent_at] for one in loads
        ]
    return told


def _load(kept: dict[str, Any], content: bytes) -> Step:
    rendered = None
    if "loads" in kept:
        loads = [
            Loaded(url, kind, method, status, Headers([("Content-Type", type)]), b"", reason, sent_at=sent_at)
            for url, kind, method, status, type, reason, sent_at in kept["loads"]
        ]
        rendered = Rendered(b"", Headers(), tuple(loads))
    headers = Headers((str(name), str(value)) for name, value in kept["headers"])
    response = Response(
        str(kept["url"]), int(kept["status"]), headers, content, kept["fetched_at"], rendered=rendered
    )
    pace = Pace(*kept["pace"]) if kept["pace"] else None
    return Step(str(kept["url"]), response, pace=pace, robots=str(kept["robots"]))
