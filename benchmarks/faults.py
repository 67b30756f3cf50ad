"""Faults between hosts and their PostgreSQL server, one at a time, each undone before it returns."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.postgres import Server
from tests.project import Project, Started
from tests.proxy import Proxy

# Nothing is left, the store failed or could not be reached at the start, taken for dead, asked to end.
_EXPECTED = {0, 1, 2, 75, 143, -9, -15}  # -15: before it has begun to listen
_OURS = "FROM pg_stat_activity WHERE application_name = 'scraper'"


@dataclass
class Host:
    """A host of a round: one worker in a folder of its own, by way of a proxy; started again when it ends."""

    name: str
    project: Project
    proxy: Proxy
    command: tuple[str, ...]
    env: dict[str, str]
    started: Started | None = None
    starts: int = 0
    rests_until: float = 0.0  # before that it is not started again
    codes: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start the worker, with little right to the processor."""
        self.started = self.project.start(*self.command, env=self.env)
        self.starts += 1
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.started.process.pid, 10)

    def signal(self, number: int) -> None:
        """Send a signal, if there is somebody to hear it."""
        if self.started is not None and self.started.process.poll() is None:
            self.started.signal(number)

    def has_ended(self) -> bool:
        """Whether the worker has ended since it was looked at last."""
        return self.started is not None and self.started.process.poll() is not None

    def note_end(self) -> None:
        """Wait for the worker's end, and keep what it came to."""
        assert self.started is not None
        ended = self.started.wait()
        self.started = None
        self.codes.append(ended.code)
        if ended.code in (1, 2):
            self.failures += [line for line in ended.err.splitlines() if line.startswith("error: ")]
        if ended.code not in _EXPECTED or "Traceback" in ended.err:
            self.surprises.append(f"{self.name} ended with {ended.text[-2000:]}")


class Faults:
    """Random faults to the hosts and the server of one round."""

    def __init__(
        self, server: Server, store: str, hosts: list[Host], dice: random.Random, lease: float
    ) -> None:
        self._server, self._store, self._hosts, self._dice, self._lease = server, store, hosts, dice, lease
        self._server_lock = threading.Lock()
        self.done: list[tuple[float, str, str]] = []
        self._kinds: dict[str, Callable[[Host, float], None]] = {
            "kill -9": lambda host, _: host.signal(signal.SIGKILL),
            "SIGTERM": lambda host, _: host.signal(signal.SIGTERM),
            "frozen": self._freeze,
            "partition": self._part,
            "connections cut": lambda host, _: host.proxy.cut(),
            "COMMIT's answer cut": lambda host, _: host.proxy.cut_answer(b"COMMIT\0"),
            "server killed": lambda _, seconds: self._restart("kill", seconds),
            "server stopped, immediate": lambda _, seconds: self._restart("immediate", seconds),
            "server stopped, fast": lambda _, seconds: self._restart("fast", seconds),
            "no connection left": self._exhaust,
            "backend frozen": self._freeze_backend,
            "foreign transaction": self._foreign,
            "run away": self._take_away,
            "SIGTERM storm": self._storm,
            "server killed at a COMMIT": self._kill_at_commit,
        }

    @property
    def kinds(self) -> list[str]:
        """Their names."""
        return list(self._kinds)

    def inject(self, kind: str) -> None:
        """Do it and undo it; half of those that last are longer than a lease."""
        host = self._dice.choice(self._hosts)
        seconds = self._lease * self._dice.choice((0.3, 0.8, 1.6, 2.5))
        self.done.append((time.monotonic(), kind, host.name))
        with contextlib.suppress(psycopg.Error, ProcessLookupError):
            self._kinds[kind](host, seconds)

    def wait_for_server(self) -> None:
        """Until the server is up again, after whatever is being done to it."""
        with self._server_lock:
            pass

    def _freeze(self, host: Host, seconds: float) -> None:
        victim = host.started
        host.signal(signal.SIGSTOP)
        time.sleep(seconds)
        if victim is not None and victim.process.poll() is None:
            victim.signal(signal.SIGCONT)

    @staticmethod
    def _part(host: Host, seconds: float) -> None:
        host.proxy.hold()
        time.sleep(seconds)
        host.proxy.heal()

    def _restart(self, how: str, seconds: float) -> None:
        with self._server_lock:
            if how == "kill":
                self._server.kill()
            else:
                self._server.stop(how)
            time.sleep(seconds / 4)
            self._server.revive()

    def _exhaust(self, _: Host, seconds: float) -> None:
        with self._server_lock, ExitStack() as taken, psycopg.connect(self._store, autocommit=True) as mine:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                with contextlib.suppress(psycopg.OperationalError):
                    while True:
                        taken.enter_context(psycopg.connect(self._store))
                mine.execute(f"SELECT pg_terminate_backend(pid) {_OURS}")
                time.sleep(0.05)

    def _take_away(self, _: Host, seconds: float) -> None:
        """Kill one of those that began the runs; for a while the helpers are alone."""
        host = self._dice.choice([one for one in self._hosts if one.command[0] == "run"])
        host.rests_until = time.monotonic() + seconds
        host.signal(signal.SIGKILL)

    def _storm(self, _: Host, seconds: float) -> None:
        for _ in range(3):
            for host in self._hosts:
                if self._dice.random() < 0.7:
                    host.signal(signal.SIGTERM)
            time.sleep(seconds / 10)

    def _kill_at_commit(self, host: Host, seconds: float) -> None:
        """Kill the server when it has answered a COMMIT that nobody hears of."""
        host.proxy.cut_answer(b"COMMIT\0")
        end = time.monotonic() + 2 * self._lease
        while host.proxy.is_to_cut and time.monotonic() < end:
            time.sleep(0.001)
        self._restart("kill", seconds)

    def _freeze_backend(self, _: Host, seconds: float) -> None:
        with self._server_lock:
            with psycopg.connect(self._store, autocommit=True) as mine:
                found = mine.execute(f"SELECT pid {_OURS}").fetchall()
            if not found:
                return
            pid = self._dice.choice(sorted(found))[0]
            os.kill(pid, signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _foreign(self, _: Host, seconds: float) -> None:
        with self._server_lock, psycopg.connect(self._store) as foreign:
            foreign.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            for table in ("urls", "domains", "queues", "workers", "runs"):
                foreign.execute(f"SELECT count(*) FROM {table}")
            time.sleep(seconds)


class Lag:
    """How late this process is woken, when: what its sites note can be so much too late."""

    _EVERY = 0.01

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch while this lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._ends.set()
            self._thread.join()

    def most(self, since: float, until: float) -> float:
        """The longest delay of a time, in seconds."""
        return max((late for at, late in self._late if since <= at <= until + late + 1.0), default=0.0)

    def _look(self) -> None:
        while not self._ends.is_set():
            before = time.monotonic()
            time.sleep(self._EVERY)
            after = time.monotonic()
            if after - before > 2 * self._EVERY:
                self._late.append((after, after - before - self._EVERY))


def ask(store: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement, as soon as the server answers."""
    for _ in range(100):
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(store, autocommit=True) as asked:
            return asked.execute(sql).fetchall()  # type: ignore[arg-type]
        time.sleep(0.1)
    raise AssertionError("the server does not answer")
