"""What moves between the parts: frozen values without behaviour that matters."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple

from scraper.frozen import frozen


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
        return [value for _, value in self._fields.get(name.lower(), ())]

    def items_all(self) -> list[tuple[str, str]]:
        """Every field line as (name, value)."""
        return [line for same in self._fields.values() for line in same]

    def __repr__(self) -> str:
        return f"Headers({self.items_all()!r})"


@dataclass(frozen=True)
class Render:
    """How a page is rendered, in this order: `fill` (CSS: text), `click`, `scroll` to its end so many times,
    run `script`, wait for `wait_for`; each but the script waits up to `timeout` seconds for its element.

    An element is named by a CSS query, or as `text=...` by a text in it. `screenshot`: keep a picture of it.
    """

    wait_for: str = ""
    click: Collection[str] = ()
    fill: Mapping[str, str] = field(default_factory=dict)
    scroll: int = 0
    script: str = ""
    screenshot: bool = False
    timeout: float = 30.0

    def __post_init__(self) -> None:
        clicks = (self.click,) if isinstance(self.click, str) else tuple(self.click)
        object.__setattr__(self, "click", clicks)
        object.__setattr__(self, "fill", dict(self.fill))

    def __hash__(self) -> int:
        return hash((self.wait_for, self.click, tuple(self.fill.items()), self.scroll, self.script))

    def said(self) -> dict[str, Any]:
        """What differs from a plain rendering, JSON-able: the keywords that make this again."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        plain = Render()
        return {name: value for name, value in values.items() if value != getattr(plain, name)}


