"""A leased domain on the owner thread: its URLs, session, politeness state and counts."""

from collections import Counter, deque
from dataclasses import field, replace

from scraper.engine.batch import Batch, RobotsRequest
from scraper.engine.domain_stats import DomainStats
from scraper.engine.login_state import LoginState, Step
from scraper.engine.robots_cache import RobotsRules
from scraper.http.session import DomainSession
from scraper.model import Entry, Failed, Visit
from scraper.model.frozen import frozen, slotted
from scraper.politeness import throttle
from scraper.politeness.limit import Limit, told_of
from scraper.politeness.rate_limiter import RateLimiter
from scraper.politeness.throttle import Pace, State
from scraper.spider.identity import request_of
from scraper.store import DomainUpdate, Lease

LOOK_AT = 2  # refusals in a row, where some pages are known to fail


@frozen
class Doubt:
    """A refusal that may mean the page or our pace, until an experiment has shown it, see `refusals`.

    `limit`: what it teaches if the pace was meant; `reason`: how the site refused; `url`: the one that was
    refused, by its id, 0 if only the control is to be asked for; `rest`: seconds before the control, whose
    URL is `control`; `is_passed`: it has passed.
    """

    limit: Limit
    reason: str
    url: int
    rest: float
    control: str
    is_passed: bool = False


@slotted
class RefusalsSeen:
    """What a run remembers of refusals on a domain, see `refusals`; URLs by their ids.

    `passes`: answers that were none. `limited`: URLs refused by rate, with what was known of the limit
    before, and `passes` then. `doubt`: the experiment under way. `own`:
    URLs that were shown to be refused for their own sake; `retried`: forbidden ones that get another try,
    `vain` of which were in vain. `in_row`: refusals since something passed; at `look_at` of them the
    control is asked for. `last`: what passed last, by callback.
    `unlucky`: how often a site that refuses at random refused them. `is_spared`: a kept connection
    broke since something passed, `has_broken`: ever. `spared`: pages whose first error was passed over,
    with `passes` then.
    """

    passes: int = 0
    limited: dict[int, tuple[Limit, int, int]] = field(default_factory=dict)
    doubt: Doubt | None = None
    own: set[int] = field(default_factory=set)
    retried: set[int] = field(default_factory=set)
    vain: int = 0
    in_row: int = 0
    look_at: int = LOOK_AT
    unlucky: Counter[int] = field(default_factory=Counter)
    is_spared: bool = False
    has_broken: bool = False
    spared: dict[int, int] = field(default_factory=dict)
    last: dict[str, Entry] = field(default_factory=dict)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether anything was refused; of most domains there is nothing to know."""
        return bool(self.limited or self.retried or self.doubt or self.own or self.vain or self.spared)

    def control_url(self, entry: Entry) -> str:
        """A URL like that of an entry that has passed and can be asked for as it stands; empty without one.

        Limits may be for a part of a site, so that it is one with the same callback, if there is any.
        """
        last = self.last.get(callback_of(entry)) or next(reversed(self.last.values()), None)
        if last is None:
            return ""
        request = request_of(last)
        is_bare = request.method == "GET" and not (request.headers or request.json or request.data)
        return last.url if is_bare else ""


def callback_of(entry: Entry) -> str:
    """The name of the callback that parses an entry's page, as cheaply as it can be had for each page."""
    return entry.request.partition('"callback":"')[2].partition('"')[0] if entry.request else ""


