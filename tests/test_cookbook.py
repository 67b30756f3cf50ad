"""Every block of code in the cookbook and in the page for those who come from Scrapy."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scraper.parsing.file_facts import facts_of_content
from scraper.spider import discovery
from scraper.testing import Asked, FakeWeb, crawl
from tests.project import ROOT

PAGES = ("cookbook.md", "from-scrapy.md")
TEXTS = {name: (ROOT / "docs" / name).read_text("utf-8") for name in PAGES}
BLOCKS = [block for text in TEXTS.values() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
FILES = {block.split("\n", 1)[0].removeprefix("# spiders/").removesuffix(".py"): block for block in BLOCKS}
PAGING = ("cursor", "numbers", "offsets", "linked", "search")
MOST_LINES = 14  # ten of code, and the blank ones

RSS = "<rss version='2.0'><channel>{}</channel></rss>"
API = "https://api.example/"
IDS = [{"id": 1}, {"id": 2}, {"id": 3}]


def urlset(*urls: str, inside: str = "") -> tuple[int, dict[str, str], str]:
    entries = "".join(f"<url><loc>{url}</loc>{inside}</url>" for url in urls)
    return 200, {"Content-Type": "text/xml"}, f'<urlset xmlns:image="urn:i">{entries}</urlset>'


def item(url: str, category: str = "news") -> str:
    return f"<item><title>T</title><link>{url}</link><category>{category}</category></item>"


def answer(value: Any, **headers: str) -> tuple[int, dict[str, str], str]:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(value)


def posted(asked: Asked) -> Any:
    body = json.loads(asked.body or b"")
    return answer({"hits": [{"id": body["page"]}], "more": body["page"] < 3})


PICTURE = facts_of_content(b"jpeg", "1.jpg", "image/jpeg")

WEBS: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "recipes": (
        {
            "https://recipes.example/robots.txt": "Sitemap: https://recipes.example/map.xml",
            "https://recipes.example/map.xml": urlset(
                *(f"https://recipes.example/{path}" for path in ("recipe/1", "cook/ann", "about"))
            ),
            "https://recipes.example/recipe/1": "<h1>Soup</h1>",
            "https://recipes.example/cook/ann": "<h1>Ann</h1>",
        },
        [
            {"url": "https://recipes.example/recipe/1", "dish": "Soup"},
            {"url": "https://recipes.example/cook/ann", "cook": "Ann"},
        ],
    ),
    "photos": (
        {
            "https://photos.example/sitemap.xml": urlset(
                "https://photos.example/1",
                inside="<image:image><image:loc>https://photos.example/1.jpg</image:loc></image:image>",
            )
        },
        [{"image": "https://photos.example/1.jpg", "on": "https://photos.example/1"}],
    ),
    "headlines": (
        {"https://news.example/feed.xml": RSS.format(item("https://news.example/1"))},
        [{"id": "https://news.example/1", "title": "T", "categories": ["news"]}],
    ),
    "articles": (
        {
            "https://news.example/": '<link rel="alternate" type="application/rss+xml" href="/feed">',
            "https://news.example/feed": RSS.format(
                item("https://news.example/1") + item("https://news.example/2", "sport")
            ),
            "https://news.example/1": "<article><p>One</p></article>",
        },
        [{"url": "https://news.example/1", "text": ["One"]}],
    ),
    "shop": (
        {
            "https://shop.example/": '<nav><a href="/list">x</a></nav><a href="/about">x</a>',
            "https://shop.example/list": '<a href="/item/1">x</a><a href="/item/1?print=1">x</a>',
            "https://shop.example/item/1": "<h1>Tea</h1>",
        },
        [{"url": "https://shop.example/item/1", "name": "Tea"}],
    ),
    "cursor": (
        {
            f"{API}items": answer({"items": IDS[:1], "next_cursor": "a/b="}),
            f"{API}items?cursor=a%2Fb%3D": answer({"items": IDS[1:], "next_cursor": None}),
        },
        IDS,
    ),
    "numbers": (
        {f"{API}items?page={n}": answer({"items": [{"id": n}], "pages": 3}) for n in (1, 2, 3)},
        IDS,
    ),
    "offsets": (
        {
            f"{API}items?offset={n}&limit=2": answer({"items": IDS[n : n + 2], "offset": n, "total": 3})
            for n in (0, 2)
        },
        IDS,
    ),
    "linked": (
        {
            f"{API}items": answer(IDS[:2], Link='</items?p=2>; rel="next", </items?p=2>; rel="last"'),
            f"{API}items?p=2": answer(IDS[2:], Link='</items>; rel="first"'),
        },
        IDS,
    ),
    "search": ({f"{API}search": posted}, IDS),
    "journal": (
        {
            "https://journal.example/sitemap.xml": urlset("https://journal.example/1"),
            "https://journal.example/1": "<h1>One</h1>",
        },
        [{"url": "https://journal.example/1", "title": "One"}],
    ),
    "paintings": (
        {
            "https://gallery.example/": '<a class="painting" href="/sea">Sea</a>',
            "https://gallery.example/sea": '<h1>Sea</h1><img src="img/1.jpg">',
            "https://gallery.example/img/1.jpg": (200, {"Content-Type": "image/jpeg"}, b"jpeg"),
        },
        [{"title": "Sea", "url": "https://gallery.example/img/1.jpg", **PICTURE}],
    ),
    "stock": (
        {
            "https://stock.example/a": ["<p>soon</p>", '<p class="price">5</p>'],
            "https://stock.example/b": '<p class="advertisement">buy</p>',
            "https://stock.example/c": 410,
        },
        [{"url": "https://stock.example/c", "price": None}, {"url": "https://stock.example/a", "price": "5"}],
    ),
    "authors": (
        {
            "https://quotes.example/": '<i class="author">A</i><a href="/a">x</a>'
            '<li class="next"><a href="/2">2</a></li>',
            "https://quotes.example/2": '<i class="author">A</i><a href="/a">x</a>',
            "https://quotes.example/a": '<h3 class="author-title"> Ann </h3>'
            '<i class="author-born-date">1900</i>',
        },
        [{"name": "Ann", "birthdate": "1900", "bio": ""}],
    ),
}


def loaded(tmp_path: Path, name: str) -> Any:
    file = tmp_path / f"{name}.py"
    file.write_text(FILES[name], encoding="utf-8")
    return discovery.load(file).spider


def test_every_block_is_a_spider_that_is_run_here() -> None:
    assert len(FILES) == len(BLOCKS) and FILES.keys() == WEBS.keys()


@pytest.mark.parametrize("name", WEBS)
def test_it_does_what_it_says(name: str, tmp_path: Path) -> None:
    pages, expected = WEBS[name]
    result = crawl(loaded(tmp_path, name), FakeWeb(pages))
    assert not result.failed
    assert len(result.records) == len(expected)
    pairs = zip(result.records, expected, strict=True)
    assert [{name: record[name] for name in wanted} for record, wanted in pairs] == expected


@pytest.mark.parametrize("name", PAGING)
def test_paging_takes_fewer_than_ten_lines(name: str) -> None:
    code = [line for line in FILES[name].splitlines()[1:] if line.strip()]
    assert len(code) < 10


def test_a_failure_has_its_record(tmp_path: Path) -> None:
    pages: dict[str, Any] = {"https://stock.example/b": 404, "https://stock.example/c": 410}
    waiting: Callable[[Asked], Any] = lambda asked: "<p>soon</p>"  # noqa: E731
    result = crawl(loaded(tmp_path, "stock"), FakeWeb({**pages, "https://stock.example/a": waiting}))
    prices = {record["url"][-1]: record["price"] for record in result.records}
    assert prices == {
        "a": "unknown: no price yet, after 4 attempts",
        "b": "unknown: status 404",
        "c": None,
    }
