"""One file on its way to disk, gone on with where an earlier try stopped (RFC 9110 14, 13.1.5)."""

import os
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from scraper.errors import BadAnswer, TooLarge, Unwanted
from scraper.http.body import Body
from scraper.http.saved_files import Part, SavedFiles
from scraper.model import Headers, Response
from scraper.ops.disk import explained
from scraper.ops.patterns import pattern
from scraper.parsing.file_facts import name_of, type_of
from scraper.politeness.header_fields import http_date

SLOWEST = 4096  # bytes a second: what is slower is given up, as is what does not come at all
_READ = 256 * 1024
_PAGES = frozenset(("text/html", "application/xhtml+xml"))
_RANGE = pattern(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})")
_STRONG = pattern(r'"[\x21\x23-\x7e]*"')
_DIGEST = pattern(r"(?:^|,)\s*sha-256=:?([A-Za-z0-9+/]{43}=):?\s*(?:,|$)", re.IGNORECASE)
_PARTIAL, _UNSATISFIABLE = 206, 416


class Download:
    """The file that one request asks for. `fp`: what names the request's part on disk.

    `received`: bytes that this try brought; `is_stale`: the server could not go on where we were.
    """

    def __init__(self, files: SavedFiles, fp: bytes, *, goes_on: bool) -> None:
        self._files = files
        self._fp = fp
        self._part = files.part(fp) if goes_on else None
        self._body: FileBody | None = None
        self.is_stale = False

    @property
    def headers(self) -> dict[str, str]:
        """What to send: the body as it is, from where we are, or whole if it has changed since."""
        fields = {"Accept-Encoding": "identity"}
        if self._part is not None:
            fields |= {"Range": f"bytes={self._part.size}-", "If-Range": self._part.validator}
        return fields

    @property
    def received(self) -> int:
        """Bytes that came to disk."""
        return self._body.received if self._body is not None else 0

    def body(self, url: str, status: int, headers: Headers, codings: tuple[str, ...]) -> "FileBody | None":
        """Where the body of an answer goes; None: into memory, as a page that tells why there is no file.

        Raises Unwanted, TooLarge, and BadAnswer where another part comes than was asked for.
        """
        if status == _PARTIAL and self._part is not None:
            self._body = self._rest(headers, codings)
        elif status == _UNSATISFIABLE and self._part is not None:
            self.discard()
            self.is_stale = True
        elif 200 <= status < 300 and status != _PARTIAL:
            self._body = self._whole(url, headers, codings)
        return self._body

    def _whole(self, url: str, headers: Headers, codings: tuple[str, ...]) -> "FileBody | None":
        kind = type_of(headers, name_of(headers, url))
        if kind in _PAGES:
            return None  # a challenge, a login or an error page is told by its text
        if not self._files.takes(kind):
            raise Unwanted(f"its type is {kind}, which file_types does not name")
        length = headers.get("content-length", "")
        if length.isdecimal():
            _check(int(length[:19]), self._files.most)
        is_coded = Body(codings, 0).is_coded
        named = ("", "") if is_coded else (validator_of(headers), modified_of(headers))
        path, descriptor = self._files.begin(self._fp, *named)
        return FileBody(path, descriptor, self._files.most, codings=codings if is_coded else ())

    def _rest(self, headers: Headers, codings: tuple[str, ...]) -> "FileBody":
        part, found = self._part, _RANGE.fullmatch(headers.get("content-range", "").strip())
        assert part is not None
        first, last, total = map(int, found.groups()) if found is not None else (0, 0, 0)
        is_it = first == part.size and last + 1 == total and _is_same_version(part, headers)
        descriptor = self._files.go_on(part) if is_it and not Body(codings, 0).is_coded else None
        if descriptor is None:
            self.discard()
            raise BadAnswer("status 206 with another part than was asked for")
        try:
            _check(total, self._files.most)
        except TooLarge:
            os.close(descriptor)
            raise
        return FileBody(part.path, descriptor, self._files.most, size=part.size, total=total)

    def saved(self, response: Response) -> Response:
        """The response with what is said about its file, once that is whole and in its place.

        Raises BadAnswer where it is not what the server says that it is (RFC 9530 3, RFC 3230 4.3.2).
        """
        if self._body is None:
            return response
        name = name_of(response.headers, response.url)
        said = "" if self._body.is_coded else digest_of(response.headers)
        facts = self._files.keep(self._body.path, name, type_of(response.headers, name), said)
        return replace(response, status=200, file=facts)

    def close(self) -> None:
        """Let go of what came, so that another try can go on with it. Safe to repeat."""
        if self._body is not None:
            self._body.close()

    def discard(self) -> None:
        """Keep nothing of it: it is not to be gone on with."""
        self._files.discard(self._fp)


