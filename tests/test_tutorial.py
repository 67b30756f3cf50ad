"""The tutorial, block by block: its files are written, its commands run, and their output is what it says."""

import os
import re
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)([^\n]*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Reader:
    """Somebody who does what the tutorial says, in a folder of his own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""
        self.port = free_port()
        self.started: list[subprocess.Popen[str]] = []
        scripts = folder / ".bin"
        scripts.mkdir()
        (scripts / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
        (scripts / "python").chmod(0o755)
        self.environment = {
            "PATH": f"{scripts}:/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{folder}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
        }

    def write(self, text: str) -> None:
        name, _, _ = text.removeprefix("# ").partition("\n")
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(self._here(text), "utf-8")

    def run(self, commands: str, code: int) -> None:
        done = subprocess.run(
            ["bash", "-e", "-c", self._here(commands)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=300,  # its one 429 teaches a busy machine a slow pace
        )
        self.said = done.stdout + done.stderr
        assert done.returncode == code, f"{commands}\n{self.said}"

    def start(self, command: str) -> None:
        words = ["bash", "-c", f"exec {self._here(command)}"]
        quiet = subprocess.DEVNULL
        self.started.append(
            subprocess.Popen(
                words, cwd=self.folder, env=self.environment, stdout=quiet, stderr=quiet, text=True
            )
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/robots.txt", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{command} does not answer")

    def compare(self, expected: str) -> None:
        for line in self._here(expected).splitlines():
            assert line in self.said, f"{line!r} is not in\n{textwrap.indent(self.said, '  ')}"

    def _here(self, text: str) -> str:
        return text.replace("8907", str(self.port))


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    folder = tmp_path / "books"
    folder.mkdir()
    found = Reader(folder)
    yield found
    for process in found.started:
        process.kill()
        process.wait()


def test_every_block_of_the_tutorial_does_what_it_says(reader: Reader) -> None:
    assert len(BLOCKS) > 20
    for kind, word, text in BLOCKS:
        if kind in ("python", "toml"):
            reader.write(text)
        elif kind == "output":
            reader.compare(text)
        elif "in-the-background" in word:
            reader.start(text.strip())
        else:
            reader.run(text, int(word.split()[-1]) if word.strip() else 0)
    assert os.path.exists(reader.folder / "data/books/records.jsonl")
