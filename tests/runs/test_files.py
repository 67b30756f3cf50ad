"""The run's folder: lines that never mix or stay torn, files that are whole or the old ones."""

import json
import multiprocessing
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scraper.errors import ScraperError, SpiderError, StoreFull
from scraper.runs.files import RunFiles


@pytest.fixture
def files(tmp_path: Path) -> Iterator[RunFiles]:
    files = RunFiles(tmp_path / "data", "books", "run-1")
    files.open()
    yield files
    files.close()


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """A disk on which no file can grow beyond `limit` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_run_has_its_folder_under_its_spider(files: RunFiles, tmp_path: Path) -> None:
    assert files.folder == tmp_path / "data" / "books" / "runs" / "run-1"
    assert sorted(path.name for path in files.folder.iterdir()) == ["log.jsonl", "records.jsonl"]


def test_records_are_appended_in_order(files: RunFiles) -> None:
    files.append(['{"n":1}', '{"n":2}'])
    files.append([])
    files.append(['{"n":"ä"}'])
    assert (files.folder / "records.jsonl").read_text("utf-8") == '{"n":1}\n{"n":2}\n{"n":"ä"}\n'


def test_a_resume_writes_the_records_anew_and_goes_on_behind_them(files: RunFiles) -> None:
    files.append(['{"n":"not committed"}'])
    assert files.rewrite(iter(['{"n":1}', '{"n":2}'])) == 2
    files.append(['{"n":3}'])
    assert (files.folder / "records.jsonl").read_text() == '{"n":1}\n{"n":2}\n{"n":3}\n'


@pytest.mark.parametrize("torn", ['{"a":1}\n{"half', '{"a":1}\n' + "x" * 200_000, '{"a":1}\n'])
def test_a_line_that_a_crash_tore_is_cut_off_at_open(tmp_path: Path, torn: str) -> None:
    folder = tmp_path / "books" / "runs" / "1"
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text(torn)
    files = RunFiles(tmp_path, "books", "1")
    files.open()
    files.log({"b": 2})
    files.close()
    assert [json.loads(line) for line in (folder / "log.jsonl").open()] == [{"a": 1}, {"b": 2}]


def test_a_file_that_is_one_torn_line_becomes_empty(tmp_path: Path) -> None:
    folder = tmp_path / "books" / "runs" / "1"
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_bytes(b"\0" * 100_000)
    RunFiles(tmp_path, "books", "1").open()
    assert (folder / "log.jsonl").read_bytes() == b""


def test_a_worker_that_joins_cuts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "books" / "runs" / "1"
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text('{"being": "writ')
    RunFiles(tmp_path, "books", "1").open(repair=False)
    assert (folder / "log.jsonl").read_text() == '{"being": "writ'


def _log_many(data: Path, worker: int) -> None:
    files = RunFiles(data, "books", "1")
    files.open(repair=False)
    for n in range(200):
        files.log({"worker": worker, "n": n, "text": "x" * (n * 7)})
    files.close()


def test_lines_of_several_processes_never_mix(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_log_many, args=(tmp_path, worker)) for worker in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    events = [json.loads(line) for line in (tmp_path / "books" / "runs" / "1" / "log.jsonl").open()]
    for worker in range(3):
        assert [event["n"] for event in events if event["worker"] == worker] == list(range(200))


def test_an_event_may_hold_anything(files: RunFiles) -> None:
    files.log({"url": "http://a.example/\ud800\n", "path": Path("/x"), "body": b"\xff", "at": 1.5})
    (line,) = (files.folder / "log.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["url"] == "http://a.example/\ud800\n"


def test_the_summary_is_replaced_as_a_whole(files: RunFiles) -> None:
    files.write_run({"verdict": "OK", "reasons": ["ä"]})
    files.write_run({"verdict": "EMPTY"})
    assert json.loads((files.folder / "run.json").read_text("utf-8")) == {"verdict": "EMPTY"}
    assert not list(files.folder.glob("*.part"))


def test_publishing_replaces_the_current_records_and_changes(files: RunFiles) -> None:
    assert files.publish(iter(['{"n":1}', '{"n":2}'])) == 2
    assert files.publish(['{"n":3}']) == 1
    assert files.publish_changes([]) == 0
    assert (files.home / "records.jsonl").read_text() == '{"n":3}\n'
    assert (files.home / "changes.jsonl").read_text() == ""


def test_an_error_while_publishing_leaves_the_records_of_yesterday(files: RunFiles) -> None:
    def failing() -> Iterator[str]:
        yield '{"n":2}'
        raise RuntimeError("the store went away")

    files.publish(['{"n":1}'])
    with pytest.raises(RuntimeError):
        files.publish(failing())
    assert (files.home / "records.jsonl").read_text() == '{"n":1}\n'
    assert not list(files.home.glob("*.part"))


def test_the_published_records_can_be_read_by_others(files: RunFiles) -> None:
    before = os.umask(0o022)
    try:
        files.publish(['{"n":1}'])
    finally:
        os.umask(before)
    assert (files.home / "records.jsonl").stat().st_mode & 0o777 == 0o644


def test_a_full_disk_is_told_and_leaves_whole_lines_only(files: RunFiles) -> None:
    files.append(['{"n":1}'])
    with small_files(500), pytest.raises(StoreFull, match="disk is full"):
        files.append(["x" * 1000])
    files.append(['{"n":2}'])
    assert (files.folder / "records.jsonl").read_text() == '{"n":1}\n{"n":2}\n'


def test_a_full_disk_while_publishing_leaves_the_records_of_yesterday(files: RunFiles) -> None:
    files.publish(['{"n":1}'])
    with small_files(500), pytest.raises(StoreFull, match="disk is full"):
        files.publish(["x" * 100] * 1000)
    assert (files.home / "records.jsonl").read_text() == '{"n":1}\n'


def test_a_data_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ScraperError, match=r"cannot write .*data"):
        RunFiles(tmp_path / "data", "books", "1").open()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_data_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(StoreFull, match="no permission"):
        RunFiles(tmp_path / "data", "books", "1").open()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "/etc", "a\nb"])
def test_a_name_that_leads_out_of_the_data_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpiderError):
        RunFiles(tmp_path, name, "1")


def test_writing_before_open_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not open"):
        RunFiles(tmp_path, "books", "1").log({})
