"""What stands in a block that repeats: its fields under their own names, with the queries that find them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from statistics import median
from typing import Any

from scraper.model.frozen import frozen

MOST_FIELDS = 15
SAMPLES = 12  # blocks that are looked into
_LETTER = re.compile(r"\w")
_PRESENT = 0.5  # of the blocks have a field of theirs

NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{1,39}")
# Classes of frameworks that tell how a thing looks, not what it is, and those that a build made up.
_LOOKS = re.compile(
    r"(?:col|cols|row|rows|container|grid|flex|clearfix|odd|even|first|last|active|visible|hidden|btn)(?:[-_].*)?|"
    r"(?:text|font|float|pull|bg|border|rounded|shadow|align|justify|items|gap|block|inline|left|right|center|"
    r"m[trblxy]?|p[trblxy]?|[whdg]|sr|css|sc|jsx|is|has|js|u)[-_].*|.*\d{3,}.*|.*[-_][a-z]*\d[a-z0-9]{3,}"
)
SKIPPED = frozenset({"script", "style", "template", "svg", "noscript", "head", "option", "br", "hr", "wbr"})
_INLINE = frozenset(
    {"b", "i", "em", "strong", "code", "sub", "sup", "small", "mark", "u", "span", "q", "cite", "abbr"}
)
_HEADINGS = {f"h{n}": "title" for n in range(1, 7)}
_CALLED = {
    **_HEADINGS,
    "a": "title",
    "time": "date",
    "img": "image",
    "p": "text",
    "dt": "term",
    "dd": "definition",
    "cite": "source",
    "address": "address",
    "summary": "summary",
}


@frozen
class Field:
    """A field of a block: its name, and the CSS or XPath query that finds it in there.

    `form`: text (all of the element's), texts (of each such element), url (an absolute one) or attribute; on
    the way there also label, the text of a link.
    """

    name: str
    query: str
    form: str = "text"
    is_xpath: bool = False


Columns = dict[Field, list[list[str]]]
"""What each field was found to be, in each block that has it."""


def fields_of(group: list[Any]) -> tuple[list[Field], int]:
    """The fields that most blocks have, and how many of them stand once in each and differ."""
    samples = group[:: max(1, len(group) // SAMPLES)][:SAMPLES]
    read = _cells if group[0].tag == "tr" else _terms if group[0].tag == "dt" else _parts
    heads = _heads(group[0]) if group[0].tag == "tr" else []
    columns: dict[Field, list[list[str]]] = {}
    for sample in samples:
        seen: dict[Field, list[str]] = defaultdict(list)
        for field, value in read(sample, heads):
            seen[field].append(value)
        for field, values in seen.items():
            if any(map(_LETTER.search, values)):
                columns.setdefault(field, []).append(values)
    most = {field: column for field, column in columns.items() if len(column) >= _PRESENT * len(samples)}
    kept = list(_kept(_with_url(most)))[:MOST_FIELDS]
    singles = sum(
        field.form in ("text", "label") and median(map(len, column)) == 1 and _differ(column)
        for field, column in most.items()
    )
    return list(_numbered(kept)), singles


def _with_url(columns: Columns) -> Columns:
    """The columns, with the first link that each block has once, and of its own, called url."""
    links = [field for field in columns if field.form == "url" and field.name != "image"]
    single = [field for field in links if median(map(len, columns[field])) == 1]
    own = next((field for field in single if _differ(columns[field])), None)
    return {
        replace(field, name="url") if field is own else field: column
        for field, column in columns.items()
        if field not in links or field in single
    }


def _kept(columns: Columns) -> Iterator[Field]:
    for field, column in columns.items():
        if field.form in ("text", "label") and median(map(len, column)) > 1:
            yield replace(field, form="texts")
        # What is written on a link or a button and is the same in all blocks says nothing.
        elif field.form != "label" or _differ(column):
            yield replace(field, form="text") if field.form == "label" else field


def _differ(column: list[list[str]]) -> bool:
    return len({values[0] for values in column}) > 1


def _numbered(fields: Iterable[Field]) -> Iterator[Field]:
    """The fields, no two of one name."""
    taken: Counter[str] = Counter()
    for field in fields:
        taken[field.name] += 1
        yield field if taken[field.name] == 1 else replace(field, name=f"{field.name}_{taken[field.name]}")


def _parts(block: Any, _: Sequence[str]) -> Iterator[tuple[Field, str]]:
    """What stands in a block: texts, links, pictures and moments, under their own names."""
    covered: set[Any] = set()
    inner = [one for one in block.iterdescendants() if isinstance(one.tag, str)]
    if not any(is_said(one) for one in inner) or len(re.sub(r"\W+", "", _own_text(block))) > 1:
        yield Field("text", "normalize-space()", is_xpath=True), _whole(block)
    if block.tag == "a" and block.get("href"):
        yield Field("own_url", "@href", "url", is_xpath=True), block.get("href")
    for one in inner:
        if one.tag in SKIPPED or any(above.tag in SKIPPED for above in _above(one, block)):
            continue
        yield from _attributes(one, block)
        if is_said(one) and covered.isdisjoint((one, *_above(one, block))):
            place = _named(one, block)
            covered.add(place)
            form = "label" if place.tag in ("a", "button") else "text"
            yield Field(_name_of(place), _query_in(place, block), form), _whole(place)


def is_said(element: Any) -> bool:
    """Whether an element has a text of its own; a term has, of whatever parts it is made."""
    return element.tag not in SKIPPED and bool(element.tag == "dt" or _own_text(element).strip())


def _own_text(element: Any) -> str:
    return "".join([element.text or "", *(child.tail or "" for child in element)])


def _attributes(one: Any, block: Any) -> Iterator[tuple[Field, str]]:
    if one.tag == "a" and _is_followed(one):
        name = f"{_name_of(_named(one, block))}_url"
        yield Field(name, f"{_query_in(one, block)}::attr(href)", "url"), one.get("href")
    elif one.tag == "img" and one.get("src"):
        yield Field("image", f"{_query_in(one, block)}::attr(src)", "url"), one.get("src")
    elif one.tag == "time" and one.get("datetime"):
        yield Field("datetime", f"{_query_in(one, block)}::attr(datetime)", "attribute"), one.get("datetime")
    elif one.tag == "meta" and one.get("itemprop") and one.get("content"):
        yield Field(_name_of(one), f"{_query_in(one, block)}::attr(content)", "attribute"), one.get("content")


def _says_more(outer: Any, inner: Any) -> bool:
    """Whether an element has text beside that of one of its children."""
    others = (child for child in outer if child is not inner and isinstance(child.tag, str))
    return bool(_own_text(outer).strip()) or any(map(str.strip, chain.from_iterable(map(_strings, others))))


def _strings(element: Any) -> Iterator[str]:
    texts: Iterator[str] = element.itertext()
    return texts


def _is_followed(link: Any) -> bool:
    href = link.get("href") or ""
    return (
        bool(href) and not href.startswith(("#", "javascript:")) and "nofollow" not in (link.get("rel") or "")
    )


def _named(element: Any, block: Any) -> Any:
    """The element with a name of its own around a text, as long as there is nothing else in it."""
    best = inner = element
    for one in (element, *_above(element, block)):
        if one is not element and _says_more(one, inner):
            break
        inner = one
        if _own_name(one):
            return one
        if one.tag in _HEADINGS or (best.tag in _INLINE and one.tag not in _INLINE):
            best = one
    return best


def _above(element: Any, block: Any) -> Iterator[Any]:
    for one in element.iterancestors():
        if one is block:
            return
        yield one


def _own_name(element: Any) -> str:
    prop = element.get("itemprop") or ""
    return prop if NAME.fullmatch(prop) else next(iter(classes_of(element)), "")


def _name_of(element: Any) -> str:
    own = _own_name(element)
    return identifier(own) if own else _CALLED.get(element.tag, "text")


def identifier(text: str) -> str:
    """A text as the name of a field: `Unit price (EUR)` is unit_price_eur."""
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"\W+", "_", words).strip("_").lower()[:40].strip("_")


def _query_in(element: Any, block: Any) -> str:
    """A CSS query that finds an element in its block."""
    steps = [_step(element)]
    if steps[0] != element.tag or element.tag in _HEADINGS:
        return steps[0]
    for one in _above(element, block):
        steps.append(_step(one))
        if steps[-1] != one.tag or one.tag in _HEADINGS:
            break
    return " > ".join(reversed(steps))


def _step(element: Any) -> str:
    prop = element.get("itemprop") or ""
    if NAME.fullmatch(prop):
        return f'[itemprop="{prop}"]'
    name = next(iter(classes_of(element)), "")
    return f".{name}" if name else str(element.tag)


def _whole(element: Any) -> str:
    """The text of an element as its reader sees it."""
    return " ".join("".join(element.itertext()).split())


def _cells(row: Any, heads: Sequence[str]) -> Iterator[tuple[Field, str]]:
    cells = [cell for cell in row if cell.tag in ("td", "th")]
    is_pair = len(cells) == 2 and cells[0].tag == "th"
    shared = Counter(name for cell in cells for name in classes_of(cell))
    for at, cell in enumerate(cells, 1):
        names = [name for name in classes_of(cell) if shared[name] == 1]
        called = ("name" if at == 1 else "value") if is_pair and not heads else ""
        head = heads[at - 1] if at <= len(heads) else ""
        name = called or head or (identifier(names[0]) if names else "") or f"column_{at}"
        if names and not called:
            yield Field(name, f".{names[0]}"), _whole(cell)
        else:
            yield Field(name, f"normalize-space(*[{at}])", is_xpath=True), _whole(cell)
        link = next((one for one in cell.iter("a") if one.get("href")), None)
        if link is not None:
            yield Field("url", f"*[{at}]//a/@href", "url", is_xpath=True), link.get("href")


def _heads(row: Any) -> list[str]:
    """The names of a table's columns by its first row of headers; none where a cell spans several."""
    table = next(row.iterancestors("table"), None)
    for one in table.iter("tr") if table is not None else ():
        cells = [cell for cell in one if cell.tag in ("td", "th")]
        if (
            cells
            and all(cell.tag == "th" for cell in cells)
            and not any(cell.get("colspan") for cell in cells)
        ):
            return [identifier(_whole(cell)) for cell in cells]
    return []


def _terms(term: Any, _: Sequence[str]) -> Iterator[tuple[Field, str]]:
    yield Field("term", "normalize-space()", is_xpath=True), _whole(term)
    after = next((one for one in term.itersiblings("dd")), None)
    if after is not None:
        yield Field("definition", "normalize-space(following-sibling::dd[1])", is_xpath=True), _whole(after)
    link = next((one for one in term.iter("a") if one.get("href")), None)
    if link is not None:
        yield Field("url", ".//a/@href", "url", is_xpath=True), link.get("href")


def classes_of(element: Any) -> list[str]:
    """The classes of an element that say what it is."""
    names = (element.get("class") or "").split()[:10]
    return [
        name for name in dict.fromkeys(names) if NAME.fullmatch(name) and not _LOOKS.fullmatch(name.lower())
    ]
