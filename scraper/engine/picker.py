"""What a domain does next: an errand for a robots.txt, a login, or the next URLs that may be asked for."""

from collections.abc import Callable

from scraper.clock import Clock
from scraper.engine.crew import Turn
from scraper.engine.domain import Domain
from scraper.engine.permits import Permit, Permits
from scraper.engine.plan import Plan
from scraper.model import Denied, Entry, Known, Unchanged, Visit
from scraper.spider import request_of
from scraper.store import Run, Store
from scraper.urls import origin_of

IN_HAND = 100
FEW_IN_HAND = 16
SHORT = 0.1  # seconds of delay under which a domain needs many URLs in hand


class Picker:
    """Takes URLs from the store and hands them out in turns.

    `obey` takes up the rules of an origin; `take_in` gets the visits that end without a request: denied by
    robots.txt, or fresh. `handed_out` counts the URLs in threads' hands, `pages` those that became pages.
    """

    def __init__(
        self,
        store: Store,
        run: Run,
        permits: Permits,
        plan: Plan,
        clock: Clock,
        obey: Callable[[Domain, Permit], None],
        take_in: Callable[[Domain, Visit], None],
    ) -> None:
        self._store = store
        self._run = run
        self._permits = permits
        self._plan = plan
        self._clock = clock
        self._obey = obey
        self._take_in = take_in
        self.handed_out = 0
        self.pages = 0

    @property
    def has_room(self) -> bool:
        """Whether max_pages allows another page."""
        most = self._plan.max_pages
        return most is None or self.pages + self.handed_out < most

    def next_turn(self, domain: Domain) -> Turn | None:
        """The domain's next turn; None where there is nothing to do now."""
        entry = None if domain.errands else self._next_entry(domain)
        if domain.errands:
            return Turn(domain.name, domain.session, errand=domain.errands.popleft())
        if entry is None:
            return None
        turn = Turn(domain.name, domain.session)
        if domain.needs_login:
            domain.buffer.appendleft(entry)
            turn.login = True
            return turn
        self._hand_out(turn, entry)
        self.top_up(domain, turn)
        return turn

    def top_up(self, domain: Domain, turn: Turn) -> None:
        """Without a delay a thread goes from URL to URL: waking the owner costs more than a page."""
        if domain.pace.delay > 0 or turn.is_over:
            return
        while len(turn.entries) < IN_HAND and (entry := self._next_entry(domain)) is not None:
            self._hand_out(turn, entry)

    def _hand_out(self, turn: Turn, entry: Entry) -> None:
        turn.entries.append(entry)
        self.handed_out += 1

    def _next_entry(self, domain: Domain) -> Entry | None:
        """The next URL that is to be asked for; None if there is none, or robots.txt has to be read first."""
        while self.has_room:
            if not domain.buffer and not self.refill(domain):
                return None
            entry = domain.buffer[0]
            permit = self._permit(domain, entry.url)
            if permit is None or domain.is_left:
                return None
            domain.buffer.popleft()
            reason = permit.refusal(self._plan.token, entry.url)
            if reason is not None:
                self._take_in(domain, Visit(entry, Denied(reason)))
            elif (known := entry.known) is not None and self._is_fresh(entry, known):
                self._take_in(domain, Visit(entry, Unchanged(known)))
            else:
                return entry
        return None

    def refill(self, domain: Domain) -> bool:
        """Take more URLs in hand; False if the store has none that we have not."""
        if domain.is_dry:
            return False
        most = IN_HAND if domain.pace.delay < SHORT else FEW_IN_HAND
        entries = self._store.take(self._run, domain.lease, most, list(domain.held))
        domain.is_dry = len(entries) < most
        domain.buffer.extend(entries)
        domain.held.update(entry.id for entry in entries)
        return bool(entries)

    def _is_fresh(self, entry: Entry, known: Known) -> bool:
        if known.is_outdated:
            return False
        now = self._clock.wall()
        own = request_of(entry).max_age if entry.request else None
        max_age = self._plan.max_age if own is None else own
        return now < known.fresh_until or now < known.fetched_at + max_age

    def _permit(self, domain: Domain, url: str) -> Permit | None:
        """The rules for a URL; None after asking for them in the domain's own turn."""
        origin = origin_of(url)
        permit = domain.permits.get(origin)
        if permit is not None and self._clock.wall() < permit.until:
            return permit
        permit = self._permits.find(origin)
        if permit is not None:
            self._obey(domain, permit)
        elif origin not in domain.asking:
            domain.asking.add(origin)
            domain.errands.append(self._permits.errand(origin))
        return permit
