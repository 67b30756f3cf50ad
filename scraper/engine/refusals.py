"""Refusals that may mean the page or the pace: which it was is shown by what passes later.

503 and 429 speak of the pace, until one URL alone meets them while others pass. 403, and 500 after pages that
passed, speak of the page, until the same URL passes after a rest. No URL is given up before that is known.
"""

from dataclasses import replace

from scraper.engine.domain import Domain, Doubt
from scraper.engine.plan import Plan
from scraper.model import Failed, Reaction, Retry, Visit
from scraper.politeness import learned, throttle
from scraper.politeness.blocks import AUTH_REFUSED, PROXY_REFUSED
from scraper.politeness.learned import BURST, LONGEST, SHORT_GUESS

FORBIDDEN = "403 Forbidden"
_CREDENTIALS = frozenset({AUTH_REFUSED, PROXY_REFUSED})
SOON = 10  # pages within which errors that pass when asked again are no accident
SLOWER = 3.0


def note_credentials(domain: Domain, refusal: str) -> None:
    """Note refused credentials of a setting: a person must act, and more tries could lock the account."""
    if refusal in _CREDENTIALS:
        by = "the proxy, see setting proxies: " if refusal == PROXY_REFUSED else ""
        domain.stats.login = by + refusal


class Refusals:
    """Looks at each visit before it is settled, and may give its URL another try.

    `judge` returns the visit as it is to be settled, and whether its URL stays in hand and comes first.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._spared: set[int] = set()

    def judge(self, domain: Domain, visit: Visit, now: float, max_delay: float) -> tuple[Visit, bool]:
        seen = domain.refusals
        status = visit.exchange.status if visit.exchange is not None else 0
        is_error = status == 500 and isinstance(visit.outcome, Retry) and not visit.reaction.limited
        suspect, seen.error = seen.error, visit.entry.id if is_error and not visit.entry.attempts else 0
        if not seen.passes:
            note_credentials(domain, visit.reaction.refusal)
        if visit.reaction.limited:
            return self._limited(domain, visit), False
        if visit.reaction.refusal == FORBIDDEN and isinstance(visit.outcome, Failed):
            return self._forbidden(domain, visit, now, max_delay)
        if is_error:
            return self._error(domain, visit, suspect, now, max_delay)
        if isinstance(visit.outcome, Retry):
            return self._spare(visit), False
        if status and not visit.reaction.refusal:
            self._passed(domain, visit, now, max_delay)
        return visit, False

    def _spare(self, visit: Visit) -> Visit:
        """A kept connection that broke costs no attempt, but only once for each URL."""
        if isinstance(visit.outcome, Retry) and not visit.outcome.counts:
            if visit.entry.id in self._spared:
                reaction = Reaction(hitch=visit.entry.attempts + 1)
                return replace(visit, outcome=Retry(visit.outcome.reason), reaction=reaction)
            self._spared.add(visit.entry.id)
        return visit

    def _limited(self, domain: Domain, visit: Visit) -> Visit:
        """A URL refused again while others passed fails for a reason of its own: that costs it an attempt."""
        seen, url = domain.refusals, visit.entry.id
        if url not in seen.limited or seen.limited[url][1] == seen.passes:
            seen.limited.setdefault(url, (domain.state.limit, seen.passes))
            return visit
        limit, _ = seen.limited[url]
        if len(seen.limited) == 1:
            kept = domain.state.limit
            limit = replace(limit, since=kept.since, last=kept.last, accepted=kept.accepted)
            domain.state = replace(domain.state, limit=limit)
        attempts = visit.entry.attempts + 1
        reaction = Reaction(hitch=attempts, rest=visit.reaction.rest)
        told = visit.reaction.limited
        if attempts >= self._plan.max_attempts:
            failed = Failed(f"{told}, after {attempts} attempts, while other pages passed", told)
            return replace(visit, outcome=failed, reaction=reaction)
        return replace(visit, outcome=Retry(told), reaction=reaction)

    def _forbidden(self, domain: Domain, visit: Visit, now: float, max_delay: float) -> tuple[Visit, bool]:
        """Once more after a rest; where that shows it to be the page, once more when others were asked."""
        seen, url, limit = domain.refusals, visit.entry.id, domain.state.limit
        again = replace(visit, outcome=Retry(FORBIDDEN, counts=False))
        if self._is_vain(domain, url):
            seen.is_page = True
            return replace(visit, outcome=Retry(FORBIDDEN)), False
        if url in seen.retried:
            # Its own refusal, which counts, but not as one of those in a row that end the domain.
            return replace(visit, reaction=replace(visit.reaction, hitch=1)), False
        if seen.is_page and limit.accepted >= BURST:
            # Others too, where many passed: a limit that outlasted our rest, or much that is forbidden.
            return self._postpone(domain, again, now), False
        if not limit.accepted or (limit.in_row and not seen.is_page):
            return visit, False
        seen.retried.add(url)
        if not (seen.is_page or limit.forbids):
            return self._doubt(domain, again, now, max_delay, {url}), True
        return again, False

    def _error(
        self, domain: Domain, visit: Visit, suspect: int, now: float, max_delay: float
    ) -> tuple[Visit, bool]:
        """At once again, the first time; a second URL in a row after pages that passed may be our pace."""
        seen, url, limit = domain.refusals, visit.entry.id, domain.state.limit
        again = replace(visit, outcome=Retry("status 500", counts=False))
        if self._is_vain(domain, url):
            seen.is_outage = True
            return visit, False
        is_burst = suspect not in (0, url) and not visit.entry.attempts and limit.accepted >= BURST
        if is_burst and seen.is_outage and limit.in_row:
            return self._postpone(domain, again, now), False
        if is_burst and not (seen.doubt or seen.is_outage):
            return self._doubt(domain, again, now, max_delay, {url, suspect}), True
        if visit.entry.attempts or url in seen.errors or not seen.passes:
            return visit, False
        seen.errors.add(url)
        domain.again.append(visit.entry)
        return again, True

    def _doubt(self, domain: Domain, visit: Visit, now: float, max_delay: float, urls: set[int]) -> Visit:
        limit, rest = learned.refused(domain.state.limit, now, None, domain.pace.delay, max_delay)
        if not domain.refusals.passes:
            rest = min(rest, max(SHORT_GUESS, 4 * domain.pace.delay))  # most likely it is not our pace
        domain.refusals.doubt = Doubt(limit, frozenset(urls))
        reason = getattr(visit.outcome, "reason", "")
        domain.state = throttle.rest(domain.state, now + rest, f"{reason}, which may mean our pace")
        domain.again.append(visit.entry)
        return replace(visit, reaction=Reaction(is_doubted=True))

    def _postpone(self, domain: Domain, visit: Visit, now: float) -> Visit:
        reason = f"{getattr(visit.outcome, 'reason', '')} for all that is asked, after pages that passed"
        domain.state = throttle.rest(domain.state, now + LONGEST, reason)
        return replace(visit, reaction=Reaction(is_doubted=True))

    def _is_vain(self, domain: Domain, url: int) -> bool:
        """Whether a URL did not pass after the rest that was to show what its refusal means."""
        seen, limit = domain.refusals, domain.state.limit
        if seen.doubt is None or url not in seen.doubt.urls:
            return False
        seen.doubt = None
        domain.state = replace(
            domain.state, limit=replace(limit, in_row=1, burst=limit.burst or limit.accepted)
        )
        return True

    def _passed(self, domain: Domain, visit: Visit, now: float, max_delay: float) -> None:
        seen, url, limit = domain.refusals, visit.entry.id, domain.state.limit
        slower = min(max_delay, SLOWER * max(limit.interval, domain.pace.delay))
        if seen.doubt is not None and url in seen.doubt.urls:
            limit, seen.doubt = seen.doubt.limit, None
        elif url in seen.retried:
            # It was the pace after all, of a limit that outlasted the rest.
            limit = replace(limit, interval=slower, refused_at=now, forbids=False)
        elif seen.is_page:
            limit = replace(limit, forbids=True)
        elif url in seen.errors:
            if seen.recovered_at and seen.passes - seen.recovered_at <= SOON:
                limit = replace(limit, interval=slower, refused_at=now)
            seen.recovered_at = seen.passes
        seen.retried.discard(url)
        seen.is_page = False
        seen.passes += 1
        if limit is not domain.state.limit:
            domain.state = replace(domain.state, limit=limit)
