"""`Response`: header fields, body, and what a browser made of it."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from typing import Any

from scraper.model.frozen import frozen


class Headers(Mapping[str, str]):
    """Header fields of one message: case-insensitive, repeated fields kept apart.

    `headers["name"]` joins repeated fields with ", " (RFC 9110 5.3); `getall` keeps them apart.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, list[tuple[str, str]]] = {}
        for name, value in fields:
            self._fields.setdefault(name.lower(), []).append((name, value))

    def __getitem__(self, name: str) -> str:
        return ", ".join([value for _, value in self._fields[name.lower()]])

    def __iter__(self) -> Iterator[str]:
        return (same[0][0] for same in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def get(self, name: str, default: Any = None) -> Any:
        """As in any mapping, without an exception on the way: most fields asked for are not there."""
        fields = self._fields.get(name.lower())
        return default if fields is None else ", ".join([value for _, value in fields])

    def getall(self, name: str) -> list[str]:
        """Every value of a field, in order of arrival."""
        fields = self._fields.get(name.lower())
        return [] if fields is None else [value for _, value in fields]

    @property
    def names(self) -> Collection[str]:
        """The names of all fields, in lower case."""
        return self._fields.keys()

    def items_all(self) -> list[tuple[str, str]]:
        """Every field line as (name, value)."""
        return [line for same in self._fields.values() for line in same]

    def __repr__(self) -> str:
        return f"Headers({self.items_all()!r})"


@frozen
class Loaded:
    """What a page asked for while it was rendered, and what it got.

    `kind`: document, frame, script, stylesheet, fetch, download, image ... `status` 0 with a `reason`: it got
    nothing. `is_cached`: out of the run's cache; no request was sent. `file`: of an answer that was kept as a
    file, as in a Response. `asked`: the key of its request, see `request_keys`.
    """

    url: str
    kind: str
    method: str = "GET"
    status: int = 0
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""
    reason: str = ""
    is_cached: bool = False
    sent_at: float = 0.0
    file: Mapping[str, Any] | None = None
    asked: bytes = b""

    @property
    def size(self) -> int:
        """Bytes that came."""
        return int(self.file["size"]) if self.file is not None else len(self.content)

    @property
    def type(self) -> str:
        """The media type, in lower case, without parameters."""
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON; ValueError where it is none."""
        return json.loads(self.content)


@frozen
class Rendered:
    """What a browser made of a page: `source` is the document as it was sent, with its `headers`.

    `screenshot`: the picture as PNG, of a page that asked for one. `plain`: the answer that was given to the
    browser, where the page has led on to another document.
    """

    source: bytes
    headers: Headers
    loads: tuple[Loaded, ...] = ()
    screenshot: bytes = b""
    plain: "Response | None" = None


@frozen
class Response:
    """One HTTP answer as read: `content` after decompression, `elapsed` from send to first byte (s).

    `file`: of a body that went to disk instead, its name, path, type, size and sha256. `rendered`: of a page
    that a browser rendered, whose `content` is the document that came of it.
    """

    url: str
    status: int
    headers: Headers
    content: bytes
    fetched_at: float = 0.0
    elapsed: float = 0.0
    file: Mapping[str, Any] | None = None
    rendered: Rendered | None = None
