"""The threads of a crew: one reader that sends, watches answers come and parses, and hands for what blocks.

Python runs one thread's code at a time. Threads that each wait for a server and then parse take it from each
other in the middle of their work; so one thread does all that needs it, and never waits for a server.
"""

import heapq
import selectors
import socket
import threading
from collections import deque
from itertools import count
from queue import Empty, SimpleQueue

from scraper.clock import Clock, monotonic
from scraper.engine.crew import Post, Task, Turn, Work
from scraper.exchange import Asked, Until, Wait
from scraper.framing import Part

EARLY = 0.2  # seconds; longer than the owner takes to settle a group, and may have to wait for the store
PATIENCE = 0.1  # seconds; a callback that takes longer does not hold up the others
LOOK_EVERY = 0.25  # seconds between looks for answers whose time is over
HAND_IN_EVERY = 0.01  # seconds; each time wakes the owner

_NEW = Until(0.0)


class ThreadCrew:
    """The owner's side: at most `most` turns at work at once, and as many threads."""

    early = EARLY

    def __init__(self, work: Work, most: int, clock: Clock) -> None:
        self._work = work
        self._most = most
        self._posts: SimpleQueue[list[Post] | BaseException] = SimpleQueue()
        self._desk = Desk(most, clock, self._posts)
        self._turns = 0

    @property
    def has_room(self) -> bool:
        return self._turns - self._desk.early < self._most

    def submit(self, turn: Turn) -> None:
        self._turns += 1
        self._desk.bring(Task(turn, self._work), _NEW)

    def collect(self, timeout: float) -> list[Post]:
        posts: list[Post] = []
        try:
            # Nobody else looks whether the reader is stuck.
            timeout = min(timeout, PATIENCE) if self._turns else timeout
            posts += _sound(self._posts.get(timeout=timeout) if timeout > 0 else self._posts.get_nowait())
            while True:
                posts += _sound(self._posts.get_nowait())
        except Empty:
            pass
        self._turns -= sum(post.ends for post in posts)
        self._desk.relieve()
        return posts

    def close(self) -> None:
        self._desk.close()


def _sound(posts: list[Post] | BaseException) -> list[Post]:
    if isinstance(posts, BaseException):
        raise posts
    return posts


