"""The parent of `run --workers N`: starts the workers, watches them, and adds up their progress."""

import contextlib
import json
import os
import selectors
import subprocess
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import IO, Any, Protocol

from scraper.app.options import Prepared
from scraper.app.running.spider_state import state_of
from scraper.engine.engine import BEAT_EVERY
from scraper.engine.group_commit import SETTLE_EVERY
from scraper.engine.plan import Stop
from scraper.errors import StoreError
from scraper.ops.clock import Clock
from scraper.runs.events import DomainState, Listener, Noted, Settled, Ticked
from scraper.spider.rules import Rules
from scraper.store import Run, Store
from scraper.urls import domain_of, host_of, is_public_suffix

# A worker that was killed is replaced, but one that cannot live is not replaced for ever. Each is counted for
# itself: a host that is gone takes many along.
MOST_DEATHS = 5
TRY_AGAIN = 75
"""Exit code of a worker that lost its lease or could not reach the store: another can begin."""
MOST_SILENT = 300.0
"""Seconds without a word of a worker, which speaks once a second: it is stopped for good, or lost.

Longer than it waits for its store, and than its own watchdog lets a page be parsed."""
_BEAT_COUNTS = 5.0  # seconds at most, of the time between two beats of ours: we may have been stopped too
# The strongest reason first; the first two end the run for all, which the others get as a signal.
_STRENGTH = (Stop.ERRORS, Stop.RECORDS, Stop.SIGNAL, Stop.TIME, Stop.PAGES, Stop.DEFERRED, Stop.DONE)


