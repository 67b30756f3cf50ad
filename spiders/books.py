"""Books to Scrape, a shop made for trying scrapers: https://books.toscrape.com/."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scraper import Page, Request, Spider

STARS = ("Zero", "One", "Two", "Three", "Four", "Five")


@dataclass
class Book:
    """One book; `price` in pounds, `stars` from 1 to 5."""

    upc: str
    title: str
    category: str
    price: float
    stock: int
    stars: int
    description: str
    url: str


class Books(Spider):
    """Every book with its price, stock and stars."""

    start_urls = ["https://books.toscrape.com/"]
    key = "upc"
    record = Book
    health = {"min_records": 500, "required": ["title", "price"]}

    def parse(self, page: Page) -> Iterator[Request]:
        """From one page of the list to its books and the next page."""
        yield from page.follow_all("article.product_pod h3 a", self.parse_book)
        yield from page.follow_all("li.next a")

    def parse_book(self, page: Page) -> Iterator[Any]:
        """One book: facts from the table below it, the rest from the page around."""
        facts = {row.css("th::text").get(): row.css("td::text").get("") for row in page.css("table tr")}
        yield Book(
            upc=facts["UPC"],
            title=page.css("h1::text").get(""),
            category=page.css("ul.breadcrumb li:nth-last-child(2) a::text").get("").strip(),
            price=float(facts["Price (incl. tax)"].lstrip("Â£")),
            stock=int(page.css(".product_main .availability").re_first(r"\((\d+) available") or 0),
            stars=STARS.index(page.css(".product_main .star-rating::attr(class)").get("Zero").split()[-1]),
            description=page.css("#product_description + p::text").get(""),
            url=page.url,
        )
