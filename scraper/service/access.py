"""Who may. Nothing is allowed that no rule allows.

* A request is for us only if its Host is (DNS rebinding: a page of another site whose name points here).
* On loopback everybody on this machine may, unless tokens are asked for there too, or a proxy on this machine
  passes on what comes from elsewhere.
* Everybody else shows a token: `Authorization: Bearer`, or the cookie that the sign-in page sets.
* What has an effect is not done for a browser that another web page sends (CSRF): Fetch Metadata and Origin
  must say that the page is ours.
"""

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import field

from starlette.requests import Request

from scraper.app.admin.tokens import SCOPES, Token, matching
from scraper.model.frozen import frozen
from scraper.service.problems import Problem

COOKIE = "scraper_token"
LONGEST_TOKEN = 200
# What proxies add to a request that they pass on; beside all that begin with X-Forwarded.
_PASSED_ON = frozenset(
    "forwarded via x-real-ip x-client-ip x-cluster-client-ip true-client-ip cf-connecting-ip "
    "fastly-client-ip fly-client-ip x-original-host x-original-for cdn-loop".split()
)


@frozen
class Caller:
    """Who asks: `token` None on loopback without one. `is_cookie`: the proof is one that a browser adds."""

    scopes: frozenset[str]
    token: Token | None = None
    is_cookie: bool = False

    @property
    def name(self) -> str:
        """By what a queue or a quota knows the caller."""
        return self.token.id if self.token is not None else "local"


@frozen
class Access:
    """The rules of one service. `host` is the address that it listens on, `names` further ones of it.

    `needs_token`: on loopback too.
    """

    host: str
    names: Collection[str] = ()
    needs_token: bool = False
    loopback: frozenset[str] = field(default=frozenset({"localhost", "127.0.0.1", "::1"}))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach us."""
        return is_loopback(self.host)

    def check_host(self, request: Request) -> None:
        """Problem 421 where a request is meant for another host."""
        given = request.headers.getlist("host")
        name = _host_of(given[0]) if len(given) == 1 else ""
        if name in self.names or name in self.loopback or name == self.host.lower():
            return
        # Behind an address stands no name that somebody else could have pointed here.
        if _is_address(name) and (not self.is_local or is_loopback(name)):
            return
        raise Problem(
            421,
            f"the Host of this request is {name[:100]!r}, which is not ours",
            "--allow-host NAME allows it",
        )

    def caller_of(self, request: Request, tokens: Mapping[str, Token]) -> Caller | None:
        """Who asks; None where nobody says so. Problem 401 for a token that is none of ours."""
        text, is_cookie = _shown(request)
        if text:
            token = matching(tokens, text)
            if token is not None:
                return Caller(frozenset(token.scopes), token, is_cookie)
            if not is_cookie:  # a browser sends an old one without being asked
                raise unauthorized("this token is not valid, or no longer")
        if self.needs_token or not self._is_from_here(request):
            return None
        return Caller(frozenset(SCOPES))

    def _is_from_here(self, request: Request) -> bool:
        """Whether this machine asks, and no proxy on it for somebody else, as far as that shows.

        nginx adds no field by itself, but asks by HTTP/1.0 (before 1.29.7) and for our address; others keep
        the name that was asked for.
        """
        if request.client is None or not is_loopback(request.client.host):
            return False
        name = _host_of(request.headers.get("host", ""))
        if request.scope.get("http_version") == "1.0" or not (name in self.loopback or is_loopback(name)):
            return False
        return not any(name in _PASSED_ON or name.startswith("x-forwarded") for name in request.headers)


def is_by_tls(request: Request) -> bool:
    """Whether a request came by https, perhaps to a proxy. Who says so wrongly harms nobody but himself."""
    forwarded = request.headers.get("forwarded", "").lower()
    said = {request.headers.get("x-forwarded-proto", "").lower(), request.url.scheme}
    return "https" in said or bool(re.search(r"\bproto=\"?https\b", forwarded))


def unauthorized(detail: str) -> Problem:
    """Problem 401 that says how to get in."""
    return Problem(
        401,
        detail,
        "make a token with `python -m scraper token add NAME` and send it as Authorization: Bearer TOKEN",
        headers={"WWW-Authenticate": 'Bearer realm="scraper"'},
    )


def check_origin(request: Request, caller: Caller) -> None:
    """Problem 403 where a browser sends this for a page that is not ours."""
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.headers.get('host', '')}"
    if site is not None:
        is_ours = site in ("same-origin", "none")
    else:
        is_ours = origin is None or origin.partition("://")[2] == own.partition("://")[2]
    if caller.is_cookie and site is None and origin is None and request.method != "GET":
        is_ours = False  # a cookie is no proof of who wrote the page
    if not is_ours:
        raise Problem(
            403,
            "a page of another site may not do this in your name",
            "use the dashboard, or a token of your own",
        )


def is_loopback(address: str) -> bool:
    """Whether an address or name is this machine's own."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]").partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _host_of(given: str) -> str:
    """The host of a Host field, without its port; empty where it is none."""
    text = given.strip().lower()
    if text.startswith("["):
        inner, bracket, rest = text[1:].partition("]")
        return inner if bracket and (not rest or rest.startswith(":")) else ""
    name, _, port = text.partition(":")
    return name.rstrip(".") if not port or port.isdigit() else ""


def _shown(request: Request) -> tuple[str, bool]:
    """The token that a request shows, and whether it is in a cookie."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and text.strip():
        return text.strip()[:LONGEST_TOKEN], False
    return request.cookies.get(COOKIE, "")[:LONGEST_TOKEN], True
