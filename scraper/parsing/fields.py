"""Fields that spiders clean again and again: text without layout space, prices, dates.

`price` and `date` need the extra `fields` (price-parser, dateparser).
"""

import datetime
import re
from collections.abc import Sequence
from decimal import Decimal

from scraper.errors import UsageError

# What a browser shows as one blank, and what it does not show: soft hyphens, marks of direction, joiners.
_SPACE = re.compile(r"[\s\u200b\u2060\ufeff]+")
_INVISIBLE = re.compile("[\u00ad\u200c\u200d\u200e\u200f]")
# Before an amount: a minus that touches it or its currency, or the sign U+2212; "Tea - 5" is no negative one.
_MINUS = re.compile(r"(?:(?<![\w)])-|\u2212\s?)(?:[^\s\d-]{1,4}\s?)?\Z")
_DOTTED = re.compile(r"(?<!\d)\d{1,2}\.\s?\d{1,2}\.\s?(?:\d{4}|\d{2})(?!\d)")
_EXTRA = "pip install 'scraper[fields]'"


def clean(text: str | None) -> str:
    """Text in one line, each run of layout space one blank; empty for None."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", text or "")).strip()


def price(text: str | None, decimal: str | None = None) -> Decimal | None:
    """The first amount in a text: `price("1.234,50 €")` is Decimal("1234.50"); None where there is none.

    `decimal`: the decimal separator, for texts such as "1,234" that may mean either.
    """
    try:
        from price_parser import Price  # optional
    except ImportError:
        raise UsageError("price() needs price-parser", _EXTRA) from None
    given = clean(text)
    found = Price.fromstring(given, decimal_separator=decimal)
    amount: Decimal | None = found.amount
    if not amount or not found.amount_text:
        return amount
    # The library takes amounts without their sign.
    return -amount if _MINUS.search(given.partition(found.amount_text)[0]) else amount


def date(
    text: str | None, languages: Sequence[str] | None = None, order: str | None = None
) -> datetime.date | None:
    """The date that a text names in any language: `date("3 mars 2024")`; None without day, month and year.

    `languages`: those of the site ("fr"): faster and surer. `order`: "DMY" or "MDY", for "1/2/2024", which is
    2 January without it; 1.2.2024 is 1 February wherever dates have dots.
    """
    try:
        import dateparser  # optional, and slow to import
    except ImportError:
        raise UsageError("date() needs dateparser", _EXTRA) from None
    given = clean(text)
    if order is None and _DOTTED.search(given):
        order = "DMY"
    settings = {"REQUIRE_PARTS": ["day", "month", "year"]} | ({"DATE_ORDER": order} if order else {})
    found = dateparser.parse(given, languages=languages, settings=settings) if given else None
    return None if found is None else found.date()
