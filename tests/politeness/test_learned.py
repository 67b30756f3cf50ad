"""A site's limit as its refusals teach it, against simulated limiters of every kind, window and frankness."""

import math
import random
from collections.abc import Callable
from itertools import product

import pytest

from scraper.politeness import learned
from scraper.politeness.limit import Limit, told_of
from scraper.politeness.limit_search import settled

DAY = 86400.0
MAX_DELAY, MAX_WAIT = 120.0, 300.0


class Window:
    """`count` requests in `seconds`; from the first request, or `aligned` with the clock."""

    def __init__(self, count: int, seconds: float, *, is_aligned: bool = False) -> None:
        self.count, self.seconds, self.is_aligned = count, seconds, is_aligned
        self.begun, self.used = -math.inf, 0

    def wait(self, now: float) -> float:
        """Take a request in; seconds that it came too early."""
        begun = self.begun if now < self.begun + self.seconds else now
        if self.is_aligned:
            begun = now // self.seconds * self.seconds
        if begun != self.begun:
            self.begun, self.used = begun, 0
        if self.used >= self.count:
            return self.begun + self.seconds - now
        self.used += 1
        return 0.0


class Log:
    """`count` requests in any `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self.taken: list[float] = []

    def wait(self, now: float) -> float:
        self.taken = [moment for moment in self.taken if moment > now - self.seconds]
        if len(self.taken) >= self.count:
            return self.taken[0] + self.seconds - now
        self.taken.append(now)
        return 0.0


class Bucket:
    """A token each `count`-th part of `seconds`, `size` at most: a token or a leaky bucket."""

    def __init__(self, count: int, seconds: float, size: int | None = None) -> None:
        self.rate, self.size = count / seconds, float(size or count)
        self.level, self.at = self.size, 0.0

    def wait(self, now: float) -> float:
        self.level = min(self.size, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1 - 1e-9:
            return (1 - self.level) / self.rate
        self.level -= 1
        return 0.0


class Accident:
    """No limit, but for one request."""

    def __init__(self, place: int = 11) -> None:
        self.place, self.count = place, 0

    def wait(self, now: float) -> float:
        self.count += 1
        return float(self.count == self.place)


Limiter = Window | Log | Bucket | Accident
LIMITS = [(1, 2), (2, 10), (5, 10), (10, 30), (5, 60), (10, 60), (40, 60), (20, 300), (100, 600), (30, 3600)]
KINDS: dict[str, Callable[[int, int], Limiter]] = {
    "fixed window": Window,
    "window by the clock": lambda count, seconds: Window(count, seconds, is_aligned=True),
    "sliding window": Log,
    "token bucket": Bucket,
    "leaky bucket": lambda count, seconds: Bucket(count, seconds, max(1, count // 2)),
}


class Crawl:
    """Runs of a crawl through a limiter, by a clock of their own."""

    def __init__(self, limiter: Limiter, delay: float, *, tells: bool, is_sure: bool = True) -> None:
        self.limiter, self.delay, self.tells, self.is_sure = limiter, delay, tells, is_sure
        self.limit = Limit()
        self.now = 1_000_017.0
        self.refused = 0

    def run(self, pages: int) -> int:
        """How many pages are left when the run ends: with none, or because it does not wait so long."""
        self.limit = settled(self.limit)
        while pages:
            if wait := self.limiter.wait(self.now):
                self.refused += 1
                told = math.ceil(wait) + 1.0 if self.tells else None
                pace = max(self.delay, learned.eased(self.limit, self.now).interval)
                self.limit, rest = learned.refused(
                    self.limit, self.now, told, pace, MAX_DELAY, is_sure=self.is_sure
                )
                due = self.now + rest
            else:
                pages -= 1
                self.limit = learned.passed(self.limit, 1, self.now)
                interval = learned.eased(self.limit, self.now).interval
                due = max(self.now + max(self.delay, interval), learned.rested_until(self.limit))
            is_too_long = due - self.now > MAX_WAIT
            self.now = due
            if is_too_long:
                break
        return pages


@pytest.mark.parametrize("tells", [True, False], ids=["tells", "says nothing"])
@pytest.mark.parametrize(
    ("kind", "count", "seconds"), [(kind, *limit) for kind, limit in product(KINDS, LIMITS)]
)
def test_a_limiter_refuses_twice_at_most_and_no_later_run(
    kind: str, count: int, seconds: int, tells: bool
) -> None:
    crawl = Crawl(KINDS[kind](count, seconds), 1.0, tells=tells)
    left = crawl.run(300)
    while left:
        before, left = left, crawl.run(left)
        assert left < before, "each run gets on"
    # Of a bucket of 15 by the hour a rest of 300 s gives a few tokens.
    is_few_by_the_hour = (kind, seconds, tells) == ("leaky bucket", 3600, False)
    assert crawl.refused <= (3 if is_few_by_the_hour else 2)
    refused = crawl.refused
    for _ in range(3):
        crawl.run(60)
    assert crawl.refused == refused


@pytest.mark.parametrize(("kind", "count", "seconds"), [("fixed window", 10, 30), ("sliding window", 20, 60)])
def test_a_site_that_tells_how_long_is_asked_at_nearly_its_rate(kind: str, count: int, seconds: int) -> None:
    crawl = Crawl(KINDS[kind](count, seconds), 1.0, tells=True)
    crawl.run(300)
    assert seconds / count < crawl.limit.interval < 1.3 * seconds / count


@pytest.mark.parametrize(
    ("limiter", "interval"),
    [
        (Window(10, 30), 3),
        (Log(10, 60), 6),
        (Bucket(30, 60), 2),
        (Bucket(30, 60, 1), 2),
    ],
)
def test_a_site_that_says_nothing_is_asked_at_nearly_its_rate_in_the_end(
    limiter: Limiter, interval: float
) -> None:
    crawl = Crawl(limiter, 1.0, tells=False)
    crawl.run(300)
    assert crawl.refused == 2 and interval < crawl.limit.interval < 1.75 * interval


def test_what_a_run_ended_too_early_to_find_is_not_looked_for_in_the_next_one() -> None:
    crawl = Crawl(Window(10, 30), 1.0, tells=False)
    crawl.run(25)
    assert crawl.limit.start
    for _ in range(3):
        crawl.run(100)
    assert crawl.refused == 1 and crawl.limit.interval < 7


@pytest.mark.parametrize("is_sure", [True, False])
@pytest.mark.parametrize(("count", "seconds"), [(20, 300), (10, 120), (10, 90)])
@pytest.mark.parametrize("kind", ["fixed window", "sliding window", "token bucket"])
def test_a_window_of_some_minutes_is_found_within_one_run(
    kind: str, count: int, seconds: int, is_sure: bool
) -> None:
    crawl = Crawl(KINDS[kind](count, seconds), 1.0, tells=False, is_sure=is_sure)
    assert crawl.run(50) == 0
    assert crawl.refused == 2
    assert crawl.run(50) == 0
    assert crawl.refused == 2 and crawl.limit.interval < 4 * seconds / count


def test_a_site_that_was_down_for_minutes_is_asked_at_its_old_pace_after_an_hour() -> None:
    class Down(Accident):
        def wait(self, now: float) -> float:
            return max(0.0, 100 - abs(now - 1_000_130))

    crawl = Crawl(Down(), 1.0, tells=False, is_sure=False)
    began = crawl.now
    crawl.run(400)
    assert crawl.refused == 2 and not crawl.limit.is_learned
    assert crawl.now - began < 4000


def test_a_large_bucket_that_fills_up_slowly_is_known_by_what_filled_up() -> None:
    crawl = Crawl(Bucket(10, 3600), 1.0, tells=False)
    for _ in range(30):
        crawl.run(2)
    assert crawl.refused == 3


def test_a_window_by_the_clock_that_ended_during_our_rest_is_known_at_the_third_refusal() -> None:
    crawl = Crawl(KINDS["window by the clock"](10, 120), 1.0, tells=False)
    crawl.run(300)
    assert crawl.refused == 3 and crawl.limit.interval < 24


def test_an_accident_is_forgotten_when_the_old_pace_has_proven_right_again() -> None:
    crawl = Crawl(Accident(), 1.0, tells=False)
    crawl.run(200)
    assert crawl.refused == 1
    assert not crawl.limit.is_learned and not crawl.limit.lessons


@pytest.mark.parametrize("between", [20.0, DAY])
@pytest.mark.parametrize("place", [3, 10, 110, 160, 210])
def test_a_page_that_is_busy_for_a_second_in_each_run_makes_no_run_longer(place: int, between: float) -> None:
    """The bookshop took 3.3, 6.7, 11 s and more, until about the sixth run."""
    site = Accident(place)
    crawl = Crawl(site, 0.004, tells=True)
    for _ in range(8):
        site.count, began = 0, crawl.now
        crawl.run(219)
        assert crawl.now - began < 219 * 0.004 + 2.1
        crawl.now += between


@pytest.mark.parametrize("kind", ["fixed window", "sliding window", "token bucket", "leaky bucket"])
@pytest.mark.parametrize(("count", "seconds"), [(3, 5), (12, 35), (60, 60), (20, 300), (100, 600)])
@pytest.mark.parametrize("delay", [0.2, 1.0])
def test_what_a_told_wait_that_was_kept_alone_taught_holds_in_the_next_runs(
    kind: str, count: int, seconds: int, delay: float
) -> None:
    """A run of a few pages more than the limit lets pass is refused once, as a busy site would."""
    crawl = Crawl(KINDS[kind](count, seconds), delay, tells=True)
    left = crawl.run(count * 3 // 2 + 1)
    while left:
        left = crawl.run(left)
    refused = crawl.refused
    assert refused <= 2
    for _ in range(3):
        crawl.now += DAY
        crawl.run(count * 3 // 2 + 1)
    assert crawl.refused == refused


def test_a_limit_of_few_in_a_long_time_is_an_allowance_that_is_used_at_once() -> None:
    crawl = Crawl(Log(30, 3600), 1.0, tells=True)
    assert crawl.run(40) == 10
    assert crawl.limit.allowance == 15
    began = crawl.now
    assert crawl.run(10) == 0
    assert crawl.now - began < 30


def test_it_is_tried_faster_only_after_a_week_and_slowly() -> None:
    limit = Limit(interval=10.0, refused_at=1000.0)
    assert learned.eased(limit, 1000.0 + 7 * DAY) == limit
    assert learned.eased(limit, 1000.0 + 8 * DAY).interval == pytest.approx(9.0)
    assert learned.eased(limit, 1000.0 + 17 * DAY).interval == pytest.approx(10 * 0.9**10)


@pytest.mark.parametrize(
    ("count", "told", "rests"),
    [
        (40, None, [120, 3675, 82575]),
        (5, None, [75, 300, 3675]),
        (40, 1.0, [1, 75, 300, 4091]),
    ],
)
def test_a_site_that_never_relents_is_left_alone_longer_each_time(
    count: int, told: float | None, rests: list[float]
) -> None:
    limit = learned.passed(Limit(), 1, 1000.0)
    limit, now = learned.passed(limit, count - 1, 1000.0 + count), 1000.0 + count
    for expected in rests:
        limit, rest = learned.refused(limit, now, told, 1.0, MAX_DELAY)
        now += rest
        assert rest == pytest.approx(expected, abs=5)


def test_who_was_let_in_after_a_short_rest_is_not_left_alone_for_an_hour() -> None:
    limit, now = learned.passed(Limit(), 20, 1000.0), 1020.0
    limit, rest = learned.refused(limit, now, None, 1.0, MAX_DELAY)
    limit, now = learned.passed(limit, 30, now + rest + 60), now + rest + 61
    rests = []
    for _ in range(3):
        taught = limit
        limit, rest = learned.refused(limit, now, None, 1.0, MAX_DELAY)
        now += rest
        rests.append(rest)
    assert rests == pytest.approx([99.0, 300.0, 3675.0])
    assert limit.interval == taught.interval, "the second and third teach nothing"


def test_a_third_refusal_at_a_somewhat_slower_pace_is_a_limits() -> None:
    # As mod_evasive, which counts until there is a pause.
    limit = Limit(interval=7.33, burst=9, took=9.0, lessons=2, slower=28, since=1000, last=1170, accepted=17)
    limit, _ = learned.refused(limit, 1177.0, None, 7.33, MAX_DELAY)
    assert not limit.is_random and limit.interval > 10


def test_what_refuses_thrice_in_a_row_does_not_do_so_by_chance() -> None:
    limit = Limit(is_random=True, burst=13, most=7.3, since=1000, last=1020, accepted=13)
    found = []
    for now in (1021.0, 1023.0, 1027.0):
        limit, _ = learned.refused(limit, now, None, 1.0, MAX_DELAY)
        found.append(limit.is_random)
    assert found == [True, True, False] and limit.interval == 7.3


def test_what_refuses_ever_more_often_is_asked_at_no_longer_delay_than_the_longest() -> None:
    limit, now = Limit(is_random=True, burst=5, most=100.0, since=1000, last=1000, accepted=1), 1000.0
    for _ in range(200):
        now += max(1.0, limit.interval)
        limit, rest = learned.refused(limit, now, None, max(1.0, limit.interval), MAX_DELAY)
        limit, now = learned.passed(limit, 1, now + rest), now + rest
        assert limit.interval <= MAX_DELAY


def test_after_a_refusal_that_was_asked_again_at_once_no_limit_is_looked_for() -> None:
    passed = learned.passed(learned.passed(Limit(), 1, 1000.0), 9, 1009.0)
    first, _ = learned.refused(passed, 1010.0, None, 1.0, MAX_DELAY)
    second, rest = learned.refused(learned.spared(passed, 1010.0), 1011.0, None, 1.0, MAX_DELAY)
    assert first.start and not second.start and rest == 75.0
    assert second.interval > 1.5 * first.interval


def test_what_refuses_at_a_far_slower_pace_refuses_at_any() -> None:
    limit, now, chance = Limit(), 1000.0, random.Random(3)
    for _ in range(400):
        now += max(1.0, limit.interval)
        if chance.random() < 0.1:
            limit, rest = learned.refused(limit, now, None, max(1.0, limit.interval), MAX_DELAY)
            now += rest
        else:
            limit = learned.passed(limit, 1, now)
    assert limit.is_random and not limit.is_learned and learned.tries(limit) > 3


@pytest.mark.parametrize("told", [None, 1.0, 3 * DAY])
@pytest.mark.parametrize("count", [5, 50, 500])
def test_no_allowance_is_learned_for_longer_than_a_day(told: float | None, count: int) -> None:
    limit, now = learned.passed(Limit(), 1, 1000.0), 1000.0 + count
    limit = learned.passed(limit, count, now)
    for _ in range(6):
        limit, rest = learned.refused(limit, now, told, 1.0, MAX_DELAY)
        now += rest
        assert limit.interval <= MAX_DELAY and limit.window <= DAY + 10


def test_errors_of_a_site_in_trouble_do_not_slow_it_down_without_end() -> None:
    limit, now, pace = Limit(), 0.0, 0.05
    for number in range(1, 2000):
        now += max(pace, limit.interval)
        if number % 20 == 0:
            limit, rest = learned.refused(
                limit, now, None, max(pace, limit.interval), MAX_DELAY, is_sure=False
            )
            now += rest
        else:
            limit = learned.passed(limit, 1, now)
    assert limit.interval < 10


def test_a_server_that_is_busy_twice_for_a_moment_is_no_slow_limit() -> None:
    limit = learned.passed(Limit(), 6, 1.0)
    limit, _ = learned.refused(limit, 1.1, 1.0, 0.02, MAX_DELAY)
    limit = learned.passed(limit, 1, 13.0)  # the run was killed and came again
    limit, rest = learned.refused(limit, 13.1, 1.0, 0.02, MAX_DELAY)
    assert rest == 1.0 and limit.interval <= 4.0


def test_what_was_learned_is_told_in_words() -> None:
    assert told_of(Limit()) == ""
    assert told_of(Limit(interval=6.6)) == "learned from refusals, one request per 6.6 s"
    assert told_of(Limit(allowance=15, window=3600)) == "learned from refusals, 15 requests in 3600 s"
