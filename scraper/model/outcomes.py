"""The outcomes of a request."""

from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Any

from scraper.model.frontier import Known, NewUrl
from scraper.model.frozen import frozen


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
    `barred`: links that nofollow keeps us from.
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
    barred: tuple[NewUrl, ...] = ()


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
