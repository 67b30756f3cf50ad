"""What refusals teach about a site's limit of requests: how long to rest, and how to ask from then on.

A limiter is unknown but for what it let pass: `accepted` requests since `since`, then a refusal, and after
the rest that followed more again. A window (fixed or sliding) that let n requests pass in T seconds, and more
after R seconds of rest, lets n pass in (T + R); a bucket gets as many tokens between two refusals as it gave.
What is concluded is meant to hold for all of them at once, for windows of up to an hour, so that two refusals
are the most in a run of any length, and later runs meet none.
"""

import math

from scraper.model.frozen import frozen, replace

DAY = 86400.0
LONGEST = 3600.0  # seconds: no window is believed to be longer, until it has shown to be
MARGIN = 1.1
LATEST = DAY + 10.0  # after its first request, a limit by the day is over, whatever clock it goes by

GUESS, LONG_GUESS = 75.0, 300.0  # seconds: most limits are by the minute, some count it by halves of two
GAP = 300.0  # seconds without a request after which what was accepted before says nothing more
SHORTLY = 2.0  # seconds of rest that a server which is only busy asks for
SELDOM = 4  # times that wait: a limit is rarely slower
ENOUGH = 2  # lessons that a site may give which may be in trouble
BURST = 4  # from so many requests on, what passed before a refusal is a budget
OUTAGE = 4  # delays are enough for a site that may have been down when we came
FEW = 2  # a burst below it is a distance between two requests, not a budget
KEPT_FOR = 7 * DAY
EASED_A_DAY = 0.9
DOUBTED_FOR = 20 * 3600.0


@frozen
class Limit:
    """The limit of a site as far as it is known; moments on `Clock.now()`'s line, spans in seconds.

    `interval`: seconds a request, 0 while nothing was learned. `allowance`: so many requests, then `window`
    seconds of rest; 0: spread evenly. `spent`: how many of them. `since`, `last`, `accepted`: the requests
    let pass since the last refusal. `refused_at`: that refusal; `in_row`: refusals since one passed.
    `burst`: what passed before the first refusal, in `took` seconds; `lessons`: all refusals. `forbids`: some
    pages of the site fail by themselves. `is_doubted`: what it taught may have been a site in trouble.
    """

    interval: float = 0.0
    allowance: int = 0
    window: float = 0.0
    spent: int = 0
    since: float = 0.0
    last: float = 0.0
    accepted: int = 0
    refused_at: float = 0.0
    in_row: int = 0
    burst: int = 0
    lessons: int = 0
    forbids: bool = False
    took: float = 0.0
    is_doubted: bool = False

    @property
    def is_learned(self) -> bool:
        return bool(self.interval or self.allowance)


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
    return replace(
        limit,
        since=sent_at if is_new else limit.since,
        accepted=count if is_new else limit.accepted + count,
        last=max(limit.last, sent_at),
        spent=spent + count if limit.allowance else 0,
        in_row=0,
    )


def rested_until(limit: Limit) -> float:
    """The moment before which the learned allowance lets nothing pass; 0 where some of it is left."""
    if not limit.allowance or limit.spent < limit.allowance:
        return 0.0
    # Half of what passed is allowed, so that a long window may be counted from its first request.
    return (limit.since if limit.window > GAP else limit.last) + limit.window


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
    rest = _rest(limit, now, told, longest, is_sure=is_sure)
    if is_again := _is_again(limit) and told is None:
        rest = max(rest, LONGEST)
    noted = replace(
        limit,
        refused_at=now,
        in_row=limit.in_row + 1,
        burst=limit.burst or limit.accepted,
        took=limit.took if limit.burst else now - limit.since,
        lessons=limit.lessons + 1,
        is_doubted=False,
    )
    if not limit.accepted:
        return noted, rest  # who was refused at once knows nothing of what would have passed
    if not is_sure and limit.lessons >= ENOUGH and limit.is_learned and not limit.in_row:
        return noted, rest  # what is refused at any pace does not speak of it
    interval = None if is_again else _interval(limit, now, told, rest)
    if interval is not None:
        return _paced(
            limit, noted, _bounded(limit, interval, told, delay, is_sure=is_sure), max_delay, told, rest
        )
    if max(limit.accepted, limit.burst) < BURST:
        return noted, rest  # of a few that passed nothing is known, and the site may have been down
    is_doubted = not (is_sure or is_again)
    window = rest if is_doubted else now - limit.since + rest
    return replace(_allow(noted, limit.allowance or noted.burst, window), is_doubted=is_doubted), rest


def _paced(
    limit: Limit, noted: Limit, interval: float, max_delay: float, told: float | None, rest: float
) -> tuple[Limit, float]:
    """What was learned at an interval, and the rest before it; a long interval becomes an allowance."""
    if interval <= max_delay:
        return replace(noted, interval=interval, allowance=0, window=0.0, spent=0), rest
    # Until all of it is over, and not only the first request of it.
    rest = rest + noted.refused_at - limit.since if told else max(rest, interval if limit.is_learned else 0.0)
    count = limit.accepted if limit.accepted >= BURST else 1
    return _allow(noted, count, count * interval), rest


