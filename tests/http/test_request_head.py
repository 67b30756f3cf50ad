"""A request's head is checked whole: what would be another field or another request is never sent."""

from typing import Any

import pytest

from scraper.errors import Unsendable
from scraper.http.request_head import request_head


def test_a_head_is_its_line_and_its_fields_in_order() -> None:
    sent = request_head("GET", "/a?b=1", [("Host", "x.example"), ("X-N", 5), (b"X-B", b"\xfc"), ("X-E", "")])
    assert sent == b"GET /a?b=1 HTTP/1.1\r\nHost: x.example\r\nX-N: 5\r\nX-B: \xfc\r\nX-E: \r\n\r\n"


def test_a_field_that_is_none_is_left_out() -> None:
    assert request_head("GET", "/", [("X-CSRF", None), ("X", "y")]) == b"GET / HTTP/1.1\r\nX: y\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("X", "a\r\nEvil: 1", "X holds a line break"),
        ("X", "a\nb", "X holds a line break"),
        ("X", "a\rb", "X holds a line break"),
        ("X", b"a\nb", "X holds a line break"),
        ("X", "a\0b", "X holds a line break"),
        ("X", "a\r\n b", "X holds a line break"),
        ("X", "\u20ac", "X holds a character that is not latin-1"),
        ("X Y", "a", "is no name"),
        ("X:", "a", "is no name"),
        ("", "a", "is no name"),
        ("X\r\nEvil", "a", "is no name"),
        ("Größe", "a", "is no name"),
    ],
)
def test_a_field_that_cannot_be_sent_as_it_is_says_which(name: str, value: Any, words: str) -> None:
    with pytest.raises(Unsendable, match=words):
        request_head("GET", "/", [("A", "b"), (name, value)])


@pytest.mark.parametrize(
    ("method", "target"), [("GET", "/a b"), ("GET", "/\u00fc"), ("GET", ""), ("G T", "/")]
)
def test_neither_can_a_line_that_is_none(method: str, target: str) -> None:
    with pytest.raises(Unsendable):
        request_head(method, target, [])
