"""WARC files as other tools write them: every container, and what is damaged or odd in them."""

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from scraper.errors import UsageError
from scraper.runs.archive import warc
from scraper.runs.archive.warc_files import Reading, records

MOST = 2**20


def record(number: int, body: bytes = b"<p>hello</p>", kind: str = "response", eol: bytes = b"\r\n") -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + body
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: <http://a.example/{number}>\r\n"
        f"WARC-Date: 2026-01-02T03:04:05Z\r\nContent-Length: {len(block)}\r\n\r\n"
    ).encode()
    return head.replace(b"\r\n", eol) + block + eol * 2


RECORDS = [record(number, bytes([97 + number]) * 5000) for number in range(4)]


def dictionary() -> bytes:
    return zstandard.train_dictionary(4096, [bytes([n]) * 40 + RECORDS[n % 4] for n in range(200)]).as_bytes()


def by_dictionary() -> bytes:
    words = dictionary()
    packer = zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(words))
    head = b"\x5d\x2a\x4d\x18" + len(words).to_bytes(4, "little") + words
    return head + b"".join(map(packer.compress, RECORDS))


def by_wacz() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("indexes/index.cdx.gz", gzip.compress(b"x"))
        packed.writestr("archive/1.warc.gz", b"".join(map(gzip.compress, RECORDS[:2])))
        packed.writestr("archive/2.warc", b"".join(RECORDS[2:]), zipfile.ZIP_DEFLATED)
        packed.writestr("datapackage.json", "{}")
    return file.getvalue()


CONTAINERS = {
    "plain": lambda: b"".join(RECORDS),
    "plain with bare line ends": lambda: b"".join(record(n, b"x", eol=b"\n") for n in range(4)),
    "a member a record": lambda: b"".join(map(gzip.compress, RECORDS)),
    "one member for all": lambda: gzip.compress(b"".join(RECORDS)),
    "members that cut records": lambda: b"".join(
        gzip.compress(b"".join(RECORDS)[at : at + 777]) for at in range(0, 22_000, 777)
    ),
    "padding behind members": lambda: b"".join(gzip.compress(one) + bytes(100) for one in RECORDS),
    "zstd, a frame a record": lambda: b"".join(map(zstandard.compress, RECORDS)),
    "zstd, one frame": lambda: zstandard.compress(b"".join(RECORDS)),
    "zstd with its dictionary": by_dictionary,
    "WACZ": by_wacz,
    "more line ends between": lambda: b"\r\n".join(RECORDS),
}


def urls(path: Path, most: int = MOST) -> tuple[list[str], Reading]:
    reading = Reading(path)
    return [one.url for one in records(reading, most)], reading


@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_gives_the_same_records(tmp_path: Path, container: str) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(CONTAINERS[container]())
    found, reading = urls(path)
    assert found == [f"http://a.example/{number}" for number in range(4)]
    assert (reading.damaged, reading.too_large) == ([], 0)


@pytest.mark.parametrize("number", range(4))
def test_a_damaged_member_costs_its_record_and_is_told_with_its_place(tmp_path: Path, number: int) -> None:
    members = [gzip.compress(one) for one in RECORDS]
    members[number] = members[number][:20] + b"\xff" * 12 + members[number][32:]
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    found, reading = urls(path)
    assert found == [f"http://a.example/{n}" for n in range(4) if n != number]
    assert reading.damaged == [sum(map(len, members[:number]))]


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
@pytest.mark.parametrize("begin", [bytes(4), b"junk" * 50_000])
def test_a_first_record_whose_beginning_is_damaged_costs_no_other(
    tmp_path: Path, pack: Callable[[bytes], bytes], begin: bytes
) -> None:
    packed = [pack(one) for one in RECORDS]
    path = tmp_path / "x.warc.gz"
    path.write_bytes(begin + packed[0][4:] + b"".join(packed[1:]))
    found, reading = urls(path)
    assert found == [f"http://a.example/{n}" for n in range(1, 4)] and reading.damaged == [0]


def test_a_wrong_checksum_is_damage_too(tmp_path: Path) -> None:
    members = [gzip.compress(one) for one in RECORDS]
    members[1] = members[1][:-8] + b"\0\0\0\0" + members[1][-4:]
    path = tmp_path / "x.warc.gz"
    path.write_bytes(b"".join(members))
    found, reading = urls(path)
    assert "http://a.example/1" not in found and len(found) == 3
    assert len(reading.damaged) == 1


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    broken = RECORDS[1].replace(b"Content-Length: ", b"Content-Length: x")
    path = tmp_path / "x.warc"
    path.write_bytes(RECORDS[0] + broken + b"rubbish\n" + RECORDS[2] + RECORDS[3][:100])
    found, reading = urls(path)
    assert found == ["http://a.example/0", "http://a.example/2"]
    assert reading.damaged == [len(RECORDS[0]), len(RECORDS[0] + broken + b"rubbish\n" + RECORDS[2])]


def test_a_file_that_ends_in_a_record_gives_those_before(tmp_path: Path) -> None:
    cut = b"".join(RECORDS)[:-300]
    for name, content in (("x.warc", cut), ("x.warc.gz", gzip.compress(cut)[:-8])):
        path = tmp_path / name
        path.write_bytes(content)
        found, reading = urls(path)
        assert found == [f"http://a.example/{n}" for n in range(3)]
        assert len(reading.damaged) == 1


def test_a_record_over_the_bound_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(gzip.compress(RECORDS[0] + record(8, bytes(5 * MOST)) + RECORDS[1]))
    found, reading = urls(path)
    assert found == ["http://a.example/0", "http://a.example/1"]
    assert (reading.too_large, reading.damaged) == (1, [])


NONE = {"html": b"<html>", "pdf": b"%PDF-1.4" * 99, "gzip": gzip.compress(b"x" * 99), "zeros": bytes(99)}


@pytest.mark.parametrize("kind", NONE)
def test_a_file_that_is_no_warc_says_so(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(NONE[kind])
    with pytest.raises(UsageError, match="is no WARC file"):
        urls(path)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", 1767323045.0),
        ("2026-01-02T03:04:05.250000Z", 1767323045.25),
        ("20260102030405", 1767323045.0),
        ("2026-01-02", 1767312000.0),
        ("2026", 1767225600.0),
        ("2026-13-99", 0.0),
        ("", 0.0),
        ("yesterday", 0.0),
    ],
)
def test_a_date_may_be_partial_or_none(text: str, moment: float) -> None:
    assert warc.moment_of(text) == moment


def test_zlib_is_not_taken_for_gzip(tmp_path: Path) -> None:
    path = tmp_path / "x.warc"
    path.write_bytes(zlib.compress(RECORDS[0]))
    with pytest.raises(UsageError):
        urls(path)
