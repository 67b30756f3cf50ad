"""Programs that copy a site to files, where they are installed; they make no records."""

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.contestants import Contestant, Job


@dataclass(frozen=True, slots=True)
class _Mirror:
    """One request at a time and no pause, as all others here; `lacks`: what it does not do."""

    name: str
    command: Callable[[Job], Sequence[str]]
    lacks: str


_LACKS = "records; Retry-After; to go on after a kill; what changed"
_MIRRORS = (
    _Mirror(
        "wget",
        lambda job: ("--quiet", "--recursive", "--level=inf", f"--directory-prefix={job.folder}", *job.start),
        _LACKS,
    ),
    _Mirror(
        "wget2",
        lambda job: (
            *("--quiet", "--recursive", "--level=0", "--max-threads=1"),
            f"--directory-prefix={job.folder}",
            *job.start,
        ),
        _LACKS,
    ),
    _Mirror(
        "httrack",
        lambda job: (
            *("--quiet", "--sockets=1", "--depth=1000", "--do-not-log"),
            # Its limits for the sake of slow lines, which count against nobody here.
            *("--disable-security-limits", "--max-rate=0", "--connection-per-second=0"),
            *("--path", str(job.folder), *job.start),
        ),
        "records; Retry-After",
    ),
)


def mirrors() -> list[Contestant]:
    """Those that are installed."""
    return [_contestant(each) for each in _MIRRORS if shutil.which(each.name)]


def _contestant(mirror: _Mirror) -> Contestant:
    return Contestant(
        mirror.name,
        _version(mirror.name),
        lambda job: [mirror.name, *mirror.command(job)],
        lambda job: {},
        lambda folder: [],
        mirror.lacks,
    )


def _version(name: str) -> str:
    told = subprocess.run([name, "--version"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    found = re.search(r"\d+(?:\.\d+|-\d+)+", told.stdout)
    return found[0] if found else ""
