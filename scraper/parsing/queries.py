"""CSS and XPath queries of a page: translated and compiled once, and which of them found anything.

A query that finds nothing on any page of a run is most often a mistake, and the summary names it.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from lxml import etree
from parsel import Selector, SelectorList
from parsel.csstranslator import GenericTranslator, HTMLTranslator

MOST = 100  # queries of one page; those that a program builds are without end
LONGEST = 120
_MOST_COMPILED = 1000
_REGULAR_EXPRESSIONS = {"re": "http://exslt.org/regular-expressions"}
_NAMESPACES: dict[str, str] = Selector(root=None).namespaces


def _compile(path: str) -> Any:
    has_functions = "re:" in path
    known = _REGULAR_EXPRESSIONS if has_functions else None
    return etree.XPath(path, namespaces=known, regexp=has_functions, smart_strings=False)


class _OfThread(threading.local):
    """`asked`: the queries of the page at hand; `compiled`: XPaths, as each is locked while it is at work."""

    def __init__(self) -> None:
        self.asked: dict[str, bool] | None = None
        self.compiled = lru_cache(maxsize=_MOST_COMPILED)(_compile)


_own = _OfThread()


def compiled(path: str) -> Any:
    """An XPath, to be called with an element on this thread; XPathError for what is none."""
    return _own.compiled(path)


class _ClassAlone:
    """Translates `.name` so that the class of an element that has no other is compared as it is.

    The attribute is looked for once an element: without one, that is all.
    """

    def xpath_attrib_includes(self, xpath: Any, name: str, value: str | None) -> Any:
        if value is None or value.split() != [value]:
            return super().xpath_attrib_includes(xpath, name, value)  # type: ignore[misc]  # of the translator
        word, words = map(GenericTranslator.xpath_literal, (value, f" {value} "))
        among = f"contains(., {word}) and contains(concat(' ', normalize-space(.), ' '), {words})"
        xpath.add_condition(f"{name}[. = {word} or ({among})]")
        return xpath


class _Html(_ClassAlone, HTMLTranslator):
    pass


class _Xml(_ClassAlone, GenericTranslator):
    pass


@lru_cache(maxsize=_MOST_COMPILED)
def css_to_xpath(query: str, is_xml: bool = False) -> str:
    """A CSS query with `::text` and `::attr()` as XPath; SelectorError of cssselect for what is none."""
    return (_Xml() if is_xml else _Html()).css_to_xpath(query)


@contextmanager
def watching() -> Iterator[dict[str, bool]]:
    """The queries asked on this thread meanwhile: whether each found something at least once."""
    asked: dict[str, bool] = {}
    _own.asked = asked
    try:
        yield asked
    finally:
        _own.asked = None


class WatchedSelector(Selector):
    """A selector that notes what it is asked, and finds it without the detours of parsel where it can."""

    __slots__ = ()

    def css(self, query: str) -> SelectorList["WatchedSelector"]:
        found = self._found(css_to_xpath(query, self.type == "xml"), None, {})
        _note(query, bool(found))
        return found

    def xpath(
        self, query: str, namespaces: Mapping[str, str] | None = None, **variables: Any
    ) -> SelectorList["WatchedSelector"]:
        found = self._found(query, namespaces, variables)
        _note(query, bool(found))
        return found

    def _found(
        self, path: str, namespaces: Mapping[str, str] | None, variables: Mapping[str, Any]
    ) -> SelectorList["WatchedSelector"]:
        # A compiled XPath that knows the functions of `set:` grows with each call.
        is_known = self.namespaces is _NAMESPACES or self.namespaces == _NAMESPACES
        is_usual = namespaces is None and is_known and "set:" not in path
        if is_usual and isinstance(self.root, etree._Element):
            try:
                found = compiled(path)(self.root, **variables)
                return self._selectors(path, found if type(found) is list else [found])
            except etree.XPathError:
                pass  # parsel tells what is wrong
        return super().xpath(path, namespaces, **variables)

    def _selectors(self, path: str, found: list[Any]) -> SelectorList["WatchedSelector"]:
        """Hundreds are made for a page, of what needs no look: the constructor of parsel takes 1.3 us."""
        kind = self.type
        made: SelectorList[WatchedSelector] = SelectorList()
        for root in found:
            one = object.__new__(WatchedSelector)
            one.root, one.type, one.namespaces = root, kind, _NAMESPACES
            one._expr, one._huge_tree, one._text = path, True, None
            made.append(one)
        return made

    def register_namespace(self, prefix: str, uri: str) -> None:
        self.namespaces = {**self.namespaces, prefix: uri}  # many selectors share the usual ones

    def get(self) -> Any:
        # Of text, parsel finds that out by an exception.
        return self.root if type(self.root) is str else super().get()

    extract = get


def _note(query: str, is_found: bool) -> None:
    asked = _own.asked
    if asked is None or len(query) > LONGEST:
        return
    if query in asked or len(asked) < MOST:
        asked[query] = is_found or asked.get(query, False)
