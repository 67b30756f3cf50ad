"""Cookies that a person brings along, as rows for `DomainCookieJar.load`.

cookies.txt of curl, wget, yt-dlp and browser add-ons; both files of `http.cookiejar`; JSON of EditThisCookie
and Cookie-Editor, Playwright (`storage_state`), Puppeteer, Selenium, the DevTools protocol, tough-cookie.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from http import cookiejar
from typing import Any

from scraper.errors import UsageError
from scraper.http.set_cookie import MAX_AGE, SAME_SITE, bare, parse_date, parse_set_cookie
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.urls import domain_of, host_of

_EXPORTED_SAME_SITE = {**SAME_SITE, "no_restriction": "None"}
_HTTP_ONLY = "#HttpOnly_"
_LWP = "Set-Cookie3:"
_PORT = pattern(r"(?<=[^:]):\d{1,5}$")
# From here on a number counts no seconds: files have moments up to the year 9999, which is 2.5e11.
_MILLISECONDS, _MICROSECONDS, _WEBKIT = 1e12, 1e15, 1e16
_SINCE_1601 = 11_644_473_600


@frozen
class ImportedCookies:
    """Rows to load, and how many of the file were left out: `expired`, or `partitioned` for another site."""

    rows: list[dict[str, Any]]
    expired: int
    partitioned: int


def read(text: str, now: float) -> ImportedCookies:
    """The cookies of a file of any of these kinds at the moment `now`; UsageError says where it is bad."""
    start = text.lstrip()
    rows = read_json(text) if start[:1] in ("[", "{") else read_lines(text)
    own = [row for row in rows if _is_own_partition(row.pop("partition", ""), row["domain"])]
    alive = [row for row in own if row["expires"] is None or row["expires"] > now]
    for row in alive:
        if row["expires"] is not None:
            row["expires"] = min(row["expires"], now + MAX_AGE)  # RFC 6265bis 5.5, as browsers keep them
    return ImportedCookies(alive, len(own) - len(alive), len(rows) - len(own))


def _is_own_partition(key: str, domain: str) -> bool:
    """Whether a partitioned cookie (CHIPS) is sent where its own site is the page: we are in no frame."""
    return not key or domain_of(key) == domain_of(f"http://{bare(domain)}/")


# lines --------------------------------------------------------------------------------------------------
def read_lines(text: str) -> list[dict[str, Any]]:
    """Rows of a cookies.txt (Netscape), or of `http.cookiejar.LWPCookieJar`; UsageError names the line."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        where = f"cookies.txt, line {number}"
        if line.startswith(_LWP):
            rows.append(_lwp_row(line.removeprefix(_LWP), where))
            continue
        http_only = line.startswith(_HTTP_ONLY)
        line = line.removeprefix(_HTTP_ONLY)
        if line.strip() and not line.startswith("#"):
            rows.append(_netscape_row(line.split("\t"), http_only, where))
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
        expires=_imported_moment(expires, where),  # http.cookiejar leaves it empty for a session's cookie
        secure=secure.upper() == "TRUE",
        http_only=http_only,
    )


def _lwp_row(line: str, where: str) -> dict[str, Any]:
    split: Any = getattr(cookiejar, "split_header_words")  # noqa: B009 - its stubs leave it out
    words: list[tuple[str, Any]] = next(iter(split([line])), [])
    if not words:
        raise UsageError(f"{where}: no cookie after {_LWP}")
    (name, value), fields = words[0], {key.lower(): found for key, found in words[1:]}
    domain = (fields.get("domain") or "").removesuffix(".local")
    expires = fields.get("expires")
    return _imported(
        where,
        name=name if value is not None else "",
        value=value if value is not None else name,
        domain=domain,
        host_only=not domain.startswith("."),
        path=fields.get("path") or "/",
        expires=_imported_moment(expires, where) if expires else None,
        secure="secure" in fields,
        http_only="httponly" in fields,
    )


