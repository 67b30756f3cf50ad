"""Workers on the hosts of a Ray cluster: the same processes, placed by Ray, heard and ended from here.

An actor on a host starts the worker and passes its lines on; it has no state but that process. What a worker
has done is in the store. So an actor that is lost with its host is a worker that died.
"""

import ipaddress
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from scraper.errors import UsageError

_LOST = -signal.SIGKILL  # the host or its actor is gone
_WRONG = 1  # no worker could be started there
_READERS = 4  # calls that an actor takes at once: one that waits for a line must not hold up the others


class WorkerActor:
    """A worker process on some host, as a Ray actor that passes its lines on."""

    def __init__(self, folder: str, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scraper.app.running.worker"],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def host(self) -> str:
        """The name of the host."""
        return platform.node()

    def read(self) -> str:
        """The next line of the worker; empty at its end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def write(self, line: str) -> None:
        """Give the worker a line; one that is dead does not hear it."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def terminate(self) -> None:
        """Ask the worker to end."""
        self._process.terminate()

    def wait(self) -> int:
        """The worker's exit code, as `Popen.wait`."""
        return self._process.wait()


class RayCluster:
    """Starts workers on a cluster. UsageError where it may not or cannot be reached."""

    def __init__(self, address: str, store: str | None) -> None:
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
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", namespace="scraper")
        except Exception as error:
            told = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise UsageError(f"no Ray cluster at {address}: {told}", "ray start --head begins one") from error
        finally:
            # Ray has its own idea of what a signal means.
            for number, handler in handlers.items():
                signal.signal(number, handler)
        self._actors = ray.remote(WorkerActor).options(
            num_cpus=0, scheduling_strategy="SPREAD", max_concurrency=_READERS, max_restarts=0
        )

    def start(self) -> "RayWorker":
        """Start a worker on some host, in the folder that has the path of this one."""
        environment = {name: value for name, value in os.environ.items() if name.startswith("SCRAPER_")}
        return RayWorker(self._ray, self._actors.remote(str(Path.cwd()), environment))

    def close(self) -> None:
        """Leave the cluster; workers that are left end with their actors."""
        self._ray.shutdown()


class RayWorker:
    """A worker on some host, with the pipes and verbs of a process here."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        reading, self._lines = os.pipe()
        self._orders, writing = os.pipe()
        self.stdout: IO[str] = os.fdopen(reading, "r", encoding="utf-8")
        self.stdin: IO[str] = os.fdopen(writing, "w", encoding="utf-8")
        self._code = _WRONG
        self._has_ended = threading.Event()
        threading.Thread(target=self._hear, name="ray-lines", daemon=True).start()
        threading.Thread(target=self._pass_on, name="ray-orders", daemon=True).start()

    def terminate(self) -> None:
        """Ask it to end; from a signal handler too, where Ray may be in the middle of something."""
        threading.Thread(target=self._terminate, name="ray-terminate", daemon=True).start()

    def wait(self) -> int:
        """Its exit code; negative where a signal ended it, or its host is gone."""
        self._has_ended.wait()
        return self._code

    def _terminate(self) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.get(self._actor.terminate.remote())

    def _hear(self) -> None:
        try:
            self._ray.get(self._actor.host.remote())
            self._code = _LOST
            while line := self._ray.get(self._actor.read.remote()):
                os.write(self._lines, line.encode())
            self._code = self._ray.get(self._actor.wait.remote())
        except Exception as error:  # Ray's own, of many kinds
            if self._code == _WRONG:
                print(f"a worker could not be started: {_last_line(error)}", file=sys.stderr)
        finally:
            with suppress(Exception):
                self._ray.kill(self._actor)
            self._has_ended.set()
            os.close(self._lines)

    def _pass_on(self) -> None:
        with suppress(Exception), os.fdopen(self._orders, encoding="utf-8") as orders:
            for line in orders:
                self._ray.get(self._actor.write.remote(line))


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
