"""URLs out of a sitemap: XML, index, RSS, Atom or text, plain or gzipped (sitemaps.org 0.9, RFC 4287).

Meant for what sites really send: broken XML, bare ampersands, wrong namespaces and types are read as far as
they go. No entity, no include and no network is ever followed, and every size is bounded.
"""

import json
import re
import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from io import BytesIO
from itertools import islice

from lxml import etree

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.markup_size import check_json
from scraper.parsing.xml_text import mended
from scraper.urls import join

MOST_URLS = 500_000  # ten times what sitemaps.org lets one file list
_LARGEST = 50 * 1024 * 1024  # bytes after decompression, sitemaps.org
_LONGEST_URL = 4096  # characters, twice what sitemaps.org lets one have
_MOST_ALTERNATES = 1000  # of one unit
_MOST_LAYERS = 2
_MOST_MEMBERS = 16  # of one gzip, each of which costs a copy of the rest
_MOST_ELEMENTS = 1_000_000  # of one unit: a tree takes thirty times the bytes of its smallest elements
_MOST_LINES = 2 * MOST_URLS
_LINE = pattern(r"[^\r\n]+")
_INVISIBLE = "\ufeff\u200b"
_JSON_FEED = pattern(rb"(?:\xef\xbb\xbf)?\s*\{.*?\"https?:\\?/\\?/jsonfeed\.org\\?/version\\?/", re.DOTALL)
_ROOT = pattern(
    rb"(?>\s+|\xef\xbb\xbf|\xe2\x80\x8b|<\?[^>]*>|<!--.*?-->|<!DOCTYPE[^>\[]*>)*+"
    rb"<(?:[\w.-]{1,40}:)?(?:urlset|sitemapindex|rss|feed|rdf)[\s>]",
    re.IGNORECASE | re.DOTALL,
)
_HEAD = 20_000  # bytes within which the root begins
_END = pattern(r"</(?:[\w.-]{1,40}:)?(?:urlset|sitemapindex|rss|feed|rdf)\s*>", re.IGNORECASE)
_TAIL = 20_000  # characters within which it ends: what comes behind is no matter of ours
_MOST_BASES = 16  # levels that an element's base may come from; a feed has four
_XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
_EXTENSIONS = frozenset(("image", "video", "news"))
_URL_LINE = pattern(r"https?://[^\s<>]+", re.IGNORECASE)
_DAY = pattern(r"\A([0-9]{4})([-/])([0-9]{1,2})\2([0-9]{1,2})(?![0-9])")  # also 2024-5-1 and 2024/05/01
_ZULU = pattern(r"(?<=[0-9])\s*(?:UTC|GMT|z)\Z")
_OFFSET = pattern(r"(?:UTC|GMT)(?=[+-][0-9])")  # JavaScript's Date.toString()
_LEAST_URLS = 0.9  # of the lines of a text that is a list of URLs


@frozen
class Listed:
    """One URL of a sitemap, with what the site says of it; `lastmod` in epoch seconds.

    `alternates`: the same page in other languages, as (hreflang, URL). `extras`: what the extensions for
    images, videos and news say, as (name, text), with names such as `image:loc` and `news:title`.
    """

    url: str
    lastmod: float | None = None
    changefreq: str | None = None
    priority: float | None = None
    alternates: tuple[tuple[str, str], ...] = ()
    extras: tuple[tuple[str, str], ...] = ()


@frozen
class Sitemap:
    """What a sitemap lists: pages, or further sitemaps. `is_cut`: it has more URLs or bytes than may be.

    `is_torn`: its XML ends before its root does, as of a file that is just being written.
    """

    pages: tuple[Listed, ...] = ()
    indexed: tuple[Listed, ...] = ()
    is_cut: bool = False
    is_torn: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        """URLs of the pages."""
        return tuple(listed.url for listed in self.pages)

    @property
    def sitemaps(self) -> tuple[str, ...]:
        """URLs of the further sitemaps."""
        return tuple(listed.url for listed in self.indexed)


def is_listing(body: bytes) -> bool:
    """Whether a body is a sitemap or a feed in XML by its root, or a JSON Feed, however it is typed."""
    return any(root.match(body, 0, _HEAD) is not None for root in (_ROOT, _JSON_FEED))


def is_url_list(text: str) -> bool:
    """Whether a text is a sitemap of one URL a line; an article that has URLs among its lines is none."""
    lines = [
        line for line in map(str.strip, islice(text.split("\n"), _MOST_LINES)) if line and line[0] != "#"
    ]
    urls = sum(1 for line in lines if _URL_LINE.fullmatch(line.lstrip(_INVISIBLE)))
    return bool(urls) and urls >= _LEAST_URLS * len(lines)


