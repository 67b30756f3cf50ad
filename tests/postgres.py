"""A PostgreSQL server of the tests' own: in a temporary folder, on a free port of loopback, not as root."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "deadlock_timeout": "200ms",
    "listen_addresses": "127.0.0.1",
    "log_min_messages": "fatal",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


def binaries() -> Path | None:
    """The folder of the newest server that is installed; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    if found:
        return found[-1].parent
    here = shutil.which("postgres")
    return Path(here).parent if here else None


class Server:
    """One server; each `database` in it is new and empty."""

    def __init__(self) -> None:
        found = binaries()
        assert found is not None, "no PostgreSQL server is installed"
        self._bin = found
        self.folder = Path(tempfile.mkdtemp(prefix="pg-"))
        # The server refuses to run as root.
        self._user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._run("initdb", "-D", self.data, "-U", "scraper", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self._count = 0
        self.start()

    @property
    def data(self) -> str:
        return str(self.folder / "data")

    def start(self) -> None:
        """Start it, or start it again."""
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        options = f"-p {self.port} -k {self.folder} {settings}"
        self._run(
            "pg_ctl",
            "-D",
            self.data,
            "-w",
            "-t",
            "60",
            "-l",
            str(self.folder / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self, mode: str = "fast") -> None:
        """End it in a manner of `pg_ctl stop`."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """kill -9 of the server's first process; the others end when they notice."""
        pid = int((Path(self.data) / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    def revive(self) -> None:
        """Start it after a kill, as soon as the last of its processes has noticed."""
        for _ in range(100):
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.start()
            time.sleep(0.1)
        raise AssertionError("the server does not start")

    def url(self, database: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql://scraper@127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The URL of a new database."""
        self._count += 1
        self.execute(f"CREATE DATABASE t{self._count}")
        return self.url(f"t{self._count}")

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute(sql)  # type: ignore[arg-type]
            return found.fetchall() if found.description else []

    def remove(self) -> None:
        """End it and forget what it held."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        user = self._user.pw_uid if self._user is not None else None
        group = self._user.pw_gid if self._user is not None else None
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            user=user,
            group=group,
            extra_groups=[] if user is not None else None,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=120,
        )
