"""The line that cron runs, its place in the user's crontab, and the units for systemd."""

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from scraper.errors import UsageError
from scraper.ops import cron
from scraper.ops.cron import Job
from scraper.ops.schedule import parse_schedule

OTHERS = "# my own\nMAILTO=ada@example.org\n\n*/5 * * * * backup 50\\% >/dev/null\n"


@pytest.fixture
def job() -> Job:
    return Job(
        "quotes", "quotes", parse_schedule("0 3 * * *"), Path("/srv/news"), Path("/srv/venv/bin/python")
    )


class Tab:
    """A crontab without a machine."""

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.writes = 0

    def read(self) -> str:
        return self.text

    def write(self, text: str) -> None:
        self.text = text
        self.writes += 1


def shell_of(line: str, fields: int = 5) -> str:
    """The command that cron hands to the shell."""
    return line.split(" ", fields)[fields].replace(r"\%", "%")


class TestLine:
    def test_the_line_names_folder_interpreter_and_log(self, job: Job) -> None:
        assert cron.line(job) == (
            "0 3 * * * cd /srv/news && mkdir -p data/quotes"
            " && /srv/venv/bin/python -m scraper run quotes --quiet 2>&1 | tee -a data/quotes/cron.log"
        )

    def test_another_data_folder_and_options_go_along(self, job: Job) -> None:
        line = cron.line(replace(job, data=Path("/var/lib/news"), options=("--max-time", "50m")))
        assert (
            "--quiet --data /var/lib/news --max-time 50m 2>&1 | tee -a /var/lib/news/quotes/cron.log" in line
        )

    def test_a_spider_given_by_its_path_logs_under_its_name(self, job: Job) -> None:
        line = cron.line(replace(job, spider="my spiders/q.py", name="q"))
        assert "run 'my spiders/q.py' --quiet" in line
        assert line.endswith("data/q/cron.log")

    def test_a_percent_sign_does_not_end_the_command(self, job: Job) -> None:
        line = cron.line(replace(job, folder=Path("/srv/50% off")))
        assert r"cd '/srv/50\% off' && " in line

    def test_a_nickname_stands_where_the_fields_would(self, job: Job) -> None:
        assert cron.line(replace(job, schedule=parse_schedule("@daily"))).startswith("@daily cd /srv/news ")

    def test_what_a_line_cannot_hold_is_refused(self, job: Job) -> None:
        with pytest.raises(UsageError, match="line break"):
            cron.line(replace(job, folder=Path("/srv/a\nb")))
        with pytest.raises(UsageError, match=r"990 bytes.*--systemd"):
            cron.line(replace(job, folder=Path("/srv/" + "x" * 1000)))

    def test_the_shell_runs_it_whatever_the_folder_is_called(self, job: Job, tmp_path: Path) -> None:
        folder = tmp_path / """it's 100% "mine" $HOME ;&"""
        folder.mkdir()
        python = tmp_path / "a python"
        python.write_text('#!/bin/sh\npwd\necho "$@"\necho trouble >&2\n')
        python.chmod(0o755)
        line = cron.line(replace(job, folder=folder, python=python))
        done = subprocess.run(["/bin/sh", "-c", shell_of(line)], capture_output=True, text=True)
        expected = f"{folder}\n-m scraper run quotes --quiet\ntrouble\n"
        assert (done.stdout, done.stderr) == (expected, "")
        assert (folder / "data/quotes/cron.log").read_text() == expected

    def test_a_missing_interpreter_is_mailed_and_logged(self, job: Job, tmp_path: Path) -> None:
        line = cron.line(replace(job, folder=tmp_path, python=tmp_path / "gone"))
        done = subprocess.run(["/bin/sh", "-c", shell_of(line)], capture_output=True, text=True)
        assert "gone" in done.stdout
        assert (tmp_path / "data/quotes/cron.log").read_text() == done.stdout

    def test_a_missing_folder_is_mailed_and_nothing_else_happens(self, job: Job, tmp_path: Path) -> None:
        line = cron.line(replace(job, folder=tmp_path / "moved"))
        done = subprocess.run(["/bin/sh", "-c", shell_of(line)], capture_output=True, text=True, cwd=tmp_path)
        assert "moved" in done.stderr
        assert list(tmp_path.iterdir()) == []


