"""Batches of requests: the `Downloader` port, what passes through it, and a batch step by step."""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from typing import Protocol

from scraper.engine.parse_limit import GivenUp, Parsing, end_thread
from scraper.http.exchange import Answer, Wait
from scraper.http.redirects import is_redirect
from scraper.http.session import DomainSession
from scraper.model import Entry, Redirected, Visit
from scraper.model.frozen import frozen, slotted
from scraper.ops.clock import monotonic

HAND_BACK_EVERY = 0.05


@frozen
class RobotsRequest:
    """A robots.txt to be asked for: `origin` whose rules it gives, `url` of this hop."""

    origin: str
    url: str
    hops: int = 0
    tries: int = 0
    headers: tuple[tuple[str, str], ...] = ()


@slotted
class DomainWanted:
    """A rendered page asks for something of another `domain`, which has to be leased first.

    `refusal` is set when the owner thread has answered: empty, or why that cannot be. `is_busy`: not now.
    """

    domain: str
    origins: tuple[str, ...] = ()
    refusal: str = ""
    is_busy: bool = False
    wake: Callable[[], None] = lambda: None
    __hash__, __eq__ = object.__hash__, object.__eq__  # none is another, whatever they hold

    def answer(self, refusal: str, *, is_busy: bool = False) -> None:
        """Let the page go on; for the owner thread."""
        self.refusal, self.is_busy = refusal, is_busy
        self.wake()


@slotted
class Batch:
    """A domain's session and what to do with it, held by one thread at a time.

    The owner thread may append to `entries` while the thread takes from the other end (a deque allows that).
    If it sets `is_over`, the batch ends after the request in flight, or the page that is being rendered;
    `is_cut`: it gives that up too. `control`: a URL to be asked for, whose answer nobody parses.
    """

    domain: str
    session: DomainSession
    entries: deque[Entry] = field(default_factory=deque)
    robots_request: RobotsRequest | None = None
    login: bool = False
    control: str = ""
    is_over: bool = False
    is_cut: bool = False
    __hash__, __eq__ = object.__hash__, object.__eq__  # none is another, whatever they hold


@frozen
class BatchResult:
    """What a thread hands back: visits so far; with `ends` the batch is over.

    `wants`: what a page needs that only the owner thread can give; the batch waits for it.
    """

    batch: Batch
    visits: tuple[Visit, ...] = ()
    answer: Answer | None = None
    ends: bool = True
    error: BaseException | None = None
    wants: DomainWanted | None = None


class Work(Protocol):
    """What a batch does, see `Fetcher`: each yields what it got, and what has to be waited for."""

    def visits(
        self,
        session: DomainSession,
        entries: deque[Entry],
        goes_on: Callable[[], bool],
        may_finish: Callable[[], bool],
    ) -> Iterator[Visit | Parsing | DomainWanted | Wait]:
        """Fetch and parse URLs one after the other, while it goes on, and render pages to their end."""
        ...

    def unparsed(
        self,
        session: DomainSession,
        url: str,
        headers: tuple[tuple[str, str], ...],
        goes_on: Callable[[], bool],
    ) -> Iterator[Answer | Wait]:
        """Ask for one robots.txt, or for a control, if it goes on."""
        ...

    def login(self, session: DomainSession) -> Iterator[Wait]:
        """Log in; raises LoginFailed."""
        ...

    def close(self) -> None:
        """End what works beside the batches, a browser."""
        ...


class Downloader(Protocol):
    """Runs batches. `early`: seconds before its domain is due that a batch may be submitted."""

    early: float

    def submit(self, batch: Batch) -> None:
        """Start a batch; `collect` returns its results."""
        ...

    @property
    def has_room(self) -> bool:
        """Whether another batch may be submitted now; if not, it may when one has ended."""
        ...

    def collect(self, timeout: float) -> list[BatchResult]:
        """The results that are there; waits up to `timeout` seconds for the first."""
        ...

    def close(self) -> list[BatchResult]:
        """Take no more batches. Requests in flight are not waited for; pages being parsed are returned."""
        ...


