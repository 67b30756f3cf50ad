"""Entries out of a feed: RSS 0.9x, 1.0 and 2.0, Atom 0.3 and 1.0 (RFC 4287), JSON Feed 1.1.

Read as leniently as sitemaps are, and bounded as they are: no entity, no include, no network.
"""

import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lxml import etree

from scraper.frozen import frozen
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.sitemap import Cut, absolute, moment, name_of, text_of, units, unpacked
from scraper.parsing.tree import parse_html
from scraper.urls import join

_MOST_ENTRIES = 50_000
_FEEDS = frozenset(("rss", "rdf", "feed"))
_ENTRIES = frozenset(("item", "entry"))
_OF_FEEDS = _FEEDS | _ENTRIES | {"link", "author"}
# Elements of other vocabularies have names like those of RSS: media:title, itunes:author, atom:link.
_OWN = (
    "http://purl.org/rss/1.0/",
    "http://my.netscape.com/rdf/simple/0.9/",
    "http://backend.userland.com/rss2",
    "http://www.w3.org/2005/Atom",
    "http://purl.org/atom/ns#",
)
_KNOWN = {
    "http://purl.org/dc/elements/1.1/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://search.yahoo.com/mrss/": "media",
}
_PREFIXES = frozenset(_KNOWN.values())
_TYPES = frozenset(
    f"application/{kind}" for kind in ("rss+xml", "atom+xml", "feed+json", "rdf+xml")
)  # by which pages name feeds
_ATOM = frozenset(("http://www.w3.org/2005/Atom", "http://purl.org/atom/ns#"))
_XHTML = "{http://www.w3.org/1999/xhtml}div"
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"

_Children = dict[str, list[etree._Element]]


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
    """What a feed has. `next_url`: its older entries (RFC 5005, JSON Feed); `is_cut`: there is more of it."""

    entries: tuple[Entry, ...] = ()
    next_url: str | None = None
    is_cut: bool = False


def parse(body: bytes, url: str, content_type: str | None = None) -> Feed | None:
    """Read a feed that came from `url`; None for what is none."""
    body, is_cut = unpacked(body)
    text = decode(body, encoding_of(body, content_type)).lstrip("\ufeff\u200b \t\r\n")
    if text.startswith("{"):
        return _of_json(text, url)
    return _of_xml(text, url, is_cut) if text.startswith("<") else None


def advertised(root: Any, base: str) -> list[str]:
    """URLs of the feeds that a page names by its alternate links (HTML 4.6.7.1), each once."""
    found: dict[str, None] = {}
    for link in root.iter("link"):
        kind = (link.get("type") or "").partition(";")[0].strip().lower()
        rel = (link.get("rel") or "").lower().split()
        if "feed" in rel or ("alternate" in rel and kind in _TYPES):
            url = absolute(base, link.get("href") or "")
            found |= {url: None} if url else {}
    return list(found)


# XML --------------------------------------------------------------------------------------------------------
def _of_xml(text: str, url: str, is_cut: bool) -> Feed | None:
    entries: list[Entry] = []
    authors: list[str] = []
    is_feed, next_url = False, None
    try:
        for name, element, base in units(text, url, _OF_FEEDS, but_in=_ENTRIES | {"source"}):
            is_feed = is_feed or name in _FEEDS or name in _ENTRIES
            if name == "link":
                next_url = next_url or _next(element, base)
            elif name == "author":
                authors += _people([element])
            elif name in _ENTRIES and (entry := _entry(element, base)) is not None:
                if len(entries) >= _MOST_ENTRIES:
                    raise Cut
                entries.append(entry)
    except Cut:
        is_cut = True
    return Feed(_by(entries, authors), next_url, is_cut) if is_feed else None


def _by(entries: Iterable[Entry], authors: Iterable[str | None]) -> tuple[Entry, ...]:
    """Entries that name no author are the feed's (RFC 4287 4.2.1, JSON Feed 1.1)."""
    known = _unique(authors)
    return tuple(one if one.authors or not known else replace(one, authors=known) for one in entries)


def _next(link: etree._Element, base: str) -> str | None:
    if (link.get("rel") or "").strip().lower() != "next":
        return None
    return absolute(base, link.get("href") or "")


def _entry(unit: etree._Element, base: str) -> Entry | None:
    children = _children(unit)
    url = _link(children, base)
    identity = _first(children, "id", "guid") or url or _first(children, "title", "description", "dc:title")
    if not identity:
        return None
    return Entry(
        id=identity,
        url=url,
        title=_title(children),
        summary=_markup(children, "summary", "description"),
        content=_markup(children, "content", "content:encoded"),
        authors=_unique(_authors(children)),
        published=_date(_first(children, "published", "pubdate", "issued", "dc:date", "created")),
        updated=_date(_first(children, "updated", "modified", "dcterms:modified")),
        categories=_unique(_categories(children)),
        enclosures=tuple(_enclosures(children, base)),
    )


def _children(unit: etree._Element) -> _Children:
    found: _Children = {}
    for child in unit:
        name, space = name_of(child), _space_of(child)
        prefix, is_prefixed, local = name.rpartition(":")
        if space and space not in _OWN:
            name = f"{_KNOWN[space]}:{name}" if space in _KNOWN else ""
        elif is_prefixed:  # a prefix that is declared nowhere stays in the name
            name = name if prefix in _PREFIXES else local if prefix == "atom" else ""
        if name:
            found.setdefault(name, []).append(child)
    return found


def _space_of(element: etree._Element) -> str:
    return str(element.tag).rpartition("}")[0].lstrip("{") if isinstance(element.tag, str) else ""


def _first(children: _Children, *names: str) -> str | None:
    texts = (text_of(child).strip() for name in names for child in children.get(name, ()))
    return next(filter(None, texts), None)


