"""What to do when this machine runs out of file descriptors: never the site's fault."""

from scraper.engine.domain import Domain
from scraper.engine.leases import Leases
from scraper.ops.clock import Clock
from scraper.runs.events import Listener, Noted

LOOK_AGAIN = 1.0  # seconds
MOST_LACK = 60.0  # seconds without one connection, after which a domain is left for a later run
WHAT = "this machine lets us open no more files or connections"
ADVICE = "raise `ulimit -n`, or lower the setting threads"


class OpenFiles:
    """The owner thread's answer to a shortage: close what only waits, and try again."""

    def __init__(self, leases: Leases, clock: Clock, tell: Listener) -> None:
        self._leases = leases
        self._clock = clock
        self._tell = tell
        self._since: float | None = None
        self._is_told = False

    def found(self) -> None:
        """Note that a request could be sent."""
        self._since = None

    def ran_out(self, domain: Domain) -> str | None:
        """Leave a domain be for a moment; why it is to be left for good, where that has helped nobody."""
        now = self._clock.now()
        self._since = now if self._since is None else self._since
        self._leases.disconnect_idle()
        if not self._is_told:
            self._is_told = True
            self._tell(Noted(f"{WHAT}: idle connections are closed, requests wait ({ADVICE})"))
        if now - self._since >= MOST_LACK:
            return f"{WHAT} ({ADVICE})"
        domain.limiter.rest_until(now + LOOK_AGAIN)
        return None
