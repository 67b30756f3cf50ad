import pytest

from scraper.model import Headers
from scraper.politeness.retry import (
    MAX_BACKOFF,
    MAX_RETRY_AFTER,
    asked_wait,
    backoff,
    is_retryable_status,
    is_safe,
    retry_after,
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


@pytest.mark.parametrize("status", [301, 307, 403, 413, 429, 500, 502, 503])
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
