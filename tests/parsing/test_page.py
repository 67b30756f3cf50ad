import gzip
import re
import threading
from collections.abc import Iterable
from typing import Any

import pytest

from scraper.errors import PageTooLarge, SpiderError
from scraper.model import Headers, Request, Response
from scraper.parsing.page import Page

HTML = "text/html; charset=utf-8"


def page(body: str | bytes, url: str = "https://example.org/dir/page", kind: str = HTML, **rest: Any) -> Page:
    fields: Iterable[tuple[str, str]] = [("Content-Type", kind), *rest.pop("headers", ())]
    content = body.encode() if isinstance(body, str) else body
    return Page(
        Request("https://example.org/asked"), Response(url, 200, Headers(fields), content, 5.0), **rest
    )


def urls(requests: Iterable[Request]) -> list[str]:
    return [request.url for request in requests]


def test_a_page_tells_what_was_asked_and_what_came() -> None:
    request = Request("https://example.org/old", meta={"a": 1})
    response = Response("https://example.org/new", 203, Headers([("X-A", "b")]), b"hello", 7.0, 0.25)
    got = Page(request, response, depth=3)
    assert (got.url, got.request.url, got.status, got.headers["x-a"]) == (response.url, request.url, 203, "b")
    assert (got.content, got.text, got.meta, got.depth) == (b"hello", "hello", {"a": 1}, 3)
    assert (got.fetched_at, got.elapsed) == (7.0, 0.25)


def test_text_is_decoded_as_the_page_says() -> None:
    assert page("né".encode("latin-1"), kind="text/html; charset=iso-8859-1").text == "né"
    assert page(b"<meta charset=windows-1251><p>\xef", kind="text/html").css("p::text").get() == "п"
    assert page("né").encoding == "utf-8"


def test_css_xpath_and_links_share_one_tree() -> None:
    got = page("<p class=a>x</p><a href=/b>y</a>")
    assert got.css("p.a::text").get() == "x"
    assert got.xpath("//a/@href").get() == "/b"
    assert got.xpath("//p[@class=$name]/text()", name="a").get() == "x"
    assert got.css("p")[0].root.getroottree().getroot() is got.tree


def test_soup_sees_the_same_page() -> None:
    assert page("<p class=a>né</p>").soup.find("p", class_="a").get_text() == "né"


def test_json_is_utf_8_unless_it_says_otherwise() -> None:
    assert page('{"a": "é"}', kind="application/json").json() == {"a": "é"}
    assert page('{"a": "é"}'.encode("latin-1"), kind="application/json; charset=latin1").json() == {"a": "é"}
    assert page(b'\xef\xbb\xbf{"a": 1}', kind="application/json").json() == {"a": 1}
    with pytest.raises(ValueError, match="Expecting"):
        page("<p>", kind="application/json").json()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", HTML),
        (b"  \n", HTML),
        (b"<!-- only -->", HTML),
        (b"\x00\x00", HTML),
        (b"\xff\xfe\x00<", HTML),
        (b"", "application/xml"),
        (b"no markup", "application/xml"),
        (b"<a><b>", "application/xml"),
        (b'{"a": 1}', "application/json"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "image/png"),
        (b"<p>\xf0\x90</p>", "text/html; charset=utf-8"),
        (b"x", ""),
    ],
)
def test_no_body_makes_a_page_raise(body: bytes, kind: str) -> None:
    got = page(body, kind=kind)
    assert got.css("li").getall() == []
    assert got.xpath("//li/@href").getall() == []
    assert got.links() == []
    assert list(got.follow_all("li a")) == []
    assert got.facts() == {}
    assert got.nofollow_urls == frozenset()
    assert got.soup.find("li") is None


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        ({"allow": r"/a/\d"}, ["a/1", "a/2"]),
        ({"allow": (r"/a/1", "b$")}, ["a/1", "b"]),
        ({"allow": re.compile("/A/", re.IGNORECASE), "deny": "2"}, ["a/1"]),
        ({"deny": [r"/a/", "c"]}, ["b"]),
        ({"css": "nav"}, ["b"]),
        ({"css": "nav a, p"}, ["a/1", "b"]),
        ({"css": "a.x::attr(href)", "deny": "b"}, ["a/2"]),
        ({"css": "table"}, []),
    ],
)
def test_links_may_be_chosen_by_pattern_and_place(wanted: dict[str, Any], paths: list[str]) -> None:
    got = page(
        "<p><a href=/a/1>1</a></p><a class=x href=/a/2>2</a>"
        "<nav><a class=x href=/b>b</a></nav><a href=/c>c</a>"
    )
    assert [one.removeprefix("https://example.org/") for one in got.links(**wanted)] == paths