def _bounded(limit: Limit, interval: float, told: float | None, delay: float, *, is_sure: bool) -> float:
    """The interval within what a refusal may teach, which may mean a site in trouble: the next comes soon."""
    slower = max(delay, limit.interval)
    most = math.inf
    if not is_sure and limit.in_row:
        most = OUTAGE * max(slower, 1.0) if limit.accepted < BURST else math.inf
    elif not is_sure and not limit.is_learned:
        most = 2 * slower
    if told is not None and not limit.in_row and limit.accepted < BURST:
        # We may have come late, and who was busy twice looks like a slow limit, which would seldom say that
        # it is over so soon.
        least = 0.0 if not limit.lessons else SELDOM * told if told <= SHORTLY else math.inf
        most = min(most, max(2 * slower, least))
    return max(min(interval, most), 1.25 * slower)


def _is_again(limit: Limit) -> bool:
    """Whether as many passed as when a first rest was too short, and trouble was suspected."""
    was_long = limit.window > GAP and not limit.is_learned and not limit.in_row
    return was_long and 0.8 * limit.burst < limit.accepted < 1.25 * limit.burst


def suspected(limit: Limit, now: float) -> Limit:
    """An error after pages that passed: noted, but no reason to go slower yet, since many sites fail so."""
    burst = limit.burst or limit.accepted
    return replace(limit, burst=burst, lessons=limit.lessons + 1, refused_at=now, in_row=limit.in_row + 1)


def _allow(limit: Limit, count: int, window: float) -> Limit:
    """Half of what passed: a window with a fixed beginning may have ended once while we counted.

    Two at least, where so many passed: one would be robots.txt each time.
    """
    return replace(
        limit,
        interval=0.0,
        allowance=max(min(2, count), count // 2),
        window=max(limit.window, window),
        spent=0,
    )


def _rest(limit: Limit, now: float, told: float | None, longest: float, *, is_sure: bool) -> float:
    """As told or guessed; where that was too short, until a limit by the day is over.

    What was told wrongly is a minute at least; a site that may be in trouble is asked again after an hour.
    """
    if limit.in_row == 0:
        took = now - limit.since if limit.accepted else 0.0
        guess = min(LONG_GUESS, max(GUESS, 3 * took if took > GUESS / 3 else 0.0))
        return told if told is not None else min(longest, guess)
    if limit.in_row == 1 and told is not None:
        return max(told, GUESS)
    if not is_sure:
        return max(told or 0.0, LONGEST)
    over_in = limit.since + LATEST - now if limit.accepted else 0.0
    return max(told or 0.0, over_in if over_in > LONGEST else LATEST)


def _interval(limit: Limit, now: float, told: float | None, rest: float) -> float | None:
    """Seconds a request that no limiter refuses which did what was seen; None where only a window is sure.

    After a first refusal it may be a bit too short, since a second one tells much more.
    """
    took, n = now - limit.since, limit.accepted
    proven = MARGIN * (took + rest)  # one request in all of it
    between = now - limit.refused_at
    if (limit.in_row or limit.allowance) and told is None and rest >= LONGEST:
        return None
    if limit.in_row:
        return proven if n < BURST else 2 * proven / n  # the rest was too short, or what it told was not so
    is_first = not limit.lessons or limit.since - limit.refused_at > LONGEST
    if told is not None:
        # Of a few it matters that we rested a little longer than a bucket needed.
        return proven / n if is_first or n >= BURST else max(proven, MARGIN * (between + rest)) / n
    # Whatever kind it is: between two refusals it gave so many, and was perhaps about to give one more.
    by_bucket = MARGIN * between / (n - 1) if n >= FEW else 2 * between
    if not limit.is_learned and n < (BURST if is_first else FEW):
        # The rate of a site that bears no burst is nearer to ours than to the guess.
        return math.sqrt(max(took, 0.5) * proven) / n
    if is_first or not limit.is_learned:
        return proven / n if is_first else max(proven / n, by_bucket)
    interval = max(2 * MARGIN * limit.interval, by_bucket)
    if max(n, limit.burst) < BURST:
        interval = max(interval, MARGIN * (limit.took + limit.since - limit.refused_at))
    return interval


def eased(limit: Limit, now: float) -> Limit:
    """The limit as it is kept at a moment: from a week after the last refusal on, a tenth faster each day.

    What may have been a site in trouble is forgotten before the next night, but for that it happened.
    """
    if limit.is_doubted and now - limit.refused_at > DOUBTED_FOR:
        return replace(limit, interval=0.0, allowance=0, spent=0, is_doubted=False)
    days = (now - limit.refused_at - KEPT_FOR) / DAY
    if days <= 0 or not limit.is_learned:
        return limit
    ease = EASED_A_DAY**days
    # The next days count from now on: what is eased is kept, and eased again.
    return replace(
        limit, interval=limit.interval * ease, window=limit.window * ease, refused_at=now - KEPT_FOR
    )


def told_of(limit: Limit) -> str:
    """The rule in words for people; empty while nothing was learned."""
    if limit.allowance:
        return f"learned from refusals, {limit.allowance} requests in {limit.window:.0f} s"
    return f"learned from refusals, one request per {limit.interval:.3g} s" if limit.interval else ""
