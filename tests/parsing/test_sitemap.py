import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scraper.model import Headers, Request, Response
from scraper.ops.clock import cpu_seconds
from scraper.parsing.page import Page
from scraper.parsing.sitemap import MOST_URLS, Listed, Sitemap, parse

URL = "https://a.example/sitemap.xml"
NS = b'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'


def page(inside: bytes) -> bytes:
    return b"<urlset " + NS + b"><url>" + inside + b"</url></urlset>"


def seconds(year: int, month: int = 1, day: int = 1, hour: int = 0) -> float:
    return datetime(year, month, day, hour, tzinfo=UTC).timestamp()


def test_pages_come_in_order_with_what_is_said_of_them() -> None:
    body = (
        b'<?xml version="1.0"?><urlset ' + NS + b"><url><loc> https://a.example/1?a=1&amp;b=2 </loc>"
        b"<lastmod>2026-01-02</lastmod><changefreq>daily</changefreq><priority>0.8</priority></url>"
        b"<url><loc><![CDATA[https://a.example/2?a=1&b=2]]></loc><priority>high</priority></url></urlset>"
    )
    assert parse(body, URL, "text/xml") == Sitemap(
        (
            Listed("https://a.example/1?a=1&b=2", seconds(2026, 1, 2), "daily", 0.8),
            Listed("https://a.example/2?a=1&b=2"),
        )
    )


def test_an_index_lists_sitemaps_and_no_pages() -> None:
    body = b"<sitemapindex><sitemap><loc>https://a.example/1.xml.gz</loc></sitemap></sitemapindex>"
    found = parse(body, URL)
    assert (found.urls, found.sitemaps) == ((), ("https://a.example/1.xml.gz",))


@pytest.mark.parametrize(
    ("inside", "urls"),
    [
        (b"<loc>https://a.example/1</loc>", ["https://a.example/1"]),
        (b"<loc>/1</loc>", ["https://a.example/1"]),
        (
            b"<loc>https://a.example/1</loc><loc>https://a.example/2</loc>",
            ["https://a.example/1", "https://a.example/2"],
        ),
        (b"<loc><url>https://a.example/1</url></loc>", ["https://a.example/1"]),
        (b"<loc>https://a.example/<!-- no -->1</loc>", ["https://a.example/1"]),
        (b"<loc>https://a.example/?a=1&b=2&copy;=3</loc>", ["https://a.example/?a=1&b=2&copy;=3"]),
        (b"<loc>\xc2\xa0https://a.example/1\xe2\x80\x8b\n</loc>", ["https://a.example/1"]),
        (b"<loc>https://a.example/\xff</loc>", ["https://a.example/%EF%BF%BD"]),
        (b"<LOC>https://a.example/1</LOC>", ["https://a.example/1"]),
        (b'<loc xmlns="urn:other">https://a.example/1</loc>', ["https://a.example/1"]),
        (b"<loc></loc><loc>mailto:x@a.example</loc><loc>http://[</loc>", []),
        (b"<image><loc>https://a.example/1.png</loc></image>", []),
        (b"<loc>https://a.example/1", ["https://a.example/1"]),
        (b"</b><!-- a--b --><loc>https://a.example/?a=1&amp;b=&lt;</loc>", ["https://a.example/?a=1&b=%3C"]),
        (b"<x>1 < 2 <![CDATA[ < & ]]></x></url><url><loc>https://a.example/1</loc>", ["https://a.example/1"]),
    ],
)
def test_broken_markup_is_read_as_far_as_it_goes(inside: bytes, urls: list[str]) -> None:
    assert list(parse(page(inside), URL, "text/xml").urls) == urls


def test_urls_without_their_element_are_found() -> None:
    body = b"<urlset><loc>https://a.example/1</loc></url><url><loc>https://a.example/2</loc></url></urlset>"
    assert parse(body, URL).urls[0] == "https://a.example/1"


@pytest.mark.parametrize(
    ("item", "url", "lastmod"),
    [
        (b"<link>https://a.example/1</link>", "https://a.example/1", None),
        (
            b"<link>/1</link><pubDate>Fri, 02 Jan 2026 03:00:00 GMT</pubDate>",
            "https://a.example/1",
            seconds(2026, 1, 2, 3),
        ),
        (b'<link rel="self" href="/x"/><guid>https://a.example/1</guid>', "https://a.example/1", None),
        (b'<guid isPermaLink="false">https://a.example/1</guid>', None, None),
        (b"<guid>urn:1</guid>", None, None),
    ],
)
def test_rss_gives_the_links_of_its_items(item: bytes, url: str | None, lastmod: float | None) -> None:
    body = b"<rss><channel><link>https://a.example/</link><item>" + item + b"</item></channel></rss>"
    expected = () if url is None else (Listed(url, lastmod),)
    assert parse(body, URL, "application/rss+xml").pages == expected


