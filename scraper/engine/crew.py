"""The crew: threads that fetch and parse. They share nothing with the owner but a turn and two queues."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Protocol

from scraper.clock import monotonic
from scraper.errors import ScraperError
from scraper.exchange import Answer
from scraper.model import Entry, Visit
from scraper.session import DomainSession

POST_EVERY = 0.05


@dataclass(frozen=True, slots=True)
class Errand:
    """A robots.txt to be asked for: `origin` whose rules it gives, `url` of this hop."""

    origin: str
    url: str
    hops: int = 0
    tries: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class Turn:
    """A domain's session and what to do with it, held by one thread at a time.

    `entries` may be topped up by the owner while the thread takes from its other end (a deque allows that);
    an owner that sets `is_over` ends the turn after the request in the air.
    """

    domain: str
    session: DomainSession
    entries: deque[Entry] = field(default_factory=deque)
    errand: Errand | None = None
    login: bool = False
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """What a thread hands back: visits so far; the turn is the owner's again when it `ends`."""

    turn: Turn
    visits: tuple[Visit, ...] = ()
    answer: Answer | None = None
    ends: bool = True
    error: BaseException | None = None


class Work(Protocol):
    """What the threads do: see `Fetcher`."""

    def visits(
        self, session: DomainSession, entries: deque[Entry], goes_on: Callable[[], bool]
    ) -> Iterator[Visit]:
        """Fetch and parse URLs one after the other, while it goes on."""
        ...

    def errand(self, session: DomainSession, url: str, headers: tuple[tuple[str, str], ...]) -> Answer:
        """Ask for one robots.txt."""
        ...

    def login(self, session: DomainSession) -> None:
        """Log in; raises LoginFailed."""
        ...


class Crew(Protocol):
    """Where turns are done."""

    def submit(self, turn: Turn) -> None:
        """Hand out a turn; it comes back in posts."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether another turn is welcome now; if not, it is when one has come back."""
        ...

    def collect(self, timeout: float) -> list[Post]:
        """The posts that are there; waits up to `timeout` seconds for the first."""
        ...

    def close(self) -> None:
        """Take no more turns; what is in the air is not waited for."""
        ...


def do(turn: Turn, work: Work, post: Callable[[Post], None]) -> None:
    """Do one turn; visits are posted in groups, because waking the owner for each costs both threads."""
    try:
        if turn.login:
            work.login(turn.session)
        if turn.errand is not None:
            answer = work.errand(turn.session, turn.errand.url, turn.errand.headers)
            return post(Post(turn, answer=answer))
        post(Post(turn, tuple(_visits(turn, work, post))))
    except BaseException as error:  # the owner decides; a thread that died silently would stall the domain
        post(Post(turn, error=error))
        if not isinstance(error, (Exception, ScraperError)):
            raise


def _visits(turn: Turn, work: Work, post: Callable[[Post], None]) -> Iterable[Visit]:
    group: list[Visit] = []
    posted = monotonic()
    for visit in work.visits(turn.session, turn.entries, lambda: not turn.is_over):
        group.append(visit)
        if not visit.reaction.is_plain:
            break
        if turn.entries and monotonic() - posted > POST_EVERY:
            post(Post(turn, tuple(group), ends=False))
            group = []
            posted = monotonic()
    return group


class ThreadCrew:
    """Threads that grow with need: a new one only when a turn finds none idle."""

    def __init__(self, work: Work, most: int) -> None:
        self._work = work
        self._most = most
        self._turns: SimpleQueue[Turn | None] = SimpleQueue()
        self._posts: SimpleQueue[Post] = SimpleQueue()
        self._threads = 0
        self._busy = 0

    @property
    def has_room(self) -> bool:
        return self._busy < self._most

    def submit(self, turn: Turn) -> None:
        self._busy += 1
        if self._busy > self._threads and self._threads < self._most:
            self._threads += 1
            # Daemons: after a signal the process ends in time, whatever a slow server does.
            threading.Thread(target=self._serve, name=f"fetch-{self._threads}", daemon=True).start()
        self._turns.put(turn)

    def _serve(self) -> None:
        while (turn := self._turns.get()) is not None:
            do(turn, self._work, self._posts.put)

    def collect(self, timeout: float) -> list[Post]:
        posts: list[Post] = []
        try:
            posts.append(self._posts.get(timeout=timeout) if timeout > 0 else self._posts.get_nowait())
            while True:
                posts.append(self._posts.get_nowait())
        except Empty:
            pass
        self._busy -= sum(post.ends for post in posts)
        return posts

    def close(self) -> None:
        for _ in range(self._threads):
            self._turns.put(None)
