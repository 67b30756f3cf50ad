"""What a crawl may follow, before anything is asked of a site: scope and traps."""

from scraper.urls import host_of

LONGEST_URL = 2000  # characters
MOST_REPEATS = 3  # of one path segment; more is a trap that links to itself


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
    scheme, _, rest = url.partition("://")
    if scheme not in ("https", "http"):
        return f"scheme {scheme.partition(':')[0][:20]}: only http and https are fetched"
    if len(url) > LONGEST_URL:
        return f"longer than {LONGEST_URL} characters"
    path = rest.partition("?")[0]
    if "@" in path and "@" in path.partition("/")[0]:
        return "credentials in the URL"
    host = host_of(url) if host is None else host
    if not is_inside(host, allowed_domains):
        return f"outside allowed_domains: {host[:100]}"
    return _trap(path, depth, max_depth)


def is_inside(host: str, domains: frozenset[str]) -> bool:
    """Whether `host` is one of `domains` or below one of them."""
    while host:
        if host in domains:
            return True
        host = host.partition(".")[2]
    return False


def _trap(path: str, depth: int, max_depth: int | None) -> str | None:
    if max_depth is not None and depth > max_depth:
        return f"depth {depth} over max_depth {max_depth}"
    if path.count("/") <= MOST_REPEATS:
        return None
    segments = [segment for segment in path.partition("#")[0].split("/")[1:] if segment]
    if len(segments) - len(set(segments)) >= MOST_REPEATS:
        for segment in set(segments):
            if segments.count(segment) > MOST_REPEATS:
                return f"path segment {segment[:40]!r} repeats {segments.count(segment)} times"
    return None
