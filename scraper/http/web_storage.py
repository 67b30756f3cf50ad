"""What the scripts of a domain's pages keep (localStorage, HTML 12.2), by origin, beside the cookies."""

from collections.abc import Mapping
from typing import Any

from scraper.ops.secrets import LEAST_SECRET, is_secret_name

MOST = 200_000  # characters of all origins together; what is more is not kept
MOST_ORIGINS = 20


class WebStorage:
    """The items of each origin. `changes` counts what has altered them, as of a jar."""

    def __init__(self) -> None:
        self.changes = 0
        self.items: dict[str, dict[str, str]] = {}

    def put(self, origin: str, items: Mapping[str, str]) -> None:
        """Keep all that an origin has now, if it is not too much."""
        if self.items.get(origin, {}) == items:
            return
        kept = {name: one for name, one in self.items.items() if name != origin}
        if items:
            kept[origin] = dict(items)
        size = sum(len(key) + len(value) for one in kept.values() for key, value in one.items())
        if size <= MOST and len(kept) <= MOST_ORIGINS:
            self.items = kept
            self.changes += 1

    def load(self, kept: Any) -> None:
        """Take up what `items` were."""
        if isinstance(kept, Mapping):
            self.items = {str(origin): {**one} for origin, one in kept.items() if isinstance(one, Mapping)}

    def secrets(self) -> list[str]:
        """The values that no text may show: tokens, and what is long enough to be one."""
        values = [pair for one in self.items.values() for pair in one.items()]
        return [
            value
            for name, value in values
            if is_secret_name(name) or (len(value) >= 2 * LEAST_SECRET and not value.startswith(("{", "[")))
        ]
