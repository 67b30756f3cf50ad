"""A file on its way to disk: bounded, in one part, and never in memory."""

import gzip
import os
import stat
import tracemalloc
from pathlib import Path

import pytest

from scraper.errors import BadAnswer, TooLarge
from scraper.http.download import Download, validator_of
from scraper.http.saved_files import SavedFiles
from scraper.model import Headers, Response

URL = "https://site.example/a.bin"
PIECE = bytes(65_536)


def download(home: Path, **options: int) -> Download:
    return Download(SavedFiles(home, **options), b"f" * 16, goes_on=True)


@pytest.mark.parametrize("codings", [(), ("gzip",)])
def test_a_file_of_32_mib_takes_few_of_them_in_memory(codings: tuple[str, ...], tmp_path: Path) -> None:
    found = download(tmp_path)
    pieces = [gzip.compress(PIECE * 16)] * 32 if codings else [PIECE] * 512
    tracemalloc.start()
    try:
        body = found.body(URL, 200, Headers(), codings)
        assert body is not None
        for piece in pieces:
            body.write(piece)
        assert body.finish() == b""
        saved = found.saved(Response(URL, 200, Headers(), b""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert saved.file is not None and saved.file["size"] == 32 * 2**20
    assert peak < 4 * 2**20


def test_what_unpacks_to_more_than_max_file_is_no_file(tmp_path: Path) -> None:
    body = download(tmp_path, most=1_000_000).body(URL, 200, Headers(), ("gzip",))
    assert body is not None
    body.write(gzip.compress(bytes(2_000_000)))
    with pytest.raises(TooLarge):
        body.finish()


def test_a_coded_body_that_ends_too_early_is_no_file(tmp_path: Path) -> None:
    body = download(tmp_path).body(URL, 200, Headers(), ("gzip",))
    assert body is not None
    body.write(gzip.compress(PIECE)[:-9])
    with pytest.raises(BadAnswer):
        body.finish()


@pytest.mark.parametrize(
    ("mask", "is_shared", "mode"), [(0o077, True, 0o664), (0o077, False, 0o600), (0o022, False, 0o644)]
)
def test_what_is_shared_is_readable_by_the_group_whatever_the_umask(
    mask: int, is_shared: bool, mode: int, tmp_path: Path
) -> None:
    before = os.umask(mask)
    try:
        saved = SavedFiles(tmp_path, is_shared=is_shared)
        kept = saved.keep_content(b"a file", "a.bin", "application/octet-stream")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / kept["path"]).stat().st_mode) == mode


def test_another_process_that_still_writes_a_part_keeps_it(tmp_path: Path) -> None:
    headers = Headers([("ETag", '"1"')])
    first = download(tmp_path)
    body = first.body(URL, 200, headers, ())
    assert body is not None
    body.write(b"abc")
    second = download(tmp_path)
    assert second.headers["Range"] == "bytes=3-"
    ranged = Headers([("ETag", '"1"'), ("Content-Range", "bytes 3-5/6")])
    with pytest.raises(BadAnswer):
        second.body(URL, 206, ranged, ())
    first.close()
    assert "Range" not in download(tmp_path).headers


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"ETag": '"a"'}, '"a"'),
        ({"ETag": 'W/"a"', "Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, ""),
        ({"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, ""),
        (
            {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:38 GMT"},
            "Sun, 06 Nov 1994 08:49:37 GMT",
        ),
        (
            {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"},
            "",
        ),
    ],
)
def test_only_what_names_a_version_byte_by_byte_is_gone_on_with(
    headers: dict[str, str], validator: str
) -> None:
    assert validator_of(Headers(headers.items())) == validator
