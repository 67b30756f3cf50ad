"""The crawl loop as a site and a spider author see it: the real engine on a fake web and clock."""

from dataclasses import replace
from typing import Any

import pytest

from scraper import Drop, Page, Request, Spider
from scraper.engine.batch import Batch
from scraper.engine.domain_stats import DomainStats
from scraper.engine.plan import Stop
from scraper.errors import LoginFailed
from scraper.model import Entry, Fetched, Verdict
from scraper.runs.events import Event, Settled, Visited
from scraper.store import Lease, Run
from scraper.store.memory import MemoryStore
from scraper.testing import Asked, CrawlResult, FakeWeb, InlineDownloader, crawl
from scraper.testing.web import Scripted

A, B = "https://a.test/", "https://b.test/"


class Walk(Spider):
    """Follows every link and keeps every URL."""

    start_urls = [A]
    allowed_domains = ("a.test", "b.test")
    key = "url"

    def parse(self, page: Page) -> Any:
        yield {"url": page.url}
        yield from page.follow_all("a")


class Both(Walk):
    start_urls = [A, B]


def links(*hrefs: str) -> str:
    return "<main>" + "".join(f'<a href="{href}">x</a>' for href in hrefs)


def paths(result: CrawlResult, *, robots: bool = False) -> list[str]:
    """What was asked of a.test, without the host."""
    asked = [one.url.removeprefix(A) for one in result.requests if one.url.startswith(A)]
    return [path for path in asked if robots or path != "robots.txt"]


def moments(web: FakeWeb, url: str) -> list[float]:
    """When a URL was asked for, in seconds since the first request."""
    return [round(one.at - web.requests[0].at, 3) for one in web.requests if one.url == url]


class TestDelay:
    def test_it_holds_over_robots_redirects_retries_and_failures(self) -> None:
        web = FakeWeb(
            {
                A + "robots.txt": [(301, {"Location": "/rules"})],
                A + "rules": (200, {}, "User-agent: *\nDisallow:"),
                A: (302, {"Location": "/start"}),
                A + "start": links("flaky", "reset", "gone"),
                A + "flaky": [503, links()],
                A + "reset": [ConnectionResetError(), links()],
            }
        )
        result = crawl(Walk, web)
        assert sorted(result.pages) == [A + "flaky", A + "reset", A + "start"]
        assert len(web.requests) == 11, "with the controls of a 503 and of a reset"
        assert min(web.gaps("a.test")) == 1.0
        assert result.summary["min_gap_s"] == 1.0

    def test_it_counts_from_the_first_byte_of_an_answer(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links()}, latency=2.5)
        crawl(Walk, web, delay=1, delay_factor=0)
        assert web.gaps("a.test") == [3.5, 3.5]

    def test_a_slow_site_is_asked_more_slowly(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links("c"), A + "c": links()}, latency=4)
        crawl(Walk, web, delay=1, delay_factor=2)
        assert web.gaps("a.test")[1:] == [12.0, 12.0]

    def test_the_delay_of_a_slow_site_is_kept_once_by_who_takes_the_domain_over(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links()}, latency=4)
        first = crawl(Walk, web, delay=1, max_pages=1)
        crawl(Walk, web, delay=1, store=first.store)
        assert web.gaps("a.test")[1:] == [8.0, 8.0], "4 s until the first byte, and as long again"

    def test_a_slow_domain_that_others_wait_for_all_the_time_is_asked_as_often(self) -> None:
        class Wanted(MemoryStore):
            def heartbeat(self) -> frozenset[str]:
                return super().heartbeat() | {"a.test"}

        web = FakeWeb({A: links("b", "c"), A + "b": links("c"), A + "c": links()}, latency=4)
        crawl(Walk, web, delay=1, store=Wanted(web.clock))
        assert web.gaps("a.test")[1:] == [8.0, 8.0]

    def test_who_follows_a_dead_owner_gives_the_domain_back_after_a_request_not_before(self) -> None:
        class Dying(MemoryStore):
            def heartbeat(self) -> frozenset[str]:
                return super().heartbeat() | {"a.test"}

            def lease(self, run: Run, n: int, before: float) -> list[Lease]:
                return [replace(lease, crashes=1) for lease in super().lease(run, n, before)]

        web = FakeWeb({A: links("b"), A + "b": links()})
        result = crawl(Walk, web, delay=10, max_time=300, store=Dying(web.clock))
        assert len(result.pages) == 2 and min(web.gaps("a.test")) >= 10.0

    def test_a_batch_that_ends_before_its_slot_leaves_it_to_the_next_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Ending(InlineDownloader):
            """Ends the first batch of a page before it sends, as where others wait for the domain."""

            has_ended = False

            def submit(self, batch: Batch) -> None:
                if not self.has_ended and any(entry.url == A + "b" for entry in batch.entries):
                    self.has_ended = batch.is_over = True
                super().submit(batch)

        monkeypatch.setattr("scraper.testing.crawling.InlineDownloader", Ending)
        web = FakeWeb({A: links("b"), A + "b": links()})
        crawl(Walk, web, delay=10)
        assert web.gaps("a.test") == [10.0, 10.0]

    def test_starts_are_spaced_where_several_may_be_in_the_air(self) -> None:
        web = FakeWeb({A: links("b", "c"), A + "b": links(), A + "c": links()})
        crawl(Walk, web, concurrency=3)
        assert min(web.gaps("a.test")) >= 1.0

    def test_a_slow_site_with_several_in_the_air_is_not_slowed_by_their_wait_for_each_other(self) -> None:
        names = [str(number) for number in range(20)]
        web = FakeWeb({A: links(*names), **{A + name: links() for name in names}}, latency=0.5)
        result = crawl(Walk, web, concurrency=4)
        assert len(result.pages) == 21
        assert max(web.gaps("a.test")) <= 1.5

    def test_a_crawl_delay_is_kept(self) -> None:
        web = FakeWeb(
            {A + "robots.txt": (200, {}, "User-agent: *\nCrawl-delay: 7"), A: links("b"), A + "b": links()}
        )
        result = crawl(Walk, web)
        assert web.gaps("a.test") == [7.0, 7.0]
        assert result.summary["by_domain"]["a.test"]["delay_source"] == "robots Crawl-delay 7 s"

    def test_a_crawl_delay_over_max_delay_defers_the_domain(self) -> None:
        web = FakeWeb({A + "robots.txt": (200, {}, "User-agent: *\nCrawl-delay: 600"), A: links()})
        result = crawl(Walk, web)
        assert paths(result) == []
        assert "Crawl-delay 600 s is longer than max_delay" in result.left["a.test"]
        assert (result.stop, result.summary["exit_code"]) == (Stop.DEFERRED, 75)

    def test_it_holds_from_one_run_to_the_next(self) -> None:
        web = FakeWeb({A: links()})
        first = crawl(Walk, web, delay=30)
        crawl(Walk, web, delay=30, store=first.store)
        assert web.gaps("a.test") == [30.0, 30.0]

    def test_without_a_delay_nothing_waits(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links()})
        result = crawl(Walk, web, delay=0)
        assert sum(web.gaps("a.test")) < 1.0
        assert len(result.pages) == 2

    def test_two_domains_wait_each_for_itself(self) -> None:
        names = [str(number) for number in range(10)]
        web = FakeWeb({site: links(*names) for site in (A, B)})
        for site in (A, B):
            web.pages |= {site + name: links() for name in names}
        result = crawl(Both, web)
        assert len(result.pages) == 22
        assert web.gaps("a.test") == web.gaps("b.test") == [1.0] * 11
        assert web.clock.now() - web.requests[0].at < 14


