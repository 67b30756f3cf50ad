"""Values as people write them: durations, sizes, switches, lists, tables, and the name they meant.

Every reader takes what a file gives (numbers, lists) as well as what a command line gives (text), and raises
ValueError saying what is expected.
"""

import difflib
import ipaddress
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scraper.ops.secrets import may_leave
from scraper.settings import origins

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
_DURATION_PART = re.compile(rf"({_NUMBER})\s*(ms|s|m|h|d|w)\s*", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE = re.compile(rf"({_NUMBER})\s*([kmgt]?)(i?)b?", re.ASCII | re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_CLOCK_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)
_SWITCHES = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}
_LONGEST = 10_000
_MAIL = re.compile(r"[^@\s()<>,;\\\"]+@[^@\s()<>,;\\\"]+\.[^@\s()<>,;\\\".]+", re.ASCII)
_PRODUCT_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_FIELD_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_HOST = re.compile(r"[\w-]+(\.[\w-]+)*|\[?[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*\]?")
_BROWSER = re.compile(r"mozilla/|applewebkit|gecko|chrome/|safari/|opera/|msie ", re.IGNORECASE)
_PROXY_SCHEMES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})

ANY_DOMAIN = "*"

T = TypeVar("T")
Reader = Callable[[object], Any]


@dataclass(frozen=True, slots=True)
class Auth:
    """Credentials of one domain: `kind` is basic, digest or bearer; a bearer token is the `password`."""

    kind: str
    user: str
    password: str = field(repr=False)


def number(value: object) -> float:
    """A finite number that is not negative."""
    if isinstance(value, str) and len(value) < _LONGEST:
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError("a number, 0 or more")
    return float(value)


def whole_number(value: object, least: int = 0) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, str) and re.fullmatch(r"\s*\d{1,18}\s*", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"a whole number, {least} or more")
    return value


def duration(value: object) -> float:
    """Seconds from 90, "90", "50m", "1h30m" or "1.5 h"."""
    try:
        return number(value)
    except ValueError:
        pass
    text = value.strip().lower() if isinstance(value, str) else ""
    seconds, at = 0.0, 0
    while part := _DURATION_PART.match(text, at):
        seconds += float(part[1]) * _SECONDS[part[2]]
        at = part.end()
    if not text or at < len(text) or seconds == math.inf:
        raise ValueError('a duration: seconds, or like "50m" or "1h30m"')
    return seconds


def size(value: object) -> int:
    """Bytes from 1000, "10MB" (a million each) or "32 MiB" (1,048,576 each)."""
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    found = _SIZE.fullmatch(text) if len(text) < 40 else None
    if not found or (found[3] and not found[2]):
        raise ValueError('a size: bytes, or like "10 MB" or "32 MiB"')
    return int(float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()])


def switch(value: object) -> bool:
    """True or False from a boolean, or from true/false, yes/no, on/off, 1/0."""
    if isinstance(value, str):
        value = _SWITCHES.get(value.strip().lower())
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(value: object) -> str:
    """One line of text that is not blank."""
    if not isinstance(value, str) or not value.strip() or not value.strip().isprintable():
        raise ValueError("one line of text")
    return value.strip()


def listing(value: object) -> tuple[Any, ...]:
    """The elements of a list; of text those between commas, or of the list that it writes out."""
    if isinstance(value, str):
        written = value.strip()
        value = (
            _written(written) if written.startswith("[") else [part.strip() for part in written.split(",")]
        )
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError("a list")
    return tuple(each for each in value if each != "")


def table(value: object) -> Mapping[str, Any]:
    """A mapping with text as keys; text is read as JSON or TOML: {"a": 1}, {a = 1} or a = 1."""
    if isinstance(value, str):
        value = _written(value.strip())
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError('a table: {"name": "value"}')
    return value


