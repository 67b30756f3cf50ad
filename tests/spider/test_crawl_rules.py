from typing import Any

import pytest

from scraper import CrawlRules, Rule
from scraper.errors import SpiderError
from scraper.testing import FakeWeb, crawl

HOME = "https://a.example/"


def links(*paths: str) -> str:
    return "".join(f'<a href="/{path}">{path}</a>' for path in paths)


class Shop(CrawlRules):
    start_urls = [HOME]
    rules = [
        Rule(allow=r"/item/", deny=r"/item/old", callback="parse_item"),
        Rule(css="nav", follow=True),
    ]

    def parse_item(self, page: Any) -> Any:
        yield {"url": page.url.removeprefix(HOME)}


PAGES = {
    HOME: f"<nav>{links('list')}</nav>" + links("item/1", "item/old", "about"),
    HOME + "list": links("item/2", "elsewhere"),
    HOME + "item/1": links("item/hidden"),
    HOME + "item/2": f"<nav>{links('list', 'more')}</nav>",
}


def test_links_are_followed_by_the_first_rule_that_takes_them() -> None:
    result = crawl(Shop, FakeWeb(PAGES))
    asked = [one.url.removeprefix(HOME) for one in result.requests if "robots" not in one.url]
    assert asked == ["", "item/1", "list", "item/2"]
    assert [record["url"] for record in result.records] == ["item/1", "item/2"]


def test_a_page_with_a_callback_is_asked_for_once_and_followed_where_the_rule_says_so() -> None:
    class Deep(Shop):
        rules = [Rule(allow=[r"/item/", r"/list"], callback="parse_item", follow=True)]

    result = crawl(Deep, FakeWeb({**PAGES, HOME + "item/hidden": "end", HOME + "item/old": "old"}))
    got = [record["url"] for record in result.records]
    assert got == ["list", "item/1", "item/old", "item/2", "item/hidden"]
    assert len(result.requests) == len({asked.url for asked in result.requests})


def test_a_rule_with_neither_callback_nor_follow_keeps_links_from_the_others() -> None:
    class Careful(Shop):
        rules = [Rule(allow=r"/item/1", follow=False), *Shop.rules]

    asked = [one.url for one in crawl(Careful, FakeWeb(PAGES)).requests]
    assert HOME + "item/1" not in asked and HOME + "item/2" in asked


def test_a_start_page_gives_what_parse_start_says_and_parse_is_a_callback_like_any_other() -> None:
    class Both(CrawlRules):
        start_urls = [HOME]
        rules = [Rule(allow="/item/1", callback="parse")]

        def parse_start(self, page: Any) -> Any:
            return {"start": page.url}

        def parse(self, page: Any) -> Any:
            yield {"item": page.url}

    assert crawl(Both, FakeWeb(PAGES)).records == [{"start": HOME}, {"item": HOME + "item/1"}]


def test_a_rule_whose_callback_is_missing_is_told_before_anything_is_asked() -> None:
    class Wrong(Shop):
        rules = [Rule(callback="parse_itme")]

    with pytest.raises(SpiderError, match="parse_item"):
        crawl(Wrong, FakeWeb({}))
