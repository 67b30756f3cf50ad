"""The fake web and clock, and a crawl on them: what spider authors test with."""

import pytest
import requests

from scraper import Page, Spider
from scraper.errors import SettingsError, SpiderError
from scraper.model import Verdict
from scraper.ops.clock import Clock
from scraper.testing import Asked, FakeClock, FakeWeb, crawl

SHOP = "https://shop.test/"


class Shop(Spider):
    start_urls = [SHOP]
    key = "url"

    def parse(self, page: Page):
        yield {"url": page.url, "title": page.css("title::text").get()}
        yield from page.follow_all("a")


def html(*links: str, title: str = "") -> str:
    return f"<title>{title}</title>" + "".join(f'<a href="{link}">x</a>' for link in links)


class TestClock:
    def test_sleepers_return_at_once_and_late(self) -> None:
        clock: Clock = FakeClock(100.0)
        clock.sleep(5)
        clock.sleep(-1)
        assert (clock.now(), clock.wall()) == (105.0, 105.0)

    def test_setting_the_wall_clock_leaves_now_alone(self) -> None:
        clock = FakeClock(100.0)
        clock.set_wall(1000.0)
        clock.sleep(1)
        assert (clock.now(), clock.wall()) == (101.0, 1001.0)


class TestWeb:
    def get(self, web: FakeWeb, url: str, **request: object) -> requests.Response:
        session = requests.Session()
        session.mount("https://", web)
        return session.get(url, **request)  # type: ignore[arg-type]

    def test_a_page_is_text_bytes_a_status_or_all_of_it(self) -> None:
        web = FakeWeb(
            {
                SHOP: "<p>ü",
                SHOP + "b": b"\xff",
                SHOP + "gone": 410,
                SHOP + "c": (201, {"X-Kind": "c"}, "made"),
                SHOP + "d": (204, [("Link", "<a>"), ("Link", "<b>")]),
            }
        )
        answer = self.get(web, SHOP)
        assert (answer.status_code, answer.text) == (200, "<p>ü")
        assert self.get(web, SHOP + "b").content == b"\xff"
        assert self.get(web, SHOP + "gone").status_code == 410
        answer = self.get(web, SHOP + "c")
        assert (answer.status_code, answer.headers["x-kind"], answer.text) == (201, "c", "made")
        assert self.get(web, SHOP + "d").headers["Link"] == "<a>, <b>"
        assert self.get(web, SHOP + "nowhere").status_code == 404

    def test_a_query_of_its_own_comes_before_the_page_without(self) -> None:
        web = FakeWeb({SHOP: "all", SHOP + "?p=2": "second"})
        assert [self.get(web, SHOP + query).text for query in ("?p=1", "?p=2")] == ["all", "second"]

    def test_answers_come_in_turn_and_the_last_one_stays(self) -> None:
        web = FakeWeb({SHOP: [503, "there"]})
        assert [self.get(web, SHOP).status_code for _ in range(3)] == [503, 200, 200]

    def test_a_function_answers_what_was_asked(self) -> None:
        web = FakeWeb({SHOP: lambda asked: f"{asked.method} {asked.headers['x-me']}"})
        assert self.get(web, SHOP, headers={"X-Me": "ada"}).text == "GET ada"

    def test_an_exception_is_raised(self) -> None:
        with pytest.raises(ConnectionRefusedError):
            self.get(FakeWeb({SHOP: ConnectionRefusedError()}), SHOP)

    def test_what_cannot_be_an_answer_is_named(self) -> None:
        with pytest.raises(TypeError, match=r"shop\.test/ cannot answer with 1\.5"):
            self.get(FakeWeb({SHOP: lambda asked: 1.5}), SHOP)

    def test_every_request_is_logged_with_its_moment(self) -> None:
        web = FakeWeb({SHOP: html()}, latency=2.0)
        start = web.clock.now()
        self.get(web, SHOP)
        self.get(web, SHOP + "robots.txt")
        assert [asked.at - start for asked in web.requests] == [0.0, 2.0]
        assert web.gaps("shop.test") == [2.0]
        assert web.urls() == [SHOP]
        assert web.urls(robots=True) == [SHOP, SHOP + "robots.txt"]

    def test_cookies_are_kept_by_the_session(self) -> None:
        web = FakeWeb({SHOP: (200, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "")})
        session = requests.Session()
        session.mount("https://", web)
        session.get(SHOP)
        session.get(SHOP)
        assert web.requests[1].headers["cookie"] == "a=1; b=2"


class TestCrawl:
    def test_a_spider_crawls_a_web_in_no_time(self) -> None:
        web = FakeWeb({SHOP: html("/a", "/b", title="Shop"), SHOP + "a": html("/"), SHOP + "b": html()})
        result = crawl(Shop, web)
        assert result.records[0] == {"url": SHOP, "title": "Shop"}
        assert result.pages == [SHOP, SHOP + "a", SHOP + "b"]
        assert [asked.url for asked in result.requests] == [SHOP + "robots.txt", *result.pages]
        assert (result.verdict, result.reasons) == (Verdict.OK, ())
        assert result.summary["records"] == 3
        assert web.gaps("shop.test") == [1.0, 1.0, 1.0]

    def test_what_was_not_fetched_is_told_with_its_reason(self) -> None:
        web = FakeWeb(
            {
                SHOP: html("/private", "/gone", "https://else.test/"),
                SHOP + "robots.txt": "User-agent: *\nDisallow: /private",
            }
        )
        result = crawl(Shop, web)
        assert result.failed == {SHOP + "gone": "status 404"}
        assert "robots.txt line 2" in result.denied[SHOP + "private"]
        assert "outside allowed_domains" in result.denied["https://else.test/"]

    def test_settings_and_params_are_as_in_a_run(self) -> None:
        class Named(Shop):
            def parse(self, page: Page):
                yield {"url": page.url, "who": self.params["who"]}

        web = FakeWeb({SHOP: html()})
        result = crawl(
            Named, web, params={"who": "ada"}, delay="2m", contact="ada@example.org", max_delay=600
        )
        assert result.records == [{"url": SHOP, "who": "ada"}]
        assert web.gaps("shop.test") == [120.0]
        assert result.requests[0].headers["from"] == "ada@example.org"

    def test_mistakes_are_those_of_a_run(self) -> None:
        with pytest.raises(SettingsError, match="did you mean delay"):
            crawl(Shop, FakeWeb(), delai=1)

        class Nowhere(Shop):
            start_urls = ["nowhere"]

        with pytest.raises(SpiderError):
            crawl(Nowhere, FakeWeb())

    def test_a_second_crawl_of_a_store_asks_for_changes_only(self) -> None:
        def tagged(asked: Asked) -> object:
            if asked.headers.get("if-none-match") == '"1"':
                return 304
            return 200, {"ETag": '"1"', "Content-Type": "text/html"}, html("/a")

        web = FakeWeb({SHOP: tagged, SHOP + "a": tagged})
        first = crawl(Shop, web)
        web[SHOP + "a"] = html(title="new")
        second = crawl(Shop, web, store=first.store)
        assert second.summary["unchanged"] == 1
        assert second.records == [{"url": SHOP, "title": None}, {"url": SHOP + "a", "title": "new"}]
        assert web.gaps("shop.test") == [1.0] * 4

    def test_a_spiders_hooks_are_called(self) -> None:
        called: list[object] = []

        class Hooked(Shop):
            def opened(self) -> None:
                called.append("opened")

            def closed(self, run: object) -> None:
                called.append(run["verdict"])  # type: ignore[index]

        crawl(Hooked, FakeWeb({SHOP: html()}))
        assert called == ["opened", "OK"]