@dataclass(frozen=True)
class Request:
    """One thing to fetch and the name of the spider method that parses it.

    `params` are added to the URL's query; `data` is a form (mapping) or text; `json` any JSON value.
    `meta` (JSON-able) travels to `page.meta`. Higher `priority` goes first. `max_age` (seconds): a copy
    younger than this is not asked for again; `modified_at` (epoch seconds): nor is one fetched after this,
    when the site says that the page changed last. `handle_statuses`: those of error pages and redirects that
    the callback gets, beside the spider's own. `budget`: the most pages that are asked for on from it, itself
    among them, or (most, name), which requests of that name share. `render`: whether, or how, a browser
    renders the page (None: as the setting says). A request is known by its method, URL, body, the header
    fields that it sets, how it is rendered, and its callback, and is made once a run; with `dont_filter` it
    is made each time.
    """

    url: str
    callback: str = "parse"
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    params: Mapping[str, Any] | None = None
    data: Mapping[str, Any] | str | None = None
    json: Any = None
    meta: Mapping[str, Any] | None = None
    priority: int = 0
    max_age: float | None = None
    dont_filter: bool = False
    handle_statuses: Collection[int] = ()
    modified_at: float | None = None
    budget: int | tuple[int, str] | None = None
    render: bool | Render | None = None

    def __init__(
        self,
        url: str,
        callback: str | Callable[..., Any] = "parse",
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | str | None = None,
        json: Any = None,
        meta: Mapping[str, Any] | None = None,
        priority: int = 0,
        max_age: float | None = None,
        dont_filter: bool = False,
        handle_statuses: Collection[int] = (),
        modified_at: float | None = None,
        budget: int | tuple[int, str] | None = None,
        render: bool | Render | Mapping[str, Any] | None = None,
    ) -> None:
        # Stored by name, so that a frontier outlives the process that filled it.
        name = callback if isinstance(callback, str) else getattr(callback, "__name__", repr(callback))
        # A page has many links: at once, as setting one after the other in a frozen class costs more.
        self.__dict__.update(
            url=url,
            callback=name,
            method=method.upper(),
            headers=headers,
            params=params,
            data=data,
            json=json,
            meta=meta,
            priority=priority,
            max_age=max_age,
            dont_filter=dont_filter,
            handle_statuses=tuple(handle_statuses),
            modified_at=modified_at,
            budget=tuple(budget) if isinstance(budget, list) else budget,
            render=Render(**render) if isinstance(render, Mapping) else render,
        )

    def at(self, url: str) -> "Request":
        """The same request for another URL."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__, url=url)
        return made


SAVE = "save"
"""The callback of a request for a file."""


@frozen
class Loaded:
    """What a page asked for while it was rendered, and what it got.

    `kind`: document, frame, script, stylesheet, fetch, image ... `status` 0 with a `reason`: it got nothing.
    `is_cached`: out of the run's cache; no request was sent.
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

    `screenshot`: the picture as PNG, of a page that asked for one.
    """

    source: bytes
    headers: Headers
    loads: tuple[Loaded, ...] = ()
    screenshot: bytes = b""


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


class Verdict(StrEnum):
    """The judgement on a run."""

    OK = "OK"
    DEGRADED = "DEGRADED"
    EMPTY = "EMPTY"
    BROKEN = "BROKEN"
    BLOCKED = "BLOCKED"
    AUTH = "AUTH"
    INCOMPLETE = "INCOMPLETE"


@frozen
class NewUrl:
    """A URL on its way into the frontier. `fp` is 16 bytes; `request` holds what `url` alone does not say."""

    domain: str
    fp: bytes
    url: str
    request: str | None = None
    priority: int = 0
    depth: int = 0
    hops: int = 0


@frozen
class Known:
    """What is left of the last parse of a page: its version and its validators.

    `inputs`: what that parse depended on beside the page; where that has changed, its records and links do
    not stand for it. `files`: those that it saved, as JSON. `is_noarchive`: its site asks that no
    copy be kept. `records` and `links`: how many that version brought; only known of a page out of the store.
    """

    version: int
    etag: str | None = None
    last_modified: str | None = None
    fresh_until: float = 0.0
    body_hash: bytes = b""
    fetched_at: float = 0.0
    inputs: str = ""
    files: str = ""
    is_noarchive: bool = False
    records: int = field(default=0, compare=False)
    links: int = field(default=0, compare=False)


@frozen
class Entry:
    """A URL of the frontier that its owner has in hand.

    `crashes`: how often in this run a process died while its page was being parsed.
    """

    id: int
    domain: str
    fp: bytes
    url: str
    request: str | None = None
    depth: int = 0
    hops: int = 0
    attempts: int = 0
    priority: int = 0
    known: Known | None = None
    crashes: int = 0


@frozen
class RecordLine:
    """A record as it is kept: one line of JSON without its line end, and its key across runs."""

    key: str
    line: str


@frozen
class Refusal:
    """A link that is not followed, and why; or the page on which so many such `links` stand.

    Without a `url` it only counts.
    """

    url: str
    reason: str
    links: int = 1


@frozen
class Fetched:
    """A page was parsed. `facts` are what its site says about its use (noindex, AI preferences).

    `queries`: whether each query of the callback found something. `filtered`: requests that repeat one of the
    same page, `other_meta`: the URLs of those that do so with another `meta`. `is_emptied`: it brings nothing
    where its last version brought something, also when asked again. `dropped`: why the spider wants none.
    """

    known: Known
    records: Collection[RecordLine] = ()
    links: tuple[NewUrl, ...] = ()
    refused: tuple[Refusal, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    filtered: int = 0
    is_emptied: bool = False
    dropped: str = ""
    queries: Mapping[str, bool] = field(default_factory=dict)
    other_meta: tuple[str, ...] = ()


@frozen
class Unchanged:
    """The page is as it was: its records and links of the last time stand."""

    known: Known


@frozen
class Redirected:
    """The next hop, a request of its own: through scope, robots and the clock of its domain."""

    to: NewUrl


@frozen
class Retry:
    """Another try later; `counts` is False where the attempt was not the URL's fault.

    `after`: the spider asked for it, and for so many seconds without a request to the domain.
    """

    reason: str
    counts: bool = True
    after: float | None = None


@frozen
class Deferred:
    """Left for a later run."""

    reason: str


@frozen
class Denied:
    """Not fetched because a rule says so. `keeps_links`: what the page led to last time is followed still."""

    reason: str
    keeps_links: bool = False


@frozen
class Failed:
    """Given up in this run. `error` groups equals; `is_gone`: 404 or 410; `is_parse`: the spider raised,
    with its `traceback`. `records`, `links` and `refused`: what its `failed` made of that."""

    reason: str
    error: str = ""
    is_gone: bool = False
    is_parse: bool = False
    traceback: str = ""
    records: Collection[RecordLine] = ()
    links: tuple[NewUrl, ...] = ()
    refused: tuple[Refusal, ...] = ()
    queries: Mapping[str, bool] = field(default_factory=dict)


Outcome = Fetched | Unchanged | Redirected | Retry | Deferred | Denied | Failed


@frozen
class Exchange:
    """What was sent and received for one request: moments of `Clock.now()`, sizes in bytes."""

    sent_at: float
    first_byte_at: float
    ended_at: float
    status: int = 0
    size: int = 0
    connected: bool = False


@frozen
class Reaction:
    """What an answer means for its whole domain: failures and refusals add up, `rest` seconds are asked for
    (`asked`: by the spider, and why).

    `limited`: how the site refused us for asking too often. `hitch`: which try of one URL went wrong (from
    1), where that says little about its domain. `budgets`: (requests left, seconds until that is over) by the
    site's RateLimit fields. `is_logged_out`: it no longer knows us. `is_doubted`: whether the page or our
    pace is meant is not known yet. `is_ours`: nothing was asked, because this machine lacked
    something for it.
    """

    is_failure: bool = False
    refusal: str = ""
    rest: float | None = None
    limited: str = ""
    budgets: tuple[tuple[int, float], ...] = ()
    is_logged_out: bool = False
    is_doubted: bool = False
    hitch: int = 0
    is_ours: bool = False
    asked: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether the next request may follow as usual."""
        return not (
            self.is_failure
            or self.hitch
            or self.refusal
            or self.rest
            or self.limited
            or self.budgets
            or self.is_logged_out
            or self.is_doubted
            or self.is_ours
        )


PLAIN = Reaction()


class Rejection(NamedTuple):
    """Why a record was not kept, and the field that it is about, if it is one."""

    reason: str
    field: str = ""


@frozen
class Visit:
    """One request's end, as a worker hands it back and the store settles it.

    `rejected`: why records were not kept; `response` only where it is to be archived, under `archived_as`;
    `notes`: what of the page could not be read; `loads`: what it asked for while it was rendered;
    `rendered`: why it was.
    """

    entry: Entry
    outcome: Outcome
    exchange: Exchange | None = None
    reaction: Reaction = PLAIN
    rejected: tuple[Rejection, ...] = ()
    response: Response | None = None
    archived_as: bytes = b""
    notes: tuple[str, ...] = ()
    loads: tuple[Loaded, ...] = ()
    rendered: str = ""
