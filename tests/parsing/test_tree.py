"""The tree that the HTML Standard builds (13.2), however a page is written."""

import pytest

from scraper.parsing.page import Page
from tests.parsing.test_page import page

XHTML = (
    '<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "xhtml1-strict.dtd">'
    '<html xmlns="http://www.w3.org/1999/xhtml"><head><title>t</title></head>'
    '<body><p>a&nbsp;b<a href="/q" /> c</p></body></html>'
)


def shape(markup: str) -> str:
    """The body of a page as one line."""
    return str(page(markup).soup.body.decode_contents())


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ("<html><body><p>a</p></body></html><p>b</p>", "<p>a</p><p>b</p>"),
        ("<p><b>1<p>2</b>3", "<p><b>1</b></p><p><b>2</b>3</p>"),
        ("<a href=1>x<a href=2>y</a>", '<a href="1">x</a><a href="2">y</a>'),
        ("<div><b>x</div><div>y</b></div>", "<div><b>x</b></div><div><b>y</b></div>"),
        ("<p>a<section>b</section>", "<p>a</p><section>b</section>"),
        ("<p>a<figure>b</figure>", "<p>a</p><figure>b</figure>"),
        (
            "<picture><source srcset=a><img src=b></picture>",
            '<picture><source srcset="a"/><img src="b"/></picture>',
        ),
        ("<h3>div_<wbr>euclid</h3>", "<h3>div_<wbr/>euclid</h3>"),
        ("<p>a<wbr>b<wbr>c<i>d</i>e</p>", "<p>a<wbr/>b<wbr/>c<i>d</i>e</p>"),
        ("<table><tr><td>a</table>", "<table><tbody><tr><td>a</td></tr></tbody></table>"),
        (
            "<table><tr><td>a</td><p>x</p></tr></table>",
            "<p>x</p><table><tbody><tr><td>a</td></tr></tbody></table>",
        ),
        ("<table>x<tr><td>a</table>", "x<table><tbody><tr><td>a</td></tr></tbody></table>"),
        (
            "<table><col><tr><td>a</table>",
            "<table><colgroup><col/></colgroup><tbody><tr><td>a</td></tr></tbody></table>",
        ),
        ('<div class="a"/>x', '<div class="a">x</div>'),
        (
            "<form><form><input name=a></form><input name=b></form>",
            '<form><input name="a"/></form><input name="b"/>',
        ),
        ("<h1>a<h2>b</h2>", "<h1>a</h1><h2>b</h2>"),
        ("<dl><dt>a<dd>b<dt>c</dl>", "<dl><dt>a</dt><dd>b</dd><dt>c</dt></dl>"),
        ("<ul><li>a<li>b<p>c</ul>", "<ul><li>a</li><li>b<p>c</p></li></ul>"),
        ("<pre>\nx</pre>", "<pre>x</pre>"),
        ("<!--c--><p>a<!-- b --></p>", "<p>a<!-- b --></p>"),
        ("<b>q<p>r<template><i>s</i></template>", "<b>q<p>r<template><i>s</i></template></p></b>"),
        ("<b @click=go :href=u>q<p><o:p>r</o:p>", '<b :href="u" @click="go">q<p><o:p>r</o:p></p></b>'),
    ],
)
def test_a_page_has_the_tree_of_the_html_standard(markup: str, expected: str) -> None:
    assert shape(markup) == expected


def test_css_xpath_links_forms_and_soup_see_what_stands_behind_the_end_of_the_page() -> None:
    got = page('<html><body><p>a</body></html><p>b<a href="/z">z</a><form id=f><input name=x></form>')
    assert got.css("p::text").getall() == got.xpath("//p/text()").getall() == ["a", "b"]
    assert [request.url for request in got.follow_all("a")] == got.links() == ["https://example.org/z"]
    assert got.form("#f").names == ("x",)
    assert len(got.soup.find_all("p")) == 2


def test_rows_that_each_leave_an_element_open_are_all_there() -> None:
    rows = "".join(f"<div class=row><span>{number}</span>" for number in range(2100))
    got = page(rows)
    assert got.css(".row span::text").getall() == [str(number) for number in range(2100)]
    assert len(got.soup.select(".row")) == 2100
    assert got.notes == ()


def test_a_page_too_broken_for_the_standard_parser_says_so() -> None:
    markup = "".join(f"<font size={number}><p>x" for number in range(3000))
    got = page(markup)
    assert got.css("font")
    assert "too broken to be read by the HTML Standard" in got.notes[0]
    assert "2,048" in got.notes[0]


@pytest.mark.parametrize("kind", ["text/xml", "application/xml", "application/xhtml+xml"])
def test_xhtml_typed_as_xml_is_a_page_like_any_other(kind: str) -> None:
    got = page(XHTML, kind=kind)
    assert got.css("p::text").getall() == ["a\xa0b", " c"]
    assert got.xpath("//p/a/@href").getall() == ["/q"]
    assert got.links() == ["https://example.org/q"]
    assert got.soup.title.string == "t"


def test_xhtml_that_is_not_well_formed_is_read_as_html() -> None:
    broken: Page = page(XHTML.replace("</p>", ""), kind="application/xhtml+xml")
    assert broken.css("title::text").get() == "t"
    assert broken.css("p")


def test_what_follows_an_error_in_xml_keeps_its_references() -> None:
    got = page(
        "<r><x a=1/><t>a &lt;b&gt; &amp;amp; &quot; &#65;&nbsp; 1 < 2 <![CDATA[&lt;]]></t></r>",
        kind="text/xml",
    )
    assert got.xpath("string(//t)").get() == 'a <b> &amp; " A&nbsp; 1 < 2 &lt;'


def test_a_text_of_more_than_ten_megabytes_ends_an_xml_document_and_the_page_says_so() -> None:
    feed = f"<r><a>1</a><b>{'x' * 10_100_000}</b><a>2</a></r>"
    got = page(feed, kind="application/xml")
    assert got.css("a::text").getall() == ["1"]
    assert got.notes == ("the XML is cut at line 1: text node too long",)
