"""Starts a browser and ends it, and all that belongs to it, once the process that wanted it is gone.

A program of its own (`guard.py PID FOLDER PROGRAM ARGUMENTS`): it imports nothing of ours, as it has to be up
at once. FOLDER is removed in the end.
"""

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import NoReturn

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_PIPES = (3, 4)  # through which the browser is driven


def main(run: int, folder: str, command: list[str]) -> NoReturn:
    """Watch two processes: the end of either is the end of both, from here on."""
    owner = os.pidfd_open(run)  # raises where it has gone already
    with open(os.path.join(folder, "group"), "w") as file:
        file.write(str(os.getpgid(0)))
    child = subprocess.Popen(command, pass_fds=_PIPES, preexec_fn=_die_with_parent)
    for pipe in _PIPES:
        os.close(pipe)  # so that the browser sees the other side close
    watched = select.poll()
    watched.register(owner, select.POLLIN)
    watched.register(os.pidfd_open(child.pid), select.POLLIN)
    gone = [number for number, _ in watched.poll()]
    if owner not in gone:
        os._exit(max(child.wait(), 0))
    child.kill()
    child.wait()
    for _ in range(3):  # its last children may still be writing
        shutil.rmtree(folder, ignore_errors=True)
    for argument in command:
        if argument.startswith("--user-data-dir="):
            shutil.rmtree(argument.partition("=")[2], ignore_errors=True)
    with contextlib.suppress(OSError):
        os.killpg(0, signal.SIGKILL)  # what the browser started is in this group too
    os._exit(1)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
