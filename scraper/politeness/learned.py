"""What refusals teach about a site's limit of requests: how long to rest, and how to ask from then on.

A limiter is unknown but for what it let pass: `accepted` requests since `since`, then a refusal, and after
the rest that followed more again. A window (fixed or sliding) that let n requests pass in T seconds, and more
after R seconds of rest, lets n pass in (T + R); a bucket gets as many tokens between two refusals as it gave.
What is concluded is meant to hold for all of them at once, for windows of up to an hour, so that two refusals
are the most in a run of any length, and later runs meet none.
"""

import math

from scraper.model.frozen import replace
from scraper.politeness.limit import Limit
from scraper.politeness.limit_search import (
    BURST,
    FEW,
    MARGIN,
    NEAR,
    SHORTLY,
    as_told,
    floor_of,
    looking,
    nearer,
    settled,
)

DAY = 86400.0
LONGEST = 3600.0  # seconds: no window is believed to be longer, until it has shown to be
LATEST = DAY + 10.0  # after its first request, a limit by the day is over, whatever clock it goes by

GUESS, LONG_GUESS = 75.0, 300.0  # seconds: most limits are by the minute, some count it by halves of two
GAP = 300.0  # seconds without a request after which what was accepted before says nothing more
SELDOM = 4  # times that wait: a limit is rarely slower
ENOUGH = 2  # refusals that show a limit; more of them show that the pace is not meant
MANY = 5  # refusals that tell something of their share
OFTEN = 3.0  # times their share at a slower pace, and it is not chance
BY_CHANCE = 1e-5  # what is as rare is not believed
RARE = 0.01  # nor is this, where little is lost by it
OF_AN_HOUR = 30  # requests: most limits that have fewer are by some minutes
MORE = 1.25  # times as many, and it is another count
SLOWER = 1.5
FAR = 10.0  # times the interval that was refused first: what is refused still has nothing to do with it
WARY = 1.25  # times a pace that was refused, by a site that may only have been in trouble
# Seconds of the windows that limits have.
USUAL = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900, 1800, 3600, 86400)
KEPT_FOR = 7 * DAY
EASED_A_DAY = 0.9
DOUBTED_FOR = 20 * 3600.0


def passed(limit: Limit, count: int, sent_at: float) -> Limit:
    """Account for requests that were not refused, the last of them sent at a moment."""
    if count <= 0:
        return limit
    has_long_window = limit.allowance > 0 and limit.window > GAP
    is_later = sent_at >= (
        limit.since + limit.window if has_long_window else limit.last + GAP + limit.interval
    )
    is_new = not limit.accepted or limit.in_row > 0 or is_later
    is_over = is_new if has_long_window else sent_at - limit.last >= limit.window
    spent = 0 if is_over else limit.spent
    limit = replace(
        limit,
        since=sent_at if is_new else limit.since,
        accepted=count if is_new else limit.accepted + count,
        last=max(limit.last, sent_at),
        spent=spent + count if limit.allowance else 0,
        in_row=0,
    )
    if (is_later and not limit.told) or limit.accepted > max(OF_AN_HOUR, MORE * limit.burst):
        limit = pardoned(limit)
    return nearer(limit) if limit.start else limit


def rested_until(limit: Limit) -> float:
    """The moment before which the learned allowance lets nothing pass; 0 where some of it is left."""
    if not limit.allowance or limit.spent < limit.allowance:
        return 0.0
    # Half of what passed is allowed, so that a long window may be counted from its first request.
    return (limit.since if limit.window > GAP else limit.last) + limit.window


def between(limit: Limit) -> float:
    """Seconds from one request to the next, as far as they are known."""
    return limit.window if limit.allowance == 1 else limit.interval


def refused(
    limit: Limit,
    now: float,
    told: float | None,
    delay: float,
    max_delay: float,
    *,
    is_sure: bool = True,
    longest: float = LONG_GUESS,
) -> tuple[Limit, float]:
    """What a refusal teaches, and for how long to rest (s). `told`: the wait that came with it.

    `delay`: the one in force; what is concluded is slower. One that is longer than `max_delay` becomes an
    allowance, so that a run of few pages need not wait. `is_sure`: it speaks of our rate and of nothing else.
    `longest`: seconds that a first rest may be guessed to last.
    """
    is_slower = not limit.in_row and (limit.is_learned or limit.is_random)
    noted = replace(
        spared(limit, now),
        told=0.0,
        rows=limit.rows + (not limit.in_row),
        slower=limit.slower + (limit.accepted if is_slower else 0),
        is_doubted=limit.is_doubted and limit.in_row > 0,
    )
    if limit.is_random and limit.in_row < tries(limit):
        return _at_any_pace(limit, noted, told, max_delay)
    if told is None and limit.accepted and _is_first_row(limit) and now - limit.refused_at < GUESS / 2:
        # It was refused twice without a rest between that would say anything.
        limit, noted = replace(limit, in_row=0, interval=0.0, start=0.0), replace(noted, start=0.0)
    rest = _rest(limit, now, told, longest, is_sure=is_sure)
    if not limit.accepted:
        return noted, rest  # who was refused at once knows nothing of what would have passed
    if limit.in_row:
        return _refused_again(
            limit, noted, told, rest, max(delay, limit.interval), max_delay, is_sure=is_sure
        )
    return _refused_first(limit, noted, told, rest, delay, max_delay)