def test_links_in_json_are_no_links() -> None:
    assert page('{"html": "<a href=/x>"}', kind="application/json").links() == []


def test_html_under_a_wrong_name_is_still_html() -> None:
    assert page("\n<a href=/x>", kind="application/octet-stream").links() == ["https://example.org/x"]


def test_null_characters_do_not_cut_a_page() -> None:
    assert page("<p>a\x00b</p><a href=/x>").links() == ["https://example.org/x"]


def test_a_deeply_nested_page_keeps_its_links() -> None:
    assert page("<font>" * 1000 + "<a href=/x>y</a>").links() == ["https://example.org/x"]


def test_xml_is_read_as_xml() -> None:
    feed = (
        "<?xml version='1.0' encoding='UTF-8'?><rss><item><pubDate>né</pubDate><link>/a</link></item></rss>"
    )
    got = page(feed, kind="application/rss+xml")
    assert got.css("item pubDate::text").get() == "né"
    assert got.links() == ["https://example.org/a"]


def test_the_links_of_a_sitemap_are_what_it_lists_gzipped_or_not() -> None:
    text = (
        '<?xml version="1.0"?><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
        "<url><loc> https://shop.test/a?x=1&amp;y=2 </loc></url><url><loc>https://shop.test/b</loc></url></urlset>"
    )
    urls = ["https://shop.test/a?x=1&y=2", "https://shop.test/b"]
    assert page(text, kind="application/xml").links() == urls
    assert page(gzip.compress(text.encode()), kind="application/gzip").links() == urls


def test_xml_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;"><!ENTITY f SYSTEM "file:///etc/hostname">]>'
    got = page(bomb + "<r><p>&b;</p><p>&f;</p></r>", kind="text/xml")
    assert "aaaa" not in "".join(got.css("p::text").getall())


def test_links_are_absolute_unique_and_in_order() -> None:
    got = page(
        "<a href=b>1</a><a href=' /c#x '>2</a><a href='?q=1'>3</a><a href=../d>4</a>"
        "<a href=//example.com/e>5</a><a href=/c#y>6</a><map><area href=/f></map><a>no</a>"
        "<a href=''>self</a><a href=HTTP://EXAMPLE.net>7</a>"
    )
    assert got.links() == [
        "https://example.org/dir/b",
        "https://example.org/c",
        "https://example.org/dir/page?q=1",
        "https://example.org/d",
        "https://example.com/e",
        "https://example.org/f",
        "http://example.net/",
    ]


def test_a_long_base_makes_no_gigabytes_of_many_links() -> None:
    base = "https://example.org/" + "b/" * 50_000
    links = "".join(f"<a href=x{number}>" for number in range(1000))
    found = page(f'<base href="{base}">{links}<a href="/last">').links()
    assert sum(map(len, found)) < 20_000_000 and found[-1] == "https://example.org/last"


def test_what_is_no_web_link_is_left_out() -> None:
    bad = ["javascript:void(0)", "mailto:a@b.org", "tel:1", "data:text/html,x", "http://[", "https://a b/"]
    got = page("".join(f"<a href='{href}'>x</a>" for href in bad) + "<a href=/good>x</a>")
    assert got.links() == ["https://example.org/good"]
    assert urls(got.follow_all("a")) == ["https://example.org/good"]


