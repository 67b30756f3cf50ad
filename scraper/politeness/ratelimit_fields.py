"""What a site says about its request quota, and the pace that keeps within it.

Source: draft-ietf-httpapi-ratelimit-headers-10 (RateLimit, RateLimit-Policy), its older forms, and the
X-RateLimit-* fields in use. A Retry-After in the same answer takes precedence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from scraper.model import Headers
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.politeness.header_fields import loose_date, split_list, unquote

_MAX_POLICIES = 20
_YEAR = 365 * 86400.0
_NUMBER = pattern(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
# The last is that of hapi-rate-limit, for all that one client asks for.
_PREFIXES = ("RateLimit-", "X-RateLimit-", "X-Rate-Limit-", "X-RateLimit-User")


@frozen
class Quota:
    """`remaining` requests for `reset` seconds; the policy allows `quota` in `window` seconds."""

    policy: str | None = None
    remaining: int | None = None
    reset: float | None = None
    quota: int | None = None
    window: int | None = None


def rate_limits(headers: Headers, now: float) -> list[Quota]:
    """The quotas of requests that an answer tells of; `now` is wall time. Broken values are left out."""
    if not is_told(headers):
        return []
    policies, others = _policies(headers)
    states = _items(headers) or _dictionary(headers, now) or _triples(headers, now)
    return _merged((state for state in states if state.policy not in others), policies)


def is_told(headers: Headers) -> bool:
    """Whether any field may speak of a quota, as those of few answers do."""
    names = " ".join(headers.names)
    return "ratelimit" in names or "x-rate" in names


def lone_reset(headers: Headers, now: float) -> float | None:
    """Seconds until a reset that stands without the rest of its quota; None where there is none."""
    fields = (headers.get(f"{prefix}Reset-After") or headers.get(f"{prefix}Reset") for prefix in _PREFIXES)
    return next((reset for field in fields if (reset := _reset(field, now)) is not None), None)


def budgets(headers: Headers, now: float) -> tuple[tuple[int, float], ...]:
    """(requests left, seconds until that is over) of every quota that says both."""
    quotas = rate_limits(headers, now)
    return tuple((q.remaining, q.reset) for q in quotas if q.remaining is not None and q.reset is not None)


def _members(headers: Headers, name: str) -> list[tuple[str, dict[str, str]]]:
    """A structured field's list as (item, parameters); RFC 9651 read with tolerance."""
    members = []
    for member in split_list(",".join(headers.getall(name)))[:_MAX_POLICIES]:
        item, *parameters = split_list(member, ";") or [""]
        pairs = (parameter.partition("=") for parameter in parameters)
        members.append((item, {key.strip().lower(): value.strip() for key, _, value in pairs}))
    return members


def _policies(headers: Headers) -> tuple[list[Quota], set[str | None]]:
    """The policies that count requests, and the names of those that count something else (bytes ...)."""
    policies: list[Quota] = []
    others: set[str | None] = set()
    for item, parameters in _members(headers, "RateLimit-Policy"):
        number = _whole(item)
        name = unquote(item) if number is None else None
        if unquote(parameters.get("qu", "requests")) != "requests":
            others.add(name)
            continue
        quota = _whole(parameters.get("q")) if number is None else number
        policies.append(Quota(name, quota=quota, window=_whole(parameters.get("w"))))
    return policies, others


def _items(headers: Headers) -> list[Quota]:
    """RateLimit: "name";r=50;t=30"""
    return [
        Quota(unquote(item), remaining=remaining, reset=_delta(parameters.get("t")))
        for item, parameters in _members(headers, "RateLimit")
        if (remaining := _whole(parameters.get("r"))) is not None
    ]


def _dictionary(headers: Headers, now: float) -> list[Quota]:
    """RateLimit: limit=100, remaining=50, reset=30"""
    pairs = (item.partition("=") for item, _ in _members(headers, "RateLimit"))
    named = {key.strip().lower(): value.strip() for key, _, value in pairs}
    return _told(named.get("limit"), named.get("remaining"), named.get("reset"), now)


def _triples(headers: Headers, now: float) -> list[Quota]:
    """RateLimit-Limit, -Remaining, -Reset, with or without an X-."""
    for prefix in _PREFIXES:
        reset = headers.get(f"{prefix}Reset-After") or headers.get(f"{prefix}Reset")
        limit = (split_list(headers.get(f"{prefix}Limit", "")) or [""])[0].partition(";")[0]
        if told := _told(limit, headers.get(f"{prefix}Remaining"), reset, now):
            return told
    return []


def _told(limit: str | None, remaining: str | None, reset: str | None, now: float) -> list[Quota]:
    quota = Quota(quota=_whole(limit), remaining=_whole(remaining), reset=_reset(reset, now))
    return [] if quota.remaining is None else [quota]


def _whole(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else int(number)


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def _delta(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and number <= _YEAR else None


def _reset(text: str | None, now: float) -> float | None:
    """Seconds until a reset told as delta, as epoch in s or ms, or as a date; None if it is nonsense."""
    number = _number(text)
    if number is not None and number < 1e9:
        return _delta(text)
    moment = loose_date(text or "", now) if number is None else number / (1 if number < 1e11 else 1000)
    return None if moment is None or moment - now > _YEAR else max(0.0, moment - now)


def _merged(states: Iterable[Quota], policies: Sequence[Quota]) -> list[Quota]:
    """Each state with its policy's figures, then the policies that no state speaks of."""
    left = list(policies)
    merged = []
    for state in states:
        policy = next((p for p in left if p.policy == state.policy and state.quota in (None, p.quota)), None)
        if policy:
            left.remove(policy)
            state = replace(state, quota=policy.quota, window=policy.window)
        merged.append(state)
    return merged + left
