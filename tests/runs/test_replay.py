"""WARC files as the web: which record answers which request."""

import gzip
import hashlib
from pathlib import Path

import brotli
import pytest
import zstandard

from scraper.app.archived.replay import Replayed
from scraper.errors import UsageError
from scraper.model import Entry, Headers, Request, Response
from scraper.runs.archive.writing import writing
from scraper.spider.identity import identity_of, request_text
from scraper.urls import canonical

URL = "http://a.example/1"
PAGE = b"<p>hello</p>"


def record(kind: str = "response", block: bytes = b"", url: str = URL, **fields: str) -> bytes:
    given = {"WARC-Date": "2026-01-02T03:04:05Z"} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    lines += f"WARC-Target-URI: {url}\r\nContent-Length: {len(block)}\r\n"
    head = f"WARC/1.1\r\nWARC-Type: {kind}\r\n{lines}\r\n"
    return head.encode() + block + b"\r\n\r\n"


def answer(body: bytes = PAGE, status: str = "200 OK", **fields: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\n{lines}\r\n".encode() + body


def posted(body: bytes, kind: str = "application/x-www-form-urlencoded") -> bytes:
    return b"POST /1 HTTP/1.1\r\nHost: a.example\r\nContent-Type: %s\r\n\r\n%s" % (kind.encode(), body)


class Web:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[Path] = []

    def file(self, *records: bytes) -> None:
        path = self.folder / f"{len(self.files)}.warc"
        path.write_bytes(b"".join(records))
        self.files.append(path)

    def open(self, max_body: int = 2**20) -> Replayed:
        (self.folder / "copies").mkdir(exist_ok=True)
        return Replayed(self.files, self.folder / "copies", max_body)


@pytest.fixture
def web(tmp_path: Path) -> Web:
    return Web(tmp_path)


def entry(request: Request | str = URL) -> Entry:
    asked = Request(request) if isinstance(request, str) else request
    fp = identity_of(asked, canonical(asked.url) or "")
    return Entry(1, "a.example", fp, asked.url, request_text(asked, asked.url))


def body(web: Replayed, request: Request | str = URL) -> bytes | None:
    found = web.find(entry(request))
    return found.response.content if found else None


def chunks(content: bytes) -> bytes:
    return b"".join(b"%x;q=1\r\n%s\r\n" % (1, bytes([one])) for one in content) + b"0\r\nX: y\r\n\r\n"


SHAPES = {
    "as it is": answer(),
    "chunked": answer(chunks(PAGE), Transfer_Encoding="chunked"),
    "chunks taken off": answer(PAGE, Transfer_Encoding="chunked"),
    "gzip": answer(gzip.compress(PAGE), Content_Encoding="gzip"),
    "x-gzip": answer(gzip.compress(PAGE), Content_Encoding="x-gzip"),
    "gzip taken off": answer(PAGE, Content_Encoding="gzip"),
    "gzip in chunks": answer(
        chunks(gzip.compress(PAGE)), Content_Encoding="gzip", Transfer_Encoding="chunked"
    ),
    "br": answer(brotli.compress(PAGE), Content_Encoding="br"),
    "br taken off": answer(PAGE, Content_Encoding="br"),
    "zstd": answer(zstandard.compress(PAGE), Content_Encoding="zstd"),
    "two codings": answer(gzip.compress(brotli.compress(PAGE)), Content_Encoding="br, gzip"),
    "no reason phrase": answer(status="200"),
    "line end first": b"\r\n" + answer(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_body_is_what_a_browser_saw(web: Web, shape: str) -> None:
    web.file(record(block=SHAPES[shape]))
    with_web = web.open()
    assert body(with_web) == PAGE
    assert list(with_web.notes()) == []


def test_a_resource_is_a_page_and_what_is_no_web_is_left_out(web: Web) -> None:
    web.file(
        record("resource", PAGE, Content_Type="text/html"),
        record("response", b"20260102 a 127.0.0.1", url="dns:a.example"),
        record("resource", b"log", url="metadata://tool/log"),
        record("metadata", b"x: y"),
    )
    found = web.open()
    page = found.find(entry())
    assert page is not None and (page.response.status, page.response.headers["content-type"]) == (
        200,
        "text/html",
    )
    assert list(found.notes()) == ["2 records: no answer over HTTP"]


def test_the_last_answer_by_date_counts_and_a_304_or_a_cut_one_does_not(web: Web) -> None:
    web.file(
        record(block=answer(b"new"), WARC_Date="2026-01-03"),
        record(block=answer(b"old"), WARC_Date="2025"),
        record(block=answer(b"", status="304 Not Modified"), WARC_Date="2026-01-04"),
        record(block=answer(b"half"), WARC_Date="2026-01-05", WARC_Truncated="length"),
        record(block=answer(b"a part"), WARC_Date="2026-01-06", WARC_Segment_Number="1"),
    )
    found = web.open()
    assert body(found) == b"new"
    assert len(list(found.notes())) == 3


def test_answers_to_forms_are_told_apart_by_method_and_body(web: Web) -> None:
    one, two = {"WARC_Record_ID": "<urn:1>"}, {"WARC_Record_ID": "<urn:2>"}
    web.file(
        record(block=answer(b"get")),
        record(block=answer(b"one"), **one),
        record("request", posted(b"q=1&r=a+b"), WARC_Concurrent_To="<urn:1>"),
        record("request", posted(b'{"b": 2, "a": 1}', "application/json"), **two),
        record(block=answer(b"json"), WARC_Concurrent_To="<urn:2>"),
    )
    found = web.open()
    assert body(found) == b"get"
    assert body(found, Request(URL, method="POST", data={"r": "a b", "q": "1"})) == b"one"
    assert body(found, Request(URL, method="POST", json={"a": 1, "b": 2})) == b"json"
    assert body(found, Request(URL, method="POST", data={"q": "2"})) is None


REVISITS = {
    "by id": {"WARC_Refers_To": "<urn:1>"},
    "by URL and date": {
        "WARC_Refers_To_Target_URI": "http://a.example/old",
        "WARC_Refers_To_Date": "2026-01-02T03:04:05Z",
    },
    "by digest": {"WARC_Payload_Digest": "sha1:AAAA"},
}


@pytest.mark.parametrize("kind", REVISITS)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_revisit_has_the_body_of_the_record_that_it_names_in_any_file(
    web: Web, kind: str, is_first: bool
) -> None:
    original = record(
        block=answer(b"body"),
        url="http://a.example/old",
        WARC_Record_ID="<urn:1>",
        WARC_Payload_Digest="sha1:AAAA",
    )
    revisit = record(
        "revisit", answer(b"", status="203 Other", X_Own="1"), WARC_Date="2026", **REVISITS[kind]
    )
    for one in (revisit, original) if is_first else (original, revisit):
        web.file(one)
    page = web.open().find(entry())
    assert page is not None
    assert (page.url, page.response.url, page.response.content) == ("http://a.example/old", URL, b"body")
    assert (page.response.status, page.response.headers["x-own"]) == (203, "1")


def test_a_revisit_of_nothing_is_told(web: Web) -> None:
    web.file(record(block=answer(), url="http://a.example/2"), record("revisit", WARC_Refers_To="<urn:9>"))
    found = web.open()
    assert body(found) is None
    assert list(found.notes()) == ["1 records: a revisit of a record that is in none of the files"]


def test_a_wrong_payload_digest_is_told_and_the_page_is_there(web: Web) -> None:
    right = "sha256:" + hashlib.sha256(gzip.compress(PAGE, mtime=0)).hexdigest()
    packed = answer(gzip.compress(PAGE, mtime=0), Content_Encoding="gzip")
    web.file(
        record(block=packed, WARC_Payload_Digest=right),
        record(block=answer(), url="http://a.example/2", WARC_Payload_Digest="sha1:" + "A" * 32),
        record(block=answer(), url="http://a.example/3", WARC_Payload_Digest="odd:1"),
    )
    found = web.open()
    assert [body(found, f"http://a.example/{n}") for n in (1, 2, 3)] == [PAGE] * 3
    assert [note.partition(":")[0] for note in found.notes()] == ["1 records"]


def test_a_body_that_is_damaged_or_unpacks_to_too_much_is_left_out(web: Web) -> None:
    bombs = [
        gzip.compress(bytes(3 * 2**20)),
        zstandard.compress(bytes(3 * 2**20)),
        brotli.compress(bytes(2**22)),
    ]
    for number, (bomb, name) in enumerate(zip(bombs, ("gzip", "zstd", "br"), strict=True)):
        web.file(record(block=answer(bomb, Content_Encoding=name), url=f"http://a.example/{number}"))
    web.file(record(block=answer(gzip.compress(PAGE)[:-9], Content_Encoding="gzip")))
    web.file(record(block=answer(), url="http://a.example/fine"))
    found = web.open()
    assert len(found) == 1
    assert list(found.notes()) == ["4 records: a body that is damaged or larger than max_body"]


def test_files_without_an_answer_say_so(web: Web) -> None:
    web.file(record("warcinfo", b"software: x"))
    with pytest.raises(UsageError, match="there is no answer of a site in it"):
        web.open()


def test_an_archive_of_ours_is_replayed_with_what_the_spider_saw(web: Web) -> None:
    asked = entry(Request(URL, method="POST", data={"q": "1"}))
    fields = [("Content-Type", "text/html"), ("Content-Length", "3"), ("X-Tab", "a\tb")]

    with writing(web.folder, True) as (archive,):
        archive.add(asked, Response(URL, 200, Headers(fields), PAGE, 1e9))
    web.files.append(archive.path)
    page = web.open().find(asked)
    assert page is not None and page.response.headers["x-tab"] == "a\tb"
    assert page.response.headers["content-length"] == "3"
