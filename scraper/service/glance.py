"""The last runs of every spider in few words, kept so that a page with all of them reads only what is new.

A run that has ended changes no more, unless somebody accepts it: `forget` is called for that here, and a
spider's own page reads its runs anew.
"""

import threading
from collections.abc import Iterable, Mapping

from scraper.app.project import NO_SPIDERS, state_of
from scraper.model.frozen import frozen
from scraper.store import Run, Store

SHOWN = 20  # runs of a spider


@frozen
class Glance:
    """A run in few words. `verdict`: or what it is doing; `records`: None where it has not ended."""

    number: int
    id: str
    verdict: str
    started_at: float
    records: int | None
    is_open: bool


class Glances:
    """The last runs by spider, oldest first."""

    def __init__(self) -> None:
        self._known: dict[str, list[Glance]] = {}
        self._newest = 0
        self._lock = threading.Lock()

    def of(self, store: Store, spiders: Iterable[str]) -> Mapping[str, list[Glance]]:
        """The last runs of these spiders, brought up to date."""
        with self._lock:
            self._bring_up_to_date(store)
            for name in spiders:
                if name not in self._known:
                    self._known[name] = [_glance(store, run) for run in reversed(store.runs(name, SHOWN))]
            return {name: list(found) for name, found in self._known.items()}

    def forget(self, spider: str) -> None:
        """Read a spider's runs anew next time."""
        with self._lock:
            self._known.pop(spider, None)

    def _bring_up_to_date(self, store: Store) -> None:
        changed = {name for name, found in self._known.items() for one in found if one.is_open}
        count = 5
        while True:
            found = store.runs(None, count)
            if len(found) < count or found[-1].number <= self._newest or not self._newest:
                break
            count *= 4
        changed |= {run.spider for run in found if run.number > self._newest}
        self._newest = max((run.number for run in found), default=0)
        for name in changed - set(NO_SPIDERS):
            self._known.pop(name, None)


def _glance(store: Store, run: Run) -> Glance:
    is_open = run.state != "ended"
    records = run.summary.get("records")
    return Glance(run.number, run.id, state_of(store, run), run.started_at, records, is_open)
