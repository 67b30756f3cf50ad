"""The body of a request: written, in pieces, with the fields that tell its type and length (RFC 9112 6)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from urllib3.util.request import SKIP_HEADER, body_to_chunks

from scraper.model import Request
from scraper.parsing.encoding import bytes_of
from scraper.urls import form

_CHUNK = 65_536
_JSON = "application/json"
_FORM = "application/x-www-form-urlencoded"


def body_of(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """The body to send and the header fields that go with the request."""
    headers = dict(request.headers or {})
    names = {name.lower() for name in headers}
    if request.json is not None:
        body, kind = json.dumps(request.json, separators=(",", ":")).encode(), _JSON
    elif isinstance(request.data, Mapping):
        body, kind = form(request.data).encode(), _FORM
    elif request.data is not None:
        body, kind = bytes_of(str(request.data)), _FORM
    else:
        return None, headers
    if "content-type" not in names:
        headers["Content-Type"] = kind
    return body, headers


def framed(
    method: str, body: Any, headers: Mapping[str, Any], *, chunked: bool
) -> tuple[list[tuple[str, Any]], Iterable[bytes]]:
    """The fields of a message, its length among them, and its body in pieces, as urllib3 has them."""
    pieces, length = body_to_chunks(body, method=method, blocksize=_CHUNK)
    names = {lower(name) for name in headers}
    fields: list[tuple[str, Any]] = [(name, value) for name, value in headers.items() if value != SKIP_HEADER]
    chunked = chunked or ("transfer-encoding" in names and "content-length" not in names)
    if not chunked and "content-length" not in names:
        if length is not None:
            fields.insert(0, ("Content-Length", str(length)))
        chunked = length is None and pieces is not None
    if chunked and "transfer-encoding" not in names:
        fields.insert(0, ("Transfer-Encoding", "chunked"))
    # What must not be sent in urllib3's own words is left out, and stays out.
    fields += [(name, None) for name, value in headers.items() if value == SKIP_HEADER]
    return fields, _chunks(pieces or ()) if chunked else _bytes(pieces or ())


def lower(name: Any) -> str:
    """A field name as it is compared."""
    return (name.decode("latin-1") if isinstance(name, bytes) else str(name)).lower()


def _bytes(pieces: Iterable[Any]) -> Iterator[bytes]:
    for piece in pieces:
        if piece:
            yield piece.encode() if isinstance(piece, str) else piece


def _chunks(pieces: Iterable[Any]) -> Iterator[bytes]:
    for piece in _bytes(pieces):
        yield b"%x\r\n%b\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"
