"""Rendered pages in the archive: all that came is there, and the page is read again as it was."""

import io
from pathlib import Path

from warcio.archiveiterator import ArchiveIterator

from scraper.model import Entry, Headers, Loaded, Rendered, Response
from scraper.runs.archive.reading import Archives
from scraper.runs.archive.writing import Archive

HTML = Headers([("Content-Type", "text/html"), ("Set-Cookie", "sid=secret"), ("Content-Encoding", "gzip")])
JSON = Headers([("Content-Type", "application/json")])
LOADS = (
    Loaded("http://a.example/api", "fetch", "POST", 200, JSON, b'{"n": 1}', sent_at=5.0),
    Loaded("http://a.example/app.js", "script", "GET", 200, Headers(), b"go()", is_cached=True),
    Loaded("http://a.example/no.png", "image", reason="not asked for"),
    Loaded("http://a.example/f.zip", "frame", status=200, file={"path": "files/ab/ab.zip", "size": 3}),
    Loaded(
        "http://a.example/x", "fetch", "GET", 200, Headers([("X-Robots-Tag", "noarchive")]), b"x", sent_at=6.0
    ),
)
PLAIN = Response("http://a.example/led", 200, HTML, b"<script>", 1_800_000_000.0)
PAGE = Response(
    "http://a.example/",
    200,
    Headers([("X-Robots-Tag", "noindex"), ("Content-Type", "text/html; charset=utf-8")]),
    b"<p>drawn</p>",
    1_800_000_000.0,
    rendered=Rendered(b"<div id=app></div>", HTML, LOADS, b"PNG", PLAIN),
)
FP = bytes(range(16))


def written(folder: Path) -> None:
    """An archive with a page before it, the rendered page, and one behind it."""
    folder.mkdir(parents=True)
    archive = Archive(folder)
    archive.open()
    for number, page in ((1, Response("http://a.example/1", 200, JSON, b"1", 1.0)), (0, PAGE)):
        archive.add(Entry(number, "a.example", FP if number == 0 else b"1" * 16, page.url), page)
    archive.close()


def test_a_rendered_page_is_read_again_with_its_source_and_what_its_scripts_got(tmp_path: Path) -> None:
    written(tmp_path / "run-1")
    found = Archives([tmp_path / "run-1"]).get(FP)
    assert found is not None and found.response.rendered is not None
    page, rendered = found.response, found.response.rendered
    assert (page.url, page.status, page.content, page.fetched_at) == (
        PAGE.url,
        200,
        PAGE.content,
        PAGE.fetched_at,
    )
    assert page.headers.items_all() == PAGE.headers.items_all()
    assert rendered.source == b"<div id=app></div>"
    assert rendered.headers.items_all() == [("Content-Type", "text/html"), ("Content-Encoding", "gzip")]
    api, file = rendered.loads
    assert (file.url, file.kind, file.file) == ("http://a.example/f.zip", "frame", LOADS[3].file)
    assert rendered.screenshot == b"PNG" and rendered.plain is not None
    assert (rendered.plain.url, rendered.plain.content) == (PLAIN.url, PLAIN.content)
    assert (api.url, api.kind, api.method, api.json()) == ("http://a.example/api", "fetch", "POST", {"n": 1})


def test_the_answers_behind_a_rendered_page_are_no_pages_of_their_own(tmp_path: Path) -> None:
    written(tmp_path / "run-1")
    pages = list(Archives([tmp_path / "run-1"]).pages())
    assert [page.url for page in pages] == ["http://a.example/1", "http://a.example/"]


def test_a_rendered_page_that_is_carried_to_another_run_takes_all_that_is_its_own_along(
    tmp_path: Path,
) -> None:
    written(tmp_path / "run-1")
    (tmp_path / "run-2").mkdir()
    before = Archives([tmp_path / "run-1"])
    assert before.carry([tmp_path / "run-1"], tmp_path / "run-2", lambda fp: fp == FP) == 1
    found = Archives([tmp_path / "run-2"]).get(FP)
    assert found is not None and found.response.rendered is not None
    assert found.response.rendered.loads[0].json() == {"n": 1}


def test_other_tools_read_the_document_as_a_conversion_of_what_was_sent(tmp_path: Path) -> None:
    written(tmp_path / "run-1")
    data = (tmp_path / "run-1" / "pages.warc.gz").read_bytes()
    records = []
    for record in ArchiveIterator(io.BytesIO(data), check_digests="raise"):
        fields = record.rec_headers
        records.append((record.rec_type, fields.get_header("WARC-Refers-To"), record.content_stream().read()))
        if record.rec_type == "response" and fields.get_header("WARC-Target-URI") == PAGE.url:
            source = fields.get_header("WARC-Record-ID")
    assert [kind for kind, _, _ in records] == [
        "warcinfo",
        "response",
        "response",
        "response",
        "response",
        "resource",
        "metadata",
        "conversion",
    ]
    assert records[-1] == ("conversion", source, b"<p>drawn</p>")
    assert b"secret" not in b"".join(content for _, _, content in records) + data
