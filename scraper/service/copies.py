"""Copies of pages for callers who take one that is not the newest (`max_age`)."""

import threading
from collections import OrderedDict

from scraper.app.one_url.step import Step
from scraper.model import Response
from scraper.model.frozen import frozen
from scraper.service.copy_files import CopyFiles

MOST = 32 * 2**20  # bytes of pages that are kept
CLOCKS_APART = 60.0  # seconds that a copy may be of the future
HELD = 4096  # bytes that one with an empty body takes

Key = tuple[str, str]
"""A URL as a caller gave it, and how it was rendered."""


@frozen
class Copy:
    """A page as it was fetched, and when (wall)."""

    step: Step
    at: float


class Copies:
    """The last pages, up to so many bytes; with `files` also those of the service before this one."""

    def __init__(self, most: int = MOST, files: CopyFiles | None = None) -> None:
        self._files = files
        self._most = most
        self._size = 0
        self._pages: OrderedDict[Key, Copy] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Key, max_age: float, now: float) -> Copy | None:
        """A page that is no older than so many seconds."""
        with self._lock:
            found = self._pages.get(key)
            # A clock that was set back makes no page young for ever.
            if found is None or not -CLOCKS_APART <= now - found.at <= max_age:
                return None
            self._pages.move_to_end(key)
            return found

    def recall(self, key: Key) -> None:
        """Take up a page that is in a file and not in memory."""
        if self._files is None or key in self._pages:
            return
        if (found := self._files.read(key)) is not None:
            self._put(key, *found)

    def keep(self, key: Key, step: Step, now: float, *, is_lasting: bool = False) -> None:
        """Keep a page, unless its site forbids it (no-store) or it is no page.

        `is_lasting`: for the next service too.
        """
        response = step.response
        if response is None or response.status != 200 or _size(response) > self._most // 8:
            return
        headers = response.rendered.headers if response.rendered is not None else response.headers
        if "no-store" in headers.get("cache-control", "").lower():
            return
        self._put(key, step, now)
        if is_lasting and self._files is not None:
            self._files.write(key, step, now)

    def _put(self, key: Key, step: Step, now: float) -> None:
        assert step.response is not None
        with self._lock:
            self._drop(key)
            self._pages[key] = Copy(step, now)
            self._size += _size(step.response)
            while self._size > self._most:
                self._drop(next(iter(self._pages)))

    def _drop(self, key: Key) -> None:
        gone = self._pages.pop(key, None)
        if gone is not None and gone.step.response is not None:
            self._size -= _size(gone.step.response)


def _size(response: Response) -> int:
    """Bytes that a page holds, about: its body, its fields and the objects around them."""
    loads = response.rendered.loads if response.rendered is not None else ()
    return (
        HELD
        + len(response.content)
        + sum(len(name) + len(text) for name, text in response.headers.items_all())
        + sum(200 + len(one.url) for one in loads)
    )