def test_relative_links_are_seen_from_pages_without_a_folder() -> None:
    assert page("<a href=a>x</a>", url="https://example.org").links() == ["https://example.org/a"]
    assert page("<a href=a>x</a>", url="https://example.org/?u=/x/").links() == ["https://example.org/a"]
    assert page("<a href='/a'>x</a>", url="http://example.org:81/x").links() == ["http://example.org:81/a"]


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("/other/", "https://example.org/other/b"),
        ("https://cdn.example.net/x/y", "https://cdn.example.net/x/b"),
        ("javascript:1", "https://example.org/dir/b"),
        ("http://[", "https://example.org/dir/b"),
    ],
)
def test_the_base_element_counts_unless_it_is_no_web_address(base: str, expected: str) -> None:
    got = page(f"<BASE href='{base}'><base href=/second/><a href=b>x</a>")
    assert got.links() == [got.urljoin("b")] == [got.follow("b").url] == [expected]


@pytest.mark.parametrize("is_parsed", [False, True])
def test_what_a_page_says_of_itself_is_the_same_before_and_after_it_is_parsed(is_parsed: bool) -> None:
    got = page("<base target=x><base href=''><base href=/b/><meta name=Robots content=nofollow><a href=q>")
    if is_parsed:
        assert got.css("a")
    assert got.base == got.url, "the first href counts, though it is empty"
    assert got.directives == {"nofollow"}


def test_follow_takes_an_href_and_what_has_one() -> None:
    got = page("<li><a href=/x?a=1>y</a></li>")
    wanted = "https://example.org/x?a=1"
    for target in (
        "/x?a=1",
        got.css("a")[0],
        got.css("a::attr(href)")[0],
        got.xpath("//a/@href")[0],
        got.soup.a,
        got.tree.find(".//a"),
    ):
        assert got.follow(target).url == wanted


def test_follow_passes_on_what_a_request_takes() -> None:
    class Spider:
        def parse_book(self) -> None: ...

    request = page("").follow("/x", Spider().parse_book, meta={"n": 1}, priority=2)
    assert request == Request("https://example.org/x", "parse_book", meta={"n": 1}, priority=2)


@pytest.mark.parametrize("query", ["p", "a"])
def test_follow_of_what_has_no_link_says_so(query: str) -> None:
    got = page("<p>x</p><a name=y>")
    with pytest.raises(SpiderError, match=f"<{query}>, which has no link"):
        got.follow(got.css(query)[0])


def test_follow_of_nothing_says_so() -> None:
    got = page("<p>x</p>")
    with pytest.raises(SpiderError, match="None"):
        got.follow(got.css("a::attr(href)").get())


def test_follow_lets_scope_refuse_what_is_no_url() -> None:
    assert page("").follow("javascript:void(0)").url == "javascript:void(0)"
    assert page("").follow("http://[").url == "http://["


@pytest.mark.parametrize("query", ["li.next a", "li.next a::attr(href)", "link", "area"])
def test_follow_all_takes_a_css_query(query: str) -> None:
    got = page(
        "<link href=/x><li class=next><a href=/x>y</a><a href=/x#z>y</a><a>z</a></li>"
        "<area href=/x><a href=/n>"
    )
    assert urls(got.follow_all(query, "parse_x")) == ["https://example.org/x"]


def test_one_href_on_pages_in_different_places_leads_to_different_urls() -> None:
    html = "".join(f'<a href="{href}">x</a>' for href in ("b.html", "/c", "?q", "../d", "mailto:x"))

    def urls(at: str) -> list[str]:
        return [request.url for request in page(html, url=at).follow_all("a")]

    for _ in range(2):  # the second time they are known
        assert urls("http://a.test/x/1") == [
            "http://a.test/x/b.html",
            "http://a.test/c",
            "http://a.test/x/1?q",
            "http://a.test/d",
        ]
        assert urls("https://b.test/y/z/2?p") == [
            "https://b.test/y/z/b.html",
            "https://b.test/c",
            "https://b.test/y/z/2?q",
            "https://b.test/y/d",
        ]


def test_what_follow_all_says_of_one_page_s_requests_is_none_of_another_s() -> None:
    one = page('<a href="/c">2</a>')
    url = one.urljoin("/c")
    assert list(one.follow_all("a", meta={"n": 1})) == [Request(url, meta={"n": 1})]
    assert list(one.follow_all("a")) == [Request(url)]
    assert list(one.follow_all("a", "other")) == [Request(url, "other")]


