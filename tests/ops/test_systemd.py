"""The units for systemd: when cron would fire, and written as systemd reads them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from scraper.errors import UsageError
from scraper.ops.cron import Job
from scraper.ops.schedule import parse_schedule
from scraper.ops.systemd import units

YEAR = 2026


@pytest.fixture
def job() -> Job:
    return Job(
        "quotes", "quotes", parse_schedule("0 3 * * *"), Path("/srv/news"), Path("/srv/venv/bin/python")
    )


def wall(zone: str) -> Callable[[datetime], float]:
    return lambda moment: moment.replace(tzinfo=ZoneInfo(zone)).timestamp()


def timer(job: Job, schedule: str, zone: str = "UTC") -> list[str]:
    made = units(replace(job, schedule=parse_schedule(schedule)), YEAR, wall(zone)).timer
    return [line.removeprefix("OnCalendar=") for line in made.splitlines() if line.startswith("OnCalendar=")]


def test_the_timer_fires_when_cron_would_and_makes_up_for_what_was_missed(job: Job) -> None:
    made = units(replace(job, schedule=parse_schedule("0 0 13 * 5")), YEAR, wall("UTC"), random_delay=90)
    assert "OnCalendar=*-*-13 00:00:00\nOnCalendar=Fri *-*-* 00:00:00\n" in made.timer
    assert "RandomizedDelaySec=90\nPersistent=true\n" in made.timer
    assert "RandomizedDelaySec" not in units(job, YEAR).timer


@pytest.mark.parametrize(
    ("zone", "schedule", "night"),
    [
        ("Europe/Berlin", "30 2 * * *", ["Sun *-03-25..31 03:00:00"]),
        ("Europe/Berlin", "0,15 1-2 * * *", ["Sun *-03-25..31 03:00:00"]),
        ("Europe/Berlin", "30 2,3 * * *", ["Sun *-03-25..31 03:00:00"]),
        ("America/New_York", "30 2 * 1-6 *", ["Sun *-03-08..14 03:00:00"]),
        ("Australia/Sydney", "0 2 * * 0", ["Sun *-10-01..07 03:00:00"]),
        ("Europe/Berlin", "30 1 * * *", []),
        ("Europe/Berlin", "0 3 * * *", []),
        ("Europe/Berlin", "0 2,3 * * *", []),
        ("Europe/Berlin", "30 2 * * 1", []),
        ("Europe/Berlin", "30 * * * *", []),
        ("Asia/Tokyo", "30 2 * * *", []),
        ("Europe/Berlin", "30 2 25 3 *", ["2029-03-25 03:00:00", "2035-03-25 03:00:00", "2040-03-25 03:00:00",
                                          "2046-03-25 03:00:00"]),
    ],
)  # fmt: skip
def test_a_time_that_the_clock_leaps_over_is_made_up_for_when_it_has(
    job: Job, zone: str, schedule: str, night: list[str]
) -> None:
    assert timer(job, schedule, zone) == timer(job, schedule) + night


def test_reboot_becomes_a_time_after_the_start(job: Job) -> None:
    made = units(replace(job, schedule=parse_schedule("@reboot")), YEAR).timer
    assert "OnBootSec=1min\n" in made
    assert "OnCalendar" not in made


def test_the_service_runs_once_in_the_project_folder(job: Job) -> None:
    service = units(job, YEAR).service
    assert "Type=oneshot\nWorkingDirectory=/srv/news\n" in service
    assert "ExecStart=/srv/venv/bin/python -m scraper run quotes --quiet\n" in service


def test_every_spider_of_every_project_has_units_of_its_own(job: Job) -> None:
    others = [
        job,
        replace(job, folder=Path("/srv/other")),
        replace(job, name="a b"),
        replace(job, name="a-b"),
    ]
    stems = {units(one, YEAR).timer_name.removesuffix(".timer") for one in others}
    assert len(stems) == 4 and all(stem.startswith("scraper-") for stem in stems)
    assert units(job, YEAR).service_name == units(job, YEAR).timer_name.replace(".timer", ".service")


def test_odd_names_are_written_as_systemd_reads_them(job: Job) -> None:
    odd = replace(job, spider='a "b"', folder=Path("/srv/50% off"), options=("--param", "x=$y\\"))
    service = units(odd, YEAR).service
    assert "WorkingDirectory=/srv/50%% off\n" in service
    assert r'run "a \"b\"" --quiet --param "x=$$y\\"' in service
    with pytest.raises(UsageError, match="line break"):
        units(replace(job, folder=Path("/srv/a\nb")), YEAR)


@pytest.mark.parametrize("name", ['p"y', "p'y", r"p\y", "p$y"])
def test_an_interpreter_that_systemd_would_refuse_is_started_by_a_shell(job: Job, name: str) -> None:
    service = units(replace(job, python=Path("/srv") / name), YEAR).service
    assert 'ExecStart=/bin/sh -c "exec \\"$$0\\" \\"$$@\\"" "/srv/p' in service


def test_a_folder_that_ends_in_a_backslash_does_not_swallow_the_next_line(job: Job) -> None:
    made = units(replace(job, folder=Path("/srv/a\\")), YEAR)
    assert "WorkingDirectory=/srv/a\\/\nExecStart=" in made.service
    assert not any(line.endswith("\\") for line in (made.service + made.timer).splitlines())
