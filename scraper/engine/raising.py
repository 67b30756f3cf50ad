"""Callbacks that raise on page after page."""

from collections import Counter

from scraper.model import Failed, Fetched, Visit
from scraper.spider.identity import request_of


class Raising:
    """Counts callbacks apart, since a list that parses proves nothing for the pages behind it."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._in_a_row: Counter[str] = Counter()

    def count(self, visit: Visit, pages: int) -> bool:
        """Whether the run is to end: more requests would bring the same.

        After many good pages it takes a tenth of them: a corner of a large site must not end the run.
        """
        outcome, row = visit.outcome, self._in_a_row
        if isinstance(outcome, Failed) and outcome.is_parse:
            callback = request_of(visit.entry).callback
            row[callback] += 1
            return self._most is not None and row[callback] >= max(self._most, pages // 10)
        if row and isinstance(outcome, Fetched):
            del row[request_of(visit.entry).callback]
        return False