class TestRest:
    def test_retry_after_rests_the_whole_domain(self) -> None:
        web = FakeWeb(
            {
                A: links("busy", "b", "c"),
                A + "busy": [(429, {"Retry-After": "60"}), links()],
                A + "b": links(),
                A + "c": links(),
            }
        )
        result = crawl(Walk, web)
        assert sorted(web.gaps("a.test")) == [1.0, 1.0, 1.0, 1.0, 61.0]
        assert paths(result)[:2] == ["", "busy"]
        assert len(result.pages) == 4

    def test_another_domain_goes_on_meanwhile(self) -> None:
        web = FakeWeb(
            {A: [(503, {"Retry-After": "60"}), links()], B: links("b"), B + "b": links("c"), B + "c": links()}
        )
        crawl(Both, web)
        assert max(web.gaps("b.test")) == 1.0
        assert moments(web, A) == [1.0, 62.0]

    def test_a_date_is_understood(self) -> None:
        web = FakeWeb()
        web.clock.set_wall(784_111_717.0)
        web[A] = [(503, {"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}), links()]
        crawl(Walk, web)
        assert moments(web, A) == [1.0, 61.0]

    def test_a_wait_over_max_wait_is_left_to_a_later_run_which_keeps_it(self) -> None:
        web = FakeWeb({A: [(503, {"Retry-After": "3600"}), links()]})
        first = crawl(Walk, web)
        assert first.stop is Stop.DEFERRED
        assert first.summary["exit_code"] == 75
        second = crawl(Walk, web, store=first.store)
        assert second.requests == []
        web.clock.sleep(3600)
        third = crawl(Walk, web, store=first.store)
        assert third.pages == [A]

    def test_failures_in_a_row_are_answered_by_longer_waits(self) -> None:
        web = FakeWeb({A: ConnectionRefusedError()}, latency=0)
        result = crawl(Walk, web, max_attempts=4)
        assert web.gaps("a.test") == sorted(web.gaps("a.test"))
        assert web.gaps("a.test")[-1] >= 4.0
        assert result.failed == {} or "connection refused" in result.failed[A]

    def test_a_domain_that_is_down_does_not_hold_up_another(self) -> None:
        web = FakeWeb({B: links("b"), B + "b": links()})
        web.pages[A + "robots.txt"] = TimeoutError()
        result = crawl(Both, web)
        assert result.pages == [B, B + "b"]
        assert max(web.gaps("b.test")) == 1.0

    def test_a_site_that_forbids_all_but_its_start_page_is_left_soon(self) -> None:
        names = "bcdefghijklmnopqrstuvwxyz"
        web = FakeWeb({A: links(*names), **{A + name: 403 for name in names}})
        result = crawl(Walk, web)
        assert (result.verdict, len(paths(result))) == (Verdict.BLOCKED, 12)
        assert "refused 3 times in a row" in result.left["a.test"]
        assert web.gaps("a.test")[-2:] == [10.0, 20.0]

    def test_an_answer_between_refusals_forgives_them(self) -> None:
        web = FakeWeb({A: links(*"bcdef"), **{A + name: 403 for name in "bcef"}, A + "d": links()})
        result = crawl(Walk, web)
        assert result.stop is Stop.DONE and len(result.pages) == 2
        assert set(result.failed) == {A + name for name in "bcef"}

    def test_a_wait_over_max_wait_ends_the_run_at_once(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": (429, {"Retry-After": "99999999999"})})
        result = crawl(Walk, web)
        assert result.stop is Stop.DEFERRED
        assert web.clock.now() - web.requests[0].at < 10

    def test_a_retry_after_that_is_over_already_is_answered_by_a_wait_of_our_own(self) -> None:
        web = FakeWeb({A: [(503, {"Retry-After": "0"}), 503, links()]})
        crawl(Walk, web)
        assert web.gaps("a.test")[-1] > 1.0

    def test_pages_that_stay_broken_do_not_park_a_site_that_answers(self) -> None:
        web = FakeWeb({A: links(*"bcdefg"), **{A + name: 500 for name in "bdf"}})
        web.pages |= {A + name: links() for name in "ceg"}
        result = crawl(Walk, web)
        assert set(result.failed) == {A + name for name in "bdf"}
        assert result.stop is Stop.DONE
        assert max(web.gaps("a.test")) <= 76

    def test_a_rest_outlives_us_before_it_is_known_what_was_meant(self) -> None:
        web = FakeWeb({A: links(*"bcdefgh"), **{A + name: links() for name in "bcdegh"}, A + "f": [503, 200]})
        store, kept = MemoryStore(web.clock), dict[int, str]()

        def look(event: Event) -> None:
            row = store.domain("a.test")
            if isinstance(event, Settled) and row is not None:
                kept[len(web.requests)] = str(row["state"])

        crawl(Walk, web, store=store, listeners=[look])
        refused = [one.url for one in web.requests].index(A + "f")
        assert "may mean our pace" in kept[refused + 1], (
            "it is in the store before anything else is asked for"
        )

    def test_a_site_that_refuses_everything_is_left_with_nothing_lost(self) -> None:
        names = "bcdefghijk"
        web = FakeWeb({A: links(*names), **{A + name: 503 for name in names}})
        result = crawl(Walk, web)
        assert (result.stop, result.summary["exit_code"], result.failed) == (Stop.DEFERRED, 75, {})
        assert len(web.requests) < 20
        assert "7 failures in a row" in result.left["a.test"]
        web.clock.sleep(3600)
        again = crawl(Walk, web, store=result.store)
        assert len(again.requests) == 1, "one probe"

    def test_a_site_that_goes_down_is_parked_after_five_pages(self) -> None:
        names = "bcdefghijk"
        web = FakeWeb({A: links(*names), **{A + name: 502 for name in names}})
        result = crawl(Walk, web)
        assert result.stop is Stop.DEFERRED
        assert sorted(web.gaps("a.test"))[-2:] == [30.0, 60.0]
        assert "7 failures in a row" in result.left["a.test"]
        web.clock.sleep(120)
        again = crawl(Walk, web, store=result.store)
        assert len(again.requests) == 1, "one probe, and the breaker opens again"


class TestRobots:
    def test_a_crawl_delay_over_max_delay_is_known_before_the_first_request_of_the_next_run(self) -> None:
        web = FakeWeb({A + "robots.txt": "User-agent: *\nCrawl-delay: 200", A: links()})
        first = crawl(Walk, web)
        assert first.stop is Stop.DEFERRED
        second = crawl(Walk, web, store=first.store)
        assert (second.stop, second.requests) == (Stop.DEFERRED, [])
        web.clock.sleep(400)
        third = crawl(Walk, web, store=first.store)
        assert (third.stop, third.requests) == (Stop.DEFERRED, [])
        assert web.clock.now() - web.requests[0].at < 420

    def test_a_redirect_to_a_domain_that_rests_leaves_the_site_for_later(self) -> None:
        web = FakeWeb({A + "robots.txt": (301, {"Location": B + "robots.txt"}), A: links()})
        web[B + "robots.txt"] = (503, {"Retry-After": "9999"})
        result = crawl(Walk, web)
        assert result.stop is Stop.DEFERRED
        assert "its robots.txt is at b.test" in result.left["a.test"]

    def test_redirects_that_lead_nowhere_are_followed_once(self) -> None:
        web = FakeWeb({A + "robots.txt": (301, {"Location": "/robots.txt"}), A: links()})
        assert paths(crawl(Walk, web), robots=True) == ["robots.txt"] * 6

    def test_it_is_read_before_anything_else_and_once(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links()})
        assert paths(crawl(Walk, web), robots=True) == ["robots.txt", "", "b"]

    def test_each_origin_has_its_own(self) -> None:
        other = "https://www.a.test/"
        web = FakeWeb({A: links(other), other: links(), other + "robots.txt": "User-agent: *\nDisallow: /"})
        result = crawl(Walk, web)
        assert result.pages == [A]
        assert "robots.txt line 2" in result.denied[other]
        assert web.gaps("a.test") == [1.0, 1.0]

    def test_a_server_error_lets_nothing_through(self) -> None:
        web = FakeWeb({A + "robots.txt": 503, A: links()})
        result = crawl(Walk, web)
        assert set(paths(result, robots=True)) == {"robots.txt"}
        assert result.records == []
        assert result.verdict is not Verdict.OK

    def test_a_robots_txt_that_comes_back_lets_the_run_go_on(self) -> None:
        web = FakeWeb({A + "robots.txt": [503, ConnectionResetError(), (200, {}, "")], A: links()})
        assert crawl(Walk, web).pages == [A]

    @pytest.mark.parametrize("status", [400, 401, 404, 410])
    def test_a_client_error_permits_all(self, status: int) -> None:
        web = FakeWeb({A + "robots.txt": status, A: links()})
        assert crawl(Walk, web).pages == [A]

    def test_a_challenge_page_instead_of_robots_txt_is_a_refusal_and_opens_nothing(self) -> None:
        wall = '<title>x</title><script id="anubis_challenge" type="application/json">{}</script>'
        web = FakeWeb({A + "robots.txt": (200, {"Content-Type": "text/html"}, wall), A: links()})
        result = crawl(Walk, web)
        assert paths(result, robots=True) == ["robots.txt"]
        assert result.verdict is Verdict.BLOCKED
        assert "Anubis challenge page" in result.denied[A]

    def test_a_redirect_is_checked_against_the_rules_of_its_target(self) -> None:
        web = FakeWeb(
            {
                A: (302, {"Location": B + "private"}),
                B + "robots.txt": "User-agent: *\nDisallow: /private",
                B + "private": links(),
            }
        )
        result = crawl(Walk, web)
        assert web.urls(robots=True) == [A + "robots.txt", A, B + "robots.txt"]
        assert "robots.txt line 2" in result.denied[B + "private"]

    def test_an_exemption_with_a_reason_asks_for_none(self) -> None:
        web = FakeWeb({A + "robots.txt": "User-agent: *\nDisallow: /", A: links()})
        result = crawl(Walk, web, robots_exempt={"a.test": "our own server"})
        assert paths(result, robots=True) == [""]

    def test_a_robots_txt_elsewhere_is_followed_there(self) -> None:
        web = FakeWeb(
            {
                A + "robots.txt": (301, {"Location": B + "rules.txt"}),
                B + "rules.txt": "User-agent: *\nDisallow: /private",
                A: links("private", "public"),
                A + "public": links(),
            }
        )
        result = crawl(Walk, web)
        assert result.pages == [A, A + "public"]


class TestRedirects:
    def test_the_page_is_known_by_where_it_ended(self) -> None:
        web = FakeWeb({A: (301, {"Location": "/b"}), A + "b": (302, {"Location": B}), B: links()})
        result = crawl(Walk, web)
        assert result.records == [{"url": B}]
        assert result.summary["redirected"] == 2

    def test_out_of_scope_they_are_not_followed(self) -> None:
        web = FakeWeb({A: (301, {"Location": "https://else.test/"}), "https://else.test/": links()})
        result = crawl(Walk, web)
        assert web.urls() == [A]
        assert "outside allowed_domains" in result.denied[A]

    def test_a_circle_ends(self) -> None:
        web = FakeWeb({A: (302, {"Location": "/b"}), A + "b": (302, {"Location": "/"})})
        result = crawl(Walk, web)
        assert len(result.requests) < 50
        assert result.records == []

    def test_to_another_spelling_of_itself_a_page_is_asked_by_that(self) -> None:
        web = FakeWeb({A: links("list?b=1&a=2"), A + "list?b=1&a=2": (301, {"Location": "/list?a=2&b=1"})})
        web[A + "list?a=2&b=1"] = links()
        result = crawl(Walk, web)
        assert result.pages == [A, A + "list?a=2&b=1"]

    def test_a_page_that_sets_a_cookie_and_redirects_to_itself_is_read(self) -> None:
        def limiter(asked: Asked) -> Scripted:
            if "seen=1" in asked.headers.get("cookie", ""):
                return links()
            return 302, {"Location": A, "Set-Cookie": "seen=1"}, ""

        assert crawl(Walk, FakeWeb({A: limiter})).pages == [A]


class TestRetries:
    def test_a_part_of_a_page_that_nobody_asked_for_is_no_page(self) -> None:
        result = crawl(Walk, FakeWeb({A: links("b"), A + "b": (206, {"Content-Range": "bytes 0-1/9"})}))
        assert result.pages == [A]
        assert result.failed == {A + "b": "status 206"}

    def test_pages_that_are_overloaded_while_another_passes_fail(self) -> None:
        web = FakeWeb({A: links("b", "c"), A + "b": 503, A + "c": 503})
        result = crawl(Walk, web)
        assert (result.stop, result.records) == (Stop.DONE, [{"url": A}])
        assert result.failed[A + "c"] == "status 503, after 4 attempts, while other pages passed"

    def test_another_try_may_bring_the_page(self) -> None:
        web = FakeWeb({A: [500, TimeoutError(), links()]})
        result = crawl(Walk, web)
        assert result.pages == [A]
        assert result.summary["retries"] == 2

    def test_after_max_attempts_the_url_has_failed(self) -> None:
        web = FakeWeb({A: 500})
        result = crawl(Walk, web, max_attempts=3)
        assert paths(result) == ["", "", ""]
        assert "after 3 attempts" in result.failed[A]

    def test_a_post_is_not_repeated_unless_the_spider_says_so(self) -> None:
        class BatchResult(Walk):
            def start(self) -> Any:
                yield Request(A + "once", method="POST", data={"q": "1"})
                yield Request(A + "twice", method="POST", data={"q": "1"}, meta={"retry": True})

        result = crawl(BatchResult, FakeWeb({A + "once": 500, A + "twice": [500, links()]}))
        assert sorted(paths(result)) == ["once", "twice", "twice"]
        assert "POST is not repeated" in result.failed[A + "once"]
        assert result.requests[-1].body == b"q=1"


class TestLimits:
    def test_max_pages_ends_the_run_at_that_page(self) -> None:
        web = FakeWeb({A: links(*"bcdef"), **{A + name: links() for name in "bcdef"}})
        result = crawl(Walk, web, max_pages=3)
        assert (result.stop, len(result.pages), len(paths(result))) == (Stop.PAGES, 3, 3)

    def test_max_pages_counts_over_all_domains(self) -> None:
        web = FakeWeb({site: links(*"bcd") for site in (A, B)})
        web.pages |= {site + name: links() for site in (A, B) for name in "bcd"}
        result = crawl(Both, web, max_pages=3)
        assert len(result.pages) == 3
        assert len(web.urls()) == 3

    @pytest.mark.parametrize(
        "answers", [404, 503, (302, {"Location": "/elsewhere"}), ConnectionResetError(), "no number here"]
    )
    def test_max_pages_limits_requests_whatever_becomes_of_them(self, answers: Any) -> None:
        class Numbers(Walk):
            def parse(self, page: Page) -> Any:
                yield from super().parse(page)
                if page.url != A:
                    yield {"url": page.url, "number": int(page.text)}

        web = FakeWeb({A: links(*map(str, range(20))), **{A + str(n): answers for n in range(20)}})
        assert len(paths(crawl(Numbers, web, max_pages=4, max_errors=None))) == 4

    def test_a_spider_that_raises_on_page_after_page_stops_by_itself(self) -> None:
        class Raises(Walk):
            def parse(self, page: Page) -> Any:
                return [Request(A + str(n), self.parse_detail) for n in range(100)]

            def parse_detail(self, page: Page) -> Any:
                raise KeyError("price")

        web = FakeWeb({A: links(), **{A + str(n): links() for n in range(100)}})
        result = crawl(Raises, web)
        assert (result.stop, result.verdict, len(paths(result))) == (Stop.ERRORS, Verdict.BROKEN, 11)
        assert "stopped (setting max_errors)" in result.reasons[0]
        assert len(paths(crawl(Raises, FakeWeb(web.pages), max_errors=3))) == 4

    def test_errors_between_good_pages_and_a_bad_corner_of_a_large_site_stop_nothing(self) -> None:
        class Now(Walk):
            def parse(self, page: Page) -> Any:
                yield from super().parse(page)
                if "bad" in page.url:
                    raise KeyError("price")

        names = [f"{n}" for n in range(150)] + [f"bad{n}" for n in range(12)]
        web = FakeWeb({A: links(*names), **{A + name: links() for name in names}})
        result = crawl(Now, web)
        assert (result.stop, result.verdict, len(result.pages)) == (Stop.DONE, Verdict.OK, 151)

    def test_max_depth_follows_no_further(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links("c"), A + "c": links()})
        result = crawl(Walk, web, max_depth=1)
        assert result.pages == [A, A + "b"]
        assert result.denied[A + "c"] == "depth 2 over max_depth 1"

    def test_max_time_stops_and_the_next_run_goes_on(self) -> None:
        web = FakeWeb({A: links(*"bcdefg"), **{A + name: links() for name in "bcdefg"}})
        first = crawl(Walk, web, max_time=3.5)
        assert first.stop is Stop.TIME
        assert 1 < len(first.pages) < 6


class TestFrontier:
    def test_a_url_is_fetched_once_however_it_is_written(self) -> None:
        web = FakeWeb({A: links("b", "/b", "b#x", "HTTPS://A.test:443/b", "./b"), A + "b": links("/", "b")})
        assert paths(crawl(Walk, web)) == ["", "b"]

    @pytest.mark.parametrize("delay", [0, 1])
    def test_a_page_that_may_have_killed_the_process_comes_when_all_else_is_done(self, delay: float) -> None:
        class Dying(MemoryStore):
            def take(self, *args: Any, **kwargs: Any) -> list[Entry]:
                entries = super().take(*args, **kwargs)
                return [replace(entry, crashes=int(entry.url == A + "b")) for entry in entries]

        web = FakeWeb({A: links("b", "c"), A + "b": links("e"), A + "c": links("d")})
        web.pages |= {A + name: links() for name in "de"}
        assert paths(crawl(Walk, web, delay=delay, store=Dying(web.clock))) == ["", "c", "d", "b", "e"]

    def test_dont_filter_fetches_a_known_one_again(self) -> None:
        class Again(Walk):
            def parse(self, page: Page) -> Any:
                yield {"url": page.url}
                if not page.meta:
                    yield Request(A, meta={"second": True}, dont_filter=True)

        assert paths(crawl(Again, FakeWeb({A: links()}))) == ["", ""]

    def test_a_higher_priority_goes_first(self) -> None:
        class Ranked(Walk):
            def parse(self, page: Page) -> Any:
                yield {"url": page.url}
                if page.url == A:
                    yield from (Request(A + name, priority=n) for n, name in enumerate("bcd"))

        web = FakeWeb({A + name: links() for name in ("", *"bcd")})
        assert paths(crawl(Ranked, web)) == ["", "d", "c", "b"]

    def test_meta_and_callback_travel_with_the_request(self) -> None:
        class Meta(Walk):
            def parse(self, page: Page) -> Any:
                yield page.follow("b", self.parse_b, meta={"n": 1})

            def parse_b(self, page: Page) -> Any:
                yield {"url": page.url, "n": page.meta["n"], "depth": page.depth}

        result = crawl(Meta, FakeWeb({A: links(), A + "b": links()}))
        assert result.records == [{"url": A + "b", "n": 1, "depth": 1}]

    def test_nofollow_is_obeyed(self) -> None:
        web = FakeWeb({A: '<a rel="nofollow" href="b">x</a>', A + "b": links()})
        result = crawl(Walk, web)
        assert result.denied == {A + "b": "rel=nofollow"}
        assert crawl(Walk, web, obey_nofollow=False).pages == [A, A + "b"]

    def test_cookies_are_kept_for_the_run_and_stay_on_their_domain(self) -> None:
        web = FakeWeb({A: (200, {"Set-Cookie": "id=1", "Content-Type": "text/html"}, links("b", B))})
        web.pages |= {A + "b": links(), B: links()}
        crawl(Walk, web)
        sent = {one.url: one.headers.get("cookie") for one in web.requests}
        assert (sent[A], sent[A + "b"], sent[B]) == (None, "id=1", None)


class TestSelectors:
    def test_one_that_matched_nothing_anywhere_is_named_also_where_the_callback_raised(self) -> None:
        class Picky(Walk):
            def parse(self, page: Page) -> Any:
                yield from page.follow_all("a")
                for row in page.css("p"):
                    yield {
                        "url": page.url,
                        "title": row.css("b::text").get(),
                        "at": row.xpath(".//time").get(),
                    }
                if page.url.endswith("3"):
                    yield {"price": page.css(".price::text").get().strip()}  # type: ignore[union-attr]

        web = FakeWeb({A: links("1", "2", "3"), **{A + n: "<p><b>x</b></p><p>y</p>" for n in "123"}})
        assert crawl(Picky, web).summary["unmatched"] == {".//time": 3, ".price::text": 1}


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("robots.txt line 2: Disallow: /", "robots.txt"),
        ("path segment 'a' repeats 4 times", "path segment 'a' repeats"),
        ("depth 3 over max_depth 2", "depth over max_depth"),
        ("longer than 2000 characters", "longer than 2000 characters"),
        ("a.test is 203.0.113.80, a private address", "a.test is 203.0.113.80, a private address"),
    ],
)
def test_what_is_denied_is_counted_by_rules_without_their_figures(reason: str, kind: str) -> None:
    stats = DomainStats()
    stats.deny(reason)
    assert stats.denials == {kind: 1}


