"""The politeness state of one domain (delay, rest, failures): a value, and the functions that change it.

Moments are those of `Clock.now()`. How the engine calls the functions for one request:

    wait = decide(state, pace, now, max_delay, max_wait)     seconds, or Deferred
    state = after(state, exchange, pace.delay, concurrency)  when it has ended, then one of
    state = succeeded(state) | failed(state, now, backoff) | refused(state, now, run, reason)
          | limited(state, now, told, delay, max_delay, reason)
    state = rest(state, now + retry_after, reason)           whenever the site asks for it
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from typing import Any

from scraper.model import Deferred, Exchange
from scraper.model.frozen import frozen, replace
from scraper.ops.patterns import pattern
from scraper.politeness import learned
from scraper.politeness.limit import Limit, told_of

MAX_FAILURES = 5
MAX_REFUSALS = 3
MAX_TRIPS = 3
# In delays, because the delay says how fast a site is; and at least so many seconds.
BREAKER, LEAST_BREAKER = 30, 5.0
REFUSAL_REST, LEAST_REFUSAL_REST = 10, 2.0
MAX_REST = 3600.0

_DAY = 86400
_HOURS = pattern(r"([0-9]{2}):?([0-9]{2})\s*-\s*([0-9]{2}):?([0-9]{2})")


@frozen
class Pace:
    """The delay in force (s) and, in words for people, the rule that set it."""

    delay: float
    source: str


NOTHING = Limit()


@frozen
class State:
    """What a domain's clock remembers between requests, processes and runs.

    `due`: the pace allows no request before. `rest_until`: the domain rests, because of `reason`.
    `elapsed`: the last response time, `delay`: the last delay in force (s). `failures` in a row; `trips`: how
    often the breaker opened since the last success; `refusals` in a row within `run`. `limit`: what
    the site's refusals by rate taught.
    """

    due: float = 0.0
    sent_at: float = 0.0
    elapsed: float = 0.0
    delay: float = 0.0
    rest_until: float = 0.0
    reason: str = ""
    failures: int = 0
    trips: int = 0
    refusals: int = 0
    run: str = ""
    limit: Limit = NOTHING


_FRESH = {name: value for name, value in asdict(State()).items() if name != "limit"}
_FRESH_LIMIT = asdict(Limit())
_values, _values_of_limit = attrgetter(*_FRESH), attrgetter(*_FRESH_LIMIT)
_as_json = json.JSONEncoder(separators=(",", ":")).encode  # `dumps` would make one for each text


def pace(
    delay: float,
    delay_factor: float = 0.0,
    elapsed: float = 0.0,
    crawl_delay: float | None = None,
    request_interval: float | None = None,
    quota_interval: float | None = None,
    limit: Limit | None = None,
    max_delay: float = math.inf,
) -> Pace:
    """The longest of all delays, and whose it is; on a tie the first.

    `request_interval`: seconds per request by Request-rate; `quota_interval`: by RateLimit fields; `limit`:
    what refusals taught.
    `max_delay` bounds only what we add ourselves for a slow site; what a site asks for is never shortened.
    """
    longest, source = delay, f"setting delay {delay:g} s"
    if (adaptive := min(delay_factor * elapsed, max_delay)) > longest:
        took = f"{elapsed:.1f}" if elapsed >= 1 else f"{elapsed:.2g}"
        longest, source = adaptive, f"delay_factor {delay_factor:g} x last response {took} s"
    if crawl_delay is not None and crawl_delay > longest:
        longest, source = crawl_delay, f"robots Crawl-delay {crawl_delay:g} s"
    if request_interval is not None and request_interval > longest:
        longest, source = request_interval, f"robots Request-rate 1/{request_interval:g}s"
    if quota_interval is not None and quota_interval > longest:
        longest, source = quota_interval, f"RateLimit, one request per {quota_interval:.3g} s"
    if limit is not None and limit.interval > longest:
        longest, source = limit.interval, told_of(limit)
    return Pace(longest, source)


def next_at(state: State) -> float:
    """The moment before which no request may be sent."""
    return max(state.due, state.rest_until)


def decide(state: State, pace: Pace, now: float, max_delay: float, max_wait: float) -> float | Deferred:
    """Seconds to wait before the next request, or why the domain is left for a later run."""
    if pace.delay > max_delay:
        return Deferred(f"{pace.source} is longer than max_delay {max_delay:g} s")
    wait = max(0.0, next_at(state) - now)
    if wait > max_wait:
        cause = state.reason if state.rest_until > state.due else pace.source
        return Deferred(f"{cause}: a wait of {wait:.0f} s is longer than max_wait {max_wait:g} s")
    return wait


def width(state: State, concurrency: int) -> int:
    """How many requests may be in flight: in trouble one, which is the half-open breaker's probe."""
    return 1 if state.failures or state.refusals else concurrency


