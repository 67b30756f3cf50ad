"""Real cron daemons run the line that `scraper cron` writes, for a project with a name as odd as can be.

`python -m benchmarks.cron_daemons` needs root (each daemon gets a mount namespace: the machine's own crontabs
are untouched) and Debian's packages cron and busybox-static. Daemons that cannot be installed beside them are
named by path, unpacked (`dpkg -x`) or built: `--cronie`, `--systemd-cron`. It takes up to two minutes and
prints the table of docs/compatibility.md.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from scraper.ops import cron
from scraper.ops.cron import Job
from scraper.ops.schedule import parse_schedule

FOLDER = r"""it's 100% "mine" $HOME ;& 50\% a\\b%"""
PYTHON = r"p%y\thon"
OPTIONS = ("--param", r"x=50% \% $y 'z' \\", "-o", "a b%.csv")
PATIENCE = 130.0


class Trial:
    """One daemon's project, interpreter (it prints folder and arguments), home and crontab."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        folder, python, spool = root / FOLDER, root / PYTHON, root / "spool" / "crontabs"
        for each in (folder, self.home, spool):
            each.mkdir(parents=True)
        python.write_text('#!/bin/sh\npwd\nfor each in "$@"; do printf "%s\\n" "$each"; done\n')
        python.chmod(0o755)
        self.job = Job("shop", "shop", parse_schedule("* * * jan-DEC 0-7"), folder, python, None, OPTIONS)
        gone = Job("gone", "gone", self.job.schedule, root / "moved 5%", python)
        self.tab = spool / "root"
        self.tab.write_text(f"HOME={self.home}\n" + cron.with_job(cron.with_job("", self.job), gone))
        self.tab.chmod(0o600)

    def outcome(self) -> str:
        """Whether the line ran with the very arguments."""
        log = cron.log_of(self.job)
        if not log.exists():
            return "not run"
        expected = "\n".join([str(self.job.folder), *cron.arguments(self.job)[1:]]) + "\n"
        return "as written" if log.read_text().startswith(expected) else f"changed: {log.read_text()[:500]!r}"

    def lost(self) -> str:
        """What became of the line of a project that is gone; BusyBox and others set HOME themselves."""
        for home in (self.home, Path.home()):
            if (home / cron.LOST).exists():
                return "in ~/" + cron.LOST
        return "nowhere"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cron_daemons", description=__doc__)
    parser.add_argument("--cron", default="/usr/sbin/cron")
    parser.add_argument("--busybox", default="/bin/busybox")
    parser.add_argument("--cronie", default="", help="its crond, built with --without-pam")
    parser.add_argument("--cronie-spool", default="/var/spool/cron", help="the folder that it was built for")
    parser.add_argument("--systemd-cron", default="", help="its generator")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        root = Path(name)
        trials = {each: Trial(root / each) for each in ("cron", "cronie", "busybox", "systemd-cron")}
        # These two insist on being the only one of the machine, by a file in /run.
        alone = "mount -t tmpfs none /run; mount --bind"
        commands = {
            "cron": f"{alone} {trials['cron'].root}/spool /var/spool/cron && exec {given.cron} -f",
            "cronie": f"{alone} {trials['cronie'].root}/spool/crontabs {given.cronie_spool}"
            f" && exec {given.cronie} -n -m off",
            "busybox": f"exec {given.busybox} crond -f -c {trials['busybox'].root}/spool/crontabs",
            "systemd-cron": f"mount --bind {trials['systemd-cron'].root}/spool /var/spool/cron"
            f" && {given.systemd_cron} {root} {root} {root}"
            f" && for one in {root}/cron-root-root-*.sh; do HOME={trials['systemd-cron'].home} sh $one; done",
        }
        there = [each for each in trials if shutil.which(vars(given)[each.replace("-", "_")] or "none")]
        for each in there:
            command = ["unshare", "-m", "sh", "-c", commands[each]]
            quiet = subprocess.DEVNULL
            process = stack.enter_context(subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet))
            stack.callback(process.terminate)
        until = time.monotonic() + PATIENCE
        while any(trials[each].outcome() == "not run" for each in there) and time.monotonic() < until:
            time.sleep(1)
        time.sleep(2)
        for each in there:
            print(f"| {each} | {trials[each].outcome()} | {trials[each].lost()} |")


if __name__ == "__main__":
    if os.geteuid():
        raise SystemExit("run it as root: the daemons need it")
    main()
