"""What a spider may say about a page: ask again, drop it, take an error page, answer for a failure."""

from typing import Any

import pytest

from scraper import Drop, Page, Request, Retry, Spider
from scraper.errors import SpiderError
from scraper.model import Verdict
from scraper.store.memory import MemoryStore
from scraper.testing import FakeWeb, crawl

A = "https://a.test/"


class Shop(Spider):
    start_urls = [A + "1", A + "2"]
    key = "url"

    def parse(self, page: Page) -> Any:
        yield {"url": page.url, "text": page.text}


def moments(web: FakeWeb) -> list[tuple[str, float]]:
    first = web.requests[0].at
    return [(asked.url.removeprefix(A), round(asked.at - first)) for asked in web.requests]


class TestRetry:
    class Priced(Shop):
        def parse(self, page: Page) -> Any:
            yield {"url": page.url, "text": page.text}
            if page.text == "no price":
                raise Retry("no price yet", after=60)

    def test_the_page_is_asked_for_again_and_the_whole_domain_waits(self) -> None:
        web = FakeWeb({A + "1": ["no price", "5"], A + "2": "6"})
        result = crawl(self.Priced, web)
        assert moments(web) == [("robots.txt", 0), ("1", 1), ("2", 61), ("1", 62)]
        assert {record["text"] for record in result.records} == {"5", "6"}
        assert (result.summary["retries"], result.verdict) == (1, Verdict.OK)

    def test_it_counts_as_an_attempt_and_ends_as_a_failure_with_its_reason(self) -> None:
        web = FakeWeb({A + "1": "no price", A + "2": "6"})
        result = crawl(self.Priced, web, max_attempts=3)
        assert web.urls().count(A + "1") == 3
        assert result.failed == {A + "1": "no price yet, after 3 attempts"}
        assert [record["text"] for record in result.records] == ["6"]

    def test_a_wait_longer_than_max_wait_is_left_for_the_next_run(self) -> None:
        class Patient(Shop):
            def parse(self, page: Page) -> Any:
                raise Retry("closed today", after=7200)

        web = FakeWeb({A + "1": "x", A + "2": "y"})
        result = crawl(Patient, web)
        assert (web.urls(), result.verdict) == ([A + "1"], Verdict.INCOMPLETE)
        assert "closed today" in str(result.left)

    def test_without_a_wait_the_page_goes_behind_the_others(self) -> None:
        class Again(Shop):
            def parse(self, page: Page) -> Any:
                if page.text == "empty":
                    raise Retry("empty")
                yield {"url": page.url}

        web = FakeWeb({A + "1": ["empty", "full"], A + "2": "6"})
        assert len(crawl(Again, web).records) == 2
        assert web.urls() == [A + "1", A + "2", A + "1"]

    def test_a_post_is_repeated_because_the_spider_says_so(self) -> None:
        class Search(Shop):
            def start(self) -> Any:
                yield Request(A + "1", method="POST", data={"q": "x"})

            def parse(self, page: Page) -> Any:
                if page.text == "busy":
                    raise Retry("busy")
                yield {"url": page.url}

        assert len(crawl(Search, FakeWeb({A + "1": ["busy", "done"]})).records) == 1

    @pytest.mark.parametrize("after", [-1, float("nan"), float("inf")])
    def test_a_wait_that_is_none_is_an_error_of_the_spider(self, after: float) -> None:
        with pytest.raises(ValueError, match="seconds"):
            Retry("x", after=after)


class TestDrop:
    class Picky(Shop):
        def parse(self, page: Page) -> Any:
            yield {"url": page.url, "text": page.text}
            yield from page.follow_all("a")
            if "sold" in page.text:
                raise Drop("sold out")

    def test_nothing_of_the_page_is_kept_and_it_is_no_failure(self) -> None:
        web = FakeWeb({A + "1": 'sold <a href="/3">', A + "2": "new"})
        result = crawl(self.Picky, web)
        assert [record["text"] for record in result.records] == ["new"]
        assert web.urls() == [A + "1", A + "2"]
        summary = result.summary
        assert (summary["dropped"], summary["failed"], result.verdict) == (1, 0, Verdict.OK)

    def test_what_stood_for_the_page_is_gone_and_an_unchanged_page_stays_dropped(self) -> None:
        web = FakeWeb({A + "1": "new", A + "2": "new"})
        store = MemoryStore(web.clock)
        crawl(self.Picky, web, store=store)
        web[A + "1"] = (200, {"ETag": '"1"'}, "sold")
        crawl(self.Picky, web, store=store)
        assert [kept.url for kept in store.current(self.Picky.name)] == [A + "2"]
        third = crawl(self.Picky, web, store=store)
        assert [record["url"] for record in third.records] == [A + "2"]
        assert third.summary["unchanged"] == 2


