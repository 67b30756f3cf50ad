"""The bookshop behaves as a shop on the web does."""

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from scraper.errors import SpiderError
from scraper.testing import shopfront
from scraper.testing.bookshop import Bookshop, open_shop
from scraper.testing.catalogue import SIZES, books
from tests.site import Reply, Site

COOKIE = {"Cookie": "visit=welcome-back"}


@dataclass
class Got:
    status: int
    body: str
    headers: http.client.HTTPMessage


@pytest.fixture
def shop() -> Iterator[Bookshop]:
    with Bookshop() as shop:
        yield shop


def ask(shop: Bookshop, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> Got:
    with closing(http.client.HTTPConnection(urlsplit(shop.url()).netloc, timeout=5)) as connection:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return Got(answer.status, answer.read().decode(), answer.headers)


def test_the_front_page_leads_to_every_category_and_gives_a_cookie(shop: Bookshop) -> None:
    front = ask(shop, "/")
    assert front.status == 200 and "visit=" in front.headers["Set-Cookie"]
    assert front.body.count('class="category"') == len(SIZES) == 8


def test_categories_show_twenty_books_a_page_and_all_of_them_in_the_end(shop: Bookshop) -> None:
    shelves = [path for path in shopfront.paths() if path.startswith("/category/")]
    counts = [ask(shop, path).body.count('<li class="book">') for path in shelves]
    assert sum(counts) == len(books()) and max(counts) == 20


def test_a_book_page_without_the_cookie_goes_by_way_of_the_welcome_page(shop: Bookshop) -> None:
    path = books()[0].path
    sent_away = ask(shop, path)
    assert sent_away.status == 302 and sent_away.headers["Location"] == f"/welcome?to={path}"
    welcome = ask(shop, sent_away.headers["Location"])
    assert welcome.status == 302 and welcome.headers["Location"] == path
    assert ask(shop, path, headers={"Cookie": welcome.headers["Set-Cookie"].partition(";")[0]}).status == 200


def test_the_welcome_page_sends_nobody_elsewhere(shop: Bookshop) -> None:
    assert ask(shop, "/welcome?to=http://example.com/").headers["Location"] == "/"
    assert ask(shop, "/welcome").headers["Location"] == "/"


@pytest.mark.parametrize("path", ["/", "/category/fiction?page=2", "/robots.txt", books()[3].path])
def test_a_page_that_is_known_is_not_sent_again(shop: Bookshop, path: str) -> None:
    etag = ask(shop, path, headers=COOKIE).headers["ETag"]
    again = ask(shop, path, headers=COOKIE | {"If-None-Match": f'"other", {etag}'})
    assert (again.status, again.body, again.headers["ETag"]) == (304, "", etag)
    assert ask(shop, path, headers=COOKIE | {"If-None-Match": '"other"'}).status == 200


def test_one_page_is_busy_once(shop: Bookshop) -> None:
    answers = [ask(shop, shopfront.BUSY.path, headers=COOKIE) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 200, 200]
    assert answers[0].headers["Retry-After"] == "1"


def test_one_book_has_moved_and_one_is_gone(shop: Bookshop) -> None:
    moved = ask(shop, shopfront.OLD_PATH, headers=COOKIE)
    assert moved.status == 301 and moved.headers["Location"] == shopfront.MOVED.path
    assert ask(shop, shopfront.GONE.path, headers=COOKIE).status == 404


def test_robots_txt_closes_what_every_page_links_to(shop: Bookshop) -> None:
    robots = ask(shop, "/robots.txt").body
    assert "Disallow: /checkout/" in robots and f"Sitemap: {shop.url('/sitemap.xml')}" in robots
    assert 'href="/checkout/basket"' in ask(shop, "/").body
    assert ask(shop, "/sitemap.xml").body.count("<loc>") == len(shopfront.paths())


def test_head_says_what_get_would_and_nothing_else_is_allowed(shop: Bookshop) -> None:
    head = ask(shop, "/", "HEAD")
    assert head.body == "" and int(head.headers["Content-Length"]) > 500
    assert ask(shop, "/", "DELETE").status == 405


def test_one_connection_serves_many_requests_and_the_log_has_them(shop: Bookshop) -> None:
    with closing(http.client.HTTPConnection(urlsplit(shop.url()).netloc, timeout=5)) as connection:
        for _ in range(3):
            connection.request("GET", "/", headers={"User-Agent": "me"})
            connection.getresponse().read()
    assert [(hit.path, hit.headers["user-agent"]) for hit in shop.log] == [("/", "me")] * 3
    assert shop.log[0].at < shop.log[2].at


def test_the_books_are_the_same_on_every_machine() -> None:
    first = books()[0]
    assert (first.title, first.author, first.price) == ("The Paper Daughter", "Kofi Håkansson", 2399)
    assert len({book.isbn for book in books()}) == len({book.title for book in books()}) == 201


def test_a_shop_that_is_open_is_not_opened_again(shop: Bookshop) -> None:
    assert open_shop(urlsplit(shop.url()).port or 0) is None


def test_a_port_taken_by_another_program_is_a_clear_error(site: Site) -> None:
    site["*"] = Reply(200, "another program")
    with pytest.raises(SpiderError, match=f"port {site.port}.*--param port={site.port + 1}"):
        open_shop(site.port)


def test_a_closed_shop_can_be_opened_again_at_once() -> None:
    with Bookshop() as shop:
        port = urlsplit(shop.url()).port or 0
        ask(shop, "/")
    with Bookshop(port) as again:
        assert ask(again, "/").status == 200


def test_it_runs_as_a_command() -> None:
    command = [sys.executable, "-m", "scraper.testing.bookshop", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline() if process.stdout else ""
        process.terminate()
    assert "http://127.0.0.1:" in line