class Domain:
    """All that the owner knows of a domain while it holds the lease."""

    def __init__(
        self, lease: Lease, session: DomainSession, limiter: RateLimiter, state: State, pace: Pace
    ) -> None:
        self.lease = lease
        self.name = lease.domain
        self.session = session
        self.limiter = limiter
        self.state = state
        self.pace = pace
        self.stats = DomainStats.from_json(lease.stats)
        self.buffer: deque[Entry] = deque()
        self.robots_requests: deque[RobotsRequest] = deque()
        self.batches: set[Batch] = set()
        self.borrowers: set[Batch] = set()  # batches of other domains whose rendered pages load from this one
        self.held: set[int] = set()
        self.taken: Counter[str] = Counter()
        self.robots_cache: dict[str, RobotsRules] = {}
        self.asking: set[str] = set()
        # Of all its origins the longest, by robots.txt.
        self.crawl_delay: float | None = None
        self.request_interval: float | None = None
        self.unsettled = 0
        self.is_dry = False
        self.is_left = False
        self.is_wanted = False
        self.needs_login = False
        self.login_state = LoginState()
        self.again: list[Entry] = []
        self.leased_at = 0.0
        self.ticket = 0
        self.promised, self.sends_before = 0.0, 0
        self._counted = (0, 0)
        self._shown: tuple[Pace, str] | None = None
        self._sends = limiter.sends
        self.refusals = RefusalsSeen()
        self.quota_interval = 0.0
        self.quota_until = 0.0
        self.visit_window: tuple[int, int] | None = None

    @property
    def due(self) -> float:
        """The next slot: the pace, the rest that was asked for, and the slot that a batch has yet to take."""
        return max(self.limiter.due, self.state.rest_until, self.promised)

    @property
    def is_left_for_good(self) -> bool:
        """Whether the domain refused us, or our login: no later part of this run can go on with it."""
        return self.is_left and bool(self.stats.is_refused or self.stats.login)

    @property
    def is_idle(self) -> bool:
        """Nothing in flight, nothing in hand, nothing unsettled."""
        return not (self.batches or self.borrowers or self.buffer or self.robots_requests or self.unsettled)

    def set_pace(self, pace: Pace) -> bool:
        """Change the delay; whether that is news."""
        told = told_of(self.state.limit)
        if self._shown == (pace, told) and self.limiter.delay == self.state.delay == pace.delay:
            return False
        self._shown = pace, told
        self.limiter.slow_to(pace.delay)
        # The second word tells rules apart; the figure behind it may change with every answer.
        is_news = pace.source.split()[:2] != self.pace.source.split()[:2]
        self.pace = pace
        if self.state.delay != pace.delay:
            self.state = replace(self.state, delay=pace.delay)
        self.stats.delay_s = pace.delay
        self.stats.learned = told
        source = f"{pace.source}; {told}" if self.state.limit.allowance else pace.source
        if self.session.render_delay is not None:
            source += f"; loads {self.session.render_delay[0]:g} s"
        self.stats.delay_source = source
        return is_news

    def put_back(self) -> None:
        """Have nothing in hand until the next settlement, after which something else comes first."""
        self.held.difference_update(entry.id for entry in self.buffer)
        self.buffer.clear()
        self.is_dry = True

    def sends_since(self) -> int:
        """How many requests were sent since the last look, whoever sent them."""
        before, self._sends = self._sends, self.limiter.sends
        return self._sends - before

    def end_batches(self, *, cuts: bool = True) -> None:
        """Ask the threads at work here to stop after the request in flight; `cuts`: also in a rendering."""
        for batch in self.batches:
            batch.is_over, batch.is_cut = True, batch.is_cut or cuts

    def logged_in(self) -> None:
        """Note that a login went through."""
        self.needs_login = False
        self.login_state.renewed()
        self.stats.logins += self.session.has_login

    def missed(self, visit: Visit) -> Visit | None:
        """What becomes of a page that no longer knows us; None where it stays in hand and comes first.

        Where the login is given up, `stats.login` says why.
        """
        match self.login_state.missed(visit.entry.id):
            case Step.RENEW:
                self.needs_login, self.session.is_logged_in = True, False
                self.again.append(visit.entry)
                return None
            case Step.STRANGE:
                return replace(visit, outcome=Failed("asks for a login even right after one", "logged out"))
            case Step.GIVE_UP:
                self.give_up_login("still logged out right after a login")
            case Step.LATER:
                pass
        return visit

    def give_up_login(self, reason: str) -> None:
        """Note that nobody will log in here any more in this run."""
        self.session.is_logged_in = False
        self.stats.login = reason

    def update(self) -> DomainUpdate:
        """What the store is to keep of the domain."""
        gap = self.limiter.min_gap
        if gap != float("inf"):
            before = self.stats.min_gap_s
            self.stats.min_gap_s = round(gap if before is None else min(gap, before), 6)
        self.stats.breaches, self.limiter.breaches = self.stats.breaches + self.limiter.breaches, 0
        self._count_traffic()
        state = throttle.to_json(self.state)
        return DomainUpdate(self.lease, self.due, state, self.session.dump_changes(), self.stats.to_json())

    def _count_traffic(self) -> None:
        """Count what passed the rate limiter: pages, robots.txt, logins, requests of callbacks."""
        self.stats.mixed_up += self.session.adapter.take_mixed_up()
        sends, connects = self.limiter.sends, self.session.meter.connects
        self.stats.requests += sends - self._counted[0]
        self.stats.connections += connects - self._counted[1]
        self._counted = sends, connects
