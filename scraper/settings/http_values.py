"""Values of the settings about hosts and HTTP: contact, domains, header fields, credentials, proxies, TLS.

Every reader takes what a file gives as well as text, and raises ValueError saying what is expected.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.ops.secrets import may_leave
from scraper.settings import origins, values

_MAIL = pattern(r"[^@\s()<>,;\\\"]+@[^@\s()<>,;\\\"]+\.[^@\s()<>,;\\\".]+", re.ASCII)
_PRODUCT_TOKEN = pattern(r"[A-Za-z][A-Za-z0-9_.-]*", re.ASCII)
_FIELD_NAME = pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
_MEDIA_TYPE = pattern(r"[a-z0-9!#$&^_.+-]+/(?:[a-z0-9!#$&^_.+-]+|\*)")
_HOST = pattern(r"[\w-]+(\.[\w-]+)*|\[?[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*\]?")
_BROWSER = pattern(r"mozilla/|applewebkit|gecko|chrome/|safari/|opera/|msie ", re.IGNORECASE)
_PROXY_SCHEMES = frozenset({"http", "https", "socks4", "socks4a", "socks5", "socks5h"})

ANY_DOMAIN = "*"

T = TypeVar("T")


@frozen
class Auth:
    """Credentials of one domain: `kind` is basic, digest or bearer; a bearer token is the `password`."""

    kind: str
    user: str
    password: str = field(repr=False)


def contact(value: object) -> str:
    given = values.text(value).removeprefix("mailto:")
    if _MAIL.fullmatch(given) or (_is_url(given, {"http", "https"}) and not re.search(r"[\s()]", given)):
        return given
    raise ValueError("an e-mail address or the URL of a page where you can be reached")


def user_agent(value: object) -> str:
    given = values.text(value)
    if _BROWSER.search(given):
        raise ValueError('your own product, like "my-bot/1.0": a browser\'s name would hide who asks')
    if not given.isascii() or not _PRODUCT_TOKEN.fullmatch(re.split(r"[/ ]", given)[0]):
        raise ValueError('a product that robots.txt can name, like "my-bot/1.0"')
    return given


def timeout(value: object) -> tuple[float, float]:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = values.table(value)
    if isinstance(value, Mapping) and set(value) == {"connect", "read"}:
        value = [value["connect"], value["read"]]
    try:
        pair = [values.duration(each) for each in _elements(value)]
    except ValueError:
        pair = []
    if len(pair) not in (1, 2) or not all(pair):
        raise ValueError("seconds above 0 to connect and to read: [10, 30], or one number for both")
    return pair[0], pair[-1]


def domains(value: object) -> tuple[str, ...]:
    return tuple(_domain(each) for each in values.listing(value))


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


def media_types(value: object) -> tuple[str, ...]:
    return tuple(_media_type(each) for each in values.listing(value))


def _media_type(value: object) -> str:
    given = value.strip().lower() if isinstance(value, str) else ""
    if not _MEDIA_TYPE.fullmatch(given):
        raise ValueError(f'media types like "application/pdf" or "image/*" (not {str(value)[:80]!r})')
    return given


def _by_domain(read: Callable[[Any], T], value: object) -> dict[str, T]:
    return {
        domain if domain == ANY_DOMAIN else _domain(domain): read(each)
        for domain, each in values.table(value).items()
    }


def _by_origin(read: Callable[[Any], T], value: object) -> dict[str, T]:
    """By the names that bind a secret: a host, "*." before it for those below, a scheme, a port."""
    return {_origin(name): read(each) for name, each in values.table(value).items()}


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
    given = values.table(value)
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
        name: str(each).strip() if isinstance(each, str | int) else ""
        for name, each in values.table(value).items()
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
    given = values.text(value)
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
    given = values.listing(value)
    if not given or not all(_is_url(each, _PROXY_SCHEMES) for each in given):
        raise ValueError('proxy URLs like "http://proxy.example:3128": one, a list, or by domain')
    return given


def verify(value: object) -> dict[str, bool | str]:
    """True, False or the path of a CA bundle, by domain; one that stands alone is for all ("*")."""
    is_table = isinstance(value, Mapping) or (isinstance(value, str) and ("{" in value or "=" in value))
    return _by_domain(_verify_one, value) if is_table else {ANY_DOMAIN: _verify_one(value)}


def _verify_one(value: object) -> bool | str:
    try:
        return values.switch(value)
    except ValueError:
        pass
    if isinstance(value, str) and value.strip() and Path(value.strip()).exists():
        return value.strip()
    raise ValueError("true, false or the path of a CA bundle that exists, all or by domain")


def reach(value: object) -> tuple[str, ...]:
    """Networks ("10.1.0.0/16"), addresses and hosts that are no public ones and may be asked all the same."""
    return tuple(_reachable(each) for each in values.listing(value))


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


def politeness_group(value: object) -> dict[str, str]:
    """The group of a domain by its name or a pattern (`*.blogs.example`): domains that share a pace."""
    read: dict[str, str] = {}
    for given, group in values.table(value).items():
        name = given.strip().lower().removeprefix("*.")
        if not isinstance(group, str) or not group.strip() or not name or set(name) & set("*/: "):
            raise ValueError(
                'domains or "*.domain", each with the name of its group: {"*.blogs.example": "blogs"}'
            )
        read[given.strip().lower()] = group.strip()
    return read


def pages_per_domain(value: object) -> dict[str, int]:
    """The most pages of a run by domain, `*` for all others, or by domain and the beginning of a path."""
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return {}
    is_table = isinstance(value, Mapping) or (isinstance(value, str) and not value.strip().isalnum())
    given = values.table(value) if is_table else {ANY_DOMAIN: value}
    least_one = values.at_least(1)
    read: dict[str, int] = {}
    for name, most in given.items():
        where, slash, path = name.partition("/")
        if where != ANY_DOMAIN and (not where or "." not in where + path or ":" in where):
            raise ValueError('a number, or a table by domain and path: {"example.org/blog/": 50}')
        read[f"{where.lower()}{slash}{path}"] = least_one(most)
    return read


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
    given = values.text(value)
    if _is_url(given, {"http", "https"}) or (given.startswith("mailto:") and _MAIL.fullmatch(given[7:])):
        return given
    raise ValueError('a webhook\'s URL or "mailto:" and an address')


def _elements(value: object) -> tuple[Any, ...]:
    return values.listing(value) if isinstance(value, str | list | tuple) else (value,)


def _is_url(value: object, schemes: set[str] | frozenset[str]) -> bool:
    try:
        parts = urlsplit(value) if isinstance(value, str) and value.isprintable() else None
        return parts is not None and parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
