"""robots.txt to the letter: RFC 9309, lenient where the field is and where that costs a site nothing.

`parse` sorts the lines of a file by the agents they speak to; `Robots` finds the group that speaks to us;
a `Group` decides about a path. After them stands what a missing file means (`access`), and how long a
copy is good (`lifetime`). Whatever a site sends, nothing here raises.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from hashlib import sha256
from itertools import chain
from typing import NamedTuple, TypeVar

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.politeness.robots_patterns import Patterns, spelled_path, spelled_pattern

MAX_BODY = 512_000  # bytes read: at least 500 KiB (RFC 9309 2.5)
MAX_LINE = 16_663  # bytes of a line read: as the reference parser
DAY = 86_400.0
PATIENCE = 30 * DAY
LEAST_LIFETIME = 300.0

Window = tuple[int, int]
"""From (included) and to (excluded), in minutes of the UTC day; may reach over midnight."""


@frozen
class Rule:
    """One Allow or Disallow line: its pattern as written, its line (from 1), and whom it speaks to."""

    allow: bool
    pattern: str
    line: int
    agent: str


@frozen
class RequestRate:
    """At most `requests` in `seconds`; `window` where the site gave one."""

    requests: int
    seconds: int
    window: Window | None = None

    @property
    def delay(self) -> float:
        """Seconds from one request to the next."""
        return self.seconds / self.requests


class Access(StrEnum):
    """What the answer to a request for robots.txt allows."""

    PARSE = "parse"
    ALLOW_ALL = "allow all"
    UNREACHABLE = "unreachable"  # nothing may be fetched until another try succeeds


# 2.2 The lines of a file, sorted by the agents they speak to


class _Line(NamedTuple):
    number: int
    field: str
    value: bytes


_Blocks = dict[str, list[list[_Line]]]


def parse(body: bytes) -> "Robots":
    """Read a robots.txt; lines that make no sense are skipped (2.2, 2.3.1.5)."""
    rules: list[_Line] = []
    extras: list[_Line] = []
    rules_of: _Blocks = {}
    extras_of: _Blocks = {}
    sitemaps: dict[str, None] = {}
    for line in _lines(_text(body)):
        match line.field:
            case "user-agent":
                # Only rules end a group of agents (2.2.4); an extra is for the agents named just before it.
                rules, extras = ([] if rules else rules), ([] if rules or extras else extras)
                agent = _agent(line.value)
                _attach(rules_of, agent, rules)
                _attach(extras_of, agent, extras)
            case "allow" | "disallow":
                rules.append(line)
            case "sitemap":
                sitemaps[_show(line.value)] = None
            case _:
                extras.append(line)
    return Robots(rules_of, extras_of, tuple(filter(None, sitemaps)), sha256(body).hexdigest()[:12])


def _attach(blocks_of: _Blocks, agent: str, block: list[_Line]) -> None:
    blocks = blocks_of.setdefault(agent, [])
    if not blocks or blocks[-1] is not block:
        blocks.append(block)


def _text(body: bytes) -> bytes:
    """The part that is read, as UTF-8 without BOM, NUL and, in a file that is HTML, tags."""
    text = body[:MAX_BODY]
    if text.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = text.decode("utf-16", "replace").encode()
    if len(body) > MAX_BODY:
        text = text[: max(text.rfind(b"\n"), text.rfind(b"\r")) + 1]
    text = _BOM.sub(b"", text, count=1).replace(b"\0", b"")
    return _TAG.sub(b"", text) if text.lstrip().startswith(b"<") else text


_BOM = pattern(rb"\A\xef(?:\xbb\xbf?)?")
_TAG = pattern(rb"<[^<>\r\n]*>")


def _lines(text: bytes) -> Iterator[_Line]:
    for number, line in enumerate(text.splitlines(), 1):
        line = line[:MAX_LINE].partition(b"#")[0].strip()
        name, colon, value = line.partition(b":")
        if not colon:
            # "Disallow /path" is a common slip; of more than two words nobody knows what is meant.
            words = line.split(None, 2)
            name, value = words if len(words) == 2 else (b"", b"")
        field = _FIELDS.get(name.lower().translate(None, b" \t-_"))
        if field:
            yield _Line(number, field, value.strip())


_FIELDS = {
    b"useragent": "user-agent",
    b"allow": "allow",
    b"disallow": "disallow",
    b"sitemap": "sitemap",
    b"crawldelay": "crawl-delay",
    b"requestrate": "request-rate",
    b"visittime": "visit-time",
    b"contentusage": "content-usage",
    # Slips so common that the reference parser, or others, read through them.
    b"sitemaps": "sitemap",
    **dict.fromkeys(b"dissallow dissalow disalow diasllow disallaw desallow".split(), "disallow"),
}


def _agent(value: bytes) -> str:
    """The product token of a User-agent line, "*" for everyone, "" for no one (2.2.1)."""
    found = _TOKEN.match(value.decode("utf-8", "replace"))
    return found[0].casefold() if found else ""


# Digits, dots and letters beyond ASCII are no part of a token by the letter, but of tokens in use.
_TOKEN = pattern(r"\*(?!\S)|[\w.-]+")


def _show(value: bytes) -> str:
    return value.decode("utf-8", "replace")


# 2.2.1 The group that speaks to us


class Robots:
    """What a robots.txt asks of each crawler. `hash` names the body that was read."""

    __slots__ = ("_extras_of", "_groups", "_rules_of", "hash", "sitemaps")

    def __init__(self, rules_of: _Blocks, extras_of: _Blocks, sitemaps: Sequence[str], hash: str) -> None:
        self._rules_of = rules_of
        self._extras_of = extras_of
        self._groups: dict[str, Group] = {}
        self.sitemaps = sitemaps
        self.hash = hash

    def allows(self, product_token: str, url: str) -> bool:
        """Whether a full URL, or a path with its query, may be fetched."""
        rule = self.rule(product_token, url)
        return rule is None or rule.allow

    def rule(self, product_token: str, url: str) -> Rule | None:
        """The rule that decides about a URL; None where none does, so that it is allowed."""
        path = spelled_path(url)
        return None if path == "/robots.txt$" else self._group(product_token).rule(path)

    def crawl_delay(self, product_token: str) -> float | None:
        """Crawl-delay in seconds, the longest where there are several."""
        return self._group(product_token).crawl_delay

    def request_rate(self, product_token: str) -> RequestRate | None:
        """Request-rate, the slowest where there are several."""
        return self._group(product_token).request_rate

    def visit_time(self, product_token: str) -> Window | None:
        """Visit-time: when this site wants to be visited."""
        return self._group(product_token).visit_time

    def content_usage(self, product_token: str, url: str) -> str | None:
        """The Content-Usage preference of a URL that may be fetched (draft-ietf-aipref-attach)."""
        return (
            self._group(product_token).usage(spelled_path(url)) if self.allows(product_token, url) else None
        )

    def _group(self, product_token: str) -> "Group":
        group = self._groups.get(product_token)
        if group is None:
            token = product_token.partition("/")[0].strip().casefold()
            agent = token if token and token in self._rules_of else "*"
            rules, extras = (chain(*blocks.get(agent, ())) for blocks in (self._rules_of, self._extras_of))
            group = self._groups[product_token] = Group(agent, list(rules), list(extras))
        return group


class Group:
    """All that one file says to one agent."""

    __slots__ = ("_allowed", "_denied", "_usages", "crawl_delay", "request_rate", "visit_time")

    def __init__(self, agent: str, rules: Sequence[_Line], extras: Sequence[_Line]) -> None:
        self._allowed = Patterns(_rules(rules, "allow", agent))
        self._denied = Patterns(_rules(rules, "disallow", agent))
        self._usages = Patterns(_usages(extras))
        self.crawl_delay = max(_read(extras, "crawl-delay", _delay), default=None)
        rates = _read(extras, "request-rate", _rate)
        self.request_rate = max(rates, key=lambda rate: rate.delay, default=None)
        self.visit_time = next(_read(extras, "visit-time", _window), None)

    def rule(self, path: str) -> Rule | None:
        """The rule with the most octets; Allow where two have as many (2.2.2)."""
        octets, allow = self._allowed.find(path)
        more, deny = self._denied.find(path)
        return deny if more > octets else allow

    def usage(self, path: str) -> str | None:
        """The Content-Usage preferences for a path."""
        _, preferences = self._usages.find(path)
        return ", ".join(preferences) if preferences else None


def _rules(lines: Sequence[_Line], field: str, agent: str) -> dict[str, Rule]:
    """The Allow or the Disallow lines by pattern; an empty one is no rule."""
    rules: dict[str, Rule] = {}
    for line in lines:
        if line.field == field and line.value:
            pattern = spelled_pattern(line.value)
            rule = Rule(field == "allow", _show(line.value), line.number, agent)
            rules.setdefault(pattern, rule)
            folder, slash, name = pattern.rpartition("/")
            if rule.allow and name.startswith("index.htm"):
                # As the reference parser: to allow a folder's index page is to allow the folder's own URL.
                rules.setdefault(f"{folder}{slash}$", rule)
    return rules


# 2.2.4 Other records: Crawl-delay, Request-rate and Visit-time as their users write them, and the
# Content-Usage of draft-ietf-aipref-attach

_T = TypeVar("_T")
_NUMBER = pattern(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?|[.,][0-9]{1,9}")
_RATE = pattern(r"([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*([smhd]?)", re.IGNORECASE)
_WINDOW = pattern(r"\b([0-9]{2})([0-9]{2})(?:\s*-\s*|\s+)([0-9]{2})([0-9]{2})\b")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _read(lines: Sequence[_Line], field: str, read: Callable[[str], _T | None]) -> Iterator[_T]:
    """The values of a field, without those that make no sense."""
    values = (read(_show(line.value)) for line in lines if line.field == field)
    return (value for value in values if value is not None)


def _delay(text: str) -> float | None:
    found = _NUMBER.match(text)
    return float(found[0].replace(",", ".")) if found else None


def _rate(text: str) -> RequestRate | None:
    found = _RATE.match(text)
    if not found or not int(found[1]):
        return None
    seconds = int(found[2]) * _SECONDS[found[3].lower()]
    return RequestRate(int(found[1]), seconds, _window(text[found.end() :]))


def _window(text: str) -> Window | None:
    found = _WINDOW.search(text)
    if not found:
        return None
    start, end = (60 * int(hour) + int(minute) for hour, minute in (found.group(1, 2), found.group(3, 4)))
    return (start, end) if max(start, end) <= 1440 else None


def _usages(lines: Sequence[_Line]) -> dict[str, list[str]]:
    """Content-Usage preferences by pattern; without a path they are for the whole site."""
    usages: dict[str, list[str]] = {}
    for line in lines:
        if line.field == "content-usage":
            words = line.value.split(None, 1) if line.value.startswith((b"/", b"*")) else [b"/", line.value]
            if len(words) == 2 and words[1]:
                usages.setdefault(spelled_pattern(words[0]), []).append(_show(words[1]))
    return usages


# 2.3.1, 2.4 The answer to a request for robots.txt

_MAX_AGE = pattern(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)


def access(status: int | None, unreachable_for: float = 0.0) -> Access:
    """What a final status (None: no answer) allows, `unreachable_for` seconds after the first failure.

    429 is trouble, not absence, and 407 is a proxy's word (RFC 9110 15.5.8). A 3xx that leads nowhere the RFC
    lets us take for absence; but a site that does not get to show its rules is not free to be fetched.
    """
    if status is not None and 200 <= status < 300:
        return Access.PARSE
    is_absent = status is not None and 400 <= status < 500 and status not in (407, 429)
    return Access.ALLOW_ALL if is_absent or unreachable_for >= PATIENCE else Access.UNREACHABLE


def lifetime(cache_control: str | None) -> float:
    """Seconds before a copy is asked for again: max-age, at most 24 hours."""
    found = _MAX_AGE.search(cache_control or "")
    # Many servers send `max-age=0` with everything: each page would then cost them two requests.
    return min(DAY, max(LEAST_LIFETIME, float(found[1]))) if found else DAY


def wait_until_open(window: Window | None, now: float) -> float:
    """Seconds until a visiting time begins; 0.0 within it, and where there is none."""
    if window is None:
        return 0.0
    start, end = (60.0 * minute for minute in window)
    is_open = (now - start) % DAY < ((end - start) % DAY or DAY)
    return 0.0 if is_open else (start - now) % DAY


ALLOW_ALL = parse(b"")
DISALLOW_ALL = parse(b"User-agent: *\nDisallow: /")
