"""uvicorn, with bounds: connections, the time to send a request, and one wake-up a second when idle."""

import asyncio
import json
import resource
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from scraper.errors import UsageError

MOST_CONNECTIONS = 2_000
OTHER_FILES = 1_000  # of the store, of fetches, of runs that begin
REQUEST_TIME = 20.0  # seconds from the first byte of a connection to the end of a request's head
KEEP_ALIVE = 15
BACKLOG = 1024
DRAIN = 5  # seconds for answers under way when the service ends
_FULL = json.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": f"{MOST_CONNECTIONS} connections are open already",
        "hint": "close some, or ask again later",
    }
).encode()
_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 30\r\n"
    b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(_FULL), _FULL)
)


class Protocol(H11Protocol):
    """Closes a connection that is one too many, or that sends its request too slowly."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.write(_REFUSED)
            transport.close()
            return
        self._expect()

    def data_received(self, data: bytes) -> None:
        if self.cycle is None or self.cycle.response_complete:
            if self._late is None:
                self._expect()
            before = self.cycle
            super().data_received(data)
            if self.cycle is not before:
                self._stop_expecting()
            return
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_expecting()
        super().connection_lost(exc)

    def _expect(self) -> None:
        self._late = self.loop.call_later(REQUEST_TIME, self._give_up)

    def _stop_expecting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Looks once a second whether it is to end; `ending` is called when it is."""

    def __init__(self, config: uvicorn.Config, ending: Callable[[], None]) -> None:
        super().__init__(config)
        self._ending = ending

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(1.0)
        self._ending()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; UsageError says why there can be none."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        opened = socket.socket(family, kind, protocol)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        text = f"cannot listen on {host} port {port}: {(error.strerror or str(error)).lower()}"
        raise UsageError(text, "take another with --port N, or 0 for any that is free") from None
    opened.set_inheritable(False)
    return opened


def allow_files() -> None:
    """Let ourselves have as many connections as we take, where the system does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def serve(app: Any, opened: socket.socket, ending: Callable[[], None]) -> int:
    """Serve until a signal ends it; the exit code, 128 + the signal."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=DRAIN,
        backlog=BACKLOG,
    )
    allow_files()
    server = Server(config, ending)
    try:
        server.run(sockets=[opened])
    except KeyboardInterrupt:
        pass
    return 0
