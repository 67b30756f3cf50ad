"""The house rules: format, lint and import contracts, with the tools of the running interpreter."""

import importlib.util
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {
    "format": ["-m", "ruff", "format", "--check", "--diff", "."],
    "lint": ["-m", "ruff", "check", "."],
    # Its package has no __main__, and its script may not be on the path of this interpreter.
    "imports": ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-logo"],
}


def output_of(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("rule", TOOLS)
def test_the_project_keeps_its_house_rules(rule: str) -> None:
    code, output = output_of(TOOLS[rule])
    assert code == 0, f"{rule}: python {' '.join(TOOLS[rule])}\n{output}"


@pytest.mark.parametrize("module", ["ruff", "mypy", "importlinter"])
def test_the_tools_are_those_of_this_interpreter(module: str) -> None:
    assert importlib.util.find_spec(module), f"pip install -e '.[test]' brings {module}"


def test_the_readme_has_one_line_to_run_and_one_to_test() -> None:
    lines = re.findall(r"^python3 .*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    assert [line.rpartition(" && ")[2] for line in lines] == [
        ".venv/bin/python -m scraper run bookshop",
        ".venv/bin/python -m pytest",
    ]


def test_ci_runs_the_test_line_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert 0 < script.index("README.md") < script.index("pip install")


def test_every_dependency_has_a_lowest_version_and_ci_tries_it() -> None:
    lowest = runpy.run_path(str(ROOT / ".ci" / "lowest.py"))["lowest"]
    constraints = lowest((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "requests==2.32.3" in constraints and "parsel==1.9" in constraints
    assert ".ci/lowest.py" in (ROOT / ".ci" / "run").read_text("utf-8")
    with pytest.raises(ValueError, match="lxml has no lower bound"):
        lowest('[project]\ndependencies = ["lxml"]\noptional-dependencies = {test = []}')


def test_an_installed_package_has_every_file_that_is_no_module() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    files = [path for path in (ROOT / "scraper").rglob("*") if path.is_file()]
    others = [path for path in files if path.suffix not in {".py", ".pyc"}]
    missing = [str(path) for path in others if not any(path.match(pattern) for pattern in data["*"])]
    assert others and not missing, f"pip install leaves out {missing}"