class TestCrontab:
    def test_a_job_is_added_below_what_is_there(self, job: Job) -> None:
        tab = Tab(OTHERS)
        assert cron.install(job, tab.read, tab.write)
        assert tab.text == OTHERS + f"# scraper: quotes in /srv/news\n{cron.line(job)}\n"

    def test_an_empty_crontab_and_one_without_a_last_line_end_are_fine(self, job: Job) -> None:
        ours = f"# scraper: quotes in /srv/news\n{cron.line(job)}\n"
        assert cron.with_job("", job) == ours
        assert cron.with_job("0 1 * * * a", job) == "0 1 * * * a\n" + ours

    def test_installing_twice_changes_nothing(self, job: Job) -> None:
        tab = Tab(OTHERS)
        cron.install(job, tab.read, tab.write)
        assert not cron.install(job, tab.read, tab.write)
        assert tab.writes == 1

    def test_a_new_schedule_takes_the_old_ones_place(self, job: Job) -> None:
        below = "@reboot something\n"
        later = replace(job, schedule=parse_schedule("30 4 * * *"))
        assert (
            cron.with_job(cron.with_job(OTHERS, job) + below, later) == cron.with_job(OTHERS, later) + below
        )

    def test_a_line_that_was_commented_out_is_replaced_with_its_marker(self, job: Job) -> None:
        paused = cron.with_job(OTHERS, job).replace("\n0 3 ", "\n#0 3 ")
        assert cron.with_job(paused, job) == cron.with_job(OTHERS, job)
        assert cron.without_job(paused, "quotes", job.folder) == OTHERS

    def test_a_marker_whose_line_is_gone_does_not_take_its_neighbour(self, job: Job) -> None:
        mark = cron.marker("quotes", job.folder)
        assert cron.without_job(f"{mark}\n{OTHERS}", "quotes", job.folder) == OTHERS

    def test_double_entries_become_one(self, job: Job) -> None:
        twice = cron.with_job("", job) + OTHERS + cron.with_job("", job)
        assert cron.with_job(twice, job) == cron.with_job("", job) + OTHERS

    def test_removing_leaves_what_others_wrote(self, job: Job) -> None:
        tab = Tab(cron.with_job(OTHERS, job))
        assert cron.remove("quotes", job.folder, tab.read, tab.write)
        assert tab.text == OTHERS
        assert not cron.remove("quotes", job.folder, tab.read, tab.write)
        assert tab.writes == 1

    def test_other_spiders_and_other_folders_are_others(self, job: Job) -> None:
        there = replace(job, folder=Path("/srv/other"))
        text = cron.with_job(cron.with_job(OTHERS, there), replace(job, name="quotes2"))
        assert cron.without_job(text, "quotes", job.folder) == text
        assert cron.without_job(cron.with_job(text, job), "quotes", job.folder) == text


