"""The downloader: one I/O thread that sends, reads and parses, and a pool for calls that block.

Python runs the code of one thread at a time. If every thread waits for a server and then parses, threads
interrupt each other in the middle of their work. So one thread does it all, and never waits for a server.
"""

import heapq
import selectors
import socket
import threading
from collections import deque
from itertools import count
from queue import Empty, SimpleQueue

from scraper.engine.answer_watch import AnswerWatch
from scraper.engine.batch import Batch, BatchResult, BatchSteps, DomainWanted, Work
from scraper.engine.parse_limit import LONGEST_INTERVAL, GivenUp
from scraper.engine.slow_lane import DEAR, SlowLane
from scraper.http.exchange import Asked, Later, Until, Wait
from scraper.http.http1 import Http1Exchange
from scraper.ops.clock import Clock, monotonic, thread_time
from scraper.politeness.rate_limiter import RateLimiter

EARLY = 0.2  # seconds; longer than the owner takes to settle a group, and may have to wait for the store
FEW = 8  # batches at work of which the owner learns at once
STUCK_AFTER = 0.1  # seconds; a callback that takes longer does not hold up the others
HAND_BACK_EVERY = 0.01  # seconds; each time wakes the owner
LINGER = 0.09  # seconds; the same where the owner need not know until shortly before the next slot

_NEW = Until(0.0)
_AT_ONCE = Until(0.0)


class ThreadedDownloader:
    """The side of the owner thread: at most `most` batches at work at once, and as many threads."""

    early = EARLY

    def __init__(self, work: Work, most: int, clock: Clock, parse_timeout: float = float("inf")) -> None:
        self._work = work
        self._parse_timeout = parse_timeout
        self._looked_at = monotonic()
        self._most = most
        self._results: SimpleQueue[list[BatchResult] | BaseException] = SimpleQueue()
        self._loop = IOLoop(most, clock, self._results)
        self._batches = 0

    @property
    def has_room(self) -> bool:
        return self._batches - self._loop.early - self._loop.ended < self._most

    def submit(self, batch: Batch) -> None:
        self._batches += 1
        self._loop.put(BatchSteps(batch, self._work), _NEW)

    def collect(self, timeout: float) -> list[BatchResult]:
        results: list[BatchResult] = []
        try:
            # This is the watchdog: only the owner thread can see that the I/O thread is stuck.
            timeout = min(timeout, STUCK_AFTER) if self._batches else timeout
            results += _sound(
                self._results.get(timeout=timeout) if timeout > 0 else self._results.get_nowait()
            )
            while True:
                results += _sound(self._results.get_nowait())
        except Empty:
            pass
        self._batches -= sum(result.ends for result in results)
        self._loop.replace_stuck_thread()
        self._loop.give_up_slow(self._since_last_look(), self._parse_timeout)
        return results

    def _since_last_look(self) -> float:
        before, self._looked_at = self._looked_at, monotonic()
        return min(self._looked_at - before, LONGEST_INTERVAL)

    def close(self) -> list[BatchResult]:
        self._loop.close()
        self._work.close()
        return self._loop.give_up_slow(self._since_last_look(), STUCK_AFTER, is_end=True)


def _sound(results: list[BatchResult] | BaseException) -> list[BatchResult]:
    if isinstance(results, BaseException):
        raise results
    return results