class TestPagesThatBringNothing:
    def site(self, second: Any, spider: type[Walk] | None = None) -> FakeWeb:
        spider = spider or Rows
        web = FakeWeb({A: links("1"), A + "1": links("2", *[f"a{n}" for n in range(5)])})
        web.pages[A + "2"] = links(*[f"b{n}" for n in range(6)])
        web.pages |= {A + f"{kind}{n}": f"book {kind}{n}" for kind in "ab" for n in range(6)}
        web.pages[A + "rate"] = "1"
        self.first = crawl(spider, web)
        web.pages[A + "1"] = second
        return web

    def test_they_are_asked_again_and_a_bad_moment_costs_nothing(self) -> None:
        web = self.site(["<p>moment please</p>", links("2", *[f"a{n}" for n in range(5)], "a5")])
        result = crawl(Rows, web, store=self.first.store)
        assert (result.verdict, len(result.records)) == (Verdict.OK, 12)
        assert paths(result).count("1") == 2 and result.summary["emptied"] == 0

    @pytest.mark.parametrize("blank", ["", " \n", (204, {})], ids=["nothing", "white space", "204"])
    def test_an_answer_without_a_body_is_asked_again_though_a_record_could_be_made_of_it(
        self, blank: Any
    ) -> None:
        class Titles(Spider):
            start_urls = (A,)
            key = "url"

            def parse(self, page: Page) -> Any:
                yield {"url": page.url, "title": page.css("h1::text").get()}

        web = FakeWeb({A: ["<h1>one</h1>", blank, "<h1>two</h1>"]})
        first = crawl(Titles, web)
        result = crawl(Titles, web, store=first.store)
        assert result.records == [{"url": A, "title": "two"}]
        web[A] = blank
        assert crawl(Titles, web, store=first.store).records == [{"url": A, "title": None}]

    def test_where_they_stay_so_a_fall_by_more_than_a_tenth_is_degraded(self) -> None:
        web = self.site("<p>nothing</p>")
        result = crawl(Rows, web, store=self.first.store)
        assert paths(result).count("1") == 3 and result.verdict is not Verdict.OK
        assert result.summary["emptied"] == 1

    def test_a_list_that_names_the_next_one_and_none_of_its_rows_brings_nothing(self) -> None:
        result = crawl(Rows, self.site(links("2")), store=self.first.store)
        assert paths(result).count("1") == 3 and result.verdict is not Verdict.OK
        told = result.summary["examples"]["brings nothing where it did"]
        assert told == f"{A}1: 1 of 6 links, also when asked again"
        few = crawl(Rows, self.site(links("2", "a0")), store=self.first.store)
        assert paths(few).count("1") == 1 and few.summary["emptied"] == 0

    def test_so_it_is_where_the_site_lets_none_of_its_links_be_followed_any_more(self) -> None:
        web = self.site('book <meta name="robots" content="none">' + links("2", *[f"a{n}" for n in range(5)]))
        result = crawl(Rows, web, store=self.first.store)
        assert paths(result).count("1") == 1 and result.verdict is not Verdict.OK
        told = f"{A}1: nofollow: the page's robots directive"
        assert result.summary["examples"]["brings nothing where it did"] == told

    def test_so_it_is_where_callbacks_ask_for_more_than_the_page(self) -> None:
        class Asking(Rows):
            name = "rows"

            def parse(self, page: Page) -> Any:
                page.session.get(A + "rate")
                yield from super().parse(page)

        web = self.site("<p>nothing</p>", Asking)
        result = crawl(Asking, web, store=self.first.store)
        assert paths(result).count("1") == 3 and result.summary["emptied"] == 1

    def test_a_list_that_is_dropped_is_none_that_the_site_took_away(self) -> None:
        class Strict(Rows):
            name = "rows"

            def parse(self, page: Page) -> Any:
                if "moment" in page.text:
                    raise Drop("no list today")
                yield from super().parse(page)

        web = self.site("a moment please", Strict)
        result = crawl(Strict, web, store=self.first.store)
        assert paths(result).count("1") == 1 and result.verdict is not Verdict.OK
        assert result.summary["examples"]["brings nothing where it did"] == f"{A}1: dropped, no list today"

    def test_a_site_that_has_changed_as_a_whole_is_not_asked_thrice_for_every_page(self) -> None:
        web = FakeWeb({A: links(*[f"a{n}" for n in range(60)]), **{A + f"a{n}": "book" for n in range(60)}})
        first = crawl(Rows, web)
        web.pages |= {A + f"a{n}": "sold" for n in range(60)}
        result = crawl(Rows, web, store=first.store)
        assert 61 < len(paths(result)) < 61 + 130