class TestHandledStatuses:
    class Lost(Shop):
        handle_statuses = {404}

        def parse(self, page: Page) -> Any:
            yield {"url": page.url, "status": page.status}

    def test_the_callback_gets_the_error_page(self) -> None:
        result = crawl(self.Lost, FakeWeb({A + "1": "x", A + "2": (410, {}, "gone")}))
        assert [record["status"] for record in result.records] == [200]
        assert list(result.failed) == [A + "2"]
        missing = crawl(self.Lost, FakeWeb({A + "1": "x"}))
        assert [record["status"] for record in missing.records] == [200, 404]
        assert (missing.failed, missing.summary["failed"]) == ({}, 0)

    @pytest.mark.parametrize("statuses", [404, "404", ["404"], {True: 1}])
    def test_statuses_that_are_none_are_told_before_anything_is_asked(self, statuses: Any) -> None:
        class Wrong(Shop):
            handle_statuses = statuses

        with pytest.raises(SpiderError, match="handle_statuses"):
            crawl(Wrong, FakeWeb({}))

    def test_a_request_may_name_its_own(self) -> None:
        class One(Shop):
            def start(self) -> Any:
                yield Request(A + "1", handle_statuses=[500, 404])
                yield A + "2"

        result = crawl(One, FakeWeb({}))
        assert ([record["url"] for record in result.records], list(result.failed)) == ([A + "1"], [A + "2"])

    def test_what_another_try_may_mend_is_tried_again_first(self) -> None:
        class Errors(self.Lost):  # type: ignore[name-defined,misc]
            start_urls = [A + "1"]
            handle_statuses = {500}

        web = FakeWeb({A + "1": [500, "fine"]})
        assert [record["status"] for record in crawl(Errors, web).records] == [200]
        web = FakeWeb({A + "1": 500})
        result = crawl(Errors, web, max_attempts=2)
        assert ([record["status"] for record in result.records], result.failed) == ([500], {})
        assert len(web.urls()) == 2

    def test_a_redirect_is_shown_instead_of_followed(self) -> None:
        class Hops(self.Lost):  # type: ignore[name-defined,misc]
            start_urls = [A + "1"]
            handle_statuses = {301}

        web = FakeWeb({A + "1": (301, {"Location": "/2"}), A + "2": "x"})
        assert [record["status"] for record in crawl(Hops, web).records] == [301]
        assert web.urls() == [A + "1"]

    def test_a_refusal_still_ends_the_domain_after_three_in_a_row(self) -> None:
        class Barred(self.Lost):  # type: ignore[name-defined,misc]
            start_urls = [A + str(n) for n in range(9)]
            handle_statuses = {403}

        web = FakeWeb({A + str(n): 403 for n in range(9)})
        result = crawl(Barred, web)
        assert len(web.urls()) == 3
        assert "refused 3 times" in str(result.left)


class TestFailed:
    class Careful(Shop):
        def failed(self, request: Request, why: str) -> Any:
            yield {"url": request.url, "text": why}
            if request.url == A + "1":
                yield Request(A + "mirror", meta={"for": request.url})

    def test_it_may_yield_records_and_requests(self) -> None:
        web = FakeWeb({A + "1": 404, A + "2": "two", A + "mirror": "copy"})
        result = crawl(self.Careful, web)
        assert {record["url"].removeprefix(A): record["text"] for record in result.records} == {
            "1": "status 404",
            "2": "two",
            "mirror": "copy",
        }
        assert list(result.failed) == [A + "1"]

    def test_it_is_told_once_after_the_last_attempt(self) -> None:
        web = FakeWeb({A + "1": ConnectionResetError(), A + "2": "two", A + "mirror": "copy"})
        result = crawl(self.Careful, web, max_attempts=3)
        told = [record["text"] for record in result.records if record["url"] == A + "1"]
        assert len(told) == 1 and "after 3 attempts" in told[0]

    def test_it_hears_of_a_callback_that_raised(self) -> None:
        class Raising(self.Careful):  # type: ignore[name-defined,misc]
            def parse(self, page: Page) -> Any:
                raise LookupError("no price")

        result = crawl(Raising, FakeWeb({A + "1": "x", A + "2": "y"}))
        texts = {record["url"].removeprefix(A): record["text"] for record in result.records}
        assert "no price" in texts["1"] and "no price" in texts["2"]
        assert result.verdict is Verdict.BROKEN

    def test_its_record_stands_until_the_page_is_read_again(self) -> None:
        web = FakeWeb({A + "1": (200, {"ETag": '"1"'}, "one"), A + "2": "two"})
        store = MemoryStore(web.clock)
        crawl(self.Careful, web, store=store)
        web[A + "1"] = 404
        web[A + "mirror"] = "copy"
        crawl(self.Careful, web, store=store)
        web[A + "1"] = (200, {"ETag": '"1"'}, "one")
        result = crawl(self.Careful, web, store=store)
        assert {"url": A + "1", "text": "one"} in result.records

    def test_one_that_raises_or_yields_nonsense_is_told_and_ends_nothing(self) -> None:
        class Clumsy(Shop):
            def failed(self, request: Request, why: str) -> Any:
                yield {"url": request.url}
                raise KeyError("clumsy")

        result = crawl(Clumsy, FakeWeb({A + "1": 404, A + "2": "two"}))
        assert [record["url"] for record in result.records] == [A + "2"]
        assert "clumsy" in result.failed[A + "1"]


