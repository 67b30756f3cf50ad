"""A bookshop on this machine: what a crawl looks like, without a network."""

from collections.abc import Iterator
from typing import Any

from scraper import Page, Request, Spider
from scraper.testing.bookshop import PORT, open_shop


class Bookshop(Spider):
    """Every book of a shop that this project brings along and opens on a loopback port."""

    start_urls = [f"http://127.0.0.1:{PORT}/"]
    key = "isbn"
    settings = {"delay": 0}  # our own server
    health = {"min_records": 150, "required": ["title", "price"]}

    def opened(self) -> None:
        """Open the shop; `--param port=N` chooses another port."""
        self.shop = open_shop(self.port)

    def closed(self, run: Any) -> None:
        """Close it, unless it was open before."""
        if self.shop:
            self.shop.stop()

    @property
    def port(self) -> int:
        """The shop's port."""
        return int(self.params.get("port", PORT))

    def start(self) -> Iterator[str]:
        """The front page."""
        yield f"http://127.0.0.1:{self.port}/"

    def parse(self, page: Page) -> Iterator[Request]:
        """From the front page to its categories, from one page of a category to its books and the next."""
        yield from page.follow_all("a.category, li.next a")
        yield from page.follow_all("li.book h3 a", self.parse_book)

    def parse_book(self, page: Page) -> Iterator[dict[str, Any]]:
        """One book."""
        yield {
            "isbn": page.css(".isbn::text").get(),
            "title": page.css("h1::text").get(),
            "author": page.css(".author span::text").get(),
            "category": page.css(".breadcrumb li:last-child a::text").get(),
            "price": float(page.css(".price::text").get("").lstrip("£")),
            "stock": int(page.css(".availability::text").re_first(r"\d+") or 0),
            "rating": int(page.css(".rating::attr(title)").re_first(r"\d") or 0),
            "year": int(page.css(".year::text").get("0")),
            "url": page.url,
        }
