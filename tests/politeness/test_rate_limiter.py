"""The rate limiter that every request passes, under threads that wake as late as they please."""

import threading
from collections.abc import Callable

import pytest

from scraper.politeness.rate_limiter import LONGEST_FLIGHT, LoadsLimiter, RateLimiter, RateLimiters
from scraper.testing import FakeClock


class Sleepy:
    """A clock by hand: each sleeper wakes when the test says so, however late."""

    def __init__(self) -> None:
        self.moment = 100.0
        self.sleepers: list[tuple[float, threading.Event]] = []
        self.asleep = threading.Semaphore(0)

    def now(self) -> float:
        return self.moment

    def wall(self) -> float:
        return self.moment

    def sleep(self, seconds: float) -> None:
        wakes = threading.Event()
        self.sleepers.append((self.moment + seconds, wakes))
        self.asleep.release()
        wakes.wait()


def start(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread


def test_slots_are_a_delay_apart_for_all_who_come_at_once() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0, concurrency=3)
    limiter.enter()
    for _ in range(2):
        start(limiter.enter)
        assert clock.asleep.acquire(timeout=5)
    assert [moment for moment, _ in clock.sleepers] == [101.0, 102.0]


def test_who_wakes_late_moves_those_behind() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0, concurrency=3)
    limiter.enter()
    threads = []
    for _ in range(2):
        threads.append(start(limiter.enter))
        assert clock.asleep.acquire(timeout=5)
    clock.moment = 101.75
    clock.sleepers[0][1].set()
    threads[0].join(5)
    clock.moment = 102.0
    clock.sleepers[1][1].set()
    assert clock.asleep.acquire(timeout=5)
    assert clock.sleepers[2][0] == 102.75
    clock.moment = 102.75
    clock.sleepers[2][1].set()
    threads[1].join(5)
    assert (limiter.sends, limiter.breaches, limiter.min_gap) == (3, 0, 1.0)


def test_a_rest_holds_back_those_who_wait_already() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0, concurrency=2)
    limiter.enter()
    start(limiter.enter)
    assert clock.asleep.acquire(timeout=5)
    limiter.rest_until(110.0)
    clock.moment = 101.0
    clock.sleepers[0][1].set()
    assert clock.asleep.acquire(timeout=5)
    assert clock.sleepers[1][0] == 110.0


def test_one_at_a_time_the_delay_counts_from_the_first_byte() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0)
    limiter.enter()
    clock.moment = 103.0
    limiter.answered()
    assert limiter.due == 104.0


def test_with_several_in_the_air_it_counts_from_the_start_and_a_failure_from_its_end() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0, concurrency=2)
    limiter.enter()
    clock.moment = 103.0
    limiter.answered()
    assert limiter.due == 101.0
    limiter.failed()
    assert limiter.due == 104.0


def test_a_longer_delay_counts_from_the_last_send_already() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0)
    limiter.enter()
    limiter.slow_to(10.0)
    assert limiter.due == 110.0


def test_who_asks_another_domain_meets_the_clock_of_who_holds_it() -> None:
    clock = Sleepy()
    limiters = RateLimiters(clock, 1.0)
    limiters.of("a.example").enter()
    held = RateLimiter(clock, 1.0)
    limiters.hold("a.example", held)
    assert held.due == 101.0 and limiters.of("a.example") is held
    held.rest_until(500.0)
    limiters.let_go("a.example")
    assert limiters.of("a.example").due == 500.0


def test_clocks_that_have_run_out_are_not_kept_without_end() -> None:
    clock = Sleepy()
    limiters = RateLimiters(clock, 1.0)
    for number in range(3000):
        limiter = RateLimiter(clock, 1.0)
        limiters.hold(f"{number}.example", limiter)
        limiter.enter()
        limiters.let_go(f"{number}.example")
        clock.moment += 10.0
    assert len(limiters._lent) <= 1001


def test_nothing_passes_after_the_deadline_until_it_has_moved_on() -> None:
    clock = Sleepy()
    deadline = clock.moment - 1.0
    limiter = RateLimiter(clock, 1.0, deadline=lambda: deadline)
    thread = start(limiter.enter)
    assert clock.asleep.acquire(timeout=5.0)
    assert limiter.sends == 0
    clock.moment += 60.0
    clock.sleepers.pop()[1].set()
    assert clock.asleep.acquire(timeout=5.0)
    deadline = clock.moment + 1.0
    clock.sleepers.pop()[1].set()
    thread.join()
    assert (limiter.sends, limiter.last_sent) == (1, clock.moment)


def test_what_rendered_pages_ask_for_keeps_its_own_delay_unless_the_site_asks_for_a_longer_one() -> None:
    clock = FakeClock()
    limiter = RateLimiter(clock, 1.0)
    loads = LoadsLimiter(limiter, 0.2, 1.0)
    limiter.enter()
    limiter.answered()
    begun = clock.now()
    loads.enter()
    loads.answered()
    assert clock.now() - begun == pytest.approx(0.2)
    limiter.enter()
    limiter.answered()
    assert clock.now() - begun == pytest.approx(1.2)
    limiter.slow_to(5.0)  # a Crawl-delay
    loads.enter()
    assert clock.now() - begun == pytest.approx(6.2) and limiter.breaches == 0


def test_who_comes_meanwhile_waits_for_the_first_byte_of_what_is_in_flight_and_the_delay_from_there() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0)
    limiter.enter()
    second = start(limiter.enter)
    assert clock.asleep.acquire(timeout=5) and limiter.is_in_flight
    clock.moment = 101.5  # its slot has come, the answer has not
    clock.sleepers[0][1].set()
    assert clock.asleep.acquire(timeout=5) and clock.sleepers[1][0] == 101.55
    clock.moment = 103.0
    limiter.answered()
    assert not limiter.is_in_flight
    clock.sleepers[1][1].set()
    assert clock.asleep.acquire(timeout=5) and clock.sleepers[2][0] == 104.0
    clock.moment = 104.0
    clock.sleepers[2][1].set()
    second.join(5)
    assert (limiter.sends, limiter.min_gap) == (2, 4.0)


def test_nobody_waits_for_ever_for_a_first_byte_that_nobody_hears() -> None:
    clock = Sleepy()
    limiter = RateLimiter(clock, 1.0)
    limiter.enter()
    clock.moment = 100.0 + LONGEST_FLIGHT
    assert not limiter.is_in_flight
    limiter.enter()
    limiter.failed()
    assert not limiter.is_in_flight and limiter.sends == 2
