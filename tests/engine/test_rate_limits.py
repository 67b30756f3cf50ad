"""Rate limits as a site sees the crawl: the real engine on a fake web and clock."""

import math
import random
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from scraper.engine.plan import Stop
from scraper.model import Verdict
from scraper.store.memory import MemoryStore
from scraper.testing import Asked, CrawlResult, FakeWeb, crawl
from scraper.testing.web import Scripted
from tests.engine.test_engine import A, Walk, links, moments, paths
from tests.grids import mostly_thorough
from tests.politeness.test_learned import Bucket, Limiter, Log, Window

NAMES = [str(number) for number in range(30)]
Refusing = Callable[[float], Scripted]


class Gate:
    """A site of thirty pages behind a limiter; `refusals` in all."""

    def __init__(self, limiter: Limiter, refuse: Refusing, names: list[str] = NAMES) -> None:
        self.limiter, self.refuse, self.refusals = limiter, refuse, 0
        self.web = FakeWeb({A + "robots.txt": self._behind(404), A: self._behind(links(*names))})
        self.web.pages |= {A + name: self._behind("<p>page") for name in names}

    def _behind(self, page: Scripted) -> Callable[[Asked], Scripted]:
        def answer(asked: Asked) -> Scripted:
            if not (wait := self.limiter.wait(asked.at)):
                return page
            self.refusals += 1
            return self.refuse(wait)

        return answer

    def crawl(self, before: CrawlResult | None = None, **settings: Any) -> CrawlResult:
        return crawl(Walk, self.web, store=before.store if before else None, **settings)


def without_a_word(status: int) -> Refusing:
    return lambda wait: status


def with_retry_after(status: int) -> Refusing:
    return lambda wait: (status, {"Retry-After": str(math.ceil(wait))})


LIMITERS = [
    *(lambda: Window(10, 30), lambda: Log(10, 30)),
    *(lambda: Bucket(30, 60, 6), lambda: Bucket(30, 60, 1)),
]


@pytest.mark.parametrize(
    ("limiter", "status", "refuse"),
    mostly_thorough(product(LIMITERS, [429, 503, 403, 500], [without_a_word, with_retry_after])),
)
def test_no_page_is_lost_and_the_next_run_meets_no_refusal(
    limiter: Callable[[], Limiter], status: int, refuse: Callable[[int], Refusing]
) -> None:
    site = Gate(limiter(), refuse(status))
    first = site.crawl()
    assert (first.summary["exit_code"], len(first.records), first.failed) == (0, 31, {})
    assert site.refusals <= 2
    refusals = site.refusals
    second = site.crawl(first)
    assert (second.summary["exit_code"], site.refusals) == (0, refusals)
    assert "learned from refusals" in second.summary["by_domain"]["a.test"]["delay_source"]


def test_a_refusal_takes_no_attempt() -> None:
    web = FakeWeb({A: links("b"), A + "b": [429, 200, (429, {"Retry-After": "1"}), links()]})
    result = crawl(Walk, web, max_attempts=1, max_wait=600)
    assert result.pages == [A, A + "b"]


def test_a_site_that_never_relents_ends_with_the_rest_saved() -> None:
    web = FakeWeb({A: links("b", "c"), A + "b": 429, A + "c": 429})
    result = crawl(Walk, web)
    assert (result.stop, result.summary["exit_code"], result.failed) == (Stop.DEFERRED, 75, {})
    assert len(web.requests) <= 5
    web.pages |= {A + name: links() for name in "bc"}
    web.clock.sleep(86400)
    assert sorted(crawl(Walk, web, store=result.store).pages) == [A + "b", A + "c"]


@pytest.mark.parametrize("refusal", [(503, {"Retry-After": "1"}), (429, {"Retry-After": "1"}), 500], ids=str)
def test_a_busy_site_that_refuses_one_request_in_twenty_at_any_pace_slows_no_run_down(
    refusal: Scripted,
) -> None:
    chance, names = random.Random(1), [str(number) for number in range(150)]

    def busy(page: Scripted) -> Callable[[Asked], Scripted]:
        return lambda asked: refusal if chance.random() < 0.05 else page

    web = FakeWeb(
        {A + "robots.txt": 404, A: busy(links(*names))} | {A + name: busy(links()) for name in names}
    )
    began = web.clock.now()
    result = crawl(Walk, web)
    assert (result.summary["exit_code"], len(result.pages), result.failed) == (0, 151, {})
    assert web.clock.now() - began < 151 * 9