def after(state: State, exchange: Exchange, delay: float, concurrency: int = 1) -> State:
    """Account for one request: from the first byte, or from the start where several may be in flight.

    The server has seen a request before it answers, so its own clock cannot measure a shorter gap. A request
    without an answer may arrive at any time before its end, and counts from there.
    """
    is_answered = exchange.status > 0
    start = exchange.first_byte_at if concurrency == 1 else exchange.sent_at
    return replace(
        state,
        due=max(state.due, (start if is_answered else exchange.ended_at) + delay),
        sent_at=max(state.sent_at, exchange.sent_at),
        elapsed=max(0.0, exchange.first_byte_at - exchange.sent_at) if is_answered else state.elapsed,
    )


def rest(state: State, until: float, reason: str) -> State:
    """Leave the whole domain alone until a moment; a longer rest already taken stands."""
    return replace(state, rest_until=until, reason=reason) if until > state.rest_until else state


def succeeded(state: State) -> State:
    """An answer that is neither a failure nor a refusal: close the breaker, forget the counts."""
    if not (state.failures or state.trips or state.refusals):
        return state
    return replace(state, failures=0, trips=0, refusals=0)


def failed(state: State, now: float, backoff: float) -> State:
    """A failure: `backoff` seconds for the whole domain; from the fifth in a row on, the breaker opens.

    It stays open for 30 delays, then lets one probe through; each failed probe doubles that, up to an hour.
    """
    failures = state.failures + 1
    if failures < MAX_FAILURES:
        return rest(replace(state, failures=failures), now + backoff, f"backoff after failure {failures}")
    opened = replace(state, failures=failures, trips=state.trips + 1)
    base = max(LEAST_BREAKER, BREAKER * state.delay)
    return rest(opened, now + _doubled(base, state.trips), f"{failures} failures in a row")


def refused(state: State, now: float, run: str, reason: str) -> State:
    """A refusal: the domain rests, longer each time; see `is_ended`. Counts start anew in each run."""
    refusals = state.refusals + 1 if state.run == run else 1
    counted = replace(state, refusals=refusals, run=run)
    base = max(LEAST_REFUSAL_REST, REFUSAL_REST * state.delay)
    return rest(counted, now + _doubled(base, refusals - 1), reason)


def limited(
    state: State,
    now: float,
    told: float | None,
    delay: float,
    max_delay: float,
    reason: str,
    *,
    is_sure: bool = True,
    longest: float = learned.LONG_GUESS,
) -> State:
    """A refusal by rate: the domain rests as told, or longer each time, and is asked more slowly then.

    `longest`: seconds that a first rest may be guessed to last.
    """
    # What it teaches counts from when it was asked for, which may be some time ago.
    asked_at = state.sent_at or now
    limit, wait = learned.refused(
        state.limit, asked_at, told, delay, max_delay, is_sure=is_sure, longest=longest
    )
    # It speaks of our pace; whether the site is in trouble is for other answers to tell.
    return rest(replace(state, limit=limit), now + wait, reason)


