"""Which answers of an archive are as their site said last."""

from pathlib import Path

from scraper.engine.file_requests import FileRequests
from scraper.engine.known_pages import KnownPages
from scraper.model import Entry, Headers, Known, Response
from scraper.runs.archive.answers import read_page
from scraper.runs.archive.writing import Archive
from scraper.spider import Spider
from scraper.spider.identity import ParseInputs

URL = "http://a.example/"
HEADERS = Headers([("Content-Type", "text/html"), ("X-Total", "7")])


def archived(folder: Path, response: Response) -> Response:
    """A response as it comes back from an archive."""
    archive = Archive(folder)
    archive.open()
    begin = archive.path.stat().st_size
    archive.add(Entry(1, "a.example", b"%016d" % 1, URL), response)
    archive.close()
    with archive.path.open("rb") as file:
        page = read_page(file.fileno(), begin, archive.path.stat().st_size - begin, 2**20)
    assert page is not None
    return page.response


def test_the_answer_of_the_last_run_is_not_outdated_whatever_its_code_heard_of_the_header(
    tmp_path: Path,
) -> None:
    before = ParseInputs("before", frozenset({"headers", "x-total"}))
    pages = KnownPages(2, ParseInputs("now"), FileRequests(Spider(), None))
    for n in range(20):  # an archive keeps microseconds: of every other moment it has an earlier one
        came = Response(URL, 200, HEADERS, b"<h1>7</h1>", 1.7e9 + n * 1.1234567)
        known = Known(1, body_hash=before.digest(came), fetched_at=came.fetched_at)
        entry = Entry(1, "a.example", b"", URL, known=known)
        assert not pages.is_outdated(entry, archived(tmp_path, came))
        earlier = Response(URL, 200, HEADERS, b"<h1>6</h1>", came.fetched_at - 0.001)
        assert pages.is_outdated(entry, archived(tmp_path, earlier))
