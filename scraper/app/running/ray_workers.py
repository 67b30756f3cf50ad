"""Workers on the hosts of a Ray cluster: the same processes, placed by Ray, heard and ended from here.

An actor on a host starts the process and passes its bytes on; it has no state but that process. What a worker
has done is in the store, and a parse process owns nothing. So an actor that is lost with its host is a
process that died.
"""

import ipaddress
import logging
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from scraper.errors import UsageError

_LOST = -signal.SIGKILL  # the host or its actor is gone
_WRONG = 1  # no process could be started anywhere
_READERS = 4  # calls that an actor takes at once: one that waits for bytes must not hold up the others
_CHUNK = 2**18
# Seconds before a process that could not be placed is placed again: Ray takes about half a minute to notice
# that a host is gone, and until then may choose it.
_BACKOFF = (1.0, 2.0, 4.0, 8.0, 16.0, 16.0)


class ProcessActor:
    """A process of ours on some host, as a Ray actor that passes on what it reads and writes."""

    def __init__(self, module: str, folder: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def host(self) -> str:
        """The name of the host."""
        return platform.node()

    def read(self) -> bytes:
        """What the process has written; empty at its end."""
        assert self._process.stdout is not None
        return os.read(self._process.stdout.fileno(), _CHUNK)

    def write(self, data: bytes) -> None:
        """Give the process something to read; one that is dead does not hear it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            _write(self._process.stdin.fileno(), data)

    def terminate(self) -> None:
        """Ask the process to end."""
        self._process.terminate()

    def wait(self) -> int:
        """Its exit code, as `Popen.wait`."""
        return self._process.wait()


class RayCluster:
    """Starts processes on a cluster. UsageError where it may not or cannot be reached.

    `tell`: hears, from any thread, what could not be placed.
    """

    def __init__(self, address: str, store: str | None, tell: Callable[[str], None]) -> None:
        if not is_this_machine(address):
            _demand_token(address)
            if not (store or "").startswith(("postgresql://", "postgres://")):
                raise UsageError(
                    f"the hosts of {address} cannot share an SQLite file",
                    "keep the project on --store postgresql://...",
                )
        try:
            # Imported here: an extra, and seconds of loading.
            import ray
        except ImportError:
            raise UsageError("--ray needs Ray", "pip install 'scraper[ray]'") from None
        self._ray: Any = ray
        self._tell = tell
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="scraper",
                ignore_reinit_error=True,  # of `check`, which looks at one spider after the other
            )
        except Exception as error:
            told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UsageError(f"no Ray cluster at {address}: {told}", "ray start --head begins one") from error
        finally:
            # Ray has its own idea of what a signal means.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._actors = ray.remote(ProcessActor).options(
            num_cpus=0, scheduling_strategy="SPREAD", max_concurrency=_READERS, max_restarts=0
        )

    def start(self, module: str) -> "RayProcess":
        """Start `python -m module` on some host, in the folder that has the path of this one."""
        environment = {name: value for name, value in os.environ.items() if name.startswith("SCRAPER_")}
        folder = str(Path.cwd())
        return RayProcess(self._ray, lambda: self._actors.remote(module, folder, environment), self._tell)

    def close(self) -> None:
        """Leave the cluster; processes that are left end with their actors."""
        self._ray.shutdown()


class RayProcess:
    """A process on some host, with pipes (of bytes) and verbs as one here has them."""

    def __init__(self, ray: Any, place: Callable[[], Any], tell: Callable[[str], None]) -> None:
        self._ray, self._place, self._tell = ray, place, tell
        self._actor: Any = None
        reading, self._output = os.pipe()
        self._input, writing = os.pipe()
        self.stdout: IO[bytes] | None = os.fdopen(reading, "rb")
        self.stdin: IO[bytes] | None = os.fdopen(writing, "wb")
        self._code = _WRONG
        self._is_unwanted = threading.Event()
        self._has_ended = threading.Event()
        threading.Thread(target=self._hear, name="ray-output", daemon=True).start()

    def terminate(self) -> None:
        """Ask it to end; from a signal handler too, where Ray may be in the middle of something."""
        self._is_unwanted.set()
        threading.Thread(target=self._terminate, name="ray-terminate", daemon=True).start()

    def kill(self) -> None:
        """End it, wherever it is; does not wait for that."""
        self._is_unwanted.set()
        self._code = _LOST
        self._has_ended.set()
        threading.Thread(target=self._end, name="ray-kill", daemon=True).start()

    def wait(self) -> int:
        """Its exit code; negative where a signal ended it, or its host is gone."""
        self._has_ended.wait()
        return self._code

    def _terminate(self) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.get(self._actor.terminate.remote())

    def _end(self) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.kill(self._actor)

    def _hear(self) -> None:
        try:
            self._begin()
            self._code = _LOST
            if self._is_unwanted.is_set():
                self._terminate()  # that was asked for while nobody was there to hear it
            threading.Thread(target=self._pass_on, name="ray-input", daemon=True).start()
            while data := self._ray.get(self._actor.read.remote()):
                _write(self._output, data)
            self._code = self._ray.get(self._actor.wait.remote())
        except Exception as error:  # Ray's own, of many kinds
            if self._code == _WRONG and not self._is_unwanted.is_set():
                self._tell(f"a process could not be started on any host: {_last_line(error)}")
        finally:
            self._end()
            self._has_ended.set()
            os.close(self._output)

    def _begin(self) -> None:
        """Have it placed, and placed again where that fails: elsewhere, as soon as Ray knows of it."""
        for wait in (*_BACKOFF, None):
            self._actor = self._place()
            try:
                self._ray.get(self._actor.host.remote())
                return
            except Exception as error:
                if wait is None or self._is_unwanted.is_set():
                    raise
                self._end()
                self._tell(f"a host does not start a process: {_last_line(error)}; tried again in {wait:g} s")
            if self._is_unwanted.wait(wait):
                raise InterruptedError

    def _pass_on(self) -> None:
        with suppress(Exception), open(self._input, "rb", buffering=0) as given:
            while data := given.read(_CHUNK):
                self._ray.get(self._actor.write.remote(data))


def _write(pipe: int, data: bytes) -> None:
    """Write all of it: a pipe takes as much as has room."""
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def is_this_machine(address: str) -> bool:
    """Whether the host of an address (host:port, ray://host:port) is this machine itself."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]") or address
    if host in ("localhost", "local"):
        return True
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family) as tried:
            tried.bind((host, 0))  # only an address of ours can be
    except (OSError, ValueError):
        return False
    return True


def _demand_token(address: str) -> None:
    """Whoever reaches a cluster without tokens runs code on all of its hosts."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise UsageError(
            f"{address} is not this machine, and Ray would talk to it without a token",
            "start it with RAY_AUTH_MODE=token, and set that and RAY_AUTH_TOKEN here",
        )


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:300] if lines else type(error).__name__