class Rows(Walk):
    def parse(self, page: Page) -> Any:
        if "book" in page.text:
            yield {"url": page.url}
        yield from page.follow_all("a")


class TestPages:
    def test_a_callback_that_raises_fails_only_its_page(self) -> None:
        class Clumsy(Walk):
            def parse(self, page: Page) -> Any:
                yield {"url": page.url}
                if page.url.endswith("bad"):
                    raise KeyError("price")
                yield from page.follow_all("a")

        web = FakeWeb({A: links("bad", *"bcdefghijk"), A + "bad": links("never")})
        web.pages |= {A + name: links() for name in "bcdefghijk"}
        result = crawl(Clumsy, web)
        assert "KeyError: 'price' (test_engine.py, line" in result.failed[A + "bad"]
        assert len(result.records) == 11
        assert {"url": A + "bad"} not in result.records
        assert A + "never" not in web.urls()
        assert list(result.summary["errors"].values()) == [1]

    def test_what_a_clock_in_the_future_called_fresh_is_asked_for_again(self) -> None:
        fresh = {"Cache-Control": "max-age=86400", "Content-Type": "text/html"}
        web = FakeWeb({A: (200, fresh, links("b")), A + "b": (200, fresh, links())})
        now = web.clock.wall()
        web.clock.set_wall(now + 3e7)
        first = crawl(Walk, web, max_age=86400)
        web.clock.set_wall(now)
        second = crawl(Walk, web, store=first.store, max_age=86400)
        assert [one.url for one in second.requests] == [A + "robots.txt", A, A + "b"]

    def test_a_page_that_is_fresh_is_not_asked_for_and_its_links_stand(self) -> None:
        fresh = {"Cache-Control": "max-age=86400", "Content-Type": "text/html"}
        web = FakeWeb({A: (200, fresh, links("b")), A + "b": (200, fresh, links())})
        first = crawl(Walk, web)
        second = crawl(Walk, web, store=first.store)
        assert second.requests == []
        assert second.records == first.records
        assert second.verdict is Verdict.OK

    def test_an_unchanged_page_is_not_parsed_again(self) -> None:
        parsed: list[str] = []

        class Noting(Walk):
            def parse(self, page: Page) -> Any:
                parsed.append(page.url)
                return super().parse(page)

        web = FakeWeb({A: links("b"), A + "b": links()})
        first = crawl(Noting, web)
        second = crawl(Noting, web, store=first.store)
        assert parsed == [A, A + "b"]
        assert second.summary["unchanged"] == 2
        assert second.records == first.records


