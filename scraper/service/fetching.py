"""Requests for callers: for each domain (or group) one queue and one thread, so that none waits for another.

All threads share one worker of the store, as the domains of a run do. The worker is there while there is
something to fetch, and so are the leases: a run that waits for a domain gets it after the request in hand.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

from scraper import settings as settings_of
from scraper.app.compose import worker_name
from scraper.app.one_url.fetch_one import SingleUrlFetcher
from scraper.app.one_url.step import Step
from scraper.app.project import SERVICES
from scraper.errors import ScraperError, StoreBusy, StoreError
from scraper.ops.clock import SystemClock
from scraper.service.problems import Problem
from scraper.settings import Settings
from scraper.store import GROUP, Run, Store
from scraper.urls import domain_of

MOST_QUEUED = 100  # callers that wait for one domain
MOST_DOMAINS = 600  # a thread each
IDLE = 10.0  # seconds that a domain is kept when nobody asks for it
BEAT_EVERY = 1.0
REST = 30.0  # seconds without any domain after which we leave the store
LEAST_RETRY = 1
MOST_COUNTED = 1_000  # domains


Work = Callable[[SingleUrlFetcher, "Job"], Step]


@dataclass(slots=True)
class Job:
    """Work for a URL on its domain's thread, for which a caller waits until a moment of the clock."""

    url: str
    until: float
    work: Work
    answer: "Future[Step]" = field(default_factory=Future)
    is_left: bool = False
    is_under_way: bool = False

    def is_wanted(self) -> bool:
        """Whether somebody still waits."""
        return not self.is_left


@dataclass(slots=True)
class Counts:
    """What was asked of a domain. `min_gap`: the smallest distance of two requests (s), else infinite."""

    requests: int = 0
    refusals: int = 0
    min_gap: float = math.inf
    seen: int = 0


class Queue:
    """Who waits for a domain, in the order in which they came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.due = 0.0
        self.delay = 0.0
        self.rule = ""
        self._jobs: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False

    def put(self, job: Job, now: float) -> bool:
        """Add a caller; False where this queue has ended. Problem 429 or 503 where it is too long."""
        with self._changed:
            if self._is_closed:
                return False
            waiting = [one for one in self._jobs if one.is_wanted()]
            wait = max(0.0, self.due - now) + len(waiting) * self.delay
            if len(waiting) >= MOST_QUEUED:
                raise Problem(
                    429,
                    f"{MOST_QUEUED} callers wait for {self.name} already",
                    "ask again later, or for less of one domain",
                    headers={"Retry-After": str(max(LEAST_RETRY, round(wait)))},
                )
            if now + wait > job.until:
                raise too_long(self.name, wait, self.rule)
            self._jobs = deque((*waiting, job))
            self._changed.notify()
            return True

    def take(self, seconds: float) -> Job | None:
        """The next caller who still waits; None after so many seconds without one."""
        with self._changed:
            while True:
                while self._jobs:
                    job = self._jobs.popleft()
                    if job.is_wanted():
                        job.is_under_way = True
                        return job
                if not self._changed.wait(seconds):
                    return None

    def close(self) -> bool:
        """End the queue unless somebody has come; whether it has ended."""
        with self._changed:
            self._is_closed = not self._jobs
            return self._is_closed

    def fail(self, error: BaseException) -> None:
        """Tell everybody who waits, and end the queue."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs:
                job.answer.set_exception(error)
            self._jobs.clear()


class _StoreThread:
    """A store for many threads: each call is made in the one thread that has it.

    It stays alive by itself, so that `heartbeat` has nothing to do.
    """

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="fetch-store")
        self._store = self._pool.submit(open_store).result()
        self._wanted: frozenset[str] = frozenset()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        verb = getattr(self._store, name)

        def call(*args: Any, **options: Any) -> Any:
            return self._pool.submit(verb, *args, **options).result()

        return call

    def heartbeat(self) -> frozenset[str]:
        return self._wanted

    def beat(self) -> None:
        self._wanted = self._pool.submit(self._store.heartbeat).result()

    def end(self, run: Run | None) -> None:
        def work() -> None:
            with suppress(ScraperError):
                if run is not None:
                    self._store.end_run(run, {}, accepted=False, whole=False)
                    self._store.prune(run.spider, 1)
            with suppress(ScraperError):
                self._store.leave()
            self._store.close()

        self._pool.submit(work)
        self._pool.shutdown(wait=True)


