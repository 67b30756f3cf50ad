"""The source of a first spider, from what its page offers. What comes from the page stands in literals."""

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.parsing.block_fields import Field
from scraper.parsing.outline import JsonItems, JsonLd, NextLink, Outline, outline
from scraper.parsing.page import Page
from scraper.parsing.repeats import Block
from scraper.urls import host_of

_LISTS = {"feed": "FeedSpider", "sitemap": "SitemapSpider"}
_MOST_KEYS = 2  # fields of a key


@frozen
class Draft:
    """The source of a spider file, and what of the page it uses, in words."""

    source: str
    uses: tuple[str, ...] = ()


def plain_draft(cls: str, url: str) -> Draft:
    """The spider for a page that nobody has seen yet."""
    body = ["yield {", '    "url": page.url,', '    "title": page.css("title::text").get("").strip(),', "}"]
    body.append('yield from page.follow_all("a")  # every link of the site, until you say which')
    return Draft(_source(cls, url, "url", body))


def draft(cls: str, page: Page, sitemaps: Sequence[str] = ()) -> Draft:
    """The spider for a page."""
    found = outline(page)
    url = page.request.url
    if found.kind in _LISTS:
        return Draft(_list_source(cls, url, found.kind), (f"a {found.kind}",))
    key = _key(page, found)
    body = [
        *(_block_lines(found.block) if found.block else ()),
        *(_jsonld_lines(found.jsonld) if found.jsonld else ()),
        *(_items_lines(found.items) if found.items else ()),
    ]
    if not body:
        body = ["yield {", '    "url": page.url,', '    "title": page.css("title::text").get("").strip(),']
        body += ['    "heading": page.css("h1").xpath("normalize-space()").get(),', "}"]
        key = "url"
    if found.items is None or not found.items.next_page:
        body += _next_lines(found.next_link)
    more = {"sitemaps": tuple(sitemaps)[:3], "feeds": found.feeds}
    return Draft(_source(cls, url, key, body, more), tuple(_uses(found, sitemaps)))


def _uses(found: Outline, sitemaps: Sequence[str]) -> Iterator[str]:
    if found.block:
        yield f"{found.block.count} x {found.block.query}"
    if found.jsonld:
        yield f"JSON-LD {found.jsonld.type}"
    if found.items:
        yield f"the list {'.'.join(found.items.path) or 'that it is'}"
        if found.items.next_page:
            yield f"the next page by {'.'.join(found.items.next_page)}"
    if found.next_link:
        yield f"the next page by {found.next_link.query}"
    if found.feeds:
        yield "a feed"
    if sitemaps:
        yield "a sitemap"


# source -----------------------------------------------------------------------------------------------------
def _source(
    cls: str,
    url: str,
    key: str | Sequence[str],
    body: Sequence[str],
    more: Mapping[str, Sequence[str]] | None = None,
) -> str:
    host = _plain_host(url)
    lines = [f'"""Spider for {host}."""', "", "from collections.abc import Iterator", ""]
    lines += ["from scraper import Page, Spider", "", "", f"class {cls}(Spider):"]
    lines += [f'    """What there is at {host}."""', "", f"    start_urls = [{literal(url)}]"]
    if key:
        lines.append(
            f"    key = {literal(key)}  # the fields that tell one record from another, in every run"
        )
    else:
        lines.append("    # key = ...  # name the fields that tell one record from another, in every run")
    listed = {name: urls for name, urls in (more or {}).items() if urls}
    if listed:
        lines += ["    # The site has these too: FeedSpider and SitemapSpider read them."]
        lines += [f"    {name} = {literal(list(urls))}" for name, urls in listed.items()]
    lines += ["", "    def parse(self, page: Page) -> Iterator[object]:"]
    lines += ['        """Yield records (dicts) and the links to follow."""']
    return "\n".join([*lines, *(f"        {line}" for line in body)]) + "\n"


def _list_source(cls: str, url: str, kind: str) -> str:
    host, base = _plain_host(url), _LISTS[kind]
    lines = [f'"""Spider for {host}."""', ""]
    if kind == "feed":
        lines += ["from scraper import FeedSpider", "", "", f"class {cls}(FeedSpider):"]
        lines += [f'    """The entries of a feed of {host}."""', "", f"    start_urls = [{literal(url)}]"]
        lines += ['    key = "url"  # the fields that tell one record from another, in every run']
        return "\n".join(lines) + "\n"
    lines += ["from collections.abc import Iterator", "", f"from scraper import Page, {base}", "", ""]
    lines += [f"class {cls}({base}):", f'    """The pages of a sitemap of {host}."""', ""]
    lines += [f"    start_urls = [{literal(url)}]"]
    lines += ['    key = "url"  # the fields that tell one record from another, in every run', ""]
    lines += [
        "    def parse(self, page: Page) -> Iterator[object]:",
        '        """Yield the records of one page."""',
    ]
    lines += ['        yield {"url": page.url, "title": page.css("title::text").get("").strip()}']
    return "\n".join(lines) + "\n"


def _block_lines(block: Block) -> Iterator[str]:
    yield f"for block in page.css({literal(block.query)}):"
    yield "    yield {"
    for field in block.fields:
        yield f"        {literal(field.name)}: {_expression(field)},"
    yield "    }"


