"""Heads as servers really send them, read as curl 7.88 and Chromium 156 (Debian 12) read the same bytes."""

import pytest

from scraper.errors import BadAnswer
from scraper.http.response_head import ResponseHead, parse_head


def head(fields: str, status: str = "HTTP/1.1 200 OK", encoding: str = "utf-8") -> ResponseHead:
    return parse_head(f"{status}\r\n{fields}\r\nX-After: a\r\n".encode(encoding))


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("X: y", {"X": "y"}),
        ("X:y", {"X": "y"}),
        ("X:  y \t", {"X": "y"}),
        ("X:", {"X": ""}),
        ("X: a:b: c", {"X": "a:b: c"}),
        ("X : y", {"X": "y"}),
        ("X: one\r\n  two\r\n\tthree", {"X": "one two three"}),
        ("X: one\r\n Content-Length: 2", {"X": "one Content-Length: 2"}),
        ("X: y\r", {"X": "y"}),
        ("Server Name: x", {}),
        ("X-Größe: 1", {}),
        ("just words", {}),
        (": no name", {}),
        ("{json: true}", {}),
    ],
)
def test_a_line_that_is_no_field_is_left_out_alone(line: str, fields: dict[str, str]) -> None:
    assert dict(head(line).headers) == {**fields, "X-After": "a"}


def test_a_line_that_goes_on_from_none_is_left_out_alone() -> None:
    read = parse_head(b"HTTP/1.1 200 OK\r\n X: y\r\nX-After: a\r\n")
    assert dict(read.headers) == {"X-After": "a"} and not read.is_clean


def test_hundreds_and_thousands_of_fields_are_read() -> None:
    for many in (200, 5000):
        read = head("\r\n".join(f"X-{n}: y" for n in range(many)))
        assert len(read.headers) == many + 1 and read.is_clean


def test_values_are_latin_1_and_repeated_fields_stay_apart() -> None:
    read = head("X: grüße\r\nSet-Cookie: a=1\r\nset-cookie: b=2, c", encoding="latin-1")
    assert read.headers["x"] == "grüße" and read.headers.getall("Set-Cookie") == ["a=1", "b=2, c"]
    assert read.is_clean


@pytest.mark.parametrize(
    ("line", "status", "reason"),
    [
        ("HTTP/1.1 404 Not Found", 404, "Not Found"),
        ("HTTP/1.1 200", 200, ""),
        ("HTTP/1.1 200 ", 200, ""),
        ("HTTP/1.1 200: OK", 200, ": OK"),
        ("HTTP/1.1 200OK", 200, "OK"),
        ("HTTP/1.1  200  OK", 200, "OK"),
        ("http/1.1 200 OK", 200, "OK"),
        ("HTTP/1.0 200 OK", 200, "OK"),
        ("HTTP/2 200 OK", 200, "OK"),
        ("HTTP 200 OK", 200, "OK"),
        ("\r\nHTTP/1.1 200 OK", 200, "OK"),
        ("junkHTTP/1.1 200 OK", 200, "OK"),
        ("HTTP/1.1 999 Whatever", 999, "Whatever"),
    ],
)
def test_status_lines_that_chromium_reads_are_read(line: str, status: int, reason: str) -> None:
    read = head("X: y", line)
    assert (read.status, read.reason) == (status, reason) and read.headers["x"] == "y"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "220 ftp.example ready",
        "ICY 200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 OK",
        "longjunkHTTP/1.1 200 OK",
        "<html>",
    ],
)
def test_what_is_no_http_is_refused(line: str) -> None:
    with pytest.raises(BadAnswer, match="not HTTP"):
        head("X: y", line)


def test_a_zero_byte_is_refused_as_curl_and_chromium_do() -> None:
    with pytest.raises(BadAnswer, match="zero byte"):
        head("X: a\0b")


@pytest.mark.parametrize("line", ["X : y", "Server Name: x", "X-Größe: 1", "words", "X: a\rb", ": none"])
def test_a_head_with_anything_that_the_standard_forbids_is_not_clean(line: str) -> None:
    assert not head(line).is_clean and head("X: y\r\n z").is_clean


def test_a_bare_carriage_return_is_a_blank_as_the_standard_says() -> None:
    assert dict(head("X: 1\rX-Inner: 2").headers) == {"X": "1 X-Inner: 2", "X-After": "a"}


@pytest.mark.parametrize("filler", [" ", "\t", "x" + " " * 999, "\n "])
def test_blanks_without_end_are_read_once(filler: str) -> None:
    value = filler * (500_000 // len(filler))
    text = f"HTTP/1.1 200 OK\r\nA: 1\r\n b\r\nX: {value}y\r\nB: 2\r\n"
    head = parse_head(text.encode())  # would be an hour where each blank starts the search anew
    assert (head.headers["a"], head.headers["b"]) == ("1 b", "2")
