"""Processes that parse pages for the one that owns their domains.

Ownership, order and settlement stay where they are: a parse process is given tasks (a page each) and gives
back what became of them, no more. One that dies costs nothing but time: its tasks are given to another one,
each alone, so that a page which kills its process is found. One that is silent for too long is ended.
"""

import fcntl
import select
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Protocol

from scraper.engine.parse_limit import LONGEST_INTERVAL, MOST_CRASHES
from scraper.engine.parse_messages import Receiver, Sender
from scraper.errors import StoreError
from scraper.model.frozen import frozen
from scraper.ops.clock import monotonic

MOST_DEATHS = 5  # in a row, without a result between them
_AHEAD = 120  # small tasks that a process has, so that it goes on while the owner settles a hundred pages
_TOGETHER = 10  # of them are sent at once
_LOOK_EVERY = 0.5  # seconds in which the owner wants to do something else
_PIPE = 2**20  # bytes


@frozen
class Died:
    """The result of a task whose process died each time, so often."""

    times: int


@frozen
class Broken:
    """The result of a task that cannot be worked on here, whatever the page is."""

    message: str
    hint: str = ""


class ParseProcess(Protocol):
    """What is needed of `subprocess.Popen`."""

    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def kill(self) -> None:
        """End it."""
        ...

    def wait(self) -> int:
        """Its exit code; negative: the signal that ended it."""
        ...


@dataclass(slots=True, eq=False)
class Task:
    """What is to be worked on, and its result. `size`: its bytes, where they are many."""

    value: Any
    size: int = 0
    result: Any = None
    is_done: bool = False
    is_apart: bool = False  # a process gets it alone
    crashes: int = 0

    @property
    def deaths(self) -> int:
        """How often its process has died, where that is its result."""
        return self.result.times if isinstance(self.result, Died) else 0


