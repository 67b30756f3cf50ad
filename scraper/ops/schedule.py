"""Cron schedules, parsed as Debian's cron does, and converted for systemd (crontab(5), systemd.time(7))."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from datetime import date, datetime, timedelta

from scraper.errors import UsageError
from scraper.model.frozen import frozen

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
REBOOT = "@reboot"
_EXAMPLE = 'five fields: minute, hour, day of month, month, day of week, as in "0 3 * * *"'


@frozen
class _Range:
    """What one of the five fields may hold; `names` stand for its numbers from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Range("minute", 0, 59),
    _Range("hour", 0, 23),
    _Range("day of month", 1, 31),
    _Range("month", 1, 12, _MONTHS),
    _Range("day of week", 0, 7, _DAYS),
)


MOST_DAYS = 8 * 366 + 1  # from one 29 February to the next, over a year that has none


@frozen
class Schedule:
    """A schedule as written in `text`, and the numbers that each field stands for; none for @reboot.

    `numbers` is the same for any cron: five fields without names. Sunday is 0. `is_either`: day of month and
    day of week are both given, and cron takes either.
    """

    text: str
    numbers: str
    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: tuple[int, ...] = ()
    months: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    is_either: bool = field(default=False)


def parse_schedule(text: str) -> Schedule:
    """Read "0 3 * * *" or "@daily"; UsageError names the field that is wrong and says how to write it."""
    words = text.split()
    if len(words) == 1 and words[0].startswith("@"):
        return _nickname(words[0].lower())
    if len(words) != len(_FIELDS):
        extra = "; cron knows no seconds" if len(words) == len(_FIELDS) + 1 else ""
        raise UsageError(f"a schedule of {len(words)} fields: {text[:80]!r}{extra}", f"write {_EXAMPLE}")
    minutes, hours, days, months, weekdays = (
        _parse_field(word, known) for word, known in zip(words, _FIELDS, strict=True)
    )
    is_either = not (words[2].startswith("*") or words[4].startswith("*"))
    if not is_either and min(days) > max(_LONGEST_MONTHS[month - 1] for month in months):
        raise UsageError(f"day of month: no day {words[2]} in month {words[3]}", "it would never run")
    weekdays = tuple(sorted({day % 7 for day in weekdays}))
    found = (minutes, hours, days, months, weekdays)
    numbers = " ".join(
        word if word.startswith("*") else _listed(field) for word, field in zip(words, found, strict=True)
    )
    return Schedule(" ".join(words), numbers, *found, is_either)


def _listed(numbers: Sequence[int]) -> str:
    return ",".join([f"{a}" if a == b else f"{a}-{b}" for a, b in _stretches(numbers)])


def _nickname(word: str) -> Schedule:
    if word == REBOOT:
        return Schedule(REBOOT, REBOOT)
    if word not in _NICKNAMES:
        known = ", ".join([*_NICKNAMES, REBOOT])
        raise UsageError(f"cron knows no {word[:40]!r}", f"there is {known}")
    found = parse_schedule(_NICKNAMES[word])
    return replace(found, text=word)


def _parse_field(word: str, known: _Range) -> tuple[int, ...]:
    numbers: set[int] = set()
    for part in word.split(","):
        numbers.update(_parse_part(part, word, known))
    return tuple(sorted(numbers))


def _parse_part(part: str, word: str, known: _Range) -> range:
    bounds, slash, step = part.partition("/")
    first, dash, last = bounds.partition("-")
    if bounds == "*":
        low, high = known.low, min(known.high, 6) if known.names is _DAYS else known.high
    else:
        low = _number(first, word, known)
        high = _number(last, word, known) if dash else low
    if high < low:
        raise _wrong(known, word, f"{bounds} runs backwards", "write two ranges with a comma between them")
    if not slash:
        return range(low, high + 1)
    if bounds != "*" and not dash:
        # Debian's cron reads the number and drops the step without a word.
        raise _wrong(known, word, f"{part} has no end", f"write {bounds}-{known.high}/{step}")
    if not re.fullmatch("[0-9]{1,3}", step) or not 1 <= int(step) <= known.high:
        raise _wrong(known, word, f"a step of {step or 'nothing'}", f"a step is 1 to {known.high}")
    return range(low, high + 1, int(step))


def _number(text: str, word: str, known: _Range) -> int:
    name = text.lower()
    if name in known.names:
        return known.names.index(name) + known.low
    if re.fullmatch("[0-9]{1,4}", text) and known.low <= int(text) <= known.high:
        return int(text)
    names = f" or {known.names[0]} to {known.names[-1]}" if known.names else ""
    raise _wrong(known, word, repr(text), f"it takes {known.low} to {known.high}{names}, *, ranges and steps")


def _wrong(known: _Range, word: str, what: str, hint: str) -> UsageError:
    where = "" if what == repr(word) else f" in {word[:60]!r}"
    return UsageError(f"{known.name}: {what[:60]}{where}", hint)


