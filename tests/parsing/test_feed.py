import json

import pytest

from scraper.parsing.feed import advertised, parse
from scraper.parsing.feed_entries import Enclosure, Entry, Feed
from scraper.parsing.tree import parse_html

URL = "https://a.example/blog/feed"
SPACES = (
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:content="http://purl.org/rss/1.0/modules/content/" '
    'xmlns:media="http://search.yahoo.com/mrss/" xmlns:atom="http://www.w3.org/2005/Atom"'
)


def entries(text: str) -> tuple[Entry, ...]:
    found = parse(text.encode(), URL, "text/xml")
    assert found is not None
    return found.entries


def test_authors_of_a_feed_that_nobody_wrote_are_not_put_into_each_entry() -> None:
    for names in (["A" * 20_000], [f"author {number}" for number in range(2000)]):
        people = "".join(f"<author><name>{name}</name></author>" for name in names)
        text = f"<feed xmlns='http://www.w3.org/2005/Atom'>{people}{'<entry><id>1</id></entry>' * 50}</feed>"
        assert {entry.authors for entry in entries(text)} == {()}


def test_rss_2_with_the_vocabularies_that_come_with_it() -> None:
    item = (
        "<item><media:title>not this</media:title><title>Fish &amp;amp; chips</title>"
        "<atom:link rel='self' href='/self'/><link>/one</link><guid isPermaLink='false'>n-1</guid>"
        "<pubDate>Sat, 07 Sep 2002 02:00:01 +0200</pubDate><dc:creator>Ann</dc:creator>"
        "<category>food</category><category>food</category><description>Short</description>"
        "<content:encoded><![CDATA[<p>Long</p>]]></content:encoded>"
        "<enclosure url='/1.mp3' type='audio/mpeg' length='12'/><media:content url='/1.mp3'/>"
        "<media:group><media:content url='/1.jpg' type='image/jpeg' fileSize='3'/></media:group></item>"
    )
    assert entries(f"<rss version='2.0' {SPACES}><channel><title>T</title>{item}</channel></rss>") == (
        Entry(
            id="n-1",
            url="https://a.example/one",
            title="Fish & chips",
            summary="Short",
            content="<p>Long</p>",
            authors=("Ann",),
            published="2002-09-07T00:00:01Z",
            categories=("food",),
            enclosures=(
                Enclosure("https://a.example/1.mp3", "audio/mpeg", 12),
                Enclosure("https://a.example/1.jpg", "image/jpeg", 3),
            ),
        ),
    )


def test_rss_1_and_0_9() -> None:
    one = (
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/"><channel/><item rdf:about="x"><title>One</title>'
        "<link>https://a.example/1</link><dc:date>2002-09-07</dc:date></item></rdf:RDF>"
    )
    assert entries(one) == (
        Entry("https://a.example/1", "https://a.example/1", "One", published="2002-09-07T00:00:00Z"),
    )
    old = '<rss version="0.91"><channel><item><title>No link</title></item></channel></rss>'
    assert entries(old) == (Entry("No link", title="No link"),)


def test_a_prefix_that_is_declared_nowhere_is_read_as_it_is_meant() -> None:
    item = (
        "<item><media:title>not this</media:title><title>One</title><atom:link href='/1'/>"
        "<dc:creator>Ann</dc:creator><content:encoded>Long</content:encoded></item>"
    )
    assert entries(f"<rss version='2.0'><channel>{item}</channel></rss>") == (
        Entry("https://a.example/1", "https://a.example/1", "One", content="Long", authors=("Ann",)),
    )


def test_entries_without_an_author_are_by_those_of_their_source_or_of_the_feed() -> None:
    one = "<entry><id>1</id><author><name>Ann</name></author></entry>"
    two = "<entry><id>2</id><source><title>o</title><author><name>Bob</name></author></source></entry>"
    text = f"<feed xmlns='http://www.w3.org/2005/Atom'>{one}{two}<entry><id>3</id></entry><author><name>Eve</name></author></feed>"
    assert [entry.authors for entry in entries(text)] == [("Ann",), ("Bob",), ("Eve",)]
    feed = {"version": "https://jsonfeed.org/version/1.1", "authors": [{"name": "Ann"}]}
    assert entries(json.dumps(feed | {"items": [{"id": 1, "title": "a &amp; b"}]})) == (
        Entry("1", title="a & b", authors=("Ann",)),
    )