class TestFacts:
    def test_what_robots_txt_says_about_use_stands_with_the_page(self) -> None:
        rules = "User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /open train-ai=y"
        web = FakeWeb({A + "robots.txt": (200, {}, rules), A: links("open"), A + "open": links()})
        facts: dict[str, Any] = {}

        def note(event: Event) -> None:
            if isinstance(event, Visited) and isinstance(event.visit.outcome, Fetched):
                facts[event.visit.entry.url] = event.visit.outcome.facts

        crawl(Walk, web, listeners=[note])
        assert facts == {A: {"usage": {"train-ai": "disallow"}}, A + "open": {"usage": {"train-ai": "allow"}}}


class TestLogin:
    class Members(Walk):
        def login(self, session: Any) -> None:
            session.post(A + "login", data={"user": "ada"})

    def test_it_comes_before_the_first_page_and_takes_a_slot(self) -> None:
        web = FakeWeb({A: links("b"), A + "b": links()})
        web[A + "login"] = (200, {"Set-Cookie": "user=ada"}, "")
        result = crawl(self.Members, web)
        assert paths(result, robots=True) == ["robots.txt", "login", "", "b"]
        assert web.gaps("a.test") == [1.0, 1.0, 1.0]
        assert web.requests[-1].headers["cookie"] == "user=ada"

    def test_the_next_run_comes_in_with_the_cookie(self) -> None:
        web = FakeWeb({A: links(), A + "login": (200, {"Set-Cookie": "user=ada; Max-Age=9999"}, "")})
        first = crawl(self.Members, web)
        second = crawl(self.Members, web, store=first.store)
        assert paths(second) == [""]

    def test_a_login_that_is_refused_ends_the_domain(self) -> None:
        class Refused(Walk):
            def login(self, session: Any) -> None:
                raise LoginFailed("wrong password")

        result = crawl(Refused, FakeWeb({A: links()}))
        assert paths(result) == []
        assert result.left == {"a.test": "wrong password"}
        assert (result.verdict, result.summary["exit_code"]) == (Verdict.AUTH, 77)


