"""The line that cron runs, its place in the user's crontab, and the units for systemd."""

import os
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scraper.errors import UsageError
from scraper.ops import cron
from scraper.ops.cron import Job
from scraper.ops.cron_log import trim_log
from scraper.ops.schedule import parse_schedule

THERE: Callable[[Path], bool] = bool  # every folder is there
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
    """The command that cron hands to the shell: Debian's makes % of \\%, BusyBox's hands it on as it is."""
    return line.split(" ", fields)[fields]


class TestLine:
    def test_the_line_names_folder_interpreter_and_log(self, job: Job) -> None:
        assert cron.line(job) == (
            "0 3 * * * cd /srv/news && mkdir -p data/quotes"
            " && /srv/venv/bin/python -m scraper run quotes --quiet 2>&1 | tee -a data/quotes/cron.log"
            " || echo 'scraper: quotes did not run in /srv/news' | tee -a ~/scraper-cron.log"
        )

    def test_another_data_folder_and_options_go_along(self, job: Job) -> None:
        line = cron.line(replace(job, data=Path("/var/lib/news"), options=("--max-time", "50m")))
        assert (
            "--quiet --data /var/lib/news --max-time 50m 2>&1 | tee -a /var/lib/news/quotes/cron.log" in line
        )

    def test_a_spider_given_by_its_path_logs_under_its_name(self, job: Job) -> None:
        line = cron.line(replace(job, spider="my spiders/q.py", name="q"))
        assert "run 'my spiders/q.py' --quiet" in line
        assert "tee -a data/q/cron.log ||" in line

    def test_neither_percent_nor_backslash_stands_where_a_cron_changes_it(self, job: Job) -> None:
        line = cron.line(replace(job, folder=Path(r"/srv/50% off\%\\x")))
        assert r"cd /srv/50\%' off''\'\%'\''\'x && " in line

    @pytest.mark.parametrize(
        ("schedule", "numbers"),
        [
            ("@daily", "0 0 * * *"),
            ("@weekly", "0 0 * * 0"),
            ("30 4 * jan-mar,JUL mon-fri", "30 4 * 1-3,7 1-5"),
            ("0 3 * * 5-7", "0 3 * * 0,5-6"),
            ("*/15 8-18/2 1 * 7", "*/15 8,10,12,14,16,18 1 * 0"),
            ("0 3 1-31 * 1", "0 3 1-31 * 1"),
            ("@reboot", "@reboot"),
        ],
    )
    def test_the_line_has_five_fields_of_numbers(self, job: Job, schedule: str, numbers: str) -> None:
        assert cron.line(replace(job, schedule=parse_schedule(schedule))).startswith(f"{numbers} cd /srv")

    def test_what_a_line_cannot_hold_is_refused(self, job: Job) -> None:
        with pytest.raises(UsageError, match="line break"):
            cron.line(replace(job, folder=Path("/srv/a\nb")))
        with pytest.raises(UsageError, match=r"990 bytes.*--systemd"):
            cron.line(replace(job, folder=Path("/srv/" + "x" * 1000)))

    def test_the_shell_runs_it_whatever_the_folder_is_called(self, job: Job, tmp_path: Path) -> None:
        folder = tmp_path / r"""it's 100% "mine" $HOME ;& 50\% a\\b"""
        folder.mkdir()
        python = tmp_path / "a python"
        python.write_text(
            '#!/bin/sh\npwd\nprintf "%s" "$1"; shift; printf " %s" "$@"; echo\necho trouble >&2\n'
        )
        python.chmod(0o755)
        line = cron.line(replace(job, folder=folder, python=python, options=("--param", r"x=5\%")))
        expected = f"{folder}\n-m scraper run quotes --quiet --param x=5\\%\ntrouble\n"
        for command in (shell_of(line), shell_of(line).replace(r"\%", "%")):
            done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True)
            assert (done.stdout, done.stderr) == (expected, "")
        assert (folder / "data/quotes/cron.log").read_text() == expected * 2

    def test_a_missing_interpreter_is_mailed_and_logged(self, job: Job, tmp_path: Path) -> None:
        line = cron.line(replace(job, folder=tmp_path, python=tmp_path / "gone"))
        done = subprocess.run(["/bin/sh", "-c", shell_of(line)], capture_output=True, text=True)
        assert "gone" in done.stdout
        assert (tmp_path / "data/quotes/cron.log").read_text() == done.stdout

    def test_a_project_that_has_moved_is_mailed_and_logged_at_home(self, job: Job, tmp_path: Path) -> None:
        line = cron.line(replace(job, folder=tmp_path / "moved"))
        environment = os.environ | {"HOME": str(tmp_path)}
        done = subprocess.run(
            ["/bin/sh", "-c", shell_of(line)], capture_output=True, text=True, cwd=tmp_path, env=environment
        )
        told = f"scraper: quotes did not run in {tmp_path / 'moved'}\n"
        assert "moved" in done.stderr and done.stdout == told
        assert [path.name for path in tmp_path.iterdir()] == ["scraper-cron.log"]
        assert (tmp_path / "scraper-cron.log").read_text() == told


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

    def test_a_line_that_somebody_put_between_comment_and_job_stays(self, job: Job) -> None:
        mark, ours = cron.with_job("", job).splitlines()
        there = cron.line(replace(job, folder=Path("/srv/there")))
        for between in (OTHERS, f"{there}\n", "15 5 * * * cd /x && python -m scraper run other\n" * 2):
            text = f"{mark}\n{between}{ours}\n"
            assert cron.with_job(text, job, THERE).count(ours) == 1
            assert cron.without_job(text, "quotes", job.folder, THERE) == between

    def test_a_job_without_its_comment_is_known_by_itself(self, job: Job) -> None:
        odd = replace(job, folder=Path("/srv/it's 50% off"))
        for one in (job, odd):
            assert cron.without_job(OTHERS + cron.line(one) + "\n", "quotes", one.folder) == OTHERS

    def test_a_job_that_was_changed_beyond_recognition_goes_with_its_comment(self, job: Job) -> None:
        text = (
            f"{cron.marker('quotes', job.folder)}\n0 5 * * * /opt/python -m scraper run quotes >/dev/null\n"
        )
        assert cron.without_job(text + OTHERS, "quotes", job.folder) == OTHERS

    def test_a_project_that_has_moved_takes_its_line_along(self, job: Job) -> None:
        moved = replace(job, folder=Path("/srv/moved"))
        text = cron.with_job("", job) + OTHERS
        assert (
            cron.with_job(text, moved, lambda folder: folder != job.folder)
            == cron.with_job("", moved) + OTHERS
        )
        assert cron.without_job(text, "quotes", moved.folder, lambda folder: False) == OTHERS
        assert cron.with_job(text, moved, THERE) == text + cron.with_job("", moved)

    def test_the_spiders_of_a_folder_are_listed(self, job: Job) -> None:
        paused = "#" + cron.line(replace(job, name="paused")) + "\n"
        there = cron.line(replace(job, folder=Path("/srv/there"))) + "\n"
        assert cron.names(cron.with_job(OTHERS, job) + paused + there, job.folder) == ["quotes"]

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
        text = cron.with_job(cron.with_job(OTHERS, there), replace(job, name="quotes2"), THERE)
        assert cron.without_job(text, "quotes", job.folder, THERE) == text
        assert cron.without_job(cron.with_job(text, job, THERE), "quotes", job.folder, THERE) == text


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
        trim_log(log, most=8)
        assert log.read_bytes() == b"one\ntwo\n"

    def test_a_large_log_keeps_its_last_whole_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "cron.log"
        log.write_bytes(b"".join(b"line %d\n" % number for number in range(100)))
        trim_log(log, most=100)
        assert log.read_bytes().decode().splitlines() == [f"line {number}" for number in range(94, 100)]

    def test_who_appends_meanwhile_goes_on_at_its_end(self, tmp_path: Path) -> None:
        log = tmp_path / "cron.log"
        log.write_bytes(b"x" * 150 + b"\nlast\n")
        with open(log, "ab", buffering=0) as appending:
            trim_log(log, most=100)
            appending.write(b"next\n")
        assert log.read_bytes() == b"last\nnext\n"

    def test_no_log_is_no_reason_not_to_run(self, tmp_path: Path) -> None:
        trim_log(tmp_path / "none")
        trim_log(tmp_path)


def test_the_schedules_of_a_folder_are_told_by_spider(job: Job) -> None:
    crontab = cron.with_job(OTHERS, job, THERE)
    assert cron.schedules(crontab, job.folder) == {"quotes": "0 3 * * *"}
    assert cron.schedules(crontab, job.folder / "other") == {}
    assert cron.schedules("#" + cron.line(job), job.folder) == {}
