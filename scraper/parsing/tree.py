"""One tree of a page, as the HTML Standard builds it: lxml's where that is it, lexbor's where it is not.

lxml is by far the faster way to a tree that css, xpath, links, forms and soup can share, and on most pages
its tree is the Standard's after small amends. Where its log or its tree shows that it built another one,
lexbor (a parser by the Standard, section 13.2) takes over, and its tree is copied into lxml's.
"""

import re
import threading
from collections import Counter
from collections.abc import Mapping
from html.entities import html5
from typing import Any

from lxml import etree, html

from scraper.ops.patterns import pattern
from scraper.parsing.xml_text import mended

_LIMIT = "ERR_RESOURCE_LIMIT"  # libxml2 stops: nested too deep, or a text of more than 10 MB
_HARMLESS = frozenset({"DTD_ID_REDEFINED", "HTML_UNKNOWN_TAG"})
# Above these the Standard's own algorithm takes time by the square or the cube of a page's size.
_MOST_TAGS = 200_000
_MOST_TAGS_WHEN_DEEP = 20_000
_MOST_FORMATS = 200
_MOST_ATTRIBUTES = 500

_CLASSES = {
    "form": html.FormElement,
    "input": html.InputElement,
    "label": html.LabelElement,
    "select": html.SelectElement,
    "textarea": html.TextareaElement,
}
_XHTML = "http://www.w3.org/1999/xhtml"
_ROOT = pattern(r"(?>[\s\ufeff]+|<\?[^>]*>|<!--.*?-->|<!DOCTYPE[^>\[]*>)*+<html\b[^>]*>", re.DOTALL | re.I)
_ENTITY = pattern(r"&([A-Za-z][A-Za-z0-9]{1,31};)")
_PREDEFINED = frozenset({"amp;", "lt;", "gt;", "quot;", "apos;"})

_TAGS = re.compile(r"<([a-zA-Z/][^\s/>]*+)").findall
_FORMATS = ("b", "big", "code", "em", "font", "i", "nobr", "s", "small", "strike", "strong", "tt", "u")
# Void elements that libxml2 takes for containers.
_VOID = ("wbr", "source", "track", "embed", "keygen", "bgsound", "param")
_WITH_LINE_END = ("textarea", "pre", "listing")  # one at their start is none of their text
_TO_AMEND = frozenset((*_VOID, *_WITH_LINE_END, "table"))
_ENDLESS = frozenset(
    (
        *_VOID,
        *"area base basefont br col command frame hr img input link meta".split(),
        *"html head body p li dt dd option optgroup thead tbody tfoot tr td th colgroup rb rt rp rtc".split(),
    )
)
_SELF_CLOSED = pattern(r"<([a-z][a-z0-9]*+)[^<>]*+(?<=/)>", re.IGNORECASE)
# HTML elements for which "/>" is just ">", where libxml2 closes them.
_OPEN = frozenset(
    "a abbr article aside b button cite code dd div dl dt em font footer form h1 h2 h3 h4 h5 h6 header i "
    "iframe label li main nav ol option p pre script section select small span strong style table tbody td "
    "textarea th title tr u ul video".split()
)
_BLOCKS_UNKNOWN_TO_LIBXML2 = (
    *"article aside details dialog figcaption figure footer header".split(),
    *"hgroup main nav search section summary".split(),
)


def _any(names: str) -> str:
    return " or ".join(f"self::{name}" for name in names.split())


def _shape(path: str) -> Any:
    return etree.XPath(f"boolean({path})", regexp=False, smart_strings=False)