class Worker(Protocol):
    """A worker process, here or on another host: what is needed of `subprocess.Popen`."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """Where its orders go."""
        ...

    @property
    def stdout(self) -> IO[bytes] | None:
        """Where its reports come from."""
        ...

    def terminate(self) -> None:
        """Ask it to end."""
        ...

    def kill(self) -> None:
        """End it."""
        ...

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        ...


class Hosts(Protocol):
    """Where workers run."""

    def start(self, module: str) -> Worker:
        """Start one: `python -m module`."""
        ...

    def close(self) -> None:
        """No more will be started."""
        ...


class ThisHost:
    """Starts workers on this machine."""

    def start(self, module: str) -> Worker:
        """Start a worker as a process of ours."""
        command = [sys.executable, "-m", module]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        """Nothing is to be left."""


class Workers:
    """N processes on some hosts that share one run by domain leases. The parent itself fetches nothing.

    `notes`: what the hosts have to say, for the run's log and view.
    """

    def __init__(
        self,
        prepared: Prepared,
        rules: Rules,
        store: Store,
        run: Run,
        clock: Clock,
        listeners: Sequence[Listener],
        hosts: Hosts,
        notes: deque[str],
    ) -> None:
        self._prepared = prepared
        self._rules = rules
        self._store = store
        self._run = run
        self._clock = clock
        self._listeners = listeners
        self._hosts = hosts
        self._notes = notes
        self._count = _owners(rules, prepared.options.workers)
        self._selector = selectors.DefaultSelector()
        self._living: dict[int, Worker] = {}
        self._waiting: set[int] = set()
        self._silent: defaultdict[int, float] = defaultdict(float)
        self._ticks: dict[int, Ticked] = {}
        self._stops: list[Stop] = []
        self._deaths: Counter[int] = Counter()
        self._failures: dict[int, str] = {}
        self._beat_at = self._beaten = 0.0
        self._stopping = False

    def run(self) -> Stop:
        """Watch the workers until the last has ended."""
        try:
            for number in range(self._count):
                self._start(number)
            while self._living:
                for key, _ in self._selector.select(SETTLE_EVERY):
                    self._read(key.data, key.fileobj)  # type: ignore[arg-type]  # we registered the pipe
                self._tell(Settled(0))
                while self._notes:
                    self._tell(Noted(self._notes.popleft()))
                self._beat()
        finally:
            self._hosts.close()
        return min(self._stops, key=_STRENGTH.index, default=Stop.SIGNAL)

    def stop(self) -> None:
        """Ask every worker to end; callable from a signal handler."""
        self._stopping = True
        for number in list(self._living):
            self._end(number)

    def _end(self, number: int) -> None:
        self._living[number].terminate()
        self._begin(number)

    def _start(self, number: int) -> None:
        child = self._hosts.start("scraper.app.running.worker")
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(json.dumps(self._orders(number)).encode() + b"\n")
        child.stdin.flush()
        self._living[number] = child
        self._waiting.add(number)
        self._selector.register(child.stdout, selectors.EVENT_READ, number)
        if self._stopping:
            self._end(number)  # the signal came while we started it

    def _orders(self, number: int) -> dict[str, Any]:
        options = self._prepared.options
        most = self._prepared.settings.max_pages
        if most is not None:
            # Each worker gets its part of the limit, so that none has to ask the others for every page.
            part = most // self._count + (number < most % self._count)
            options = replace(options, overrides=(*options.overrides, f"max_pages={max(1, part)}"))
        spare = options.workers - self._count  # a domain has one owner; they parse for the owners
        return {
            "parsers": spare // self._count + (number < spare % self._count),
            "options": {**asdict(options), "data": str(options.data)},
            "state": state_of(self._prepared),
            "number": number + 1,
            "run_id": self._run.id,
            "allowed_domains": sorted(self._rules.allowed_domains),
            "origins": sorted(self._rules.origins),
        }

    def _read(self, number: int, pipe: IO[bytes]) -> None:
        line = pipe.readline()
        self._silent[number] = 0
        if not line:
            return self._bury(number, pipe)
        report = json.loads(line)
        if "ready" in report:
            self._waiting.discard(number)
            if self._prepared.options.ray:
                self._tell(Noted(f"worker {number + 1} is on {report['host']}"))
            self._begin_together()
        elif "stop" in report:
            self._stops.append(Stop(report["stop"]))
            if self._stops[-1] in (Stop.ERRORS, Stop.RECORDS):
                self.stop()
        elif "failed" in report:
            self._failures[number] = report["failed"]
        elif "tick" in report:
            tick = report["tick"]
            tick["domains"] = tuple(DomainState(**one) for one in tick["domains"])
            self._ticks[number] = Ticked(**tick)
        return None

    def _begin_together(self) -> None:
        """Let the workers lease once all are there: the first would take more than its share."""
        if not self._waiting:
            for number in self._living:
                self._begin(number)

    def _begin(self, number: int) -> None:
        # Not by way of the buffer: a signal may have come in the middle of a write.
        pipe = self._living[number].stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # it is dead, as will be noticed
            os.write(pipe.fileno(), b"\n")

    def _bury(self, number: int, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        child = self._living.pop(number)
        pipe.close()
        code = child.wait()
        self._waiting.discard(number)
        self._begin_together()
        ending = _ending(code, self._failures.pop(number, ""))
        if code == 0 or self._stopping:
            return
        self._deaths[number] += 1
        self._tell(Noted(f"worker {number + 1} ended with {ending}; its domains go on elsewhere"))
        if (code > 0 and code != TRY_AGAIN) or self._deaths[number] > MOST_DEATHS:
            if not self._living:
                raise StoreError(f"all workers ended with errors, the last with {ending}")
            return
        self._start(number)

    def _beat(self) -> None:
        now = self._clock.now()
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT_EVERY
        self._end_silent(now)
        self._store.heartbeat()
        ticks = list(self._ticks.values())
        states = sorted((state for tick in ticks for state in tick.domains), key=lambda state: -state.wait)
        self._tell(
            Ticked(
                sum(tick.pages for tick in ticks),
                sum(tick.records for tick in ticks),
                sum(tick.failed for tick in ticks),
                sum(tick.in_flight for tick in ticks),
                self._store.progress(self._run).pending,
                tuple(states[:50]),
                sum(tick.of for tick in ticks),
            )
        )

    def _end_silent(self, now: float) -> None:
        """End workers that have said nothing for long: only once they are dead their domains are free."""
        passed, self._beaten = min(now - self._beaten, _BEAT_COUNTS), now
        for number, worker in self._living.items():
            self._silent[number] += passed
            if self._silent[number] > MOST_SILENT:
                worker.kill()

    def _tell(self, event: Ticked | Settled | Noted) -> None:
        for listener in self._listeners:
            listener(event)


def _owners(rules: Rules, workers: int) -> int:
    """How many of the workers can own a domain: one each, as far as the spider's go."""
    starts = {host_of(origin) for origin in rules.origins}
    names = rules.allowed_domains
    is_open = any(is_public_suffix(name) and name not in starts for name in names)
    return workers if is_open or not names else min(workers, len({domain_of(name) for name in names}))


def _ending(code: int, failure: str) -> str:
    ending = f"signal {-code}" if code < 0 else f"exit code {code}"
    return f"{ending} ({failure})" if failure else ending
