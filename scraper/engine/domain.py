"""A leased domain in the owner's hands: its URLs, its session, its clock and its counts."""

from collections import deque
from dataclasses import replace

from scraper import throttle
from scraper.engine.crew import Errand, Turn
from scraper.engine.membership import Membership, Step
from scraper.engine.permits import Permit
from scraper.engine.tally import Tally
from scraper.model import Entry, Failed, Visit
from scraper.session import DomainSession
from scraper.store import DomainUpdate, Lease
from scraper.throttle import Pace, State
from scraper.turnstile import Turnstile


class Domain:
    """All that the owner knows of a domain while it holds the lease."""

    def __init__(
        self, lease: Lease, session: DomainSession, gate: Turnstile, state: State, pace: Pace
    ) -> None:
        self.lease = lease
        self.name = lease.domain
        self.session = session
        self.gate = gate
        self.state = state
        self.pace = pace
        self.tally = Tally.from_json(lease.tally)
        self.buffer: deque[Entry] = deque()
        self.errands: deque[Errand] = deque()
        self.turns: set[Turn] = set()
        self.held: set[int] = set()
        self.permits: dict[str, Permit] = {}
        self.asking: set[str] = set()
        self.unsettled = 0
        self.is_dry = False
        self.is_left = False
        self.is_wanted = False
        self.needs_login = False
        self.membership = Membership()
        self.again: list[Entry] = []
        self.leased_at = 0.0
        self.ticket = 0
        self.promised = 0.0
        self._counted = (0, 0)
        self.visit_window: tuple[int, int] | None = None

    @property
    def due(self) -> float:
        """The next slot: the pace, the rest that was asked for, and the slot that a turn has yet to take."""
        return max(self.gate.due, self.state.rest_until, self.promised)

    @property
    def is_left_for_good(self) -> bool:
        """Whether the domain refused us, or our login: no later part of this run can go on with it."""
        return self.is_left and bool(self.tally.is_refused or self.tally.login)

    @property
    def is_idle(self) -> bool:
        """Nothing in the air, nothing in hand, nothing unsettled."""
        return not (self.turns or self.buffer or self.errands or self.unsettled)

    def set_pace(self, pace: Pace) -> bool:
        """Change the delay; whether that is news."""
        self.gate.slow_to(pace.delay)
        # The second word tells rules apart; the figure behind it may change with every answer.
        is_news = pace.source.split()[:2] != self.pace.source.split()[:2]
        self.pace = pace
        self.state = replace(self.state, delay=pace.delay)
        self.tally.delay_s = pace.delay
        self.tally.delay_source = pace.source
        return is_news

    def end_turns(self) -> None:
        """Ask the threads at work here to stop after the request in the air."""
        for turn in self.turns:
            turn.is_over = True

    def logged_in(self) -> None:
        """Note that a login went through."""
        self.needs_login = False
        self.membership.renewed()
        self.tally.logins += self.session.has_login

    def missed(self, visit: Visit) -> Visit | None:
        """What becomes of a page that no longer knows us; None where it stays in hand and comes first.

        Where the login is given up, `tally.login` says why.
        """
        match self.membership.missed(visit.entry.id):
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
        self.tally.login = reason

    def update(self) -> DomainUpdate:
        """What the store is to keep of the domain."""
        gap = self.gate.min_gap
        if gap != float("inf"):
            before = self.tally.min_gap_s
            self.tally.min_gap_s = round(gap if before is None else min(gap, before), 6)
        self.tally.breaches, self.gate.breaches = self.tally.breaches + self.gate.breaches, 0
        self._count_traffic()
        state = throttle.to_json(self.state)
        return DomainUpdate(self.lease, self.due, state, self.session.dump_changes(), self.tally.to_json())

    def _count_traffic(self) -> None:
        """Count what passed the gate, whoever sent it: pages, robots.txt, logins, callbacks."""
        sends, connects = self.gate.sends, self.session.meter.connects
        self.tally.requests += sends - self._counted[0]
        self.tally.connections += connects - self._counted[1]
        self._counted = sends, connects