_HEADINGS = _any("h1 h2 h3 h4 h5 h6")
_NO_P = "[ancestor::p[not(ancestor::button or ancestor::object)]]"
_IN_ROWS = "self::form[not(*)] or self::script or self::template or self::style"
# Shapes that the Standard never builds and libxml2 does, by an element that has to be there for each.
_WRONG: dict[str, Any] = {
    "table": _shape(
        "//table/*[not("
        + _any("caption colgroup col thead tbody tfoot tr")
        + f" or self::input[@type='hidden'] or {_IN_ROWS})]"
        f"|(//thead|//tbody|//tfoot)/*[not(self::tr or {_IN_ROWS})]"
        f"|//tr/*[not(self::td or self::th or {_IN_ROWS})]"
        "|(//table|//thead|//tbody|//tfoot|//tr)/text()[normalize-space()]"
    ),
    "tr": _shape("//tr[not(ancestor::table)]"),
    "td": _shape("//td[not(ancestor::tr)]"),
    "a": _shape("//a//a"),
    "form": _shape("//form//form"),
    "button": _shape("//button//button"),
    "nobr": _shape("//nobr//nobr"),
    "option": _shape("//option/*"),
    "dt": _shape("//dt/dt|//dd/dt"),
    "dd": _shape("//dd/dd|//dt/dd"),
    "li": _shape("//li/li"),
    "svg": _shape("//svg[.//p or .//div or .//ul or .//table or .//img][not(.//foreignObject or .//desc)]"),
    **{f"h{level}": _shape(f"//h{level}/*[{_HEADINGS}]") for level in range(1, 7)},
    **{name: _shape(f"//{name}{_NO_P}") for name in _BLOCKS_UNKNOWN_TO_LIBXML2},
}
_ASTRAY = _shape(
    "/html/*[not(self::head or self::body or self::frameset)]|/html/head/*[self::div or self::p]"
)
_CROWDED = _shape(f"//*[count(@*) > {_MOST_ATTRIBUTES}]")

_local = threading.local()


def parse_html(text: str) -> tuple[Any, str]:
    """The root element of a page, and what of it is not as the Standard has it; empty where all is."""
    parser = _html_parser()
    body = (text.replace("\x00", "") if "\x00" in text else text).strip()
    root = _lxml(body, parser)
    if root is None:
        return html.Element("html"), ""
    errors = [error for error in parser.error_log if error.type_name not in _HARMLESS]
    tags = _count_tags(body)
    if not errors and _is_standard(root, body, tags):
        return _amended(root, tags), ""
    is_deep = any(error.type_name == _LIMIT for error in errors)
    if _is_costly(root, tags, is_deep):
        cut = ", and what is nested deeper than 2,048 elements is lost" if is_deep else ""
        return _amended(root, tags), f"its markup is too broken to be read by the HTML Standard{cut}"
    # Few pages need it, and many runs meet none of them.
    from scraper.parsing import lexbor

    return lexbor.parse(body)


def parse_xml(text: str) -> tuple[Any, str]:
    """The root element of an XML document, as far as it is sound, and what of it is lost."""
    # No entities, no DTD, no network: a feed can hold a bomb.
    parser = etree.XMLParser(encoding="utf-8", recover=True, resolve_entities=False, no_network=True)
    root = _lxml(mended(text.replace("\x00", "").strip()), parser)
    lost = next((error for error in parser.error_log if error.type_name == _LIMIT), None)
    note = f"the XML is cut at line {lost.line}: {_reason(lost.message)}" if lost else ""
    return (html.Element("html") if root is None else root), note


def parse_xhtml(text: str) -> Any:
    """The root element of a well-formed XHTML document, its names without namespaces; None for any other."""
    if not is_xhtml(text):
        return None
    body = _ENTITY.sub(_reference, text.replace("\x00", "").strip())
    parser = etree.XMLParser(encoding="utf-8", resolve_entities=False, no_network=True)
    root = _lxml(body, parser)
    if root is None:
        return None
    for element in root.iter(etree.Element):
        element.tag = element.tag.rpartition("}")[2]
    return root


def is_xhtml(text: str) -> bool:
    """Whether an XML document is a page: its root is html in the namespace of XHTML."""
    root = _ROOT.match(text, 0, 20_000)
    return root is not None and _XHTML in root[0]


def _reason(message: str) -> str:
    """What libxml2 says of a limit, without its advice to programmers."""
    return (
        message.partition(", try ")[0]
        .partition(", use ")[0]
        .removeprefix("Resource limit exceeded: ")
        .lower()
    )


def _reference(found: "re.Match[str]") -> str:
    known = html5.get(found[1])
    return found[0] if found[1] in _PREDEFINED or known is None else "".join(f"&#{ord(c)};" for c in known)


