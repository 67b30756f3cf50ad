"""What a page says in a form for machines: JSON-LD, microdata, RDFa, Open Graph.

The functions take the tree of a page. JSON-LD and Open Graph need nothing more; microdata, RDFa and readable
text need the extra `extract`.
"""

import html
import json
import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from scraper.errors import SpiderError
from scraper.ops.patterns import pattern

_LD: Any = etree.XPath("//script[contains(translate(@type, 'JSONLD', 'jsonld'), 'ld+json')]")
# Facebook writes property=, Twitter name=, and sites mix them.
_PROPERTIES: Any = etree.XPath("//meta[@content][@property or contains(@name, ':')]")
# Outside of strings: comments, CDATA marks in them, and commas with nothing behind them.
_EXCESS = pattern(
    r'("(?:[^"\\]++|\\.)*+(?:"|\Z))|<!--|-->|/\*(?:[^*]++|\*(?!/))*+(?:\*/|\Z)|//[^\r\n]*|,(?=\s*[}\]])',
    re.DOTALL,
)
_MOST_ATTRIBUTES = 2_000
_MOST_DEPTH = 10
_BETWEEN = pattern(r"[\s;\ufeff]*")


def json_ld(root: Any) -> list[dict[str, Any]]:
    """The JSON-LD objects of a page, those of lists and graphs one by one; what is no JSON is left out.

    Comments, commas too many and several objects in one script are taken as they are meant.
    """
    return [
        one
        for script in _LD(root)
        for value in _values("".join(script.itertext()))
        for one in _objects(value)
    ]


def _values(text: str) -> list[Any]:
    if '"' not in text:
        text = html.unescape(text)
    try:
        return [json.loads(text, strict=False)]
    except (ValueError, RecursionError):
        pass
    text = _EXCESS.sub(lambda found: found[1] or "", text)
    decoder = json.JSONDecoder(strict=False)
    found: list[Any] = []
    end = 0
    try:
        while (begin := _BETWEEN.match(text, end)) and begin.end() < len(text):
            value, end = decoder.raw_decode(text, begin.end())
            found.append(value)
    except (ValueError, RecursionError):
        pass
    return found


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    # Not recursive: each object would pass through as many generators as lists stand around it.
    levels = [(iter((value,)), 0)]
    while levels:
        parts, depth = levels[-1]
        for one in parts:
            graph = one.get("@graph") if isinstance(one, dict) else None
            if isinstance(one, list):
                levels.append((iter(one), depth))
                break
            if isinstance(graph, list | dict) and depth < _MOST_DEPTH:
                if "@type" in one:
                    yield {name: part for name, part in one.items() if name != "@graph"}
                levels.append((iter((graph,)), depth + 1))
                break
            if isinstance(one, dict):
                yield one
        else:
            levels.pop()


def open_graph(root: Any) -> dict[str, Any]:
    """The properties of a page (og:title, twitter:card ...); of several with one name a list."""
    found: dict[str, list[str]] = {}
    for meta in _PROPERTIES(root):
        name = (meta.get("property") or meta.get("name")).strip()
        found.setdefault(name, []).append(meta.get("content"))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def by_extruct(root: Any, url: str, syntax: str) -> list[Any]:
    """Microdata or RDFa of a page, as extruct gives it."""
    try:
        import extruct
    except ImportError:
        raise SpiderError(f"page.{syntax} needs extruct", "pip install 'scraper[extract]'") from None
    found: list[Any] = extruct.extract(_markup(root), base_url=url, syntaxes=[syntax], errors="ignore").get(
        syntax, []
    )
    return found


def main_text(root: Any) -> str:
    """The readable main text of a page, as trafilatura finds it."""
    try:
        import trafilatura
    except ImportError:
        raise SpiderError("page.text_content() needs trafilatura", "pip install 'scraper[extract]'") from None
    return trafilatura.extract(_markup(root)) or ""


def _markup(root: Any) -> str:
    """A page for a library that parses it again, which takes the square of an element's attributes."""
    if any(len(element.attrib) > _MOST_ATTRIBUTES for element in root.iter(etree.Element)):
        raise SpiderError(f"an element of the page has more than {_MOST_ATTRIBUTES:,} attributes")
    text: str = etree.tostring(root, encoding="unicode", method="html")
    return text
