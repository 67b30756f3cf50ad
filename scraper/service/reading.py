"""The store for many callers: a few threads, each with a store of its own, since a store has one thread."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

from scraper.errors import StoreError
from scraper.store import Store

THREADS = 4

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs functions that begin with a store. `open_store` is called once in each thread that is needed."""

    def __init__(self, open_store: Callable[[], Store], threads: int = THREADS) -> None:
        self._open_store = open_store
        self._local = threading.local()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="store")

    async def call(
        self, function: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """What a function gives for a store; raises what it raises."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self.run(function, *args, **options))

    def run(self, function: Callable[Concatenate[Store, P], T], *args: P.args, **options: P.kwargs) -> T:
        """The same, in the calling thread."""
        store: Store | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = self._open_store()
        try:
            return function(store, *args, **options)
        except StoreError:
            # Whatever it was, the next call begins with a connection of its own.
            self._local.store = None
            with suppress(Exception):
                store.close()
            raise

    def submit(self, function: Callable[[], Any]) -> None:
        """Run something that needs no store, and forget it."""
        self._pool.submit(function)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)