def _refused_first(
    limit: Limit, noted: Limit, told: float | None, rest: float, delay: float, max_delay: float
) -> tuple[Limit, float]:
    """A refusal after others had passed: what that limit may be, or that it is none."""
    now, pace = noted.refused_at, max(delay, limit.interval)
    if _is_again(limit):
        rest = max(rest, LONGEST)
        # Fewer passed, as where a window is counted by its halves, or the site is down again.
        noted = replace(noted, is_doubted=not _is_as_many(limit))
        return _allow(noted, noted.burst, now - limit.since + rest), rest
    counts = (_is_as_many(limit) and limit.lessons < MANY) or limit.start > 0
    distance = noted.slower // limit.lessons if limit.is_learned and not counts else 0
    if _is_at_any_pace(limit, distance):
        most = limit.interval or limit.window / limit.allowance
        noted = Limit(last=limit.last, refused_at=now, in_row=1, burst=distance, forbids=limit.forbids)
        return replace(noted, most=most, is_random=True), told or SHORTLY
    interval = _interval(limit, noted, told, rest, pace)
    if not interval:
        return _allow(noted, limit.allowance, max(now - limit.since + rest, SLOWER * limit.window)), rest
    is_known = told is None and limit.interval > 0 and limit.burst >= FEW
    if is_known and (limit.lessons == 1 or not _is_far(limit)):
        interval = min(interval, max(pace, max_delay))  # no reason to end the run
    if told is not None and not limit.lessons and as_told(noted, told) <= max_delay:
        return replace(noted, told=told), rest  # kept; whether it was a limit the next ones show
    noted = replace(noted, interval=interval, most=0.0 if limit.is_learned else interval)
    if told is None and not limit.is_learned:
        noted = looking(noted, pace, max_delay)
    return _paced(limit, noted, max_delay, told, rest)


def _is_far(limit: Limit) -> bool:
    """Whether we are far slower than when we were refused first."""
    return limit.interval > FAR * floor_of(limit)


def _is_at_any_pace(limit: Limit, distance: int) -> bool:
    """Whether slower does not help, where `distance` pass between two refusals, so that no pace does."""
    is_far = limit.burst >= BURST and (not limit.interval or _is_far(limit))
    # Refusals that came together are one, but for the first two: a site may refuse in pairs.
    refusals = min(limit.lessons, limit.rows + 1)
    is_shown = distance >= FEW and refusals > (1 if is_far else ENOUGH)
    return is_shown and _chance(limit.burst, distance) > BY_CHANCE


def _refused_again(
    limit: Limit,
    noted: Limit,
    told: float | None,
    rest: float,
    pace: float,
    max_delay: float,
    *,
    is_sure: bool,
) -> tuple[Limit, float]:
    """A refusal after a rest: of a window longer than that, or of a site in trouble."""
    if not _is_first_row(limit):
        return noted, rest  # what lets us pass after a rest once would always: it is no limit
    if not is_sure and (rest >= LONGEST if told is None else limit.in_row > 1):
        return _in_trouble(limit, noted, rest), rest
    if told is None and limit.accepted < BURST:
        return noted, rest  # of a few that passed nothing is known, and the site may have been down
    if told is None:
        interval = max(MARGIN * _usual(noted.refused_at - limit.since, rest) / limit.accepted, SLOWER * pace)
    else:
        interval = _told_interval(limit, noted.refused_at, told, rest, pace)
    # A limit that says how long hardly says far too little twice.
    noted = replace(noted, is_doubted=told is not None and (limit.in_row > 1 or not is_sure))
    noted = replace(noted, interval=interval, most=0.0)
    if told is None and not is_sure and interval <= max_delay:
        noted = replace(noted, start=interval, most=interval)  # unless it was only down for minutes
    return _paced(limit, noted, max_delay, told, rest)


def _is_first_row(limit: Limit) -> bool:
    """Whether all refusals so far came one after the other."""
    return limit.lessons == limit.in_row