def _link(children: _Children, base: str) -> str | None:
    """The page of an entry: its alternate link (RFC 4287 4.2.7.2), HTML first, else a guid that is one."""
    for link in sorted(children.get("link", ()), key=_is_no_html):
        href = link.get("href")
        if href is None:
            url = absolute(base, text_of(link))
        else:
            is_it = (link.get("rel") or "alternate").strip().lower() == "alternate"
            url = absolute(_base(link, base), href) if is_it else None
        if url:
            return url
    guids = (g for g in children.get("guid", ()) if (g.get("isPermaLink") or "true").lower() == "true")
    return next(filter(None, (absolute(None, text_of(guid)) for guid in guids)), None)


def _is_no_html(link: etree._Element) -> bool:
    return "html" not in (link.get("type") or "html")


def _base(element: etree._Element, base: str) -> str:
    own = element.get(_XML_BASE)
    return (join(base, own) if own else None) or base


def _title(children: _Children) -> str | None:
    for element in (*children.get("title", ()), *children.get("dc:title", ())):
        text = text_of(element).strip()
        if element.get("type") in ("html", "text/html"):
            text = "".join(parse_html(text)[0].itertext()).strip()
        elif _space_of(element) not in _ATOM:
            text = html.unescape(text)  # RSS titles are escaped twice as often as not
        if text:
            return " ".join(text.split())
    return None


def _markup(children: _Children, *names: str) -> str | None:
    for name in names:
        for element in children.get(name, ()):
            if element.get("src"):  # it is elsewhere (RFC 4287 4.1.3.2)
                continue
            div = element.find(_XHTML)
            if text := _inside(div) if div is not None else text_of(element).strip():
                return text
    return None


def _inside(div: etree._Element) -> str:
    """The content of the div around XHTML, which is no part of it (RFC 4287 3.1.1.3)."""
    written = etree.tostring(div, encoding="unicode", with_tail=False)
    if div.prefix:
        written = re.sub(rf"(</?){re.escape(div.prefix)}:", r"\1", written)
    return written.partition(">")[2].rpartition("</")[0].strip()


def _authors(children: _Children) -> Iterator[str]:
    own = [*_people(children.get("author", ())), *_texts(children.get("dc:creator", ()))]
    # An entry that was taken from another feed is by those of that feed (RFC 4287 4.2.1).
    sources = (_children(source) for source in children.get("source", ()))
    yield from own or (name for source in sources for name in _people(source.get("author", ())))


def _people(elements: Iterable[etree._Element]) -> Iterator[str]:
    for element in elements:
        named = [child for child in element if name_of(child) == "name"]
        yield from _texts(named) or _texts([element])


def _texts(elements: Iterable[etree._Element]) -> list[str]:
    return list(filter(None, (text_of(element).strip() for element in elements)))


def _categories(children: _Children) -> Iterator[str]:
    for element in (*children.get("category", ()), *children.get("dc:subject", ())):
        yield from filter(None, [(element.get("label") or element.get("term") or text_of(element)).strip()])


def _enclosures(children: _Children, base: str) -> Iterator[Enclosure]:
    links = (link for link in children.get("link", ()) if link.get("rel") == "enclosure")
    groups = (_children(group) for group in children.get("media:group", ()))
    media = [one for part in (children, *groups) for one in part.get("media:content", ())]
    seen: set[str] = set()
    for element in (*children.get("enclosure", ()), *links, *media):
        url = absolute(_base(element, base), element.get("url") or element.get("href") or "")
        if url and url not in seen:
            seen.add(url)
            size = element.get("length") or element.get("fileSize")
            yield Enclosure(url, element.get("type"), _whole(size))


def _whole(value: Any) -> int | None:
    """A number of bytes; None for what is none. Feeds write 0 where they do not know."""
    text = str(value)[:20]
    return int(text) or None if text.isascii() and text.isdecimal() else None


def _date(text: str | None) -> str | None:
    seconds = moment(text) if text else None
    try:
        when = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (ValueError, OverflowError, OSError):
        return None
    return when.isoformat(timespec="seconds").replace("+00:00", "Z") if when else None


# JSON Feed --------------------------------------------------------------------------------------------------
def _of_json(text: str, url: str) -> Feed | None:
    try:
        feed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(feed, dict) or "jsonfeed.org/version/" not in str(feed.get("version"))[:100]:
        return None
    items = [one for one in _list(feed.get("items")) if isinstance(one, dict)]
    entries = filter(None, (_item(one, url) for one in items[:_MOST_ENTRIES]))
    next_url = absolute(url, _text(feed.get("next_url")) or "")
    return Feed(_by(entries, _names(feed)), next_url, len(items) > _MOST_ENTRIES)


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
        authors=_unique(_names(item)),
        published=_date(said.get("date_published")),
        updated=_date(said.get("date_modified")),
        categories=_unique(map(_text, _list(item.get("tags")))),
        enclosures=tuple(_attachments(item, base)),
    )


def _names(of: dict[str, Any]) -> list[str | None]:
    people = [*_list(of.get("authors")), of.get("author")]  # the latter of version 1.0
    return [_text(person.get("name")) for person in people if isinstance(person, dict)]


def _unique(texts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, texts)))


def _attachments(item: dict[str, Any], base: str) -> Iterator[Enclosure]:
    for one in _list(item.get("attachments")):
        url = absolute(base, _text(one.get("url")) or "") if isinstance(one, dict) else None
        if url:
            yield Enclosure(url, _text(one.get("mime_type")), _whole(one.get("size_in_bytes")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    """A value as text: ids are written as numbers, too."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value if isinstance(value, str) and value else None
