"""What a domain does next: a robots.txt request, a login, or the next URLs that may be fetched."""

from collections.abc import Callable
from math import inf

from scraper.engine.batch import Batch, BatchResult
from scraper.engine.budgets import Budgets
from scraper.engine.domain import Domain
from scraper.engine.parse_limit import deadly
from scraper.engine.plan import Plan
from scraper.engine.robots_cache import RobotsCache, RobotsRules
from scraper.http import caching
from scraper.model import Deferred, Denied, Entry, Fetched, Known, Outcome, Retry, Unchanged, Visit
from scraper.ops.clock import Clock
from scraper.spider.identity import request_of
from scraper.store import Run, Store
from scraper.urls import origin_of

IN_HAND = 100
FEW_IN_HAND = 16
SHORT = 0.1  # seconds of delay under which a domain needs many URLs in hand


class Scheduler:
    """Takes URLs from the store and hands them out in batches.

    `obey` takes up the rules of an origin; `take_in` gets the visits that end without a request: denied by
    robots.txt, or fresh; `may_reuse` tells whether a fresh one need not be parsed again. `handed_out`
    counts the URLs in the downloader, `pages` those that became pages and `records` what came of them,
    `spent` what counts against max_pages: every request for a page, whatever became of it.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        robots_cache: RobotsCache,
        plan: Plan,
        clock: Clock,
        obey: Callable[[Domain, RobotsRules], None],
        take_in: Callable[[Domain, Visit], None],
        may_reuse: Callable[[Entry], bool],
    ) -> None:
        self._store = store
        self._run = run
        self._robots_cache = robots_cache
        self._plan = plan
        self._budgets = Budgets(plan.pages_per_domain)
        self._clock = clock
        self._obey = obey
        self._take_in = take_in
        self._may_stand = may_reuse
        self.handed_out = 0
        self.pages = 0
        self.spent = 0
        self._ended = 0
        self._ended_before = store.progress(run).done if plan.leads and plan.max_pages is not None else 0
        self._by_helpers = 0
        self.records = 0

    @property
    def has_room(self) -> bool:
        """Whether max_pages allows another request."""
        most = self._plan.max_pages
        return most is None or self.spent + self._by_helpers + self.handed_out < most

    @property
    def is_within_pages(self) -> bool:
        """Whether max_pages is not reached yet."""
        most = self._plan.max_pages
        return most is None or self.spent + self._by_helpers < most

    def count(self, visit: Visit) -> None:
        """Count a visit against max_pages."""
        self.spent += visit.exchange is not None or not isinstance(visit.outcome, Denied)
        self._ended += not isinstance(visit.outcome, Retry | Deferred)

    def count_page(self, visit: Visit) -> None:
        """Count a page and its records."""
        self.pages += 1
        match visit.outcome:
            case Fetched(records=records):
                self.records += len(records)
            case Unchanged() if visit.entry.known is not None:
                self.records += visit.entry.known.records

    def count_helpers(self) -> None:
        """Count what other workers of the run have ended, as far as it is settled."""
        ended = self._store.progress(self._run).done - self._ended_before
        self._by_helpers = max(self._by_helpers, ended - self._ended)

    def pending(self, domain: Domain) -> int:
        """How many URLs of a domain are still to be asked for, as far as known; never too few."""
        in_air = sum(len(batch.entries) for batch in domain.batches)
        in_hand = len(domain.buffer) + in_air + len(domain.robots_requests)
        return in_hand if domain.is_dry else max(in_hand, self._store.progress(self._run).pending)

    def next_batch(self, domain: Domain) -> Batch | None:
        """The domain's next batch; None where there is nothing to do now."""
        is_behind = bool(domain.batches)
        doubt = domain.refusals.doubt
        if doubt is not None and not doubt.is_passed:
            # Its answer is to be compared with that before it: nothing else is asked for meanwhile.
            is_now = self.has_room and not is_behind
            return Batch(domain.name, domain.session, control=doubt.control) if is_now else None
        entry = None if domain.robots_requests else self._next_entry(domain, is_behind=is_behind)
        if domain.robots_requests:
            return Batch(domain.name, domain.session, robots_request=domain.robots_requests.popleft())
        if entry is None:
            return None
        batch = Batch(domain.name, domain.session)
        if domain.needs_login:
            domain.buffer.appendleft(entry)
            batch.login = True
            return batch
        self._hand_out(domain, batch, entry)
        self.top_up(domain, batch)
        return batch

    def top_up(self, domain: Domain, batch: Batch) -> None:
        """Without a delay a thread goes from URL to URL: waking the owner costs more than a page."""
        if domain.pace.delay > 0 or batch.is_over or self._plan.group_of(domain.name):
            return
        if domain.refusals.doubt is not None or domain.state.limit.in_row:
            return  # what passes after a refusal may teach a delay
        # Of several batches none may take what the others are to do.
        width = self._plan.concurrency
        most = IN_HAND if width == 1 else min(IN_HAND, max(1, len(domain.buffer) // width))
        while len(batch.entries) < most and (entry := self._next_entry(domain, is_behind=True)) is not None:
            self._hand_out(domain, batch, entry)

    def _hand_out(self, domain: Domain, batch: Batch, entry: Entry) -> None:
        batch.entries.append(entry)
        self.handed_out += 1
        self._budgets.take(domain, entry)

    def taken_back(self, domain: Domain | None, result: BatchResult) -> None:
        """Note what of a batch is no longer in a thread's hands: visited, or not asked for when it ended."""
        unasked = result.batch.entries if result.ends else ()
        self.handed_out -= len(result.visits) + len(unasked)
        if domain is not None:
            for visit in result.visits:
                self._budgets.give_back(domain, visit.entry, is_spent=visit.exchange is not None)
            for entry in unasked:
                self._budgets.give_back(domain, entry, is_spent=False)

    def _next_entry(self, domain: Domain, *, is_behind: bool) -> Entry | None:
        """The next URL that is to be asked for; None if there is none, or robots.txt has to be read first.

        `is_behind`: others of the domain are in flight, and what need not be asked for waits for them.
        """
        while self.has_room:
            if not domain.buffer and not self.refill(domain):
                return None
            entry = domain.buffer[0]
            robots_rules = self._robots_rules(domain, entry.url)
            if robots_rules is None or domain.is_left:
                return None
            outcome = self._unasked(domain, entry, robots_rules)
            if outcome is None and self._budgets.has_room(domain, entry):
                return domain.buffer.popleft()
            if outcome is None:
                return None  # what is in flight may take all that is left of a budget, or come back unasked
            if isinstance(outcome, Unchanged) and is_behind and self._plan.concurrency == 1:
                # Its links would come before those of a page that is asked for and may say something else;
                # with more than one in flight there is no order to keep.
                return None
            self._take_in(domain, Visit(domain.buffer.popleft(), outcome))
        return None

    def _unasked(self, domain: Domain, entry: Entry, robots_rules: RobotsRules) -> Outcome | None:
        """What becomes of a URL without a request; None where it is to be asked for."""
        if (failed := deadly(entry)) is not None:
            return failed
        if (reason := robots_rules.refusal(self._plan.token, entry.url)) is not None:
            domain.stats.closed = domain.stats.closed or robots_rules.closed
            return Denied(reason)
        if (known := entry.known) is not None and self._is_fresh(entry, known):
            return Unchanged(known)
        reason = self._budgets.refusal(domain, entry)
        return Denied(reason) if reason else None

    def refill(self, domain: Domain) -> bool:
        """Take more URLs in hand; False if the store has none that we have not."""
        if domain.is_dry:
            return False
        most = IN_HAND if domain.pace.delay < SHORT else FEW_IN_HAND
        entries = self._store.take(self._run, domain.lease, most, list(domain.held))
        domain.is_dry = len(entries) < most
        sound = [entry for entry in entries if not entry.crashes]
        if sound or domain.held:
            # What may have killed the process waits until the rest is settled: it can take nothing along
            # then, and who ends the process for other reasons hardly hits the same page again.
            entries = sound
        domain.buffer.extend(entries)
        domain.held.update(entry.id for entry in entries)
        return bool(entries)

    def _is_fresh(self, entry: Entry, known: Known) -> bool:
        now = self._clock.wall()
        request = request_of(entry)
        if request.dont_filter and request.max_age is None:
            return False  # it is to be asked each time
        max_age = self._plan.max_age if request.max_age is None else request.max_age
        # What a POST brings is fresh only where the spider says so (RFC 9110 9.3.3).
        until = known.fresh_until if request.method in ("GET", "HEAD") else 0.0
        until = max(until, known.fetched_at + max_age)
        if request.modified_at is not None and known.fetched_at > request.modified_at:
            until = inf
        return caching.is_usable(known.fetched_at, until, now) and self._may_stand(entry)

    def _robots_rules(self, domain: Domain, url: str) -> RobotsRules | None:
        """The rules for a URL; None after queueing a request for them."""
        origin = origin_of(url)
        robots_rules = domain.robots_cache.get(origin)
        if robots_rules is not None and self._clock.wall() < robots_rules.until:
            return robots_rules
        robots_rules = self._robots_cache.find(origin)
        if robots_rules is not None:
            self._obey(domain, robots_rules)
        elif origin not in domain.asking:
            domain.asking.add(origin)
            domain.robots_requests.append(self._robots_cache.robots_request(origin))
        return robots_rules
