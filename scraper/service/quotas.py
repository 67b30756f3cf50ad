"""How often each token has fetched today (UTC); kept in the store, a second behind."""

import asyncio
import json
from collections.abc import Callable

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
        self._counts: dict[str, tuple[int, int]] | None = None
        self._is_due = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, token: Token | None) -> None:
        """Count one fetch; Problem 429 where the day's quota is used up."""
        if token is None or token.quota is None:
            return
        if self._counts is None:
            self._counts = await self._reader.call(_kept)
        wall = self._wall()
        day, count = self._counts.get(token.id, (0, 0))
        today = int(wall // DAY)
        count = count if day == today else 0
        if count >= token.quota:
            left = int((today + 1) * DAY - wall) + 1
            raise Problem(
                429, f"the {token.quota} fetches of this token for today (UTC) are used up",
                "ask again tomorrow", headers={"Retry-After": str(left)},
            )  # fmt: skip
        self._counts[token.id] = (today, count + 1)
        if not self._is_due:
            self._is_due = True
            task = asyncio.create_task(self._keep())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _keep(self) -> None:
        await asyncio.sleep(LATE)
        self._is_due = False
        await self._reader.call(_keep_all, dict(self._counts or {}))


def _kept(store: Store) -> dict[str, tuple[int, int]]:
    return {
        name: (int(found[0]), int(found[1]))
        for name, text in store.notes(KIND).items()
        if (found := json.loads(text))
    }


def _keep_all(store: Store, counts: dict[str, tuple[int, int]]) -> None:
    for name, count in counts.items():
        store.keep_note(KIND, name, json.dumps(count))
