"""What a site says about the use of its pages: robots directives, rel, AI preferences, TDM reservations."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import mktime_tz, parsedate_tz
from typing import Any

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.politeness.robots_patterns import Patterns, spelled_path, spelled_pattern

# Why a link is not followed, the kind before a colon.
OF_PAGE = "nofollow"
OF_LINK = "rel=nofollow"

# Spelling on the page: what it means. What is not here is not known and says nothing.
_DIRECTIVES = {
    "noindex": ("noindex",),
    "nofollow": ("nofollow",),
    "none": ("noindex", "nofollow"),
    "noarchive": ("noarchive",),
    "nocache": ("noarchive",),
    "nosnippet": ("nosnippet",),
    "noimageindex": ("noimageindex",),
    "indexifembedded": ("indexifembedded",),
    "noai": ("noai",),
    "noimageai": ("noimageai",),
}
_UNTIL = "unavailable_after"
# What may stand before a colon in X-Robots-Tag and is not the name of a robot.
_WITH_VALUE = frozenset((_UNTIL, "max-snippet", "max-image-preview", "max-video-preview"))
# A date may begin with its weekday, whose comma would end the directive.
_WEEKDAY = pattern(r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},(?=\s*[0-9])", re.I)
_LONGEST_DATE = 64  # characters

_USES = frozenset(("train-ai", "search"))
_MEANING = {"y": "allow", "n": "disallow"}
# RFC 9651: a dictionary, of which only members that are plain tokens matter here.
_SF_KEY = r"[a-z*][a-z0-9_\-.*]*+"
_SF_ITEM = (
    r"(?:-?+(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15})(?![0-9.])"
    r'|"(?:[ !#-\[\]-~]|\\["\\])*+"'
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~A-Za-z0-9:/]*+"
    r"|:[A-Za-z0-9+/=]*+:|\?[01]|@-?[0-9]{1,15}(?![0-9])"
    r'|%"(?:[ !#$&-~]|%[0-9a-f]{2})*+")'
)
_SF_PARAMETERS = rf"(?:;[ ]*+{_SF_KEY}(?:={_SF_ITEM})?+)*+"
_SF_LIST = rf"\([ ]*+(?:{_SF_ITEM}{_SF_PARAMETERS}(?:[ ]++|(?=\))))*+\)"
_SF_MEMBER = pattern(rf"({_SF_KEY})(?:=(?:({_SF_ITEM})|{_SF_LIST}))?+{_SF_PARAMETERS}")
_SF_COMMA = pattern(r"[ \t]*+,[ \t]*+")

_LARGEST_FILE = 512 * 1024  # bytes of tdmrep.json


def robots_directives(
    x_robots_tag: Sequence[str], metas: Sequence[tuple[str, str]], token: str, now: float
) -> frozenset[str]:
    """What X-Robots-Tag fields and meta elements (name, content) ask of the robot named `token`.

    Words for all robots and for this one are summed, so the most restrictive wins; `none` is spelled out.
    `unavailable_after` is among them once its date has passed.
    """
    ours = frozenset(("", "*", "robots", token.lower()))
    said: set[str] = set()
    for field in x_robots_tag:
        said.update(_directives(field, ours, now, has_agents=True))
    for name, content in metas:
        if (name or "").strip().lower() in ours - {"", "*"}:
            said.update(_directives(content or "", ours, now, has_agents=False))
    return frozenset(said)


def _directives(text: str, ours: frozenset[str], now: float, has_agents: bool) -> Iterator[str]:
    agent = ""
    for piece in _WEEKDAY.sub("", text).split(","):
        name, colon, value = piece.strip().partition(":")
        name = name.strip().lower()
        # A robot's name holds for the rest of its field.
        if colon and has_agents and name not in _WITH_VALUE:
            agent = name
            name, colon, value = value.strip().partition(":")
            name = name.strip().lower()
        if name == _UNTIL:
            if agent in ours and _is_past(value.strip(), now):
                yield _UNTIL
        elif agent in ours and not colon:
            for word in name.split():
                yield from _DIRECTIVES.get(word, ())


def _is_past(text: str, now: float) -> bool:
    """Whether a date in the forms of RFC 822, RFC 850 or ISO 8601 lies before `now`; False for no date."""
    text = text[:_LONGEST_DATE]
    try:
        when = datetime.fromisoformat(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() < now
    except (ValueError, OverflowError):
        pass
    try:
        parts = parsedate_tz(text)
        return parts is not None and mktime_tz(parts) < now
    except (ValueError, OverflowError, IndexError, TypeError):
        return False


def bars_links(reason: str) -> bool:
    """Whether a link was refused for the reason that its page says nofollow, or the link does."""
    return reason.startswith((OF_PAGE, OF_LINK))


def is_nofollow(rel: str | None) -> bool:
    """Whether a link's `rel` holds the token nofollow; sponsored and ugc alone are hints."""
    return rel is not None and "nofollow" in rel.lower().split()


