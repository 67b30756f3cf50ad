"""The body of a response as a document: its encoding, its text, its tree, and where it leads.

The only module that parses HTML and XML for spiders. Everything is read when it is first asked for.
"""

import re
from typing import Any

from lxml import etree
from parsel import Selector

from scraper.model import Response
from scraper.parsing import hrefs, refresh
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.markup_size import SOUP, check_size
from scraper.parsing.queries import WatchedSelector
from scraper.parsing.refresh import Refresh
from scraper.parsing.sitemap import Sitemap, is_listing, is_url_list
from scraper.parsing.sitemap import parse as read_sitemap
from scraper.parsing.tree import is_xhtml, parse_html, parse_xhtml, parse_xml
from scraper.politeness.page_directives import is_nofollow
from scraper.urls import join

_XML_TYPE = re.compile(r"(?:text|application)/xml|.+\+xml")
# What an XPath gives depends on its text, so these are not typed.
_HREFS: Any = etree.XPath("//a/@href|//area/@href", smart_strings=False)
_FEED_HREFS: Any = etree.XPath(
    "//*[local-name()='a' or local-name()='link']/@href"
    "|//*[local-name()='link' or local-name()='loc']/text()",
    smart_strings=False,
)
_RELS: Any = etree.XPath("//a[@href]|//area[@href]")
_REFRESHES: Any = etree.XPath("//meta[@http-equiv and @content][not(ancestor::template)]")
_TEXT_TYPES = frozenset(
    {"", "text/plain", "application/octet-stream", "binary/octet-stream", "unknown/unknown"}
)
_GZIP = b"\x1f\x8b"