def refresh(seconds: int, url: str) -> str:
    return f'<meta http-equiv="refresh" content="{seconds};url={url}"><p>wait</p>'


class TestRefresh:
    def test_a_short_one_is_a_redirect_through_scope_robots_and_the_clock(self) -> None:
        web = FakeWeb(
            {
                A + "robots.txt": (200, {}, "User-agent: *\nDisallow: /private"),
                A: links("moved", "barred", "away"),
                A + "moved": refresh(0, "/new"),
                A + "barred": refresh(5, "/private"),
                A + "away": refresh(0, "https://c.test/"),
                A + "new": links(),
            }
        )
        result = crawl(Walk, web)
        assert sorted(result.pages) == [A, A + "new"]
        assert min(web.gaps("a.test")) == 1.0
        assert set(result.denied) == {A + "private", A + "away"}

    def test_a_longer_one_is_a_link(self) -> None:
        class All(Walk):
            def parse(self, page: Page) -> Any:
                yield {"url": page.url}
                yield from page.links()

        web = FakeWeb({A: refresh(6, "/next"), A + "next": links()})
        assert sorted(crawl(All, web).pages) == [A, A + "next"]

    def test_a_chain_of_them_ends(self) -> None:
        web = FakeWeb(
            {A: refresh(0, "/a?1"), **{f"{A}a?{n}": refresh(0, f"/a?{n + 1}") for n in range(1, 40)}}
        )
        result = crawl(Walk, web)
        assert result.pages == []
        assert list(result.failed.values()) == ["more than 20 redirects"]