def tries(limit: Limit) -> int:
    """How often in a row a site that refuses at random may refuse one URL without its being meant."""
    return math.ceil(-math.log(BY_CHANCE) / math.log(limit.burst + 1)) if limit.is_random else 0


def _at_any_pace(limit: Limit, noted: Limit, told: float | None, max_delay: float) -> tuple[Limit, float]:
    """A refusal of a site that refuses at any pace: as seldom as when we were slow, or our pace was meant."""
    is_often = noted.lessons >= MANY and OFTEN * noted.slower < limit.burst * noted.lessons
    if is_often or (limit.in_row > 1 and limit.burst**limit.in_row > 1 / RARE):
        interval = min(max_delay, SLOWER * limit.most if is_often else limit.most)
        noted = replace(noted, is_random=False, interval=interval, most=0.0, lessons=ENOUGH, slower=0)
    return noted, max(told or 0.0, SHORTLY * 2.0**limit.in_row)


def _in_trouble(limit: Limit, noted: Limit, rest: float) -> Limit:
    """How long a site is down says nothing of a pace: it was ours at most, until as many pass as before."""
    interval = limit.interval
    if limit.accepted > 1:
        between = (limit.last - limit.since) / (limit.accepted - 1)
        interval = min(interval or math.inf, WARY * between)
    return replace(
        noted, interval=interval, allowance=0, window=rest, spent=0, start=0.0, most=0.0, is_doubted=True
    )


def _interval(limit: Limit, noted: Limit, told: float | None, rest: float, pace: float) -> float:
    """Seconds a request that no limiter refuses which did what was seen; 0 where only a window is sure."""
    took = noted.refused_at - limit.since
    if told is not None:
        return _told_interval(limit, noted.refused_at, told, rest, pace)
    if limit.allowance:
        return 0.0
    if limit.start:
        return settled(limit, noted.refused_at).interval
    if limit.interval:
        slower = max(limit.most, SLOWER * limit.interval)
        is_soon = limit.since - limit.refused_at < 2 * LONG_GUESS
        if is_soon and limit.burst >= BURST and _is_as_many(limit):
            # As of a window that the clock ended during a rest.
            span = noted.refused_at - limit.refused_at + rest
            slower = max(slower, MARGIN * _usual(took, span - took) / limit.accepted)
        is_bucket = limit.rows <= 1 and limit.accepted < limit.burst
        if not is_bucket and _chance(limit.burst, limit.accepted) > RARE:
            return slower
        # Far fewer than at first: what has filled up since the last refusal.
        return max(slower, MARGIN * (noted.refused_at - limit.refused_at) / limit.accepted)
    if not limit.lessons:
        return MARGIN * _usual(took, rest) / limit.accepted
    return _proven(limit, noted.refused_at, took + rest, pace)


def _proven(limit: Limit, now: float, span: float, pace: float) -> float:
    """Seconds a request that cannot be refused once more: two refusals are what a limit may cost."""
    interval = MARGIN * span / limit.accepted
    if limit.accepted < FEW:
        return min(interval, NEAR * max(pace, 1.0))
    if MORE * limit.accepted < limit.burst:
        # As of a bucket: of what has filled up since the last refusal one token may have been there before.
        interval = min(interval, MARGIN * (now - limit.refused_at) / (limit.accepted - 1))
    return interval


def _paced(
    limit: Limit, noted: Limit, max_delay: float, told: float | None, rest: float
) -> tuple[Limit, float]:
    """What was learned at an interval, and the rest before it; a long interval becomes an allowance."""
    if noted.interval <= max_delay:
        return replace(
            noted, allowance=0, window=0.0, spent=0, start=noted.start if noted.most else 0.0
        ), rest
    # Until all of it is over, and not only the first request of it.
    span = noted.refused_at - limit.since
    # A bucket has as many once it is full; of a limit that bears no two at once, no two are allowed.
    is_bucket = not told and limit.burst >= FEW and _is_far(limit)
    count = max(limit.accepted, noted.burst) if is_bucket else limit.accepted
    if not told and noted.burst < FEW:
        count = 1
    allowed = _allow(noted, count, count * noted.interval)
    least = noted.interval * (allowed.allowance if is_bucket else limit.is_learned)
    return allowed, rest + span if told else max(rest, least)


def _is_again(limit: Limit) -> bool:
    """Whether as many passed as when a first rest was too short, and trouble was suspected."""
    is_some = BURST <= limit.accepted < MORE * limit.burst
    return limit.window > GAP and not limit.allowance and not limit.in_row and is_some


