"""Entries out of a JSON Feed 1.1."""

import html
import json
from collections.abc import Iterator
from typing import Any

from scraper.parsing.feed_entries import (
    MOST_ENTRIES,
    Enclosure,
    Entry,
    Feed,
    date_of,
    unique,
    whole,
    with_authors,
)
from scraper.parsing.markup_size import check_json
from scraper.parsing.sitemap import absolute, is_listing

_HEAD = 20_000  # characters within which a feed says what it is
_LONGEST_WORD = 5  # "false", in the middle of which it may end


def parse_json(text: str, url: str) -> Feed | None:
    """Read a JSON Feed that came from `url`; None for what is none."""
    check_json(text)
    try:
        feed = json.loads(text)
    except json.JSONDecodeError as error:
        is_torn = error.msg.startswith("Unterminated") or error.pos > len(text.rstrip()) - _LONGEST_WORD
        return Feed(is_torn=True) if is_torn and is_listing(text[:_HEAD].encode("utf-8", "replace")) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(feed, dict) or "jsonfeed.org/version/" not in str(feed.get("version"))[:100]:
        return None
    items = [one for one in _list(feed.get("items")) if isinstance(one, dict)]
    entries = filter(None, (_item(one, url) for one in items[:MOST_ENTRIES]))
    next_url = absolute(url, _text(feed.get("next_url")) or "")
    return Feed(with_authors(entries, _names(feed)), next_url, len(items) > MOST_ENTRIES)


def _item(item: dict[str, Any], base: str) -> Entry | None:
    said = {name: _text(value) for name, value in item.items()}
    url = absolute(base, said.get("url") or said.get("external_url") or "")
    identity = said.get("id") or url
    if not identity:
        return None
    title = said.get("title")
    return Entry(
        id=identity,
        url=url,
        title=html.unescape(title) if title else None,  # it is text, and some generators escape it
        summary=said.get("summary"),
        content=said.get("content_html") or said.get("content_text"),
        authors=unique(_names(item)),
        published=date_of(said.get("date_published")),
        updated=date_of(said.get("date_modified")),
        categories=unique(map(_text, _list(item.get("tags")))),
        enclosures=tuple(_attachments(item, base)),
    )


def _names(of: dict[str, Any]) -> list[str | None]:
    people = [*_list(of.get("authors")), of.get("author")]  # the latter of version 1.0
    return [_text(person.get("name")) for person in people if isinstance(person, dict)]


def _attachments(item: dict[str, Any], base: str) -> Iterator[Enclosure]:
    for one in _list(item.get("attachments")):
        url = absolute(base, _text(one.get("url")) or "") if isinstance(one, dict) else None
        if url:
            yield Enclosure(url, _text(one.get("mime_type")), whole(one.get("size_in_bytes")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    """A value as text: ids are written as numbers, too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value if isinstance(value, str) and value else None
