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
MINUTE = 60.0
GAP = 300.0  # seconds without a request after which what was accepted before says nothing more
SHORTLY = 2.0  # seconds of rest that a server which is only busy asks for
SELDOM = 4  # times that wait: a limit is rarely slower
ENOUGH = 2  # refusals that show a limit; more of them show that the pace is not meant
MANY = 3  # refusals that tell something of their share
MOST_RANDOM = 3  # in a row, of a site that refuses at any pace
BURST = 4  # from so many requests on, what passed before a refusal is a budget
FEW = 2  # a burst below it is a distance between two requests, not a budget
NEAR = 10.0  # times the distance that was too short, or seconds, from which a longer one is looked for
# How much faster we become while we look for the limit, see `_fall`.
FLAT, STEEP, STEPS, LEAST = 0.1, 0.2, 12, 0.02
SLOWER = 1.5
WARY = 1.25  # times a pace that was refused, by a site that may only have been in trouble
CLOSE = 1.15  # times the distance that was refused first: no limit is so near to our delay by chance
# Seconds of the windows that limits have.
USUAL = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 300, 600, 900, 1800, 3600, 86400)
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
    `start`: the interval from which a shorter one is looked for, 0 where it is not; `most`: one that no limit
    refuses that did what was seen, 0 after a second refusal. `slower`: what passed between refusals at a
    slower pace. `is_random`: the site refuses at any pace, once in `burst` requests.
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
    start: float = 0.0
    most: float = 0.0
    slower: int = 0
    is_random: bool = False

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
    limit = replace(
        limit,
        since=sent_at if is_new else limit.since,
        accepted=count if is_new else limit.accepted + count,
        last=max(limit.last, sent_at),
        spent=spent + count if limit.allowance else 0,
        in_row=0,
    )
    return _nearer(limit) if limit.start else limit


def _nearer(limit: Limit) -> Limit:
    """A bit faster with each request but the first, until the second refusal shows where the limit is."""
    falling = max(0.0, limit.accepted / limit.burst - 1)
    interval = limit.start * math.exp(-_fall(limit) * falling)
    floor = _floor(limit)
    if interval * math.exp(_fall(limit) * _lag(limit)) < floor:
        # As fast as when it was refused, for long enough: an accident.
        return replace(limit, interval=0.0, start=0.0, most=0.0, burst=0, lessons=0)
    return replace(limit, interval=max(floor, interval))


def _floor(limit: Limit) -> float:
    """The interval at which it was refused first."""
    return max(limit.took / limit.burst, LEAST)


def _fall(limit: Limit) -> float:
    """How much faster (as a logarithm) after as many requests as passed before the first refusal."""
    if limit.burst < FEW:
        return STEEP  # each request shows whether its distance was long enough
    return max(FLAT, math.log(max(limit.start / _floor(limit), 1.0)) / STEPS)


def _lag(limit: Limit) -> float:
    """For how many times `burst` requests a full bucket hides that the interval is too short.

    It has `burst` tokens at most: sum(1 - exp(-fall * k)) is 1.
    """
    return math.sqrt(2 / _fall(limit))


def settled(limit: Limit, refused_at: float = 0.0) -> Limit:
    """The limit where it is looked for no longer: at what no limiter refuses which did what was seen.

    `refused_at`: the second refusal, 0 where there was none until the end of the run.
    """
    if not limit.start:
        return limit
    steps, fall = limit.accepted / limit.burst, _fall(limit)
    # A window lets `burst` pass, however close, and is met by the next ones; and the distance before the
    # request that was refused was still one of before.
    shown = MARGIN * limit.interval * math.exp(fall * (1 + 1 / limit.burst))
    interval = limit.most if steps <= 1 else min(limit.most, shown)
    if not refused_at and steps <= 1:
        pass  # nothing was shown yet
    elif limit.accepted == limit.burst >= FEW:
        # As of a window; of a long one it is not known how long it is.
        interval *= 1 if limit.burst * limit.most <= MARGIN * MINUTE else 2
    elif limit.burst >= FEW or limit.interval < CLOSE * _floor(limit):
        bucket = _by_bucket(limit, refused_at or limit.last, steps, fall)
        interval = max(interval, bucket if refused_at else min(bucket, limit.most))
    return replace(limit, interval=interval, start=0.0)