@pytest.mark.parametrize(
    ("refusal", "share"),
    mostly_thorough(product([429, 403, 503, 500, ConnectionResetError("reset")], [0.01, 0.05, 0.2]), each=4),
)
def test_a_site_that_refuses_at_random_without_a_word_is_crawled_to_its_end(
    refusal: Scripted, share: float
) -> None:
    chance, names = random.Random(1), [str(number) for number in range(150)]

    def moody(page: Scripted) -> Callable[[Asked], Scripted]:
        return lambda asked: refusal if chance.random() < share else page

    web = FakeWeb({A: moody(links(*names))} | {A + name: moody(links()) for name in names})
    began = web.clock.now()
    result = crawl(Walk, web)
    assert (result.verdict, len(result.pages), result.failed) == (Verdict.OK, 151, {})
    assert web.clock.now() - began < 151 * 10
    assert web.gaps("a.test")[-1] < 5


@pytest.mark.parametrize("status", [403, 503])
def test_a_page_that_fails_by_itself_on_a_site_that_refuses_at_random_fails_at_last(status: int) -> None:
    chance, names = random.Random(2), [str(number) for number in range(150)]

    def moody(page: Scripted) -> Callable[[Asked], Scripted]:
        return lambda asked: status if chance.random() < 0.1 else page

    web = FakeWeb({A: moody(links(*names))} | {A + name: moody(links()) for name in names})
    web[A + "140"] = status
    result = crawl(Walk, web)
    assert (result.stop, len(result.pages), set(result.failed)) == (Stop.DONE, 150, {A + "140"})


def test_a_page_that_alone_is_refused_fails_and_slows_nothing_down() -> None:
    web = FakeWeb({A: links(*NAMES), **{A + name: links() for name in NAMES}, A + "3": 503})
    result = crawl(Walk, web)
    assert "after 4 attempts, while other pages passed" in result.failed[A + "3"]
    assert result.summary["by_domain"]["a.test"]["learned"] == ""


def test_a_page_that_is_forbidden_is_no_limit_and_only_the_first_costs_a_rest() -> None:
    web = FakeWeb({A: links(*NAMES), **{A + name: links() for name in NAMES}, A + "3": 403, A + "9": 403})
    result = crawl(Walk, web)
    assert result.failed == {A + "3": "403 Forbidden", A + "9": "403 Forbidden"}
    assert result.verdict is Verdict.OK
    assert [gap for gap in web.gaps("a.test") if gap > 10] == [75.0, 76.0]
    asked = len(web.requests)
    crawl(Walk, web, store=result.store)
    assert max(web.gaps("a.test")[asked:]) < 10, "known from then on"


def budget(remaining: int, reset: int) -> dict[str, str]:
    return {"RateLimit": f'"site";r={remaining};t={reset}'}


def test_a_quota_is_heard_from_robots_txt() -> None:
    web = FakeWeb({A + "robots.txt": (404, budget(0, 3)), A: (200, {}, links())})
    crawl(Walk, web)
    assert moments(web, A) == [4.0]


def test_a_wait_that_is_told_twice_is_kept_once() -> None:
    fields = {"Retry-After": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "20"}
    web = FakeWeb({A: [(429, fields), links()]})
    crawl(Walk, web)
    assert moments(web, A) == [1.0, 22.0]


def test_of_a_small_quota_for_long_only_what_is_needed_is_spread() -> None:
    left = iter(range(29, -1, -1))

    def page(body: str) -> Callable[[Asked], Scripted]:
        return lambda asked: (200, budget(next(left), 3600), body)

    web = FakeWeb({A: page(links("b", "c", "d")), **{A + name: page("<p>") for name in "bcd"}})
    result = crawl(Walk, web)
    assert (result.summary["exit_code"], len(result.pages)) == (0, 4)
    assert max(web.gaps("a.test")) == 1.0


def test_of_a_quota_that_is_too_small_all_is_used_before_the_rest_is_left() -> None:
    left = iter(range(9, -1, -1))
    web = FakeWeb({A: lambda asked: (200, budget(next(left), 3600), links(*NAMES))})
    web.pages |= {A + name: lambda asked: (200, budget(next(left), 3600), "<p>") for name in NAMES}
    result = crawl(Walk, web)
    assert (result.summary["exit_code"], len(result.pages)) == (75, 10)


def test_a_quota_is_spread_where_that_keeps_the_run_going() -> None:
    left = iter(range(14, -1, -1))
    web = FakeWeb({A: lambda asked: (200, budget(max(0, next(left)), 60), links(*NAMES))})
    web.pages |= {A + name: lambda asked: (200, budget(next(left, 0), 60), "<p>") for name in NAMES}
    result = crawl(Walk, web)
    assert (result.summary["exit_code"], paths(result)[:1]) == (0, [""])
    assert 4 < web.gaps("a.test")[2] < 6


