"""The project that is served, and its commands as processes of their own.

Spiders are code of the project: they are never loaded here, so that one that hangs, ends its process or takes
the memory does that elsewhere. Nothing that a caller sends becomes a path: a spider is one of those that
`list` names.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from scraper.errors import ScraperError, UsageError
from scraper.model.frozen import frozen
from scraper.ops import cron
from scraper.ops.clock import monotonic
from scraper.service.problems import Problem
from scraper.spider.discovery import FOLDER

LISTING = 60.0  # seconds that a project's spiders may take to load
COMMAND = 60.0
COMMANDS = 4  # that run at once
CRONTAB = 60.0  # seconds that a crontab is believed


@frozen
class Done:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def told(self) -> str:
        """The last line that it said, without its "error: "."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return lines[-1].removeprefix("error: ") if lines else f"exit code {self.code}"


class Project:
    """The folder that is served: its spiders, its crontab lines, its commands. `data`: the data folder."""

    def __init__(self, root: Path, data: Path, store: str | None) -> None:
        self.root = root
        self.data = data
        self._store = store
        self._known: dict[str, dict[str, Any]] = {}
        self._seen: object = None
        self._loading = asyncio.Lock()
        # Threads of their own: a spider that loads for a minute holds up no fetch.
        self._pool = ThreadPoolExecutor(COMMANDS, thread_name_prefix="command")
        self._scheduled: dict[str, str] = {}
        self._scheduled_at = float("-inf")

    def words(self, *command: str) -> list[str]:
        """A command of ours on this project, as words."""
        where = ["--data", str(self.data), *(["--store", self._store] if self._store else [])]
        return [sys.executable, "-m", "scraper", *command, *where]

    async def run(self, *command: str, timeout: float = COMMAND) -> Done:
        """Run a command to its end, in its own process."""
        words = self.words(*command)
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, words, timeout)

    def _run(self, words: Sequence[str], timeout: float) -> Done:
        try:
            done = subprocess.run(
                words,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Done(1, "", f"it did not end within {timeout:g} s")
        return Done(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    async def spiders(self) -> Mapping[str, Mapping[str, Any]]:
        """The spiders by name: "name", "path", "summary", "error". Read again where a file changed."""
        seen = await asyncio.to_thread(self._fingerprint)
        async with self._loading:
            if seen != self._seen:
                self._known = await self._listed()
                self._seen = seen
        return self._known

    async def spider(self, name: str) -> Mapping[str, Any]:
        """One spider; Problem 404 where there is none of the name."""
        found = (await self.spiders()).get(name)
        if found is None:
            raise Problem(404, f"there is no spider {name[:80]!r}", "GET /spiders lists them")
        return found

    def _fingerprint(self) -> object:
        files = sorted((self.root / FOLDER).glob("*.py"))
        return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]

    async def _listed(self) -> dict[str, dict[str, Any]]:
        done = await self.run("list", "--json", timeout=LISTING)
        if done.code:
            raise Problem(
                503, f"the spiders cannot be listed: {done.told}", "`python -m scraper list` shows more"
            )
        rows = [json.loads(line) for line in done.out.splitlines()]
        kept = ("name", "path", "summary", "error")
        return {row["name"]: {name: row[name] for name in kept} for row in rows}

    async def schedules(self) -> dict[str, str]:
        """The lines of the user's crontab for this project: their schedules, by spider."""
        now = monotonic()
        if now >= self._scheduled_at + CRONTAB:
            self._scheduled_at = now
            self._scheduled = await asyncio.to_thread(self._schedules)
        return self._scheduled

    def _schedules(self) -> dict[str, str]:
        try:
            return cron.schedules(cron.read_crontab(), self.root)
        except ScraperError:
            return {}


def check_folder(root: Path) -> None:
    """UsageError where a folder is no project."""
    if not (root / FOLDER).is_dir():
        raise UsageError(f"no {FOLDER}/ here", "change to your project's folder")
