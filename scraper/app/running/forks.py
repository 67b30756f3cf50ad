"""Parse processes that are copies of this one: what they need is loaded before they are made."""

import os
import signal
import sys
import traceback
from typing import IO, NoReturn

from scraper.app.running import parse_process
from scraper.engine.parse_pool import ParseProcess


def forked(count: int) -> tuple[ParseProcess, ...]:
    """Parse processes that wait for their orders. Only for a process with one thread and no store.

    A fork has loaded what it needs; a new Python takes a quarter of a second of CPU for that. Others are
    started later, in the place of those that died.
    """
    if not count or sys.platform != "linux":  # elsewhere the system's libraries may have threads
        return ()
    return tuple(_Fork() for _ in range(count))


class _Fork:
    """A copy of this process; what is asked of `subprocess.Popen` otherwise."""

    def __init__(self) -> None:
        (items, stdin), (stdout, results) = os.pipe(), os.pipe()
        self._process = os.fork()
        if not self._process:
            _parse(items, results)
        os.close(items)
        os.close(results)
        self.stdin: IO[bytes] | None = os.fdopen(stdin, "wb")
        self.stdout: IO[bytes] | None = os.fdopen(stdout, "rb")
        self._code: int | None = None

    def kill(self) -> None:
        """End it."""
        if self._code is None:
            os.kill(self._process, signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        return self._code


def _parse(items: int, results: int) -> NoReturn:
    """Be a parse process, with nothing of what the other one has open."""
    code = 1
    try:
        os.dup2(items, 0)
        os.dup2(results, 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.argv[:] = [parse_process.__file__]
        parse_process.main()
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)
