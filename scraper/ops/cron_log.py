"""Trims a spider's cron.log; a module of its own, so that quiet runs need not import `cron`."""

import fcntl
import os
from pathlib import Path

MAX_LOG = 2**20


def trim_log(path: Path, most: int = MAX_LOG) -> None:
    """Cut a log of more than `most` bytes to its last half, in place: `tee -a` goes on at the end of it.

    Never raises: a log is no reason not to run.
    """
    try:
        with open(path, "r+b") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= most:
                return
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.seek(size - most // 2)
            kept = file.read(most).partition(b"\n")[2]
            file.seek(0)
            file.write(kept)
            file.truncate()
    except OSError:
        pass
