"""The block that repeats on a page (a list's items, a table's rows, cards, results), and its fields.

For a first draft of a spider: every query that comes out was tried on the page, and finds those blocks there
and nothing else.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from scraper.model.frozen import frozen
from scraper.parsing import hrefs
from scraper.parsing.block_fields import NAME, SAMPLES, SKIPPED, Field, classes_of, fields_of, is_said
from scraper.parsing.page import Page

MOST_ELEMENTS = 20_000
_MOST_SCORED, _MOST_TRIED, _MOST_QUERIES = 60, 6, 40
_LEAST = 3
_LARGEST = 300  # elements in one block
_MOST_TEXT = 300  # characters of one block that count
_NAMED = 0.3  # of the score, for which a query by names is preferred
_PLACE = ":nth-of-type("

_ASIDE = re.compile(
    # What has a sidebar, or is not the footer, is no part of it.
    r"(?:^|(?<!\bnot)(?<!\bno)(?<!\bhas)(?<!\bwith)[-_]| )(?:nav|navbar|menu|breadcrumbs?|pagination|pager|"
    r"paging|footer|sidebar|toolbar|social|share|related|cookies?|languages?)(?:$|[-_ ])",
    re.IGNORECASE,
)
_ASIDE_TAGS = frozenset({"nav", "header", "footer", "aside", "select"})
_PLAIN = frozenset(
    {"li", "tr", "article", "section", "div", "p", "dt", "dl", "a", "details", "figure", "tbody"}
)


@frozen
class Block:
    """What repeats: the CSS query that selects it, its fields, how many there are."""

    query: str
    fields: tuple[Field, ...]
    count: int


def find_block(page: Page) -> Block | None:
    """The block that says most; None where nothing repeats that has a text."""
    tree = _Tree(page)
    found = filter(None, (_scored(tree, group) for group in tree.groups()))
    best, least = None, 0.0
    for score, elements, fields in sorted(found, key=lambda one: -one[0])[:_MOST_TRIED]:
        if score < least:
            break
        query = _query_of(page, tree, elements)
        if query and _PLACE not in query:
            return Block(query, tuple(fields), len(elements))
        if query and best is None:
            # A place counted from the body on breaks soon: rather a little less, by a name.
            best, least = Block(query, tuple(fields), len(elements)), score * _NAMED
    return best


class _Tree:
    """The elements of a page, and how much text each has."""

    def __init__(self, page: Page) -> None:
        body = page.tree.find(".//body")
        root = page.tree if body is None else body
        self.elements: list[Any] = []
        for element in root.iter():
            if len(self.elements) >= MOST_ELEMENTS:
                break
            if isinstance(element.tag, str):
                self.elements.append(element)
        self.sizes: dict[Any, int] = {}
        counts: dict[Any, int] = {}
        for element in reversed(self.elements):
            self.sizes[element] = _length(element.text) + sum(
                self.sizes.get(child, 0) + _length(child.tail) for child in element
            )
            counts[element] = 1 + sum(counts.get(child, 0) for child in element)
            if element.tag in SKIPPED:
                self.sizes[element] = 0
        self._blocks = [one for one in self.elements if self.sizes[one] and counts[one] <= _LARGEST]

    def groups(self) -> list[list[Any]]:
        """Elements that look like each other, the groups with most text first."""
        found: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
        for element in self._blocks:
            for name in classes_of(element):
                found[element.tag, name].append(element)
            if element.tag in _PLAIN and (parent := element.getparent()) is not None:
                found[element.tag, parent].append(element)
                place, path = _way(element)
                found[place, path].append(element)
                if element.tag == "tr" and element.find(".//a[@href]") is not None:
                    found[place, path, "a"].append(element)
        whole = [outer for group in found.values() if len(outer := _outermost(group)) >= _LEAST]
        return sorted(whole, key=self.size_of, reverse=True)[:_MOST_SCORED]

    def size_of(self, group: Sequence[Any]) -> int:
        """The text of a group, in which no single element counts for much."""
        return sum(min(self._size(one), _MOST_TEXT) for one in group)

    def _size(self, one: Any) -> int:
        means = one.getnext() if one.tag == "dt" else None
        return self.sizes[one] + (self.sizes.get(means, 0) if means is not None else 0)


def _way(element: Any) -> tuple[Any, tuple[str, ...]]:
    """The nearest element above that has a name, and the tags on the way down from there."""
    path = [element.tag]
    for one in element.iterancestors():
        if one.tag in ("body", "html") or any(True for _ in _places(one)):
            return one, tuple(path)
        path.insert(0, one.tag)
    return None, tuple(path)


def _length(text: str | None) -> int:
    return len(text.strip()) if text else 0


def _outermost(group: list[Any]) -> list[Any]:
    """A group without those that stand in another of it; nothing of a tree, whose nodes are no rows."""
    members = set(group)
    outer = [one for one in group if members.isdisjoint(one.iterancestors())]
    return outer if len(outer) >= 0.8 * len(group) else []


def _scored(tree: _Tree, group: list[Any]) -> tuple[float, list[Any], list[Field]] | None:
    if group[0].tag == "tr":
        group = [row for row in group if any(cell.tag == "td" for cell in row)]
        if len(group) < _LEAST:
            return None
    fields, singles = fields_of(group)
    if not fields:
        return None
    linked = any(field.form == "url" for field in fields)
    weight = 1 + min(singles, 8) if singles > 1 or linked else 0.2
    is_prose = (group[0].tag == "p" and weight < 1) or all(
        one.tag == "a" and is_said(one.getparent()) for one in group[:SAMPLES]
    )
    if is_prose or 2 * sum(map(_is_aside, group[:SAMPLES])) > len(group[:SAMPLES]):
        return None
    score = tree.size_of(group) * weight
    # Of an item and its only child the one with a name of its own.
    score *= 1.1 if any(True for _ in classes_of(group[0])) else 1.0
    return score, group, fields


def _is_aside(element: Any) -> bool:
    for one in (element, *element.iterancestors()):
        named = f"{one.get('class') or ''} {one.get('id') or ''} {one.get('role') or ''}"
        if one.tag in _ASIDE_TAGS and one.find(".//h1") is None:
            return True
        if one.tag not in ("body", "html", "main") and _ASIDE.search(named):
            return True
    return False


# the query of the blocks ------------------------------------------------------------------------------------
def _query_of(page: Page, tree: _Tree, elements: Sequence[Any]) -> str:
    """The shortest query that finds these elements on the page and no others; empty where none does."""
    wanted = set(elements)
    # A query of two steps costs the square of a deep tree.
    most = max(8, _MOST_QUERIES * 2000 // max(2000, len(tree.elements)))
    for query in (*islice(_candidates(elements), most), *_counted(elements[0])):
        if {one for one in hrefs.elements(page.tree, query) if one in tree.sizes} == wanted:
            return query
    return ""


def _candidates(elements: Sequence[Any]) -> Iterator[str]:
    first, tag = elements[0], elements[0].tag
    shared = [name for name in classes_of(elements[0]) if all(name in classes_of(one) for one in elements)]
    ends = [f"{tag}.{name}" for name in shared]
    ends += ["tr:has(td)", "tr:has(a)"] if tag == "tr" else [tag]
    yield from (end for end in ends if end != tag)
    parent = first.getparent()
    way: list[str] = []
    for above in list(first.iterancestors())[:8]:
        for place in _places(above):
            for end in ends:
                if tag == "tr" or above is not parent:
                    yield f"{place} {end}"
                if tag != "tr":
                    yield " > ".join([place, *way, end])
        way.insert(0, above.tag)
    yield from ends


def _places(element: Any) -> Iterable[str]:
    own = element.get("id") or ""
    if NAME.fullmatch(own) and not re.search(r"\d{3,}", own):
        yield f"#{own}"
    for name in classes_of(element):
        yield f"{element.tag}.{name}"
    if element.tag in ("main", "article", "ol", "dl", "table", "tbody"):
        yield element.tag


def _counted(element: Any) -> Iterator[str]:
    """Queries by the place of an element from the body down."""
    parent = element.getparent()
    if parent is not None and element.tag == "tr":
        yield from (f"{_path(parent)} > tr:has({inner})" for inner in ("td", "a"))
    elif parent is not None:
        yield from (f"{_path(parent)} > {end}" for end in (*_places(element), element.tag))


def _path(element: Any) -> str:
    """The place of an element from the body down."""
    steps: list[str] = []
    while element is not None and element.tag not in ("body", "html"):
        number = 1 + sum(1 for _ in element.itersiblings(element.tag, preceding=True))
        steps.append(f"{element.tag}:nth-of-type({number})")
        element = element.getparent()
    return " > ".join(["body", *reversed(steps)])
