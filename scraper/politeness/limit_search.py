"""The search for a limit that a site does not tell: from the safe side on, a little faster with each request.

It ends at the second refusal, or with the run, at an interval that no limit refuses which did what was seen.
"""

import math

from scraper.model.frozen import replace
from scraper.politeness.limit import Limit

MARGIN = 1.1
MINUTE = 60.0
SHORTLY = 2.0  # seconds of rest that a server which is only busy asks for
BURST = 4  # from so many requests on, what passed is a budget, and no tokens that filled up in a rest
FEW = 2  # a burst below it is a distance between two requests, not a budget
NEAR = 10.0  # times the distance that was too short, or seconds, from which a longer one is looked for
# How much faster we become while we look for the limit, see `_fall`.
FLAT, STEEP, STEPS, LEAST = 0.1, 0.2, 12, 0.02
HELD = (
    5  # times `burst` requests before a pace is tried faster that two refusals, of a site down or not, made
)
WIDER = 1.25  # times the pace that was refused
CLOSE = 1.15  # times the distance that was refused first: no limit is so near to our delay by chance


def nearer(limit: Limit) -> Limit:
    """A bit faster with each request but the first, until the second refusal shows where the limit is."""
    falling = max(0.0, _steps(limit) - 1)
    interval = limit.start * math.exp(-_fall(limit) * falling)
    floor = floor_of(limit)
    if interval * math.exp(_fall(limit) * _lag(limit)) < floor:
        # As fast as when it was refused, for long enough: an accident.
        return replace(limit, interval=0.0, start=0.0, most=0.0, burst=0, lessons=0)
    return replace(limit, interval=max(floor, interval))


def _steps(limit: Limit) -> float:
    """How many times as many passed as before the first refusal; after two refusals first some in vain."""
    return limit.accepted / limit.burst - (HELD if limit.lessons > 1 else 0)


def floor_of(limit: Limit) -> float:
    """The interval at which it was refused first."""
    return max(limit.took / limit.burst, LEAST)


def _fall(limit: Limit) -> float:
    """How much faster (as a logarithm) after as many requests as passed before the first refusal."""
    if limit.burst < FEW:
        return STEEP  # each request shows whether its distance was long enough
    return max(FLAT, math.log(max(limit.start / floor_of(limit), 1.0)) / STEPS)


def _lag(limit: Limit) -> float:
    """For how many times `burst` requests a full bucket hides that the interval is too short.

    It has `burst` tokens at most: sum(1 - exp(-fall * k)) is 1.
    """
    return math.sqrt(2 / _fall(limit))


def settled(limit: Limit, refused_at: float = 0.0) -> Limit:
    """The limit where it is looked for no longer: at what no limiter refuses which did what was seen.

    `refused_at`: the second refusal, 0 where there was none until the end of the run.
    """
    if limit.told:
        return _as_told(limit)
    if not limit.start:
        return limit
    steps, fall = _steps(limit), _fall(limit)
    # A window lets `burst` pass, however close, and is met by the next ones; and the distance before the
    # request that was refused was still one of before.
    shown = MARGIN * limit.interval * math.exp(fall * (1 + 1 / limit.burst))
    interval = limit.most if steps <= 1 else min(limit.most, shown)
    if not refused_at and steps <= 1:
        pass  # nothing was shown yet
    elif limit.accepted == limit.burst >= FEW:
        # As of a window; of a long one it is not known how long it is.
        interval *= 1 if limit.burst * limit.most <= MARGIN * MINUTE else 2
    elif limit.burst >= FEW or limit.interval < CLOSE * floor_of(limit):
        bucket = _by_bucket(limit, refused_at or limit.last, steps, fall)
        interval = max(interval, bucket if refused_at else min(bucket, limit.most))
    return replace(limit, interval=interval, start=0.0)


def _as_told(limit: Limit) -> Limit:
    """The limit after a run with one refusal, whose wait was kept: a window's, or a busy server's."""
    if limit.told <= SHORTLY and limit.accepted >= BURST and not limit.in_row:
        return replace(limit, burst=0, took=0.0, lessons=0, told=0.0)
    return replace(limit, interval=as_told(limit, limit.told), told=0.0)


def as_told(limit: Limit, told: float) -> float:
    """Seconds a request of the window that let `burst` pass, refused, and was over after a told wait."""
    return max(MARGIN * (limit.took + told), WIDER * limit.took) / limit.burst


def _by_bucket(limit: Limit, until: float, steps: float, fall: float) -> float:
    """Seconds for a token, of a bucket that has `burst` at most, or that was empty when it refused."""
    between = until - limit.refused_at
    interval = between / (limit.accepted - 1) if limit.accepted > 1 else 2 * between
    if limit.burst >= FEW and (steps := min(steps, _lag(limit))) > 1:
        mean = limit.interval * math.expm1(fall * steps) / (fall * steps)
        interval = min(interval, mean * steps / (steps - 1))
    return MARGIN * interval


def looking(limit: Limit, pace: float, max_delay: float) -> Limit:
    """Begin to look for the limit, in the middle between what is proven and what was refused."""
    if limit.lessons > 1:
        return limit
    start = limit.most / 2 if limit.burst >= FEW else min(limit.most / 2, NEAR * max(pace, 1.0))
    start = min(max_delay, max(start, 1.25 * pace))
    return replace(limit, interval=start, start=start, most=min(max_delay, max(limit.most, start)))
