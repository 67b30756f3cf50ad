"""Cookies by RFC 6265bis, in a jar that a `requests.Session` takes for its own.

`parse_date` is section 5.1.1, `parse_set_cookie` 5.6, `Jar.store` 5.7, `Jar.header_for` 5.8.3.
Texts are header text: octets decoded as latin-1, so that bytes go back as they came.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http.cookiejar import Cookie
from typing import Any, cast
from urllib.parse import urlsplit

from requests.cookies import RequestsCookieJar

from scraper.clock import SystemClock
from scraper.errors import UsageError

MAX_PAIR = 4096
MAX_ATTRIBUTE = 1024
MAX_AGE = 400 * 86400
MAX_PER_DOMAIN = 180
MAX_COOKIES = 3000

_BLANKS = " \t"
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_DELTA = re.compile(r"-?[0-9]+")
_DELIMITERS = re.compile(r"[\t\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY = re.compile(r"[0-9]{1,2}(?![0-9])")
_YEAR = re.compile(r"[0-9]{2,4}(?![0-9])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SAME_SITE = {"none": "None", "strict": "Strict", "lax": "Lax"}
_EXPORTED_SAME_SITE = {**_SAME_SITE, "no_restriction": "None"}
_HTTP_ONLY = "#HttpOnly_"


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
    "samesite": lambda value: _SAME_SITE.get(value.lower(), ""),
}


@dataclass(frozen=True, slots=True)
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
    """Whether a text takes more octets: one a character on the wire, UTF-8 for what no wire brought."""
    if len(text) > octets:
        return True
    return not text.isascii() and max(text) > "\xff" and len(text.encode("utf-8", "surrogatepass")) > octets


@dataclass(frozen=True, slots=True)
class _Place:
    """What of a URL decides about cookies."""

    host: str
    path: str
    is_secure: bool


def _place(url: str) -> _Place | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        return None
    return _Place(host, parts.path or "/", parts.scheme in ("https", "wss")) if host else None


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


def _default_path(path: str) -> str:
    return (path.startswith("/") and path[: path.rfind("/")]) or "/"


def _keeps_promises(received: SetCookie, host_only: bool, path: str) -> bool:
    """Whether SameSite=None and the prefixes of names hold what they claim (5.7, steps 19 to 22)."""
    if received.same_site == "None" and not received.secure:
        return False
    claim = (received.name or received.value).lower()
    if not claim.startswith(("__secure-", "__host-")):
        return True
    if not (received.name and received.secure):
        return False
    return claim.startswith("__secure-") or (host_only and received.path is not None and path == "/")


def _make_cookie(fields: SetCookie, host_only: bool) -> Cookie:
    """The standard library's cookie of fields whose domain and path are settled."""
    rest = {"HttpOnly": ""} if fields.http_only else {}
    if fields.same_site:
        rest["SameSite"] = fields.same_site
    cookie = Cookie(
        version=0,
        name=fields.name,
        value=fields.value,
        port=None,
        port_specified=False,
        domain=fields.domain,
        domain_specified=bool(fields.domain) and not host_only,
        domain_initial_dot=fields.domain.startswith("."),
        path=fields.path or "/",
        path_specified=True,
        secure=fields.secure,
        expires=None,
        discard=fields.expires is None,
        comment=None,
        comment_url=None,
        rest=rest,
    )
    # The constructor would cut the fraction, and up to a second of the cookie's life with it.
    cookie.expires = cast("int | None", fields.expires)
    return cookie


@dataclass(slots=True)
class _Kept:
    """A cookie in the jar. The jar's own order is that of creation, also where moments are equal."""

    key: tuple[str, str, str]
    cookie: Cookie
    created: float
    accessed: float

    def is_expired(self, now: float) -> bool:
        return _is_expired(self.cookie, now)


def _is_expired(cookie: Cookie, now: float) -> bool:
    return cookie.expires is not None and cookie.expires <= now


def _bare(domain: str) -> str:
    return domain.removeprefix(".").lower()


