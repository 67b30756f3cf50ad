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
GUESSED = 1.6  # where a window may have begun anew while we guessed

MINUTE = 60.0
SHORT_GUESS, LONG_GUESS = 2.0, 300.0
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
    is_new = not limit.accepted or limit.in_row > 0 or sent_at - limit.last > GAP + limit.interval
    spent = 0 if sent_at - limit.last >= limit.window else limit.spent
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
    return limit.last + limit.window if limit.allowance and limit.spent >= limit.allowance else 0.0


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
    rest = _rest(limit, now, told, longest)
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
    interval = _interval(limit, now, told, rest)
    if interval is None and max(limit.accepted, limit.burst) < BURST:
        return noted, rest  # of a few that passed nothing is known, and the site may have been down
    if interval is None:
        rest = max(rest, LONGEST)
        return replace(_allow(noted, limit.allowance or noted.burst, rest), is_doubted=not is_sure), rest
    slower = max(delay, limit.interval)
    if _is_vague(limit, now, told, is_sure):
        interval = min(interval, 2 * slower if not limit.in_row else OUTAGE * max(slower, 1.0))
    if told is not None and told <= SHORTLY and not limit.in_row and limit.accepted < BURST:
        # Who was busy twice looks like a slow limit, which would seldom say that it is over so soon.
        interval = min(interval, max(2 * slower, SELDOM * told))
    interval = max(interval, 1.25 * slower)
    if interval > max_delay:
        # Until all of it is over, and not only the first request of it.
        return _allow(noted, limit.accepted, limit.accepted * interval), rest + (
            now - limit.since if told else 0.0
        )
    return replace(noted, interval=interval, allowance=0, window=0.0, spent=0), rest


def suspected(limit: Limit, now: float) -> Limit:
    """An error after pages that passed: noted, but no reason to go slower yet, since many sites fail so."""
    burst = limit.burst or limit.accepted
    return replace(limit, burst=burst, lessons=limit.lessons + 1, refused_at=now, in_row=limit.in_row + 1)


def _is_vague(limit: Limit, now: float, told: float | None, is_sure: bool) -> bool:
    """Whether first refusals may be an accident; a second one, which tells more, then comes soon enough."""
    if limit.in_row:
        return not is_sure and limit.accepted < BURST
    if limit.is_learned:
        return False
    return not is_sure or limit.accepted < BURST or (told is None and now - limit.since > MINUTE)


def _allow(limit: Limit, count: int, window: float) -> Limit:
    """Half of what passed: a window with a fixed beginning may have ended once while we counted."""
    return replace(
        limit, interval=0.0, allowance=max(1, count // 2), window=max(limit.window, window), spent=0
    )


def _rest(limit: Limit, now: float, told: float | None, longest: float) -> float:
    """Longer each time: as told or guessed, then a minute or as told, then an hour, then a day."""
    is_budget = limit.accepted >= BURST or limit.burst >= BURST
    if limit.in_row == 0:
        return told if told is not None else min(longest, _guess(limit, now, is_budget))
    if limit.in_row == 1 and (told is not None or not is_budget):
        return max(told or 0.0, MINUTE)
    is_by_day = told is None and limit.in_row > 1 and now - limit.refused_at >= LONGEST
    return max(told or 0.0, DAY if is_by_day else LONGEST)


def _guess(limit: Limit, now: float, is_budget: bool) -> float:
    """Most limits without a word are by the minute; those that bear no burst, by less."""
    took = now - limit.since if limit.accepted else 0.0
    if took > MINUTE / 3:
        return min(LONG_GUESS, max(MINUTE, 3 * took))
    return MINUTE if is_budget else min(MINUTE, max(SHORT_GUESS, 12 * took))


def _interval(limit: Limit, now: float, told: float | None, rest: float) -> float | None:
    """Seconds a request that no limiter refuses which did what was seen; None where only a window is sure."""
    took, n = now - limit.since, limit.accepted
    by_window = MARGIN * (took + rest) / n
    if limit.in_row:
        return 2 * by_window if told is not None or rest < LONGEST else None  # what it told was not so
    is_first = not limit.is_learned or limit.since - limit.refused_at > LONGEST
    between = now - limit.refused_at
    if told is not None:
        # Of a few it matters that we rested a little longer than a bucket needed.
        return by_window if is_first or n >= BURST else max(by_window, MARGIN * (between + rest) / n)
    if not limit.is_learned and limit.lessons:
        return max(by_window, MARGIN * between / n)  # whatever kind it is: between the two it gave so many
    if is_first:
        # The first refusal of a site that bears no burst: its rate is nearer to ours than to the guess.
        return math.sqrt(max(took, 0.5) * by_window) if n < FEW else by_window
    if n >= FEW:
        by_bucket = between / (n - 1)
        interval = max(2 * MARGIN * limit.interval, GUESSED * by_bucket)
        if n > limit.burst and took > limit.took:
            # A bucket that was full both times let more pass by what it got in the longer time.
            got = (took - limit.took) / (n - limit.burst)
            interval = min(interval, GUESSED * max(by_window, got))
        return interval
    return max(2 * MARGIN * limit.interval, 1.5 * between) if limit.burst < BURST else None


def eased(limit: Limit, now: float) -> Limit:
    """The limit as it is kept at a moment: from a week after the last refusal on, a tenth faster each day.

    What may have been a site in trouble is forgotten before the next night, but for that it happened.
    """
    if limit.is_doubted and now - limit.refused_at > DOUBTED_FOR:
        return replace(limit, interval=0.0, allowance=0, window=0.0, spent=0, is_doubted=False)
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
