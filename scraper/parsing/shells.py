"""Whether a document is a shell that scripts have to fill: what a page looks like before a browser had it."""

import re
from typing import Any

from lxml import etree

from scraper.ops.patterns import pattern
from scraper.parsing.page import Page

FEW = 200  # characters of text: a loading notice, a footer
_ROOTS = frozenset(
    "root app __next __nuxt application main-app app-root react-root vue-app svelte ember-application".split()
)
_TEXT: Any = etree.XPath(
    ".//text()[normalize-space() and not(ancestor::script or ancestor::style or ancestor::noscript"
    " or ancestor::template or ancestor::head)]",
    smart_strings=False,
)
_SCRIPTS: Any = etree.XPath("//script[@src or normalize-space()]")
_ELEMENTS: Any = etree.XPath("//body//*[@id or contains(name(), '-')]")
_NOTICES: Any = etree.XPath("//noscript", smart_strings=False)
_JAVASCRIPT = pattern(r"java\s*script|enable\s+scripts", re.IGNORECASE)


def shell_of(page: Page) -> str:
    """How a page shows that it needs its scripts, in words; empty where it does not.

    An empty application root, or a notice for those without scripts, and hardly any other text.
    """
    tree = page.tree
    if not _SCRIPTS(tree):
        return ""
    size = 0
    for text in _TEXT(tree):
        size += len(text.strip())
        if size > FEW:
            return ""
    for element in _ELEMENTS(tree):
        name = element.get("id", "").lower()
        is_root = name in _ROOTS or (not name and "-" in str(element.tag))
        if is_root and not _TEXT(element):
            return f"an empty {'#' + name if name else str(element.tag)[:40]}"
    if any(_JAVASCRIPT.search("".join(notice.itertext())) for notice in _NOTICES(tree)):
        return "a notice for those without scripts"
    return "" if size else "no text at all"


def has_scripts(page: Page) -> bool:
    """Whether scripts may add anything to a document."""
    return bool(_SCRIPTS(page.tree))