class TestRedirectLoops:
    def test_a_page_that_redirects_to_itself_is_asked_once(self) -> None:
        web = FakeWeb({A: (302, {"Location": "/"})})
        result = crawl(Walk, web)
        assert (paths(result), result.failed) == ([""], {A: "redirects to itself"})

    def test_one_that_sets_a_cookie_is_asked_again_but_not_for_ever(self) -> None:
        web = FakeWeb({A: [(302, {"Location": "/", "Set-Cookie": "a=1"}), links()]})
        assert crawl(Walk, web).pages == [A]
        web = FakeWeb({A: (302, {"Location": "/", "Set-Cookie": "a=1"})})
        assert len(paths(crawl(Walk, web))) <= 3

    def test_a_start_page_that_moved_to_another_domain_says_where_to_and_what_to_write(self) -> None:
        web = FakeWeb({A: (301, {"Location": "https://c.test/home"})})
        result = crawl(Walk, web)
        assert 'write start_urls = ["https://c.test/home"]' in result.denied[A]
        assert 'write start_urls = ["https://c.test/home"]' in result.summary["reasons"][0]

    def test_two_pages_that_redirect_to_each_other_are_not_asked_twenty_times(self) -> None:
        web = FakeWeb({A: (302, {"Location": "/b"}), A + "b": (302, {"Location": "/"})})
        result = crawl(Walk, web)
        assert (len(paths(result)), result.failed) == (5, {A: f"redirects in a circle, by {A}b"})
