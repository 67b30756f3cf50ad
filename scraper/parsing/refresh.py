"""Where a page sends its reader by itself: `<meta http-equiv=refresh>`, Refresh field (HTML 4.2.5.3)."""

import re

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

# The shared declarative refresh steps: seconds, their fraction (ignored), a separator, and what follows.
_STEPS = pattern(
    r"[\t\n\f\r ]*([0-9]*)(?:(?<=[0-9])|(?=\.))[0-9.]*(?:$|(?=[;,\t\n\f\r ])[\t\n\f\r ]*[;,]?[\t\n\f\r ]*)"
)
_NAME = pattern(r"url[\t\n\f\r ]*=[\t\n\f\r ]*", re.IGNORECASE)
_LONGEST = 4000  # characters
_MOST_DIGITS = 9


@frozen
class Refresh:
    """The page that follows after `seconds`, as an absolute URL."""

    seconds: int
    url: str


def read(content: str) -> tuple[int, str] | None:
    """Seconds and href of a refresh as it is written, the href empty for the page itself; None for none."""
    content = content[:_LONGEST]
    found = _STEPS.match(content)
    if found is None:
        return None
    rest = content[found.end() :]
    if name := _NAME.match(rest):
        rest = rest[name.end() :]
    if rest[:1] in ("'", '"'):
        rest = rest[1:].partition(rest[0])[0]
    return int(found[1][:_MOST_DIGITS] or 0), rest.strip("\t\n\f\r ")
