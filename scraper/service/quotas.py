"""How often each token has fetched today (UTC); kept in the store, a second behind."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping

from scraper.app.admin.tokens import Token
from scraper.service.problems import Problem
from scraper.service.reading import Reader
from scraper.store import Store

KIND = "quota"
DAY = 86_400
LATE = 1.0


class Quotas:
    """Counts fetches by token and day. `wall` gives the moment."""

    def __init__(self, reader: Reader, wall: Callable[[], float]) -> None:
        self._reader = reader
        self._wall = wall
        self._known: dict[str, tuple[int, int]] = {}
        self._new: Counter[str] = Counter()  # not in the store yet
        self._is_read = False
        self._is_due = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, token: Token | None) -> None:
        """Count one fetch; Problem 429 where the day's quota is used up."""
        if token is None or token.quota is None:
            return
        if not self._is_read:
            self._known, self._is_read = await self._reader.call(_kept), True
        wall = self._wall()
        today = int(wall // DAY)
        if _count_of(self._known, token.id, today) + self._new[token.id] >= token.quota:
            left = int((today + 1) * DAY - wall) + 1
            raise Problem(
                429, f"the {token.quota} fetches of this token for today (UTC) are used up",
                "ask again tomorrow", headers={"Retry-After": str(left)},
            )  # fmt: skip
        self._new[token.id] += 1
        if not self._is_due:
            self._is_due = True
            task = asyncio.create_task(self._keep())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        await asyncio.sleep(LATE)
        self._is_due = False
        new, self._new = self._new, Counter()
        today = int(self._wall() // DAY)
        # Until that is done, what is new counts as known.
        for name, count in new.items():
            self._known[name] = today, _count_of(self._known, name, today) + count
        self._known |= await self._reader.call(_added, new, today)


def _count_of(known: Mapping[str, tuple[int, int]], name: str, today: int) -> int:
    day, count = known.get(name, (0, 0))
    return count if day == today else 0


def _kept(store: Store) -> dict[str, tuple[int, int]]:
    return {
        name: (int(found[0]), int(found[1]))
        for name, text in store.notes(KIND).items()
        if (found := json.loads(text))
    }


def _added(store: Store, new: Mapping[str, int], today: int) -> dict[str, tuple[int, int]]:
    """Add to the counts in the store, to which another service of the project may have added too."""
    known = _kept(store)
    added = {name: (today, _count_of(known, name, today) + count) for name, count in new.items()}
    for name, count in added.items():
        store.keep_note(KIND, name, json.dumps(count))
    return added
