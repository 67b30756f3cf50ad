"""A page as Markdown that a program may show: its text stays text, and no link of it runs anything."""

import re
from typing import Any
from urllib.parse import quote

from markdownify import MarkdownConverter

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_HARMLESS = frozenset({"http", "https", "ftp", "mailto", "tel"})
# As a browser reads an address (WHATWG URL 4.4): blanks around it, tabs and line ends anywhere, do not count.
_NO_PART = re.compile(r"[\x00-\x20\x7f-\xa0]+")


def markdown_of(soup: Any) -> str:
    """The document of a tree of BeautifulSoup, which is changed; RecursionError where it nests too deep."""
    for element in soup(["script", "style", "template", "noscript"]):
        element.decompose()
    for element in soup(href=True):
        element["href"] = _target(str(element["href"]))
    for element in soup("img"):
        element["src"] = _target(str(element.get("src") or ""))
        element["alt"] = _as_text(str(element.get("alt") or ""))
        if not element["src"]:
            element.replace_with(element["alt"])
    for element in soup("pre"):
        if "```" in element.get_text():
            element.string = element.get_text().replace("```", "'''")  # else it ends the block
    # Its short form of a link whose text is its target loses relative ones: "</a>" (1.2.3).
    return str(_Converter(heading_style="ATX", autolinks=False).convert_soup(soup)).strip() + "\n"


class _Converter(MarkdownConverter):
    """Leaves no text of a page to be read as an element or a link."""

    def escape(self, text: str, *rest: Any) -> str:
        return _as_text(super().escape(text, *rest))  # type: ignore[misc]  # its stubs do not know it


def _as_text(text: str) -> str:
    return text.replace("<", r"\<").replace("](", r"]\(").replace("]:", r"]\:")


def _target(address: str) -> str:
    """Where a link leads; empty where that is no place: a scheme that runs or holds something."""
    scheme = _SCHEME.match(_NO_PART.sub("", address))
    if scheme is not None and scheme[1].lower() not in _HARMLESS:
        return ""
    return quote(address.strip(), safe="!#$%&'*+,/:;=?@[]~-._")
