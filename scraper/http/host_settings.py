"""What the settings say for one host: header fields, credentials, proxy, verification."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import field
from hashlib import blake2b
from typing import Any

from scraper.model.frozen import frozen
from scraper.ops.secrets import is_secret_name, secrets_of_url
from scraper.settings.http_values import Auth


@frozen
class HostSettings:
    """None and empty: the settings say nothing, and the environment may."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: Auth | None = None
    proxy: str = field(default="", repr=False)
    verify: bool | str | None = None

    def lines(self) -> dict[str, str]:
        """The header fields, basic (RFC 7617, in UTF-8) and bearer (RFC 6750) credentials among them."""
        lines = dict(self.headers)
        if self.auth is not None and self.auth.kind in ("basic", "bearer"):
            lay_over(lines, {"Authorization": _credentials(self.auth)})
        return lines

    @property
    def secrets(self) -> frozenset[str]:
        """What must stand in no message."""
        own = {self.auth.password or self.auth.user} if self.auth else set[str]()
        return frozenset(filter(None, own.union(secrets_of_url(self.proxy))))


def _credentials(auth: Auth) -> str:
    if auth.kind == "bearer":
        return f"Bearer {auth.password}"
    return "Basic " + b64encode(f"{auth.user}:{auth.password}".encode()).decode()


def lines_of(headers: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The fields of a session; those of `requests` look each up again where they are asked for `items`."""
    store = getattr(headers, "_store", None) if hasattr(headers, "lower_items") else None
    return list(headers.items() if store is None else store.values())


def digest_of_own(lines: list[tuple[str, Any]], first: Mapping[str, Any], params: Any) -> str:
    """A digest of fields and parameters that a session has beside its `first` fields, but for secrets."""
    named = [(name, value) for name, value in lines if first.get(name) != value]
    added = params.items() if isinstance(params, Mapping) else ()
    own = [
        pair
        for pairs in (named, added)
        for pair in sorted((name, str(value)) for name, value in pairs if not is_secret_name(name))
    ]
    return blake2b(repr(own).encode(), digest_size=8).hexdigest() if own else ""


def lay_over(lines: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Put header fields over others; a field is the same in any case."""
    if not more:
        return
    names = {name.lower() for name in more}
    for name in [name for name in lines if name.lower() in names]:
        del lines[name]
    lines.update(more)