def parse(body: bytes, url: str, content_type: str | None = None) -> Sitemap:
    """Read a sitemap that came from `url`; empty for what is none."""
    body, is_cut = unpacked(body)
    text = decode(body, encoding_of(body, content_type)).lstrip().lstrip(_INVISIBLE).lstrip()
    found = _in_xml(text, url) if text.startswith("<") else _in_lines(text)
    if text.startswith("{"):
        found = _in_json(text, url)
    pages: list[Listed] = []
    indexed: list[Listed] = []
    room = 2 * _LARGEST  # each URL begins with its base, which is written once
    try:
        for listed, is_index in found:
            kept = indexed if is_index else pages
            room -= len(listed.url)
            if len(kept) == MOST_URLS or room < 0:
                raise Cut
            kept.append(listed)
    except Cut:
        is_cut = True
    is_whole_xml = is_cut or not text.startswith("<") or is_ended(text)
    return Sitemap(tuple(pages), tuple(indexed), is_cut, bool(pages or indexed) and not is_whole_xml)


def is_ended(text: str) -> bool:
    """Whether the root of a sitemap or feed in XML ends: a file that is just being written has no end yet."""
    return _END.search(text, max(0, len(text) - _TAIL)) is not None


def unpacked(body: bytes) -> tuple[bytes, bool]:
    """The body out of its gzip, as far as that is sound, and whether it was longer than it may be.

    A server that packs what is packed already is meant twice.
    """
    is_cut = False
    for _ in range(_MOST_LAYERS):
        if body.startswith(b"\x1f\x8b"):
            body, is_cut = _unpacked(body)
    return body[:_LARGEST], is_cut or len(body) > _LARGEST


def _unpacked(body: bytes) -> tuple[bytes, bool]:
    unpacked = bytearray()
    for _ in range(_MOST_MEMBERS):
        if not body.startswith(b"\x1f\x8b") or len(unpacked) >= _LARGEST:
            break
        member = zlib.decompressobj(wbits=31)
        try:
            unpacked += member.decompress(body, _LARGEST - len(unpacked))
        except zlib.error:
            break
        body = member.unused_data
    return bytes(unpacked), len(unpacked) >= _LARGEST


def _in_lines(text: str) -> Iterator[tuple[Listed, bool]]:
    for line in islice(_LINE.finditer(text), _MOST_LINES):
        url = absolute(None, line[0])
        if url:
            yield Listed(url), False


def _in_json(text: str, url: str) -> Iterator[tuple[Listed, bool]]:
    """The entries of a JSON Feed 1.1."""
    check_json(text)
    try:
        items = json.loads(text).get("items")
    except (ValueError, RecursionError):
        return
    for item in items if isinstance(items, list) else ():
        href = (item.get("url") or item.get("external_url")) if isinstance(item, dict) else None
        if isinstance(href, str) and (found := absolute(url, href)) is not None:
            yield Listed(found), False


def _in_xml(text: str, url: str) -> Iterator[tuple[Listed, bool]]:
    # A <url> within a <loc> is only a wrong way to write the latter.
    for name, element, base in units(text, url, _UNITS, but_in=("loc",)):
        for listed in _UNITS[name](element, base):
            yield listed, name in ("sitemap", "sitemapindex")


def units(
    text: str, url: str, names: Container[str], *, but_in: Container[str]
) -> Iterator[tuple[str, etree._Element, str]]:
    """The elements of these names (local, lower case) with what their URLs are relative to, but those in
    parents of some names.

    They are read one by one and are gone after their turn; raises Cut where there are too many elements.
    """
    # What stands behind the last tag of a file that is torn would be half a URL.
    text = mended(text[: text.rfind(">") + 1])
    # The body is bounded already, so no single text of it need be.
    elements = etree.iterparse(
        BytesIO(text.encode()),
        events=("end",),
        encoding="utf-8",
        recover=True,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=True,
    )
    has_bases, count = "xml:base" in text, 0
    try:
        for _, element in elements:
            count += 1
            if count > _MOST_ELEMENTS:
                raise Cut
            name = name_of(element)
            parent = element.getparent()
            if name not in names or (parent is not None and name_of(parent) in but_in):
                continue
            unclosed = _unclosed(element, name)
            for unit in (*unclosed, element):
                yield name, unit, _base(unit, url) if has_bases else url
            for unit in unclosed:
                del unit[:-1]  # or it would be read again at its own end
            _forget(element)
            count = 0
    except etree.LxmlError:
        return


class Cut(Exception):
    """There is more than may be read."""


def _base(element: etree._Element, url: str) -> str:
    """What the URLs of an element are relative to (XML Base; RFC 4287 2)."""
    # A base at each of a thousand levels would be joined again for each URL below them.
    near = islice(element.iterancestors(), _MOST_BASES)
    bases = [one.get(_XML_BASE) for one in (element, *near)]
    for base in filter(None, reversed(bases)):
        url = join(url, base) or url
    return url


def name_of(element: etree._Element) -> str:
    """The local name in lower case; empty for a comment."""
    tag = element.tag
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def text_of(element: etree._Element) -> str:
    """All text in an element."""
    return "".join(str(text) for text in element.itertext(etree.Element))


