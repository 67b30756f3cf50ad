from datetime import UTC, date, datetime
from typing import Any

import pytest

from scraper import SitemapSpider
from scraper.errors import SpiderError
from scraper.model import Verdict
from scraper.store.memory import MemoryStore
from scraper.testing import FakeWeb, crawl

HOME = "https://a.example/"
XML = {"Content-Type": "application/xml"}
XHTML = 'xmlns:xhtml="http://www.w3.org/1999/xhtml" xmlns:image="urn:image" xmlns:news="urn:news"'


def urlset(*urls: str, inside: str = "") -> tuple[int, dict[str, str], str]:
    entries = "".join(f"<url><loc>{url}</loc>{inside}</url>" for url in urls)
    return 200, XML, f"<urlset {XHTML}>{entries}</urlset>"


class Pages(SitemapSpider):
    start_urls = [HOME]

    def parse(self, page: Any) -> Any:
        yield {"url": page.url}


def urls(result: Any) -> list[str]:
    return [record["url"].removeprefix(HOME) for record in result.records]


def test_robots_txt_names_the_sitemaps_and_an_index_names_more() -> None:
    index = f"<sitemapindex><sitemap><loc>{HOME}1.xml</loc></sitemap></sitemapindex>"
    web = FakeWeb(
        {
            HOME
            + "robots.txt": f"User-agent: *\nDisallow:\nSitemap: {HOME}s/index.xml\nSitemap: /news.xml\n",
            HOME + "s/index.xml": (200, XML, index),
            HOME + "1.xml": urlset(HOME + "a", HOME + "b"),
            HOME + "news.xml": urlset(HOME + "b", HOME + "n"),
            **{HOME + name: name for name in "abn"},
        }
    )
    result = crawl(Pages, web)
    assert sorted(urls(result)) == ["a", "b", "n"]
    assert not result.failed


@pytest.mark.parametrize("robots", [404, 403, "User-agent: *\nDisallow: /private\n"])
def test_without_a_word_in_robots_txt_the_sitemap_is_at_its_usual_place(robots: Any) -> None:
    web = FakeWeb({HOME + "robots.txt": robots, HOME + "sitemap.xml": urlset(HOME + "a"), HOME + "a": "a"})
    result = crawl(Pages, web)
    assert (urls(result), result.failed, result.verdict) == (["a"], {}, "OK")


def test_what_stands_in_place_of_robots_txt_says_nothing_about_sitemaps() -> None:
    # As Django's page for debugging (5.2), which says none, and a field that a server sets for all files.
    page = (404, {"X-Robots-Tag": "nofollow"}, '<meta name="robots" content="NONE,NOARCHIVE"><p>Not found')
    web = FakeWeb({HOME + "robots.txt": page, HOME + "sitemap.xml": urlset(HOME + "a"), HOME + "a": "a"})
    assert urls(crawl(Pages, web)) == ["a"]


def test_a_start_url_may_be_a_sitemap_itself() -> None:
    class One(Pages):
        start_urls = [HOME + "deep/map.txt"]

    web = FakeWeb(
        {HOME + "deep/map.txt": (200, {"Content-Type": "text/plain"}, HOME + "a\n"), HOME + "a": "a"}
    )
    assert urls(crawl(One, web)) == ["a"]


def test_the_first_rule_whose_pattern_is_found_decides_and_others_are_not_asked_for() -> None:
    class Ruled(SitemapSpider):
        start_urls = [HOME + "sitemap.xml"]
        rules = [("/shop/sale", "parse_sale"), (r"/shop/\d+$", "parse_item")]

        def parse_sale(self, page: Any) -> Any:
            yield {"url": page.url, "kind": "sale"}

        def parse_item(self, page: Any) -> Any:
            yield {"url": page.url, "kind": "item"}

    listed = [HOME + path for path in ("shop/1", "shop/sale/2", "about", "shop/x")]
    web = FakeWeb({HOME + "sitemap.xml": urlset(*listed), **dict.fromkeys(listed, "page")})
    result = crawl(Ruled, web)
    kinds = {record["url"]: record["kind"] for record in result.records}
    assert kinds == {HOME + "shop/1": "item", HOME + "shop/sale/2": "sale"}