class BatchSteps:
    """A batch under way. `results`: what it has for the owner, to be taken by the caller of `advance`."""

    def __init__(self, batch: Batch, work: Work) -> None:
        self.batch = batch
        self.results: list[BatchResult] = []
        self._steps = _steps(batch, work)
        self._visits: list[Visit] = []
        self._handed_back_at = monotonic()
        # The page that is being parsed, by which thread, for how many seconds; given up by the owner thread.
        self._lock = threading.Lock()
        self._parsing: Parsing | None = None
        self._thread = 0
        self._age = 0.0
        self.is_given_up = False

    def advance(self) -> DomainWanted | Wait | None:
        """Go on until there is something to wait for; None at the batch's end, or where it failed."""
        try:
            return self._advance()
        except (
            BaseException
        ) as error:  # the owner decides; a batch that ended silently would stall its domain
            with self._lock:
                self._parsing = None
                if not self.is_given_up:
                    self.results.append(BatchResult(self.batch, error=error))
            return None

    def parsed_for(self, seconds: float) -> float:
        """Let `seconds` pass; how long a page has been parsed, without what its callback waits for."""
        if self._parsing is None or self.is_given_up:
            return 0.0
        if self._thread not in self.batch.session.callers:
            self._age += seconds
        return self._age

    def give_up(self, *, is_interrupted: bool = False) -> bool:
        """End the batch without the page that is being parsed; False if it is parsed. Owner thread only."""
        with self._lock:
            parsing = self._parsing
            if parsing is None or self.is_given_up:
                return False
            self.is_given_up = True
            end_thread(self._thread)  # inside: it cannot be through and gone yet
        visit = replace(parsing.visit, outcome=parsing.interrupted) if is_interrupted else parsing.visit
        if parsing.following is not None:
            self.batch.entries.appendleft(parsing.following)
            self.batch.session.abandon()
        self.results.append(BatchResult(self.batch, (*self._visits, visit)))
        return True

    def _begin(self, parsing: Parsing) -> None:
        self._thread, self._age, self._parsing = threading.get_ident(), 0.0, parsing

    def _end(self) -> None:
        with self._lock:
            self._parsing = None
            if self.is_given_up:
                raise GivenUp

    def _advance(self) -> DomainWanted | Wait | None:
        answer = None
        for step in self._steps:
            if isinstance(step, Parsing):
                self._begin(step)
            elif isinstance(step, Visit):
                self._end()
                self._visits.append(step)
                if ends_batch(step):
                    self.batch.is_over = True
                else:
                    self._hand_back_some()
            elif isinstance(step, Answer):
                answer = step
            else:
                self._end()  # what is waited for is no part of a parse
                return step
        self.results.append(BatchResult(self.batch, tuple(self._visits), answer))
        return None

    def _hand_back_some(self) -> None:
        """Results are returned in groups: waking the owner for each visit costs both threads."""
        if self.batch.entries and monotonic() - self._handed_back_at > HAND_BACK_EVERY:
            self.results.append(BatchResult(self.batch, tuple(self._visits), ends=False))
            self._visits = []
            self._handed_back_at = monotonic()


def ends_batch(visit: Visit) -> bool:
    """Whether nothing more is asked: the domain rests, or its next request is the hop of a redirect."""
    exchange = visit.exchange
    is_hop = isinstance(visit.outcome, Redirected) and exchange is not None and is_redirect(exchange.status)
    return is_hop or not visit.reaction.is_plain


def _steps(batch: Batch, work: Work) -> Iterator[Visit | Answer | Parsing | DomainWanted | Wait]:
    def goes_on() -> bool:
        return not batch.is_over

    if batch.login:
        yield from work.login(batch.session)
    if batch.control:
        yield from work.unparsed(batch.session, batch.control, (), goes_on)
    elif batch.robots_request is not None:
        yield from work.unparsed(
            batch.session, batch.robots_request.url, batch.robots_request.headers, goes_on
        )
    else:
        yield from work.visits(batch.session, batch.entries, goes_on, lambda: not batch.is_cut)
