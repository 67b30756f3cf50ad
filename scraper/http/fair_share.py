"""How much of this process one answer may take, whatever its site sends: others are waiting."""

from scraper.ops.clock import monotonic, thread_time

BURST = 0.005  # seconds of a thread's work that reading one answer may take without a pause
SHARE = 0.02  # of the time that passes, for an answer that took more
PER_BYTE = 2e-9  # seconds more for each byte of its body: what comes in large pieces costs less than that
LEAST_PAUSE = 0.001


def fair_moment(since: float, spent: float, size: int) -> float:
    """When an answer read `since` a moment may take more: `spent` seconds went for `size` bytes of body."""
    return since + max(0.0, spent - BURST - size * PER_BYTE) / SHARE


class FairShare:
    """The account of one answer: `with` it around each read."""

    def __init__(self) -> None:
        self._since = 0.0
        self._spent = 0.0
        self._began = 0.0
        self.size = 0

    def __enter__(self) -> None:
        now = monotonic()
        self._since = self._since or now
        self._began = thread_time() if self._spent >= BURST else now

    def __exit__(self, *_: object) -> None:
        if self._spent >= BURST:
            self._spent += thread_time() - self._began
        else:
            # More passes than is spent, and asking what is spent costs more than a usual answer.
            self._spent = min(BURST, self._spent + monotonic() - self._began)

    @property
    def pause(self) -> float:
        """Seconds until it may take more; 0 where it may at once."""
        if self._spent < BURST:
            return 0.0
        pause = fair_moment(self._since, self._spent, self.size) - monotonic()
        return pause if pause > LEAST_PAUSE else 0.0