class TestBudgets:
    class Walk(Shop):
        start_urls = [A]

        def parse(self, page: Page) -> Any:
            yield {"url": page.url}
            yield from page.follow_all("a")

    TRAP = {A + "robots.txt": 404} | {
        A + path: "".join(f'<a href="/{path}{n}/">{n}</a>' for n in range(3))
        for path in ("", *(f"{a}/" for a in range(3)), *(f"{a}/{b}/" for a in range(3) for b in range(3)))
    }

    @pytest.mark.parametrize("settings", [{}, {"delay": 0}, {"concurrency": 4}])
    def test_a_domain_is_asked_for_so_many_pages_and_the_others_are_denied(
        self, settings: dict[str, Any]
    ) -> None:
        web = FakeWeb(self.TRAP)
        result = crawl(self.Walk, web, pages_per_domain=5, **settings)
        assert len(web.urls()) == 5
        assert set(result.denied.values()) == {"over budget: pages_per_domain: 5 pages"}
        assert result.verdict is Verdict.OK

    def test_errors_redirects_and_further_tries_count(self) -> None:
        web = FakeWeb({A: (302, {"Location": "/x"}), A + "x": [503, '<a href="/y">']})
        crawl(self.Walk, web, pages_per_domain=3)
        assert web.urls() == [A, A + "x", A + "x"]

    def test_a_path_may_have_a_budget_of_its_own(self) -> None:
        web = FakeWeb(self.TRAP)
        result = crawl(self.Walk, web, pages_per_domain={"a.test/1": 2}, max_depth=2)
        assert sum(url.startswith(A + "1") for url in web.urls()) == 2
        assert sum(url.startswith(A + "2") for url in web.urls()) == 4
        assert set(result.denied.values()) >= {"over budget: a.test/1: 2 pages"}

    def test_a_request_gives_its_budget_to_all_that_it_leads_to(self) -> None:
        class Budgeted(self.Walk):  # type: ignore[name-defined,misc]
            def start(self) -> Any:
                yield Request(A + "1/", budget=3)
                yield Request(A + "2/", budget=(4, "two"))
                yield Request(A + "0/")

        web = FakeWeb(self.TRAP)
        result = crawl(Budgeted, web, max_depth=1)
        counts = [sum(url.startswith(A + first) for url in web.urls()) for first in "120"]
        assert counts == [3, 4, 4]
        assert f"over budget: budget of {A}1/: 3 pages" in result.denied.values()

    def test_what_is_spent_outlives_the_process(self) -> None:
        later = (429, {"Retry-After": "7200"}, "")
        web = FakeWeb({**self.TRAP, A + "0/": [later, self.TRAP[A + "0/"]]})
        store = MemoryStore(web.clock)
        assert crawl(self.Walk, web, store=store, pages_per_domain=5).verdict is Verdict.INCOMPLETE
        web.clock.sleep(7200)
        crawl(self.Walk, web, store=store, pages_per_domain=5)
        assert len(web.urls()) == 5

    @pytest.mark.parametrize("budget", [0, -1, True, "many", (1, 2), (1,)])
    def test_a_budget_that_is_none_is_told(self, budget: Any) -> None:
        class Wrong(self.Walk):  # type: ignore[name-defined,misc]
            def start(self) -> Any:
                yield Request(A, budget=budget)

        with pytest.raises(SpiderError, match="number of pages"):
            crawl(Wrong, FakeWeb({}))