def test_an_empty_answer_and_a_304_that_nobody_asked_for_are_asked_again_once() -> None:
    web = FakeWeb({A: links("b", "c", "d"), A + "b": ["", links()], A + "c": [304, links()], A + "d": 304})
    result = crawl(Walk, web)
    assert sorted(result.pages) == [A, A + "b", A + "c"]
    assert "304" in result.failed[A + "d"] and paths(result).count("d") == 2


def test_a_304_that_names_another_version_is_asked_again_without_conditions() -> None:
    web = FakeWeb({A: [(200, {"ETag": '"one"'}, links()), (304, {"ETag": '"two"'}, ""), links("b")]})
    web[A + "b"] = links()
    first = crawl(Walk, web)
    second = crawl(Walk, web, store=first.store)
    assert second.pages == [A, A + "b"]
    assert "if-none-match" not in web.requests[-2].headers


def test_a_setting_auth_that_is_refused_is_a_matter_for_a_person() -> None:
    result = crawl(Walk, FakeWeb({A: 401}), auth={"a.test": "me:wrong"})
    assert (result.verdict, result.summary["exit_code"], paths(result)) == (Verdict.AUTH, 77, [""])
    assert "setting auth was refused" in result.reasons[0]


def test_what_a_proxy_answers_for_robots_txt_opens_no_site_and_is_not_kept() -> None:
    web = FakeWeb({A + "robots.txt": 407, A: links()})
    first = crawl(Walk, web)
    assert first.pages == [] and "407 Proxy Authentication Required" in first.denied[A]
    assert (first.verdict, first.summary["exit_code"]) == (Verdict.AUTH, 77)
    assert "the proxy, see setting proxies" in first.reasons[0]
    web[A + "robots.txt"] = "User-agent: *\nDisallow: /"
    second = crawl(Walk, web, store=first.store)
    assert "robots.txt line 2" in second.denied[A]


@pytest.mark.parametrize("status", [401, 403, 407])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"proxies": {"*": "http://a.proxy:3128"}}, {"proxies": {"*": "http://b.proxy:3128"}}),
        ({"proxies": {"*": "http://me:old@a.proxy:3128"}}, {"proxies": {"*": "http://me:new@a.proxy:3128"}}),
        ({"proxies": {"*": "http://a.proxy:3128"}}, {}),
        ({}, {"auth": {"a.test": "me:right"}}),
        ({"auth": {"a.test": "me:wrong"}}, {"auth": {"a.test": "me:right"}}),
    ],
)
def test_robots_txt_got_as_somebody_else_is_asked_for_again(
    status: int, before: dict[str, Any], after: dict[str, Any]
) -> None:
    web = FakeWeb({A + "robots.txt": status, A: links()})
    first = crawl(Walk, web, **before)
    web[A + "robots.txt"] = "User-agent: *\nDisallow: /"
    second = crawl(Walk, web, store=first.store, **after)
    assert second.pages == [] and "robots.txt line 2" in second.denied[A]


def test_robots_txt_got_by_the_same_way_is_kept() -> None:
    web, way = FakeWeb({A: links()}), {"proxies": {"*": "http://a.proxy:3128"}, "auth": {"a.test": "me:x"}}
    first = crawl(Walk, web, **way)
    crawl(Walk, web, store=first.store, **way)
    assert len(web.urls(robots=True)) - len(web.urls()) == 1


@pytest.mark.parametrize("status", [402, 407, 412, 418, 451, 468, 307])
def test_a_status_that_refuses_is_never_asked_again_and_three_close_the_domain(status: int) -> None:
    names = list("bcdefgh")
    web = FakeWeb({A: links(*names)} | {A + name: status for name in names})
    result = crawl(Walk, web)
    assert web.urls() == [A, A + "b", A + "c", A + "d"]
    assert (result.verdict, result.summary["exit_code"]) == (Verdict.BLOCKED, 1)
    assert str(status) in result.failed[A + "b"]


class _Wanted(MemoryStore):
    """Another spider waits for every domain, so that each is given back between two batches."""

    def heartbeat(self) -> frozenset[str]:
        return super().heartbeat() | {"a.test"}


def test_a_domain_that_others_wait_for_is_not_asked_for_ever() -> None:
    web = FakeWeb({A: 403, A + "b": 403})
    result = crawl(Walk, web, store=_Wanted(web.clock))
    assert (result.verdict, result.summary["exit_code"]) == (Verdict.BLOCKED, 1)
    assert len(web.requests) <= 6
