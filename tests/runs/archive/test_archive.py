"""The archive: WARC files that outside readers accept, whole after a kill, found again by request."""

import gzip
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from warcio.archiveiterator import ArchiveIterator
from warcio.checker import Checker

from scraper.engine.fetcher import Fetcher, FetchOptions
from scraper.errors import StoreError, StoreFull
from scraper.model import (
    Entry,
    Failed,
    Fetched,
    Headers,
    Known,
    NewUrl,
    Redirected,
    Response,
    Unchanged,
    Visit,
)
from scraper.parsing.page import Page
from scraper.runs.archive import gzip_members
from scraper.runs.archive.reading import Archives, pages, run_folders
from scraper.runs.archive.writing import Archive, writing
from scraper.runs.events import Settled, Visited
from scraper.spider import Spider
from scraper.spider.identity import ParseInputs
from scraper.spider.rules import rules_of
from scraper.testing import FakeClock, FakeWeb, crawl
from scraper.urls import canonical, fingerprint

URL = "http://a.example/1"
IDENTITY_LINE = b"Scraper-Fingerprint: " + b"0" * 32


def entry_of(url: str = URL, method: str = "GET", body: bytes = b"") -> Entry:
    return Entry(1, "a.example", fingerprint(method, canonical(url) or "", body), url)


def response_of(
    url: str = URL,
    content: bytes = b"<p>hello</p>",
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),),
    status: int = 200,
    at: float = 1_767_333_600.25,
) -> Response:
    return Response(url, status, Headers(headers), content, at, 0.1)


def write(folder: Path, *responses: Response, worker: int | None = None) -> Path:
    with writing(folder, True, worker) as (found,):
        for response in responses:
            found.add(entry_of(response.url), response)
    return found.path


def records_of(path: Path) -> list[dict[str, str]]:
    """The WARC fields of every record, read by somebody else's reader."""
    with path.open("rb") as file:
        return [dict(record.rec_headers.headers) for record in ArchiveIterator(file)]


# writing ----------------------------------------------------------------------------------------------------
def test_a_response_comes_back_as_it_was_fetched(tmp_path: Path) -> None:
    content = bytes(range(256)) * 50
    fields = (("Content-Type", "text/html"), ("ETag", '"1"'), ("Link", "</a>"), ("Link", "</b>"))
    write(tmp_path, response_of(content=content, headers=fields))
    (page,) = pages(tmp_path)
    assert (page.url, page.fp, page.response.status) == (URL, entry_of().fp, 200)
    assert page.response.content == content
    assert page.response.headers.getall("link") == ["</a>", "</b>"]
    assert page.response.headers["etag"] == '"1"'
    assert page.response.fetched_at == pytest.approx(1_767_333_600.25)


def test_the_file_is_one_gzip_member_a_record_with_digests_that_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, *(response_of(f"http://a.example/{n}") for n in range(3)))
    assert path.name == "pages.warc.gz"
    checker = Checker(type("Options", (), {"inputs": [str(path)], "verbose": False})())
    checker.process_all()
    assert checker.exit_value == 0, capsys.readouterr().out
    fields = records_of(path)
    assert [one["WARC-Type"] for one in fields] == ["warcinfo"] + 3 * ["response"]
    assert fields[1]["WARC-Date"] == "2026-01-02T06:00:00.250000Z"
    assert gzip.decompress(path.read_bytes()).count(b"WARC/1.1\r\n") == 4


def test_cookies_are_left_out_and_all_other_fields_come_back_as_the_spider_saw_them(tmp_path: Path) -> None:
    secret = ("Set-Cookie", "sid=secret"), ("Set-Cookie2", "sid=secret")
    seen = (
        ("Content-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Length", "3"),
        ("Vary", "Cookie"),
        ("X-Tabs", "a\tb  c"),
        ("X-Latin", "caf\xe9"),
        ("Location", "/caf\xc3\xa9"),
        ("X Odd name", "x"),
        ("X-Empty", ""),
    )
    path = write(tmp_path, response_of(headers=(*secret, *seen)))
    (page,) = pages(tmp_path)
    assert page.response.headers.items_all() == list(seen)
    assert b"secret" not in gzip.decompress(path.read_bytes())


