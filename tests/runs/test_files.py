"""The run's folder: lines that never mix or stay torn, files that are whole or the old ones."""

import contextlib
import json
import multiprocessing
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from scraper.errors import ScraperError, SpiderError, StoreFull, UsageError
from scraper.ops.secrets import Redaction
from scraper.runs.files import RunFiles
from tests.full_disk import small_files


@pytest.fixture
def files(tmp_path: Path) -> Iterator[RunFiles]:
    files = RunFiles(tmp_path / "data", "books", "run-1")
    files.open()
    yield files
    files.close()


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


def test_no_file_stays_open_when_they_are_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    files = RunFiles(tmp_path, "news", "r1")
    files.open()
    files.reject([{"url": "https://a.example/", "reason": "no title"}])
    files.keep_traceback("https://a.example/", "ValueError")
    files.close()
    assert len(os.listdir("/proc/self/fd")) == before


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


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("is_shared", "mode"), [(False, 0o600), (True, 0o660)])
def test_what_tells_of_a_run_is_for_its_owner_or_for_the_group_that_shares(
    tmp_path: Path, is_shared: bool, mode: int
) -> None:
    files = RunFiles(tmp_path / "data", "books", "1", is_shared=is_shared)
    files.open()
    files.log({"a": 1})
    files.keep_traceback("http://a.example/", "boom")
    files.write_run({})
    files.write_report("<html>")
    files.close()
    for name in ("log.jsonl", "errors.txt", "run.json", "report.html"):
        assert mode_of(files.folder / name) == mode, name
    assert bool(files.folder.stat().st_mode & stat.S_ISGID) is is_shared
    assert mode_of(files.folder / "records.jsonl") == (0o664 if is_shared else 0o666 & ~_umask())


def _umask() -> int:
    before = os.umask(0)
    os.umask(before)
    return before


def test_secrets_and_escape_sequences_stand_in_none_of_them(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "books", "1", Redaction(["opensesame"]))
    files.open()
    files.log({"url": "http://a.example/?token=abc", "reason": "no: opensesame \x1b[2J\x9b\u202e"})
    files.keep_traceback("http://a.example/?api_key=abc", "opensesame\n\x1b[2J")
    files.write_run({"reasons": ["opensesame \x9b"]})
    files.write_report("<p>opensesame</p>")
    for file in files.folder.iterdir():
        text = file.read_text("utf-8")
        assert "opensesame" not in text and "abc" not in text
        assert not set(text) & {"\x1b", "\x9b", "\u202e"}, file


@pytest.mark.parametrize("name", ["records.jsonl", "log.jsonl", "errors.txt", "run.json.part", "run.json"])
def test_no_link_in_a_runs_folder_is_written_through(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    files = RunFiles(tmp_path / "data", "books", "1")
    files.folder.mkdir(parents=True)
    (files.folder / name).symlink_to(victim)
    with contextlib.suppress(UsageError):
        files.open()
        files.log({})
        files.append(["{}"])
        files.keep_traceback("u", "t")
    files.write_run({"a": 1})
    assert victim.read_text() == "mine"
    assert json.loads((files.folder / "run.json").read_text()) == {"a": 1}


@pytest.mark.parametrize("name", ["records.jsonl", "records.jsonl.part", "changes.jsonl"])
def test_published_files_take_the_place_of_planted_links(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    files = RunFiles(tmp_path / "data", "books", "1")
    files.open()
    (files.home / name).symlink_to(victim)
    files.publish(["{}"])
    files.publish_changes(["{}"])
    assert victim.read_text() == "mine" and (files.home / "records.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize("place", ["books", "books/runs", "books/runs/1"])
def test_a_folder_that_is_a_link_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "data" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="it is a link"):
        RunFiles(tmp_path / "data", "books", "1").open()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_pipe_or_a_second_name_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    files = RunFiles(tmp_path, "books", "1")
    files.folder.mkdir(parents=True)
    os.mkfifo(files.folder / "log.jsonl")
    with pytest.raises(UsageError, match="it is a link"):
        files.open()
    (files.folder / "log.jsonl").unlink()
    (tmp_path / "victim").write_text("mine")
    os.link(tmp_path / "victim", files.folder / "log.jsonl")
    with pytest.raises(UsageError, match="it is a link"):
        files.open()
    assert (tmp_path / "victim").read_text() == "mine"
