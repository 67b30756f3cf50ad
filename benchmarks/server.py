"""The site: a fast HTTP/1.1 server in a process of its own, `python -m benchmarks.server`.

It answers every address of 127.0.0.0/8, so that each is a host and a domain of its own, and any host name
that a client asks it for as a proxy. It notes when each request arrived, and tells under /-/log,
/-/count/PREFIX, /-/load and /-/reset.
"""

import argparse
import asyncio
import gc
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import content
from benchmarks.behaviours import Plain, behaviour_of

_END = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024


class Hit(NamedTuple):
    """One request: when it arrived (seconds of the server's monotonic clock), for which host, for what."""

    at: float
    host: str
    path: str


class _Hosts:
    """Every host's behaviour and the log of all requests."""

    def __init__(self) -> None:
        self.log: list[tuple[int, str, str]] = []
        self._behaviours: dict[str, Plain] = {}

    def behaviour(self, host: str) -> Plain:
        found = self._behaviours.get(host)
        if found is None:
            found = self._behaviours[host] = behaviour_of(host)
        return found

    def control(self, verb: str) -> bytes:
        """An answer to the harness."""
        if verb == "log":
            return content.as_json(self.log)
        if verb.startswith("count/"):
            return content.as_json(sum(path.startswith(verb[5:]) for _, _, path in self.log))
        if verb == "load":
            return content.as_json([time.process_time(), time.monotonic()])
        if verb == "reset":
            self.log.clear()
            self._behaviours.clear()
            return content.as_json(None)
        return content.MISSING


class _Exchange(asyncio.Protocol):
    """One connection: keep-alive, requests without a body."""

    def __init__(self, hosts: _Hosts, call_later: Callable[..., Any]) -> None:
        self._hosts = hosts
        self._call_later = call_later
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if not transport.get_extra_info("sockname")[0].startswith("127."):
            transport.abort()  # bound to every address for the sake of 127.x.y.z alone

    def data_received(self, data: bytes) -> None:
        at = time.monotonic_ns()
        if self._rest:
            data = self._rest + data
        while (end := data.find(_END)) >= 0:
            self._answer(data[:end], at)
            data = data[end + 4 :]
        self._rest = data
        if len(data) > _MOST_HEAD:
            self._transport.abort()

    def _answer(self, head: bytes, at: int) -> None:
        try:
            host, path = _asked(head)
        except ValueError:
            self._transport.abort()
            return
        if path.startswith("/-/"):
            self._send(self._hosts.control(path[3:]))
            return
        self._hosts.log.append((at, host, path))
        reply = self._hosts.behaviour(host).reply(path, at / 1e9)
        if not reply.data:
            self._transport.abort()
        elif reply.wait:
            self._call_later(reply.wait, self._send, reply.data)
        else:
            self._send(reply.data)

    def _send(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)


def _asked(head: bytes) -> tuple[str, str]:
    """Host (no port) and path of a request, direct or to a proxy; ValueError where it is neither."""
    line, _, fields = head.partition(b"\r\n")
    _, target, _ = line.split(b" ")
    if target.startswith(b"http://"):
        host, slash, path = target[7:].partition(b"/")
        target = slash + path or b"/"
    else:
        start = fields.lower().index(b"host:")
        host = fields[start + 5 :].partition(b"\r\n")[0].strip()
    return host.partition(b":")[0].decode("ascii").lower(), target.decode("ascii")


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    hosts = _Hosts()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("0.0.0.0", port))
    server = await loop.create_server(lambda: _Exchange(hosts, loop.call_later), sock=listener, backlog=4096)
    gc.freeze()
    print(listener.getsockname()[1], flush=True)
    # The harness holds the other end of standard input: when it is gone, so is the site.
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


class Site:
    """The site as the harness sees it: started, asked, stopped."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server"],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        """The absolute URL of a path on one of the site's hosts."""
        return f"http://{host}:{self.port}{path}"

    def log(self) -> list[Hit]:
        """Every request since the last reset, in order of arrival."""
        return [Hit(at / 1e9, host, path) for at, host, path in self._ask("log")]

    def count(self, prefix: str = "/") -> int:
        """How many requests there were since the last reset for paths that begin so."""
        count: int = self._ask(f"count{prefix}")
        return count

    def load(self) -> tuple[float, float]:
        """CPU seconds used so far, and the server's monotonic clock."""
        cpu, now = self._ask("load")
        return cpu, now

    def reset(self) -> None:
        """Forget the log and what the hosts remember."""
        self._ask("reset")

    def _ask(self, verb: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", f"/-/{verb}")
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
