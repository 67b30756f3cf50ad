"""Queries find what parsel finds, and elements are what lxml.html makes them."""

from typing import Any

import pytest
from lxml import html
from parsel import Selector

from scraper.parsing.queries import WatchedSelector
from scraper.parsing.tree import parse_html

_PAGE = """<!DOCTYPE html><title>t</title><form id=f><label>l</label><input name=i><select></select><textarea>
</textarea></form><p class="a b">one <b>two</b> three</p><p class=ab id=q>four</p><p class=b>0<p></p>"""


@pytest.mark.parametrize(
    ("query", "variables"),
    [
        ("//p", {}),
        ("//p/text()", {}),
        ("//p[@class=$name]", {"name": "b"}),
        ("count(//p)", {}),
        ("boolean(//p)", {}),
        ("string(//p)", {}),
        ("//p[re:test(text(), '^f')]/@class", {}),
        ("//p[has-class('b')]", {}),
        ("set:difference(//p, //p[@id])", {}),
        ("//x:p", {"namespaces": {"x": "urn:x"}}),
        ("//nothing", {}),
    ],
)
def test_a_query_finds_what_parsel_finds(query: str, variables: dict[str, Any]) -> None:
    root = parse_html(_PAGE)[0]
    ours, theirs = WatchedSelector(root=root, type="html"), Selector(root=root, type="html")
    found, wanted = ours.xpath(query, **variables), theirs.xpath(query, **variables)
    assert found.getall() == wanted.getall()
    assert ours.css("p").xpath("b").css("::text").getall() == ["two"]
    assert repr(found).replace("WatchedSelector", "Selector") == repr(wanted)


@pytest.mark.parametrize(
    "query", [".a", "p.b", ".é", ".a.b", ":not(.a)", "[class~=a]", "[class~=' a']", ".\\'x", ".a, .b"]
)
def test_a_class_is_found_wherever_parsel_finds_it(query: str) -> None:
    values = ["", "a", " a", "b a", "a\tb", "a\xa0b", "a-b", "ab b", "A", "é", "'x", "a a", "b\nc"]
    root = html.Element("div")
    root.extend([html.Element("p", {"class": value}) for value in values] + [html.Element("p")])
    ours, theirs = (kind(root=root, type="html").css(query) for kind in (WatchedSelector, Selector))
    assert [one.root for one in ours] == [one.root for one in theirs]


def test_a_namespace_of_one_selector_is_none_of_another() -> None:
    first, second = (WatchedSelector(root=parse_html(_PAGE)[0], type="html").css("p")[0] for _ in range(2))
    first.register_namespace("x", "urn:x")
    assert first.xpath("x:b").getall() == []
    with pytest.raises(ValueError, match="XPath error"):
        second.xpath("x:b")


def test_elements_are_of_the_classes_of_lxml_html() -> None:
    classes = {element.tag: type(element) for element in parse_html(_PAGE)[0].iter()}
    assert classes == {element.tag: type(element) for element in html.document_fromstring(_PAGE).iter()}