class IOLoop:
    """All batches by what they wait for. For the I/O thread, but for the methods that say otherwise.

    If the I/O thread is stuck in a step, most likely in a spider's callback, another thread takes over the
    loop. The stuck thread puts its batch back when the step is done, and joins the blocking pool.
    """

    def __init__(
        self, most: int, clock: Clock, results: "SimpleQueue[list[BatchResult] | BaseException]"
    ) -> None:
        self._most = most
        self._clock = clock
        self._results = results
        self._inbox: deque[tuple[BatchSteps, DomainWanted | Wait | None]] = deque()
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_reader = socket.socketpair()
        self._wakeup.setblocking(False)
        self._selector.register(self._wakeup_reader, selectors.EVENT_READ)
        self._is_asleep = False
        self._is_closed = False
        self._slots: list[tuple[float, int, BatchSteps]] = []
        self._tickets = count()
        self._answers = AnswerWatch(self._selector, clock)
        self._ready: deque[BatchSteps] = deque()
        self._outbox: list[BatchResult] = []
        self.ended = 0  # batches whose end is in there: they hold no place any more
        self._hand_back_by = 0.0
        self._is_urgent = False
        self._count = 0
        self._jobs: SimpleQueue[BatchSteps | None] = SimpleQueue()
        self._blocking: set[BatchSteps] = set()
        self._blocking_threads = 0
        self._slow_lane = SlowLane(self.put, self._start)
        # Which thread runs the loop (the latest generation), and the step in which it may be stuck.
        self._lock = threading.Lock()
        self._generation = 0
        self._current: BatchSteps | None = None
        self._since = 0.0

    # from any thread -----------------------------------------------------------------------------------
    def put(self, steps: BatchSteps, wait: DomainWanted | Wait | None) -> None:
        """Leave a batch to the I/O thread, with what it waits for now."""
        self._inbox.append((steps, wait))
        if self._is_asleep:
            self._is_asleep = False
            self._wake()

    def _wake(self) -> None:
        try:
            self._wakeup.send(b".")
        except BlockingIOError:
            pass  # the socket is full of wakeups

    # from the owner thread -----------------------------------------------------------------------------
    @property
    def early(self) -> int:
        """How many batches wait for their slots."""
        return len(self._slots)

    def replace_stuck_thread(self) -> None:
        """Start an I/O thread if there is none, or if it has been in one step for too long."""
        self._slow_lane.look()
        with self._lock:
            if self._generation and not (self._current and monotonic() - self._since > STUCK_AFTER):
                return
            if self._current is not None:
                if self._blocking_threads >= self._most:
                    return
                self._blocking.add(self._current)
                self._blocking_threads += 1
                self._current = None
            self._generation += 1
            self._start(self._loop_forever, self._generation)

    def give_up_slow(self, passed: float, limit: float, *, is_end: bool = False) -> list[BatchResult]:
        """End the batches whose page has been parsed for `limit` seconds; their results where it `is_end`.

        `passed`: seconds since the last look.
        """
        results: list[BatchResult] = []
        for steps in {*self._blocking, *self._slow_lane.at_work, *filter(None, [self._current])}:
            if steps.parsed_for(passed) < limit or not steps.give_up(is_interrupted=is_end):
                continue
            with self._lock:
                if self._current is steps:
                    self._current = None
                    self._generation += 1
                    self._start(self._loop_forever, self._generation)
                elif not self._slow_lane.lose(steps):
                    self._blocking_threads -= 1
            if is_end:
                results += steps.results
            else:
                self.put(steps, None)
        return results

    def close(self) -> None:
        """End the threads that are idle; those that are stuck end with the process."""
        self._is_closed = True
        self._wake()
        self._slow_lane.close()
        for _ in range(self._blocking_threads):
            self._jobs.put(None)

    @staticmethod
    def _start(work: object, *arguments: object) -> None:
        # Daemons: after a signal the process ends in time, whatever a slow server does.
        threading.Thread(target=work, args=arguments, name="fetch", daemon=True).start()  # type: ignore[arg-type]

    # in the blocking pool ------------------------------------------------------------------------------
    def _serve_blocking(self) -> None:
        try:
            while (steps := self._jobs.get()) is not None:
                wait = steps.advance()
                if steps.is_given_up:
                    return
                self.put(steps, wait)
        except GivenUp:
            return

    # in the I/O thread ---------------------------------------------------------------------------------
    def _loop_forever(self, generation: int) -> None:
        try:
            while not self._is_closed:
                self._take_in()
                self._start_due()
                self._watch()
                if self._ready and not self._go_on(steps := self._ready.popleft(), generation):
                    return None if steps.is_given_up else self._serve_blocking()
        except GivenUp:
            return None
        except BaseException as error:  # a fault of ours: no answer of a site raises
            self._results.put(error)

    def _go_on(self, steps: BatchSteps, generation: int) -> bool:
        """Take a batch one step further; False where another thread has taken over the loop meanwhile."""
        with self._lock:
            self._current, self._since = steps, monotonic()
        began = thread_time()
        wait = steps.advance()
        if (cost := thread_time() - began) >= DEAR:
            self._slow_lane.note(steps.batch.domain, cost)
        with self._lock:
            is_ours = self._generation == generation
            if is_ours:
                self._current = None
        if is_ours:
            self._enqueue(steps, wait)
        elif not steps.is_given_up:
            self.put(steps, wait)
        return is_ours

    def _take_in(self) -> None:
        while self._inbox:
            steps, wait = self._inbox.popleft()
            if wait is _NEW:
                self._count += 1
            self._blocking.discard(steps)
            self._enqueue(steps, wait)

    def _enqueue(self, steps: BatchSteps, wait: DomainWanted | Wait | None) -> None:
        """Put a batch where it is found when its wait is over."""
        if steps.results:
            is_urgent = not self._may_linger(steps)
            by = monotonic() + (HAND_BACK_EVERY if is_urgent else LINGER)
            self._hand_back_by = min(by, self._hand_back_by) if self._outbox else by
            self._is_urgent = is_urgent or (self._is_urgent and bool(self._outbox))
            self._outbox += steps.results
            steps.results.clear()
        if wait is None:
            self._count -= 1
            self.ended += 1
        elif isinstance(wait, Until):
            heapq.heappush(self._slots, (wait.moment, next(self._tickets), steps))
        elif isinstance(wait, DomainWanted | Later):
            self._wait_outside(steps, wait)
        elif isinstance(wait, Asked) and wait.failure is not None:
            self._ready.append(steps)
        elif isinstance(wait, Asked) and wait.http1 is not None:
            if (over := self._answers.add(steps, wait, wait.http1)) is not None:
                self._go_on_with(steps, over)
        else:
            self._to_blocking_pool(steps)

    def _may_linger(self, steps: BatchSteps) -> bool:
        """Whether the owner may learn a little later of a batch: many are at work, and its domain waits.

        Where slow servers hold most of the places, what waits here would keep others from theirs.
        """
        limiter = steps.batch.session.limiter
        held = self._count - len(self._slots)
        is_many = self._count > FEW and 2 * held < self._most
        return is_many and isinstance(limiter, RateLimiter) and limiter.delay > 2 * EARLY

    def _wait_outside(self, steps: BatchSteps, wait: DomainWanted | Later) -> None:
        """Leave a batch alone until its browser, or the owner thread, says that it goes on."""
        if isinstance(wait, Later):
            wait.tell(lambda: self.put(steps, _AT_ONCE))
            return
        wait.wake = lambda: self.put(steps, _AT_ONCE)
        self._results.put([BatchResult(steps.batch, ends=False, wants=wait)])

    def _to_blocking_pool(self, steps: BatchSteps) -> None:
        """Give a batch to a thread of the blocking pool: an idle one, or a new one."""
        self._blocking.add(steps)
        if len(self._blocking) > self._blocking_threads and self._blocking_threads < self._most:
            self._blocking_threads += 1
            self._start(self._serve_blocking)
        self._jobs.put(steps)

    def _start_due(self) -> None:
        """Let those go on whose slots have come, as many as may be at work at once, before all else."""
        due: list[BatchSteps] = []
        now = self._clock.now()
        while self._slots and self._slots[0][0] <= now and self._count - len(self._slots) < self._most:
            due.append(heapq.heappop(self._slots)[2])
        self._ready.extendleft(reversed(due))

    def _watch(self) -> None:
        """Read what comes of answers; where there is nothing else to do, sleep until something does."""
        has_more = self._ready or (self._outbox and self._is_urgent)
        # Nobody wakes a thread that is not asleep.
        events = self._selector.select(0) if has_more and self._answers else []
        is_idle = not (events or self._ready)
        if self._outbox and ((is_idle and self._is_urgent) or monotonic() >= self._hand_back_by):
            self.ended = 0
            self._results.put(self._outbox)
            self._outbox = []
        if is_idle:
            self._is_asleep = True
            events = self._selector.select(0 if self._inbox or self._is_closed else self._patience())
            self._is_asleep = False
        for steps in self._answers.in_turn([key.data for key, _ in events]):
            if steps is None:
                self._wakeup_reader.recv(4096)
            elif (over := self._answers.pull(steps)) is not None:
                self._go_on_with(steps, over)
        for steps, over in self._answers.end_pauses():
            self._go_on_with(steps, over)
        self._ready.extend(self._answers.overdue())

    def _patience(self) -> float | None:
        """Seconds until the next slot, or the next look for what is overdue."""
        moments = [self._hand_back_by] if self._outbox else []
        if (moment := self._answers.next_moment) is not None:
            moments.append(moment)
        waits = [min(moments) - monotonic()] if moments else []
        if self._slots and self._count - len(self._slots) < self._most:
            waits.append(self._slots[0][0] - self._clock.now())
        return max(0.0, min(waits)) if waits else None

    def _go_on_with(self, steps: BatchSteps, over: Http1Exchange) -> None:
        """Let a batch go on whose answer is over: here, or where it holds up nobody if that takes long."""
        if over.is_saved:
            self._to_blocking_pool(steps)
        elif over.is_heavy or self._slow_lane.is_for(steps.batch.domain):
            self._slow_lane.put(steps)
        else:
            self._ready.append(steps)