def test_the_page_of_an_entry_is_its_html_and_xhtml_loses_its_prefix() -> None:
    entry = (
        '<entry><id>1</id><link href="/1.json" type="application/json"/><link href="/1" type="text/html"/>'
        '<content type="xhtml"><x:div xmlns:x="http://www.w3.org/1999/xhtml"><x:p>a</x:p></x:div></content></entry>'
    )
    assert entries(f'<feed xmlns="http://www.w3.org/2005/Atom">{entry}</feed>') == (
        Entry("1", "https://a.example/1", content="<p>a</p>"),
    )


def test_atom_with_its_three_kinds_of_text_and_bases() -> None:
    text = (
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:base="https://b.example/x/">'
        '<link rel="next" href="?p=2"/>'
        '<entry xml:base="y/"><id>tag:1</id><title type="html">A &lt;b&gt;bold&lt;/b&gt; one</title>'
        '<link rel="edit" href="/e"/><link href="one"/><link rel="enclosure" href="/f.pdf" length="0"/>'
        "<author><name>Ann</name><email>a@a.example</email></author><author><name>Bob</name></author>"
        '<category term="t" label="Tea"/><published>2003-12-13T08:29:29-04:00</published>'
        "<updated>2003-12-14T00:00:00Z</updated>"
        '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Hi</p></div></content>'
        "<summary>Plain &amp;amp; simple</summary></entry><entry><title>AT&amp;amp;T</title><id>2</id>"
        '<content src="https://b.example/c"/></entry></feed>'
    )
    found = parse(text.encode(), URL)
    assert found is not None and found.next_url == "https://b.example/x/?p=2"
    first, second = found.entries
    assert (first.url, first.title) == ("https://b.example/x/y/one", "A bold one")
    assert (first.authors, first.categories) == (("Ann", "Bob"), ("Tea",))
    assert (first.published, first.updated) == ("2003-12-13T12:29:29Z", "2003-12-14T00:00:00Z")
    assert first.content == "<p>Hi</p>"
    assert first.summary == "Plain &amp; simple"
    assert first.enclosures == (Enclosure("https://b.example/f.pdf"),)
    assert (second.title, second.content, second.url) == ("AT&amp;T", None, None)


def test_json_feed() -> None:
    text = """{"version": "https://jsonfeed.org/version/1.1", "next_url": "/2", "items": [
        {"id": 7, "url": "/one", "title": "One", "content_html": "<p>",
         "date_published": "2010-02-07T14:04:00-05:00",
         "authors": [{"name": "Ann"}], "author": {"name": "Bob"}, "tags": ["x", null],
         "attachments": [{"url": "/a.mp3", "mime_type": "audio/mpeg", "size_in_bytes": 9}, "no"]},
        5, {"title": "no id"}]}"""
    assert parse(text.encode(), URL) == Feed(
        (
            Entry(
                "7",
                "https://a.example/one",
                "One",
                content="<p>",
                authors=("Ann", "Bob"),
                published="2010-02-07T19:04:00Z",
                categories=("x",),
                enclosures=(Enclosure("https://a.example/a.mp3", "audio/mpeg", 9),),
            ),
        ),
        "https://a.example/2",
    )


@pytest.mark.parametrize(
    "body",
    ["", "text", "<html><p>x", '{"items": []}', '{"version": 1}', "[1]", "{", "<urlset><url/></urlset>"],
)
def test_what_is_no_feed_is_none(body: str) -> None:
    assert parse(body.encode(), URL) is None


def test_a_broken_feed_is_read_as_far_as_it_goes_and_nothing_else_is_loaded() -> None:
    text = (
        '<!DOCTYPE rss [<!ENTITY e SYSTEM "file:///etc/hostname">]><rss><channel>'
        "<item><title>A & B &e;</title>"
        "<link>https://a.example/1</link><pubDate>yesterday</pubDate></item><item><title>cut"
    )
    first, *_ = entries(text)
    assert (first.url, first.published) == ("https://a.example/1", None)
    assert first.title is not None and first.title.startswith("A & B")


def test_an_empty_feed_is_a_feed() -> None:
    assert parse(b"<rss><channel/></rss>", URL) == Feed()


def test_a_page_names_its_feeds_in_any_case_and_with_parameters() -> None:
    markup = (
        '<LINK REL="Alternate" TYPE="application/RSS+XML; charset=utf-8" HREF="/a"><link rel="feed" href="b">'
        '<link rel="alternate" type="application/atom+xml"><link rel="alternate" type="text/html" href="/c">'
    )
    assert advertised(parse_html(markup)[0], URL) == ["https://a.example/a", "https://a.example/blog/b"]