def test_a_rule_without_its_callback_is_told_before_anything_is_asked() -> None:
    class Wrong(Pages):
        rules = [("", "parse_itm")]

        def parse_item(self, page: Any) -> Any: ...

    web = FakeWeb({})
    with pytest.raises(SpiderError, match="did you mean parse_item"):
        crawl(Wrong, web)
    assert web.requests == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["/news/"], "write pairs"),
        (("/news/", "parse"), "write pairs"),
        ([("(", "parse")], "'\\(' is no regular expression"),
    ],
)
def test_rules_that_are_none_are_told_before_anything_is_asked(given: Any, said: str) -> None:
    class Wrong(Pages):
        rules = given

    with pytest.raises(SpiderError, match=said):
        crawl(Wrong, FakeWeb({}))


@pytest.mark.parametrize(
    "since", ["2026-02-01", date(2026, 2, 1), datetime(2026, 2, 1, tzinfo=UTC), 1769904000]
)
def test_pages_and_sitemaps_that_changed_last_before_since_are_left_out(since: Any) -> None:
    index = "<sitemapindex>{}</sitemapindex>".format(
        "".join(
            f"<sitemap><loc>{HOME}{name}.xml</loc><lastmod>{day}</lastmod></sitemap>"
            for name, day in (("old", "2026-01-15"), ("new", "2026-03-01"))
        )
    )
    entries = "".join(
        f"<url><loc>{HOME}{name}</loc>{day}</url>"
        for name, day in (
            ("a", "<lastmod>2026-01-31</lastmod>"),
            ("b", "<lastmod>2026-02-01</lastmod>"),
            ("c", "<lastmod>2026-02-01T00:30:00+00:00</lastmod>"),
            ("d", ""),
        )
    )

    class Since(Pages):
        start_urls = [HOME + "index.xml"]

    Since.since = since
    web = FakeWeb(
        {
            HOME + "index.xml": (200, XML, index),
            HOME + "new.xml": (200, XML, f"<urlset>{entries}</urlset>"),
            **{HOME + name: name for name in "abcd"},
        }
    )
    assert urls(crawl(Since, web)) == ["b", "c", "d"]


@pytest.mark.parametrize("url", ["a.example", "http://[", "ftp://a.example/"])
def test_a_start_url_that_is_none_is_told_as_for_any_spider(url: str) -> None:
    class Wrong(Pages):
        start_urls = [url]

    with pytest.raises(SpiderError, match="start URL"):
        crawl(Wrong, FakeWeb({}))


def test_a_since_that_is_no_date_is_told() -> None:
    class Since(Pages):
        since = "last week"

    with pytest.raises(SpiderError, match="no date"):
        crawl(Since, FakeWeb({}))


@pytest.mark.parametrize(("alternates", "expected"), [(False, ["en"]), (True, ["en", "de"])])
def test_other_languages_are_asked_for_where_they_are_wanted(alternates: bool, expected: list[str]) -> None:
    class Languages(Pages):
        start_urls = [HOME + "sitemap.xml"]

    Languages.alternates = alternates
    links = "".join(
        f'<xhtml:link rel="alternate" hreflang="{one}" href="{HOME}{one}"/>' for one in ("en", "de")
    )
    web = FakeWeb(
        {HOME + "sitemap.xml": urlset(HOME + "en", inside=links), HOME + "en": "e", HOME + "de": "d"}
    )
    assert urls(crawl(Languages, web)) == expected


