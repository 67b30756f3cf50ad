"""The systemd timer and service for a run: the timer fires when cron would."""

import re
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b

from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.ops.cron import Job, arguments
from scraper.ops.schedule import calendar, calendar_of_gaps

STOP_WITHIN = 10

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+", re.ASCII)
# What systemd does not take in the path of a program, or reads otherwise at the end of a line.
_ODD_PROGRAM = re.compile(r"""["'\\$]""")
_ODD_END = re.compile(r"[\\\s]$")


@frozen
class Units:
    """A systemd timer and its service: file names and texts."""

    timer_name: str
    timer: str
    service_name: str
    service: str


def units(
    job: Job, year: int, wall: Callable[[datetime], float] = datetime.timestamp, random_delay: float = 0.0
) -> Units:
    """A timer (up to `random_delay` seconds late) and its service.

    `year`: the present one; `wall`: the moment of a local time, by which the nights are found on which the
    clock is put forward.
    """
    stem = _stem(job)
    when = [*calendar(job.schedule), *calendar_of_gaps(job.schedule, year, wall)]
    lines = [f"OnCalendar={expression}" for expression in when] or ["OnBootSec=1min"]
    jitter = [f"RandomizedDelaySec={random_delay:g}"] if random_delay else []
    title = escaped(f"Crawl with the spider {job.name} in {job.folder}/")
    # Persistent: a run that was due while the machine was off is made up for.
    timer = ["[Unit]", f"Description={title}", "", "[Timer]", *lines, *jitter, "Persistent=true"]
    timer += ["", "[Install]", "WantedBy=timers.target"]
    service = ["[Unit]", f"Description={title}", "", "[Service]", "Type=oneshot", *_command(job)]
    # Stopped is not failed: the state is saved, and the next run goes on.
    service += [f"TimeoutStopSec={STOP_WITHIN}", "SuccessExitStatus=143"]
    return Units(f"{stem}.timer", "\n".join(timer) + "\n", f"{stem}.service", "\n".join(service) + "\n")


def _stem(job: Job) -> str:
    # Two projects may have a spider of one name, and two names may differ in what a unit cannot be called.
    identity = blake2b(
        f"{job.name}\0{job.folder}".encode("utf-8", "surrogateescape"), digest_size=4
    ).hexdigest()
    return f"scraper-{re.sub(r'[^A-Za-z0-9_.-]', '-', job.name)}-{identity}"


def _command(job: Job) -> list[str]:
    words = [quoted(argument) for argument in arguments(job)]
    if _ODD_PROGRAM.search(str(job.python)):
        words = ["/bin/sh", "-c", quoted('exec "$0" "$@"'), *words]
    folder = str(job.folder)
    end = "/" if _ODD_END.search(folder) else ""
    return [f"WorkingDirectory={escaped(folder)}{end}", "ExecStart=" + " ".join(words)]


def escaped(text: str) -> str:
    """Text as a unit file holds it; UsageError for what no line can."""
    if not text.isprintable():
        raise UsageError("a line break or control character in a path", "a unit file knows only lines")
    return text.replace("%", "%%")


def quoted(argument: str) -> str:
    """An argument as ExecStart reads it (systemd.service(5), "Command lines")."""
    text = escaped(argument).replace("$", "$$")
    if _PLAIN.fullmatch(text):
        return text
    inner = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"'
