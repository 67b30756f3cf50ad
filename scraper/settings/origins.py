"""For which origins a setting holds: `shop.example`, `*.shop.example`, `https://shop.example:8443`.

A credential is bound to scheme, host and port (RFC 7617 2.2, RFC 6750 5.3). A name without scheme and port
means https on its usual port, and what the spider itself starts from: `own` are the origins of its start
URLs, so plain http is only for a host that somebody wrote so.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from urllib.parse import urlsplit

from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern

ANYWHERE = "*"
OWN = ""  # in place of a name: wherever the spider starts
DEFAULT_PORTS = {"http": 80, "https": 443}

_NAMED = pattern(
    r"(?:(https?)://)?(\*\.)?(\[[0-9a-f:.]+\]|[^:/\[\]]+|[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*)(?::(\d{1,5}))?/?"
)


@frozen
class OriginPattern:
    """A name as written; `scheme` "" and `port` 0: not said. `is_wide`: the hosts below it too."""

    scheme: str
    host: str
    port: int
    is_wide: bool

    @property
    def rank(self) -> tuple[bool, int, bool, bool]:
        """The nearer of two that cover an origin has the higher one."""
        return not self.is_wide, len(self.host), bool(self.scheme), bool(self.port)

    def covers(self, origin: str, own: Collection[str]) -> bool:
        """Whether it means an origin, for a spider that starts from `own`."""
        scheme, host, port = parts_of(origin)
        if not self._has(host) or self.scheme not in ("", scheme) or self.port not in (0, port):
            return False
        is_usual = bool(self.port) or port == DEFAULT_PORTS.get(scheme)
        if is_usual and (self.scheme or scheme == "https"):
            return True
        return not self.scheme and any(
            (scheme, port) == (one[0], one[2]) and (host == one[1] or (self.is_wide and self._has(one[1])))
            for one in map(parts_of, own)
        )

    def _has(self, host: str) -> bool:
        return host == self.host or (self.is_wide and host.endswith(f".{self.host}"))


@lru_cache(maxsize=4096)
def parts_of(origin: str) -> tuple[str, str, int]:
    """Scheme, host (IPv6 without brackets) and port of an origin or URL."""
    parts = urlsplit(origin)
    try:
        port = parts.port
    except ValueError:
        port = None
    return parts.scheme, parts.hostname or "", port or DEFAULT_PORTS.get(parts.scheme, 0)


@lru_cache(maxsize=1024)
def pattern_of(name: str) -> OriginPattern | None:
    """What a name means; None where it is none. In lower case, the host is not looked at further."""
    found = _NAMED.fullmatch(name)
    if found is None or int(found[4] or 0) > 65535:
        return None
    host = found[3].removeprefix("[").removesuffix("]")
    return OriginPattern(found[1] or "", host, int(found[4] or 0), bool(found[2]))


def covering(names: Iterable[str], origin: str, own: Collection[str]) -> list[str]:
    """The names that cover an origin, the nearest last: all, the spider's own, hosts above it, itself."""
    known = set(names)
    wide = [name for name in (ANYWHERE, OWN) if name in known and (name == ANYWHERE or is_own(origin, own))]
    patterns = [(name, pattern_of(name)) for name in known - {ANYWHERE, OWN}]
    near = [(found.rank, name) for name, found in patterns if found and found.covers(origin, own)]
    return wide + [name for _, name in sorted(near)]


def is_own(origin: str, own: Collection[str]) -> bool:
    """Whether an origin is one of the spider's, or one of them moved up from http to https."""
    if origin in own:
        return True
    scheme, host, port = parts_of(origin)
    return (scheme, port) == ("https", 443) and any(
        parts_of(one) == ("http", host, 80) for one in (f"http://{host}", f"http://[{host}]") if one in own
    )
