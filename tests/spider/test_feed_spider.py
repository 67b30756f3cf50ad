from typing import Any

import pytest

from scraper import FeedSpider
from scraper.model import Verdict
from scraper.testing import FakeWeb, crawl

HOME = "https://a.example/"
RSS = {"Content-Type": "application/rss+xml"}
ITEM = "<item><title>{0}</title><link>{1}{0}</link><guid>{1}{0}</guid></item>"


def rss(*names: str, more: str = "") -> tuple[int, dict[str, str], str]:
    items = "".join(ITEM.format(name, HOME) for name in names)
    return 200, RSS, f"<rss version='2.0'><channel><title>All</title>{more}{items}</channel></rss>"


class News(FeedSpider):
    start_urls = [HOME + "feed.xml"]
    key = "id"


def test_each_entry_is_a_record() -> None:
    result = crawl(News, FakeWeb({HOME + "feed.xml": rss("one", "two")}))
    assert [(record["id"], record["title"]) for record in result.records] == [
        (HOME + "one", "one"),
        (HOME + "two", "two"),
    ]
    assert [asked.url for asked in result.requests if "robots" not in asked.url] == [HOME + "feed.xml"]


def test_a_spider_with_a_parse_gets_the_pages_of_the_entries() -> None:
    class Articles(News):
        key = "url"

        def parse(self, page: Any) -> Any:
            yield {"url": page.url, "title": page.css("h1::text").get()}

    web = FakeWeb({HOME + "feed.xml": rss("one"), HOME + "one": "<h1>One</h1>"})
    assert crawl(Articles, web).records == [{"url": HOME + "one", "title": "One"}]


def test_parse_entry_may_choose() -> None:
    class Chosen(News):
        def parse_entry(self, entry: Any) -> Any:
            if entry.title != "two":
                return {"id": entry.title}
            return None

    assert crawl(Chosen, FakeWeb({HOME + "feed.xml": rss("one", "two")})).records == [{"id": "one"}]


def test_a_page_leads_to_the_feed_that_it_names() -> None:
    class Home(News):
        start_urls = [HOME]

    head = (
        '<link rel="stylesheet" href="/s.css"><link rel="alternate" type="application/atom+xml" href="/atom">'
    )
    atom = '<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>x</id><title>X</title></entry></feed>'
    web = FakeWeb({HOME: f"<head>{head}</head>", HOME + "atom": (200, {"Content-Type": "text/xml"}, atom)})
    assert [record["id"] for record in crawl(Home, web).records] == ["x"]


def test_older_entries_are_read_where_the_feed_tells_where_they_are() -> None:
    more = '<atom:link xmlns:atom="http://www.w3.org/2005/Atom" rel="next" href="/feed2.xml"/>'
    web = FakeWeb({HOME + "feed.xml": rss("one", more=more), HOME + "feed2.xml": rss("two")})
    assert [record["title"] for record in crawl(News, web).records] == ["one", "two"]


def test_what_is_no_feed_is_dropped_with_its_reason() -> None:
    result = crawl(News, FakeWeb({HOME + "feed.xml": "<p>gone</p>"}))
    assert result.summary["dropped"] == 1


JSON_FEED = """{"version": "https://jsonfeed.org/version/1.1", "items": [{"id": "one"}, {"id": "two"}]}"""


@pytest.mark.parametrize("whole", [rss("one", "two")[2], JSON_FEED], ids=["rss", "json"])
@pytest.mark.parametrize("share", [0.6, 0.8, 0.95])
def test_a_feed_that_ends_in_the_middle_is_asked_for_again_and_takes_nothing_away(
    whole: str, share: float
) -> None:
    torn = whole[: int(len(whole) * share)]
    web = FakeWeb({HOME + "feed.xml": [(200, RSS, torn), (200, RSS, whole)]})
    first = crawl(News, web)
    assert len(first.records) == 2
    web[HOME + "feed.xml"] = 200, RSS, torn
    result = crawl(News, web, store=first.store)
    assert "the feed ends in the middle" in result.failed[HOME + "feed.xml"]
    assert result.verdict is not Verdict.OK