def test_other_tools_see_a_body_without_codings_and_its_length(tmp_path: Path) -> None:
    fields = (("Content-Encoding", "gzip"), ("Content-Length", "3"), ("X-Latin", "caf\xe9"))
    path = write(tmp_path, response_of(headers=fields))
    with path.open("rb") as file:
        record = next(one for one in ArchiveIterator(file) if one.rec_type == "response")
        assert record.content_stream().read() == b"<p>hello</p>"
        assert record.http_headers.get_header("Content-Length") == "12"
        assert record.http_headers.get_header("Content-Encoding") is None
        assert record.http_headers.get_header("X-Latin") == "caf\xe9"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("X-Injected", "a\r\n\r\nHTTP/1.1 500 Oops\r\n", "a    HTTP/1.1 500 Oops"),
        ("Bad:Name", "x", None),
        ("Bad\nName", "x", None),
        ("", "x", None),
    ],
)
def test_a_hostile_field_stays_one_line_or_goes(
    tmp_path: Path, name: str, value: str, kept: str | None
) -> None:
    write(tmp_path, response_of(headers=((name, value), ("X-Last", "1"))))
    (page,) = pages(tmp_path)
    assert page.response.headers.get(name or "none") == kept
    assert (page.response.headers["x-last"], page.response.content) == ("1", b"<p>hello</p>")


def test_the_answer_to_a_form_tells_its_method(tmp_path: Path) -> None:
    entry = replace(entry_of(method="POST", body=b"q=secret"), request='{"method":"POST","data":"q=secret"}')
    with writing(tmp_path, True) as (found,):
        found.add(entry, response_of("http://a.example/find?x=1"))
    with found.path.open("rb") as file:
        _, answer, request = (
            (one.rec_type, one.rec_headers, one.content_stream().read(), one.http_headers)
            for one in ArchiveIterator(file)
        )
    assert (answer[0], request[0]) == ("response", "request")
    assert request[3].statusline == "POST /find?x=1 HTTP/1.1" or request[3].protocol == "POST"
    assert request[1].get_header("WARC-Concurrent-To") == answer[1].get_header("WARC-Record-ID")
    assert b"secret" not in gzip.decompress(found.path.read_bytes())


@pytest.mark.parametrize("status", [200, 304])
def test_a_page_that_did_not_change_leaves_a_revisit_of_its_copy(tmp_path: Path, status: int) -> None:
    old, new = tmp_path / "run-1", tmp_path / "run-2"
    old.mkdir()
    new.mkdir()
    first = records_of(write(old, response_of()))[1]
    visit = Visit(entry_of(), Unchanged(Known(1)), response=response_of(status=status, at=1_800_000_000.0))
    stranger = replace(visit, entry=entry_of("http://a.example/2"))
    with writing(new, True, before=Archives([old])) as (found,):
        found(Visited(visit))
        found(Visited(stranger))
    _, revisit, *others = records_of(found.path)
    assert [one["WARC-Type"] for one in others] == (["response"] if status == 200 else [])
    assert revisit["WARC-Type"] == "revisit" and "/revisit/" in revisit["WARC-Profile"]
    assert ("server-not-modified" in revisit["WARC-Profile"]) == (status == 304)
    assert revisit["WARC-Refers-To"] == first["WARC-Record-ID"]
    assert revisit["WARC-Refers-To-Date"] == first["WARC-Date"]
    assert revisit["WARC-Payload-Digest"] == first["WARC-Payload-Digest"]
    kept = Archives([old, new]).get(entry_of().fp)
    assert kept is not None and kept.response.content == b"<p>hello</p>"


def test_a_body_that_is_an_archive_itself_is_only_a_body(tmp_path: Path) -> None:
    inner = write(tmp_path, response_of(content=os.urandom(3000))).read_bytes()
    folder = tmp_path / "run"
    folder.mkdir()
    path = write(folder, response_of(content=inner))
    whole = path.read_bytes()
    path.write_bytes(whole[:-200])
    write(folder, response_of("http://a.example/2"))
    assert [page.url for page in pages(folder)] == ["http://a.example/2"]
    path.write_bytes(whole)
    assert [page.response.content for page in pages(folder)] == [inner]


