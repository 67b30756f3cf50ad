"""Cookies that a person brings along, cookies.txt or a browser's JSON export, as rows for `Jar.load`."""

import json
import math
from typing import Any

from scraper.errors import UsageError
from scraper.http.set_cookie import SAME_SITE, bare, parse_set_cookie

_EXPORTED_SAME_SITE = {**SAME_SITE, "no_restriction": "None"}
_HTTP_ONLY = "#HttpOnly_"


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
    domain = bare(row["domain"].strip())
    read = parse_set_cookie(f"{name}={value}" if name else value, 0.0)
    if not domain or read is None or (read.name, read.value) != (name, value):
        raise UsageError(f"{where}: {row['name']!r} of {domain!r} cannot be a cookie")
    domain = domain if row["host_only"] else "." + domain
    return {"same_site": "", **row, "name": name, "value": value, "domain": domain}