# systemd ----------------------------------------------------------------------------------------------------
def calendar(schedule: Schedule) -> list[str]:
    """The OnCalendar expressions that fire when cron would; none for @reboot, two where cron takes either."""
    if schedule.text == REBOOT:
        return []
    time = f"{_spell(schedule.hours, 0, 23)}:{_spell(schedule.minutes, 0, 59)}:00"
    months = _spell(schedule.months, 1, 12)
    days = _spell(schedule.days, 1, 31)
    weekdays = _weekdays(schedule.weekdays)
    if schedule.is_either:
        return [f"*-{months}-{days} {time}", f"{weekdays}*-{months}-* {time}"]
    return [f"{weekdays}*-{months}-{days} {time}"]


def calendar_of_gaps(
    schedule: Schedule, year: int, wall: Callable[[datetime], float] = datetime.timestamp
) -> list[str]:
    """What `calendar` misses: times that do not exist in the night when the clock is put forward.

    systemd waits for the next day; Debian's cron runs them when the hour is over (cron(8)). `wall` tells the
    moment of a local time, for `year` and the 28 after it, in which every date meets every weekday.
    """
    if schedule.text == REBOOT or len(schedule.hours) == 24:
        return []
    found: list[datetime] = []
    day = datetime(year, 1, 1)
    while day.year <= year + 28:
        tomorrow = day + timedelta(days=1)
        if wall(tomorrow) - wall(day) < 86_400 and _fires_on(schedule, day.date()):
            found += _end_of_gap(schedule, day, wall)
        day = tomorrow
    return _pattern(found) or [f"{moment:%Y-%m-%d %H:%M}:00" for moment in found[:10]]


def next_time(schedule: Schedule, after: datetime) -> datetime | None:
    """When cron starts it next, in local time; None for @reboot and for days that no calendar has."""
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for n in range(MOST_DAYS if schedule.minutes else 0):
        day = moment.date() + timedelta(days=n)
        if not _fires_on(schedule, day):
            continue
        for hour in schedule.hours:
            for minute in schedule.minutes:
                found = datetime(day.year, day.month, day.day, hour, minute)
                if found >= moment:
                    return found
    return None


def _fires_on(schedule: Schedule, day: date) -> bool:
    by_day, by_weekday = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
    is_due = by_day or by_weekday if schedule.is_either else by_day and by_weekday
    return day.month in schedule.months and is_due


def _end_of_gap(schedule: Schedule, day: datetime, wall: Callable[[datetime], float]) -> list[datetime]:
    """The first moment after a gap that hides a time of the schedule, unless it is one of the schedule's."""
    times = [day.replace(hour=hour, minute=minute) for hour in schedule.hours for minute in schedule.minutes]
    # A time that does not exist stands for one behind the gap (PEP 495), so that the gap's end seems earlier.
    for one in times:
        for late in range(1, 181):
            ahead = one + timedelta(minutes=late)
            if wall(ahead) <= wall(one):
                return [] if ahead in times else [ahead]
    return []


def _pattern(moments: Sequence[datetime]) -> list[str]:
    """One expression for the same weekday of the same week of every year, where they are that."""
    kinds = {(one.month, one.isoweekday() % 7, one.hour, one.minute) for one in moments}
    days = [one.day for one in moments]
    if len(kinds) != 1 or max(days) - min(days) != 6:
        return []
    month, weekday, hour, minute = kinds.pop()
    return [f"{_weekdays([weekday])}*-{month:02}-{min(days):02}..{max(days):02} {hour:02}:{minute:02}:00"]


def _spell(numbers: Sequence[int], low: int, high: int) -> str:
    if len(numbers) == high - low + 1:
        return "*"
    step = numbers[1] - numbers[0] if len(numbers) > 1 else 0
    if len(numbers) > 2 and step > 1 and list(numbers) == list(range(numbers[0], high + 1, step)):
        return f"{numbers[0]:02}/{step}"
    return ",".join([f"{a:02}" if a == b else f"{a:02}..{b:02}" for a, b in _stretches(numbers)])


def _weekdays(numbers: Sequence[int]) -> str:
    if len(numbers) == len(_DAYS):
        return ""
    # systemd's week begins on Monday, and its ranges do not pass Sunday.
    from_monday = sorted((number - 1) % 7 for number in numbers)
    names = [_DAYS[(number + 1) % 7].title() for number in range(7)]
    return (
        ",".join([names[a] if a == b else f"{names[a]}..{names[b]}" for a, b in _stretches(from_monday)])
        + " "
    )


def _stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each stretch of numbers without a hole."""
    start = before = numbers[0]
    for number in numbers[1:]:
        if number != before + 1:
            yield start, before
            start = number
        before = number
    yield start, before
