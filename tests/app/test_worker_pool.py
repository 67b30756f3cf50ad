"""What the parent of `run --workers N` does about its workers, which are no processes here."""

import json
import os
from collections import deque
from types import SimpleNamespace
from typing import Any

from scraper.app.options import Options
from scraper.app.running.worker_pool import MOST_SILENT, Workers
from scraper.engine.plan import Stop
from scraper.runs.events import Event, Noted, Ticked
from scraper.spider.code import Code
from scraper.spider.rules import Rules
from scraper.store.memory import MemoryStore
from scraper.testing.clock import FakeClock


class FakeWorker:
    """It speaks by a pipe, as a process does."""

    def __init__(self) -> None:
        ours, theirs = os.pipe()
        self.stdout, self._speaks = os.fdopen(ours, "rb"), os.fdopen(theirs, "wb", buffering=0)
        self.stdin = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb")
        self._code = 0

    def say(self, report: dict[str, Any]) -> None:
        if not self._speaks.closed:
            self._speaks.write(json.dumps(report).encode() + b"\n")

    def end(self, code: int = 0) -> None:
        self._code = code
        self._speaks.close()

    def kill(self) -> None:
        self.end(-9)

    def terminate(self) -> None:
        raise AssertionError("nobody asked it to end")

    def wait(self) -> int:
        return self._code


class FakeHosts:
    def __init__(self) -> None:
        self.workers: list[FakeWorker] = []

    def start(self, module: str) -> FakeWorker:
        self.workers.append(FakeWorker())
        return self.workers[-1]

    def close(self) -> None:
        pass


def test_a_worker_that_says_nothing_for_five_minutes_is_ended_and_another_one_begins() -> None:
    clock, hosts, told = FakeClock(), FakeHosts(), list[str]()
    beats = 0

    def live(event: Event) -> None:
        """A second passes. The first worker speaks, the second never does; its successor ends at once."""
        nonlocal beats
        if isinstance(event, Noted):
            told.append(event.text)
        if not isinstance(event, Ticked):
            return
        beats += 1
        clock.sleep(3600.0 if beats == 1 else 1.0)  # we ourselves were stopped for an hour: nobody's silence
        talker, *others = hosts.workers
        if len(others) < 2:
            return talker.say({"tick": tick})
        for one in (talker, others[1]):
            one.say({"stop": Stop.DONE.value})
            one.end()
        return None

    tick = {"pages": 1, "records": 1, "failed": 0, "in_flight": 0, "pending": 0, "domains": [], "of": 0}
    store = MemoryStore(clock)
    store.join("parent")
    prepared: Any = SimpleNamespace(
        options=Options("walk", workers=2),
        settings=SimpleNamespace(max_pages=None),
        spider=SimpleNamespace(),
        loaded=SimpleNamespace(code=Code("", frozenset())),
    )
    run = store.start_run("walk", "")
    workers = Workers(prepared, Rules(frozenset()), store, run, clock, [live], hosts, deque())
    assert workers.run() is Stop.DONE
    assert told == ["worker 2 ended with signal 9; its domains go on elsewhere"]
    assert MOST_SILENT - 10 <= beats <= MOST_SILENT + 10