class Desk:
    """All tasks by what they wait for. The reader's alone, but for `bring`, `relieve`, `close` and `early`.

    A reader that is stuck in a task, most likely in a spider's callback, is relieved: another thread takes
    the desk over, and the old one brings its task back when it is through and is a hand from then on.
    """

    def __init__(self, most: int, clock: Clock, posts: "SimpleQueue[list[Post] | BaseException]") -> None:
        self._most = most
        self._clock = clock
        self._posts = posts
        self._inbox: deque[tuple[Task, Wait | None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._bell, ear = socket.socketpair()
        self._bell.setblocking(False)
        self._selector.register(ear, selectors.EVENT_READ)
        self._is_asleep = False
        self._is_closed = False
        self._slots: list[tuple[float, int, Task]] = []
        self._tickets = count()
        self._asked: dict[Task, Asked] = {}
        self._over_at: dict[Task, float] = {}
        self._ready: deque[Task] = deque()
        self._outbox: list[Post] = []
        self._hand_in_by = 0.0
        self._tasks = 0
        self._look_at = 0.0
        self._jobs: SimpleQueue[Task | None] = SimpleQueue()
        self._away: set[Task] = set()
        self._hands = 0
        # Who is the reader, and the task in which he may be stuck.
        self._lock = threading.Lock()
        self._shift = 0
        self._task: Task | None = None
        self._since = 0.0

    # from any thread -----------------------------------------------------------------------------------
    def bring(self, task: Task, wait: Wait | None) -> None:
        """Leave a task to the reader, with what it waits for now."""
        self._inbox.append((task, wait))
        if self._is_asleep:
            self._is_asleep = False
            self._ring()

    def _ring(self) -> None:
        try:
            self._bell.send(b".")
        except BlockingIOError:
            pass  # it rings already

    # the owner's ---------------------------------------------------------------------------------------
    @property
    def early(self) -> int:
        """How many tasks wait for their slots."""
        return len(self._slots)

    def relieve(self) -> None:
        """Have another reader where there is none, or where he has been in one task for too long."""
        with self._lock:
            if self._shift and not (self._task and monotonic() - self._since > PATIENCE):
                return
            if self._task is not None:
                if self._hands >= self._most:
                    return
                self._away.add(self._task)
                self._hands += 1
                self._task = None
            self._shift += 1
            self._start(self._read, self._shift)

    def close(self) -> None:
        """Send everybody home who has nothing to do; threads that are stuck end with the process."""
        self._is_closed = True
        self._ring()
        for _ in range(self._hands):
            self._jobs.put(None)

    @staticmethod
    def _start(work: object, *arguments: object) -> None:
        # Daemons: after a signal the process ends in time, whatever a slow server does.
        threading.Thread(target=work, args=arguments, name="fetch", daemon=True).start()  # type: ignore[arg-type]

    # a hand's ------------------------------------------------------------------------------------------
    def _serve(self) -> None:
        while (task := self._jobs.get()) is not None:
            self.bring(task, task.advance())

    # the reader's --------------------------------------------------------------------------------------
    def _read(self, shift: int) -> None:
        try:
            while not self._is_closed:
                self._take_in()
                self._start_due()
                self._watch()
                if self._ready and not self._go_on(self._ready.popleft(), shift):
                    return self._serve()
        except BaseException as error:  # ours: a site's troubles do not raise
            self._posts.put(error)

    def _go_on(self, task: Task, shift: int) -> bool:
        """Take a task one step further; False where another has become the reader meanwhile."""
        with self._lock:
            self._task, self._since = task, monotonic()
        wait = task.advance()
        with self._lock:
            is_ours = self._shift == shift
            if is_ours:
                self._task = None
        if is_ours:
            self._put(task, wait)
        else:
            self.bring(task, wait)
        return is_ours

    def _take_in(self) -> None:
        while self._inbox:
            task, wait = self._inbox.popleft()
            if wait is _NEW:
                self._tasks += 1
            self._away.discard(task)
            self._put(task, wait)

    def _put(self, task: Task, wait: Wait | None) -> None:
        """Put a task where it is found when its wait is over."""
        if task.posts:
            if not self._outbox:
                self._hand_in_by = monotonic() + HAND_IN_EVERY
            self._outbox += task.posts
            task.posts.clear()
        if wait is None:
            self._tasks -= 1
        elif isinstance(wait, Until):
            heapq.heappush(self._slots, (wait.moment, next(self._tickets), task))
        elif isinstance(wait, Asked) and wait.trouble is not None:
            self._ready.append(task)
        elif isinstance(wait, Asked) and wait.line is not None:
            self._asked[task] = wait
            self._wait_on(task, wait)
            self._selector.register(wait.line, selectors.EVENT_READ, task)
        else:
            self._send_away(task)

    def _send_away(self, task: Task) -> None:
        """Give a task to a hand: an idle one, or a new one."""
        self._away.add(task)
        if len(self._away) > self._hands and self._hands < self._most:
            self._hands += 1
            self._start(self._serve)
        self._jobs.put(task)

    def _start_due(self) -> None:
        """Let those go on whose slots have come, as many as may be at work at once, before all else."""
        due: list[Task] = []
        now = self._clock.now()
        while self._slots and self._slots[0][0] <= now and self._tasks - len(self._slots) < self._most:
            due.append(heapq.heappop(self._slots)[2])
        self._ready.extendleft(reversed(due))

    def _watch(self) -> None:
        """Read what comes of answers; where there is nothing else to do, sleep until something does."""
        events = self._selector.select(0)
        if self._outbox and (monotonic() >= self._hand_in_by or not (events or self._ready)):
            self._posts.put(self._outbox)
            self._outbox = []
        if not (events or self._ready):
            self._is_asleep = True
            events = self._selector.select(0 if self._inbox or self._is_closed else self._patience())
            self._is_asleep = False
        for key, _ in events:
            if key.data is None:
                key.fileobj.recv(4096)  # type: ignore[union-attr]  # the bell
            else:
                self._pull(key.data)
        if monotonic() >= self._look_at:
            self._end_overdue()

    def _patience(self) -> float | None:
        """Seconds until the next slot, or the next look for what is overdue."""
        waits = [self._look_at - monotonic()] if self._asked else []
        if self._slots and self._tasks - len(self._slots) < self._most:
            waits.append(self._slots[0][0] - self._clock.now())
        return max(0.0, min(waits)) if waits else None

    def _pull(self, task: Task) -> None:
        """Read what has come of an answer; go on with its task once it is whole."""
        asked = self._asked[task]
        assert asked.line is not None
        part = asked.line.pull()
        if not asked.first_byte_at and asked.line.has_begun:
            asked.answered(self._clock.now())
        if part is Part.MORE:
            return self._wait_on(task, asked)
        self._unwatch(task, asked)
        if part is Part.WHOLE:
            self._ready.append(task)
        else:
            self._send_away(task)

    def _wait_on(self, task: Task, asked: Asked) -> None:
        timeout = task.turn.session.timeout[1]
        self._over_at[task] = min(asked.deadline, monotonic() + timeout)

    def _unwatch(self, task: Task, asked: Asked) -> None:
        self._selector.unregister(asked.line)  # type: ignore[arg-type]  # those that are watched have one
        del self._asked[task], self._over_at[task]

    def _end_overdue(self) -> None:
        """Go on with those whose answers took too long; reading them tells so at once."""
        now = monotonic()
        self._look_at = now + LOOK_EVERY
        for task in [task for task, over_at in self._over_at.items() if over_at <= now]:
            asked = self._asked[task]
            self._unwatch(task, asked)
            asked.deadline = now
            self._ready.append(task)
