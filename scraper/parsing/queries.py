"""Which CSS and XPath queries a callback asked of its page, and whether they found anything.

A query that finds nothing on any page of a run is most often a mistake, and the summary names it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from parsel import Selector, SelectorList

MOST = 100  # queries of one page; those that a program builds are without end
LONGEST = 120


class _Watched(threading.local):
    asked: dict[str, bool] | None = None


_watched = _Watched()


@contextmanager
def watching() -> Iterator[dict[str, bool]]:
    """The queries asked on this thread meanwhile: whether each found something at least once."""
    asked: dict[str, bool] = {}
    _watched.asked = asked
    try:
        yield asked
    finally:
        _watched.asked = None


class WatchedSelector(Selector):
    """A selector that notes what it is asked."""

    __slots__ = ()

    def css(self, query: str) -> SelectorList["WatchedSelector"]:
        asked, _watched.asked = _watched.asked, None  # not the XPath that it is translated to
        try:
            found: Any = super().css(query)
        finally:
            _watched.asked = asked
        _note(asked, query, bool(found))
        return found  # type: ignore[no-any-return]  # parsel's own list

    def xpath(self, query: str, *args: Any, **kwargs: Any) -> SelectorList["WatchedSelector"]:
        found: Any = super().xpath(query, *args, **kwargs)
        _note(_watched.asked, query, bool(found))
        return found  # type: ignore[no-any-return]


def _note(asked: dict[str, bool] | None, query: str, is_found: bool) -> None:
    if asked is None or len(query) > LONGEST:
        return
    if query in asked or len(asked) < MOST:
        asked[query] = is_found or asked.get(query, False)
