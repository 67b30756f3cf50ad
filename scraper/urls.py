"""URLs as a browser reads them (WHATWG URL), and their two identities: domain and fingerprint."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import unquote_to_bytes, urlencode

import ada_url

# An http(s) URL whose host needs no normalisation; anything else goes through the full parser.
_PLAIN = re.compile(r"(https?)://((?:[a-z0-9_-]++\.)*+[a-z][a-z0-9-]*+)(:[0-9]{1,4}+)?+(?=[/?#]|\Z)")
_PLAIN_QUERY = re.compile(r"[\w.~-]++=[\w.~-]*+(?:&[\w.~-]++=[\w.~-]*+)*+", re.ASCII)
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# Characters whose escape means the same as themselves in a path: all that may stand there bare but / ; ? %.
_SAME_IN_PATH = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+,=:@[]|")
_LONGEST_HOST = 253  # RFC 1035 2.3.4; what is longer names no host and would only fill the cache


def join(base: str | None, href: str) -> str | None:
    """The absolute URL of `href` seen from `base`; None where the URL Standard reports failure."""
    try:
        if base is None:
            return ada_url.normalize_url(_scalar(href))
        return ada_url.join_url(_scalar(base), _scalar(href))
    except ValueError:
        return None


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
    plain = _PLAIN.match(url)
    if plain and "xn--" not in plain[2]:
        return plain[2]
    parsed = _parse(url)
    return parsed.hostname.removeprefix("[").removesuffix("]") if parsed else ""


def origin_of(url: str) -> str:
    """`scheme://host[:port]` without a default port; empty where the URL has no such origin."""
    plain = _PLAIN.match(url)
    if plain and not plain[3] and "xn--" not in plain[2]:
        return plain[0]
    end = url.find("/", 8) + 1
    return _parsed_origin(url[:end]) if 0 < end <= _LONGEST_HOST else _parsed_origin.__wrapped__(url)


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
    host = host_of(whole)
    domain = _registered(host) if len(host) <= _LONGEST_HOST else host
    return domain if url.isascii() else _as_given(domain, whole)


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
    path escapes that do not matter are undone and the rest is in upper case. Not meant to be fetched.
    """
    href = join(None, url)
    if href is None:
        return None
    head, _, query = href.partition("#")[0].partition("?")
    if "%" in head:
        head = _canonical_path(head)
    query = _canonical_query(query) if query else ""
    return f"{head}?{query}" if query else head


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


def fingerprint(method: str, canonical_url: str, body: bytes = b"") -> bytes:
    """16 bytes that stand for a request: method, canonical URL and body."""
    # Neither a method nor a canonical URL can hold a line end, so the parts cannot run into each other.
    head = f"{method} {canonical_url}\n".encode("utf-8", "surrogatepass")
    return blake2b(head + body, digest_size=16).digest()


def with_params(url: str, params: Mapping[str, Any]) -> str:
    """`url` with `params` added to its query: a list repeats its name, None is left out, True is `true`."""
    added = urlencode(list(_pairs(params)), errors="replace")
    if not added:
        return url
    head, mark, fragment = url.partition("#")
    between = "?" if "?" not in head else "" if head[-1] in "?&" else "&"
    return f"{head}{between}{added}{mark}{fragment}"


def _pairs(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        for one in value if isinstance(value, list | tuple) else (value,):
            if one is not None:
                yield name, str(one).lower() if isinstance(one, bool) else str(one)
