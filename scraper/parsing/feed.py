"""Entries out of a feed: RSS 0.9x, 1.0 and 2.0, Atom 0.3 and 1.0 (RFC 4287), JSON Feed 1.1.

Read as leniently as sitemaps are, and bounded as they are: no entity, no include, no network.
"""

import html
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from lxml import etree

from scraper.parsing.encoding import decode, encoding_of
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
from scraper.parsing.json_feed import parse_json
from scraper.parsing.sitemap import Cut, absolute, is_ended, is_listing, name_of, text_of, units, unpacked
from scraper.parsing.tree import parse_html
from scraper.urls import join

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
_HEAD = 20_000  # characters within which the root begins
_MOST_ENCLOSURES = 1000  # of one entry
_MOST_TEXT = 2**26  # characters of the URLs of all enclosures, each of which begins with its base
_XHTML = "{http://www.w3.org/1999/xhtml}div"
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"

_Children = dict[str, list[etree._Element]]


def parse(body: bytes, url: str, content_type: str | None = None) -> Feed | None:
    """Read a feed that came from `url`; None for what is none."""
    body, is_cut = unpacked(body)
    text = decode(body, encoding_of(body, content_type)).lstrip("\ufeff\u200b \t\r\n")
    if text.startswith("{"):
        return parse_json(text, url)
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
    is_feed, next_url, room = False, None, _MOST_TEXT
    try:
        for name, element, base in units(text, url, _OF_FEEDS, but_in=_ENTRIES | {"source"}):
            is_feed = is_feed or name in _FEEDS or name in _ENTRIES
            if name == "link":
                next_url = next_url or _next(element, base)
            elif name == "author":
                authors += _people([element])
            elif name in _ENTRIES and (entry := _entry(element, base)) is not None:
                room -= sum(len(one.url) for one in entry.enclosures)
                if len(entries) >= MOST_ENTRIES or room < 0:
                    raise Cut
                entries.append(entry)
    except Cut:
        is_cut = True
    is_torn = not is_cut and _is_torn(text, is_empty=not entries)
    return Feed(with_authors(entries, authors), next_url, is_cut, is_torn) if is_feed or is_torn else None


def _is_torn(text: str, *, is_empty: bool) -> bool:
    if is_ended(text) or (is_empty and text.rstrip().endswith("/>")):  # one without entries may be <rss/>
        return False
    return is_listing(text[:_HEAD].encode("utf-8", "replace"))


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
        authors=unique(_authors(children)),
        published=date_of(_first(children, "published", "pubdate", "issued", "dc:date", "created")),
        updated=date_of(_first(children, "updated", "modified", "dcterms:modified")),
        categories=unique(_categories(children)),
        enclosures=tuple(islice(_enclosures(children, base), _MOST_ENCLOSURES)),
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
            yield Enclosure(url, element.get("type"), whole(size))
