"""The real Python documentation (python3.11-doc), served by nginx and crawled by the real command."""

import contextlib
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.debian.conftest import Nginx
from tests.project import ROOT, Project

pytestmark = pytest.mark.debian

DOCS = Path("/usr/share/doc/python3.11/html")
KNOWN = [
    (
        "function",
        "os.path",
        "join",
        "os.path.join(path, *paths)",
        "Join one or more path segments intelligently.",
    ),
    ("function", "builtins", "abs", "abs(x)", "Return the absolute value of a number."),
    ("exception", "builtins", "ZeroDivisionError", "exception ZeroDivisionError", "Raised when the second"),
    (
        "exception",
        "json",
        "JSONDecodeError",
        "exception json.JSONDecodeError(msg, doc, pos)",
        "Subclass of ValueError",
    ),
    ("class", "pathlib", "Path", "class pathlib.Path(*pathsegments)", "A subclass of PurePath, this class"),
    ("function", "functools", "wraps", "@functools.wraps(wrapped, ", "This is a convenience function"),
    ("class", "builtins", "range", "class range(stop)\nclass range(start, stop[, step])", "The arguments to"),
    (
        "function",
        "asyncio",
        "run",
        "asyncio.run(coro, *, debug=None)",
        "Execute the coroutine coro",
    ),
    (
        "function",
        "unittest.mock",
        "patch.object",
        "patch.object(target, attribute, ",
        "patch the named member",
    ),
    ("function", "os.path", "normpath", "os.path.normpath(path)", "Normalize a pathname by collapsing"),
]


@pytest.fixture
def docs(nginx: Callable[..., Nginx]) -> Nginx:
    assert (DOCS / "library" / "index.html").exists(), "python3.11-doc is missing: .ci/run installs it"
    return nginx(DOCS)


@pytest.fixture
def crawl(project: Project, docs: Nginx) -> Callable[..., Any]:
    """Run the project's own spider over the documentation; gives the ended command."""
    shutil.copy(ROOT / "spiders" / "pydocs.py", project.root / "spiders")

    def run(start: str = "/index.html", *options: str) -> Any:
        arguments = ["--param", f"start={docs.url(start)}", "--set", "delay=0", "--json", *options]
        return project.run("run", "pydocs", *arguments, timeout=120)

    return run


def without_host(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        urlsplit(record["url"]).path + "#" + urlsplit(record["url"]).fragment: record for record in records
    }


def test_the_whole_documentation_becomes_one_record_per_name(
    crawl: Callable[..., Any], project: Project
) -> None:
    ended = crawl()
    assert ended.code == 0, ended.text
    records = project.records("pydocs")
    counts = Counter(record["kind"] for record in records)
    assert 3300 < len(records) < 3600, counts
    assert len({record["url"] for record in records}) == len(records)
    assert len({(record["module"], record["name"]) for record in records}) == len(records)
    assert counts["function"] > 2100 and counts["class"] > 900 and counts["exception"] > 250
    assert ended.summary["records"] == len(records) and ended.summary["pages"] > 480


def test_what_is_known_of_python_is_found(crawl: Callable[..., Any], project: Project) -> None:
    assert crawl("/library/index.html").code == 0
    found = {(r["kind"], r["module"], r["name"]): r for r in project.records("pydocs")}
    for kind, module, name, signature, summary in KNOWN:
        record = found[kind, module, name]
        assert record["signature"].startswith(signature), record
        assert record["summary"].startswith(summary), record
        assert record["url"].endswith(f"#{name if module == 'builtins' else f'{module}.{name}'}")


def test_a_second_run_asks_which_pages_changed_and_brings_the_same(
    crawl: Callable[..., Any], project: Project, docs: Nginx
) -> None:
    first = crawl("/library/index.html")
    before = project.records("pydocs")
    asked = len(docs.requests())
    second = crawl("/library/index.html")
    assert (first.code, second.code) == (0, 0), second.text
    assert project.records("pydocs") == before
    statuses = Counter(fields[3] for fields in docs.requests()[asked:] if "robots.txt" not in fields[2])
    assert statuses["304"] > 300 and not statuses["200"], statuses
    assert second.summary["unchanged"] == statuses["304"]


def test_a_run_that_is_killed_and_started_again_brings_every_record_once(
    crawl: Callable[..., Any], project: Project, docs: Nginx
) -> None:
    whole = crawl("/library/index.html")
    expected = without_host(project.records("pydocs"))
    assert whole.code == 0, whole.text
    shutil.rmtree(project.data())
    asked = len(docs.requests())
    start = ["--param", f"start={docs.url('/library/index.html')}", "--set", "delay=0.001"]
    running = project.start("run", "pydocs", *start)
    while len(docs.requests()) < asked + 100 and running.process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(0.01)
    assert running.kill().code == -9
    assert crawl("/library/index.html").code == 0
    records = project.records("pydocs")
    assert without_host(records) == expected and len(records) == len(expected)
