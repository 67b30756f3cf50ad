"""What feeds of every kind have: entries, with their files."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scraper.model.frozen import frozen
from scraper.parsing.sitemap import moment

MOST_ENTRIES = 50_000
_MOST_AUTHORS = 10_000  # characters of those of a whole feed


@frozen
class Enclosure:
    """A file that belongs to an entry; `length` in bytes."""

    url: str
    type: str | None = None
    length: int | None = None


@frozen
class Entry:
    """One entry of a feed. `summary` and `content` as written, often HTML; `title` is text.

    `published` and `updated`: ISO 8601 in UTC.
    """

    id: str
    url: str | None = None
    title: str | None = None
    summary: str | None = None
    content: str | None = None
    authors: tuple[str, ...] = ()
    published: str | None = None
    updated: str | None = None
    categories: tuple[str, ...] = ()
    enclosures: tuple[Enclosure, ...] = ()


@frozen
class Feed:
    """What a feed has. `next_url`: its older entries (RFC 5005, JSON Feed); `is_cut`: there is more of it.

    `is_torn`: it ends in the middle, as a file that is just being written.
    """

    entries: tuple[Entry, ...] = ()
    next_url: str | None = None
    is_cut: bool = False
    is_torn: bool = False


def with_authors(entries: Iterable[Entry], authors: Iterable[str | None]) -> tuple[Entry, ...]:
    """Entries that name no author are the feed's (RFC 4287 4.2.1, JSON Feed 1.1).

    Not more of them than people have written: each entry, and so each record, has them all.
    """
    known = unique(authors)
    is_sane = sum(map(len, known)) <= _MOST_AUTHORS
    return tuple(
        one if one.authors or not (known and is_sane) else replace(one, authors=known) for one in entries
    )


def unique(texts: Iterable[str | None]) -> tuple[str, ...]:
    """Texts in their order, each once, without empty ones."""
    return tuple(dict.fromkeys(filter(None, texts)))


def whole(value: Any) -> int | None:
    """A number of bytes; None for what is none. Feeds write 0 where they do not know."""
    text = str(value)[:20]
    return int(text) or None if text.isascii() and text.isdecimal() else None


def date_of(text: str | None) -> str | None:
    """A date as ISO 8601 in UTC; None for what is none."""
    seconds = moment(text) if text else None
    try:
        when = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (ValueError, OverflowError, OSError):
        return None
    return when.isoformat(timespec="seconds").replace("+00:00", "Z") if when else None
