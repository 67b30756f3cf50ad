import datetime
from decimal import Decimal

import pytest

from scraper.parsing.fields import clean, date, price


def test_layout_space_becomes_one_blank_and_what_is_invisible_goes() -> None:
    assert clean("\n  A\u00a0\u2003b\t\u200b c\u00addef\ufeff ") == "A b cdef"
    assert clean(None) == clean(" \n") == ""


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1.234,50 €", "1234.50"),
        ("$1,234.50", "1234.50"),
        ("Price:\n\u00a0£51.77 incl. VAT", "51.77"),
        ("EUR 1\u00a0234,5", "1234.5"),
        ("1'234.50 CHF", "1234.50"),
        ("-5,00 €", "-5.00"),
        ("$-1,200.50", "-1200.50"),
        ("-kr 6.645", "-6645"),
        ("\u2212 3 €", "-3"),
        ("Tea - 5 €", "5"),
        ("5-10 €", "5"),
        ("1.234,- €", "1234"),
        ("free", "0"),
        ("on request", None),
        ("", None),
        (None, None),
    ],
)
def test_the_amount_of_a_price_is_found(text: str | None, amount: str | None) -> None:
    assert price(text) == (None if amount is None else Decimal(amount))


def test_the_decimal_separator_may_be_said() -> None:
    assert (price("1,234"), price("1,234", decimal=",")) == (Decimal(1234), Decimal("1.234"))


@pytest.mark.parametrize(
    "text", ["3 mars 2024", "2024-03-03", "March 3rd, 2024", "3. März\u00a02024 14:30", "2024年3月3日"]
)
def test_a_date_is_read_in_many_languages(text: str) -> None:
    assert date(text) == datetime.date(2024, 3, 3)


@pytest.mark.parametrize("text", ["March 2024", "2024", "soon", "", None])
def test_what_names_no_day_is_no_date(text: str | None) -> None:
    assert date(text) is None


def test_the_order_of_day_and_month_may_be_said() -> None:
    assert date("1/2/2024", order="DMY") == datetime.date(2024, 2, 1)
    assert date("1/2/2024", order="MDY") == datetime.date(2024, 1, 2)
    assert date("1.2.2024") == date("1. 2. 24") == datetime.date(2024, 2, 1)
    assert date("1.2.2024", order="MDY") == datetime.date(2024, 1, 2)
    assert date("2024.02.01") == datetime.date(2024, 2, 1)