class Jar(RequestsCookieJar):
    """The cookies of one session; the dict-like interface is that of requests.

    `domain` (the session's registered domain) bounds where a cookie set by hand without a domain is sent.
    `wall` tells the moment where the standard library's interface carries none. `changes` counts what
    has altered the contents, so that their owner knows when to write them down.
    """

    # The standard library's own lock; its stubs leave it out.
    _cookies_lock: AbstractContextManager[bool]

    def __init__(
        self,
        is_public_suffix: Callable[[str], bool],
        domain: str = "",
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.changes = 0
        self._is_public_suffix = is_public_suffix
        self._domain = domain
        self._wall = wall or SystemClock().wall
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    def store(self, set_cookie_lines: Sequence[str], url: str, now: float) -> bool:
        """Take the Set-Cookie lines of an answer from `url`; True if that changed anything (5.7)."""
        place = _place(url)
        if place is None or not set_cookie_lines:
            return False
        with self._cookies_lock:
            before = self.changes
            guarded = [] if place.is_secure else self._secure_cookies(now)
            for line in set_cookie_lines:
                cookie = self._receive(line, place, now)
                if cookie is not None and not any(_is_overlaid(secure, cookie) for secure in guarded):
                    self._keep(cookie, now, now, now)
            self._trim(now)
            return self.changes != before

    def header_for(self, url: str, now: float) -> str | None:
        """The Cookie field of a request to `url`, None where there is nothing to send (5.8.3)."""
        place = _place(url) if self._kept else None
        if place is None:
            return None
        with self._cookies_lock:
            sent = [kept for kept in self._kept.values() if self._is_for(place, kept.cookie)]
            if any(kept.is_expired(now) for kept in sent):
                self._drop([kept for kept in sent if kept.is_expired(now)])
                sent = [kept for kept in sent if not kept.is_expired(now)]
            for kept in sent:
                kept.accessed = now
        sent.sort(key=lambda kept: -len(kept.cookie.path))
        return "; ".join([_pair(kept.cookie) for kept in sent]) or None

    def dump(self) -> list[dict[str, Any]]:
        """What `load` takes, JSON-able, in order of creation; without what has expired."""
        now = self._wall()
        with self._cookies_lock:
            return [_row(kept) for kept in self._kept.values() if not kept.is_expired(now)]

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of `dump`, `read_netscape` or `read_json`."""
        now = self._wall()
        with self._cookies_lock:
            for row in rows:
                read = SetCookie(**{name: row[name] for name in SetCookie.__slots__})
                # The list of public suffixes may have grown since (5.8.3).
                if not (read.domain.startswith(".") and self._is_suffix(_bare(read.domain))):
                    cookie = _make_cookie(read, row["host_only"])
                    self._keep(cookie, row.get("created", now), row.get("accessed", now), now)
            self._trim(now)

    def extract_cookies(self, response: Any, request: Any) -> None:
        """The standard library's way to `store`."""
        lines = response.info().get_all("Set-Cookie") or ()
        self.store([str(line) for line in lines], request.get_full_url(), self._wall())

    def add_cookie_header(self, request: Any) -> None:
        """The standard library's way to `header_for`."""
        if not request.has_header("Cookie"):
            header = self.header_for(request.get_full_url(), self._wall())
            if header is not None:
                request.add_unredirected_header("Cookie", header)

    def set_cookie(self, cookie: Cookie, *args: Any, **kwargs: Any) -> None:
        """Keep a cookie set by hand: without a domain it goes to every host of the session."""
        now = self._wall()
        with self._cookies_lock:
            self._keep(cookie, now, now, now)
            self._trim(now)

    def clear(self, domain: str | None = None, path: str | None = None, name: str | None = None) -> None:
        """Remove all cookies, or those of a domain, of a path there, or one; KeyError if there is none."""
        wanted = (domain, path, name)
        if (domain is None and path is not None) or (path is None and name is not None):
            raise ValueError("a path needs its domain, and a name needs both")
        with self._cookies_lock:
            gone = [
                kept
                for kept in self._kept.values()
                if all(want in (None, have) for want, have in zip(wanted, kept.key, strict=True))
            ]
            if not gone and domain is not None:
                raise KeyError(wanted)
            self._drop(gone)

    def copy(self) -> "Jar":
        """A jar of its own with the same cookies."""
        twin = Jar(self._is_public_suffix, self._domain, self._wall)
        with self._cookies_lock:
            for kept in self._kept.values():
                twin._kept[kept.key] = _Kept(kept.key, copy(kept.cookie), kept.created, kept.accessed)
        return twin

    def __iter__(self) -> Iterator[Cookie]:  # type: ignore[override]  # both bases disagree; requests means cookies
        with self._cookies_lock:
            return iter([kept.cookie for kept in self._kept.values()])

    def __len__(self) -> int:
        return len(self._kept)

    def _receive(self, line: str, place: _Place, now: float) -> Cookie | None:
        received = parse_set_cookie(line, now)
        if received is None or (received.secure and not place.is_secure):
            return None
        host_only = not received.domain
        if received.domain:
            if not domain_matches(place.host, received.domain):
                return None
            host_only = self._is_suffix(received.domain)
            if host_only and received.domain != place.host:
                return None
        path = received.path or _default_path(place.path)
        if not _keeps_promises(received, host_only, path):
            return None
        domain = place.host if host_only else "." + received.domain
        return _make_cookie(replace(received, domain=domain, path=path), host_only)

    def _is_suffix(self, domain: str) -> bool:
        name = domain.removesuffix(".")
        return "." not in name or self._is_public_suffix(name)

    def _is_for(self, place: _Place, cookie: Cookie) -> bool:
        domain = _bare(cookie.domain)
        if not cookie.domain_specified and domain:
            is_meant = place.host == domain
        else:
            domain = domain or self._domain
            is_meant = not domain or domain_matches(place.host, domain)
        return is_meant and path_matches(place.path, cookie.path) and (place.is_secure or not cookie.secure)

    def _secure_cookies(self, now: float) -> list[Cookie]:
        return [
            kept.cookie for kept in self._kept.values() if kept.cookie.secure and not kept.is_expired(now)
        ]

    def _keep(self, cookie: Cookie, created: float, accessed: float, now: float) -> None:
        """Put a cookie in the place of its like, which hands on its age, or at the end."""
        key = (cookie.domain, cookie.path, cookie.name)
        old = self._kept.get(key)
        if _is_expired(cookie, now):
            self._drop([old] if old else [])
            return
        self.changes += old is None or vars(old.cookie) != vars(cookie)
        self._kept[key] = _Kept(key, cookie, old.created if old else created, accessed)

    def _drop(self, gone: Iterable[_Kept]) -> None:
        for kept in gone:
            del self._kept[kept.key]
            self.changes += 1

    def _trim(self, now: float) -> None:
        """Remove what is too much: the expired, then the least recently used (5.7)."""
        if len(self._kept) <= MAX_PER_DOMAIN:
            return
        self._drop([kept for kept in self._kept.values() if kept.is_expired(now)])
        by_domain: dict[str, list[_Kept]] = {}
        for kept in self._kept.values():
            by_domain.setdefault(_bare(kept.cookie.domain), []).append(kept)
        for same in by_domain.values():
            self._drop(_excess(same, MAX_PER_DOMAIN))
        self._drop(_excess(list(self._kept.values()), MAX_COOKIES))


def _excess(kept: list[_Kept], limit: int) -> list[_Kept]:
    if len(kept) <= limit:
        return []
    return sorted(kept, key=lambda one: (one.cookie.secure, one.accessed))[: len(kept) - limit]


def _is_overlaid(secure: Cookie, cookie: Cookie) -> bool:
    """Whether a cookie from plain HTTP would stand in the way of a secure one (5.7, step 16)."""
    if secure.name != cookie.name or not path_matches(cookie.path, secure.path):
        return False
    one, other = _bare(secure.domain), _bare(cookie.domain)
    return not one or domain_matches(one, other) or domain_matches(other, one)


def _pair(cookie: Cookie) -> str:
    # The standard library writes a cookie without a name as one without a value.
    if cookie.value is None:
        return cookie.name
    return f"{cookie.name}={cookie.value}" if cookie.name else cookie.value


def _row(kept: _Kept) -> dict[str, Any]:
    cookie = kept.cookie
    return {
        "name": cookie.name if cookie.value is not None else "",
        "value": cookie.value if cookie.value is not None else cookie.name,
        "domain": cookie.domain,
        "host_only": bool(cookie.domain) and not cookie.domain_specified,
        "path": cookie.path,
        "expires": cookie.expires,
        "secure": bool(cookie.secure),
        "http_only": cookie.has_nonstandard_attr("HttpOnly"),
        "same_site": cookie.get_nonstandard_attr("SameSite", ""),
        "created": kept.created,
        "accessed": kept.accessed,
    }


def read_netscape(text: str) -> list[dict[str, Any]]:
    """Rows for `Jar.load` of a cookies.txt, as curl, wget and browser add-ons write it; UsageError."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        http_only = line.startswith(_HTTP_ONLY)
        line = line.removeprefix(_HTTP_ONLY)
        if not line.strip() or line.startswith("#"):
            continue
        rows.append(_netscape_row(line.split("\t"), http_only, f"cookies.txt, line {number}"))
    return rows


def _netscape_row(parts: list[str], http_only: bool, where: str) -> dict[str, Any]:
    # An editor that trims the ends of lines takes the tab of an empty value with it.
    parts = [*parts, ""] if len(parts) == 6 else parts
    if len(parts) != 7:
        raise UsageError(f"{where}: 7 fields with tabs between them expected, found {len(parts)}")
    domain, covers, path, secure, expires, name, value = parts
    if not {covers.upper(), secure.upper()} <= {"TRUE", "FALSE"}:
        raise UsageError(f"{where}: the second and fourth field have to be TRUE or FALSE")
    return _imported(
        where,
        name=name,
        value=value,
        domain=domain,
        host_only=covers.upper() == "FALSE" and not domain.startswith("."),
        path=path,
        expires=_imported_moment(expires, where) or None,
        secure=secure.upper() == "TRUE",
        http_only=http_only,
    )


def read_json(text: str) -> list[dict[str, Any]]:
    """Rows for `Jar.load` of the JSON that EditThisCookie and Cookie-Editor export; UsageError."""
    try:
        cookies = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"the cookies are not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise UsageError("the cookies are not JSON as a browser exports it: nested too deeply") from None
    if not isinstance(cookies, list):
        raise UsageError("the cookies are not a JSON array", "export them from the browser as JSON")
    return [_json_row(cookie, f"cookie {number}") for number, cookie in enumerate(cookies, start=1)]


def _json_row(cookie: Any, where: str) -> dict[str, Any]:
    if not isinstance(cookie, dict):
        raise UsageError(f"{where}: not a JSON object")
    for field in ("name", "value", "domain"):
        if not isinstance(cookie.get(field), str):
            raise UsageError(f"{where}: `{field}` has to be a text")
    domain = cookie["domain"]
    expires = None if cookie.get("session") else cookie.get("expirationDate")
    return _imported(
        where,
        name=cookie["name"],
        value=cookie["value"],
        domain=domain,
        host_only=bool(cookie.get("hostOnly", not domain.startswith("."))),
        path=str(cookie.get("path") or "/"),
        expires=None if expires is None else _imported_moment(expires, where),
        secure=bool(cookie.get("secure")),
        http_only=bool(cookie.get("httpOnly")),
        same_site=_EXPORTED_SAME_SITE.get(str(cookie.get("sameSite") or "").lower(), ""),
    )


def _imported_moment(value: Any, where: str) -> float:
    try:
        moment = float(value)
    except (TypeError, ValueError, OverflowError):
        moment = math.nan
    if not math.isfinite(moment):
        raise UsageError(f"{where}: the expiry has to be a number of seconds, found {value!r}")
    return moment


def _imported(where: str, **row: Any) -> dict[str, Any]:
    # Browsers read the octets of cookies as UTF-8; so they go back as such.
    name, value = (row[field].encode("utf-8", "replace").decode("latin-1") for field in ("name", "value"))
    domain = _bare(row["domain"].strip())
    read = parse_set_cookie(f"{name}={value}" if name else value, 0.0)
    if not domain or read is None or (read.name, read.value) != (name, value):
        raise UsageError(f"{where}: {row['name']!r} of {domain!r} cannot be a cookie")
    domain = domain if row["host_only"] else "." + domain
    return {"same_site": "", **row, "name": name, "value": value, "domain": domain}
