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
    amount: Decimal | None = Price.fromstring(clean(text), decimal_separator=decimal).amount
    return amount


def date(
    text: str | None, languages: Sequence[str] | None = None, order: str | None = None
) -> datetime.date | None:
    """The date that a text names in any language: `date("3 mars 2024")`; None without day, month and year.

    `languages`: those of the site ("fr"): faster and surer. `order`: "DMY" or "MDY", for "1/2/2024".
    """
    try:
        import dateparser  # optional, and slow to import
    except ImportError:
        raise UsageError("date() needs dateparser", _EXTRA) from None
    settings = {"REQUIRE_PARTS": ["day", "month", "year"]} | ({"DATE_ORDER": order} if order else {})
    given = clean(text)
    found = dateparser.parse(given, languages=languages, settings=settings) if given else None
    return None if found is None else found.date()
