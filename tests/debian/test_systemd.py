"""systemd takes the units, whatever folder and interpreter are called, and fires when cron would."""

import os
import subprocess
from pathlib import Path

import pytest

from scraper.ops.cron import Job
from scraper.ops.schedule import parse_schedule
from scraper.ops.systemd import units

pytestmark = pytest.mark.debian

FOLDERS = ["plain", "a b", r"""it's 100% "mine" $HOME ;& 50\% a\\b%""", "end\\", "ünï"]
PYTHONS = ["python", 'p "q"', r"p\x41", "p'q", "p$HOME", "p%h", "p=x"]
OPTIONS = ("--param", r"""x=50% \% $y 'z' "q" \\""", "--set", "a=${HOME}", "-o", "a b%.csv")


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("python", PYTHONS)
def test_units_of_odd_names_are_verified(tmp_path: Path, folder: str, python: str) -> None:
    (tmp_path / folder).mkdir()
    interpreter = tmp_path / python
    interpreter.write_text("#!/bin/sh\n")
    interpreter.chmod(0o755)
    job = Job("shop", "shop", parse_schedule("30 2 * * *"), tmp_path / folder, interpreter, None, OPTIONS)
    made = units(job, 2026)
    (tmp_path / made.timer_name).write_text(made.timer)
    (tmp_path / made.service_name).write_text(made.service)
    done = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / made.timer_name), str(tmp_path / made.service_name)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_night_on_which_the_clock_is_put_forward_is_not_left_out() -> None:
    told = subprocess.run(
        ["systemd-analyze", "calendar", "--base-time=2027-03-27 12:00", "Sun *-03-25..31 03:00:00"],
        capture_output=True,
        text=True,
        env=os.environ | {"TZ": "Europe/Berlin", "LC_ALL": "C"},
    ).stdout
    assert "Next elapse: Sun 2027-03-28 03:00:00 CEST" in told
