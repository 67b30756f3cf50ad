"""CONNECT: a proxy's answer is read by the bounds of every other answer (RFC 9110 9.3.6)."""

from collections.abc import Mapping
from typing import Any

from scraper.errors import ConnectFailed, FetchError, TimedOut
from scraper.http.fair_share import FairShare
from scraper.http.framing import ResponseParser
from scraper.http.request_head import request_head
from scraper.http.response_head import ResponseHead
from scraper.http.response_stream import receive

_MOST_REASON = 100  # characters


def open_tunnel(
    sock: Any, host: str, port: int, headers: Mapping[str, Any], timeout: float | None, deadline: float
) -> None:
    """Have a proxy connect us through to a host; ConnectFailed says why it did not.

    `timeout`: seconds for each read. What the proxy sends behind its answer is not the other side's: that
    waits for our greeting (RFC 8446 2).
    """
    target = f"[{host}]:{port}" if ":" in host and host[:1] != "[" else f"{host}:{port}"
    sock.sendall(request_head("CONNECT", target, [("Host", target), *headers.items()]))
    parser, share = ResponseParser("CONNECT"), FairShare()
    try:
        while (head := parser.head) is None:
            receive(sock, parser, share, timeout, deadline)
    except TimeoutError as error:
        raise TimedOut("the proxy did not answer in time") from error
    except (FetchError, ConnectionError) as error:
        raise ConnectFailed(f"the proxy did not connect: {error}") from error
    _check(head, parser)
    sock.settimeout(timeout)


def _check(head: ResponseHead, parser: ResponseParser) -> None:
    if not 200 <= head.status < 300:
        told = f"{head.status} {head.reason}".strip()
        raise ConnectFailed(f"the proxy refused to connect: {told[:_MOST_REASON]}")
    if parser.surplus:
        raise ConnectFailed("the proxy answers for the site")