def _html_parser() -> Any:
    if not hasattr(_local, "html"):
        # One parser a thread: a shared one would let threads wait for each other.
        _local.html = html.HTMLParser(encoding="utf-8", recover=True, huge_tree=True)
        _local.html.set_element_class_lookup(_class_lookup())
    return _local.html


def _class_lookup() -> Any:
    """The classes that lxml.html gives elements, without asking a method in Python for each."""
    of_nodes = etree.ElementDefaultClassLookup(
        html.HtmlElement, html.HtmlComment, html.HtmlProcessingInstruction, html.HtmlEntity
    )
    lookup = etree.ElementNamespaceClassLookup(of_nodes)
    lookup.get_namespace(None).update(_CLASSES)
    return lookup


def _lxml(body: str, parser: Any) -> Any:
    try:
        return etree.fromstring(body.encode("utf-8", "replace"), parser) if body else None
    except etree.LxmlError:
        return None


# the tree as lxml has it ------------------------------------------------------------------------------------
def _is_standard(root: Any, body: str, tags: Mapping[str, int]) -> bool:
    """Whether nothing tells that the Standard builds another tree than libxml2 did in silence."""
    if root.tag != "html" or next(root.itersiblings(etree.Element), None) is not None or _ASTRAY(root):
        return False
    for tag, count in tags.items():
        # What is left open goes on in all that follows.
        if tag[0] != "/" and tag not in _ENDLESS and count > tags.get(f"/{tag}", 0):
            return False
        if tag in _WRONG and _WRONG[tag](root):
            return False
    # From its end, where looking for two letters is three times as fast.
    return body.rfind("/>") < 0 or _OPEN.isdisjoint(map(str.lower, _SELF_CLOSED.findall(body)))


def _count_tags(body: str) -> Counter[str]:
    """How often each tag stands in a text, end tags as "/name"; names in lower case."""
    spelled = Counter(_TAGS(body))
    if "".join(spelled).islower():
        return spelled
    counts: Counter[str] = Counter()
    for tag, count in spelled.items():
        counts[tag.lower()] += count
    return counts


def _amended(root: Any, tags: Mapping[str, int]) -> Any:
    """lxml's tree with the elements that the Standard implies, and without those that it does not nest."""
    if root.tag == "html":
        parts = [child.tag for child in root]
        if "head" not in parts:
            root.insert(0, root.makeelement("head"))
        if "body" not in parts and "frameset" not in parts:
            root.append(root.makeelement("body"))
    if _TO_AMEND.isdisjoint(tags):
        return root
    for element in list(root.iter(*_VOID)):
        _empty(element)
    for element in root.iter(*_WITH_LINE_END):
        element.text = (element.text or "").removeprefix("\n")
    for table in list(root.iter("table")):
        _put_into(table, "tr", "tbody")
        _put_into(table, "col", "colgroup")
    return root


def _empty(element: Any) -> None:
    """Move what libxml2 put into a void element behind it."""
    inside, parent = list(element), element.getparent()
    if parent is None or not (inside or element.text):
        return
    text, tail = element.text or "", element.tail or ""
    element.text, element.tail = None, text or None
    if inside:
        at = parent.index(element) + 1
        for offset, child in enumerate(inside):
            parent.insert(at + offset, child)
        inside[-1].tail = (inside[-1].tail or "") + tail or None
    else:
        element.tail = text + tail


def _put_into(table: Any, name: str, group: str) -> None:
    """Wrap children of a name that stand bare in a table, each series of them in one element."""
    wrap = None
    for child in list(table):
        if child.tag == name:
            if wrap is None:
                wrap = table.makeelement(group)
                child.addprevious(wrap)
            wrap.append(child)
        elif isinstance(child.tag, str):
            wrap = None


# the tree as lexbor has it ----------------------------------------------------------------------------------
def _is_costly(root: Any, tags: Mapping[str, int], is_deep: bool) -> bool:
    """Whether the Standard's own algorithm may take too long, by what libxml2 found."""
    opened = sum(count for tag, count in tags.items() if tag[0] != "/")
    formats = {(element.tag, *element.attrib.items()) for element in root.iter(*_FORMATS)}
    most = _MOST_TAGS_WHEN_DEEP if is_deep else _MOST_TAGS
    return opened > most or len(formats) > _MOST_FORMATS or bool(_CROWDED(root))
