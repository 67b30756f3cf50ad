"""Quotas of tokens: counted by day, by all services of a project together."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from scraper.app.admin import tokens
from scraper.service import quotas
from scraper.service.problems import Problem
from scraper.service.quotas import DAY, Quotas
from scraper.store.memory import MemoryStore
from scraper.testing import FakeClock


class Reader:
    """Calls at once what a thread would."""

    def __init__(self) -> None:
        self.store = MemoryStore(FakeClock())

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(self.store, *args)


def test_two_services_count_together_and_each_day_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quotas, "LATE", 0.0)
    reader: Any = Reader()
    token, _ = tokens.add(reader.store, "desk", ("fetch",), (), 5)
    now = [10 * DAY + 100.0]

    async def work() -> None:
        first, second = Quotas(reader, lambda: now[0]), Quotas(reader, lambda: now[0])
        for service in (first, second, first, second, first):
            await service.take(token)
            await asyncio.gather(*service._tasks)
        for service in (first, Quotas(reader, lambda: now[0])):
            with pytest.raises(Problem, match="5 fetches") as refused:
                await service.take(token)
            assert refused.value.headers["Retry-After"] == str(DAY - 100 + 1)
        now[0] += DAY
        await first.take(token)

    asyncio.run(work())
