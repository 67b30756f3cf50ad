"""What may be tried again, and when: Retry-After (RFC 9110 10.2.3) and backoff."""

from scraper.model import Headers
from scraper.politeness.header_fields import delta_seconds, http_date

# A value beyond it is a mistake or a trap; kept across runs, it would close the site for good.
MAX_RETRY_AFTER = 365 * 86400
MAX_BACKOFF = 300.0

_RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524, 529})
# 429 from RFC 6585; 413 from RFC 9110 15.5.14; 403 is how GitHub and others tell a rate limit.
_ASKS_TO_WAIT = frozenset({403, 408, 413, 425, 429})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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
    waits = [retry_after(value, now) for value in headers.getall("retry-after")]
    return max((wait for wait in waits if wait is not None), default=None)


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
