"""One request and its answer over a connection of ours, read as it comes without waiting, or waited for."""

import ssl
from collections.abc import Mapping
from typing import Any

from scraper.errors import BadAnswer, ConnectFailed
from scraper.http.body import Body, codings_of
from scraper.http.connection import PREMATURE, STALE
from scraper.http.download import Download, FileBody
from scraper.http.fair_share import FairShare
from scraper.http.framing import ResponseParser
from scraper.http.request_head import request_head
from scraper.http.response_head import ResponseHead
from scraper.http.response_stream import receive, take_in

_CUT = (BadAnswer, TimeoutError, ConnectionError)
SETTLE = 1.0  # seconds that more is waited for where the codings say that a body is whole


class Http1Exchange:
    """One `method` request and its answer over a connection of a pool, which is given back at the end.

    `error`: what ended it before it was whole. `is_over`: nothing more is waited for. `share`: what reading
    it has taken.
    """

    def __init__(self, pool: Any, method: str = "GET") -> None:
        self._pool = pool
        self._connection: Any = pool.idle_or_new()
        self._method = method
        self._parser = ResponseParser(method)
        self._body: Body | FileBody | None = None
        self._download: Download | None = None
        self._url = ""
        self._limit = 0.0
        self._is_cut = False
        self.share = FairShare()
        self.error: Exception | None = None
        self.is_over = False

    def send(
        self,
        target: str,
        headers: Mapping[str, Any],
        body: bytes | None,
        timeout: float,
        limit: float,
        *,
        is_cut: bool = False,
        download: Download | None = None,
    ) -> None:
        """Send a request; `timeout` (s) is for the connection, `limit` and `is_cut` for the answer's body.

        `download`: what takes a body that is a file.
        """
        connection = self._connection
        connection.timeout = timeout
        self._limit, self._is_cut = limit, is_cut
        self._download, self._url = download, target
        method = self._method
        fields = [*headers.items()]
        if not any([name.lower() == "host" for name in headers]):
            fields.insert(0, ("Host", connection.host_field(target)))
        if body is not None or method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(body or b""))))
        connection.send_message(request_head(method, target, fields), (body,) if body else ())

    def fileno(self) -> int:
        """The socket's descriptor, for a selector."""
        return int(self._connection.sock.fileno())

    @property
    def has_more(self) -> bool:
        """Whether something has been received that was not looked at yet."""
        return self._parser.has_more

    @property
    def has_begun(self) -> bool:
        """Whether anything of the answer was read."""
        return self._parser.has_begun

    @property
    def is_stale(self) -> bool:
        """Whether the answer is about the time before our request: a kept connection was given up."""
        return self.head is not None and self._connection.is_stale(self.head)

    @property
    def is_heavy(self) -> bool:
        """Whether finishing and parsing the body takes long, by its size."""
        return self._body is not None and self._body.is_heavy

    @property
    def is_saved(self) -> bool:
        """Whether the body goes to disk."""
        return self._download is not None

    @property
    def head(self) -> ResponseHead | None:
        """The answer's head, once it is here."""
        return self._parser.head

    def pull(self) -> bool:
        """Read what has come once the socket is ready, without waiting; whether it is over."""
        try:
            with self.share:
                if self._parser.has_more:
                    self._parser.feed(b"")
                else:
                    data, is_first = self._connection.sock.pull(), not self._parser.has_begun
                    if is_first and data and self._connection.is_premature:
                        raise BadAnswer(PREMATURE)
                    take_in(self._parser, data)
                self._take_body()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
            pass
        except Exception as error:
            self._fail(error)
        return self.is_over

    def wait(self, timeout: float, deadline: float) -> None:
        """Read until it is over; `timeout` (s) is for each read, `deadline` (monotonic) for all."""
        while not self.is_over:
            try:
                until, is_first = deadline + self.grace, not self._parser.has_begun
                receive(self._connection.sock, self._parser, self.share, self.patience(timeout), until)
                if is_first and self._connection.is_premature:
                    raise BadAnswer(PREMATURE)
                self._take_body()
            except Exception as error:
                self._fail(error)

    @property
    def grace(self) -> float:
        """Seconds that it may take beyond its deadline, for what it brought."""
        return self._body.grace if self._body is not None else 0.0

    def patience(self, timeout: float) -> float:
        """Seconds to wait for more, where it is `timeout` for an answer that is not whole."""
        return min(timeout, SETTLE) if self._body is not None and self._body.is_ended else timeout

    def give_up(self) -> None:
        """Nothing came in time."""
        self._fail(TimeoutError("timed out"))

    def _take_body(self) -> None:
        if self._body is None and self._parser.head is not None:
            codings = codings_of(self._parser.head.headers.get("content-encoding", ""))
            codings += self._parser.framing.codings
            head = self._parser.head
            if self._download is not None:
                self._body = self._download.body(self._url, head.status, head.headers, codings)
            self._body = self._body or Body(codings, self._limit, is_cut=self._is_cut)
        if self._body is not None and (data := self._parser.take_body()):
            self.share.size += len(data)
            self._body.write(data)
            self.is_over = self._body.is_full
        self.is_over = self.is_over or self._parser.is_complete

    def _fail(self, error: Exception) -> None:
        # Some servers tell the length that a body had before it was compressed.
        is_told_wrong = self._parser.framing.length is not None and isinstance(error, _CUT)
        if not (is_told_wrong and self._body is not None and self._body.is_ended):
            self.error = error
        self.is_over = True

    def content(self) -> bytes:
        """The whole body; raises what stood in its way."""
        if self.is_stale:
            self.error = ConnectFailed(STALE)
        if self.error is not None:
            raise self.error
        is_framed = self._parser.framing.is_delimited
        return self._body.finish(is_framed=is_framed) if self._body is not None else b""

    def abort(self, error: BaseException) -> None:
        """Give the connection back, closed: the request was not sent whole."""
        self.error = error if isinstance(error, Exception) else ConnectFailed("interrupted")
        self.end()

    def end(self) -> None:
        """Give the connection back; where anything was not understood or not read, it is closed."""
        connection, head = self._connection, self._parser.head
        if self.is_stale:
            connection.broke()
        elif head is not None:
            connection.answered(head.headers.get("keep-alive"))
        elif isinstance(self.error, ConnectFailed | ConnectionError) and not self.has_begun:
            connection.broke()
        if self._parser.surplus:
            connection.found_unasked(self._parser.surplus)
        if self.error is not None or not self._parser.is_reusable:
            connection.close()
        self._pool._put_conn(connection)