def test_only_visits_that_bring_a_response_are_written(tmp_path: Path) -> None:
    entry = entry_of()
    with writing(tmp_path, True) as (found,):
        found(Settled(1))
        found(Visited(Visit(entry, Fetched(Known(1)))))
        found(Visited(Visit(entry, Fetched(Known(1)), response=response_of())))
    assert [page.url for page in pages(tmp_path)] == [URL]


def test_where_nothing_is_to_be_archived_there_is_no_file(tmp_path: Path) -> None:
    with writing(tmp_path, False) as found:
        assert found == ()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 9, 20, 60, 200])
def test_a_torn_last_member_is_cut_off_at_the_next_open(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path, response_of("http://a.example/1"), response_of("http://a.example/2"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert [page.url for page in pages(tmp_path)] == ["http://a.example/1"]
    write(tmp_path, response_of("http://a.example/3"))
    assert [page.url for page in pages(tmp_path)] == ["http://a.example/1", "http://a.example/3"]
    assert len(records_of(path)) == 3


@pytest.mark.parametrize("left", [0, 1, 12, 40])
def test_a_file_that_was_hardly_begun_begins_anew(tmp_path: Path, left: int) -> None:
    path = write(tmp_path, response_of())
    path.write_bytes(path.read_bytes()[:left])
    write(tmp_path, response_of())
    assert [one["WARC-Type"] for one in records_of(path)] == ["warcinfo", "response"]


def test_a_last_member_without_its_bytes_is_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path, response_of("http://a.example/1"))
    first = path.stat().st_size
    write(tmp_path, response_of("http://a.example/2"))
    whole = bytearray(path.read_bytes())
    whole[first + 30 :] = bytes(len(whole) - first - 30)
    path.write_bytes(whole)
    write(tmp_path, response_of("http://a.example/3"))
    assert [page.url for page in pages(tmp_path)] == ["http://a.example/1", "http://a.example/3"]


def test_a_file_of_another_program_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "pages.warc.gz"
    path.write_bytes(content := gzip.compress(b"WARC/1.0\r\n" * 10))
    with pytest.raises(StoreError, match="not written by this program"):
        write(tmp_path, response_of())
    assert path.read_bytes() == content


def test_a_full_disk_leaves_whole_members_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Archive(tmp_path)
    found.open()
    found.add(entry_of(), response_of())
    real = os.write

    def fill(descriptor: int, content: bytes) -> int:
        if len(content) < 100:
            raise OSError(28, "No space left on device")
        return real(descriptor, content[:-50])

    monkeypatch.setattr(os, "write", fill)
    with pytest.raises(StoreFull):
        found.add(entry_of("http://a.example/2"), response_of("http://a.example/2"))
    monkeypatch.undo()
    found.close()
    assert len(records_of(found.path)) == 2


# finding ----------------------------------------------------------------------------------------------------
def test_the_last_response_of_a_url_is_found(tmp_path: Path) -> None:
    write(
        tmp_path, response_of(content=b"old"), response_of("http://a.example/2"), response_of(content=b"new")
    )
    archives = Archives([tmp_path])
    page = archives.find(URL)
    assert page is not None and page.response.content == b"new"
    assert archives.find("http://a.example/none") is None
    assert archives.find("no url") is None
    assert len(archives) == 2
    archives.close()


def test_a_later_run_counts_before_an_earlier_one_whatever_its_dates(tmp_path: Path) -> None:
    folders = [tmp_path / "1", tmp_path / "2"]
    for folder, content, at in zip(folders, (b"old", b"new"), (2e9, 1e9), strict=True):
        folder.mkdir()
        write(folder, response_of(content=content, at=at))
    page = Archives(folders).find(URL)
    assert page is not None and page.response.content == b"new"


def test_the_files_of_several_workers_are_one_archive_by_date(tmp_path: Path) -> None:
    write(tmp_path, response_of(content=b"new", at=200.0), worker=1)
    write(tmp_path, response_of(content=b"old", at=100.0), response_of("http://a.example/2"), worker=2)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pages-1.warc.gz", "pages-2.warc.gz"]
    archives = Archives([tmp_path])
    page = archives.find(URL)
    assert page is not None and page.response.content == b"new"
    assert sorted(page.url for page in archives.pages()) == [URL, "http://a.example/2"]


def test_a_form_that_was_posted_is_not_taken_for_the_page(tmp_path: Path) -> None:
    with writing(tmp_path, True) as (found,):
        found.add(entry_of(), response_of(content=b"form"))
        found.add(entry_of(method="POST", body=b"q=1"), response_of(content=b"found"))
    archives = Archives([tmp_path])
    page, posted = archives.find(URL), archives.get(entry_of(method="POST", body=b"q=1").fp)
    assert page is not None and page.response.content == b"form"
    assert posted is not None and posted.response.content == b"found"


def test_an_archive_that_another_tool_has_packed_anew_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, response_of())
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())))
    with pytest.raises(StoreError, match="not written by this program"):
        Archives([tmp_path]).find(URL)


