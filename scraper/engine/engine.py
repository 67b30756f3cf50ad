"""The crawl loop: one owner thread keeps the store, the heap of due domains and the group commit.

The life of a URL: `Store.add` makes it pending. `Leases` leases its domain. When the domain is due,
`Scheduler` takes the URL from the store, if robots.txt allows it. A downloader thread fetches and parses it
(`Downloader`, `Fetcher.visits`). `Throttling` applies what the answer means for the domain. `GroupCommit`
writes records, links, cookies, clock and the URL's end in one transaction. Then its links are pending.
"""

from collections.abc import Callable, Sequence

from scraper.engine.batch import BatchResult, Downloader, RobotsRequest
from scraper.engine.domain import Domain
from scraper.engine.group_commit import GroupCommit
from scraper.engine.leases import MOST_AT_ONCE, Leases, SessionMaker
from scraper.engine.open_files import OpenFiles
from scraper.engine.plan import Plan, Stop
from scraper.engine.raising import Raising
from scraper.engine.robots_answers import RobotsAnswers
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.engine.scheduler import Scheduler
from scraper.engine.third_party_domains import ThirdPartyDomains
from scraper.engine.throttling import Throttling
from scraper.engine.ticking import ticked
from scraper.errors import LoginFailed, OutOfFiles
from scraper.http.exchange import Answer
from scraper.model import Entry, Fetched, Redirected, Unchanged, Visit
from scraper.ops.clock import Clock
from scraper.runs.events import Event, Listener, Noted, Visited
from scraper.store import Run, Store

BEAT_EVERY = 1.0
LOOK_EVERY = 0.5
HOLD = 2.0
LEAVE_WITHIN = 2.5
WAKE_AT = 0.5  # of the time that a batch is early


