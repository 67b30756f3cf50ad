"""One answer read as its bytes come: where it ends, what is its body, and may the connection serve again.

Where this is more lenient than RFC 9112 it follows what curl 7.88 and Chromium 156 (Debian 12) were seen to
do with the same bytes from a raw socket; where those two differ, the words of a test say whom it follows.
"""

import pytest

from scraper.errors import BadAnswer, FetchError, TooLarge, Unreadable
from scraper.http.framing import LINES_A_TURN, MOST_FIELDS, MOST_HEAD, MOST_TRAILER, ResponseParser

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
FIVE = OK + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


class Read:
    """What a parser made of bytes; `is_ended`: the connection was closed after them."""

    def __init__(self, *pieces: bytes, method: str = "GET", is_ended: bool = False) -> None:
        self.parser = ResponseParser(method)
        self.body = b""
        for piece in pieces:
            self.parser.feed(piece)
            while self.parser.has_more:
                self.parser.feed(b"")
            self.body += self.parser.take_body()
        if is_ended and not self.parser.is_complete:
            self.parser.end()

    @property
    def fields(self) -> dict[str, str]:
        assert self.parser.head is not None
        return dict(self.parser.head.headers)


def one_by_one(answer: bytes) -> list[bytes]:
    return [answer[at : at + 1] for at in range(len(answer))]


