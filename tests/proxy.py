"""A TCP proxy before a server, which cuts, holds and heals."""

import contextlib
import socket
import threading
from types import TracebackType


class Proxy:
    """Passes bytes on to a port of loopback. `hold`: nothing passes any more, though no connection breaks."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._flows = threading.Event()
        self._flows.set()
        self._mark = b""
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def hold(self) -> None:
        """Let nothing pass, either way."""
        self._flows.clear()

    def heal(self) -> None:
        """Let everything pass again, also what was held."""
        self._flows.set()

    def cut(self) -> None:
        """Break all connections; new ones are passed on."""
        for one in self._open:
            _close(one)

    def cut_answer(self, mark: bytes) -> None:
        """Break the connection instead of passing on the next answer that has these bytes."""
        self._mark = mark

    @property
    def is_to_cut(self) -> bool:
        """Whether that has yet to happen."""
        return bool(self._mark)

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        self._flows.set()
        for one in self._open:
            _close(one)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()  # as the server itself would refuse
                continue
            self._open = [one for one in self._open if one.fileno() >= 0] + [client, server]
            for source, sink, is_answer in ((client, server, False), (server, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, is_answer), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if is_answer and self._mark and self._mark in data:
                    self._mark = b""
                    break
                sink.sendall(data)
        _close(source)
        _close(sink)


def _close(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