class Engine:
    """Runs one spider's frontier to its end, or to a stop. All methods but `stop` are the owner thread's."""

    def __init__(
        self,
        store: Store,
        run: Run,
        downloader: Downloader,
        robots_cache: RobotsCache,
        open_session: SessionMaker,
        plan: Plan,
        clock: Clock,
        listeners: Sequence[Listener] = (),
        chance: Callable[[], float] = lambda: 0.5,
        *,
        may_reuse: Callable[[Entry], bool],
        give_up: Callable[[Visit], Visit],
    ) -> None:
        self._store = store
        self._run = run
        self._give_up = give_up
        self._downloader = downloader
        self._robots_cache = robots_cache
        self._plan = plan
        self._clock = clock
        self._listeners = listeners
        self._leases = Leases(store, run, robots_cache, open_session, plan, clock, self._tell)
        self._scheduler = Scheduler(
            store, run, robots_cache, plan, clock, self._obey, self._take_in, may_reuse
        )
        # Refusals in a row end a domain for a run; those before its end do not count.
        part = f"{run.id} again" if plan.is_again else run.id
        self._throttling = Throttling(plan, part, clock, chance, self._tell, self._scheduler.pending)
        self._group_commit = GroupCommit(store, run, self._leases, clock, self._tell)
        self._third_party = ThirdPartyDomains(self._leases, robots_cache, self._obey, clock, self._tell)
        leases, throttling = self._leases, self._throttling
        self._robots_answers = RobotsAnswers(
            robots_cache, leases, throttling, plan.max_attempts, clock, self._is_left, self._obey, self._tell
        )
        self._open_files = OpenFiles(self._leases, clock, self._tell)
        self._beat_at = self._look_at = 0.0
        self._stop: Stop | None = None
        self._began = clock.now()
        self._in_flight = 0
        self._raising = Raising(plan.max_errors)

    # the loop ------------------------------------------------------------------------------------------
    def run(self) -> Stop:
        """Crawl until nothing is left, a limit is reached or somebody stops it."""
        while True:
            self._beat()
            self._lease()
            # Right after the look for more: only then does "nothing left" mean something.
            if (stop := self._why_stop()) is not None:
                return self._wind_down(stop)
            self._dispatch()
            for result in self._downloader.collect(self._patience()):
                self._absorb(result)
            if self._group_commit.is_due:
                self._settle()

    def stop(self, reason: Stop = Stop.SIGNAL) -> None:
        """Ask the loop to end; callable from a signal handler."""
        self._stop = reason

    def _why_stop(self) -> Stop | None:
        if self._stop is not None:
            return self._stop
        plan = self._plan
        if plan.max_time is not None and self._clock.now() - self._began >= plan.max_time:
            return Stop.TIME
        if not self._scheduler.is_within_pages:
            return Stop.PAGES
        if plan.max_records is not None and self._scheduler.records >= plan.max_records:
            return Stop.RECORDS
        return self._is_finished()

    def _is_finished(self) -> Stop | None:
        if self._in_flight or self._group_commit or self._leases.robots_requests:
            return None
        if any(not domain.is_left for domain in self._leases):
            return None
        if self._look_at <= self._clock.now():
            return None  # something may have become pending since the last look
        progress = self._store.progress(self._run)
        if progress.pending == 0:
            return Stop.DONE
        if progress.next_due is None:
            # What is left because it refuses us is not worth another run; it is no longer waited for.
            if not self._leases or (self._plan.leads and self._store.is_helped(self._run)):
                return None
            is_for_good = all(domain.is_left_for_good for domain in self._leases)
            return Stop.DONE if is_for_good else Stop.DEFERRED
        return Stop.DEFERRED if progress.next_due > self._clock.now() + self._plan.max_wait else None

    def _patience(self) -> float:
        """Seconds until the next thing to do."""
        now = self._clock.now()
        moments = [self._beat_at, self._look_at]
        if (due := self._leases.next_due) is not None and self._downloader.has_room:
            # Not for each domain: whoever is due by then is handed out together.
            moments.append(due - self._downloader.early * WAKE_AT)
        if self._group_commit:
            moments.append(self._group_commit.settle_by)
        return max(0.0, min(moments) - now)

    def _wind_down(self, stop: Stop) -> Stop:
        """Let what is in flight come in for a moment, then give everything back."""
        for domain in self._leases:
            domain.end_batches()
        give_up = self._clock.now() + LEAVE_WITHIN
        while self._in_flight and (left := give_up - self._clock.now()) > 0:
            for result in self._downloader.collect(left):
                self._absorb(result)
        for result in self._downloader.close():
            self._absorb(result)
        self._robots_cache.save()
        self._group_commit.settle()
        self._leases.give_all_back()
        return stop

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener(event)

    # leases --------------------------------------------------------------------------------------------
    def _beat(self) -> None:
        """Once a second: show life, tell where we stand, hand over what others wait for."""
        now = self._clock.now()
        if now < self._beat_at:
            return
        self._beat_at = now + BEAT_EVERY
        self._robots_cache.save()
        if self._plan.leads and self._plan.max_pages is not None:
            self._scheduler.count_helpers()
        if self._listeners:
            pending = self._store.progress(self._run).pending
            self._tell(ticked(self._leases, self._scheduler.pages, self._in_flight, pending, now))
        for name in self._store.heartbeat():
            group = self._leases.groups.give_way(name)
            for each in (name,) if group is None else group:
                self._hand_over(each, now)

    def _hand_over(self, name: str, now: float) -> None:
        domain = self._leases.get(name)
        if domain is None or now - domain.leased_at < HOLD:
            return
        # Who follows a dead owner begins with a whole delay; so would the next if this one never got to it.
        if domain.limiter.sends or not domain.lease.crashes:
            domain.is_wanted = True
            # A page that is being rendered is not asked for anew: all its requests would be sent again.
            domain.end_batches(cuts=False)
            self._let_go(domain)

    def _lease(self) -> None:
        now = self._clock.now()
        if now < self._look_at:
            return
        taken = self._leases.take_more()
        self._third_party.look()
        self._look_at = now if len(taken) >= MOST_AT_ONCE else now + LOOK_EVERY
        for domain in taken:
            if domain.state.delay > self._throttling.max_delay and domain.due > now:
                longest = f"max_delay {self._throttling.max_delay:g} s"
                self._leave(domain, f"its delay of {domain.state.delay:g} s is longer than {longest}")
            self._is_left(domain)
            self._leases.schedule(domain)

    def _is_left(self, domain: Domain) -> bool:
        """Whether the domain is left alone; it is from now on where there is an objection to it."""
        if not domain.is_left and (reason := self._throttling.reason_to_leave(domain, self._clock.now())):
            self._leave(domain, reason)
        return domain.is_left

    def _leave(self, domain: Domain, reason: str) -> None:
        if not domain.is_left:
            self._leases.leave(domain, reason)

    def _let_go(self, domain: Domain) -> None:
        """Give a domain back at a batch boundary: nothing in flight, everything settled."""
        if domain.batches or domain.borrowers or self._leases.get(domain.name) is not domain:
            return
        if domain.unsettled:
            self._settle()
        self._leases.let_go(domain)

    # dispatch ------------------------------------------------------------------------------------------
    def _dispatch(self) -> None:
        # Before its slot: what has to come first, as a connection, then takes nothing from the domain's time.
        now = self._clock.now() + self._downloader.early
        while self._stop is None and self._downloader.has_room:
            domain = self._leases.pop_due(now)
            if domain is None:
                return
            self._begin_batch(domain, now)

    def _begin_batch(self, domain: Domain, now: float) -> None:
        if self._is_left(domain):
            return
        if domain.due > now:
            return self._leases.schedule(domain)
        if domain.is_wanted and not (domain.batches or domain.borrowers):
            return self._let_go(domain)
        if domain.needs_login and domain.batches:
            return  # a login has its session to itself; the end of the other batch comes back here
        if not self._leases.groups.begin(domain.name):
            return  # the end of the other's batch comes back here
        batch = self._scheduler.next_batch(domain)
        if batch is None:
            self._end_turn(domain)
            return self._run_dry(domain)
        # The batch is early; the rate limiter alone decides when it may send.
        domain.limiter.rest_until(domain.state.rest_until)
        domain.batches.add(batch)
        self._in_flight += 1
        self._downloader.submit(batch)
        # The batch has yet to take the slot; another would only wait for the one after it.
        domain.promised = max(domain.due, self._clock.now()) + domain.pace.delay
        domain.sends_before = domain.limiter.sends
        self._leases.schedule(domain)

    def _run_dry(self, domain: Domain) -> None:
        is_waiting = domain.asking or domain.batches  # whose end comes back here
        if domain.robots_requests or (domain.buffer and not is_waiting and self._scheduler.has_room):
            return self._leases.schedule(domain)
        if domain.is_idle:
            self._let_go(domain)

    # what comes back -----------------------------------------------------------------------------------
    def _absorb(self, result: BatchResult) -> None:
        domain = self._leases.get(result.batch.domain)
        if result.wants is not None:
            self._third_party.ask(result.batch, result.wants)
            self._look_at = 0.0 if self._third_party else self._look_at
            return
        self._in_flight -= result.ends
        if result.ends:
            self._third_party.end(result.batch)
        self._scheduler.taken_back(domain, result)
        if domain is None or result.batch not in domain.batches:
            return  # the domain was lost to another worker meanwhile
        for visit in result.visits:
            self._take_in(domain, visit)
        if result.ends:
            self._end_batch(domain, result)
        else:
            self._scheduler.top_up(domain, result.batch)

    def _end_batch(self, domain: Domain, result: BatchResult) -> None:
        domain.batches.discard(result.batch)
        if not domain.batches and domain.limiter.sends == domain.sends_before:
            domain.promised = 0.0  # it has not taken its slot
        domain.buffer.extendleft(reversed(result.batch.entries))
        domain.buffer.extendleft(domain.again)
        domain.again.clear()
        self._take_answer(domain, result)
        self._let_hops_pass(result)
        self._end_turn(domain)
        self._leases.keep_connected(domain)
        self._leases.schedule(domain)
        if domain.is_wanted:
            self._let_go(domain)

    def _take_answer(self, domain: Domain, result: BatchResult) -> None:
        """Learn from the end of a batch that had no pages to bring, or failed."""
        if result.error is not None:
            self._take_error(domain, result.error)
        elif (robots_request := result.batch.robots_request) is not None:
            self._take_robots(domain, robots_request, result.answer)
        elif result.batch.control:
            if result.answer is not None:
                self._scheduler.spent += 1
                self._throttling.account_for_control(domain, result.answer)
                self._is_left(domain)
        elif result.batch.login:
            domain.logged_in()
            if domain.session.has_login:
                self._tell(Noted(f"{domain.name}: login form sent"))

    def _end_turn(self, domain: Domain) -> None:
        """Let those go on that wait for the domain, as they share a pace with it."""
        for name in self._leases.groups.end(domain.name):
            if (waiting := self._leases.get(name)) is not None:
                self._leases.schedule(waiting)

    def _let_hops_pass(self, result: BatchResult) -> None:
        """A redirect hop is the next request of its domain, before what is in hand there."""
        for visit in result.visits:
            if isinstance(visit.outcome, Redirected):
                leads_to = self._leases.get(visit.outcome.to.domain)
                if leads_to is not None and not leads_to.needs_login:
                    leads_to.put_back()

    def _ran_out(self, domain: Domain) -> None:
        if (reason := self._open_files.ran_out(domain)) is not None:
            self._leave(domain, reason)

    def _take_error(self, domain: Domain, error: BaseException) -> None:
        if isinstance(error, OutOfFiles):
            return self._ran_out(domain)
        if not isinstance(error, LoginFailed):
            raise error
        domain.give_up_login(error.message)
        self._leave(domain, error.message)

    def _take_in(self, domain: Domain, visit: Visit) -> None:
        """Account for a visit and leave it to the next settlement."""
        if visit.reaction.is_ours:
            domain.again.append(visit.entry)
            return self._ran_out(domain)
        if visit.exchange is not None:
            self._open_files.found()
        is_page = isinstance(visit.outcome, Fetched | Unchanged)
        if visit.reaction.is_logged_out:
            kept = domain.missed(visit)
            visit, stays = kept or visit, kept is None
        else:
            visit, stays = self._throttling.judge_refusal(domain, visit)
        visit = self._give_up(visit)
        if stays:
            self._group_commit.touch(domain)
        else:
            self._group_commit.add(domain, visit)
        if is_page:
            domain.login_state.shown(visit.entry.id)
            self._scheduler.count_page(visit)
        self._scheduler.count(visit)
        self._count_errors(visit)
        domain.stats.count(visit)
        self._throttling.account_for(domain, visit)
        if domain.stats.login:
            self._leave(domain, domain.stats.login)
        if visit.exchange is not None:
            self._is_left(domain)
        self._tell(Visited(visit))

    def _count_errors(self, visit: Visit) -> None:
        if self._raising.count(visit, self._scheduler.pages):
            self.stop(Stop.ERRORS)

    def _settle(self) -> None:
        self._robots_cache.save()
        is_news, domains = self._group_commit.settle()
        if is_news:
            self._look_at = 0.0
        for domain in domains:
            if domain.is_idle and not domain.is_left and not self._scheduler.refill(domain):
                self._let_go(domain)
            elif not domain.ticket:
                self._leases.schedule(domain)

    # robots.txt ----------------------------------------------------------------------------------------
    def _obey(self, domain: Domain, robots_rules: RobotsRules) -> None:
        self._throttling.apply_robots(domain, robots_rules)
        # A wait that is too long is known now; at the domain's next slot it would be too late to tell.
        self._is_left(domain)

    def _take_robots(self, domain: Domain, robots_request: RobotsRequest, answer: Answer | None) -> None:
        if answer is None:
            domain.robots_requests.appendleft(robots_request)  # it was told to end before it could ask
        elif isinstance(answer.error, OutOfFiles):
            domain.robots_requests.appendleft(robots_request)
            self._ran_out(domain)
        elif self._robots_answers.take(domain, robots_request, answer):
            self._look_at = 0.0
