"""An answer that is read where it is waited for, in the shape that urllib3 and `requests` expect."""

import http.client
from email.message import Message
from typing import Any, Protocol

import urllib3

from scraper.errors import ConnectFailed, FetchError, TooLarge
from scraper.http.body import Body, codings_of
from scraper.http.fair_share import FairShare
from scraper.http.framing import ResponseParser
from scraper.http.response_head import ResponseHead
from scraper.ops.clock import monotonic, sleep

CHUNK = 65_536


class Closable(Protocol):
    """A connection: its socket, and the way to be rid of it."""

    sock: Any
    used_at: float

    def found_unasked(self, data: bytes) -> None: ...

    def close(self) -> None: ...


def receive(
    sock: Any, parser: ResponseParser, share: FairShare, timeout: float | None, deadline: float
) -> None:
    """Wait for more of an answer and read it, once. TimeoutError by the deadline (monotonic) at last."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the exchange's deadline has passed")
    if pause := share.pause:
        sleep(min(pause, left))
    with share:
        if parser.has_more:
            return parser.feed(b"")
        sock.settimeout(left if timeout is None else min(timeout, left))
        take_in(parser, sock.recv(CHUNK))


def take_in(parser: ResponseParser, data: bytes) -> None:
    """Give a parser what was read; nothing is the end of the connection."""
    if data:
        parser.feed(data)
    elif parser.has_begun:
        parser.end()
    else:
        raise ConnectFailed("closed without an answer")


class ResponseStream:
    """The body of one answer as a file: read-only, without its framing and transfer codings.

    The connection is closed at the end unless it may serve again, and with an answer left unread.
    """

    def __init__(
        self, connection: Closable, method: str, timeout: float | None, deadline: float, limit: float
    ) -> None:
        self._connection = connection
        self._parser = ResponseParser(method)
        self._timeout = timeout
        self._deadline = deadline
        self._limit = limit
        self._buffer = bytearray()
        self._is_closed = False
        self._share = FairShare()

    def read_head(self) -> ResponseHead:
        """Wait for the head."""
        while self._parser.head is None:
            self._wait()
        if self._parser.framing.codings:
            self._undo_codings()
        return self._parser.head

    def _undo_codings(self) -> None:
        body = Body(self._parser.framing.codings, self._limit)
        while not self._parser.is_complete:
            self._wait()
            body.write(self._parser.take_body())
        body.write(self._parser.take_body())
        self._buffer += body.finish(is_framed=self._parser.framing.is_delimited)

    def read(self, amount: int | None = None) -> bytes:
        """So many bytes, fewer at the end; without an amount all."""
        while (amount is None or len(self._buffer) < amount) and self._receive():
            pass
        return self._give(amount)

    def read1(self, amount: int | None = None) -> bytes:
        """What is there, at most so many bytes; waits where there is nothing."""
        while not self._buffer and self._receive():
            pass
        return self._give(amount)

    def _receive(self) -> bool:
        if self._is_closed:
            return False
        if (came := self._parser.take_body()) or self._parser.is_complete:
            self._buffer += came
            return bool(came)
        try:
            self._wait()
        except FetchError as error:
            self.close()
            raise http.client.HTTPException(str(error), error) from error
        came = self._parser.take_body()
        self._share.size += len(came)
        self._buffer += came
        return True

    def _wait(self) -> None:
        receive(self._connection.sock, self._parser, self._share, self._timeout, self._deadline)

    def _give(self, amount: int | None) -> bytes:
        given = bytes(self._buffer[:amount])
        del self._buffer[: len(given)]
        if self._parser.is_complete and not self._buffer:
            self.close()
        return given

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer came."""
        return self._parser.has_begun

    @property
    def is_reusable(self) -> bool:
        """Whether the connection may serve again now."""
        return self._parser.is_reusable

    def isclosed(self) -> bool:
        """Whether everything was read, or nobody wants more."""
        return self._is_closed

    def close(self) -> None:
        """Read no more."""
        if not self._is_closed:
            self._is_closed = True
            self._connection.used_at = monotonic()
            if self._parser.surplus:
                self._connection.found_unasked(self._parser.surplus)
            if not self._parser.is_reusable:
                self._connection.close()

    def flush(self) -> None:
        """Nothing is written."""

    @property
    def msg(self) -> Message:
        """The fields as the standard library has them: `requests` looks for cookies there."""
        message = Message()
        for name, value in self._parser.head.headers.items_all() if self._parser.head else ():
            message[name] = value
        return message


class LimitedResponse(urllib3.HTTPResponse):
    """An answer that ends with an error where it grows beyond `max_body` after decompression, or where its
    compressed body is damaged or ends too early."""

    max_body = float("inf")

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Any:
        value = "" if decode_content is False else self.headers.get("content-encoding", "")
        size = 0
        try:
            for chunk in self._decoded(amt, codings) if (codings := codings_of(value)) else self._pieces(amt):
                size += len(chunk)
                if size > self.max_body:
                    raise TooLarge(f"body over {self.max_body:.0f} bytes")
                yield chunk
        except FetchError as error:
            self.close()
            raise urllib3.exceptions.ProtocolError(str(error), error) from error

    def _decoded(self, amt: int | None, codings: tuple[str, ...]) -> Any:
        body = Body(codings, self.max_body)
        for coded in self._pieces(amt):
            body.write(coded)
            while decoded := body.drain():
                yield decoded
        if rest := body.finish(is_framed=self.chunked or "content-length" in self.headers):
            yield rest

    def _pieces(self, amt: int | None) -> Any:
        if not self.chunked or amt == 0:
            yield from super().stream(amt, decode_content=False)
            return
        # What comes in chunks is given as it comes: somebody may wait for the next line of it.
        while (data := self.read1(amt, decode_content=False)) or not self.closed:
            if data:
                yield data


def response_of(
    stream: ResponseStream, head: ResponseHead, method: str, max_body: float, **options: Any
) -> LimitedResponse:
    """What urllib3 makes of an answer; `options` are those of its class."""
    major, minor = head.version
    response = LimitedResponse(
        body=stream,  # type: ignore[arg-type]  # a file as far as it is used
        headers=urllib3.HTTPHeaderDict(head.headers.items_all()),
        status=head.status,
        version=10 * major + minor,
        version_string=f"HTTP/{major}.{minor}",
        reason=head.reason,
        original_response=stream,  # type: ignore[arg-type]
        enforce_content_length=False,  # the framing is looked after here
        request_method=method,
        **options,
    )
    response.max_body = max_body
    return response
