"""Connections through a SOCKS proxy (RFC 1928), whose answers end at the deadline of their exchange.

Imported only for such a proxy: PySocks, which speaks to it, is an extra.
"""

import socket
from typing import Any

import socks
from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection
from urllib3.exceptions import NewConnectionError

from scraper.http.connection import LimitedConnection
from scraper.http.timed_sockets import shorten


class _Socket(socks.socksocket):  # type: ignore[misc]  # PySocks has no types
    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        shorten(self)  # PySocks gives each read the whole timeout
        return int(super().recv_into(buffer, nbytes, flags))


class SocksConnection(LimitedConnection, SOCKSConnection):
    """A connection that the proxy makes, and for which it resolves."""

    def _opened(self) -> Any:
        asked, failure = self._socks_options, None
        address, port = asked["proxy_host"] or "", asked["proxy_port"]
        for family, kind, protocol, _, _ in socket.getaddrinfo(address, port, 0, socket.SOCK_STREAM):
            sock = _Socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout if isinstance(self.timeout, int | float) else None)
                names = (asked["rdns"], asked["username"], asked["password"])
                sock.set_proxy(asked["socks_version"], address, port, *names)
                sock.connect((self.host.strip("[]"), self.port))
                return sock
            except OSError as error:  # what PySocks raises too
                sock.close()
                failure = error
        raise NewConnectionError(self, str(failure)) from failure


class SocksTlsConnection(SocksConnection, SOCKSHTTPSConnection):
    """The same with TLS to the site."""