def test_what_extensions_say_reaches_follow_entry_and_their_files_are_no_pages() -> None:
    class News(Pages):
        start_urls = [HOME + "sitemap.xml"]

        def follow_entry(self, entry: Any) -> Any:
            yield from super().follow_entry(entry)
            yield {"url": entry.url, "extras": entry.extras}

    inside = (
        f"<image:image><image:loc>{HOME}i.png</image:loc></image:image>"
        "<news:news><news:publication><news:name>Post</news:name></news:publication>"
        "<news:title> One &amp; two </news:title></news:news>"
    )
    web = FakeWeb({HOME + "sitemap.xml": urlset(HOME + "a", inside=inside), HOME + "a": "a"})
    result = crawl(News, web)
    assert result.records[0]["extras"] == [
        ["image:loc", HOME + "i.png"],
        ["news:name", "Post"],
        ["news:title", "One & two"],
    ]
    assert HOME + "i.png" not in [asked.url for asked in result.requests]


@pytest.mark.parametrize(("trust", "asked"), [(False, ["a", "b", "c"]), (True, ["b", "c"])])
def test_lastmod_spares_the_request_of_a_later_run_only_where_it_is_trusted(
    trust: bool, asked: list[str]
) -> None:
    class Trusting(Pages):
        start_urls = [HOME + "sitemap.xml"]

    Trusting.trust_lastmod = trust
    web = FakeWeb({HOME + name: name for name in "abc"})
    store = MemoryStore(web.clock)
    now = datetime.fromtimestamp(web.clock.wall(), UTC)

    def listed(changed: str) -> tuple[int, dict[str, str], str]:
        days = {"a": "2020-01-01", "b": changed, "c": now.date().isoformat()}
        entries = "".join(
            f"<url><loc>{HOME}{n}</loc><lastmod>{day}</lastmod></url>" for n, day in days.items()
        )
        return 200, XML, f"<urlset>{entries}</urlset>"

    web[HOME + "sitemap.xml"] = listed("2020-01-01")
    crawl(Trusting, web, store=store)
    # Changed after it was fetched; and on the very day, which says nothing.
    web[HOME + "sitemap.xml"] = listed(now.replace(year=now.year + 1).isoformat())
    result = crawl(Trusting, web, store=store)
    again = [one.url.removeprefix(HOME) for one in result.requests if one.url[-1] in "abc"]
    assert again == asked
    assert sorted(urls(result)) == ["a", "b", "c"]


def test_what_is_no_sitemap_is_dropped_with_its_reason() -> None:
    web = FakeWeb({HOME + "sitemap.xml": (200, {"Content-Type": "text/html"}, "<p>Not here</p>")})
    result = crawl(Pages, web)
    assert (result.summary["dropped"], result.verdict) == (1, "EMPTY")


def test_a_sitemap_that_is_a_page_for_once_takes_no_records_away() -> None:
    index = "".join(f"<sitemap><loc>{HOME}{name}.xml</loc></sitemap>" for name in ("one", "two"))
    web = FakeWeb(
        {HOME + "robots.txt": 404, HOME + "sitemap.xml": (200, XML, f"<sitemapindex>{index}</sitemapindex>")}
    )
    web.pages |= {HOME + str(n): f"page {n}" for n in range(5)}
    for name, some in (("one.xml", "012"), ("two.xml", "34")):
        web[HOME + name] = urlset(*[HOME + n for n in some])
    first = crawl(Pages, web)
    assert len(first.records) == 5
    web[HOME + "two.xml"] = "<h1>Back in a moment</h1>"
    result = crawl(Pages, web, store=first.store)
    assert result.verdict is Verdict.DEGRADED and "two.xml: dropped, it is no sitemap" in result.reasons[0]


def test_a_sitemap_that_ends_in_the_middle_is_asked_for_again() -> None:
    whole = urlset(*[HOME + n for n in "012"])
    torn = 200, XML, whole[2][: whole[2].index(HOME + "2")]
    web = FakeWeb({HOME + "robots.txt": 404, HOME + "sitemap.xml": [torn, whole]})
    web.pages |= {HOME + str(n): f"page {n}" for n in range(3)}
    first = crawl(Pages, web)
    assert sorted(urls(first)) == ["0", "1", "2"]
    web[HOME + "sitemap.xml"] = torn
    result = crawl(Pages, web, store=first.store)
    (reason,) = result.failed.values()
    assert "the sitemap ends in the middle" in reason and result.verdict is not Verdict.OK
