"""When a page need not be asked for again, and how to ask only for what changed (RFC 9110 13, RFC 9111).

We are a private cache with one kind of request: `private` is ours to keep, `s-maxage` speaks to others.
Moments are wall epoch seconds.
"""

import re

from scraper.model import Headers
from scraper.ops.patterns import pattern
from scraper.politeness.header_fields import MAX_DELTA, delta_seconds, http_date, split_list, unquote

MAX_HEURISTIC = 86400.0
CLOCK_ERROR = 300.0  # seconds that a moment may lie ahead of the clock before one of the two is wrong

_MAX_VALIDATOR = 2048
_OUR_CENTURY = 2e9  # of years with two digits, where both dates are read alike
_TAG = pattern(r'(?:W/)?"[^"]*"')
_DIRECTIVE = pattern(r"""([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=("(?:[^"\\]|\\.)*"|[^\s"]+))?""", re.DOTALL)
# Its StaticFileHandler names the tag that a file had when it was asked for first, until the process ends.
_OF_TORNADO = pattern(r'"[0-9a-f]{128}"')
# What servers that compress on the fly add to the tag of the file: Apache, lighttpd, Caddy, Jetty, caches.
_CODING = pattern(r'(?<![-;:.+])[-;:.+]++(?:x-)?(?:gzip|gz|br|brotli|zstd|deflate|df)"$', re.IGNORECASE)


def conditional_headers(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """The fields that make a request conditional, both where both exist (RFC 9110 13.1)."""
    fields = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in fields.items() if value and _is_sendable(value)}


def _is_sendable(value: str) -> bool:
    return len(value) <= _MAX_VALIDATOR and all(" " <= char <= "\xff" and char != "\x7f" for char in value)


def validators(headers: Headers, before: str | None = None) -> tuple[str | None, str | None]:
    """If-None-Match and If-Modified-Since to keep of a whole answer; neither where it is not to be stored.

    `before`: the If-None-Match that this answer did not heed. If it names the same version, the server does
    not recognise that form of its tag, and the next form is kept.
    """
    if not is_storable(headers):
        return None, None
    etag = _first(headers, "etag")
    if etag is not None:
        forms = _forms(etag, is_coded=bool(headers.get("content-encoding")))
        tried = forms.index(before) if before in forms else -1
        etag = forms[(tried + 1) % len(forms)]
    return etag, _first(headers, "last-modified")


def _forms(etag: str, *, is_coded: bool) -> list[str]:
    """The ways to name a version to its server, the likeliest first.

    What compresses on the fly changes the tag that the server behind it knows: Apache and lighttpd append
    the coding and compare without, nginx and HAProxy make it weak where a program behind them compares text.
    """
    plain = _CODING.sub('"', etag) if is_coded else etag
    alone = dict.fromkeys([etag, plain, plain.removeprefix("W/")])
    both = f"{etag}, {plain}"
    return [*([both] if plain != etag and _is_sendable(both) else []), *alone]


def renewed(headers: Headers, etag: str | None, last_modified: str | None) -> tuple[str | None, str | None]:
    """The validators to keep after a 304 (RFC 9111 4.3.4): the form that the server recognised stays."""
    if not is_storable(headers):
        return etag, last_modified
    told = _first(headers, "etag")
    is_known = told is None or (etag is not None and confirms(etag, headers))
    return etag if is_known else told, _first(headers, "last-modified") or last_modified


def _first(headers: Headers, name: str) -> str | None:
    values = headers.getall(name)
    return values[0].strip(" \t") or None if values else None


def confirms(etag: str | None, headers: Headers, last_modified: str | None = None) -> bool:
    """Whether a 304 speaks of the version that we named: it may name no other one (RFC 9111 4.3.4).

    Without a tag on both sides the dates tell: a file that is older than ours, as one that was put back, is
    "not modified since" to many servers.
    """
    if etag and (told := _first(headers, "etag")):
        is_named = _opaque(told) in map(_opaque, _TAG.findall(etag) or [etag])
        if not (is_named and _OF_TORNADO.fullmatch(told)):
            return is_named
    named = (last_modified, _first(headers, "last-modified"))
    ours, theirs = (http_date(date or "", _OUR_CENTURY) for date in named)
    return ours is None or theirs is None or ours == theirs


