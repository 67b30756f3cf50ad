"""Pages that other processes parse, while the owner of their domain goes on to ask for more.

The owner hears an answer, decides that it is a page which has to be parsed, and hands that over; what it has
no process for it parses itself. Visits leave in the order of their requests, whoever parsed them.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from scraper.engine.parse_limit import OutOfCallback, Parsing
from scraper.http.exchange import BLOCKS, Blocks
from scraper.model import Entry, Failed, Known, Rejection, Response, Visit
from scraper.model.frozen import slotted
from scraper.model.outcomes import Outcome

if TYPE_CHECKING:  # few runs have parse processes
    from scraper.engine.parse_pool import ParsePool, Task

MOST_PAGES = 16  # that a process has in hand
MOST_BEHIND = 64  # visits of a batch that wait for one before them
_LOOK_EVERY = 0.5  # seconds

T = TypeVar("T")

Handed = tuple[Entry, Response, Known, str | None]
"""A request, its answer, what is known of that, and what robots.txt says of its use."""

Parsed = tuple[Outcome, tuple[Rejection, ...], tuple[str, ...]]
"""What became of the request, the records that were rejected, and notes."""


class NeedsSession(OutOfCallback):
    """A callback asks for its page's session, which only the owner has: the page is parsed there."""


class NoSession:
    """Stands for the session in a parse process. `usage`: what robots.txt says of the use of the page."""

    def __init__(self, usage: str | None) -> None:
        object.__setattr__(self, "usage", lambda url: usage)

    def __getattr__(self, name: str) -> Any:
        raise NeedsSession

    def __setattr__(self, name: str, value: object) -> None:
        raise NeedsSession


@slotted
class Elsewhere:
    """A page that is parsed elsewhere. `finish` makes a visit of what came of it, maybe by a parse here."""

    task: "Task"
    finish: "Callable[[Task], Generator[Parsing, None, Visit]]"


class ParsingElsewhere:
    """The owner's side of the parse processes; for any thread."""

    def __init__(self, pool: "ParsePool") -> None:
        self._pool = pool
        self._stays: set[str] = set()
        self._is_raising = False

    def takes(self, callback: str, size: int) -> bool:
        """Whether a process has room for a page of so many bytes.

        While callbacks raise, pages are parsed here, one after the other: whoever counts errors decides
        whether more is asked.
        """
        is_free = not (self._is_raising or callback in self._stays)
        return is_free and self._pool.has_room_for(size, MOST_PAGES)

    def hand_over(self, handed: Handed) -> "Task":
        """Have a page parsed."""
        return self._pool.submit_one(handed, len(handed[1].content))

    def stays(self, callback: str) -> None:
        """From now on the pages of a callback are parsed here: it asks for its session."""
        self._stays.add(callback)

    def in_order(self, steps: Iterator[T | Visit | Elsewhere]) -> Iterator[T | Visit | Parsing | Blocks]:
        """The steps of a batch, with each visit in its place."""
        visits: deque[Visit | Elsewhere] = deque()
        for step in steps:
            if not isinstance(step, Visit | Elsewhere):
                yield step
                continue
            visits.append(step)
            yield from self._ready(visits)
            while len(visits) > MOST_BEHIND:
                yield from self._awaited(visits)
        while visits:
            yield from self._awaited(visits)

    def _awaited(self, visits: deque[Visit | Elsewhere]) -> Iterator[Visit | Parsing | Blocks]:
        yield BLOCKS
        self._pool.wait(_LOOK_EVERY)
        yield from self._ready(visits)

    def _ready(self, visits: deque[Visit | Elsewhere]) -> Iterator[Visit | Parsing]:
        """The first visits, as far as they are there."""
        while visits:
            first = visits[0]
            if isinstance(first, Elsewhere):
                if not first.task.is_done:
                    return
                first = yield from first.finish(first.task)
            visits.popleft()
            self._is_raising = isinstance(first.outcome, Failed) and first.outcome.is_parse
            yield first

    def close(self) -> None:
        """End the processes."""
        self._pool.close()
