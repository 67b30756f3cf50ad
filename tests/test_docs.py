"""The documentation: its spiders run, its links lead somewhere, its commands and settings exist."""

import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest

from scraper import settings
from scraper.cli import COMMANDS, commands
from scraper.cli.failures import Caller
from scraper.spider import discovery
from scraper.testing import Asked, FakeWeb, crawl
from tests.project import ROOT

DOCS = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"])
TUTORIAL = (ROOT / "docs" / "writing-spiders.md").read_text("utf-8")
FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", TUTORIAL, re.DOTALL))


def loaded(tmp_path: Path, name: str) -> Any:
    file = tmp_path / f"{name}.py"
    file.write_text(FILES[f"spiders/{name}.py"], encoding="utf-8")
    return discovery.load(file).spider


def test_the_first_spider_of_the_tutorial_reads_page_after_page(tmp_path: Path) -> None:
    quote = '<div class="quote"><i class="text">{}</i><i class="author">A</i></div>'
    web = FakeWeb(
        {
            "https://quotes.example/": quote.format("one") + '<li class="next"><a href="/2">next</a></li>',
            "https://quotes.example/2": quote.format("two"),
        }
    )
    result = crawl(loaded(tmp_path, "quotes"), web)
    assert result.records == [{"text": "one", "author": "A"}, {"text": "two", "author": "A"}]


def test_the_files_of_the_tutorial_are_saved_with_what_their_list_says(tmp_path: Path) -> None:
    home = "https://reports.example/"
    table = '<table><tr><th>2023</th><td><a href="23.pdf">PDF</a></td></tr></table>'
    web = FakeWeb({home: table, f"{home}23.pdf": (200, {"Content-Type": "application/pdf"}, b"%PDF")})
    (record,) = crawl(loaded(tmp_path, "reports"), web, files=tmp_path / "data").records
    assert (record["year"], record["name"], record["size"]) == ("2023", "23.pdf", 4)
    assert (tmp_path / "data" / record["path"]).read_bytes() == b"%PDF"


def test_a_record_that_does_not_fit_its_shape_is_told_and_the_rest_kept(tmp_path: Path) -> None:
    row = '<tr><th>{}</th><td class="price">{}</td></tr>'
    rows = row.format("tea", "2.50") + row.format("air", "free") + row.format("milk", "1.05")
    result = crawl(loaded(tmp_path, "prices"), FakeWeb({"https://prices.example/": f"<table>{rows}</table>"}))
    assert result.records == [{"name": "tea", "cents": 250}, {"name": "milk", "cents": 105}]
    assert result.summary["rejected"] == 1


def test_the_login_of_the_tutorial_is_renewed_when_the_site_forgets_it(tmp_path: Path) -> None:
    sessions: list[str] = []
    form = '<form class="login" method="post"><input type="hidden" name="token" value="t1">'
    form += '<input name="user"><input type="password" name="password"></form>'

    def login(asked: Asked) -> Any:
        if asked.method == "GET":
            return form
        assert asked.body == b"token=t1&user=ann&password=secret"
        sessions.append(f"s{len(sessions)}")
        return 200, {"Set-Cookie": f"sid={sessions[-1]}"}, "welcome"

    def second(asked: Asked) -> str:
        return "<li>Bea</li>" if asked.headers.get("cookie") == "sid=s1" else form

    home = "https://members.example/"
    first = '<li>Abe</li><a class="next" href="/2">next</a>'
    web = FakeWeb({f"{home}login": login, f"{home}list": first, f"{home}2": second})
    params = {"user": "ann", "password": "secret"}
    result = crawl(loaded(tmp_path, "members"), web, params=params)
    assert (result.records, sessions) == ([{"name": "Abe"}, {"name": "Bea"}], ["s0", "s1"])


