"""URLs as a browser reads them (WHATWG URL), and their two identities: domain and fingerprint."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import ada_url

from scraper.ops.patterns import pattern

# Most URLs stand there as the URL Standard would write them, which is plain to see and four times as fast as
# the full parser; anything else goes through that. No dot segment, no escape in the path, no default port.
_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HOST = rf"(?:[a-z0-9_-]++\.)*+[a-z][a-z0-9-]*+|{_OCTET}(?:\.{_OCTET}){{3}}"
_PORT = "(?::(?!(?:80|443)(?![0-9]))(?:[1-5][0-9]{4}|6[0-4][0-9]{3}|[1-9][0-9]{0,3})(?![0-9]))?+"
_SEGMENT = "/(?:[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9_~!$&'()*+,;=:@.-]*+)?+"
_QUERY = "(?:\\?([A-Za-z0-9_~!$&()*+,;=:@./?%-]*+))?+"
_PLAIN = re.compile(rf"(https?)://({_HOST})({_PORT})(?=[/?#]|\Z)")
_NORMAL = re.compile(rf"(https?://({_HOST}){_PORT}(?:{_SEGMENT})++){_QUERY}")
plain_target = re.compile(rf"(?!//)(?:{_SEGMENT})++{_QUERY}").fullmatch
"""Whether a link is a path (and query) that stands behind its origin as it is."""
_PLAIN_QUERY = pattern(r"[\w.~-]++=[\w.~-]*+(?:&[\w.~-]++=[\w.~-]*+)*+", re.ASCII)
_ESCAPE = pattern(r"%[0-9A-Fa-f]{2}")
# Characters whose escape means the same as themselves in a path: all that may stand there bare but / ; ? %.
_SAME_IN_PATH = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@[]|")
# Session ids that stand in URLs until a cookie comes back: the servers' own names with any value, general
# ones only before what is as long as such an id (PHP: 26, 32 or 40 characters; a UUID or an ObjectId is not).
_SESSION_HINTS = ("sess", "sid", "cfid", "cftoken", "zenid", "(s(")
_SESSION_ID = r"""(?:jsessionid|phpsessid|aspsessionid[a-z]*|oscsid|xtcsid|zenid|cfid|cftoken)=[^&;/]*
    |(?:sid|sess(?:ion)?_?id)=(?:[a-z0-9]{40}|[a-z0-9]{32}|[a-z0-9]{26})(?![^&;/])"""
_SESSION_IN_PATH = pattern(
    rf";(?:{_SESSION_ID})|/\((?:[a-z]\([a-z0-9_-]*\))+\)(?=/)", re.IGNORECASE | re.VERBOSE
)
_SESSION_IN_QUERY = pattern(rf"(?:\A|(?<=&))(?:{_SESSION_ID})(?:&|\Z)", re.IGNORECASE | re.VERBOSE)
_LONGEST_HOST = 253  # RFC 1035 2.3.4; what is longer names no host and would only fill the cache


def join(base: str | None, href: str) -> str | None:
    """The absolute URL of `href` seen from `base`; None where the URL Standard reports failure."""
    if base is None and _NORMAL.fullmatch(href) and "xn--" not in href:
        return href
    if base is not None and plain_target(href) and (plain := _plain(base)):
        return plain[0] + href
    try:
        if base is None:
            return ada_url.normalize_url(_scalar(href))
        return ada_url.join_url(_scalar(base), _scalar(href))
    except ValueError:
        return None


def _plain(url: str) -> re.Match[str] | None:
    """The start of a URL up to its path, where it needs no parser."""
    plain = _PLAIN.match(url)
    return plain if plain and "xn--" not in plain[2] else None


def _scalar(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced: UTF-8 cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _parse(url: str) -> ada_url.URL | None:
    try:
        return ada_url.URL(_scalar(url))
    except ValueError:
        return None


def host_of(url: str) -> str:
    """Host of a URL, lower case and in ASCII, IPv6 without brackets; empty where it has none."""
    if plain := _plain(url):
        return plain[2]
    parsed = _parse(url)
    return parsed.hostname.removeprefix("[").removesuffix("]") if parsed else ""


def origin_of(url: str) -> str:
    """`scheme://host[:port]` without a default port; empty where the URL has no such origin."""
    if plain := _plain(url):
        return plain[0]
    end = url.find("/", 8) + 1
    start = _parsed_origin(url[:end]) if 0 < end <= _LONGEST_HOST else ""
    return start or _parsed_origin.__wrapped__(url)  # the slash was not the end of the host


@lru_cache(maxsize=8192)
def _parsed_origin(start: str) -> str:
    parsed = _parse(start)
    return parsed.origin if parsed and parsed.origin != "null" else ""


def domain_of(url: str) -> str:
    """The registered domain of a URL or bare host: public suffix + 1, private suffixes counted.

    Lower case, and in ASCII (`xn--`) for every URL that `join` gave; a name that is given in another script
    is answered in it, as the suffix list's own tests have it. For an IP (IPv6 without brackets), a single
    label, a public suffix or a name with empty labels: the host. Under a top level that is on no list: its
    last two labels (publicsuffix.org, rule `*`). Empty for a URL without host.
    """
    whole = url if "://" in url else f"http://{url}"
    domain = domain_of_host(host_of(whole))
    return domain if url.isascii() else _as_given(domain, whole)


def domain_of_host(host: str) -> str:
    """The registered domain of a host as `host_of` gives it."""
    return _registered(host) if len(host) <= _LONGEST_HOST else host


def _as_given(domain: str, url: str) -> str:
    """The domain in the script in which its URL spells it; in ASCII where that is not plain to see."""
    given = re.split(r"[/?#\\]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    labels = given.partition(":")[0].lower().removesuffix(".").split(".")
    spelled = ".".join(labels[-domain.count(".") - 1 :])
    return spelled if not spelled.isascii() and host_of(f"http://{spelled}/") == domain else domain


@lru_cache(maxsize=8192)
def _registered(host: str) -> str:
    name = host.removesuffix(".")
    labels = name.split(".")
    if len(labels) == 1 or "" in labels or _is_address(name):
        return name
    return ".".join(labels[-_suffix_length(name) - 1 :])


def is_public_suffix(host: str) -> bool:
    """Whether anybody may register below `host` (publicsuffix.org): a single label always, an IP never."""
    name = host_of(f"http://{host}").removesuffix(".")
    if not name or len(name) > _LONGEST_HOST or _is_address(name):
        return False
    return _suffix_length(name) == name.count(".") + 1


def _is_address(host: str) -> bool:
    # The URL parser lets no host through that ends in a number and is no address.
    return ":" in host or host.rpartition(".")[2].isdigit()


def _suffix_length(name: str) -> int:
    """Number of labels in the public suffix of `name`, which is in ASCII."""
    suffix: str = _extractor()(name).suffix
    return suffix.count(".") + 1


@cache
def _extractor() -> Callable[[str], Any]:
    # Imported on first use: it brings requests with it, which start-up cannot afford.
    from tldextract import TLDExtract

    # The suffix list inside the package alone: no cache folder, no list from the network.
    return TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)


def canonical(url: str) -> str | None:
    """Identity of a URL, None for what is none: two URLs with one identity are one page.

    No fragment; query pairs sorted by name, then value, and form-decoded (`+` is `%20`, `a` is `a=`); in the
    path escapes that do not matter are undone and the rest is in upper case; session ids of servers (such as
    jsessionid, PHPSESSID) left out. Not meant to be fetched.
    """
    found = read(url)
    return found[2] if found else None


def read(url: str) -> tuple[str, str, str] | None:
    """A URL without its fragment as the URL Standard spells it, its host, and its identity (`canonical`)."""
    normal = _NORMAL.fullmatch(url)
    if normal and "xn--" not in url:
        query = normal[3]
        # Most links have no query, and nothing in their path that a session id begins with.
        is_itself = not query and "=" not in url and "(" not in url
        return url, normal[2], normal[1] if is_itself else _identity(normal[1], query)
    href = join(None, url)
    if href is None:
        return None
    href = href.partition("#")[0]
    head, _, query = href.partition("?")
    return href, host_of(href), _identity(_canonical_path(head) if "%" in head else head, query)


def _identity(head: str, query: str | None) -> str:
    if (query or "=" in head or "(" in head) and _may_have_session_id(f"{head}?{query}".lower()):
        start = head.find("/", head.find("://") + 3)
        head = head[:start] + _SESSION_IN_PATH.sub("", head[start:])
        query = query and _SESSION_IN_QUERY.sub("", query)
    query = _canonical_query(query) if query else ""
    return f"{head}?{query}" if query else head


def _may_have_session_id(text: str) -> bool:
    return any(hint in text for hint in _SESSION_HINTS)


def _canonical_path(head: str) -> str:
    """`scheme://host/path` with one spelling for each path."""
    start = head.find("/", head.find("://") + 3)
    return head[:start] + _ESCAPE.sub(lambda found: _unescape(found[0]), head[start:])


def _unescape(escape: str) -> str:
    char = chr(int(escape[1:], 16))
    return char if char in _SAME_IN_PATH else escape.upper()


def _canonical_query(query: str) -> str:
    if _PLAIN_QUERY.fullmatch(query):
        if "&" not in query:
            return query
        return "&".join(sorted(query.split("&"), key=lambda pair: pair.partition("=")))
    pairs = (piece.replace("+", " ").partition("=") for piece in query.split("&") if piece)
    return urlencode(sorted((unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in pairs))


def fingerprint(method: str, canonical_url: str, body: bytes = b"", headers: bytes = b"") -> bytes:
    """16 bytes that stand for a request: method, canonical URL, body, and the header fields that it sets."""
    # Neither a method nor a canonical URL can hold a line end, so the parts cannot run into each other.
    head = f"{method} {canonical_url}\n".encode("utf-8", "surrogatepass")
    key = blake2b(headers, digest_size=32).digest() if headers else b""
    return blake2b(head + body, digest_size=16, key=key).digest()


def variant(fp: bytes, *of: bytes) -> bytes:
    """The fingerprint of a request that has something more to tell it apart from `fp`."""
    return blake2b(b"\n".join((fp, *of)), digest_size=16).digest()


def with_callback(fp: bytes, callback: str) -> bytes:
    """The fingerprint of a request whose answer goes to a callback; `parse` is what nobody names."""
    return fp if callback == "parse" else variant(fp, callback.encode("utf-8", "surrogatepass"))


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """`url` with `params` added to its query: a list repeats its name, None is left out, True is `true`."""
    added = urlencode(list(_pairs(params)), errors="replace")
    if not added:
        return url
    head, mark, fragment = url.partition("#")
    between = "?" if "?" not in head else "" if head[-1] in "?&" else "&"
    return f"{head}{between}{added}{mark}{fragment}"


def form(data: Mapping[str, Any]) -> str:
    """The body of a form: a list repeats its name, None is left out, as `requests` does it."""
    given: dict[str, Any] = {}
    for name, value in data.items():
        is_many = isinstance(value, list | tuple)
        given[name] = [one for one in (value if is_many else (value,)) if one is not None]
    return urlencode(given, doseq=True, errors="replace")


def _pairs(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)