def test_follow_all_takes_hrefs_and_elements() -> None:
    got = page("<a href=/x>y</a><p>z</p>")
    mixed = ["/a", None, got.css("a")[0], got.css("p")[0], got.soup.a]
    assert urls(got.follow_all(mixed)) == ["https://example.org/a", "https://example.org/x"]
    assert urls(got.follow_all(got.css("a"), meta={"a": 1})) == ["https://example.org/x"]


@pytest.mark.parametrize("target", ["https://example.org/x", "/next", "a[", 3, None])
def test_follow_all_of_something_else_says_what_it_takes(target: Any) -> None:
    with pytest.raises(SpiderError, match="CSS query"):
        page("<a href=/x>").follow_all(target)


def test_urljoin_of_no_url_is_an_error() -> None:
    with pytest.raises(SpiderError, match="is no URL"):
        page("").urljoin("http://[")
    with pytest.raises(SpiderError, match=r"urljoin\(\) got None"):
        page("<p>").urljoin(page("<p>").css("a::attr(href)").get())


def test_robots_directives_of_header_and_document_are_summed() -> None:
    got = page("<META NAME=Robots CONTENT='NOINDEX'>", headers=[("X-Robots-Tag", "noarchive")])
    assert (got.noindex, got.noarchive, got.nofollow) == (True, True, False)
    assert got.facts() == {"noarchive": True, "noindex": True}


def test_directives_for_another_robot_are_not_ours() -> None:
    body = "<meta name=otherbot content=noindex><meta name=OurBot content=nofollow>"
    got = page(body, headers=[("X-Robots-Tag", "otherbot: noarchive")], token="ourbot")
    assert (got.noindex, got.noarchive, got.nofollow) == (False, False, True)


def test_facts_tell_what_the_site_says_about_use() -> None:
    metas = "<meta name=tdm-reservation content=1><meta name=tdm-policy content=https://example.org/terms>"
    got = page(metas, headers=[("Content-Usage", "train-ai=n"), ("TDM-Reservation", "0")])
    assert got.facts() == {
        "usage": {"train-ai": "disallow"},
        "tdm_reservation": 1,
        "tdm_policy": "https://example.org/terms",
    }


def test_urls_linked_with_nofollow_only_are_told() -> None:
    got = page(
        "<a rel='noopener NoFollow' href=/a>1</a><a rel=nofollow href=/b>2</a><a href=/b>3</a>"
        "<a href=/c rel=ugc>4</a>"
    )
    assert got.nofollow_urls == {"https://example.org/a"}