class TestCommand:
    """Against a crontab command of our own, which behaves as Debian's does."""

    @pytest.fixture
    def machine(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        self.crontab(
            tmp_path,
            """
            case "$1" in
              -l) cat "$KEPT" 2>/dev/null || { echo "no crontab for ada" >&2; exit 1; } ;;
              -r) rm "$KEPT" ;;
              -) cat >"$KEPT" ;;
            esac
            """,
        )
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("KEPT", str(tmp_path / "kept"))
        return tmp_path / "kept"

    @staticmethod
    def crontab(folder: Path, script: str) -> None:
        program = folder / "crontab"
        program.write_text(f"#!/bin/sh\n{script}")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def test_a_user_without_a_crontab_gets_one(self, machine: Path, job: Job) -> None:
        assert cron.read_crontab() == ""
        assert cron.install(job)
        assert machine.read_text() == cron.with_job("", job)

    def test_a_crontab_of_ours_alone_goes_with_its_last_job(self, machine: Path, job: Job) -> None:
        cron.install(job)
        assert cron.remove("quotes", job.folder)
        assert not machine.exists()

    def test_bytes_that_are_not_utf_8_survive(self, machine: Path, job: Job) -> None:
        machine.write_bytes(b"# caf\xe9\n")
        cron.install(job)
        assert machine.read_bytes().startswith(b"# caf\xe9\n# scraper: quotes")

    def test_a_refusal_is_told_in_its_own_words(self, machine: Path, job: Job) -> None:
        self.crontab(machine.parent, "echo 'ada is not allowed to use this program' >&2; exit 1")
        with pytest.raises(UsageError, match="cannot be read: ada is not allowed"):
            cron.install(job)
        self.crontab(machine.parent, '[ "$1" = -l ] && exit; cat >/dev/null; echo "bad minute" >&2; exit 1')
        with pytest.raises(UsageError, match="cannot be changed: bad minute"):
            cron.install(job)

    def test_a_machine_without_cron_is_told_what_to_do(
        self, job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(UsageError, match=r"no crontab command.*--systemd"):
            cron.install(job)


class TestLog:
    def test_a_small_log_stays_as_it_is(self, tmp_path: Path) -> None:
        log = tmp_path / "cron.log"
        log.write_bytes(b"one\ntwo\n")
        cron.trim_log(log, most=8)
        assert log.read_bytes() == b"one\ntwo\n"

    def test_a_large_log_keeps_its_last_whole_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "cron.log"
        log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
        cron.trim_log(log, most=100)
        assert log.read_bytes().decode().splitlines() == [f"line {number}" for number in range(94, 100)]

    def test_who_appends_meanwhile_goes_on_at_its_end(self, tmp_path: Path) -> None:
        log = tmp_path / "cron.log"
        log.write_bytes(b"x" * 150 + b"\nlast\n")
        with open(log, "ab", buffering=0) as appending:
            cron.trim_log(log, most=100)
            appending.write(b"next\n")
        assert log.read_bytes() == b"last\nnext\n"

    def test_no_log_is_no_reason_not_to_run(self, tmp_path: Path) -> None:
        cron.trim_log(tmp_path / "none")
        cron.trim_log(tmp_path)


class TestSystemd:
    def test_the_timer_fires_when_cron_would_and_makes_up_for_what_was_missed(self, job: Job) -> None:
        units = cron.systemd_units(replace(job, schedule=parse_schedule("0 0 13 * 5")), random_delay=90)
        assert (units.timer_name, units.service_name) == ("scraper-quotes.timer", "scraper-quotes.service")
        assert "OnCalendar=*-*-13 00:00:00\nOnCalendar=Fri *-*-* 00:00:00\n" in units.timer
        assert "RandomizedDelaySec=90\nPersistent=true\n" in units.timer
        assert "RandomizedDelaySec" not in cron.systemd_units(job).timer

    def test_reboot_becomes_a_time_after_the_start(self, job: Job) -> None:
        timer = cron.systemd_units(replace(job, schedule=parse_schedule("@reboot"))).timer
        assert "OnBootSec=1min\n" in timer
        assert "OnCalendar" not in timer

    def test_the_service_runs_once_in_the_project_folder(self, job: Job) -> None:
        service = cron.systemd_units(job).service
        assert "Type=oneshot\nWorkingDirectory=/srv/news\n" in service
        assert "ExecStart=/srv/venv/bin/python -m scraper run quotes --quiet\n" in service

    def test_odd_names_are_written_as_systemd_reads_them(self, job: Job) -> None:
        odd = replace(
            job, name="a b/c", spider='a "b"', folder=Path("/srv/50% off"), options=("--param", "x=$y\\")
        )
        units = cron.systemd_units(odd)
        assert units.service_name == "scraper-a-b-c.service"
        assert "WorkingDirectory=/srv/50%% off\n" in units.service
        assert r'run "a \"b\"" --quiet --param "x=$$y\\"' in units.service
        with pytest.raises(UsageError, match="line break"):
            cron.systemd_units(replace(job, folder=Path("/srv/a\nb")))