def passed(state: State, count: int, sent_at: float) -> State:
    """Account for requests that were not refused, the last sent at a moment."""
    if count <= 0 and not state.limit.allowance:
        return state
    limit = learned.passed(state.limit, count, sent_at)
    noted, until = replace(state, limit=limit), learned.rested_until(limit)
    return rest(noted, until, told_of(limit)) if until else noted


def recovered(state: State, now: float) -> State:
    """Forget failures whose rest was over long ago: they say nothing about the site of today."""
    return replace(state, failures=0, trips=0) if now - next_at(state) > MAX_REST else state


def is_ended(state: State, run: str) -> bool:
    """Whether the domain refused so often that it is left alone for the rest of this run."""
    return state.run == run and state.refusals >= MAX_REFUSALS


def is_parked(state: State, now: float) -> bool:
    """Whether the breaker opened so often, and is open still, that a later run is to try again."""
    return state.trips >= MAX_TRIPS and now < state.rest_until


def _doubled(base: float, times: int) -> float:
    return float(min(MAX_REST, base * 2.0 ** min(times, 16)))


def shifted(state: State, seconds: float) -> State:
    """The state on another clock, which is `seconds` ahead."""
    moved = {
        name: getattr(state, name) + seconds
        for name in ("due", "sent_at", "rest_until")
        if getattr(state, name)
    }
    limit = {
        name: getattr(state.limit, name) + seconds
        for name in ("since", "last", "refused_at")
        if getattr(state.limit, name)
    }
    return replace(state, **moved, limit=replace(state.limit, **limit))


def to_json(state: State) -> str:
    """The state as text for the store."""
    kept = {name: value for name, value in zip(_FRESH, _values(state), strict=True) if value}
    if state.limit.last:
        of_limit = zip(_FRESH_LIMIT, _values_of_limit(state.limit), strict=True)
        kept["limit"] = {name: value for name, value in of_limit if value}
    return _as_json(kept)


def from_json(text: str) -> State:
    """The state that `to_json` wrote; what is missing or broken is as in a new one."""
    try:
        kept = json.loads(text)
    except ValueError:
        return State()
    if not isinstance(kept, dict):
        return State()
    limit = kept.get("limit")
    found = Limit(**_sound(limit, _FRESH_LIMIT)) if isinstance(limit, dict) else NOTHING
    return State(**_sound(kept, _FRESH), limit=found)


def _sound(kept: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    return {name: kept[name] for name, default in fresh.items() if _is_sound(kept.get(name), default)}


def _is_sound(value: object, default: object) -> bool:
    if isinstance(default, float):
        return type(value) in (int, float) and isinstance(value, int | float) and 0 <= value < 1e15
    return type(value) is type(default) and (not isinstance(value, int) or 0 <= value < 1e6)


def active_hours(text: str) -> tuple[tuple[int, int], ...]:
    """Read "22:00-06:00" (also several, comma-separated) as (start, end) minutes of the day.

    Raises ValueError for anything else.
    """
    windows = []
    for part in text.split(","):
        found = _HOURS.fullmatch(part.strip())
        if not found:
            raise ValueError(f"{part.strip()!r} is not of the form HH:MM-HH:MM")
        from_hour, from_minute, to_hour, to_minute = map(int, found.groups())
        if (
            max(from_minute, to_minute) > 59
            or max(from_hour * 60 + from_minute, to_hour * 60 + to_minute) > 1440
        ):
            raise ValueError(f"{part.strip()!r} has no such time of day")
        windows.append((from_hour * 60 + from_minute, to_hour * 60 + to_minute))
    return tuple(windows)


def until_open(windows: Sequence[tuple[int, int]], second: float) -> float:
    """Seconds from a second of the day to the next open window; 0 inside one, or where there is none.

    A window may pass midnight; one that ends where it starts is the whole day.
    """
    waits = [_until(start * 60, end * 60, second % _DAY) for start, end in windows]
    return min(waits, default=0.0)


def _until(start: int, end: int, second: float) -> float:
    length = (end - start) % _DAY or _DAY
    return 0.0 if (second - start) % _DAY < length else (start - second) % _DAY