def test_atom_gives_the_first_link_that_is_the_entry_itself() -> None:
    body = (
        b'<feed xmlns="http://www.w3.org/2005/Atom"><link href="https://a.example/"/><entry>'
        b'<link rel="edit" href="/edit"/><link href="/1"/><link rel="alternate" href="/2"/>'
        b"<updated>2026-01-02T03:00:00Z</updated></entry></feed>"
    )
    assert parse(body, URL).pages == (Listed("https://a.example/1", seconds(2026, 1, 2, 3)),)


def test_a_text_lists_one_url_a_line() -> None:
    body = b"\xef\xbb\xbfhttps://a.example/1\r\n\r\n  https://a.example/2  \n/3\nhello\nhttp://["
    assert parse(body, URL, "text/plain").urls == ("https://a.example/1", "https://a.example/2")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"<html><body><a href='/'>x</a></body></html>",
        b"<",
        b"\x1f\x8b",
        b"\x1f\x8bjunk",
        b"<?xml",
    ],
)
def test_what_is_no_sitemap_lists_nothing(body: bytes) -> None:
    assert parse(body, URL) == Sitemap()


def test_gzip_is_known_by_its_first_bytes() -> None:
    packed = gzip.compress(page(b"<loc>https://a.example/1</loc>"))
    assert parse(packed, URL, "text/html").urls == ("https://a.example/1",)
    assert parse(
        gzip.compress(b"https://a.example/1\n") + gzip.compress(b"https://a.example/2"), URL
    ).urls == (
        "https://a.example/1",
        "https://a.example/2",
    )


def test_what_is_packed_twice_is_unpacked_twice() -> None:
    packed = gzip.compress(gzip.compress(page(b"<loc>https://a.example/1</loc>")))
    assert parse(packed, URL).urls == ("https://a.example/1",)


@pytest.mark.parametrize("end", [b"", b"</url>", b"</url></url></url>"])
def test_urls_whose_end_tags_are_missing_are_all_found_in_their_order(end: bytes) -> None:
    urls = [f"https://a.example/{n}" for n in range(3)]
    inside = "<url>".join(
        f"<loc>{url}</loc><lastmod>2020-01-0{n + 1}</lastmod>" for n, url in enumerate(urls)
    )
    pages = parse(page(inside.encode() + end), URL).pages
    assert [(one.url, one.lastmod) for one in pages] == [
        (url, seconds(2020, 1, n + 1)) for n, url in enumerate(urls)
    ]


@pytest.mark.parametrize("rest", [b"", b"23", b"23<", b"23</lo", b"23</loc"])
def test_of_a_url_that_breaks_off_no_half_is_listed(rest: bytes) -> None:
    sitemap = parse(
        page(b"<loc>https://a.example/1</loc>").partition(b"</urlset>")[0]
        + b"<url><loc>https://a.example/"
        + rest,
        URL,
    )
    assert (sitemap.urls, sitemap.is_torn) == (("https://a.example/1",), True)


def test_gzip_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    packed = gzip.compress(b"https://a.example/1\n" * 100)
    assert "https://a.example/1" in parse(packed[:-12], URL).urls


def test_the_charset_of_the_header_is_obeyed() -> None:
    body = page("<loc>https://a.example/ж</loc>".encode("koi8-r"))
    assert parse(body, URL, "text/xml; charset=koi8-r").urls == ("https://a.example/%D0%B6",)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (b"2026", seconds(2026)),
        (b"2026-02", seconds(2026, 2)),
        (b"2026-02-03T04:00Z", seconds(2026, 2, 3, 4)),
        (b"2026-02-03T06:00:00.5+02:00", seconds(2026, 2, 3, 4) + 0.5),
        (b"Tue, 03 Feb 2026 04:00:00 GMT", seconds(2026, 2, 3, 4)),
        (b"2026-2-3T04:00:00z", seconds(2026, 2, 3, 4)),
        (b"2026/02/03 04:00:00 UTC", seconds(2026, 2, 3, 4)),
        (b"Tue Feb 03 2026 06:00:00 GMT+0200 (Eastern European Time)", seconds(2026, 2, 3, 4)),
        (b"soon", None),
        (b"0000-00-00", None),
        (b"", None),
    ],
)
def test_dates_are_read_in_the_forms_in_use(text: bytes, moment: float | None) -> None:
    body = page(b"<loc>https://a.example/</loc><lastmod>" + text + b"</lastmod>")
    assert parse(body, URL).pages[0].lastmod == moment


def test_a_sitemap_beyond_what_the_protocol_allows_is_read_whole_up_to_ten_times_that() -> None:
    lines = b"".join(b"https://a.example/%d\n" % number for number in range(60_000))
    assert (len(parse(lines, URL).urls), parse(lines, URL).is_cut) == (60_000, False)


