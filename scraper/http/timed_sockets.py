"""Sockets whose reads end at the deadline of their exchange, and what they tell of the other side."""

import fcntl
import select
import socket
import ssl
import struct
import termios
from typing import Any

from scraper.http.exchange_limits import current
from scraper.http.response_stream import CHUNK
from scraper.ops.clock import monotonic

_START = 12  # bytes that tell whether an answer begins, and its status


class TimedSocket(socket.socket):
    """A socket whose reads end at the exchange's deadline: a proxy's answer to CONNECT is read by others."""

    _watch: Any = None

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        shorten(self)
        return super().recv_into(buffer, nbytes, flags)

    def pull(self) -> bytes:
        """What has come; empty at its end. BlockingIOError: nothing yet."""
        if self.gettimeout() != 0.0:
            self.setblocking(False)
        return self.recv(CHUNK)

    def push(self, data: bytes) -> bytes:
        """Send what the system takes at once, nearly always all; what is left.

        With a timeout each call to the system would be two: it is asked first whether it would wait.
        """
        if self.gettimeout() != 0.0:
            self.setblocking(False)
        try:
            return data[self.send(data) :]
        except BlockingIOError:
            return data

    def is_quiet(self) -> bool:
        """Whether nothing has come, nor the end."""
        if self._watch is None:
            self._watch = select.poll()
            self._watch.register(self, select.POLLIN)
        return not self._watch.poll(0)

    def left_over(self) -> bytes | None:
        """What comes without a request: None for nothing, empty at the connection's end."""
        try:
            if self.gettimeout() != 0.0:
                self.setblocking(False)  # else Python waits for it, whatever the flags say
            return self.recv(_START, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""


class TimedTlsSocket(ssl.SSLSocket):
    """The same over TLS, where a socket that is ready may have only a part of a record."""

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        shorten(self)
        return super().recv_into(buffer, nbytes, flags)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        shorten(self)  # for TLS within TLS, which reads one record by any number of calls
        return super().recv(buflen, flags)

    def pull(self) -> bytes:
        """What has come, of a socket that is ready; empty at its end. SSLWantReadError: nothing yet."""
        self.setblocking(False)
        data = super().recv(CHUNK)
        while self.pending():
            data += super().recv(CHUNK)  # no selector tells of what is decrypted already
        return data

    def left_over(self) -> bytes | None:
        """The same; what is of TLS alone, session tickets for example, is nothing."""
        self.setblocking(False)
        try:
            return super().recv(_START)  # a byte would be one too many, and end the connection
        except ssl.SSLWantReadError:
            return None
        except OSError:
            return b""


def shorten(sock: socket.socket) -> None:
    """Let the next read wait no longer than until the exchange's deadline; TimeoutError behind it."""
    left = current.deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the exchange's deadline has passed")
    timeout = sock.gettimeout()
    if timeout is None or left < timeout:
        socket.socket.settimeout(sock, left)


def unacknowledged(sock: Any) -> int:
    """Bytes sent over a socket that the other side's system has not acknowledged; 0 where nobody can tell."""
    try:
        return int(struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0])
    except (OSError, ValueError, AttributeError):
        return 0  # TLS within TLS has no socket of its own; other systems than Linux do not count
