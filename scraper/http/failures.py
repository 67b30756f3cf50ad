"""What a library raised, as an error of ours that a person understands."""

import errno
import http.client
import re
import socket
import ssl
import zlib
from collections.abc import Callable
from typing import Any

import urllib3
from urllib3.exceptions import HTTPError as WireError

from scraper.errors import BadAnswer, ConnectFailed, FetchError, OutOfFiles, TimedOut, TlsFailed
from scraper.ops.patterns import pattern

# What a site does that drops a connection instead of an answer.
RESET, CLOSED, TIMED_OUT = "connection reset", "closed without an answer", "timed out"
# What this machine lacks, whatever site was asked for: open files, buffers, ports.
_LACKS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL))


def translate(error: Exception) -> FetchError:
    """What a library raised, as an error of ours with a reason that a person understands."""
    if isinstance(error, FetchError):
        return error
    causes = list(_causes(error))
    if any(_is_lack(cause) for cause in causes):
        return OutOfFiles("this machine has no open file or socket left", "raise `ulimit -n`")
    if (of_socks := next((cause for cause in causes if _is_of_socks(cause)), None)) is not None:
        return ConnectFailed(f"the SOCKS proxy did not connect: {_short(of_socks)}")
    for kind, make in _KINDS:
        for cause in causes:
            if isinstance(cause, kind):
                return make(cause)
    return BadAnswer(f"{type(error).__name__}: {_short(error)}")


def _causes(error: BaseException) -> Any:
    seen: set[int] = set()
    queue: list[Any] = [error]
    while queue:
        cause = queue.pop(0)
        if not isinstance(cause, BaseException) or id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        queue += [*cause.args, getattr(cause, "reason", None), cause.__cause__, cause.__context__]


def _is_lack(cause: Any) -> bool:
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return _cannot_open()  # the resolver says "temporary failure", whatever it was that failed
    return isinstance(cause, OSError) and cause.errno in _LACKS


def _cannot_open() -> bool:
    try:
        socket.socket().close()
    except OSError as error:
        return error.errno in _LACKS
    return False


def _short(error: object) -> str:
    text = re.sub(r"<[^<>]{0,200}>|\(Caused by.*", "", str(error))
    return re.sub(r"\s+", " ", text).strip(" :'\"()")[:160]


def _certificate(cause: Any) -> FetchError:
    return TlsFailed(f"certificate: {getattr(cause, 'verify_message', '') or _short(cause)}")


def _tls(cause: Any) -> FetchError:
    reason = getattr(cause, "reason", "") or _short(cause)
    if _OLD_TLS.search(reason):
        told = reason.replace("_", " ").lower()
        return TlsFailed(f'TLS: {told}: too old (setting legacy_tls = {{"HOST": "why"}} allows it)')
    return ConnectFailed(f"TLS: {reason}")


# What OpenSSL 3 says of servers that stopped some ten years ago.
_OLD_TLS = pattern(
    "UNSUPPORTED_PROTOCOL|PROTOCOL_VERSION|NO_PROTOCOLS|KEY_TOO_SMALL|MD_TOO_WEAK|WRONG_SIGNATURE_TYPE|LEGACY|"
    "UNSAFE_LEGACY_RENEGOTIATION|HANDSHAKE_FAILURE|BAD_ECPOINT|WRONG_VERSION_NUMBER_OLD"
)


def _proxy(cause: Any) -> FetchError:
    told = re.search(r"Tunnel connection failed: (.{1,100})", str(cause))
    if told is None:
        return ConnectFailed("the proxy did not connect")
    return ConnectFailed(f"the proxy refused to connect: {_short(told[1])}")


def _is_of_socks(cause: BaseException) -> bool:
    """Whether the optional package that speaks to SOCKS proxies raised it."""
    return type(cause).__module__.partition(".")[0] == "socks"


_KINDS: list[tuple[type | tuple[type, ...], Callable[[Any], FetchError]]] = [
    (FetchError, lambda cause: cause),
    (ssl.SSLCertVerificationError, _certificate),
    (urllib3.exceptions.NameResolutionError, lambda cause: ConnectFailed("the name does not resolve")),
    (urllib3.exceptions.ProxyError, _proxy),
    (ConnectionRefusedError, lambda cause: ConnectFailed("connection refused")),
    # urllib3 counts it among its timeouts, whatever it was that failed.
    (urllib3.exceptions.NewConnectionError, lambda cause: ConnectFailed(_short(cause).rpartition(": ")[2])),
    ((TimeoutError, urllib3.exceptions.TimeoutError), lambda cause: TimedOut(TIMED_OUT)),
    (http.client.RemoteDisconnected, lambda cause: ConnectFailed(CLOSED)),
    (ConnectionError, lambda cause: ConnectFailed(RESET)),
    (ssl.SSLError, _tls),
    (http.client.HTTPException, lambda cause: BadAnswer(f"not HTTP: {_short(cause)}")),
    (zlib.error, lambda cause: BadAnswer("the compressed body is damaged")),
    (OSError, lambda cause: ConnectFailed(cause.strerror or _short(cause))),
    (WireError, lambda cause: BadAnswer(_short(cause))),
]
