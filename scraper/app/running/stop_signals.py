"""Signals that stop a run, and the crawler that they stop."""

import os
import signal
import threading
from typing import Any, Protocol

from scraper.engine.plan import Stop

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Crawler(Protocol):
    """What crawls: the engine in this process, or the parent of several."""

    def run(self) -> Stop:
        """Crawl until nothing is left, a limit is reached or somebody stops it."""
        ...

    def stop(self) -> None:
        """Ask it to end; callable from a signal handler."""
        ...


class StopSignals:
    """Turns SIGINT, SIGTERM and SIGHUP (the terminal is gone) into a stop, whatever the run is doing.

    One that is ignored (`nohup`) stays so.

    A second signal ends the process at once, which loses nothing either. A process that `is_embedded` is not
    ours: the second signal goes to whoever heard it before us, and outside the main thread none can be heard.
    """

    def __init__(self, *, is_embedded: bool = False) -> None:
        self.signal = 0
        self._is_embedded = is_embedded
        self._crawler: Crawler | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self
        heard = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._handle) for number in heard}
        return self

    def __exit__(self, *error: object) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.signal and number != signal.SIGHUP:  # shell and terminal both send that one
            if not self._is_embedded:
                os._exit(128 + number)
            self._give_back()
            signal.raise_signal(number)
        self.signal = self.signal or number
        if self._crawler is not None:
            self._crawler.stop()

    def lose_reader(self) -> None:
        """Stop as SIGPIPE ends a program whose output nobody reads any more, but with the state saved."""
        if not self.signal:
            self._handle(signal.SIGPIPE, None)

    def run(self, crawler: Crawler) -> Stop:
        """Crawl until the crawler ends, or a signal does."""
        self._crawler = crawler
        if self.signal:
            crawler.stop()
        return crawler.run()
