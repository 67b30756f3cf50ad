"""Where a redirect leads and what travels along (RFC 9110 15.4 and 10.2.2, Fetch 4.4)."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from scraper.model import Failed, Headers
from scraper.model.frozen import frozen
from scraper.ops.secrets import may_leave
from scraper.urls import join

MAX_HOPS = 20
MAX_ROBOTS_HOPS = 5
FIRST = 1 << 40
"""The priority of a hop: the next request of its domain, as in a browser. Other pages may change a cookie."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Hop:
    """The next request of a redirect; `keeps_body`, `keeps_secrets`: do body and credentials go along."""

    method: str
    url: str
    keeps_body: bool
    keeps_secrets: bool


def is_redirect(status: int) -> bool:
    """Whether a status is followed on its own: 300, 304 and 305 are not."""
    return status in _REDIRECTS


def location_of(headers: Headers) -> str | None:
    """The Location of an answer; of several the first."""
    return next(iter(headers.getall("location")), None)


def next_hop(status: int, method: str, url: str, location: str | None) -> Hop | Failed | None:
    """The request to send after an answer to `method url`; None if it is no redirect, Failed if it misleads.

    `location` as received, its bytes read as Latin-1.
    """
    if status not in _REDIRECTS or location is None:
        return None
    target = join(url, _decoded(location))
    if target is None or not target.startswith(("http://", "https://")):
        return Failed(f"redirect {status} to {location[:200]!r}, which is no web address", "bad redirect")
    if "#" not in target and "#" in url:
        target += url[url.index("#") :]
    following = _method(status, method.upper())
    return Hop(following, target, following == method.upper(), may_know_secrets(url, target))


def _decoded(location: str) -> str:
    """Servers write UTF-8 into a field that is read as Latin-1."""
    try:
        return location.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return location


def _method(status: int, method: str) -> str:
    becomes_get = (status in (301, 302) and method == "POST") or (status == 303 and method != "HEAD")
    return "GET" if becomes_get else method


def may_know_secrets(url: str, target: str) -> bool:
    """Whether credentials for `url` may go to `target`: the same origin, or the same host moved to https.

    RFC 7617 2.2, RFC 6750 5.3; a request's own fields and its body may hold some too.
    """
    source, goal = _origin(url), _origin(target)
    moved = (source[0], source[2], goal[0], goal[2]) == ("http", 80, "https", 443)
    return bool(source[1]) and source[1] == goal[1] and (source == goal or moved)


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(join(None, url) or "")
    return parts.scheme, parts.hostname or "", parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def headers_for(hop: Hop, headers: Mapping[str, str]) -> dict[str, str]:
    """The request's own fields that the next hop may carry: to another origin none that could be a secret."""
    return {name: value for name, value in headers.items() if _may_travel(name.lower(), hop)}


def _may_travel(name: str, hop: Hop) -> bool:
    if name == "host" or not (hop.keeps_secrets or may_leave(name)):
        return False
    return hop.keeps_body or not (name.startswith("content-") or name == "transfer-encoding")