def content_usage(*statements: str | None) -> dict[str, str]:
    """What Content-Usage values (header, robots.txt) say of `train-ai` and `search`: allow or disallow.

    A value that is no structured dictionary says nothing; of several values a disallow wins (AIPREF drafts).
    """
    said: dict[str, str] = {}
    for statement in filter(None, statements):
        for use, meaning in _usage(statement).items():
            if said.get(use) != "disallow":
                said[use] = meaning
    return said


def _usage(value: str) -> dict[str, str]:
    members = _dictionary(value.strip(" "))
    return {use: _MEANING[item] for use, item in members.items() if use in _USES and item in _MEANING}


def _dictionary(text: str) -> dict[str, str]:
    """Members of a structured dictionary as written; empty where it does not parse (RFC 9651 4.2.2)."""
    members: dict[str, str] = {}
    at = 0
    while found := _SF_MEMBER.match(text, at):
        members[found[1]] = found[2] or ""
        if found.end() == len(text):
            return members
        comma = _SF_COMMA.match(text, found.end())
        if not comma:
            break
        at = comma.end()
    return {}


@frozen
class Tdm:
    """A text and data mining reservation: 1 reserved, 0 not, None unsaid; `policy` is a URL of terms."""

    reservation: int | None = None
    policy: str | None = None


def tdm_reservation(
    url: str,
    file: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    metas: Iterable[tuple[str, str]] = (),
) -> Tdm:
    """What TDMRep says of `url`: its header stands above tdmrep.json (`file`), its meta elements above both.

    `headers` by any spelling of their names; `metas` as (name, content). What is absent or wrong takes
    nothing back; a policy counts only where rights are reserved.
    """
    fields = [(name.strip().lower(), value) for name, value in (headers or {}).items()]
    names = [((name or "").strip().lower(), content or "") for name, content in metas]
    reservation, policy = _said_by_file(file or b"", url)
    for stated in (dict(reversed(fields)), dict(reversed(names))):
        value = stated.get("tdm-reservation", "").strip()
        reservation = int(value) if value in ("0", "1") else reservation
        policy = stated.get("tdm-policy", "").strip() or policy
    return Tdm(reservation, policy if reservation == 1 else None)


def _said_by_file(file: bytes, url: str) -> tuple[int | None, str | None]:
    """Reservation and policy of the longest location that matches; of equals, the one that reserves."""
    try:
        rules = json.loads(file) if 0 < len(file) <= _LARGEST_FILE else None
    except (ValueError, RecursionError):
        return None, None
    found: list[Mapping[str, Any]] = list(filter(_is_rule, rules)) if isinstance(rules, list) else []
    reserving, others = (
        Patterns(
            {_located(rule): rule for rule in found if (rule.get("tdm-reservation") == 1) == is_reserving}
        )
        for is_reserving in (True, False)
    )
    path = spelled_path(url)
    octets, best = reserving.find(path)
    more, other = others.find(path)
    said = (other if more > octets else best) or {}
    reservation, policy = said.get("tdm-reservation"), said.get("tdm-policy")
    is_valid = isinstance(reservation, int) and not isinstance(reservation, bool) and reservation in (0, 1)
    return reservation if is_valid else None, policy if isinstance(policy, str) else None


def _is_rule(rule: Any) -> bool:
    return isinstance(rule, dict) and isinstance(rule.get("location"), str)


def _located(rule: Mapping[str, Any]) -> str:
    return spelled_pattern(rule["location"].encode("utf-8", "surrogatepass"))