def _is_as_many(limit: Limit) -> bool:
    """Whether about as many passed as before the first refusal: limits count, chance does not."""
    return limit.burst / MORE < limit.accepted < MORE * limit.burst


def _chance(burst: int, distance: int) -> float:
    """How likely as many as `burst` pass where `distance` do as a rule: a bucket is full but once."""
    return float((distance / (distance + 1)) ** burst)


def spared(limit: Limit, now: float) -> Limit:
    """The limit after a refusal that was taken for something else, so that we go on without a rest."""
    return replace(
        limit,
        refused_at=now,
        in_row=limit.in_row + 1,
        burst=limit.burst or limit.accepted,
        took=limit.took if limit.burst else now - limit.since,
        lessons=limit.lessons + 1,
    )


def is_lone(limit: Limit) -> bool:
    """Whether the only refusal so far was spared."""
    return limit.lessons == 1 and limit.burst > 0 and not (limit.is_learned or limit.is_random)


def pardoned(limit: Limit) -> Limit:
    """The limit without its only refusal, which was spared and no limit's."""
    return replace(limit, burst=0, took=0.0, lessons=0, told=0.0) if is_lone(limit) else limit


def _allow(limit: Limit, count: int, window: float) -> Limit:
    """Half of what passed: a window with a fixed beginning may have ended once while we counted.

    Two at least, where so many passed: one would be robots.txt each time.
    """
    return replace(
        limit,
        interval=0.0,
        allowance=max(min(2, count), count // 2),
        window=min(LATEST, max(limit.window, window)),
        start=0.0,
        most=0.0,
        spent=0,
    )


def _rest(limit: Limit, now: float, told: float | None, longest: float, *, is_sure: bool) -> float:
    """As told or guessed; where that was too short, longer and longer.

    A limit that says nothing, and was met after so many requests that it may be one by the hour, gets an hour
    after a minute; so does what has not passed after five, and at last a day.
    """
    if limit.in_row == 0:
        took = now - limit.since if limit.accepted and not limit.interval else 0.0
        guess = min(LONG_GUESS, max(GUESS, limit.burst * limit.most, 3 * took if took > GUESS / 3 else 0.0))
        return told if told is not None else min(longest, guess)
    is_long = told is None and is_sure and limit.accepted >= OF_AN_HOUR and _is_first_row(limit)
    rested = now - limit.refused_at
    for step in (GUESS,) if is_long else (GUESS, LONG_GUESS):
        if rested < step:
            return max(told or 0.0, step)
    if rested < LONGEST or not is_sure:
        return max(told or 0.0, LONGEST + GUESS)
    over_in = limit.since + LATEST - now if limit.accepted else 0.0
    return max(told or 0.0, over_in if over_in > LONGEST else LATEST)


def _usual(took: float, rest: float) -> float:
    """The longest usual window that requests which took so long and a rest were enough for."""
    span = took + rest
    return max((usual for usual in USUAL if took < usual <= span), default=span)


def _told_interval(limit: Limit, now: float, told: float, rest: float, slower: float) -> float:
    """Seconds a request where the site said how long to wait."""
    n = limit.accepted
    proven = MARGIN * (now - limit.since + rest)
    if limit.in_row:
        return max(proven if n < BURST else 2 * proven / n, 1.25 * slower)  # what it told was not so
    if n >= BURST:
        return max(proven / n, 1.25 * slower)
    # Of a few it matters that we rested a little longer than a bucket needed.
    is_first = not limit.lessons or limit.since - limit.refused_at > LONGEST
    interval = proven / n if is_first else max(proven, MARGIN * (now - limit.refused_at + rest)) / n
    # We may have come late, and who was busy twice looks like a slow limit, which would seldom say that
    # it is over so soon.
    least = 0.0 if not limit.lessons else SELDOM * told if told <= SHORTLY else math.inf
    return max(min(interval, max(2 * slower, least)), 1.25 * slower)


def eased(limit: Limit, now: float) -> Limit:
    """The limit as it is kept at a moment: from a week after the last refusal on, a tenth faster each day.

    What may have been a site in trouble is forgotten before the next night, but for that it happened.
    """
    if limit.is_doubted and now - limit.refused_at > DOUBTED_FOR:
        return replace(limit, interval=0.0, allowance=0, spent=0, is_doubted=False)
    days = (now - limit.refused_at - KEPT_FOR) / DAY
    if days <= 0 or not (limit.is_learned or limit.is_random):
        return limit
    ease = EASED_A_DAY**days
    # The next days count from now on: what is eased is kept, and eased again.
    return replace(
        limit,
        interval=limit.interval * ease,
        most=limit.interval * ease,
        window=limit.window * ease,
        refused_at=now - KEPT_FOR,
        is_random=False,
    )