class Fetches:
    """Gets single hops for callers."""

    def __init__(self, open_store: Callable[[], Store], settings: Settings) -> None:
        self._open_store = open_store
        self._settings = settings
        # Domains of one group are asked one at a time, as one domain is.
        group_of = settings_of.grouping(settings)
        self._queue_of: Callable[[str], str] = lambda name: group_of(name) or name
        self._lock = threading.Lock()
        self._queues: dict[str, Queue] = {}
        self._store: _StoreThread | None = None
        self._run: Run | None = None
        self._wake = threading.Event()
        self._is_ending = False
        self._counts: dict[str, Counts] = {}
        self.clock = SystemClock(0.0)

    async def open(self) -> None:
        """Enter the store, so that `clock` is the one of all its processes."""
        if self._store is None:
            await asyncio.to_thread(self._open)

    def _open(self) -> None:
        with self._lock:
            self._begin()

    async def hop(self, url: str, until: float, work: Work) -> Step:
        """What comes of work for a URL. Problem 429 or 503 where its turn comes later than a moment."""
        job = Job(url, until, work)
        answer = asyncio.wrap_future(job.answer)
        answer.add_done_callback(_heard)
        try:
            await self.put(job)
            done, _ = await asyncio.wait([answer], timeout=max(0.0, until - self.clock.now()))
            if done or job.is_under_way:
                return await asyncio.shield(answer)  # it cannot be called back
        finally:
            job.is_left = True
        queue = self._queues.get(self._queue_of(domain_of(url)))
        wait = max(0.0, queue.due - self.clock.now()) if queue is not None else 0.0
        raise too_long(domain_of(url), wait, queue.rule if queue is not None else "")

    async def put(self, job: Job) -> None:
        """Add a job to the queue of its domain; Problem 429 or 503 where that is too long."""
        await asyncio.to_thread(self._enqueue, job)

    def _enqueue(self, job: Job) -> None:
        name = self._queue_of(domain_of(job.url))
        while True:
            with self._lock:
                if self._is_ending:
                    raise Problem(503, "the service is ending", headers={"Retry-After": "10"})
                self._begin()
                queue = self._queues.get(name)
                if queue is None:
                    if len(self._queues) >= MOST_DOMAINS:
                        raise Problem(
                            503,
                            f"{MOST_DOMAINS} domains are being asked already",
                            headers={"Retry-After": "5"},
                        )
                    queue = self._queues[name] = Queue(name)
                    queue.put(job, self.clock.now())
                    threading.Thread(
                        target=self._serve, args=(queue,), name=f"fetch {name}", daemon=True
                    ).start()
                    return
            if queue.put(job, self.clock.now()):
                return

    def _begin(self) -> None:
        """Enter the store as a worker, where we have not; under the lock."""
        if self._store is not None:
            return
        store = _StoreThread(self._open_store)
        try:
            self.clock = SystemClock(store.anchor())
            store.join(worker_name())
            self._run = _own_run(store)
        except BaseException:
            store.end(None)
            raise
        self._store = store
        self._wake = threading.Event()
        threading.Thread(target=self._beat, args=(store, self._wake), name="fetch-beat", daemon=True).start()

    def _beat(self, store: _StoreThread, wake: threading.Event) -> None:
        """Stay alive in the store while there is something to do; leave it after a while without."""
        idle = 0.0
        while not wake.wait(BEAT_EVERY):
            try:
                store.beat()
            except ScraperError:
                self._leave(store)
                return
            with self._lock:
                idle = 0.0 if self._queues else idle + BEAT_EVERY
            if idle >= REST and self._leave(store):
                return

    def _leave(self, store: _StoreThread) -> bool:
        with self._lock:
            if self._store is not store or (self._queues and not self._is_ending):
                return False
            self._store, run, self._run = None, self._run, None
        store.end(run)
        return True

    def _serve(self, queue: Queue) -> None:
        """The life of a domain's thread."""
        assert self._store is not None and self._run is not None
        store = self._store
        probe = SingleUrlFetcher(cast(Store, store), self._run, self._settings, _silent, is_meant=False)
        try:
            idle = 0.0
            while True:
                job = queue.take(BEAT_EVERY)
                if job is not None:
                    self._do(queue, probe, job)
                idle = idle + BEAT_EVERY if job is None else 0.0
                wanted = store.heartbeat()
                if idle >= IDLE or GROUP + queue.name in wanted or not wanted.isdisjoint(probe.domains.names):
                    probe.domains.release()
                if idle >= IDLE and self._closed(queue):
                    return
        except BaseException as error:
            with self._lock:
                self._queues.pop(queue.name, None)
            queue.fail(error)
            with suppress(Exception):
                probe.domains.release()

    def _closed(self, queue: Queue) -> bool:
        with self._lock:
            if queue.close():
                del self._queues[queue.name]
                return True
            return False

    def _do(self, queue: Queue, probe: SingleUrlFetcher, job: Job) -> None:
        try:
            step = job.work(probe, job)
            if step.pace is not None:
                queue.delay = step.pace.delay
            probe.domains.release(lambda name: self._queue_of(name) == queue.name)
            if (name := domain_of(job.url)) in probe.domains.names:
                queue.due, queue.rule = probe.domains.next_slot(name)
                self._count(name, *probe.domains.sends(name), bool(step.blocked))
        except BaseException as error:
            job.answer.set_exception(error)
            if isinstance(error, StoreError) or not isinstance(error, Exception):
                raise  # what we hold may be another's: begin anew
            return
        job.answer.set_result(step)

    def _count(self, name: str, sends: int, min_gap: float, is_blocked: bool) -> None:
        with self._lock:
            if name not in self._counts and len(self._counts) >= MOST_COUNTED:
                return
            counts = self._counts.setdefault(name, Counts())
            # A domain that was given back and taken again begins to count anew.
            counts.requests += sends - counts.seen if sends >= counts.seen else sends
            counts.seen = sends
            counts.min_gap = min(counts.min_gap, min_gap)
            counts.refusals += is_blocked

    def counts(self) -> dict[str, Counts]:
        """What was asked of each domain since the service began."""
        with self._lock:
            return {name: replace(counts) for name, counts in sorted(self._counts.items())}

    def close(self) -> None:
        """Give all domains back with their clocks."""
        with self._lock:
            self._is_ending = True
            queues, store, run = list(self._queues.values()), self._store, self._run
            self._store = self._run = None
        for queue in queues:
            queue.fail(Problem(503, "the service is ending", headers={"Retry-After": "10"}))
        self._wake.set()
        if store is not None:
            store.end(run)


def _own_run(store: _StoreThread) -> Run:
    """A run that no other service of this store has; Problem 503 where there are too many."""
    for name in SERVICES:
        with suppress(StoreBusy):
            run: Run = store.start_run(name, "", fresh=True)
            return run
    raise Problem(503, f"{len(SERVICES)} services of this project fetch already", "ask one of them")


def too_long(name: str, wait: float, rule: str) -> Problem:
    """The problem of a wait that is longer than the caller's."""
    because = f" ({rule})" if rule else ""
    return Problem(
        503,
        f"the next request to {name} may be sent in {wait:.0f} s{because}, which is longer than timeout",
        "ask again after Retry-After, or with a longer timeout",
        headers={"Retry-After": str(max(LEAST_RETRY, round(wait + 0.5)))},
        rule=rule,
        wait_s=round(wait, 1),
    )


def _heard(answer: "asyncio.Future[Step]") -> None:
    """Nobody needs to be told of what went wrong for a caller who has left."""
    if not answer.cancelled():
        answer.exception()


def _silent(line: str) -> None:
    pass