def test_pages_are_parsed_by_many_threads_at_once() -> None:
    found: list[list[str]] = []

    def parse(n: int) -> None:
        found.extend(page(f"<a href=/{n}>x</a>").links() for _ in range(20))

    threads = [threading.Thread(target=parse, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(set(map(tuple, found))) == [(f"https://example.org/{n}",) for n in range(4)]


def test_follow_takes_one_link_and_says_so() -> None:
    got = page("<a href='/a'>a</a>")
    for many in (got.css("a"), got.css("a.nope"), ["/a"]):
        with pytest.raises(SpiderError, match="follow_all"):
            got.follow(many)


def test_markup_that_would_fill_the_memory_is_not_parsed() -> None:
    million = page("<i>" * 800_000 + "<a href=x>" * 500_000)
    with pytest.raises(PageTooLarge, match="more than 256 MiB"):
        million.css("i")
    with pytest.raises(PageTooLarge):
        page("<a href=x>" * 180_000).soup  # noqa: B018
    assert len(page("<i>x</i>" * 100_000).css("i")) == 100_000


def test_json_that_would_fill_the_memory_is_not_parsed() -> None:
    text = "[" + '{"":0},' * 2_800_000 + "0]"
    for read in (
        lambda: page(text, kind="application/json").json(),
        lambda: page(f'<script type="application/ld+json">{text}</script>').jsonld,
        lambda: page(f"<script>x = {text}</script>").json("x"),
        lambda: page(text, kind="application/json").json("x"),
    ):
        with pytest.raises(PageTooLarge, match="more than 512 MiB"):
            read()
    sound = "[" + '{"id": 12345, "name": "a name"},' * 100_000 + "0]"
    assert len(page(sound, kind="application/json").json()) == 100_001


URLSET = (
    '<?xml version="1.0"?>\n<!-- made by hand --><urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
)
LISTS = {
    "sitemap": f"{URLSET}<url><loc>https://example.org/a</loc></url></urlset>",
    "index": "<sitemapindex><sitemap><loc>https://example.org/a</loc></sitemap></sitemapindex>",
    "rss": "<rss version='2.0'><channel><link>/</link><item><link>https://example.org/a</link></item></channel></rss>",
    "rss 1.0": '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/">'
    "<channel><link>/</link></channel><item><link>https://example.org/a</link></item></rdf:RDF>",
    "atom": '<feed xmlns="http://www.w3.org/2005/Atom"><entry><link href="https://example.org/a"/></entry></feed>',
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize(
    "kind",
    ["text/xml", "text/html; charset=utf-8", "text/plain", "application/octet-stream", "", "image/x-icon"],
)
def test_sitemaps_and_feeds_are_known_by_their_content(name: str, kind: str) -> None:
    got = page(LISTS[name], kind=kind)
    assert got.links() == ["https://example.org/a"]
    assert got.xpath("//*[local-name()='loc' or local-name()='link']")


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "", "text/html"])
def test_a_text_of_urls_is_a_sitemap(kind: str) -> None:
    got = page("\ufeffhttps://example.org/a\r\n# made by hand\r\n\r\n https://example.org/b \r\n", kind=kind)
    assert got.links() == ["https://example.org/a", "https://example.org/b"]


def test_a_text_of_urls_may_begin_with_a_comment() -> None:
    kind = "text/plain"
    got = page("\ufeff# made by hand\r\nhttps://example.org/a\r\n\r\n https://example.org/b \r\n", kind=kind)
    assert got.links() == ["https://example.org/a", "https://example.org/b"]


def test_a_text_that_has_urls_among_its_lines_is_none() -> None:
    text = "Read more:\nhttps://example.org/a\nand then\nhttps://example.org/b\n"
    assert page(text, kind="text/plain").links() == []


@pytest.mark.parametrize(
    "feed",
    [
        "<rss version='2.0'><channel><title>x</title><link>https://example.org/</link></channel></rss>",
        '<feed xmlns="http://www.w3.org/2005/Atom"><link href="https://example.org/"/>'
        '<link rel="self" href="/f"/><link rel="hub" href="/hub"/><link rel="next" href="/f?2"/></feed>',
        "<urlset></urlset>",
    ],
)
def test_an_empty_feed_lists_nothing_not_its_own_site(feed: str) -> None:
    assert page(feed, kind="application/xml").links() == []


def test_other_xml_still_gives_its_links() -> None:
    assert page('<menu><a href="/x">x</a></menu>', kind="application/xml").links() == [
        "https://example.org/x"
    ]


def test_a_sitemap_that_is_too_large_is_cut_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scraper.parsing.sitemap.MOST_URLS", 1_000)
    got = page("https://example.org/a\n" * 1_001, kind="text/plain")
    assert got.links() == ["https://example.org/a"]
    assert got.notes == ("the sitemap is cut after 1,000 URLs: no more than 500,000 and 50 MB are read",)


def test_xml_with_namespaces_is_selected_by_prefix_or_without_them() -> None:
    entry = "<entry><id>1</id><x:n>2</x:n></entry>"
    text = f'<feed xmlns="http://www.w3.org/2005/Atom" xmlns:x="urn:x">{entry}</feed>'
    got = page(text, kind="application/xml")
    atom = {"a": "http://www.w3.org/2005/Atom", "y": "urn:x"}
    assert got.xpath("//a:id/text() | //y:n/text()", namespaces=atom).getall() == ["1", "2"]
    assert got.css("entry id::text").get() is None
    got.selector.remove_namespaces()
    assert got.css("entry id::text, n::text").getall() == ["1", "2"]
