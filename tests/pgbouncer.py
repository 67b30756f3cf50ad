"""PgBouncer in transaction mode before a database of the tests' server."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

import psycopg
import pytest


class Pooler:
    """A PgBouncer of the tests' own, with so many connections to the server; `url` leads through it."""

    def __init__(self, url: str, folder: Path, size: int) -> None:
        program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
        if not Path(program).exists():
            pytest.skip("no PgBouncer here: apt-get install pgbouncer")
        info = psycopg.conninfo.conninfo_to_dict(url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port: int = free.getsockname()[1]
        self.url = url.replace(f":{info['port']}/", f":{self._port}/")
        folder.mkdir()
        settings = folder / "pgbouncer.ini"
        (folder / "users").write_text('"scraper" ""\n')
        settings.write_text(
            f"[databases]\n{info['dbname']} = host=127.0.0.1 port={info['port']} user=scraper\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder}/users\npool_mode = transaction\n"
            f"default_pool_size = {size}\nmax_client_conn = 100\n"
        )
        # It refuses to run as root; where the folder is may be closed to others, so it reads by descriptor.
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else None
        place = folder
        while user is not None and place != place.parent:
            place.chmod(place.stat().st_mode | 0o011)
            place = place.parent
        self._process = subprocess.Popen(
            [program, "-q", str(settings)],
            user=user.pw_uid if user else None,
            group=user.pw_gid if user else None,
            extra_groups=[] if user else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Pooler":
        for _ in range(200):
            try:
                psycopg.connect(self.url).close()
                return self
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise AssertionError("PgBouncer does not answer")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
