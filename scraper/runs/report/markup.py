"""HTML by construction: what is not Markup is text and is escaped, whatever a site put into it."""

import html
import re
from collections.abc import Iterable

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.ops.printable import HIDDEN, printable

LONGEST = 300

_VOID = frozenset({"br", "rect", "line", "polyline", "circle"})
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_STACKED = pattern(f"([{_MARKS}]{{3}})[{_MARKS}]+")
# No credentials, no backslash: what is linked is read the same way by everybody.
_WEB = pattern(r"https?://[^\s/?#@\\]{1,255}([/?#][^\s\\]{0,2000})?", re.IGNORECASE)


@frozen
class Markup:
    """HTML that is safe as it stands."""

    html: str


Child = Markup | str | int | float | None


def clean(value: object, longest: int = LONGEST) -> str:
    """Text of one line, cut to `longest` characters, in which nothing is hidden."""
    text = _visible(" ".join(str(value)[: longest + 1000].split()))
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def element(name: str, *children: Child, **attributes: Child) -> Markup:
    """An element. `class_` is class, `aria_label` is aria-label; None is left out of either."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_visible(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in _VOID and not children:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(children).html}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    """One after the other."""
    return Markup(
        "".join(
            child.html if isinstance(child, Markup) else html.escape(_visible(str(child)))
            for child in children
            if child is not None
        )
    )


def link(url: str, longest: int = 120) -> Markup:
    """A link to a web page; anything else that calls itself a URL stays text."""
    if not _WEB.fullmatch(url) or HIDDEN.search(url):
        return element("span", clean(url, longest), class_="url")
    return element("a", clean(url, longest), href=url, rel="noopener noreferrer nofollow", class_="url")


def folded(title: str, *children: Child) -> Markup:
    """What is shown on demand."""
    return element("details", element("summary", title), *children)


def _visible(text: str) -> str:
    text = printable(text)
    return text if text.isascii() else _STACKED.sub(r"\1", text)