def _unclosed(element: etree._Element, name: str) -> list[etree._Element]:
    """What of its name a unit stands in, the first of them first: their end tags are missing."""
    found: list[etree._Element] = []
    parent = element.getparent()
    while parent is not None and len(parent) > 1 and name_of(parent) == name:
        found.append(parent)
        parent = parent.getparent()
    return found[::-1]


def _forget(element: etree._Element) -> None:
    """Free a unit and what stands before it, so that memory does not grow with the file."""
    element.clear()
    parent = element.getparent()
    while parent is not None and element.getprevious() is not None:
        del parent[0]


def absolute(base: str | None, href: str) -> str | None:
    """The http(s) URL of a link, seen from `base`; None for what is none, or far longer than any."""
    href = href.strip().strip(_INVISIBLE).strip()
    if not href or (base is None and href[:4].lower() != "http"):
        return None
    url = join(base, href)
    return url if url and len(url) <= _LONGEST_URL and url.startswith(("http://", "https://")) else None


def _fields(unit: etree._Element) -> dict[str, str]:
    """Text of the children of a unit by name; of equals the first that has any."""
    fields: dict[str, str] = {}
    for child in unit:
        name = name_of(child)
        if name and name != "loc" and name not in _UNITS and not fields.get(name):
            fields[name] = text_of(child).strip()
    return fields


def _in_url(unit: etree._Element, base: str) -> Iterator[Listed]:
    """A <url> or <sitemap>, which has more than one <loc> where end tags are missing."""
    first: Listed | None = None
    for child in unit:
        if name_of(child) != "loc":
            continue
        url = absolute(base, text_of(child))
        if url and first is not None:
            yield replace(first, url=url)
        elif url:
            fields = _fields(unit)
            first = Listed(
                url,
                moment(fields.get("lastmod", "")),
                fields.get("changefreq"),
                _share(fields.get("priority")),
                tuple(islice(_alternates(unit, base), _MOST_ALTERNATES)),
                tuple(_extras(unit)),
            )
            yield first


def _alternates(unit: etree._Element, base: str) -> Iterator[tuple[str, str]]:
    for child in unit:
        if name_of(child) == "link" and (language := child.get("hreflang")):
            url = absolute(base, child.get("href") or "")
            if url:
                yield language, url


def _extras(unit: etree._Element) -> Iterator[tuple[str, str]]:
    for child in unit:
        kind = name_of(child).rpartition(":")[2]  # a prefix that is declared nowhere stays in the name
        if kind in _EXTENSIONS:
            for leaf in child.iter(etree.Element):
                if len(leaf) == 0 and (text := text_of(leaf).strip()):
                    yield f"{kind}:{name_of(leaf).rpartition(':')[2]}", text


def _in_item(unit: etree._Element, base: str) -> Iterator[Listed]:
    """An <item> of RSS: its link, else its guid where that is one."""
    fields = _fields(unit)
    url = absolute(base, fields.get("link", "")) or _permalink(unit, base)
    if url:
        yield Listed(url, moment(fields.get("pubdate") or fields.get("date") or ""))


def _permalink(unit: etree._Element, base: str) -> str | None:
    for child in unit:
        if name_of(child) == "guid" and (child.get("isPermaLink") or "true").strip().lower() == "true":
            return absolute(base, text_of(child))
    return None


def _in_entry(unit: etree._Element, base: str) -> Iterator[Listed]:
    """An <entry> of Atom: the first of its links that is the entry itself (RFC 4287 4.2.7.2)."""
    for child in unit:
        if name_of(child) == "link" and (child.get("rel") or "alternate").strip().lower() == "alternate":
            own = child.get(_XML_BASE)
            url = absolute((join(base, own) if own else None) or base, child.get("href") or "")
            if url:
                fields = _fields(unit)
                yield Listed(url, moment(fields.get("updated") or fields.get("published") or ""))
                return


_UNITS: dict[str, Callable[[etree._Element, str], Iterator[Listed]]] = {
    "url": _in_url,
    "sitemap": _in_url,
    "urlset": _in_url,
    "sitemapindex": _in_url,
    "item": _in_item,
    "entry": _in_entry,
}


def _share(text: str | None) -> float | None:
    """A priority between 0.0 and 1.0; None for what is none."""
    found = re.fullmatch(r"(?:0?\.[0-9]{1,9}|[01](?:\.[0-9]{0,9})?)", text or "")
    return min(float(found[0]), 1.0) if found else None


def _padded(day: re.Match[str]) -> str:
    return f"{day[1]}-{day[3]:0>2}-{day[4]:0>2}"


def moment(text: str) -> float | None:
    """Epoch seconds of a W3C or RFC 822 date, UTC where it names no zone; None for no date."""
    text = _ZULU.sub("+00:00", _DAY.sub(_padded, text.strip()[:64]))
    try:
        # A year, or a year and a month, may stand alone.
        when = datetime.fromisoformat(text + "0000-01-01"[len(text) :] if len(text) in (4, 7) else text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        pass
    try:
        parts = parsedate_tz(_OFFSET.sub("", text))
        return None if parts is None else float(mktime_tz(parts))
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
