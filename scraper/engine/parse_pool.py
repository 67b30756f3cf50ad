"""Processes that parse pages for the one that owns their domains.

Ownership, order and settlement stay where they are: a parse process is given items (a page each) and gives
back what became of them, no more. One that dies costs nothing but time: its items are given to another one,
each alone, so that a page which kills its process is found.
"""

import subprocess
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from scraper.engine.parse_limit import MOST_CRASHES
from scraper.engine.parse_messages import Receiver, Sender
from scraper.errors import StoreError
from scraper.model.frozen import frozen

MOST_DEATHS = 5  # in a row, without a result between them
_JOB = 10  # items
_AHEAD = 4  # jobs that a process has, so that it goes on while the owner settles
_LOOK_EVERY = 0.5  # seconds in which the owner wants to do something else


@frozen
class Died:
    """The result of an item whose process died each time, so often."""

    times: int


@frozen
class Broken:
    """The result of an item that cannot be worked on here, whatever the page is."""

    message: str
    hint: str = ""


@dataclass(eq=False)
class Job:
    """Items, and their results in the same order as they come."""

    items: Sequence[Any]
    results: list[Any] = field(default_factory=list)
    is_apart: bool = False  # its items are sent one by one
    crashes: int = 0

    @property
    def is_done(self) -> bool:
        """Whether all results are there."""
        return len(self.results) >= len(self.items)


class _Process:
    """A parse process, its jobs in the order in which they were sent, and the thread that hears it."""

    def __init__(
        self, process: "subprocess.Popen[bytes]", events: "SimpleQueue[tuple[_Process, Any]]"
    ) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self.jobs: deque[Job] = deque()
        self.has_answered = False
        self._sender = Sender(process.stdin)
        self._events = events
        self.thread = threading.Thread(target=self._hear, name="parse-results", daemon=True)
        self.thread.start()

    def send(self, job: Job) -> None:
        """Give it a job, or the next item of one."""
        start = len(job.results)
        items = job.items[start : start + 1] if job.is_apart else job.items[start:]
        self.jobs.append(job)
        with suppress(OSError):  # it is dead, as will be noticed
            self._sender.send(items)
            self._sender.flush()

    def _hear(self) -> None:
        assert self.process.stdout is not None
        receiver = Receiver(self.process.stdout)
        try:
            while True:
                self._events.put((self, (receiver.receive(),)))
        except Exception:  # it died, maybe in the middle of a message
            self._events.put((self, None))


class ParsePool:
    """So many parse processes; `start` starts one. For one thread, which has to `wait` for anything to go on.

    A process that ends with an error before it has answered is no crash: StoreError.
    """

    def __init__(self, start: "Callable[[], subprocess.Popen[bytes]]", size: int) -> None:
        self._start = start
        self._size = size
        self._events: SimpleQueue[tuple[_Process, Any]] = SimpleQueue()
        self._processes: list[_Process] = []
        self._backlog: deque[Job] = deque()
        self._deaths = 0

    @property
    def has_room(self) -> bool:
        """Whether another job would not wait long."""
        ahead = sum(len(one.jobs) for one in self._processes) + len(self._backlog)
        return ahead < self._size * _AHEAD

    def submit(self, job: Job) -> None:
        """Have a job done; it `is_done` after some `wait`."""
        self._backlog.append(job)
        self._feed()

    def drop(self, jobs: Sequence[Job]) -> None:
        """Forget jobs: what is on its way still is done, and nobody looks at it."""
        for job in jobs:
            job.items = ()
        self._backlog = deque(job for job in self._backlog if job not in jobs)

    def wait(self, timeout: float) -> None:
        """Take in what the processes have done; waits for the first of it."""
        with suppress(Empty):
            process, event = self._events.get(timeout=timeout)
            while True:
                if event is None:
                    self._bury(process)
                else:
                    self._take(process, event[0])
                process, event = self._events.get_nowait()

    def close(self) -> None:
        """End the processes. Safe to repeat."""
        processes, self._processes = self._processes, []
        self._backlog.clear()
        for one in processes:
            one.process.kill()  # it owns nothing that could be lost
        for one in processes:
            one.process.wait()
            one.thread.join()
            for pipe in (one.process.stdin, one.process.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()

    def _feed(self) -> None:
        while len(self._processes) < self._size:
            self._processes.append(_Process(self._start(), self._events))
        while self._backlog:
            process = min(self._processes, key=lambda one: len(one.jobs))
            if len(process.jobs) >= _AHEAD:
                return
            process.send(self._backlog.popleft())

    def _take(self, process: _Process, results: Sequence[Any]) -> None:
        for result in results:
            if isinstance(result, Broken):
                raise StoreError(result.message, result.hint)
        if not process.jobs:
            return  # of a pool that is closed
        job = process.jobs.popleft()
        process.has_answered, self._deaths, job.crashes = True, 0, 0
        job.results.extend(results)
        if not job.is_done:
            self._backlog.appendleft(job)
        self._feed()

    def _bury(self, process: _Process) -> None:
        """Have another process go on where one has died."""
        if process not in self._processes:
            return
        self._processes.remove(process)
        code = process.process.wait()
        self._deaths += 1
        if (code > 0 and not process.has_answered) or self._deaths > MOST_DEATHS:
            told = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise StoreError(f"the processes that parse end with {told}")
        if process.jobs:
            self._count_crash(process.jobs[0])
        self._backlog.extendleft(job for job in reversed(process.jobs) if not job.is_done)
        self._feed()

    def _count_crash(self, job: Job) -> None:
        job.crashes += job.is_apart
        job.is_apart = True
        if job.crashes >= MOST_CRASHES:
            self._deaths = 0  # the page was it
            job.results.append(Died(job.crashes))
            job.crashes = 0


def in_order(
    pool: ParsePool, source: Callable[[], Sequence[Any]]
) -> Generator[tuple[Any, Any] | None, None, None]:
    """Each item of `source` with its result, in its order; None now and then while one is waited for.

    `source` is asked for more while there is room, also after it had none. Ends when it has none and all
    results are given out.
    """
    jobs: deque[Job] = deque()
    try:
        while True:
            while pool.has_room and (items := source()):
                for start in range(0, len(items), _JOB):
                    jobs.append(Job(items[start : start + _JOB]))
                    pool.submit(jobs[-1])
            if not jobs:
                return
            if not jobs[0].is_done:
                pool.wait(_LOOK_EVERY)
            if not jobs[0].is_done:
                yield None
                continue
            job = jobs.popleft()
            yield from zip(job.items, job.results, strict=True)
    finally:
        pool.drop(jobs)
