"""The head of a request (RFC 9112 3, 5), checked whole before any byte of it is sent."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from scraper.errors import Unsendable

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_TARGET = re.compile(r"[!-~]+")
_FORBIDDEN = re.compile(r"[\r\n\0]")


def request_head(method: str, target: str, fields: Iterable[tuple[str, Any]]) -> bytes:
    """The bytes of a request line and its fields; a field that is None is left out.

    Raises Unsendable for what would become another field, another request, or no latin-1.
    """
    if not _NAME.fullmatch(method):
        raise Unsendable(f"{method[:40]!r} is no method")
    if not _TARGET.fullmatch(target):
        raise Unsendable("the URL holds a blank or a character that is not ASCII")
    told = tuple([(_text(name), _text(value)) for name, value in fields if value is not None])
    return f"{method} {target} HTTP/1.1\r\n".encode("ascii") + _lines(told)


@lru_cache(maxsize=256)
def _lines(fields: tuple[tuple[str, str], ...]) -> bytes:
    """The fields as they are sent. Those of a session are the same with most of its requests."""
    for name, text in fields:
        if not _NAME.fullmatch(name):
            raise Unsendable(f"{name[:40]!r} is no name of a header field")
        if _FORBIDDEN.search(text):
            raise Unsendable(f"the header field {name[:40]} holds a line break")
    lines = [f"{name}: {text}" for name, text in fields]
    try:
        return "\r\n".join([*lines, "", ""]).encode("latin-1")
    except UnicodeEncodeError as error:
        name = next((line.partition(":")[0] for line in lines if not _is_latin(line)), "")
        raise Unsendable(f"the header field {name[:40]} holds a character that is not latin-1") from error


def _text(value: Any) -> str:
    if type(value) is str:
        return value
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _is_latin(text: str) -> bool:
    return all(char < "\u0100" for char in text)
