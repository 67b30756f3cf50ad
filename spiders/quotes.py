"""Quotes to Scrape, a site made for trying scrapers: https://quotes.toscrape.com/."""

from collections.abc import Iterator
from typing import Any

from scraper import Page, Spider


class Quotes(Spider):
    """Every quote with its author and tags."""

    start_urls = ["https://quotes.toscrape.com/"]
    key = ("author", "text")
    health = {"min_records": 50, "required": ["text", "author"]}

    def parse(self, page: Page) -> Iterator[Any]:
        """The quotes of one page, then the next page."""
        for quote in page.css("div.quote"):
            yield {
                "text": quote.css(".text::text").get("").strip("“”"),
                "author": quote.css(".author::text").get(),
                "tags": quote.css(".tag::text").getall(),
            }
        yield from page.follow_all("li.next a")
