"""One Set-Cookie line and whom it is for, by RFC 6265bis: values in, values out.

`parse_date` is section 5.1.1, `domain_matches` 5.1.3, `path_matches` 5.1.4, `parse_set_cookie` 5.6.
Texts are header text: octets decoded as latin-1, so that bytes go back as they came.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

MAX_PAIR = 4096
MAX_ATTRIBUTE = 1024
MAX_AGE = 400 * 86400
SAME_SITE = {"none": "None", "strict": "Strict", "lax": "Lax"}

_BLANKS = " \t"
_CONTROLS = pattern(r"[\x00-\x08\x0a-\x1f\x7f]")
_DELTA = pattern(r"-?[0-9]+")
_DELIMITERS = pattern(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = pattern(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = pattern(r"[0-9]{1,2}(?![0-9])")
_YEAR = pattern(r"[0-9]{2,4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def parse_date(text: str) -> float | None:
    """Epoch seconds of a cookie date, None where it is none (RFC 6265bis 5.1.1)."""
    time: re.Match[str] | None = None
    day = month = year = None
    for token in _DELIMITERS.split(text):
        if time is None and (found := _TIME.match(token)):
            time = found
        elif day is None and (found := _DAY.match(token)):
            day = int(found[0])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (found := _YEAR.match(token)):
            year = int(found[0])
    if time is None or day is None or month is None or year is None:
        return None
    return _moment(_full_year(year), month, day, *map(int, time.groups()))


def _full_year(year: int) -> int:
    if year < 70:
        return year + 2000
    return year + 1900 if year < 100 else year


def _moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> float | None:
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp() if year >= 1601 else None


def _delta(text: str) -> int | None:
    return min(int(text), MAX_AGE) if _DELTA.fullmatch(text) else None


# Name of an attribute -> what its value means; None ignores the attribute, as if it were not there.
_ATTRIBUTES: dict[str, Callable[[str], Any]] = {
    "expires": parse_date,
    "max-age": _delta,
    "domain": lambda value: value.removeprefix(".").lower(),
    "path": lambda value: value if value.startswith("/") else "",
    "secure": lambda value: True,
    "httponly": lambda value: True,
    "samesite": lambda value: SAME_SITE.get(value.lower(), ""),
}


@frozen
class SetCookie:
    """A Set-Cookie line as read. `path` is None without the attribute and "" for the default path."""

    name: str
    value: str
    expires: float | None = None
    domain: str = ""
    path: str | None = None
    secure: bool = False
    http_only: bool = False
    same_site: str = ""


def parse_set_cookie(line: str, now: float) -> SetCookie | None:
    """Read one Set-Cookie line; None where it has to be ignored (RFC 6265bis 5.6)."""
    if _CONTROLS.search(line):
        return None
    pair, _, unparsed = line.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(_BLANKS), value.strip(_BLANKS)
    if not (name or value) or _is_longer(name + value, MAX_PAIR):
        return None
    found = _parse_attributes(unparsed)
    return SetCookie(
        name,
        value,
        expires=_expiry(found.get("max-age"), found.get("expires"), now),
        domain=found.get("domain", ""),
        path=found.get("path"),
        secure="secure" in found,
        http_only="httponly" in found,
        same_site=found.get("samesite", ""),
    )


def _parse_attributes(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        read = _ATTRIBUTES.get(name.strip(_BLANKS).lower())
        value = value.strip(_BLANKS)
        if read is not None and not _is_longer(value, MAX_ATTRIBUTE) and (meaning := read(value)) is not None:
            found[name.strip(_BLANKS).lower()] = meaning
    return found


def _expiry(delta: int | None, date: float | None, now: float) -> float | None:
    if delta is not None:
        return now + delta if delta > 0 else 0.0
    return None if date is None else min(date, now + MAX_AGE)


def _is_longer(text: str, octets: int) -> bool:
    """Whether a text takes more octets: one a character as received, UTF-8 for what was not received."""
    if len(text) > octets:
        return True
    return not text.isascii() and max(text) > "\xff" and len(text.encode("utf-8", "surrogatepass")) > octets


@frozen
class CookieUrl:
    """What of a URL decides about cookies."""

    host: str
    path: str
    is_secure: bool


def cookie_url(url: str) -> CookieUrl | None:
    """What of a URL decides about cookies; None where it has no host that could keep cookies."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        return None
    return CookieUrl(host, parts.path or "/", parts.scheme in ("https", "wss")) if host else None


def domain_matches(host: str, domain: str) -> bool:
    """RFC 6265bis 5.1.3; both in lower case."""
    return host == domain or (host.endswith("." + domain) and not _is_address(host))


def _is_address(host: str) -> bool:
    return ":" in host or host.rpartition(".")[2].isdigit()


def path_matches(path: str, cookie_path: str) -> bool:
    """RFC 6265bis 5.1.4: `cookie_path` is `path` or a prefix of it that ends at a slash."""
    if not path.startswith(cookie_path):
        return False
    return len(path) == len(cookie_path) or cookie_path.endswith("/") or path[len(cookie_path)] == "/"


def default_path(path: str) -> str:
    """The folder of a page (5.1.4)."""
    return (path.startswith("/") and path[: path.rfind("/")]) or "/"


def keeps_promises(received: SetCookie, host_only: bool, path: str) -> bool:
    """Whether SameSite=None and the prefixes of names hold what they claim (5.7, steps 19 to 22)."""
    if received.same_site == "None" and not received.secure:
        return False
    claim = (received.name or received.value).lower()
    if not claim.startswith(("__secure-", "__host-")):
        return True
    if not (received.name and received.secure):
        return False
    return claim.startswith("__secure-") or (host_only and received.path is not None and path == "/")


def bare(domain: str) -> str:
    """A domain without the dot that stands for the hosts below it."""
    return domain.removeprefix(".").lower()