def test_a_feed_with_a_text_of_more_than_ten_megabytes_is_read_whole() -> None:
    item = "<item><link>https://a.example/{}</link><description>{}</description></item>"
    feed = f"<rss><channel>{item.format(1, 'x' * 10_100_000)}{item.format(2, '')}</channel></rss>"
    assert parse(feed.encode(), URL).urls == ("https://a.example/1", "https://a.example/2")


def test_urls_of_a_feed_are_relative_to_xml_base() -> None:
    feed = (
        '<feed xmlns="http://www.w3.org/2005/Atom" xml:base="/blog/"><entry><link href="a"/></entry>'
        '<entry xml:base="2024/"><link href="b"/></entry>'
        '<entry><link xml:base="https://b.example/" href="c"/></entry></feed>'
    )
    assert parse(feed.encode(), URL).urls == (
        "https://a.example/blog/a",
        "https://a.example/blog/2024/b",
        "https://b.example/c",
    )


def test_no_more_urls_are_taken_than_memory_has_room_for() -> None:
    found = parse(b"https://a.example/\n" * (MOST_URLS + 5), URL)
    assert (len(found.urls), found.is_cut) == (MOST_URLS, True)
    assert not parse(b"https://a.example/\n" * 5, URL).is_cut


def test_neither_entities_nor_files_are_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("https://a.example/secret")
    body = (
        f'<!DOCTYPE urlset [<!ENTITY x SYSTEM "{secret.as_uri()}"><!ENTITY y "https://a.example/y">]>'
        f'<urlset xmlns:xi="http://www.w3.org/2001/XInclude"><url><loc>&x;</loc><loc>&y;</loc>'
        f'<loc><xi:include href="{secret.as_uri()}" parse="text"/></loc></url></urlset>'
    )
    assert not [url for url in parse(body.encode(), URL).urls if "secret" in url or url.endswith("/y")]


BILLION = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 30))


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(b"\0" * 80_000_000, 1),
        gzip.compress(b"") * 300_000,
        b'<!DOCTYPE x [<!ENTITY a0 "a">' + BILLION + b"]><urlset><url><loc>&a29;</loc></url></urlset>",
        b"<a>" * 200_000,
        b"<urlset>" + b"<a/>" * 200_000,
        b"<urlset>&" + b"<![CDATA[" * 100_000,
        page(b"<loc>" + b"&" * 300_000),
        page(b"<loc>" + b"a" * 300_000),
        b"<urlset>" + b"<url>" * 100_000,
        b"http\n" * 300_000,
    ],
    ids=[
        "gzip bomb",
        "gzip members",
        "entities",
        "depth",
        "elements",
        "cdata",
        "ampersands",
        "long",
        "nested",
        "lines",
    ],
)
def test_hostile_bodies_take_little_time(body: bytes) -> None:
    began = cpu_seconds()
    assert len(parse(body, URL).urls) <= 1
    assert cpu_seconds() - began < 2


def test_a_base_at_each_of_many_levels_costs_no_more_than_one_at_a_few() -> None:
    levels = b"".join(b'<a xml:base="%d/">' % n for n in range(1000))
    began = cpu_seconds()
    found = parse(b"<urlset>" + levels + b"<url><loc>x</loc></url>" * 1000, URL)
    assert len(found.urls) == 1000 and cpu_seconds() - began < 2


def test_a_unit_of_many_locations_says_the_same_of_each_without_saying_it_anew() -> None:
    link = b'<link rel="alternate" hreflang="de" href="/de"/>'
    body = b"<urlset><url>" + b"<loc>http://a.test/x</loc>" * 4000 + link * 4000 + b"</url></urlset>"
    began = cpu_seconds()
    found = parse(body, URL).pages
    assert len(found) == 4000 and cpu_seconds() - began < 2  # it took a minute, and gigabytes
    assert found[0].alternates is found[-1].alternates and len(found[0].alternates) == 1000


def test_a_long_base_does_not_make_long_urls_of_all_the_others() -> None:
    base = b"http://a.test/" + b"b/" * 3000
    body = b'<urlset xml:base="%b">' % base + b"<url><loc>x</loc></url><url><loc>/x</loc></url></urlset>"
    assert parse(body, URL).urls == ("http://a.test/x",)


@pytest.mark.parametrize("kind", ["application/json", "application/feed+json", "text/plain", "text/html"])
@pytest.mark.parametrize(
    "version", ["https://jsonfeed.org/version/1.1", "https:\\/\\/jsonfeed.org\\/version\\/1"]
)
def test_a_json_feed_lists_its_entries_and_nothing_of_itself(kind: str, version: str) -> None:
    body = (
        f'{{"version": "{version}", "home_page_url": "https://a.test/", "items":'
        '[{"id": "1", "url": "/one"}, {"id": "2", "external_url": "https://b.test/two"}, {"id": "3"}, 4]}'
    ).encode()
    response = Response("https://a.test/f", 200, Headers([("Content-Type", kind)]), body)
    assert Page(Request("https://a.test/f"), response).links() == ["https://a.test/one", "https://b.test/two"]
