"""The URLs of the frontier: new ones, and those that their owner has taken."""

from dataclasses import field

from scraper.model.frozen import frozen


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