# JSON ---------------------------------------------------------------------------------------------------
def read_json(text: str) -> list[dict[str, Any]]:
    """Rows of a browser's or an automation tool's JSON; UsageError."""
    try:
        cookies = json.loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"the cookies are not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise UsageError("the cookies are not JSON as a browser exports it: nested too deeply") from None
    while isinstance(cookies, dict):  # {"cookies": [...]}, also within the protocol's {"result": ...}
        cookies = cookies.get("cookies", cookies.get("result"))
    if not isinstance(cookies, list):
        raise UsageError(
            'the cookies are not a JSON array, nor {"cookies": [...]}', "export them from the browser as JSON"
        )
    return [_json_row(cookie, f"cookie {number}") for number, cookie in enumerate(cookies, start=1)]


def _json_row(cookie: Any, where: str) -> dict[str, Any]:
    if not isinstance(cookie, dict):
        raise UsageError(f"{where}: not a JSON object")
    name, value = _first(cookie, "name", "key"), cookie.get("value")
    domain = _first(cookie, "domain", "host") or host_of(str(cookie.get("url") or ""))
    for field, found in (("name", name), ("value", value), ("domain", domain or None)):
        if not isinstance(found, str):
            raise UsageError(f"{where}: `{field}` has to be a text")
    expires = _first(cookie, "expirationDate", "expires", "expiry")
    if isinstance(age := cookie.get("maxAge"), int | float) and (set_at := cookie.get("creation")):
        expires = (_imported_moment(set_at, where) or 0.0) + age  # tough-cookie's; it wins (RFC 6265 5.3)
    is_session = bool(cookie.get("session")) or expires is None
    return _imported(
        where,
        name=name,
        value=value,
        domain=domain,
        host_only=bool(cookie.get("hostOnly", not domain.startswith("."))),
        path=str(cookie.get("path") or "/"),
        expires=None if is_session else _imported_moment(expires, where),
        secure=bool(_first(cookie, "secure", "isSecure")),
        http_only=bool(_first(cookie, "httpOnly", "isHttpOnly")),
        same_site=_EXPORTED_SAME_SITE.get(str(cookie.get("sameSite") or "").lower(), ""),
        partition=_partition(cookie.get("partitionKey")),
    )


def _first(cookie: Mapping[str, Any], *names: str) -> Any:
    return next((cookie[name] for name in names if cookie.get(name) is not None), None)


def _partition(key: Any) -> str:
    """The top-level site of a partitioned cookie: text (Playwright) or an object (the protocol)."""
    if isinstance(key, Mapping):
        key = key.get("topLevelSite")
    return key if isinstance(key, str) else ""


# both ---------------------------------------------------------------------------------------------------
def _imported_moment(value: Any, where: str) -> float | None:
    """Epoch seconds of an expiry as files give it; None for the end of the session (empty, 0, -1)."""
    if isinstance(value, str) and (not value.strip() or value.strip() == "Infinity"):
        return None
    moment = _date(value) if isinstance(value, str) else None
    if moment is None:
        moment = _number(value)
    if not math.isfinite(moment):
        raise UsageError(f"{where}: the expiry has to be a number of seconds, found {value!r}")
    return moment if moment > 0 else None


def _number(value: Any) -> float:
    try:
        moment = float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
    if moment >= _WEBKIT:
        return moment / 1e6 - _SINCE_1601
    if moment >= _MICROSECONDS:
        return moment / 1e6
    return moment / 1e3 if moment >= _MILLISECONDS else moment


def _date(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return parse_date(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _imported(where: str, **row: Any) -> dict[str, Any]:
    # Browsers read the octets of cookies as UTF-8; so they go back as such.
    name, value = (row[field].encode("utf-8", "replace").decode("latin-1") for field in ("name", "value"))
    domain = _PORT.sub("", bare(row["domain"].strip()))  # wget keeps the port, which is no part of a domain
    read = parse_set_cookie(f"{name}={value}" if name else value, 0.0)
    if not domain or read is None or (read.name, read.value) != (name, value):
        raise UsageError(f"{where}: {row['name']!r} of {domain!r} cannot be a cookie")
    domain = domain if row["host_only"] else "." + domain
    return {"same_site": "", **row, "name": name, "value": value, "domain": domain}
