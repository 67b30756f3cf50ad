"""Real servers from Debian's packages, each in the foreground as a child of the test."""

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CONFIG = """daemon off;
worker_processes 1;
error_log stderr warn;
pid {prefix}/nginx.pid;
{user}
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format requests '$msec $request_method $request_uri $status $connection';
    access_log {prefix}/access.log requests;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    keepalive_requests 100000;
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        index index.html;
        {extra}
    }}
}}
"""


class Nginx:
    """A running nginx over a folder; `requests` is its access log."""

    def __init__(self, prefix: Path, root: Path, extra: str = "") -> None:
        binary = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        assert binary, "nginx is missing: .ci/run installs it"
        self.port = _free_port()
        self.prefix = prefix
        config = prefix / "nginx.conf"
        # As root it would give its worker to nobody, who cannot read a test's folder.
        user = "user root;" if os.getuid() == 0 else ""
        config.write_text(CONFIG.format(prefix=prefix, root=root, port=self.port, user=user, extra=extra))
        self._errors = (prefix / "stderr.log").open("w")
        command = [binary, "-p", str(prefix), "-c", str(config), "-e", "stderr"]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=self._errors)
        self._wait_until_open()

    def url(self, path: str = "/") -> str:
        """The absolute URL of a path."""
        return f"http://127.0.0.1:{self.port}{path}"

    def requests(self) -> list[list[str]]:
        """Fields of each request so far: epoch seconds at its end, method, path, status, connection."""
        return [line.split() for line in (self.prefix / "access.log").read_text().splitlines()]

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)
        self._errors.close()

    def _wait_until_open(self) -> None:
        for _ in range(500):
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except ConnectionRefusedError:
                # Whether its port is open is all that it tells of being ready.
                try:
                    self._process.wait(0.02)
                except subprocess.TimeoutExpired:
                    pass
        self._process.kill()
        raise AssertionError(f"nginx did not start: {(self.prefix / 'stderr.log').read_text()}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[Callable[..., Nginx]]:
    """Make servers: `nginx(folder)`, or `nginx(folder, extra="limit_rate 1k;")`."""
    servers: list[Nginx] = []

    def make(root: Path, extra: str = "") -> Nginx:
        prefix = tmp_path / f"nginx-{len(servers)}"
        prefix.mkdir()
        servers.append(Nginx(prefix, root, extra))
        return servers[-1]

    yield make
    for server in servers:
        server.stop()
