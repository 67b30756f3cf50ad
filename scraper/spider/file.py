"""The Request for a file, apart from the rest because it needs nothing of it."""

from collections.abc import Mapping
from typing import Any

from scraper.model import SAVE, Request


def File(  # noqa: N802 - a kind of Request to who writes a spider
    url: str, name: str | None = None, *, meta: Mapping[str, Any] | None = None, **request: Any
) -> Request:
    """A Request whose answer goes to a file. Keywords are those of Request.

    Its record has what is in `meta`, and "url", "name", "path", "type", "size" and "sha256" of the file.
    `name`: instead of the one that the site gives it.
    """
    own = {**(meta or {}), **({"name": name} if name else {})}
    return Request(url, SAVE, meta=own or None, **request)
