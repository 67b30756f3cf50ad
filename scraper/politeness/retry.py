"""What may be tried again, and when: Retry-After (RFC 9110 10.2.3), as servers write it, and backoff."""

import math
import re

from scraper.model import Headers
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.politeness.header_fields import delta_seconds, http_date, loose_date, split_list, unquote
from scraper.politeness.ratelimit_fields import budgets, is_told, lone_reset

# A value beyond it is a mistake or a trap; kept across runs, it would close the site for good.
MAX_RETRY_AFTER = 365 * 86400
MAX_BACKOFF = 300.0
# Servers round down the seconds they tell, and the second of their Date has begun already.
ROUNDED = 1.0
SAME = 2.0  # seconds by which two fields that name the same moment may differ

_RETRYABLE = frozenset({408, 420, 425, 429, 430, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 529})
# 429 from RFC 6585; 413 from RFC 9110 15.5.14; 403 is how GitHub and others tell a rate limit.
# 420 and 430 are what some sites say for 429, 509 and 529 for 503.
_TOO_MANY = frozenset({420, 429, 430})
_ASKS_TO_WAIT = frozenset({403, 408, 413, 425}) | _TOO_MANY
_LIMITED = frozenset({503, 509, 529}) | _TOO_MANY
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

_NUMBER = pattern(r"\+?([0-9]{1,15}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})\s*([a-z]*)\.?", re.IGNORECASE)
_CLOCK = pattern(r"([0-9]{1,3}):([0-9]{2}):([0-9]{2}(?:\.[0-9]+)?)")
_DURATION = pattern(r"PT(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9.]{1,12})S)?", re.IGNORECASE)
_UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
}
_EPOCH, _EPOCH_MS = 1e9, 1e11


@frozen
class RetryAdvice:
    """What an answer says about when and how often to ask.

    `rest`: seconds that it asks for. `budgets`: (requests left, seconds until that is over). `is_limited`: it
    refuses because we asked too often.
    """

    rest: float | None = None
    budgets: tuple[tuple[int, float], ...] = ()
    is_limited: bool = False

    @property
    def pause(self) -> float:
        """Seconds for which nothing may be sent, whichever field says so; 0 where none does."""
        return max(self.rest or 0.0, *(wait_for(*budget) for budget in self.budgets), 0.0)


NOTHING = RetryAdvice()


def told(status: int, headers: Headers, wall: float) -> RetryAdvice:
    """What an answer that came at a moment `wall` says; moments in it count from its own Date."""
    if status < 300 and not is_told(headers):
        return NOTHING  # as nearly every answer
    now = server_time(headers, wall)
    left = budgets(headers, now)
    rest = asked_wait(status, headers, now)
    empty = max((reset for remaining, reset in left if not remaining), default=None)
    if status not in _LIMITED and not ((rest or empty) and (status == 403 or status >= 500)):
        # A wait that is over already is none.
        return RetryAdvice(rest or None, left)
    empty = lone_reset(headers, now) if empty is None else empty
    if empty is not None and (rest is None or abs(empty - rest) <= SAME):
        rest = max(empty, rest or 0.0)
    return RetryAdvice(
        None if rest is None else rest + ROUNDED, tuple(budget for budget in left if budget[0]), True
    )


def refused_by_rate(status: str, rest: float | None) -> str:
    """A refusal and the wait that came with it, in words for people."""
    asked = "" if rest is None else f", Retry-After {rest - ROUNDED:.0f} s"
    return f"refused by rate ({status}{asked})"


def wait_for(remaining: int, reset: float) -> float:
    """Seconds to leave a quota alone: until its reset where nothing of it is left."""
    return 0.0 if remaining else reset + ROUNDED


def server_time(headers: Headers, wall: float) -> float:
    """The moment of an answer by its server's own clock (RFC 9110 6.6.1; Age is how long a cache had it)."""
    stated = headers.getall("date")
    date = http_date(stated[0], wall) if stated else None
    if date is None:
        return wall
    return date + (delta_seconds((headers.get("age") or "0").strip(), 86400) or 0)


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After value asks us to wait, from `now` (wall); None if it is invalid."""
    if value is None:
        return None
    seconds = delta_seconds(value.strip(" \t"), MAX_RETRY_AFTER)
    if seconds is not None:
        return float(seconds)
    until = http_date(value, now)
    return None if until is None else min(max(0.0, until - now), float(MAX_RETRY_AFTER))


def asked_wait(status: int, headers: Headers, now: float) -> float | None:
    """Seconds that an answer asks the whole domain to rest, from `now` (wall); None if it does not ask."""
    if status not in _ASKS_TO_WAIT and not (300 <= status < 400 or 500 <= status < 600):
        return None
    waits = [_wait(value, now) for value in headers.getall("retry-after")]
    return max((wait for wait in waits if wait is not None), default=None)


def _wait(value: str, now: float) -> float | None:
    """A Retry-After as it is written in practice: fractions, units, epochs, lists of equals; rounded up."""
    text = unquote(value.strip(" \t"))
    wait = _number(text, now)
    if wait is None and (until := loose_date(text, now)) is not None:
        wait = until - now
    if wait is None and "," in text:
        waits = [_number(part, now) for part in split_list(text)]
        wait = max((each for each in waits if each is not None), default=None)
    return None if wait is None else min(max(0.0, float(math.ceil(wait - 1e-6))), float(MAX_RETRY_AFTER))


def _number(text: str, now: float) -> float | None:
    if found := _CLOCK.fullmatch(text):
        return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])
    if len(text) > 2 and (found := _DURATION.fullmatch(text)):
        return int(found[1] or 0) * 3600 + int(found[2] or 0) * 60 + float(found[3] or 0)
    found = _NUMBER.fullmatch(text)
    if found is None or found[2].lower() not in _UNITS:
        return None
    number = float(found[1]) * _UNITS[found[2].lower()]
    if number < _EPOCH:
        return number
    ahead = number / (1 if number < _EPOCH_MS else 1000) - now
    return ahead if ahead <= MAX_RETRY_AFTER else number


def is_undone(status: int) -> bool:
    """Whether an answer says that nothing was done, so that a POST may be sent once more (RFC 6585 4)."""
    return status in _TOO_MANY


def is_retryable_status(status: int) -> bool:
    """Whether another try later can bring another answer."""
    return status in _RETRYABLE


def is_safe(method: str) -> bool:
    """Whether a method may be sent twice without asking: it changes nothing on the site (RFC 9110 9.2.1)."""
    return method.upper() in _SAFE


def backoff(failures: int, chance: float, base: float = 1.0) -> float:
    """Seconds to wait after `failures` in a row: exponential with full jitter; `chance` in [0, 1).

    It comes on top of the domain's delay: the later of the two moments counts.
    """
    return chance * min(MAX_BACKOFF, base * 2.0 ** min(max(failures, 0), 16))
