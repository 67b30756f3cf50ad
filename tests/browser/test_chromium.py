"""Chromium is found by itself or by name, and what is missing is said with the command that gets it."""

import subprocess
import sys
from pathlib import Path

import pytest

from scraper.browser import chromium
from scraper.errors import UsageError


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chromium, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as told:
        chromium.check(None)
    assert told.value.hint == "pip install 'scraper[browser]'"


def test_the_first_browser_on_the_path_is_taken_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="none was found"):
        chromium.find(None)
    for name in ("google-chrome", "other"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    assert chromium.find(None) == str(tmp_path / "google-chrome")
    assert chromium.find(str(tmp_path / "other")) == str(tmp_path / "other")


def test_the_launcher_starts_the_program_with_all_its_words_and_ends_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "a folder's name"
    folder.mkdir()
    program = folder / "program"
    program.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:])\nsys.exit(7)\n")
    program.chmod(0o700)
    launcher = chromium.write_launcher(folder, str(program))
    opened = 'exec 3</dev/null 4>/dev/null "$0" "$@"'  # the pipes that a browser is driven by
    command = ["sh", "-c", opened, str(launcher), "--one", "two words"]
    done = subprocess.run(command, capture_output=True, timeout=20)
    assert (done.returncode, done.stdout) == (7, b"['--one', 'two words']\n"), done.stderr
