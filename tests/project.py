"""A project folder of its own and the real command line in it, for system tests."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scraper.cli import invoke
from scraper.cli.failures import Caller, guarded

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 180.0  # seconds after which a command hangs; a machine with much else to do takes a minute for ten


@dataclass(frozen=True, slots=True)
class Ended:
    """What a finished command left: exit code (negative: killed by that signal), output and errors."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Both streams, for assertions that do not care and for messages."""
        return f"exit {self.code}\n{self.out}\n{self.err}"

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON object that `--json` puts on the last line of standard output."""
        summary: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return summary


class Started:
    """A command that still runs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal to this one process."""
        self.process.send_signal(number)

    def kill(self) -> Ended:
        """kill -9, and what was left."""
        self.process.kill()
        return self.wait()

    @property
    def children(self) -> list[int]:
        """The ids of the processes that it has started and that live."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait(self, timeout: float = PATIENCE) -> Ended:
        """Its end; after `timeout` seconds it is killed and the test fails."""
        try:
            out, err = self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            raise AssertionError(f"still running after {timeout} s\n{out}\n{err}") from None
        return Ended(self.process.returncode, out, err)


class Project:
    """A folder with `spiders/` and `data/`; `run` and `start` are `python -m scraper` in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "spiders").mkdir(parents=True, exist_ok=True)
        self._started: list[Started] = []

    def spider(self, name: str, source: str) -> Path:
        """Write a spider file; the source may be indented like the test around it."""
        path = self.root / "spiders" / f"{name}.py"
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def run(
        self, *arguments: object, timeout: float = PATIENCE, env: Mapping[str, str] | None = None
    ) -> Ended:
        """Run a command to its end."""
        return self.start(*arguments, env=env).wait(timeout)

    def start(self, *arguments: object, env: Mapping[str, str] | None = None) -> Started:
        """Start a command and leave it running; it is killed at the end of the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-m", "scraper", *map(str, arguments)],
            cwd=self.root,
            env=_environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        started = Started(process)
        self._started.append(started)
        return started

    def data(self, *parts: str) -> Path:
        """A path under the data folder."""
        return self.root.joinpath("data", *parts)

    def records(self, name: str) -> list[dict[str, Any]]:
        """The current records of a spider; none where there is no file."""
        path = self.data(name, "records.jsonl")
        return read_jsonl(path) if path.exists() else []

    def runs(self, name: str) -> list[dict[str, Any]]:
        """The run.json of every run of a spider, oldest first."""
        found = self.data(name, "runs").glob("*/run.json")
        return sorted((json.loads(path.read_text("utf-8")) for path in found), key=lambda r: r["started_at"])

    def log(self, name: str) -> list[dict[str, Any]]:
        """Every line of every run's log.jsonl, by run folder."""
        logs = sorted(self.data(name, "runs").glob("*/log.jsonl"))
        return [line for path in logs for line in read_jsonl(path)]

    def end(self) -> None:
        """Kill what still runs."""
        for started in self._started:
            if started.process.poll() is None:
                started.process.kill()
            started.process.communicate()


Call = Callable[..., Ended]


def calls_in(root: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Call:
    """Runs commands in a folder, in this process: one of their own takes a third of a second to start."""
    monkeypatch.chdir(root)
    monkeypatch.setattr("sys.argv", ["/somewhere/scraper/__main__.py"])

    def call(*arguments: object) -> Ended:
        caller = Caller(arguments=[str(word) for word in arguments])
        code = guarded(lambda: invoke(caller.arguments, caller), caller)
        return Ended(code, *capfd.readouterr())

    return call


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Every line of a JSONL file."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _environment() -> dict[str, str]:
    """This process's environment without what would change a run."""
    dropped = ("SCRAPER_", "COV_", "PYTEST_")
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(dropped) and not k.lower().endswith("_proxy")
    }
    path = os.pathsep.join(filter(None, [str(ROOT), kept.get("PYTHONPATH", "")]))
    return kept | {"PYTHONPATH": path, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