def _by_bucket(limit: Limit, until: float, steps: float, fall: float) -> float:
    """Seconds for a token, of a bucket that has `burst` at most, or that was empty when it refused."""
    between = until - limit.refused_at
    interval = between / (limit.accepted - 1) if limit.accepted > 1 else 2 * between
    if limit.burst >= FEW and (steps := min(steps, _lag(limit))) > 1:
        mean = limit.interval * math.expm1(fall * steps) / (fall * steps)
        interval = min(interval, mean * steps / (steps - 1))
    return MARGIN * interval


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
    is_slower = not limit.in_row and (limit.is_learned or limit.is_random)
    noted = replace(
        limit,
        refused_at=now,
        in_row=limit.in_row + 1,
        burst=limit.burst or limit.accepted,
        took=limit.took if limit.burst else now - limit.since,
        lessons=limit.lessons + 1,
        slower=limit.slower + (limit.accepted if is_slower else 0),
        is_doubted=False,
    )
    if limit.is_random:
        return _at_any_pace(limit, noted, told)
    rest = _rest(limit, now, told, longest, is_sure=is_sure)
    if not limit.accepted or (told is not None and limit.in_row > 1 and not is_sure):
        return _in_trouble(limit, noted, rest), rest
    is_again = _is_again(limit)
    if limit.interval and limit.in_row <= 1 and limit.lessons > ENOUGH and not is_again:
        # Slower did not help, so that no pace does.
        distance = max(1, noted.slower // limit.lessons)
        noted = replace(noted, is_random=True, most=limit.interval, interval=0.0, start=0.0)
        return replace(noted, burst=distance, slower=0, lessons=0), told or SHORTLY
    pace = max(delay, limit.interval)
    interval = 0.0 if is_again else _interval(limit, noted, told, rest, pace, is_sure=is_sure)
    if interval:
        noted = replace(noted, interval=interval, most=0.0 if limit.is_learned or limit.in_row else interval)
        if told is None and not (limit.is_learned or limit.in_row):
            noted = _looking(noted, pace, max_delay)
        return _paced(limit, noted, max_delay, told, rest)
    if is_again:
        rest = max(rest, LONGEST)
    elif max(limit.accepted, limit.burst) < BURST:
        return noted, rest  # of a few that passed nothing is known, and the site may have been down
    is_doubted = not (is_sure or is_again)
    window = rest if is_doubted else now - limit.since + rest
    return replace(_allow(noted, limit.allowance or noted.burst, window), is_doubted=is_doubted), rest


def _at_any_pace(limit: Limit, noted: Limit, told: float | None) -> tuple[Limit, float]:
    """A refusal of a site that refuses at any pace: as seldom as when we were slow, or our pace was meant."""
    if limit.in_row >= MOST_RANDOM or (
        noted.lessons >= MANY and 2 * noted.slower < limit.burst * noted.lessons
    ):
        noted = replace(noted, is_random=False, interval=SLOWER * limit.most, most=0.0, lessons=ENOUGH)
    return noted, max(told or 0.0, SHORTLY * 2**limit.in_row)


def _in_trouble(limit: Limit, noted: Limit, rest: float) -> Limit:
    """How long a site is down says nothing of a pace: it was ours at most, until as many pass as before."""
    if not limit.accepted:
        return noted  # who was refused at once knows nothing of what would have passed
    between = (limit.last - limit.since) / max(1, limit.accepted - 1)
    interval = min(limit.interval or math.inf, WARY * between)
    return replace(
        noted, interval=interval, allowance=0, window=rest, spent=0, start=0.0, most=0.0, is_doubted=True
    )


def _interval(
    limit: Limit, noted: Limit, told: float | None, rest: float, pace: float, *, is_sure: bool
) -> float:
    """Seconds a request that no limiter refuses which did what was seen; 0 where only a window is sure."""
    took = noted.refused_at - limit.since
    if told is not None:
        return _told_interval(limit, noted.refused_at, told, rest, pace)
    if limit.in_row:
        is_known = is_sure and max(limit.accepted, limit.burst) >= BURST
        return max(MARGIN * _usual(took, rest) / limit.accepted, SLOWER * pace) if is_known else 0.0
    if limit.allowance:
        return 0.0
    if limit.start:
        return settled(limit, noted.refused_at).interval
    if limit.interval:
        return max(limit.most, SLOWER * limit.interval)
    if not limit.lessons:
        return MARGIN * _usual(took, rest) / limit.accepted
    # Another refusal would be one too many.
    proven = MARGIN * (took + rest) / limit.accepted
    return proven if limit.accepted >= FEW else min(proven, NEAR * max(pace, 1.0))


def _looking(limit: Limit, pace: float, max_delay: float) -> Limit:
    """Begin to look for the limit, in the middle between what is proven and what was refused."""
    if limit.lessons > 1:
        return limit
    start = limit.most / 2 if limit.burst >= FEW else min(limit.most / 2, NEAR * max(pace, 1.0))
    start = min(max_delay, max(start, 1.25 * pace))
    return replace(limit, interval=start, start=start, most=min(max_delay, max(limit.most, start)))


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
    rest = rest + span if told else max(rest, noted.interval if limit.is_learned else 0.0)
    count = limit.accepted if limit.accepted >= BURST else 1
    return _allow(noted, count, count * noted.interval), rest


def _is_again(limit: Limit) -> bool:
    """Whether as many passed as when a first rest was too short, and trouble was suspected."""
    was_long = limit.window > GAP and not limit.allowance and not limit.in_row
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
        window=min(LATEST, max(limit.window, window)),
        start=0.0,
        most=0.0,
        spent=0,
    )


def _rest(limit: Limit, now: float, told: float | None, longest: float, *, is_sure: bool) -> float:
    """As told or guessed; where that was too short, until a limit by the hour is over, then one by the day.

    What was told wrongly is a minute at least.
    """
    if limit.in_row == 0:
        took = now - limit.since if limit.accepted and not limit.interval else 0.0
        guess = min(LONG_GUESS, max(GUESS, limit.burst * limit.most, 3 * took if took > GUESS / 3 else 0.0))
        return told if told is not None else min(longest, guess)
    if limit.in_row == 1 and told is not None:
        return max(told, GUESS)
    if limit.in_row == 1 or (limit.in_row == 2 and told is not None) or not is_sure:
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


def told_of(limit: Limit) -> str:
    """The rule in words for people; empty while nothing was learned."""
    if limit.allowance:
        return f"learned from refusals, {limit.allowance} requests in {limit.window:.0f} s"
    return f"learned from refusals, one request per {limit.interval:.3g} s" if limit.interval else ""