# where it ends ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (FIVE, b"hello"),
        (FIVE.replace(b"\r\n", b"\n"), b"hello"),
        (FIVE.replace(b"Content-Length: 5", b"content-length:5"), b"hello"),
        (FIVE.replace(b"Content-Length: 5", b"Content-Length: 0005"), b"hello"),
        (FIVE.replace(b"Content-Length: 5", b"Content-Length: 5\r\nContent-Length: 5"), b"hello"),
        (FIVE.replace(b"Content-Length: 5", b"Content-Length: 5, 5"), b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (CHUNKED + CHUNKS, b"hello"),
        (CHUNKED.replace(b"chunked", b"Chunked") + CHUNKS, b"hello"),
        (CHUNKED.replace(b"chunked", b"identity, chunked") + CHUNKS, b"hello"),
        (CHUNKED.replace(b"chunked", b"chunked\r\nTransfer-Encoding: chunked") + CHUNKS, b"hello"),
        (CHUNKED + b"2;a=b\r\nhe\r\n3  \r\nllo\r\n000;last\r\nX-Trailer: 1\r\nno colon\r\n\r\n", b"hello"),
        (CHUNKED + b"00000000000000000000005\nhello\n0\n\n", b"hello"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
)
def test_an_answer_is_whole_with_its_last_byte_and_not_before(answer: bytes, body: bytes) -> None:
    assert Read(answer).body == body and Read(answer).parser.is_complete
    assert Read(*one_by_one(answer)).body == body and Read(*one_by_one(answer)).parser.is_complete
    assert not Read(*one_by_one(answer[:-1])).parser.is_complete


def test_the_answer_to_a_head_request_ends_with_its_head() -> None:
    assert Read(OK + b"Content-Length: 5000\r\n\r\n", method="HEAD").parser.is_complete
    assert Read(CHUNKED, method="HEAD").parser.is_complete


@pytest.mark.parametrize("length", ["-5", "+5", "0x5", "five", "", "5.0", "5;", "9" * 30])
def test_a_length_that_is_none_is_read_to_the_end_as_chromium_does(length: str) -> None:
    read = Read(OK + f"Content-Length: {length}\r\n\r\nhello".encode(), is_ended=True)
    assert read.body == b"hello" and not read.parser.is_reusable


@pytest.mark.parametrize("coding", ["identity", "binary", "foo"])
def test_a_transfer_coding_that_is_none_counts_nothing_as_for_chromium(coding: str) -> None:
    read = Read(OK + f"Transfer-Encoding: {coding}\r\nContent-Length: 3\r\n\r\nhello".encode())
    assert read.body == b"hel" and not read.parser.is_reusable


@pytest.mark.parametrize(
    "answer",
    [
        FIVE[:-1],
        CHUNKED + b"9\r\nhello",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
        OK,
        OK + b"X-Cut",
    ],
)
def test_an_answer_that_breaks_off_is_an_error_and_no_shorter_page(answer: bytes) -> None:
    with pytest.raises(BadAnswer, match="ends too early"):
        Read(answer, is_ended=True)


@pytest.mark.parametrize(
    "chunks",
    [
        b"xyz\r\n",
        b"0x5\r\nhello\r\n",
        b"-5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"\r\n5\r\nhello\r\n",
        b"5 5\r\nhello\r\n",
        b"5\r\nhello0",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"F" * 16 + b"\r\nhello\r\n",
    ],
)
def test_chunks_that_curl_and_chromium_refuse_are_refused(chunks: bytes) -> None:
    for pieces in ([CHUNKED + chunks], one_by_one(CHUNKED + chunks)):
        with pytest.raises(BadAnswer, match="chunk"):
            Read(*pieces, is_ended=True)


@pytest.mark.parametrize("lengths", ["5\r\nContent-Length: 3", "3\r\nContent-Length: 5", "5, 3"])
def test_two_different_lengths_are_refused_as_chromium_and_the_standard_do(lengths: str) -> None:
    with pytest.raises(BadAnswer, match="Content-Length"):
        Read(OK + f"Content-Length: {lengths}\r\n\r\nhello".encode())


@pytest.mark.parametrize("coding", ["chunked, gzip", "chunked;q=1", '"chunked"', "xchunked"])
def test_a_chunked_that_cannot_be_told_for_sure_is_refused(coding: str) -> None:
    with pytest.raises(Unreadable, match="Transfer-Encoding"):
        Read(OK + f"Transfer-Encoding: {coding}\r\n\r\n".encode() + CHUNKS)


# interim answers --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("status", ["100 Continue", "102 Processing", "103 Early Hints", "199 What"])
@pytest.mark.parametrize("times", [1, 40])
def test_any_number_of_interim_answers_is_passed_over(status: str, times: int) -> None:
    interim = f"HTTP/1.1 {status}\r\nLink: </x>\r\nContent-Length: 5\r\n\r\n".encode() * times
    read = Read(*one_by_one(interim + FIVE))
    assert read.body == b"hello" and "link" not in read.fields and read.parser.is_reusable


def test_interim_answers_without_end_are_an_error() -> None:
    with pytest.raises(TooLarge, match="256 KiB"):
        Read(*[b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"] * 9000)


def test_a_switch_of_protocols_is_refused() -> None:
    with pytest.raises(BadAnswer, match="protocol"):
        Read(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + FIVE)


# may the connection serve again -----------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("answer", "is_reusable"),
    [
        (FIVE, True),
        (CHUNKED + CHUNKS, True),
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
        (FIVE.replace(b"1.1", b"1.0"), False),
        (FIVE.replace(b"1.1 200 OK", b"1.0 200 OK\r\nConnection: Keep-Alive"), True),
        (FIVE.replace(b"\r\nContent-L", b"\r\nConnection: close\r\nContent-L"), False),
        (FIVE.replace(b"\r\nContent-L", b"\r\nConnection: x, Close\r\nContent-L"), False),
        (FIVE.replace(b"\r\nContent-L", b"\r\nServer Name: x\r\nContent-L"), False),
        (FIVE.replace(b"Content-Length:", b"Content-Length :"), False),
        (FIVE.replace(b"1.1 200", b"2.0 200"), False),
        (FIVE + b"HTTP/1.1 200 OK\r\n", False),
        (FIVE + b"\r\n", False),
        (CHUNKED + CHUNKS + b"x", False),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello", False),
        (CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + CHUNKS, False),
        (CHUNKED.replace(b"1.1", b"1.0") + CHUNKS, False),
        (b"HTTP/1.1 103 Early Hints\r\nno colon\r\n\r\n" + FIVE, False),
    ],
)
def test_a_connection_serves_again_only_where_all_was_understood(answer: bytes, is_reusable: bool) -> None:
    read = Read(answer)
    assert read.parser.is_complete and read.parser.is_reusable is is_reusable


def test_chunked_wins_over_a_length_as_in_curl_and_chromium() -> None:
    assert Read(CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n") + CHUNKS).body == b"hello"


# bounds -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ([OK + b"X: " + b"y" * (MOST_HEAD + 1)], TooLarge),
        ([OK, *[b"X: y\r\n"] * (MOST_HEAD // 6)], TooLarge),
        ([OK + b"X:\n" * (MOST_FIELDS + 1) + b"\n"], TooLarge),
        ([CHUNKED + b"5;" + b"x" * 5000], TooLarge),
        ([CHUNKED + b"0\r\n", *[b"X: y\r\n"] * (MOST_TRAILER // 5)], TooLarge),
        ([CHUNKED, *[b"1;" + b"x" * 4000 + b"\r\ny\r\n"] * 80], TooLarge),
        ([b"220 ftp.example ready\r\n\r\n"], BadAnswer),
        ([b"\r\n" * 100], FetchError),
    ],
)
def test_what_a_server_says_beside_the_body_is_bounded(pieces: list[bytes], error: type[FetchError]) -> None:
    with pytest.raises(error):
        Read(*pieces, is_ended=True)


def test_one_turn_looks_at_a_bounded_number_of_chunks_and_goes_on_where_it_was() -> None:
    parser, times = ResponseParser("GET"), 3 * LINES_A_TURN
    parser.feed(CHUNKED + b"1\r\nx\r\n" * times)
    turns = 1
    while parser.has_more:
        parser.feed(b"")
        turns += 1
    assert len(parser.take_body()) == times and turns >= 6
    parser.feed(b"0\r\n\r\n")
    assert parser.is_complete and parser.is_reusable
