"""Cookies by RFC 6265bis, in a jar that a `requests.Session` takes for its own.

`DomainCookieJar.store` is section 5.7, `DomainCookieJar.header_for` 5.8.3; `set_cookie` reads lines.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import fields, replace
from http.cookiejar import Cookie
from typing import Any, cast

from requests.cookies import RequestsCookieJar

from scraper.http.set_cookie import (
    CookieUrl,
    SetCookie,
    bare,
    cookie_url,
    default_path,
    domain_matches,
    keeps_promises,
    parse_set_cookie,
    path_matches,
)
from scraper.model.frozen import slotted
from scraper.ops.clock import SystemClock
from scraper.ops.secrets import LEAST_SECRET, is_secret_name

MAX_PER_DOMAIN = 180
MAX_COOKIES = 3000
_FIELDS = tuple(one.name for one in fields(SetCookie))
MAX_SENT = 8000  # octets of a Cookie field: nginx and Apache take lines of 8 KiB


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


@slotted
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


class DomainCookieJar(RequestsCookieJar):
    """The cookies of one session; the dict-like interface is that of requests.

    `domain` (the session's registered domain) and `is_own(url)` bound where a cookie set by hand without a
    domain is sent.
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
        is_own: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__()
        self.changes = 0
        self._is_public_suffix = is_public_suffix
        self._domain = domain
        self._wall = wall or SystemClock().wall
        self._is_own = is_own
        self._kept: dict[tuple[str, str, str], _Kept] = {}

    def store(self, set_cookie_lines: Sequence[str], url: str, now: float) -> bool:
        """Take the Set-Cookie lines of an answer from `url`; True if that changed anything (5.7)."""
        target = cookie_url(url)
        if target is None or not set_cookie_lines:
            return False
        with self._cookies_lock:
            before = self.changes
            guarded = [] if target.is_secure else self._secure_cookies(now)
            for line in set_cookie_lines:
                cookie = self._receive(line, target, now)
                if cookie is not None and not any(_is_overlaid(secure, cookie) for secure in guarded):
                    self._keep(cookie, now, now, now)
            self._trim(now)
            return self.changes != before

    def header_for(self, url: str, now: float) -> str | None:
        """The Cookie field of a request to `url`, None where there is nothing to send (5.8.3)."""
        target = cookie_url(url) if self._kept else None
        if target is None:
            return None
        with self._cookies_lock:
            sent = [kept for kept in self._kept.values() if self._is_for(target, kept.cookie)]
            if self._is_own is not None and any(not kept.cookie.domain for kept in sent):
                is_own = self._is_own(url)
                sent = [kept for kept in sent if kept.cookie.domain or is_own]
            if any(kept.is_expired(now) for kept in sent):
                self._drop([kept for kept in sent if kept.is_expired(now)])
                sent = [kept for kept in sent if not kept.is_expired(now)]
            for kept in sent:
                kept.accessed = now
        sent = _fitting(sent)
        sent.sort(key=lambda kept: -len(kept.cookie.path))
        return "; ".join([_pair(kept.cookie) for kept in sent]) or None

    def without_hand_set(self, header: str) -> str:
        """A Cookie field of a browser without what was set by hand without a domain.

        A browser sends that to every port of its host, and over plain http.
        """
        with self._cookies_lock:
            by_hand = {_pair(kept.cookie) for kept in self._kept.values() if not kept.cookie.domain}
        return "; ".join(pair for pair in header.split("; ") if pair not in by_hand)

    def secrets(self) -> list[str]:
        """The values that no text may show; short ones of plain cookies (a language, a colour) are words."""
        with self._cookies_lock:
            cookies = [kept.cookie for kept in self._kept.values()]
        return [
            cookie.value or cookie.name
            for cookie in cookies
            if len(cookie.value or "") >= LEAST_SECRET
            or cookie.has_nonstandard_attr("HttpOnly")
            or is_secret_name(cookie.name)
        ]

    def dump(self) -> list[dict[str, Any]]:
        """What `load` takes, JSON-able, in order of creation; without what has expired."""
        now = self._wall()
        with self._cookies_lock:
            return [_row(kept) for kept in self._kept.values() if not kept.is_expired(now)]

    def load(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows of `dump`, or of a cookie file (`cookie_files`)."""
        now = self._wall()
        with self._cookies_lock:
            for row in rows:
                read = SetCookie(**{name: row[name] for name in _FIELDS})
                # The list of public suffixes may have grown since (5.8.3).
                if not (read.domain.startswith(".") and self._is_suffix(bare(read.domain))):
                    cookie = _make_cookie(read, row["host_only"])
                    self._keep(cookie, row.get("created", now), row.get("accessed", now), now)
            self._trim(now)

    def mirror(self, rows: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> None:
        """Take over what a browser did to the cookies that it was given, `before`: set, changed, removed."""
        known = {_place(row): row for row in before}
        now = {_place(row) for row in rows}
        # One without a domain is the browser's under the host of the page, and is not to be known by it here:
        # it is bound to origins.
        by_hand = {(row["name"], row["path"], row["value"]) for row in before if not row["domain"]}
        changed = [
            row
            for row in rows
            if not _is_alike(row, known.get(_place(row)))
            and (row["name"], row["path"], row["value"]) not in by_hand
        ]
        with self._cookies_lock:
            gone = [place for place, row in known.items() if row["domain"] and place not in now]
            self._drop([self._kept[place] for place in gone if place in self._kept])
        self.load(changed)

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

    def copy(self) -> "DomainCookieJar":
        """A jar of its own with the same cookies."""
        twin = DomainCookieJar(self._is_public_suffix, self._domain, self._wall, self._is_own)
        with self._cookies_lock:
            for kept in self._kept.values():
                twin._kept[kept.key] = _Kept(kept.key, copy(kept.cookie), kept.created, kept.accessed)
        return twin

    def __iter__(self) -> Iterator[Cookie]:  # type: ignore[override]  # both bases disagree; requests means cookies
        with self._cookies_lock:
            return iter([kept.cookie for kept in self._kept.values()])

    def __len__(self) -> int:
        return len(self._kept)

    def _receive(self, line: str, target: CookieUrl, now: float) -> Cookie | None:
        received = parse_set_cookie(line, now)
        if received is None or (received.secure and not target.is_secure):
            return None
        host_only = not received.domain
        if received.domain:
            if not domain_matches(target.host, received.domain):
                return None
            host_only = self._is_suffix(received.domain)
            if host_only and received.domain != target.host:
                return None
        path = received.path or default_path(target.path)
        if not keeps_promises(received, host_only, path):
            return None
        domain = target.host if host_only else "." + received.domain
        return _make_cookie(replace(received, domain=domain, path=path), host_only)

    def _is_suffix(self, domain: str) -> bool:
        name = domain.removesuffix(".")
        return "." not in name or self._is_public_suffix(name)

    def _is_for(self, target: CookieUrl, cookie: Cookie) -> bool:
        domain = bare(cookie.domain)
        if not cookie.domain_specified and domain:
            is_meant = target.host == domain
        else:
            domain = domain or self._domain
            is_meant = not domain or domain_matches(target.host, domain)
        return is_meant and path_matches(target.path, cookie.path) and (target.is_secure or not cookie.secure)

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
            by_domain.setdefault(bare(kept.cookie.domain), []).append(kept)
        for same in by_domain.values():
            self._drop(_excess(same, MAX_PER_DOMAIN))
        self._drop(_excess(list(self._kept.values()), MAX_COOKIES))


def _fitting(sent: list[_Kept]) -> list[_Kept]:
    """What goes into one field line; of too many the oldest stay behind, a host's own the last.

    A subdomain could otherwise make every page of its domain answer 431.
    """
    sizes = [len(_pair(kept.cookie)) + 2 for kept in sent]
    if sum(sizes) <= MAX_SENT:
        return sent
    newest = sorted(range(len(sent)), key=lambda at: (sent[at].cookie.domain_specified, -at))
    room, chosen = MAX_SENT, set[int]()
    for at in newest:
        if sizes[at] <= room:
            room -= sizes[at]
            chosen.add(at)
    return [kept for at, kept in enumerate(sent) if at in chosen]


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["domain"], row["path"], row["name"]


def _is_alike(row: Mapping[str, Any], other: Mapping[str, Any] | None) -> bool:
    """Whether two rows say the same; a browser cuts the fraction of a moment."""
    if (
        other is None
        or row["value"] != other["value"]
        or (row["expires"] is None) != (other["expires"] is None)
    ):
        return False
    return row["expires"] is None or abs(row["expires"] - other["expires"]) < 2


def _excess(kept: list[_Kept], limit: int) -> list[_Kept]:
    if len(kept) <= limit:
        return []
    return sorted(kept, key=lambda one: (one.cookie.secure, one.accessed))[: len(kept) - limit]


def _is_overlaid(secure: Cookie, cookie: Cookie) -> bool:
    """Whether a cookie from plain HTTP would stand in the way of a secure one (5.7, step 16)."""
    if secure.name != cookie.name or not path_matches(cookie.path, secure.path):
        return False
    one, other = bare(secure.domain), bare(cookie.domain)
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
