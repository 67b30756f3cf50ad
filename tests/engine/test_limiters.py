"""Limiters of many kinds, and sites that only look like one, as they see a crawl of the real engine."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from scraper.engine.plan import Stop
from scraper.model import Verdict
from scraper.testing import FakeWeb, crawl
from scraper.testing.clock import MORNING
from scraper.testing.web import Scripted
from tests.engine.test_engine import A, Walk, links
from tests.engine.test_rate_limits import Gate, Refusing, without_a_word
from tests.grids import mostly_thorough
from tests.politeness.test_learned import KINDS, Bucket, Log, Window

HOUR, DAY = 3600, 86400
# Requests in seconds, and how many pages there are: some more than the limit lets pass at once.
LIMITS = [(5, 1, 25), (5, 10, 25), (10, 30, 25), (60, 60, 90), (20, 300, 45), (100, 600, 130), (30, HOUR, 45)]


def _reset(status: int) -> Refusing:
    return lambda wait: (status, {"RateLimit-Remaining": "0", "RateLimit-Reset": str(math.ceil(wait))})


def _retry_after(status: int) -> Refusing:
    return lambda wait: (status, {"Retry-After": str(math.ceil(wait))})


FORMS = {"silent": without_a_word, "Retry-After": _retry_after, "RateLimit": _reset}


def _grid() -> Iterator[tuple[str, int, int, int, int, str, float]]:
    """Some of all there are, so that each value of each meets each other; all of them passed once."""
    kinds = ["fixed window", "sliding window", "token bucket", "leaky bucket"]
    every = product(kinds, LIMITS, (429, 503, 403, 500), FORMS, (1.0, 0.2))
    for number, (kind, (count, seconds, pages), status, form, delay) in enumerate(every):
        if number % 41 == 0 or (form == "silent" and number % 9 == 0):
            yield kind, count, seconds, pages, status, form, delay


@pytest.mark.parametrize(
    ("kind", "count", "seconds", "pages", "status", "form", "delay"), mostly_thorough(_grid(), each=5)
)
def test_a_limiter_refuses_twice_at_most_until_all_is_here(
    kind: str, count: int, seconds: int, pages: int, status: int, form: str, delay: float
) -> None:
    site = Gate(KINDS[kind](count, seconds), FORMS[form](status), [str(number) for number in range(pages)])
    result, got = None, 0
    for _ in range(9):
        result = site.crawl(result, delay=delay)
        got += len(result.pages)
        assert not result.failed
        if result.summary["exit_code"] == 0:
            break
        assert result.summary["exit_code"] == 75
        site.web.clock.sleep(DAY)
    assert got == pages + 1
    # Errors of longer than 75 s may be those of a site that is down for minutes.
    is_like_trouble = form == "silent" and seconds > 75
    is_few_by_the_hour = (kind, count, form) == ("leaky bucket", 30, "silent")
    assert site.refusals <= (
        {503: 3, 500: 4}.get(status, 3 if is_few_by_the_hour else 2) if is_like_trouble else 2
    )


@pytest.mark.parametrize("status", [429, 503, 403, 500])
def test_a_limit_by_the_day_that_says_nothing_loses_no_page(status: int) -> None:
    site = Gate(KINDS["fixed window"](40, DAY), without_a_word(status), [str(n) for n in range(60)])
    result, got, refusals = None, 0, [0]
    for _ in range(9):
        result = site.crawl(result)
        got += len(result.pages)
        refusals.append(site.refusals)
        if result.summary["exit_code"] == 0:
            break
        site.web.clock.sleep(DAY)
    assert (got, result and result.failed) == (61, {})
    # Errors are waited for as those of a site that is down for minutes first.
    most = {503: 3, 500: 4}.get(status, 2)
    assert refusals[1] == site.refusals <= most, "in the first run only"


@pytest.mark.parametrize(
    ("kind", "status"), mostly_thorough(product(["token bucket", "leaky bucket"], [503, 500]), each=4)
)
def test_a_large_bucket_that_fills_up_slowly_is_not_taken_for_a_site_that_refuses_at_random(
    kind: str, status: int
) -> None:
    """It was refused 32 to 40 times: a second of rest is none for it, and errors look like trouble."""
    site = Gate(KINDS[kind](100, 3600), without_a_word(status), [str(n) for n in range(160)])
    result = site.crawl(delay=0.05)
    assert (result.summary["exit_code"], len(result.pages), result.failed) == (0, 161, {})
    assert site.refusals <= 3


class Counting(Log):
    """Refused requests count as well, as in HAProxy."""

    def wait(self, now: float) -> float:
        self.taken = [moment for moment in self.taken if moment > now - self.seconds] + [now]
        return self.taken[-self.count] + self.seconds - now if len(self.taken) > self.count else 0.0


class Halves(Window):
    """A sliding window counted by two fixed ones, as in Upstash and Cloudflare."""

    before = 0

    def wait(self, now: float) -> float:
        begun = now // self.seconds * self.seconds
        if begun != self.begun:
            self.before = self.used if begun == self.begun + self.seconds else 0
            self.begun, self.used = begun, 0
        left = begun + self.seconds - now
        if self.before * left / self.seconds + self.used + 1 > self.count:
            return left
        self.used += 1
        return 0.0


class Empty(Bucket):
    """A bucket that has no token but for robots.txt when we come."""

    def __init__(self, count: int, seconds: float) -> None:
        super().__init__(count, seconds)
        self.level, self.at = 1.0, MORNING


MORE_KINDS = KINDS | {"refusals count": Counting, "two halves": Halves, "empty at first": Empty}
CELLS = [
    (kind, *limit, status, delay)
    for number, (kind, limit, status, delay) in enumerate(
        product(
            MORE_KINDS, [(2, 10), (5, 10), (10, 60), (40, 60)], (429, 503, 403, 500), (0.0, 0.05, 0.3, 1.0)
        )
    )
    if number % 7 == 0
]


@pytest.mark.parametrize(("kind", "count", "seconds", "status", "delay"), mostly_thorough(CELLS, each=5))
def test_a_limit_that_says_nothing_is_met_twice_at_most_and_never_later(
    kind: str, count: int, seconds: int, status: int, delay: float
) -> None:
    names = [str(number) for number in range(min(count + 20, 3 * count + 5))]
    site = Gate(MORE_KINDS[kind](count, seconds), without_a_word(status), names)
    result, refusals = None, [0]
    for _ in range(3):
        result = site.crawl(result, delay=delay)
        assert (result.summary["exit_code"], len(result.pages), result.failed) == (0, len(names) + 1, {})
        refusals.append(site.refusals)
        site.web.clock.sleep(DAY)
    # A bucket of two that was empty when we came looks as if it were one of one.
    most = 2 if refusals[1] > 1 and kind != "empty at first" else refusals[1] + 1
    assert refusals[1] <= 2 and refusals[3] <= most, refusals


@pytest.mark.parametrize("status", [429, 503, 403])
def test_a_limit_that_bears_no_burst_is_kept_at_a_pace_that_ends_in_time(status: int) -> None:
    site = Gate(Bucket(30, 60, 1), without_a_word(status))
    result = site.crawl(None)
    assert (result.summary["exit_code"], len(result.pages)) == (0, 31)
    assert site.refusals <= 2 and site.web.clock.now() - MORNING < 31 * 20


def test_a_fast_run_through_a_limit_by_halves_ends() -> None:
    """No run ended: the pace that was proven would have been longer than a run waits."""
    site = Gate(Halves(5, 60), without_a_word(429), [str(number) for number in range(30)])
    result = site.crawl(delay=0.05)
    assert (result.summary["exit_code"], len(result.pages)) == (0, 31)
    assert site.refusals <= 2


NAMES = [str(number) for number in range(30)]


def _site(**others: Scripted) -> FakeWeb:
    return FakeWeb(
        {A: links(*NAMES), **{A + name: links() for name in NAMES}}
        | {A + name: answer for name, answer in others.items()}
    )


@pytest.mark.parametrize("status", [403, 500, 503])
@pytest.mark.parametrize("bad", [("15",), ("0",), ("29",), NAMES[8:23], NAMES[2::3]], ids=str)
def test_pages_that_fail_by_themselves_slow_nothing_down(status: int, bad: list[str]) -> None:
    web = _site(**dict.fromkeys(bad, status))
    result = crawl(Walk, web)
    assert (result.stop, set(result.failed)) == (Stop.DONE, {A + name for name in bad})
    assert result.summary["by_domain"]["a.test"]["learned"] == ""
    rests = len([gap for gap in web.gaps("a.test") if gap > 10])
    is_alone = status == 500 and len(bad) == 1 and bad != ("29",)
    assert rests == (0 if is_alone else 2), "one experiment, none for the error of one page"
    assert len(web.requests) < 35 + (2 if status == 403 else 6) * len(bad)


def test_no_page_is_given_up_because_one_was_forbidden_twice_by_chance() -> None:
    web = _site(**{"5": [403, 403, links()]}, **{name: [403, links()] for name in NAMES[6::2]})
    result = crawl(Walk, web)
    assert (result.stop, len(result.pages), result.failed) == (Stop.DONE, 31, {})


def test_of_ones_own_server_a_first_page_in_error_is_told_at_once() -> None:
    web = FakeWeb({A: 500})
    result = crawl(Walk, web, delay=0.0)
    assert set(result.failed) == {A} and web.clock.now() - MORNING < 60


@pytest.mark.parametrize("status", [403, 503, 500])
def test_a_limit_of_one_in_two_minutes_ends_without_a_storm_of_refusals(status: int) -> None:
    site = Gate(Bucket(30, 3600, 1), without_a_word(status), NAMES[:8])
    result, refusals = None, []
    for _ in range(3):
        result = site.crawl(result)
        refusals.append(site.refusals)
        site.web.clock.sleep(DAY / 2)
    # A first page that is refused for longer than 75 s is given up: robots.txt took the token.
    assert (result.summary["exit_code"], result.failed) == (0, {})
    assert refusals[1] <= 8 and refusals[2] == refusals[1]


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_fast_site_of_which_a_page_fails_rests_for_seconds(status: int) -> None:
    web = _site(**{"15": status})
    result = crawl(Walk, web, delay=0.02)
    assert (result.stop, set(result.failed)) == (Stop.DONE, {A + "15"})
    assert max(web.gaps("a.test")) < 10


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_fast_site_with_a_limit_that_says_nothing_loses_no_page(status: int) -> None:
    site = Gate(KINDS["fixed window"](10, 30), without_a_word(status), NAMES[:25])
    result = site.crawl(None, delay=0.02)
    assert (result.summary["exit_code"], len(result.pages), result.failed) == (0, 26, {})
    assert site.refusals <= 2


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_run_that_hardly_waits_still_tells_a_page_from_the_pace(status: int) -> None:
    result = crawl(Walk, _site(**{"15": status}), max_wait=10)
    assert (result.stop, set(result.failed)) == (Stop.DONE, {A + "15"})


@pytest.mark.parametrize("status", [403, 500, 503])
def test_an_error_that_passes_when_asked_again_loses_nothing(status: int) -> None:
    result = crawl(Walk, _site(**{"15": [status, links()]}))
    assert (len(result.pages), result.failed) == (31, {})


@pytest.mark.parametrize("drop", [ConnectionResetError("reset"), TimeoutError("timed out")], ids=repr)
@pytest.mark.parametrize(
    ("kind", "count", "seconds", "delay"),
    [(Window, 10, 30, 1.0), (Window, 10, 30, 0.05), (Log, 5, 10, 0.2), (Bucket, 30, 60, 0.2)],
)
def test_a_limit_that_drops_connections_loses_no_page_and_is_met_twice(
    kind: Any, count: int, seconds: int, delay: float, drop: Exception
) -> None:
    site = Gate(kind(count, seconds), lambda wait: drop, [str(number) for number in range(60)])
    first = site.crawl(delay=delay)
    assert (first.summary["exit_code"], len(first.pages), first.failed) == (0, 61, {})
    assert site.refusals <= 2
    site.crawl(first, delay=delay)
    assert site.refusals <= 2


@pytest.mark.parametrize("status", [503, 500, 403])
def test_a_limit_that_bears_no_burst_is_looked_for_whatever_it_answers(status: int) -> None:
    site = Gate(Bucket(30, 60, 1), without_a_word(status), [str(number) for number in range(100)])
    result = site.crawl()
    assert (result.summary["exit_code"], len(result.pages), site.refusals) == (0, 101, 2)
    assert 2.0 < site.web.gaps("a.test")[-1] < 3.0


@pytest.mark.parametrize("status", [429, 503, 403, 500])
def test_a_fast_first_page_that_a_bucket_has_no_token_for_is_waited_for(status: int) -> None:
    site = Gate(Bucket(10, 60, 1), without_a_word(status), NAMES[:10])
    result = site.crawl(delay=0.02)
    assert (result.verdict, len(result.pages), result.failed) == (Verdict.OK, 11, {})
    assert site.refusals <= 3


@pytest.mark.parametrize("status", [503, 403])
def test_an_accident_among_refusals_is_forgotten_in_its_run(status: int) -> None:
    names = [str(number) for number in range(300)]
    web = FakeWeb({A: links(*names)} | {A + name: links() for name in names})
    web[A + "15"] = [status, links()]
    result = crawl(Walk, web)
    assert (len(result.pages), result.summary["by_domain"]["a.test"]["learned"]) == (301, "")
    assert web.gaps("a.test")[-1] == 1.0


@pytest.mark.parametrize("error", [500, ConnectionResetError("reset")], ids=repr)
def test_an_error_that_comes_alone_costs_no_rest_and_nothing_on_later_nights(error: Any) -> None:
    web, result = _site(**{"15": [error, links()], "20": [links(), error, links()]}), None
    for _ in range(2):
        result = crawl(Walk, web, store=result.store if result else None)
        assert (result.verdict, result.failed) == (Verdict.OK, {})
        assert result.summary["by_domain"]["a.test"]["learned"] == ""
        web.clock.sleep(DAY)
    assert len([gap for gap in web.gaps("a.test") if gap > 2]) == 1, "the night between"


@pytest.mark.parametrize("wait", ["1", "20"])
def test_an_only_refusal_that_tells_its_wait_costs_that_wait(wait: str) -> None:
    names = [str(number) for number in range(70)]
    web = FakeWeb({A: links(*names)} | {A + name: links() for name in names})
    busy, result = (503, {"Retry-After": wait}), None
    web[A + "15"] = [busy, links(), busy, links(), busy, links()]
    for _ in range(3):
        result = crawl(Walk, web, store=result.store if result else None)
        assert (result.verdict, result.failed) == (Verdict.OK, {})
        assert result.summary["by_domain"]["a.test"]["learned"] == ""
        web.clock.sleep(DAY)
    gaps = [gap for gap in web.gaps("a.test") if 1.0 < gap < DAY]
    assert gaps == [pytest.approx(float(wait) + 1.0, abs=0.01)] * 3


def _out(answer: Scripted, seconds: float) -> FakeWeb:
    """The site of thirty pages, which answers nothing else for so long, after ten."""
    web = _site()
    began = web.clock.now()

    def at_work(page: Scripted) -> Any:
        return lambda asked: answer if 10 < asked.at - began < 10 + seconds else page

    web.pages = {url: at_work(page) for url, page in web.pages.items()}
    return web


OUT = (503, {"Retry-After": "10"})


@pytest.mark.parametrize("answer", [OUT, (503, {"Retry-After": "1"})], ids=str)
@pytest.mark.parametrize("seconds", [300, 7200, 40000])
def test_from_how_long_a_site_was_down_no_pace_is_learned(answer: Scripted, seconds: float) -> None:
    web = _out(answer, seconds)
    result = crawl(Walk, web)
    while result.summary["exit_code"] == 75:
        web.clock.sleep(HOUR + 80)
        result = crawl(Walk, web, store=result.store)
    assert web.clock.now() - MORNING < seconds + 3 * HOUR
    assert (result.summary["exit_code"], max(web.gaps("a.test")[-10:])) == (0, pytest.approx(1.25))


def test_a_long_window_that_tells_a_short_wait_is_told_from_a_site_in_trouble_when_it_comes_again() -> None:
    names = [str(number) for number in range(120)]
    site = Gate(KINDS["fixed window"](30, HOUR), lambda wait: OUT, names)
    result, got, refusals = None, 0, []
    while result is None or result.summary["exit_code"] == 75:
        result = site.crawl(result)
        got += len(result.pages)
        refusals.append(site.refusals)
        site.web.clock.sleep(HOUR + 80)
    assert (got, result.failed, refusals[:2]) == (121, {}, [4, 5])
    assert site.refusals == 5


def test_a_site_that_is_down_for_minutes_and_tells_a_wait_holds_a_run_up_for_no_longer() -> None:
    web = _out(OUT, 150)
    result = crawl(Walk, web)
    assert (result.verdict, len(result.pages)) == (Verdict.OK, 31)
    assert web.clock.now() - MORNING < 10 + 10 + 75 + 300 + 30 * 1.25 + 5


@pytest.mark.parametrize("answer", [503, OUT, (429, {"Retry-After": "10"})], ids=str)
def test_a_site_in_trouble_is_asked_at_its_old_pace_the_next_night(answer: Scripted) -> None:
    web = _out(answer, 590)
    first = crawl(Walk, web)
    assert (first.summary["exit_code"], first.failed) == (75, {})
    web.clock.sleep(DAY)
    second = crawl(Walk, web, store=first.store)
    assert (second.summary["exit_code"], len(first.pages) + len(second.pages)) == (0, 31)
    assert max(web.gaps("a.test")[-10:]) == 1.0


def test_a_site_that_closes_for_good_in_the_middle_of_a_run_is_blocked_at_last() -> None:
    web = _site(**dict.fromkeys(NAMES[10:], 403))
    began = web.clock.now()
    web.pages = {url: _closing(page, began + 10) for url, page in web.pages.items()}
    verdicts, result = [], None
    for _ in range(4):
        result = crawl(Walk, web, store=result.store if result else None)
        verdicts.append(result.verdict)
        web.clock.sleep(DAY)
    assert verdicts[0] is Verdict.INCOMPLETE and verdicts[-1] is Verdict.BLOCKED


def _closing(page: Scripted, at: float) -> Any:
    return lambda asked: page if asked.at < at else 403
