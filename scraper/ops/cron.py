"""Runs by the clock: the line for cron, the user's crontab, and the same for systemd.

The line's output goes to cron, which mails it, and to data/NAME/cron.log, for machines without mail. A run
that is OK prints nothing (`run --quiet`), so both speak only when somebody has to look; `trim_log` keeps the
log small. Only `read_crontab` and `write_crontab` touch the machine.
"""

import fcntl
import os
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scraper.errors import UsageError
from scraper.ops.schedule import Schedule, calendar

MAX_LOG = 2**20
MAX_COMMAND = 990  # Debian's cron reads 999 characters and drops the rest
STOP_WITHIN = 10

_ENTRY = re.compile(r"^#?.* -m scraper run ")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Job:
    """What is to run when: `spider` as the command line names it, `name` its name; absolute paths.

    `python` is not resolved: a virtual environment's interpreter is a link. `options` go to `run`.
    """

    spider: str
    name: str
    schedule: Schedule
    folder: Path
    python: Path
    data: Path | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Units:
    """A systemd timer and its service: file names and texts."""

    timer_name: str
    timer: str
    service_name: str
    service: str


def log_of(job: Job) -> Path:
    """Where the line keeps what it printed."""
    return _data(job) / job.name / "cron.log"


def _data(job: Job) -> Path:
    return job.folder / "data" if job.data is None else job.data


def _arguments(job: Job) -> list[str]:
    data = [] if job.data is None else ["--data", str(job.data)]
    return [str(job.python), "-m", "scraper", "run", job.spider, "--quiet", *data, *job.options]


# cron -------------------------------------------------------------------------------------------------------
def marker(name: str, folder: Path) -> str:
    """The comment above a spider's line, by which it is found again."""
    return f"# scraper: {name} in {folder}"


def line(job: Job) -> str:
    """The crontab line of a job; UsageError where cron could not read it."""
    log = log_of(job)
    if log.is_relative_to(job.folder):
        log = log.relative_to(job.folder)
    run = shlex.join(_arguments(job))
    command = (
        f"cd {shlex.quote(str(job.folder))} && mkdir -p {shlex.quote(str(log.parent))}"
        f" && {run} 2>&1 | tee -a {shlex.quote(str(log))}"
    )
    if not command.isprintable() or not job.name.isprintable():
        raise UsageError("a line break or control character in a path or an option", "cron knows only lines")
    # To cron a bare % ends the command and begins its input (crontab(5)).
    command = command.replace("%", r"\%")
    if len(os.fsencode(command)) > MAX_COMMAND:
        raise UsageError(
            f"the command has more than {MAX_COMMAND} bytes, which cron would cut",
            "use shorter paths or --systemd",
        )
    return f"{job.schedule.text} {command}"


def with_job(crontab: str, job: Job) -> str:
    """A crontab in which the job stands once, at the place where it stood; all else is as it was."""
    lines, places = _without(crontab, marker(job.name, job.folder))
    place = places[0] if places else len(lines)
    lines[place:place] = [marker(job.name, job.folder), line(job)]
    return "\n".join(lines) + "\n"


def without_job(crontab: str, name: str, folder: Path) -> str:
    """A crontab without a spider's line; the text itself where there is none."""
    lines, places = _without(crontab, marker(name, folder))
    return "".join(f"{one}\n" for one in lines) if places else crontab


def _without(crontab: str, mark: str) -> tuple[list[str], list[int]]:
    """The lines that are not ours, and where ours were."""
    kept: list[str] = []
    places: list[int] = []
    lines = crontab.removesuffix("\n").split("\n") if crontab else []
    while lines:
        one = lines.pop(0)
        if one.rstrip() != mark:
            kept.append(one)
            continue
        places.append(len(kept))
        if lines and _ENTRY.match(lines[0]):  # also one that a person has commented out
            lines.pop(0)
    return kept, places


def install(
    job: Job, read: Callable[[], str] | None = None, write: Callable[[str], None] | None = None
) -> bool:
    """Put the job into the user's crontab, in place of its older line; False if it stood there already."""
    before = (read or read_crontab)()
    after = with_job(before, job)
    if after != before:
        (write or write_crontab)(after)
    return after != before


def remove(
    name: str,
    folder: Path,
    read: Callable[[], str] | None = None,
    write: Callable[[str], None] | None = None,
) -> bool:
    """Take a spider's line out of the user's crontab; False if there is none."""
    before = (read or read_crontab)()
    after = without_job(before, name, folder)
    if after != before:
        (write or write_crontab)(after)
    return after != before


def read_crontab() -> str:
    """The user's crontab; empty where there is none."""
    done = _crontab("-l")
    said = done.stderr.lower()
    if done.returncode and not ("no crontab" in said or "no such file" in said):
        raise _refused("read", done)
    return "" if done.returncode else done.stdout


def write_crontab(text: str) -> None:
    """Replace the user's crontab; remove it where nothing is left."""
    done = _crontab("-", text) if text else _crontab("-r")
    if done.returncode:
        raise _refused("changed", done)


def _crontab(argument: str, text: str = "") -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["crontab", argument],
            input=text,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="surrogateescape",  # other people's lines go back byte by byte
            env=os.environ | {"LC_ALL": "C"},
            timeout=60,
        )
    except FileNotFoundError:
        raise UsageError(
            "this machine has no crontab command", "install cron, or ask for systemd units with --systemd"
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"the crontab command failed: {error}") from None


def _refused(what: str, done: subprocess.CompletedProcess[str]) -> UsageError:
    said = " ".join(done.stderr.split())[:300] or f"exit code {done.returncode}"
    return UsageError(f"the crontab cannot be {what}: {said}")


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


# systemd ----------------------------------------------------------------------------------------------------
def systemd_units(job: Job, random_delay: float = 0.0) -> Units:
    """A timer that fires when cron would (up to `random_delay` seconds later), and the service it starts."""
    stem = "scraper-" + re.sub(r"[^A-Za-z0-9_.-]", "-", job.name)
    when = [f"OnCalendar={expression}" for expression in calendar(job.schedule)] or ["OnBootSec=1min"]
    jitter = [f"RandomizedDelaySec={random_delay:g}"] if random_delay else []
    title = _escaped(f"Crawl with the spider {job.name} in {job.folder}")
    # Persistent: a run that was due while the machine was off is made up for.
    timer = ["[Unit]", f"Description={title}", "", "[Timer]", *when, *jitter, "Persistent=true"]
    timer += ["", "[Install]", "WantedBy=timers.target"]
    service = ["[Unit]", f"Description={title}", "", "[Service]", "Type=oneshot"]
    service += [f"WorkingDirectory={_escaped(str(job.folder))}"]
    service += ["ExecStart=" + " ".join(_quoted(argument) for argument in _arguments(job))]
    # Stopped is not failed: the state is saved, and the next run goes on.
    service += [f"TimeoutStopSec={STOP_WITHIN}", "SuccessExitStatus=143"]
    return Units(f"{stem}.timer", "\n".join(timer) + "\n", f"{stem}.service", "\n".join(service) + "\n")


def _escaped(text: str) -> str:
    if not text.isprintable():
        raise UsageError("a line break or control character in a path", "a unit file knows only lines")
    return text.replace("%", "%%")


def _quoted(argument: str) -> str:
    """An argument as ExecStart reads it (systemd.service(5), "Command lines")."""
    text = _escaped(argument).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