@pytest.mark.parametrize("at", [0, 3, 12, 16, 150, 300])
def test_the_only_record_is_passed_over_where_it_is_damaged_and_told_with_its_place(
    tmp_path: Path, at: int
) -> None:
    path = write(tmp_path, response_of())
    content = bytearray(path.read_bytes())
    with path.open("rb") as file:
        start = gzip_members.size_at(file.fileno(), 0) or 0
    content = content[start:]  # the record about the file is gone
    content[at] ^= 0xFF
    path.write_bytes(content)
    archives = Archives([tmp_path])
    assert archives.find(URL) is None
    assert [damage.offset for damage in archives.damaged] == [0]
    assert "1 records cannot be read, the first at byte 0" in archives.notes()[0]
    archives.close()


def test_the_runs_of_a_spider_are_taken_in_their_order(tmp_path: Path) -> None:
    for name in ("20260101-000000-9", "20260101-000000-10", "20251231-235959-2"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        write(folder, response_of())
    (tmp_path / "runs" / "20260102-000000-11").mkdir()
    assert [folder.name.rpartition("-")[2] for folder in run_folders(tmp_path)] == ["2", "9", "10"]


# what is kept -----------------------------------------------------------------------------------------------
class Shop(Spider):
    """Everything there is, and a page that it cannot read."""

    name = "shop"
    start_urls = ["http://a.example/"]

    def parse(self, page: Page) -> object:
        """Titles and links."""
        if page.url.endswith("/broken"):
            raise ValueError("no title")
        yield {"url": page.url, "title": page.css("title::text").get("")}
        yield from page.follow_all("a")


def site() -> FakeWeb:
    links = "".join(f'<a href="{name}">x</a>' for name in ("moved", "gone", "broken", "meta", "field", "no"))
    html = {"Content-Type": "text/html"}
    return FakeWeb(
        {
            "http://a.example/": f"<title>home</title>{links}",
            "http://a.example/moved": (301, {"Location": "/new"}),
            "http://a.example/new": "<title>new</title>",
            "http://a.example/gone": 410,
            "http://a.example/broken": "<title>?</title>",
            "http://a.example/meta": '<meta name="robots" content="noarchive"><title>mine</title>',
            "http://a.example/field": (200, {**html, "X-Robots-Tag": "noarchive"}, "<title>mine</title>"),
            "http://a.example/no": (403, html, "<title>no</title>"),
        }
    )


def test_what_a_later_parse_needs_is_kept_and_noarchive_is_not(tmp_path: Path) -> None:
    with writing(tmp_path, True) as keepers:
        result = crawl(Shop, site(), listeners=keepers, archive=True)
    assert len(result.records) == 4
    kept = {page.url.rpartition("/")[2]: page.response.status for page in pages(tmp_path)}
    assert kept == {"": 200, "moved": 301, "new": 200, "gone": 410, "broken": 200}


def test_nothing_is_carried_along_where_nothing_is_archived() -> None:
    result = crawl(Shop, site())
    visits = [event.visit for event in result.events if isinstance(event, Visited)]
    assert visits and all(visit.response is None for visit in visits)


def test_an_archived_page_gives_what_the_fetched_one_gave(tmp_path: Path) -> None:
    with writing(tmp_path, True) as keepers:
        result = crawl(Shop, site(), listeners=keepers, archive=True)
    live = {event.visit.entry.url: event.visit for event in result.events if isinstance(event, Visited)}
    spider = Shop()
    fetcher = Fetcher(spider, rules_of(spider), FetchOptions(1, "scraper", ParseInputs("code")), FakeClock())
    for page in pages(tmp_path):
        entry = live[page.url].entry
        outcome, before = fetcher.read(entry, page.response).outcome, live[page.url].outcome
        assert type(outcome) is type(before)
        if isinstance(before, Fetched) and isinstance(outcome, Fetched):
            assert (outcome.records, outcome.links) == (before.records, before.links)
        if isinstance(before, Redirected) and isinstance(outcome, Redirected):
            assert isinstance(outcome.to, NewUrl) and outcome.to.url == before.to.url


OFFSETS = {"head": 0, "length": 16, "body": 60}


@pytest.mark.parametrize("at", OFFSETS.values(), ids=OFFSETS)
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_damaged_record_is_passed_over_and_told_with_its_offset(
    tmp_path: Path, at: int, number: int
) -> None:
    path = write(tmp_path, *(response_of(f"http://a.example/{n}", b"x" * 300 + b"%d" % n) for n in range(3)))
    content = bytearray(path.read_bytes())
    begins = [found.start() for found in re.finditer(rb"\x1f\x8b\x08\x04", content)]
    content[begins[number] + at : begins[number] + at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    found = Archives([tmp_path])
    left = [page.url for page in found.pages()]
    assert left == [f"http://a.example/{n}" for n in range(3) if n + 1 != number]
    assert [damage.offset for damage in found.damaged] == [begins[number]]
    assert [page.url for page in pages(tmp_path)] == left
    with writing(tmp_path, True) as (again,):
        again.add(entry_of("http://a.example/9"), response_of("http://a.example/9"))
    assert [page.url for page in pages(tmp_path)] == [*left, "http://a.example/9"]


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"no record",
        b"WARC/1.1\r\nWARC-Type: response\r\n\r\n",
        b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: -4\r\n\r\nbody",
        b"WARC/1.1\r\nWARC-Type: response\r\nContent-Length: 400\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"WARC/1.1\r\nWARC-Type: response\r\nWARC-Date: never\r\nContent-Length: 3\r\n\r\nabc",
    ],
)
def test_a_record_that_is_none_is_passed_over(tmp_path: Path, record: bytes) -> None:
    path = write(tmp_path, response_of())
    with path.open("ab") as file:
        file.write(gzip_members.packed(record))
        file.write(gzip_members.packed(record.replace(b"\r\n\r\n", b"\r\n%s\r\n\r\n" % IDENTITY_LINE, 1)))
    found = Archives([tmp_path])
    assert [page.url for page in found.pages()] == [URL]
    assert len(list(pages(tmp_path))) == 1


def test_a_record_unpacks_to_no_more_than_a_page_may_have(tmp_path: Path) -> None:
    write(tmp_path, response_of(content=b"x" * 3 * 2**20), response_of("http://a.example/2"))
    found = Archives([tmp_path], max_body=2**20)
    assert [page.url for page in found.pages()] == ["http://a.example/2"]
    assert len(found.damaged) == 1
    assert found.told_damage()[0][1].startswith("1 records cannot be read, the first at byte")


def test_an_archived_status_that_would_be_tried_again_fails(tmp_path: Path) -> None:
    fetcher = Fetcher(Shop(), rules_of(Shop()), FetchOptions(1, "scraper", ParseInputs("code")), FakeClock())
    visit = fetcher.read(entry_of(), response_of(status=503))
    assert visit.outcome == Failed("status 503 in the archive", "status 503")
