import pytest

from scraper.model import Headers
from scraper.politeness.retry import (
    MAX_BACKOFF,
    MAX_RETRY_AFTER,
    ROUNDED,
    RetryAdvice,
    asked_wait,
    backoff,
    is_retryable_status,
    is_safe,
    is_undone,
    retry_after,
    told,
)

NOW = 1710072000.0  # Sun, 10 Mar 2024 12:00:00 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90),
        (" 5\t", 5),
        ("0", 0),
        ("Sun, 10 Mar 2024 12:02:00 GMT", 120),
        ("Sunday, 10-Mar-24 12:02:00 GMT", 120),
        ("Sun Mar 10 12:02:00 2024", 120),
        (" Sun, 10 Mar 2024 12:02:00 GMT ", 120),
    ],
)
def test_seconds_and_dates_ask_for_a_wait(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


def test_a_date_in_the_past_asks_for_no_wait() -> None:
    assert retry_after("Sun, 10 Mar 2024 11:00:00 GMT", NOW) == 0


@pytest.mark.parametrize(
    "value", [None, "", "-5", "2.5", "later", "30, 60", "Sun, 31 Jun 2024 12:00:00 GMT", "1 minute", "³"]
)
def test_an_invalid_value_asks_for_nothing(value: str | None) -> None:
    assert retry_after(value, NOW) is None


@pytest.mark.parametrize("value", ["9" * 30, "9" * 6000, "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_an_absurd_wait_is_bounded(value: str) -> None:
    assert retry_after(value, NOW) == MAX_RETRY_AFTER


@pytest.mark.parametrize("status", [301, 307, 403, 413, 420, 429, 430, 500, 502, 503])
def test_answers_that_may_ask_for_a_rest_are_heard(status: int) -> None:
    assert asked_wait(status, Headers([("retry-after", "60")]), NOW) == 60


@pytest.mark.parametrize("status", [200, 204, 404, 410])
def test_elsewhere_the_field_means_nothing(status: int) -> None:
    assert asked_wait(status, Headers([("Retry-After", "60")]), NOW) is None


def test_of_repeated_fields_the_longest_valid_wait_counts() -> None:
    headers = Headers([("Retry-After", "10"), ("Retry-After", "soon"), ("retry-after", "20")])
    assert asked_wait(503, headers, NOW) == 20
    assert asked_wait(503, Headers(), NOW) is None


def test_trouble_of_the_moment_is_tried_again_and_other_errors_are_not() -> None:
    assert all(is_retryable_status(status) for status in (408, 429, 500, 502, 503, 504, 522))
    assert not any(is_retryable_status(status) for status in (200, 301, 400, 401, 403, 404, 410, 451, 501))


def test_only_methods_that_change_nothing_are_safe() -> None:
    assert is_safe("GET") and is_safe("head") and is_safe("OPTIONS")
    assert not is_safe("POST") and not is_safe("PUT") and not is_safe("DELETE")


def test_backoff_doubles_up_to_its_bound() -> None:
    assert [backoff(n, 0.5) for n in (1, 2, 3, 4)] == [1, 2, 4, 8]
    assert backoff(10**9, 0.5) == MAX_BACKOFF / 2


def test_backoff_has_full_jitter() -> None:
    assert backoff(3, 0.0) == 0
    assert 7.9 < backoff(3, 0.999) < 8


DATE = ("Date", "Fri, 02 Jan 2026 06:00:00 GMT")
SERVER = 1_767_333_600.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("4.5", 5),
        ("0.2", 1),
        ("30.0", 30),
        (" 7 ", 7),
        ("+9", 9),
        ('"12"', 12),
        ("15s", 15),
        ("15 seconds", 15),
        ("2 min", 120),
        ("1500ms", 2),
        ("0:01:30", 90),
        ("PT1M5S", 65),
        ("30, 30", 30),
        (str(int(SERVER) + 40), 40),
        (f"{SERVER + 40.25:.2f}", 41),
        (str(int(SERVER * 1000) + 2500), 3),
        ("Fri, 02 Jan 2026 06:00:20 GMT", 20),
        ("Fri, 02 Jan 2026 06:00:20 +0000", 20),
        ("2026-01-02T06:00:20Z", 20),
        ("Fri Jan 02 2026 07:00:20 GMT+0100 (CET)", 20),
    ],
)
def test_a_wait_is_read_as_servers_write_it_and_rounded_up(value: str, seconds: float) -> None:
    assert asked_wait(429, Headers([("Retry-After", value)]), SERVER) == seconds


@pytest.mark.parametrize("value", ["-1", "soon", "0x10", "1e", "", "12 parsecs"])
def test_what_is_no_wait_asks_for_none(value: str) -> None:
    assert asked_wait(429, Headers([("Retry-After", value)]), SERVER) is None


@pytest.mark.parametrize("ours", [SERVER, SERVER - 90, SERVER + 90])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Retry-After", "Fri, 02 Jan 2026 06:00:20 GMT"),
        ("X-RateLimit-Reset", str(int(SERVER) + 20)),
        ("X-RateLimit-Reset", f"{SERVER + 20:.3f}"),
        ("X-RateLimit-Reset", str(int(SERVER + 20) * 1000)),
    ],
)
def test_moments_count_from_the_clock_of_the_server(name: str, value: str, ours: float) -> None:
    said = told(429, Headers([DATE, (name, value), ("X-RateLimit-Remaining", "0")]), ours)
    assert said.is_limited and said.rest == 20 + ROUNDED


def test_what_sites_say_for_too_many_requests_is_a_limit_and_undone_only_where_nothing_was_done() -> None:
    assert all(told(status, Headers(), SERVER).is_limited for status in (420, 429, 430, 503, 509, 529))
    assert [status for status in (420, 429, 430, 503, 509, 529, 200) if is_undone(status)] == [420, 429, 430]


def test_a_wait_that_two_fields_tell_is_one_wait() -> None:
    fields = [DATE, ("Retry-After", "19"), ("X-RateLimit-Remaining", "0")]
    said = told(429, Headers([*fields, ("X-RateLimit-Reset", str(int(SERVER) + 20))]), SERVER)
    assert (said.rest, said.budgets, said.pause) == (21, (), 21)


def test_retry_after_goes_before_a_quota_that_tells_something_else() -> None:
    fields = [DATE, ("Retry-After", "5"), ("RateLimit-Remaining", "0"), ("RateLimit-Reset", "3000")]
    assert told(429, Headers(fields), SERVER).rest == 6


def test_a_reset_alone_is_a_wait_where_it_comes_with_a_refusal() -> None:
    fields = Headers([DATE, ("X-RateLimit-Reset", "30")])
    assert told(429, fields, SERVER).rest == 31
    assert told(200, fields, SERVER) == RetryAdvice()


def test_what_is_left_of_a_quota_is_told_by_any_answer() -> None:
    fields = [("RateLimit-Limit", "10"), ("RateLimit-Remaining", "0"), ("RateLimit-Reset", "3")]
    said = told(404, Headers(fields), SERVER)
    assert (said.rest, said.budgets, said.pause) == (None, ((0, 3.0),), 4.0)
    assert not said.is_limited