def hours(value: object) -> tuple[int, int]:
    """The first and the last minute of the day from "22:00-06:30"; the range may pass midnight."""
    ends = [_CLOCK_TIME.fullmatch(end.strip()) for end in value.split("-")] if isinstance(value, str) else []
    minutes = [int(end[1]) * 60 + int(end[2]) for end in ends if end]
    if len(ends) != 2 or len(minutes) != 2 or minutes[0] == minutes[1]:
        raise ValueError('two different times of day: "22:00-06:00"')
    return minutes[0], minutes[1]


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The name that somebody who wrote `name` meant, if any comes near."""
    known = list(names)
    wanted = re.sub(r"\W+", "_", name[:100].strip().lower())
    if close := difflib.get_close_matches(wanted, known, n=1, cutoff=0.75):
        return close[0]
    inside = [each for each in known if wanted and (each in wanted or wanted in each)]
    if inside:
        return max(inside, key=len)
    return next(iter(difflib.get_close_matches(wanted, known, n=1)), None)


def at_least(least: int) -> Reader:
    return lambda value: whole_number(value, least)


def positive(read: Callable[[object], float | int], what: str) -> Reader:
    def reader(value: object) -> float | int:
        if not (given := read(value)):
            raise ValueError(f"{what} above 0")
        return given

    return reader


def optional(read: Reader) -> Reader:
    def reader(value: object) -> Any:
        is_none = value is None or (isinstance(value, str) and value.strip().lower() in ("none", "null"))
        return None if is_none else read(value)

    return reader


def contact(value: object) -> str:
    given = text(value).removeprefix("mailto:")
    if _MAIL.fullmatch(given) or (_is_url(given, {"http", "https"}) and not re.search(r"[\s()]", given)):
        return given
    raise ValueError("an e-mail address or the URL of a page where you can be reached")


def user_agent(value: object) -> str:
    given = text(value)
    if _BROWSER.search(given):
        raise ValueError('your own product, like "my-bot/1.0": a browser\'s name would hide who asks')
    if not given.isascii() or not _PRODUCT_TOKEN.fullmatch(re.split(r"[/ ]", given)[0]):
        raise ValueError('a product that robots.txt can name, like "my-bot/1.0"')
    return given


def timeout(value: object) -> tuple[float, float]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = table(value)
    if isinstance(value, Mapping) and set(value) == {"connect", "read"}:
        value = [value["connect"], value["read"]]
    try:
        pair = [duration(each) for each in _elements(value)]
    except ValueError:
        pair = []
    if len(pair) not in (1, 2) or not all(pair):
        raise ValueError("seconds above 0 to connect and to read: [10, 30], or one number for both")
    return pair[0], pair[-1]


def domains(value: object) -> tuple[str, ...]:
    return tuple(_domain(each) for each in listing(value))


def _domain(value: object) -> str:
    """A host in lower case, by its ASCII name."""
    given = value.strip().rstrip(".").lower() if isinstance(value, str) and len(value) < 300 else ""
    if not _HOST.fullmatch(given):
        raise ValueError(
            f'domains like "example.org", without scheme, port or path (not {str(value)[:80]!r})'
        )
    if given.isascii():
        return given
    try:
        return given.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError(f"domains that exist (not {given[:80]!r})") from None


def _by_domain(read: Callable[[Any], T], value: object) -> dict[str, T]:
    return {
        domain if domain == ANY_DOMAIN else _domain(domain): read(each)
        for domain, each in table(value).items()
    }


def _by_origin(read: Callable[[Any], T], value: object) -> dict[str, T]:
    """By the names that bind a secret: a host, "*." before it for those below, a scheme, a port."""
    return {_origin(name): read(each) for name, each in table(value).items()}


def _origin(name: str) -> str:
    if name == ANY_DOMAIN:
        return name
    given = name.strip().removesuffix("/")
    scheme, _, rest = given.rpartition("://")
    wide = "*." if rest.startswith("*.") else ""
    host, colon, port = rest.removeprefix(wide).rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or (":" in host and not host.startswith("[")):
        host, colon, port = rest.removeprefix(wide), "", ""
    host = _domain(host.removeprefix("[").removesuffix("]"))
    host = f"[{host}]" if ":" in host and (scheme or port) else host
    known = f"{scheme.lower()}://" * bool(scheme) + wide + host + colon + port
    if scheme.lower() not in ("", "http", "https") or origins.pattern_of(known) is None:
        raise ValueError('hosts like "example.org", "*.example.org" or "https://example.org:8443"')
    return known


def headers(value: object) -> dict[str, dict[str, str]]:
    """Header fields by origin, "*" for all.

    Of those that stand alone, what any host may hear is for all; the rest for where the spider starts.
    """
    given = table(value)
    read = _by_origin(
        _header_fields, {name: each for name, each in given.items() if isinstance(each, Mapping)}
    )
    alone = _header_fields({name: each for name, each in given.items() if not isinstance(each, Mapping)})
    for place, is_harmless in ((ANY_DOMAIN, True), (origins.OWN, False)):
        if some := {name: each for name, each in alone.items() if may_leave(name) is is_harmless}:
            read[place] = read.get(place, {}) | some
    return read


def _header_fields(value: object) -> dict[str, str]:
    given = {
        name: str(each).strip() if isinstance(each, str | int) else "" for name, each in table(value).items()
    }
    for name, each in given.items():
        if not _FIELD_NAME.fullmatch(name) or not each.isprintable() or not each:
            raise ValueError('header fields: {"Accept-Language": "en"}, all or by domain')
        if name.lower() == "user-agent":
            raise ValueError("the setting user_agent in place of a header User-Agent")
    return given


def auth(value: object) -> dict[str, Auth]:
    expected = (
        'credentials by host: {"example.org": "user:password"}, "digest user:password" or "bearer TOKEN"; '
        '"*.example.org" for the hosts below it (never for all domains)'
    )
    try:
        read = _by_origin(_credentials, value)
    except ValueError:
        raise ValueError(expected) from None
    if ANY_DOMAIN in read:
        raise ValueError(expected)
    return read


def _credentials(value: object) -> Auth:
    if isinstance(value, Mapping):
        value = _credentials_text(value)
    given = text(value)
    kind, _, rest = given.partition(" ")
    if kind.lower() == "bearer" and rest.strip():
        return Auth("bearer", "", rest.strip())
    if kind.lower() not in ("basic", "digest"):
        kind, rest = "basic", given
    user, colon, password = rest.strip().partition(":")
    if not user or not colon:
        raise ValueError("user:password")
    return Auth(kind.lower(), user, password)


def _credentials_text(given: Mapping[str, Any]) -> str:
    """The short form of {"kind": ..., "user": ..., "password": ...} or {"token": ...}."""
    if set(given) - {"kind", "user", "password", "token"}:
        raise ValueError("kind, user, password or token")
    if "token" in given:
        return f"bearer {given['token']}"
    return f"{given.get('kind', 'basic')} {given.get('user', '')}:{given.get('password', '')}"


def proxies(value: object) -> dict[str, tuple[str, ...]]:
    """Proxy URLs by domain, "*" for all; a domain with several gets one and keeps it."""
    is_table = isinstance(value, Mapping) or (isinstance(value, str) and "=" in value.partition("://")[0])
    is_table = is_table or (isinstance(value, str) and value.lstrip().startswith("{"))
    return _by_domain(_proxy_urls, value) if is_table else {ANY_DOMAIN: _proxy_urls(value)}


def _proxy_urls(value: object) -> tuple[str, ...]:
    given = listing(value)
    if not given or not all(_is_url(each, _PROXY_SCHEMES) for each in given):
        raise ValueError('proxy URLs like "http://proxy.example:3128": one, a list, or by domain')
    return given


def verify(value: object) -> dict[str, bool | str]:
    """True, False or the path of a CA bundle, by domain; one that stands alone is for all ("*")."""
    is_table = isinstance(value, Mapping) or (isinstance(value, str) and ("{" in value or "=" in value))
    return _by_domain(_verify_one, value) if is_table else {ANY_DOMAIN: _verify_one(value)}


def _verify_one(value: object) -> bool | str:
    try:
        return switch(value)
    except ValueError:
        pass
    if isinstance(value, str) and value.strip() and Path(value.strip()).exists():
        return value.strip()
    raise ValueError("true, false or the path of a CA bundle that exists, all or by domain")


def reach(value: object) -> tuple[str, ...]:
    """Networks ("10.1.0.0/16"), addresses and hosts that are no public ones and may be asked all the same."""
    return tuple(_reachable(each) for each in listing(value))


def _reachable(value: object) -> str:
    given = value.strip() if isinstance(value, str) else ""
    try:
        return str(ipaddress.ip_network(given, strict=False))
    except ValueError:
        pass
    if "/" in given or not given:
        raise ValueError(f'networks like "10.1.0.0/16", or hosts (not {str(value)[:80]!r})')
    return _domain(given)


def robots_exempt(value: object) -> dict[str, str]:
    return _reasons(value, "domains by name: robots.txt cannot be switched off for all")


def legacy_tls(value: object) -> dict[str, str]:
    """Hosts that know only TLS 1.0 or 1.1, short keys or old ciphers, each with the reason to ask them."""
    return _reasons(value, "hosts by name: an old TLS is not for all")


def _reasons(value: object, not_for_all: str) -> dict[str, str]:
    given = _by_domain(lambda reason: reason, value)
    if ANY_DOMAIN in given:
        raise ValueError(not_for_all)
    for reason in given.values():
        if not isinstance(reason, str) or not re.search(r"\w{2}", reason):
            raise ValueError(
                'a host and the reason in words: {"intranet.example": "our own server, agreed 2026-01-02"}'
            )
    return given


def notify(value: object) -> str:
    given = text(value)
    if _is_url(given, {"http", "https"}) or (given.startswith("mailto:") and _MAIL.fullmatch(given[7:])):
        return given
    raise ValueError('a webhook\'s URL or "mailto:" and an address')


def _elements(value: object) -> tuple[Any, ...]:
    return listing(value) if isinstance(value, str | list | tuple) else (value,)


def _is_url(value: object, schemes: set[str] | frozenset[str]) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() else None
        return parts is not None and parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _written(source: str) -> object:
    """The value that a piece of JSON or TOML writes out; None where it is neither."""
    if len(source) > 100 * _LONGEST:
        return None
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        pass
    for document, pick in ((f"value = {source}", "value"), (source, None)):
        try:
            read = tomllib.loads(document)
        except (ValueError, RecursionError):
            continue
        return read[pick] if pick else read
    return None
