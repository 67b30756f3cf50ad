"""How long servers keep connections that are not used: told by them (RFC 9112 9.3, Keep-Alive) or seen."""

import math
import re

IDLE_MARGIN = 1.0  # seconds before a server's idle limit that its connection is not used any more
LEAST_IDLE = 0.5  # seconds
_KEEP_ALIVE = re.compile(r"timeout\s*=\s*([0-9]{1,6})\b", re.IGNORECASE)


class IdleLimit:
    """How long a server of one origin keeps a connection that is not used, as far as it is known (s)."""

    def __init__(self, seconds: float = math.inf) -> None:
        self.seconds = seconds

    def is_over(self, idle: float) -> bool:
        """Whether a connection that was idle so long (s) may be closed by the time a request arrives."""
        return idle >= self.seconds - min(IDLE_MARGIN, self.seconds / 2)

    def told(self, keep_alive: str) -> None:
        """Take what an answer's Keep-Alive says."""
        found = _KEEP_ALIVE.search(keep_alive)
        if found is not None:
            self.seconds = min(self.seconds, float(found[1]))

    def seen(self, idle: float) -> None:
        """Learn of a connection that the server had closed after so long (s)."""
        if idle >= LEAST_IDLE:  # sooner it was no lack of use
            self.seconds = min(self.seconds, idle)
