"""One command run, watched and measured."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command came to. Seconds of the wall and of CPU, bytes at its peak."""

    code: int
    seconds: float
    cpu: float
    peak: int
    was_stopped: bool


def run(
    command: Sequence[str],
    folder: Path,
    limit: float,
    *,
    environment: Mapping[str, str] | None = None,
    is_enough: Callable[[], bool] | None = None,
    stop: int = signal.SIGKILL,
) -> Ended:
    """Run a command in a folder; its output goes to output.txt there.

    After `limit` seconds, or once `is_enough()`, its process group gets the signal `stop`, and SIGKILL after
    ten seconds more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "output.txt", "ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment() | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    watch = _Watch(process, started + limit, is_enough or (lambda: False), stop)
    code, usage = watch.wait()
    return Ended(
        code=code,
        seconds=time.monotonic() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        peak=watch.peak,  # `ru_maxrss` begins with what this process holds, as the child was a copy of it
        was_stopped=watch.was_stopped,
    )


class _Watch:
    """The wait for a process, with its end if it takes too long."""

    def __init__(
        self, process: subprocess.Popen[bytes], until: float, is_enough: Callable[[], bool], stop: int
    ) -> None:
        self._process = process
        self._until = until
        self._is_enough = is_enough
        self._stop = stop
        self.was_stopped = False
        self.peak = 0

    def wait(self) -> tuple[int, resource.struct_rusage]:
        """Exit code (negative: by a signal) and what was used."""
        while True:
            pid, status, usage = os.wait4(self._process.pid, os.WNOHANG)
            if pid:
                self._end_group(signal.SIGKILL)  # children that it left behind
                self._process.returncode = os.waitstatus_to_exitcode(status)
                return self._process.returncode, usage
            self.peak = max(self.peak, _peak(self._process.pid))
            self._stop_if_due()
            time.sleep(_STEP)

    def _stop_if_due(self) -> None:
        now = time.monotonic()
        if not self.was_stopped and (now >= self._until or self._is_enough()):
            self.was_stopped = True
            self._end_group(self._stop)
            self._until = now + 10
        elif self.was_stopped and now >= self._until:
            self._end_group(signal.SIGKILL)

    def _end_group(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def _peak(pid: int) -> int:
    """The most bytes that a process has held in memory since its program began; 0 where nobody tells."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return 0


def _environment() -> dict[str, str]:
    """This process's environment without what would change a crawl."""
    dropped = ("SCRAPER_", "SCRAPY_", "CRAWLEE_", "APIFY_")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(dropped) and not name.lower().endswith("_proxy")
    } | {"NO_COLOR": "1"}