def _expression(field: Field) -> str:
    found = f"block.{'xpath' if field.is_xpath else 'css'}({literal(field.query)})"
    match field.form:
        case "text" if field.is_xpath:
            return f"{found}.get()"
        case "text":
            return f'{found}.xpath("normalize-space()").get()'
        case "texts":
            return f'{found}.xpath("normalize-space()").getall()'
        case "url":
            # What has no link has no address: that of the page would be a wrong one.
            return f"page.urljoin(href) if (href := {found}.get()) else None"
        case _:
            return f"{found}.get()"


def _jsonld_lines(found: JsonLd) -> Iterator[str]:
    yield "for item in page.jsonld:"
    yield f'    if item.get("@type") == {literal(found.type)}:'
    indent, name = "        ", "item"
    if found.is_list:
        yield '        for entry in item.get("itemListElement", []):'
        yield '            thing = entry["item"] if isinstance(entry.get("item"), dict) else entry'
        indent, name = "            ", "thing"
    yield f"{indent}yield {{"
    for one in found.names:
        yield f"{indent}    {literal(one)}: {name}.get({literal(one)}),"
    yield f"{indent}}}"


def _items_lines(found: JsonItems) -> Iterator[str]:
    yield f"for item in page.json(){''.join(f'[{literal(name)}]' for name in found.path)}:"
    yield "    yield {"
    for one in found.names:
        yield f"        {literal(one)}: item.get({literal(one)}),"
    yield "    }"
    if found.next_page:
        value = f"page.json().get({literal(found.next_page[0])})"
        for name in found.next_page[1:]:
            value = f"({value} or {{}}).get({literal(name)})"
        yield f"if following := {value}:"
        yield "    yield page.follow(following)"


def _next_lines(link: NextLink | None) -> list[str]:
    if link is None:
        return ["# No link to a next page was found; what is to be followed: yield from page.follow_all(...)"]
    if link.is_xpath:
        return [f"yield from page.follow_all(page.xpath({literal(link.query)}))"]
    return [f"yield from page.follow_all({literal(link.query)})"]


def _plain_host(address: str) -> str:
    """A host that may stand in a docstring: the URL Standard lets quotes and brackets into host names."""
    host = host_of(address)
    return host if re.fullmatch(r"[a-z0-9._:-]{1,253}", host) else "a site"


def literal(value: str | Sequence[str]) -> str:
    """Texts as a literal in double quotes, checked to be one and to mean them."""
    if isinstance(value, tuple):
        text = f"({', '.join(map(literal, value))}{',' if len(value) == 1 else ''})"
    else:
        # ASCII, with the escapes that Python shares.
        text = ascii(value) if isinstance(value, str) and '"' in value else json.dumps(value)
    if ast.literal_eval(text) != value:
        raise UsageError(f"{value!r:.200} cannot be written into a file", "write its characters as %XX")
    return text


# the key ----------------------------------------------------------------------------------------------------
def _key(page: Page, found: Outline) -> str | tuple[str, ...]:
    """The fields by which all records of the page differ; an empty text where none do."""
    of_page = _of_block(page, found.block), _of_jsonld(page, found.jsonld), _of_items(page, found.items)
    kinds = [records for records in of_page if records]
    if not kinds:
        return ""
    records = [record for kind in kinds for record in kind]
    shared = [
        name
        for name in records[0]
        if all(isinstance(one.get(name), str | int) and one[name] != "" for one in records)
    ]
    # An address says best what a thing is; then what stands first.
    shared.sort(key=lambda name: name not in ("url", "sku", "isbn", "id"))
    for size in range(1, _MOST_KEYS + 1):
        for names in combinations(shared, size):
            if len({tuple(one[name] for name in names) for one in records}) == len(records):
                return names[0] if size == 1 else names
    return ""


def _of_block(page: Page, block: Block | None) -> list[dict[str, Any]]:
    return [_values(page, one, block.fields) for one in page.css(block.query)] if block else []


def _values(page: Page, block: Any, fields: Sequence[Field]) -> dict[str, Any]:
    """The fields of a block as the source of `_expression` gives them."""
    found: dict[str, Any] = {}
    for field in fields:
        selected = block.xpath(field.query) if field.is_xpath else block.css(field.query)
        if field.form == "text" and not field.is_xpath:
            selected = selected.xpath("normalize-space()")
        if field.form == "url":
            found[field.name] = page.urljoin(href) if (href := selected.get()) else None
        elif field.form != "texts":
            found[field.name] = selected.get()
    return found


def _of_jsonld(page: Page, jsonld: JsonLd | None) -> list[dict[str, Any]]:
    if jsonld is None:
        return []
    items = [one for one in page.jsonld if one.get("@type") == jsonld.type]
    if jsonld.is_list:
        entries = [entry for item in items for entry in item.get("itemListElement", [])]
        items = [entry["item"] if isinstance(entry.get("item"), dict) else entry for entry in entries]
    return [{name: item.get(name) for name in jsonld.names} for item in items]


def _of_items(page: Page, found: JsonItems | None) -> list[dict[str, Any]]:
    if found is None:
        return []
    value = page.json()
    for name in found.path:
        value = value[name]
    return [{name: item.get(name) for name in found.names} for item in value]
