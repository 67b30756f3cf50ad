"""lexbor's tree, which is the HTML Standard's to the letter (13.2), copied into one of lxml."""

import re
from html import escape
from typing import Any

from lxml import etree, html
from selectolax.lexbor import LexborHTMLParser

_DEEPEST = 512  # what is nested deeper is laid beside it, as Chromium does
_MOST_NODES = 2_000_000
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*").fullmatch
_UNFIT_NAME = re.compile(r"[^A-Za-z0-9_.-]|^[^A-Za-z_]")
_HYPHENS = re.compile("-(?=-|$)")
_MAKE = html.HTMLParser().makeelement


def parse(body: str) -> tuple[Any, str]:
    """The root element of a page, and what of it is cut; empty where nothing."""
    document: Any = LexborHTMLParser(body)
    templates = document.template_fragments() if "<template" in body.lower() else ()
    contents = {fragment.parent.mem_id: fragment for fragment in templates}
    root = _made("html", document.root.attributes)
    place, last, entered = root, None, None
    node, above = document.root.child, list[Any]()
    for _ in range(_MOST_NODES):
        while node is None and above:
            node, place, last, entered = _left(above.pop(), place, last)
        if node is None:
            return root, ""
        if node.is_text_node:
            _add_text(place, last, entered, _UNFIT.sub("", node.text_content or ""))
        elif (copied := _copy(node)) is not None:
            last = copied
            place.append(last)
        inner = contents.get(node.mem_id, node).child
        if inner is None:
            node = node.next
            continue
        above.append((node.next, place, last))
        node, entered = inner, last
        if len(above) < _DEEPEST:
            place, last = last, None
    return root, f"the page is cut after {_MOST_NODES:,} nodes"


def _left(outer: Any, place: Any, last: Any) -> Any:
    """Where an element that ends leads: beside it, or beside what its parent has got from too deep below."""
    following, before, child = outer
    return following, before, (last if before is place else child), None


def _add_text(place: Any, last: Any, entered: Any, text: str) -> None:
    if last is None:
        place.text = (place.text or "") + text
    elif last is entered:
        last.text = (last.text or "") + text
    else:
        last.tail = (last.tail or "") + text


def _copy(node: Any) -> Any:
    if node.is_element_node:
        return _made(node.tag, node.attributes)
    if node.is_comment_node:
        return etree.Comment(_UNFIT.sub("", _HYPHENS.sub("- ", node.comment_content or "")))
    return None


def _made(tag: str, attributes: dict[str, str | None]) -> Any:
    """An element; what HTML allows in names and XML does not, only libxml2's own parser lets pass."""
    plain = {name: _UNFIT.sub("", value or "") for name, value in attributes.items() if _PLAIN_NAME(name)}
    if len(plain) == len(attributes) and _PLAIN_NAME(tag):
        return _MAKE(tag, plain)
    written = " ".join(f'{name}="{escape(value or "")}"' for name, value in attributes.items())
    parent: Any = etree.fromstring(
        f"<html><body><{tag} {written}></{tag}></body></html>", html.HTMLParser()
    ).find("body")
    return parent[0] if len(parent) and parent[0].tag == tag else _MAKE(_UNFIT_NAME.sub("_", tag), plain)