class _Process:
    """A parse process and the tasks that it has, in the order in which they were sent."""

    def __init__(self, process: ParseProcess) -> None:
        assert process.stdin is not None and process.stdout is not None
        self.process = process
        self.tasks: deque[Task] = deque()
        self.has_answered = False  # first that it is ready
        self.silent = 0.0  # seconds since the last result of those that it owes
        self.results = process.stdout.fileno()
        self._sender = Sender(process.stdin)
        self._receiver = Receiver(process.stdout)
        # What is in the pipe has room there: neither side ever waits for the other to read.
        self._most = _widened(process.stdin.fileno()) // 2
        _widened(self.results)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes can be sent without a wait."""
        return not self.tasks or sum(task.size for task in self.tasks) + size <= self._most

    def send(self, tasks: Sequence[Task]) -> None:
        """Give it tasks."""
        self.tasks.extend(tasks)
        with suppress(OSError):  # it is dead, as will be noticed
            self._sender.send([task.value for task in tasks])

    def receive(self) -> list[Any]:
        """The results that are there; EOFError where it is dead."""
        messages = self._receiver.receive()
        self.has_answered |= bool(messages)
        return [result for results in messages for result in results]


class ParsePool:
    """So many parse processes; `start` starts one. For any thread; whoever waits for a task has to `look`.

    A process that ends with an error before it has answered is no crash: StoreError. One that owes a result
    for `patience` seconds is stopped, or lost with its host: it is ended, and others go on.
    """

    def __init__(self, start: Callable[[], ParseProcess], size: int, patience: float = float("inf")) -> None:
        self._start = start
        self._size = size
        self._patience = patience
        self._looked_at = monotonic()
        self._lock = threading.RLock()
        self._processes: list[_Process] = []
        self._backlog: deque[Task] = deque()
        self._deaths = 0
        self._is_closed = False

    def begin(self) -> None:
        """Start the processes now rather than with the first task."""
        with self._lock:
            while len(self._processes) < self._size and not self._is_closed:
                self._processes.append(_Process(self._start()))

    @property
    def has_room(self) -> bool:
        """Whether more small tasks would not wait long."""
        return self._ahead < self._size * _AHEAD

    @property
    def _ahead(self) -> int:
        return sum(len(one.tasks) for one in self._processes) + len(self._backlog)

    def submit_one(self, value: Any, size: int) -> Task:
        """Have one task done."""
        task = Task(value, size)
        self.submit([task])
        return task

    def submit(self, tasks: Sequence[Task]) -> None:
        """Have tasks done; each `is_done` after some look."""
        with self._lock:
            self._backlog.extend(tasks)
            self._feed()

    def has_room_for(self, size: int, most: int) -> bool:
        """Whether a process would have a task of `size` bytes at once, with fewer than `most` before it."""
        with self._lock:
            self.look()
            self.begin()
            least = min((one for one in self._processes if one.has_answered), key=_load, default=None)
            is_free = least is not None and len(least.tasks) < most and least.has_room(size)
            return is_free and not self._backlog

    def drop(self, tasks: Sequence[Task]) -> None:
        """Forget tasks: what is on its way still is done, and nobody looks at it."""
        with self._lock:
            for task in tasks:
                task.is_done = True
            self._backlog = deque(task for task in self._backlog if not task.is_done)

    def look(self) -> None:
        """Take in what the processes have done."""
        with self._lock:
            now = monotonic()
            # A look that comes late counts no more: we may have been stopped ourselves.
            passed, self._looked_at = min(now - self._looked_at, LONGEST_INTERVAL), now
            for process in list(self._processes):
                try:
                    self._take(process, process.receive(), passed)
                except EOFError:
                    self._bury(process)
                if process.silent > self._patience:
                    process.process.kill()
                    self._bury(process)
            self._feed()

    def wait(self, timeout: float) -> None:
        """Take in what the processes have done; waits for the first of it, so many seconds at most.

        StoreError where they have been ended.
        """
        if self._is_closed:
            raise StoreError("the processes that parse have been ended")
        poll = select.poll()
        for process in self._processes:
            poll.register(process.results, select.POLLIN)
        poll.poll(timeout * 1000)
        self.look()

    def close(self) -> None:
        """End the processes. Safe to repeat."""
        with self._lock:
            self._is_closed = True
            processes, self._processes = self._processes, []
            self._backlog.clear()
        for one in processes:
            one.process.kill()  # it owns nothing that could be lost
        for one in processes:
            one.process.wait()
            for pipe in (one.process.stdin, one.process.stdout):
                assert pipe is not None
                with suppress(OSError):
                    pipe.close()

    def _feed(self) -> None:
        if self._backlog:
            self.begin()
        while self._backlog:
            process = min(self._processes, key=_load)
            tasks = self._next_for(process)
            if not tasks:
                return
            process.send(tasks)

    def _next_for(self, process: _Process) -> list[Task]:
        """What the process with the fewest tasks gets now: some, one that has to be alone, or nothing yet."""
        if self._backlog[0].is_apart:
            return [] if process.tasks else [self._backlog.popleft()]
        is_alone = any(task.is_apart for task in process.tasks)
        if is_alone or len(process.tasks) > _AHEAD - _TOGETHER or not process.has_room(self._backlog[0].size):
            return []
        tasks = [self._backlog.popleft()]
        while self._backlog and len(tasks) < _TOGETHER and not self._backlog[0].is_apart:
            tasks.append(self._backlog.popleft())
        return tasks

    def _take(self, process: _Process, results: Sequence[Any], passed: float) -> None:
        for result in results:
            if isinstance(result, Broken):
                raise StoreError(result.message, result.hint)
            task = process.tasks.popleft()
            task.result, task.is_done = result, True
        if results:
            self._deaths = 0
        process.silent = process.silent + passed if process.tasks and not results else 0.0

    def _bury(self, process: _Process) -> None:
        """Have another process go on where one has died."""
        self._processes.remove(process)
        code = process.process.wait()
        self._deaths += 1
        if (code > 0 and not process.has_answered) or self._deaths > MOST_DEATHS:
            told = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise StoreError(f"the processes that parse end with {told}")
        left = [task for task in process.tasks if not task.is_done]
        if len(process.tasks) == len(left) == 1 and left[0].is_apart:
            self._count_crash(left[0])
        for task in left:
            task.is_apart = True
        self._backlog.extendleft(task for task in reversed(left) if not task.is_done)

    def _count_crash(self, task: Task) -> None:
        task.crashes += 1
        if task.crashes >= MOST_CRASHES:
            self._deaths = 0  # the page was it
            task.result, task.is_done = Died(task.crashes), True


def _load(process: _Process) -> tuple[bool, int]:
    """The one that is ready and has the fewest tasks is the next to get some."""
    return not process.has_answered, len(process.tasks)


def _widened(pipe: int) -> int:
    """How many bytes fit into a pipe, made wider where the system lets us (Linux)."""
    with suppress(AttributeError, OSError):
        return fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    with suppress(AttributeError, OSError):
        return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)
    return 2**14


def in_order(
    pool: ParsePool, source: Callable[[], Sequence[Any]]
) -> Generator[tuple[Any, Any] | None, None, None]:
    """Each item of `source` with its result, in its order; None now and then while one is waited for.

    `source` is asked for more while there is room, also after it had none. Ends when it has none and all
    results are given out.
    """
    tasks: deque[Task] = deque()
    try:
        while True:
            while pool.has_room and (items := source()):
                more = [Task(item) for item in items]
                tasks.extend(more)
                pool.submit(more)
            if not tasks:
                return
            if not tasks[0].is_done:
                pool.wait(_LOOK_EVERY)
            if not tasks[0].is_done:
                yield None
            while tasks and tasks[0].is_done:
                task = tasks.popleft()
                yield task.value, task.result
    finally:
        pool.drop(tasks)
