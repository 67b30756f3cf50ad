"""One request and its answer over a connection of ours, and what of the answer is here already."""

import ssl
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.connectionpool import HTTPConnectionPool

from scraper.http.framing import Part, part_of

MOST_AHEAD = 2**20  # bytes of an answer that are read ahead; whoever wants more of it waits for it


class Http1Exchange:
    """One request and its answer over a connection of a pool, which is given back at the end."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        self._pool = pool
        self._connection: Any = pool._get_conn()
        self._method = ""

    def send(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, timeout: float
    ) -> None:
        """Send a request; `timeout` (s) is for the connection."""
        connection = self._connection
        connection.timeout = timeout
        self._method = method
        connection.request(
            method, target, body=body, headers=headers, preload_content=False, decode_content=False
        )

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return int(self._connection.sock.fileno())

    def pull(self) -> Part:
        """Read what has come once the socket is ready, without waiting; how much of the answer is here."""
        sock = self._connection.sock
        try:
            data = sock.pull()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            return Part.MORE
        except OSError as trouble:
            sock.broken = trouble  # told when it is read
            return Part.WHOLE
        sock.ahead += data
        if not data:
            return Part.WHOLE  # the end of the connection is the end of the answer
        if len(sock.ahead) > MOST_AHEAD:
            return Part.UNSURE
        return part_of(sock.ahead, self._method)

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer was read."""
        return bool(self._connection.sock.ahead)

    def answer(self, timeout: float) -> urllib3.HTTPResponse:
        """The answer's head; `timeout` (s) is for each read."""
        self._connection.timeout = timeout
        return self._connection.getresponse()  # type: ignore[no-any-return]

    def end(self, *, is_whole: bool) -> None:
        """Give the connection back; what is left of a broken answer must not stand before the next one."""
        sock = self._connection.sock
        if not is_whole or (sock is not None and (sock.ahead or sock.broken)):
            self._connection.close()
        self._pool._put_conn(self._connection)