def test_the_test_of_the_tutorial_passes(tmp_path: Path) -> None:
    for name in ("spiders/shelves.py", "tests/test_shelves.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(FILES[name], encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path)]
    environment = {"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def rows_of_settings() -> dict[str, tuple[str, str]]:
    """Default and example by name, from the table of docs/settings.md."""
    text = (ROOT / "docs" / "settings.md").read_text("utf-8").partition("## All settings")[2]
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \| `([^|]+)` \|$", text, re.MULTILINE)
    return {name: (default, example) for name, default, example in rows}


def test_every_setting_is_in_the_table() -> None:
    assert set(rows_of_settings()) == set(settings.names())


@pytest.mark.parametrize("name", settings.names())
def test_the_table_tells_the_default_of_a_setting_and_an_example_that_is_read(name: str) -> None:
    default, example = rows_of_settings()[name]
    read = next(each.metadata["read"] for each in fields(settings.Settings) if each.name == name)
    assert read(default) == getattr(settings.Settings(), name)
    [(named, value)] = tomllib.loads(example).items()
    assert named == name and read(value) != read(default)


def section_of_command(name: str) -> str:
    """What docs/commands.md says about a command, and about the options that most have."""
    common, *sections = re.split(
        r"^## ", (ROOT / "docs" / "commands.md").read_text("utf-8"), flags=re.MULTILINE
    )
    found = [section for section in sections if section.startswith(f"{name}\n")]
    assert len(found) == 1, f"docs/commands.md needs one section '## {name}'"
    return common.partition("| option of most commands |")[2] + found[0]


def command_of(name: str) -> click.Command:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    return command


def test_every_command_is_described() -> None:
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    assert set(re.findall(r"^## (\S+)$", text, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_with_all_its_options(name: str) -> None:
    known = {flag for each in command_of(name).params if isinstance(each, click.Option) for flag in each.opts}
    cells = re.findall(r"^\| (`-.*?) \|", section_of_command(name), re.MULTILINE)
    told = {flag for cell in cells for flag in re.findall(r"`(--?[\w-]+)", cell)}
    common = {"-h", "--help", "--data", "--store", "-v", "--verbose"}  # told once, for most commands
    assert known <= told, f"docs/commands.md, ## {name}, lacks {known - told}"
    assert told <= known | common, f"docs/commands.md, ## {name}, has {told - known - common}"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_described_with_examples_that_it_takes(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cookies.txt").touch()
    examples = re.findall(rf"^python -m scraper ({name}\b.*)$", section_of_command(name), re.MULTILINE)
    assert examples
    for example in examples:
        words = shlex.split(re.split(r" [|>] ", example)[0], comments=True)[1:]
        command_of(name).make_context(name, words, obj=Caller())


@pytest.mark.parametrize("file", DOCS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_modules_commands_and_options_exist(file: Path) -> None:
    text = file.read_text("utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("http") or (file.parent / target).exists(), target
    for path in re.findall(r"`((?:scraper|tests|docs|spiders|benchmarks)/[\w/.*-]+)`", text):
        assert re.search(r"NAME|X", path) or list(ROOT.glob(path)), path
    for command in re.findall(r"`(?:python -m scraper|scraper) (\w+)", text):
        assert command in COMMANDS, command


def test_every_setting_that_the_politeness_page_names_exists() -> None:
    text = (ROOT / "docs" / "politeness.md").read_text("utf-8")
    named = set(re.findall(r"setting `(\w+)`", text))
    assert named and named <= set(settings.names())


@pytest.mark.parametrize("file", [file for file in DOCS if "docs" in file.parts], ids=lambda file: file.name)
def test_classes_and_their_members_are_where_the_documentation_says(file: Path) -> None:
    text = file.read_text("utf-8")
    sources: dict[str, str] = {}
    for path in ROOT.glob("scraper/**/*.py"):
        for name in {path.parent.name, path.stem} - {"__init__"}:
            sources[name] = sources.get(name, "") + "\n" + path.read_text("utf-8")
    for owner, member in re.findall(r"`(?!requests\.)(?:[a-z_]+\.)*([A-Z]\w+)\.(\w+)", text):
        homes = [source for source in sources.values() if f"\nclass {owner}" in source]
        assert any(re.search(rf"\b{member}\b", home) for home in homes), f"{owner}.{member}"
    for module, name in re.findall(r"`(?:[a-z_]+\.)*([a-z_]+)\.([A-Z]\w+)", text):
        is_there = re.search(rf"^(?:class )?{name}\b", sources.get(module, ""), re.MULTILINE)
        assert is_there or module == "requests", f"{module}.{name}"
