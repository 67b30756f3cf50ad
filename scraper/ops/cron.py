"""Runs by the clock: the line for cron, and the user's crontab.

The line's output goes to cron, which mails it, and to data/NAME/cron.log, for machines without mail. A run
that is OK prints nothing (`run --quiet`), so both speak only when somebody has to look; `cron_log` keeps the
log small. Only `read_crontab` and `write_crontab` touch the machine.

The line is written so that every cron reads it alike: five fields of numbers, and no character in quotes that
one of them changes (docs/compatibility.md).
"""

import os
import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.ops.schedule import Schedule

MAX_COMMAND = 990  # Debian's cron reads 999 characters and drops the rest
LOST = "scraper-cron.log"  # in the home folder: what a line says whose project is gone, and its log with it

_MARKER = "# scraper: "
_ENTRY = re.compile(r"^#?.* -m scraper run ")


@frozen
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


def log_of(job: Job) -> Path:
    """Where the line keeps what it printed."""
    return _data(job) / job.name / "cron.log"


def _data(job: Job) -> Path:
    return job.folder / "data" if job.data is None else job.data


def arguments(job: Job) -> list[str]:
    """The command of a job, interpreter first."""
    data = [] if job.data is None else ["--data", str(job.data)]
    return [str(job.python), "-m", "scraper", "run", job.spider, "--quiet", *data, *job.options]


# the line ---------------------------------------------------------------------------------------------------
def line(job: Job) -> str:
    """The crontab line of a job; UsageError where cron could not read it."""
    log = log_of(job)
    if log.is_relative_to(job.folder):
        log = log.relative_to(job.folder)
    run = " ".join(map(_quoted, arguments(job)))
    lost = _quoted(f"scraper: {job.name} did not run in {job.folder}")
    command = (
        f"cd {_quoted(str(job.folder))} && mkdir -p {_quoted(str(log.parent))}"
        f" && {run} 2>&1 | tee -a {_quoted(str(log))} || echo {lost} | tee -a ~/{LOST}"
    )
    if not command.isprintable() or not job.name.isprintable():
        raise UsageError("a line break or control character in a path or an option", "cron knows only lines")
    if len(os.fsencode(command)) > MAX_COMMAND:
        raise UsageError(
            f"the command has more than {MAX_COMMAND} bytes, which cron would cut",
            "use shorter paths or --systemd",
        )
    return f"{job.schedule.numbers} {command}"


def _quoted(word: str) -> str:
    """A word for the shell behind any cron.

    To most of them a bare % ends the command and \\% is a %; some make one backslash of two, some know
    nothing of this. Outside quotes \\% is a % to the shell too; alone in quotes a backslash is one to all.
    """
    parts = re.split(r"([%\\])", word)
    return "".join(_ODD.get(part) or (shlex.quote(part) if part else "") for part in parts) or "''"


_ODD = {"%": r"\%", "\\": "'\\'"}


# the crontab ------------------------------------------------------------------------------------------------
def marker(name: str, folder: Path) -> str:
    """The comment above a spider's line."""
    return f"{_MARKER}{name} in {folder}"


def with_job(crontab: str, job: Job, is_there: Callable[[Path], bool] = Path.is_dir) -> str:
    """A crontab in which the job stands once, at the place where it stood; all else is as it was."""
    lines, places = _without(crontab, job.name, job.folder, is_there)
    place = places[0] if places else len(lines)
    lines[place:place] = [marker(job.name, job.folder), line(job)]
    return "\n".join(lines) + "\n"


def without_job(crontab: str, name: str, folder: Path, is_there: Callable[[Path], bool] = Path.is_dir) -> str:
    """A crontab without a spider's line; the text itself where there is none."""
    lines, places = _without(crontab, name, folder, is_there)
    return "".join(f"{one}\n" for one in lines) if places else crontab


def _without(
    crontab: str, name: str, folder: Path, is_there: Callable[[Path], bool]
) -> tuple[list[str], list[int]]:
    """The lines that are not ours, and where ours were.

    Ours are the comment and the line of the spider in its folder, wherever they stand, and those of a folder
    that is gone: a project that has moved takes its place with it.
    """

    def is_ours(found: tuple[str, Path] | None) -> bool:
        return found is not None and found[0] == name and (found[1] == folder or not is_there(found[1]))

    lines = crontab.removesuffix("\n").split("\n") if crontab else []
    is_known = any(is_ours(_of_entry(one)) for one in lines)
    kept: list[str] = []
    places: list[int] = []
    is_marked = False
    for one in lines:
        if one.startswith(_MARKER):
            is_marked = is_ours(_of_marker(one))
            is_taken = is_marked
        else:
            found = _of_entry(one)
            # Right below its comment it may have been changed by a person beyond recognition.
            is_changed = is_marked and not is_known and found is None and bool(_ENTRY.match(one))
            is_taken, is_marked = is_ours(found) or is_changed, False
        if is_taken:
            places.append(len(kept))
        else:
            kept.append(one)
    return kept, places


def _of_marker(one: str) -> tuple[str, Path]:
    name, _, folder = one.rstrip().removeprefix(_MARKER).partition(" in ")
    return name, Path(folder)


def _of_entry(one: str) -> tuple[str, Path] | None:
    """The spider's name and the folder of a line that `line` wrote, also of one that is commented out."""
    if not _ENTRY.match(one):
        return None
    try:
        words = shlex.split(one.lstrip("#").replace(r"\%", "%"))
        folder, log = words[words.index("cd") + 1], words[words.index("tee") + 2]
    except (ValueError, IndexError):
        return None
    return Path(log).parent.name, Path(folder)


def names(crontab: str, folder: Path) -> list[str]:
    """The spiders of a folder that have a line."""
    found = [_of_entry(one) for one in crontab.split("\n") if not one.startswith("#")]
    return sorted({one[0] for one in found if one is not None and one[1] == folder})


def schedules(crontab: str, folder: Path) -> dict[str, str]:
    """The five fields of the lines of a folder's spiders, by spider."""
    lines = [one for one in crontab.split("\n") if not one.startswith("#")]
    found = [(_of_entry(one), " ".join(one.split()[:5])) for one in lines]
    return {one[0]: text for one, text in found if one is not None and one[1] == folder}


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
