"""What a form sends, in bytes (HTML 4.10.22.7, URL 5.2, RFC 7578)."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from scraper.errors import SpiderError
from scraper.model.frozen import frozen
from scraper.parsing.encoding import encode

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
PLAIN = "text/plain"
_OCTETS = "application/octet-stream"


@frozen
class Upload:
    """A file as a form sends it; without a name none was chosen."""

    name: str = ""
    content: bytes = b""
    kind: str = _OCTETS


Pair = tuple[str, "str | Upload"]


def uploads(name: str, given: Any) -> list[Upload]:
    """What is given for a file input: a path, (name, content) or (name, content, type), or a list of them."""
    many = given if isinstance(given, list) else [given]
    return [_upload(name, one) for one in many] or [Upload()]


def _upload(name: str, given: Any) -> Upload:
    if isinstance(given, Upload):
        return given
    if isinstance(given, Path):
        try:
            content = given.read_bytes()
        except OSError as error:
            raise SpiderError(f"the file for the field {name!r} cannot be read: {error}") from None
        import mimetypes  # few forms send files, and it is slow to load

        return Upload(given.name, content, mimetypes.guess_type(given.name)[0] or _OCTETS)
    if isinstance(given, tuple) and len(given) in (2, 3):
        content = given[1].encode() if isinstance(given[1], str) else bytes(given[1])
        return Upload(str(given[0]), content, str(given[2] if len(given) == 3 else "") or _OCTETS)
    raise SpiderError(
        f"the field {name!r} takes a file, not {given!r:.60}", "give a pathlib.Path or (name, content)"
    )


def with_line_ends(text: str) -> str:
    """Text with the line ends of forms."""
    return "\r\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


def _texts(pairs: Iterable[Pair]) -> list[tuple[str, str]]:
    return [
        (with_line_ends(name), with_line_ends(value if isinstance(value, str) else value.name))
        for name, value in pairs
    ]


def urlencoded(pairs: Iterable[Pair], encoding: str) -> str:
    """Names and values in a query or a body."""
    return "&".join(f"{_quoted(name, encoding)}={_quoted(value, encoding)}" for name, value in _texts(pairs))


def _quoted(text: str, encoding: str) -> str:
    # Python leaves "~" as it is and quotes "*"; browsers do it the other way round.
    return quote_from_bytes(encode(text, encoding), safe=" *").replace("~", "%7E").replace(" ", "+")


def plain(pairs: Iterable[Pair], encoding: str) -> bytes:
    """Names and values a line each."""
    return encode("".join(f"{name}={value}\r\n" for name, value in _texts(pairs)), encoding)


def multipart(pairs: Sequence[Pair], encoding: str) -> tuple[bytes, str]:
    """Body and type; the boundary comes from the content, so that it cannot stand in it by chance."""
    parts = []
    for name, value in pairs:
        head = b'Content-Disposition: form-data; name="' + _in_quotes(with_line_ends(name), encoding) + b'"'
        if isinstance(value, str):
            parts.append(head + b"\r\n\r\n" + encode(with_line_ends(value), encoding))
            continue
        head += b'; filename="' + _in_quotes(value.name, encoding) + b'"\r\nContent-Type: '
        parts.append(head + value.kind.encode("latin-1", "replace") + b"\r\n\r\n" + value.content)
    boundary = blake2b(b"\0".join(parts), digest_size=16).hexdigest().encode()
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts)
    return body + b"--" + boundary + b"--\r\n", f"{MULTIPART}; boundary={boundary.decode()}"


def _in_quotes(text: str, encoding: str) -> bytes:
    return encode(text, encoding).replace(b"\r", b"%0D").replace(b"\n", b"%0A").replace(b'"', b"%22")
