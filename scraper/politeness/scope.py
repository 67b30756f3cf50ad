"""What a crawl may follow, before anything is asked of a site: scope and traps."""

import re
from collections import Counter
from functools import lru_cache
from urllib.parse import unquote

from scraper.urls import host_of

LONGEST_URL = 2000  # characters
MOST_REPEATS = 3  # of one path segment, or of a parameter in a link that grows; more is a trap
MOST_PARTS = 20  # of a link that grows: segments, parameters, or members of a list
MOST_LETTERS = 10  # times that a single character is put on
_DEEPEST = 6  # times that a URL may have been encoded into another
CREDENTIALS = "credentials in the URL"


def refusal(
    url: str,
    allowed_domains: frozenset[str],
    depth: int = 0,
    max_depth: int | None = None,
    host: str | None = None,
) -> str | None:
    """Why an absolute URL is not followed; None where it may be. `host`: that of the URL, where it is known.

    `allowed_domains`: registered domains or hosts in lower-case ASCII; what is below one is inside.
    """
    if not url.startswith(("https://", "http://")):
        return f"scheme {url.partition(':')[0][:20]}: only http and https are fetched"
    if len(url) > LONGEST_URL:
        return f"longer than {LONGEST_URL} characters"
    if "@" in url and has_credentials(url):
        return CREDENTIALS
    host = host_of(url) if host is None else host
    if not (host in allowed_domains or is_inside(host, allowed_domains)):
        return f"outside allowed_domains: {host[:100]}"
    if max_depth is not None and depth > max_depth:
        return f"depth {depth} over max_depth {max_depth}"
    # Two slashes stand before the host.
    return _trap(url) if url.count("/") > MOST_REPEATS + 2 else None


def has_credentials(url: str) -> bool:
    """Whether a user or a password stands in an absolute URL: it would be shown wherever the URL is."""
    return "@" in url and "@" in re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]


def growth(url: str, parent: str) -> str | None:
    """Why a link that holds the URL of its own page is a trap, growing step by step; None where it is none.

    A link that continues its page's URL (`/books` to `/books/7`, `?q=a` to `?q=a&page=2`) is nothing unusual.
    It is a trap once a parameter or what is put on repeats in it, or it has very many parts: such a chain
    has no end.
    """
    if len(url) <= len(parent):
        return None
    held = target(parent).rstrip("/")
    if not held or not (held in url or "%" in url):
        return None
    plain = _decoded(target(url))
    before, found, added = plain.partition(_decoded(held))
    if not found:
        return None
    most = MOST_REPEATS if len(added) > 1 else MOST_LETTERS
    if added and not before and plain.endswith(added * (most + 1)):
        return f"trap, grows with every step: {added[:40]!r} is put on again and again"
    path, *pairs = re.split(r"[?&]", plain)
    names = Counter(pair.partition("=")[0] for pair in pairs)
    for name, count in names.most_common(1):
        if count > MOST_REPEATS:
            return f"trap, grows with every step: parameter {name[:40]!r} is in it {count} times"
    lists = (len(re.split(r"[,;|/]", pair)) for pair in pairs)
    parts = max(path.count("/") + 1, len(pairs), *lists, 0)
    return f"trap, grows with every step: {parts} parts" if parts > MOST_PARTS else None


@lru_cache(maxsize=256)
def target(url: str) -> str:
    """Path and query of a URL, without the first slash; those of a page's links are asked for with each."""
    return url.partition("://")[2].partition("/")[2].partition("#")[0]


def _decoded(text: str) -> str:
    for _ in range(_DEEPEST):
        if "%" not in text or (plain := unquote(text)) == text:
            break
        text = plain
    return text


def is_inside(host: str, domains: frozenset[str]) -> bool:
    """Whether `host` is one of `domains` or below one of them."""
    while host:
        if host in domains:
            return True
        host = host.partition(".")[2]
    return False


def _trap(url: str) -> str | None:
    path = url.partition("://")[2].partition("?")[0]
    segments = [segment for segment in path.partition("#")[0].split("/")[1:] if segment]
    if len(segments) - len(set(segments)) >= MOST_REPEATS:
        for segment in set(segments):
            if segments.count(segment) > MOST_REPEATS:
                return f"path segment {segment[:40]!r} repeats {segments.count(segment)} times"
    return None