class Document:
    """What a response holds for a parser; `notes`: what of it could not be read, sentences for the log."""

    def __init__(self, response: Response) -> None:
        self.notes: list[str] = []
        self._response = response
        self._encoding: str | None = None
        self._text: str | None = None
        self._tree: Any = None
        self._soup: Any = None
        self._lower: str | None = None
        self._kind: str | None = None
        self._has_xml: bool | None = None
        self._root: Selector | None = None
        self._base: str | None = None
        self._metas: list[tuple[str, str]] | None = None

    def note(self, text: str) -> None:
        """Have the log say something about the document."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def kind(self) -> str:
        """The Content-Type in lower case, with its parameters."""
        if self._kind is None:
            fields = self._response.headers.getall("content-type")
            self._kind = fields[-1].lower() if fields else ""
        return self._kind

    @property
    def encoding(self) -> str:
        """Name of the body's encoding by the Encoding Standard."""
        if self._encoding is None:
            self._encoding = encoding_of(self._response.content, self.kind or None)
        return self._encoding

    @property
    def text(self) -> str:
        """The body as text; what cannot be decoded is U+FFFD."""
        if self._text is None:
            self._text = decode(self._response.content, self.encoding)
        return self._text

    @property
    def markup(self) -> str:
        """The text where there may be markup. A picture is no page, but HTML under a wrong name is one."""
        kind = self.kind.partition(";")[0].strip()
        is_markup = not kind or kind.startswith("text/") or kind.endswith("xml")
        return self.text if is_markup or self._response.content[:64].lstrip()[:1] == b"<" else ""

    @property
    def is_xml(self) -> bool:
        """Whether it is XML that is no web page, such as a feed."""
        if self._has_xml is None:
            kind = self.kind.partition(";")[0].strip()
            is_typed = _XML_TYPE.fullmatch(kind) is not None and kind != "application/xhtml+xml"
            self._has_xml = (is_typed and not is_xhtml(self.text)) or is_listing(self._response.content)
        return self._has_xml

    @property
    def tree(self) -> Any:
        """The root element; an empty document where there is no markup."""
        if self._tree is None:
            self._tree, cut = self._parsed()
            if cut:
                self.note(cut)
        return self._tree

    def _parsed(self) -> tuple[Any, str]:
        check_size(self.markup)
        if self.is_xml:
            return parse_xml(self.markup)
        if "xml" in self.kind and (root := parse_xhtml(self.markup)) is not None:
            return root, ""
        return parse_html(self.markup)

    @property
    def selector(self) -> Selector:
        """The tree as a Selector of parsel."""
        if self._root is None:
            self._root = WatchedSelector(root=self.tree, type="xml" if self.is_xml else "html")
        return self._root

    @property
    def soup(self) -> Any:
        """The document as BeautifulSoup: of HTML the same tree."""
        if self._soup is None:
            # Takes as long to import as everything else here, and few spiders use it.
            from bs4 import BeautifulSoup

            from scraper.parsing.soup import soup_of

            check_size(self.markup, SOUP)

            self._soup = BeautifulSoup(self.text, "xml") if self.is_xml else soup_of(self.tree)
        return self._soup

    def mentions(self, *words: str) -> bool:
        """Whether the markup holds one of these words, which are in lower case."""
        if self._lower is None:
            self._lower = self.markup.lower()
        return any(map(self._lower.__contains__, words))

    def metas(self, *names: str) -> list[tuple[str, str]]:
        """(name, content) of the meta elements, if one of them has one of `names`."""
        if self.is_xml or (self._tree is None and not self.mentions(*names)):
            return []
        if self._metas is None:
            said = [(meta.get("name"), meta.get("content")) for meta in self.tree.iter("meta")]
            self._metas = [(name, text) for name, text in said if name is not None and text is not None]
        return self._metas if any(name.strip().lower() in names for name, _ in self._metas) else []

    # where it leads -------------------------------------------------------------------------------------

    @property
    def base(self) -> str:
        """What relative links are relative to: its URL, or its `<base href>` (HTML 4.2.3)."""
        if self._base is None:
            self._base = join(None, self._response.url) or self._response.url
            # A tree knows sooner than a text whether it has one.
            is_likely = self._tree is not None or self.mentions("<base")
            stated = (base.get("href") for base in (self.tree.iter("base") if is_likely else ()))
            if href := next((href for href in stated if href is not None), ""):
                self._base = hrefs.web_url(self._base, href) or self._base
        return self._base

    def links(self) -> list[str]:
        """The http(s) URLs that it links to, or lists as a sitemap or a feed; each once."""
        if (listed := self.sitemap) is not None:
            return list(dict.fromkeys(hrefs.absolute(self.base, (*listed.sitemaps, *listed.urls))))
        find = _FEED_HREFS if self.is_xml else _HREFS
        refreshed = [self.meta_refresh.url] if self.meta_refresh is not None else []
        return list(dict.fromkeys((*refreshed, *hrefs.absolute(self.base, find(self.tree)))))

    def nofollow_urls(self) -> frozenset[str]:
        """URLs that it links to with rel=nofollow only."""
        if self.is_xml or not self.mentions("nofollow"):
            return frozenset()
        named: dict[bool, list[str]] = {True: [], False: []}
        for link in _RELS(self.tree):
            named[is_nofollow(link.get("rel", ""))].append(link.get("href"))
        never, followed = (
            frozenset(hrefs.absolute(self.base, named[is_barred])) for is_barred in (True, False)
        )
        return never - followed

    @property
    def sitemap(self) -> Sitemap | None:
        """What a sitemap or a feed lists, known by its content; None for any other document."""
        content = self._response.content
        is_known = is_listing(content)
        is_list = is_known or content.startswith(_GZIP) or (self._is_text() and is_url_list(self.text))
        if not is_list and not self.is_xml:
            return None
        listed = read_sitemap(content, self._response.url, self.kind)
        if listed.is_cut:
            count = len(listed.pages) + len(listed.indexed)
            self.note(f"the sitemap is cut after {count:,} URLs: no more than 500,000 and 50 MB are read")
        if listed.is_torn:
            self.note("the sitemap or feed ends in the middle: it is read as far as it goes")
        return listed if is_known or listed.pages or listed.indexed else None

    def _is_text(self) -> bool:
        """Whether it may be a list of URLs: text by its type, or a body that begins with one."""
        start = self._response.content[:16].lstrip(b"\xef\xbb\xbf \t\r\n")[:4]
        return self.kind.partition(";")[0].strip() in _TEXT_TYPES or start.lower() == b"http"

    @property
    def meta_refresh(self) -> Refresh | None:
        """Where it sends its reader by itself (meta refresh, Refresh field); None if nowhere."""
        stated = self._response.headers.getall("refresh")[:1]
        if not self.is_xml and self.mentions("refresh"):
            metas = _REFRESHES(self.tree)
            stated += [
                one.get("content") for one in metas if one.get("http-equiv").strip().lower() == "refresh"
            ]
        for seconds, href in filter(None, map(refresh.read, stated)):
            url = hrefs.web_url(self.base, href) if href else None
            return Refresh(seconds, url) if url and url != self._response.url.partition("#")[0] else None
        return None
