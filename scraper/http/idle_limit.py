"""What is known of an origin's kept connections: how long they last unused, and whether they are quiet."""

import math
import re

from scraper.ops.patterns import pattern

IDLE_MARGIN = 1.0  # seconds before a server's idle limit that its connection is not used any more
LEAST_IDLE = 0.5  # seconds
QUIET = 0.05  # seconds after an answer in which a server that answers twice does so
PROOFS = 3  # answers of an origin that are given this time; a crawl without a delay pays it once
MOST_QUIET = 1.0  # seconds at the end of a crawl in which a slow one may do so
_ANSWER = b"HTTP/"
_KEEP_ALIVE = pattern(r"timeout\s*=\s*([0-9]{1,6})\b", re.IGNORECASE)


class IdleLimit:
    """How long a server of one origin keeps a connection that is not used, as far as it is known (s).

    `proofs`: answers after which it was seen to send no more; `has_surplus`: once it sent what nobody had
    asked for, so that none of its connections serves twice. `mixed_up`: answers that may have been those to
    other requests by then; `slowest`: the longest that it took to answer (s).
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds
        self.proofs = 0
        self.has_surplus = False
        self.mixed_up = 0
        self.slowest = 0.0

    def doubt(self, idle: float) -> float:
        """Seconds that a connection, idle so long, has to stay quiet before it may serve again."""
        is_known = self.proofs >= PROOFS or self.has_surplus
        return 0.0 if is_known else max(0.0, QUIET - idle)

    def sent_unasked(self, data: bytes, unproven: int) -> None:
        """Learn of what nobody had asked for, after so many answers that nothing was seen to follow.

        Only what begins like an answer can have been taken for one: a stray line end cannot, and a 408 tells
        that the connection was idle too long.
        """
        self.has_surplus = True
        if data.startswith(_ANSWER) and data[9:12] != b"408":
            self.mixed_up += unproven

    def is_over(self, idle: float) -> bool:
        """Whether a connection that was idle so long (s) may be closed by the time a request arrives."""
        return idle >= self.seconds - min(IDLE_MARGIN, self.seconds / 2)

    def told(self, keep_alive: str) -> None:
        """Take what an answer's Keep-Alive says (RFC 9112 9.3)."""
        found = _KEEP_ALIVE.search(keep_alive)
        if found is not None:
            self.seconds = min(self.seconds, float(found[1]))

    def seen(self, idle: float) -> None:
        """Learn of a connection that the server had closed after so long (s)."""
        if idle >= LEAST_IDLE:  # sooner it was no lack of use
            self.seconds = min(self.seconds, idle)