def _opaque(etag: str) -> str:
    return _CODING.sub('"', etag.removeprefix("W/"))


def is_storable(headers: Headers) -> bool:
    """Whether a private client may keep the answer (RFC 9111 5.2.2.5)."""
    return "no-store" not in cache_control(headers)


def cache_control(headers: Headers) -> dict[str, str | None]:
    """Directives by lower-case name; of a repeated one the smallest number, or none if one is broken."""
    directives: dict[str, str | None] = {}
    if not (said := headers.getall("cache-control")):
        return directives
    for part in split_list(",".join(said)):
        found = _DIRECTIVE.fullmatch(part)
        # What is broken behind the name still counts as said: `max-age=soon` is stale, not unlimited.
        name = (found[1] if found else re.split(r"[\s=]", part, maxsplit=1)[0]).lower()
        value = unquote(found[2]) if found and found[2] else None
        directives[name] = _stricter(directives[name], value) if name in directives else value
    return directives


def _stricter(one: str | None, other: str | None) -> str | None:
    numbers = [delta_seconds(text) for text in (one, other) if text is not None]
    known = [number for number in numbers if number is not None]
    return str(min(known)) if len(known) == 2 else None


def fresh_until(
    headers: Headers, received_at: float, requested_at: float | None = None, *, is_heuristic: bool = False
) -> float:
    """The moment at which an answer goes stale; `received_at` at the latest if it never was fresh.

    Fresh means `now < fresh_until`. `is_heuristic`: where nothing is said, a tenth of the time since
    Last-Modified, a day at most (RFC 9111 4.2.2).
    """
    lifetime = _lifetime(headers, received_at, is_heuristic)
    if lifetime <= 0:
        return received_at
    age = _age(headers, received_at, received_at if requested_at is None else requested_at)
    return received_at + max(0.0, lifetime - age)


def is_usable(fetched_at: float, until: float, now: float) -> bool:
    """Whether a copy still stands for its page. One of the future does not: a clock was wrong."""
    return fetched_at <= now + CLOCK_ERROR and now < until


def _lifetime(headers: Headers, received_at: float, is_heuristic: bool) -> float:
    """Seconds from generation to staleness (RFC 9111 4.2.1)."""
    directives = cache_control(headers)
    # All that we send but cookies is the same on every run that lets a page stand (RFC 9111 4.1).
    vary = headers.get("vary")
    varies = vary and {field.lower() for field in split_list(vary)} & {"*", "cookie"}
    if "no-store" in directives or "no-cache" in directives or varies:
        return 0.0
    if "max-age" in directives:
        return float(delta_seconds(directives["max-age"] or "") or 0)
    if expires := headers.getall("expires"):
        moments = [http_date(value, received_at) for value in expires]
        # Any invalid date, "0" above all, means the past (RFC 9111 5.3).
        known = [moment for moment in moments if moment is not None]
        return min(known) - _date(headers, received_at) if len(known) == len(moments) else 0.0
    return _guess(headers, received_at) if is_heuristic else 0.0


def _guess(headers: Headers, received_at: float) -> float:
    modified = http_date(headers.get("last-modified", ""), received_at)
    return 0.0 if modified is None else min((_date(headers, received_at) - modified) / 10, MAX_HEURISTIC)


def _date(headers: Headers, received_at: float) -> float:
    date = http_date(headers.get("date", ""), received_at)
    return received_at if date is None else date


def _age(headers: Headers, received_at: float, requested_at: float) -> float:
    """Seconds since generation when the answer came (RFC 9111 4.2.3); of several Age values the first."""
    told = delta_seconds((split_list(headers.get("age", "")) or [""])[0], MAX_DELTA) or 0
    apparent = max(0.0, received_at - _date(headers, received_at))
    return max(apparent, told + max(0.0, received_at - requested_at))