class FileBody:
    """A `Body` that goes to disk as it comes: `size` bytes of `total`, if these are known, are there.

    What is coded is decoded at the end, in the place of what came.
    """

    is_full = is_ended = False
    is_heavy = True

    def __init__(
        self,
        path: Path,
        descriptor: int,
        most: int,
        *,
        size: int = 0,
        total: int | None = None,
        codings: tuple[str, ...] = (),
    ) -> None:
        self.path = path
        self.received = 0
        self._file = os.fdopen(descriptor, "rb+", buffering=0)
        self._most, self._total, self._codings = most, total, codings
        self._size = size

    @property
    def is_coded(self) -> bool:
        """Whether there was a coding to undo."""
        return bool(self._codings)

    @property
    def grace(self) -> float:
        """Seconds more that it may take for what came."""
        return self.received / SLOWEST

    def write(self, data: bytes) -> None:
        """Take what has come."""
        _check(self._size + len(data), self._most)
        with explained(self.path):
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]
        self._size += len(data)
        self.received += len(data)

    def finish(self, *, is_framed: bool = False) -> bytes:
        """Make it whole, as `Body.finish`; there is nothing left for memory."""
        if self._codings:
            self._decode(is_framed)
        self._file.close()
        if self._total is not None and self._size != self._total:
            raise BadAnswer("the body ends too early")
        return b""

    def close(self) -> None:
        """Take no more."""
        self._file.close()

    def _decode(self, is_framed: bool) -> None:
        body, size = Body(self._codings, self._most), 0
        decoded = self.path.with_name(f"{self.path.name}.part")
        self._file.seek(0)
        with explained(decoded), open(os.open(decoded, _NEW, 0o644), "wb") as out:
            while data := self._file.read(_READ):
                body.write(data)
                while piece := body.drain():
                    size += len(piece)
                    _check(size, self._most)
                    out.write(piece)
            body.finish(is_framed=is_framed)
        decoded.replace(self.path)


_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC


def _check(size: int, most: int) -> None:
    if size > most:
        raise TooLarge(f"file over max_file ({most / 2**20:g} MiB)")


def digest_of(headers: Headers) -> str:
    """The SHA-256 of the whole file in hexadecimal digits, if its server names it; else empty."""
    said = _DIGEST.search(headers.get("repr-digest", "")) or _DIGEST.search(headers.get("digest", ""))
    return b64decode(said[1]).hex() if said is not None else ""


def _is_same_version(part: Part, headers: Headers) -> bool:
    """Whether bytes are of the version that is here; some servers do not heed If-Range.

    Tornado's StaticFileHandler gives a file that has changed its old ETag, and a new Last-Modified.
    """
    modified = modified_of(headers)
    is_as_old = not (modified and part.modified) or modified == part.modified
    return validator_of(headers) == part.validator and is_as_old


def modified_of(headers: Headers) -> str:
    """When a file was changed last, as its server says, for a name: seconds as hexadecimal digits."""
    moment = http_date(headers.get("last-modified", ""), 0.0)
    return f"{max(0, int(moment)):x}" if moment is not None else ""


def validator_of(headers: Mapping[str, str] | Headers) -> str:
    """What names a version byte by byte: a strong ETag, or a date that no later change shares (8.8.2.2)."""
    etag, modified = headers.get("etag", "").strip(), headers.get("last-modified", "").strip()
    if etag:
        return etag if _STRONG.fullmatch(etag) else ""
    date = http_date(headers.get("date", ""), 0.0)
    changed = http_date(modified, 0.0)
    return modified if date is not None and changed is not None and date > changed else ""
