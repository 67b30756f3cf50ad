from datetime import UTC, datetime

import pytest

from scraper.politeness.header_fields import MAX_DELTA, delta_seconds, http_date, split_list, unquote

NOW = datetime(2024, 3, 10, 12, 0, tzinfo=UTC).timestamp()


def at(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Sun, 10 Mar 2024 12:00:30 GMT", at(2024, 3, 10, 12, 0, 30)),
        ("Sunday, 10-Mar-24 12:00:30 GMT", at(2024, 3, 10, 12, 0, 30)),
        ("Sun Mar 10 12:00:30 2024", at(2024, 3, 10, 12, 0, 30)),
        ("Fri Mar  1 00:00:00 2024", at(2024, 3, 1)),
        ("sun, 10 mar 2024 12:00:30 utc", at(2024, 3, 10, 12, 0, 30)),
        ("Thu, 29 Feb 2024 00:00:00 GMT", at(2024, 2, 29)),
        ("Sat, 31 Dec 2016 23:59:60 GMT", at(2017, 1, 1)),
    ],
)
def test_all_three_formats_of_an_http_date_are_read(text: str, moment: float) -> None:
    assert http_date(text, NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "tomorrow",
        "Sun, 32 Mar 2024 12:00:30 GMT",
        "Wed, 29 Feb 2023 00:00:00 GMT",
        "Sun, 10 Mar 2024 24:00:00 GMT",
        "Sun, 10 Mar 2024 12:60:00 GMT",
        "Sun, 10 Mar 2024 12:00:30 EST",
        "Sun, 10 Mar 2024 12:00:30 +0100",
        "Sun, 10 Mar 2024 12:00:30",
        "Sun, 10 Mrz 2024 12:00:30 GMT",
        "Sun, 10 Mar 0000 12:00:30 GMT",
        "Sun, 10 Mar 2024 12:00:30 GMT, Sun, 10 Mar 2024 12:00:30 GMT",
        "Sun, ١٠ Mar 2024 12:00:30 GMT",
    ],
)
def test_what_is_no_http_date_is_none(text: str) -> None:
    assert http_date(text, NOW) is None


def test_a_two_digit_year_over_fifty_years_ahead_lies_in_the_past() -> None:
    assert http_date("Friday, 01-Mar-74 00:00:00 GMT", NOW) == at(2074, 3, 1)
    assert http_date("Saturday, 01-Jan-75 00:00:00 GMT", NOW) == at(1975, 1, 1)
    assert http_date("Sunday, 06-Nov-94 08:49:37 GMT", NOW) == 784111777


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("007", 7), ("9" * 5000, MAX_DELTA), ("0" * 5000 + "1", 1)],
)
def test_delta_seconds_are_bounded(text: str, seconds: int) -> None:
    assert delta_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.5", "1 ", "²", "٣", "1e3", "1\n"])
def test_delta_seconds_are_plain_digits(text: str) -> None:
    assert delta_seconds(text) is None


def test_a_list_is_split_outside_quoted_strings_only() -> None:
    assert split_list(r'a, b="x, \" y" ,, c') == ["a", r'b="x, \" y"', "c"]
    assert split_list('"p;q";r=1;t=2', ";") == ['"p;q"', "r=1", "t=2"]


def test_an_open_quote_runs_to_the_end() -> None:
    assert split_list('a, b="x, c\\') == ["a", 'b="x, c\\']


def test_quotes_are_taken_off_with_their_escapes() -> None:
    assert unquote(r'"a\"b"') == 'a"b'
    assert unquote("plain") == "plain"
    assert unquote('"') == '"'
