"""Whether an answer is here whole, told from its first bytes."""

import pytest

from scraper.http.framing import MOST_HEAD, Part, part_of

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def with_length(length: object, body: bytes, line_end: bytes = b"\r\n") -> bytes:
    return HEAD.replace(b"\r\n", line_end) + f"Content-Length: {length}".encode() + line_end * 2 + body


@pytest.mark.parametrize(
    "answer",
    [
        with_length(5, b"hello"),
        with_length(0, b""),
        with_length(5, b"hello", b"\n"),
        HEAD.lower().replace(b"http/1.1 200 ok", b"HTTP/1.1 200 OK") + b"content-length:5\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
        CHUNKED + b"5;name=value\r\nhello\r\n000;last\r\nX-Trailer: 1\r\nX-More: 2\r\n\r\n",
        CHUNKED + b"0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
)
def test_an_answer_is_whole_with_its_last_byte_and_not_before(answer: bytes) -> None:
    assert part_of(answer, "GET") is Part.WHOLE
    assert {part_of(answer[:end], "GET") for end in range(len(answer) - 1)} == {Part.MORE}


def test_the_answer_to_a_head_request_ends_with_its_head() -> None:
    assert part_of(with_length(5000, b""), "HEAD") is Part.WHOLE
    assert part_of(with_length(5000, b""), "GET") is Part.MORE


def test_without_a_length_it_ends_with_the_connection() -> None:
    assert part_of(HEAD + b"\r\n" + b"x" * 10_000, "GET") is Part.MORE


def test_a_chunk_that_only_looks_like_the_last_one_is_not_the_end_of_a_head() -> None:
    assert part_of(CHUNKED + b"3\r\nabc\r\n10\r\n\r\n", "GET") is Part.MORE


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n" + with_length(5, b"hello"),
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"220 not HTTP at all\r\n\r\n",
        b"x" * (MOST_HEAD + 1),
    ],
)
def test_what_cannot_be_told_is_left_to_whoever_reads_it(answer: bytes) -> None:
    assert part_of(answer, "GET") is Part.UNSURE
