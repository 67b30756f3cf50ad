"""A fake clock, whose sleeps return at once."""

MORNING = 1_767_333_600.0  # 2026-01-02 06:00:00 UTC


class FakeClock:
    """A `scraper.ops.clock.Clock` whose sleepers return at once, as late as they wished to."""

    def __init__(self, now: float = MORNING) -> None:
        self._now = now
        self._offset = 0.0

    def now(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._offset

    def sleep(self, seconds: float) -> None:
        self._now += max(0.0, seconds)

    def set_wall(self, wall: float) -> None:
        """Somebody sets the machine's clock; `now` goes on as it was."""
        self._offset = wall - self._now
