"""Refusals that may mean the page or the pace: 403, 500 and 503 without a word, connections that are dropped.

Which it was is found out by an experiment, see `Doubt`: the domain rests, then a page that has passed before,
the control, is asked for. If it is refused too, our pace is meant, and no page. If it passes, the domain
rests as long once more, and the URL itself is asked for again: it passes where the pace
was meant, else the page is. No URL is given up before that is known.
"""

import math
from dataclasses import replace

from scraper.engine.domain import LOOK_AT, Domain, Doubt, callback_of
from scraper.engine.plan import Plan
from scraper.http.failures import CLOSED, RESET, TIMED_OUT
from scraper.model import Entry, Failed, Fetched, Outcome, Reaction, Retry, Unchanged, Visit
from scraper.politeness import learned, throttle
from scraper.politeness.blocks import AUTH_REFUSED, PROXY_REFUSED
from scraper.politeness.learned import GUESS
from scraper.politeness.limit import Limit
from scraper.politeness.limit_search import BURST
from scraper.politeness.retry import is_safe
from scraper.spider.identity import request_of

FORBIDDEN = "403 Forbidden"
ERROR = "status 500"
DROPPED = frozenset({RESET, CLOSED, TIMED_OUT})
_CREDENTIALS = frozenset({AUTH_REFUSED, PROXY_REFUSED})
MOST_VAIN = 10  # forbidden pages that are asked for twice: if it is in vain for them, it is for all
MOST_RUNS = 3  # refusals in a row, each after a long rest, until it is no longer our pace
ALL = 5  # refusals in a row, where hardly more have passed: the site refuses us, or is down
FAST = 0.1  # seconds of delay below which a site is one's own, or has room
SHORT = 1.0  # seconds of a first rest there
BRIEF = 10.0  # seconds of rest there until a first page in error is told
MOST_LESSONS = 2  # refusals that a limit costs, as a rule


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
        self._longest = min(GUESS, plan.max_wait)

    def judge(self, domain: Domain, visit: Visit, now: float, max_delay: float) -> tuple[Visit, bool]:
        seen = domain.refusals
        if not seen.passes:
            note_credentials(domain, visit.reaction.refusal)
        if kind := _unclear(visit):
            if self._is_by_chance(domain, visit.entry.id):
                return self._at_random(domain, visit, kind, now, max_delay)
            return self._unclear(domain, visit, kind, now, max_delay)
        if visit.reaction.limited:
            return self._limited(domain, visit), False
        if isinstance(visit.outcome, Retry):
            return self._spare(domain, visit), False
        if visit.exchange is not None and visit.exchange.status and not visit.reaction.refusal:
            self._passed(domain, visit, now, max_delay)
        return visit, False

    def controlled(self, domain: Domain, now: float, max_delay: float, *, is_refused: bool) -> None:
        """Go on with the experiment after the answer to its control."""
        seen, doubt = domain.refusals, domain.refusals.doubt
        if doubt is None:
            return
        told = f"{doubt.reason} for all that is asked"
        if is_refused and not doubt.url and domain.state.limit != doubt.limit:
            domain.state = throttle.rest(replace(domain.state, limit=doubt.limit), now + doubt.rest, told)
        elif is_refused:
            # It passed before, so that this speaks of our pace, or of a site in trouble.
            limit = self._rest_on(domain, doubt, now, max_delay)
            domain.state = replace(domain.state, limit=limit)
        elif doubt.url:
            passed = learned.passed(doubt.limit, 1, domain.limiter.last_sent)
            seen.doubt = replace(doubt, limit=passed, is_passed=True)
            # A bucket that had a token for the control may have none for the URL yet.
            reason = f"{doubt.reason}, which may mean our pace"
            rest = min(max(doubt.rest, SHORT * 2), GUESS, self._plan.max_wait)
            # At least as long after the control as that came after what had passed before.
            had = min(domain.limiter.last_sent - doubt.limit.last, self._plan.max_wait)
            apart = learned.between(doubt.limit)
            # An interval that is longer than a run waits was learned from a rest as long as that.
            apart = apart if doubt.limit.allowance else min(apart, self._plan.max_wait)
            rest = max(rest, had, apart)
            domain.state = throttle.rest(domain.state, now + rest, reason)
        else:
            seen.doubt, seen.look_at = None, 2 * seen.in_row

    def _is_by_chance(self, domain: Domain, url: int) -> bool:
        """Whether a site that refuses at any pace may have refused a URL so often by chance."""
        seen, limit = domain.refusals, domain.state.limit
        if not limit.is_random or seen.doubt is not None:
            return False
        seen.unlucky[url] += 1
        return seen.unlucky[url] <= learned.tries(limit)

    def _at_random(
        self, domain: Domain, visit: Visit, reason: str, now: float, max_delay: float
    ) -> tuple[Visit, bool]:
        """A refusal of a site that refuses at any pace: the URL comes again after a short rest."""
        domain.state = throttle.limited(domain.state, now, None, domain.pace.delay, max_delay, reason)
        domain.again.append(visit.entry)
        return _once_more(visit, reason), True

    def _spare(self, domain: Domain, visit: Visit) -> Visit:
        """A kept connection that broke costs no attempt, but only once for each URL."""
        if isinstance(visit.outcome, Retry) and not visit.outcome.counts:
            if visit.entry.id in self._spared:
                reaction = Reaction(failed_attempt=visit.entry.attempts + 1)
                return replace(visit, outcome=Retry(visit.outcome.reason), reaction=reaction)
            self._spared.add(visit.entry.id)
            domain.refusals.is_spared = domain.refusals.has_broken = True
            return replace(visit, reaction=Reaction(is_doubted=True))
        return visit

    def _limited(self, domain: Domain, visit: Visit) -> Visit:
        """A URL refused thrice, each time after others passed, fails for a reason of its own, not the pace's.

        That costs it attempts, and what it taught is forgotten. A limit may refuse one URL twice by chance.
        """
        seen, url = domain.refusals, visit.entry.id
        limit, passes, times = seen.limited.get(url, (domain.state.limit, -1, 0))
        if passes < seen.passes and times < MOST_LESSONS:
            seen.limited[url] = (limit, seen.passes, times + 1)
        if passes == seen.passes or times < MOST_LESSONS:
            return visit
        if len(seen.limited) == 1:
            kept = domain.state.limit
            limit = replace(limit, since=kept.since, last=kept.last, accepted=kept.accepted)
            domain.state = replace(domain.state, limit=limit)
        return self._as_its_own(visit, visit.reaction.limited)

    def _as_its_own(self, visit: Visit, reason: str, *, is_all: bool = False) -> Visit:
        """A page that fails for a reason of its own: each try counts for it, and none for its domain."""
        if reason == FORBIDDEN:
            return replace(visit, reaction=replace(visit.reaction, failed_attempt=1))
        attempts = visit.entry.attempts + 1
        outcome: Outcome = Retry(reason)
        if attempts >= self._plan.max_attempts:
            outcome = Failed(f"{reason}, after {attempts} attempts, while other pages passed", reason)
        reaction = Reaction(failed_attempt=attempts, rest=visit.reaction.rest)
        if is_all:
            reaction = Reaction(is_failure=True)  # whatever passes, the pages that we want do not
        return replace(visit, outcome=outcome, reaction=reaction)

    def _unclear(
        self, domain: Domain, visit: Visit, reason: str, now: float, max_delay: float
    ) -> tuple[Visit, bool]:
        """An answer that may mean the page or the pace."""
        seen, limit, url = domain.refusals, domain.state.limit, visit.entry.id
        if seen.doubt is not None and not (seen.doubt.url == url and seen.doubt.is_passed):
            return _once_more(visit, reason), False  # it was on its way when the doubt began
        seen.in_row += 1
        if seen.doubt is not None or self._fails_alone(domain, url):
            if self._is_rest_too_short(domain, reason, now, max_delay):
                domain.again.append(visit.entry)
                return _once_more(visit, reason), True
            limit = self._blame(domain, url)
        if not seen.passes and not _may_be_pace(domain):
            return self._at_first(domain, visit, reason), False
        if url in seen.own and reason != FORBIDDEN:
            return self._as_its_own(visit, reason, is_all=seen.in_row > ALL >= seen.passes), False
        if (limit.forbids or seen.own) and seen.passes:
            return self._suspected(domain, visit, reason, now, max_delay)
        return self._unknown(domain, visit, reason, now, max_delay)

    def _unknown(
        self, domain: Domain, visit: Visit, reason: str, now: float, max_delay: float
    ) -> tuple[Visit, bool]:
        """A refusal of a site of which nothing is known that would tell what it means."""
        seen, limit = domain.refusals, domain.state.limit
        if self._is_first_error(domain, reason):
            seen.spared[visit.entry.id] = seen.passes
            domain.state = replace(domain.state, limit=learned.spared(limit, now))
            return _once_more(visit, reason), False  # behind the others, which tell what it meant
        self._doubt(domain, reason, visit.entry, now, max_delay)
        if not seen.passes and isinstance(visit.outcome, Retry) and visit.outcome.counts:
            return replace(visit, reaction=Reaction(is_doubted=True)), False  # one of its tries all the same
        domain.again.append(visit.entry)
        return _once_more(visit, reason), True

    def _fails_alone(self, domain: Domain, url: int) -> bool:
        """Whether a page whose error was passed over fails again, and what was asked between did not."""
        seen = domain.refusals
        others = seen.passes - seen.spared.get(url, seen.passes)
        return learned.is_lone(domain.state.limit) and others >= BURST

    def _blame(self, domain: Domain, url: int) -> Limit:
        """Note that a URL fails for a reason of its own; what is known of the limit now."""
        seen, limit = domain.refusals, domain.state.limit
        if seen.passes or seen.doubt is None:
            limit = replace(learned.pardoned(limit), forbids=True)
        else:
            limit = seen.doubt.limit
        domain.state, seen.doubt = replace(domain.state, limit=limit), None
        seen.own.add(url)
        return limit

    def _is_first_error(self, domain: Domain, reason: str) -> bool:
        """Whether an error is more likely the page's, so that it costs no rest as long as no other comes."""
        seen, limit = domain.refusals, domain.state.limit
        # A timeout is a rest in itself, and after a kept connection that broke it is the second refusal.
        may_be_page = reason == ERROR or (reason in (RESET, CLOSED) and not seen.has_broken)
        is_known = bool(limit.lessons or limit.is_learned or limit.is_random or seen.is_spared)
        return may_be_page and seen.passes > 0 and not is_known and domain.pace.delay >= FAST

    def _is_rest_too_short(self, domain: Domain, reason: str, now: float, max_delay: float) -> bool:
        """Whether a URL that is refused after the rest, where nothing has passed yet, gets a longer one."""
        doubt, is_own_server = domain.refusals.doubt, reason == ERROR and domain.pace.delay < FAST
        longest = min(self._longest, BRIEF) if is_own_server else self._longest
        if doubt is None or domain.refusals.passes or doubt.rest >= longest:
            return False
        self._rest_on(domain, doubt, now, max_delay, longest)
        return True

    def _at_first(self, domain: Domain, visit: Visit, reason: str) -> Visit:
        """Where nothing has passed there is nothing that a limit could be known by."""
        return visit if reason in (FORBIDDEN, ERROR) else self._limited(domain, visit)

    def _suspected(
        self, domain: Domain, visit: Visit, reason: str, now: float, max_delay: float
    ) -> tuple[Visit, bool]:
        """A page of a site of which some pages are known to fail by themselves: no rest, but more care.

        Many in a row make the control be asked for, at longer and longer distances.
        """
        seen, url = domain.refusals, visit.entry.id
        if seen.in_row >= seen.look_at:
            self._doubt(domain, reason, visit.entry, now, max_delay, is_about_url=False)
        if reason != FORBIDDEN:
            return self._as_its_own(visit, reason, is_all=seen.in_row > ALL >= seen.passes), False
        if seen.in_row > ALL >= seen.passes:
            return visit, False  # counts as a refusal of the domain: three of them close it
        is_much = seen.vain + len(seen.retried) >= MOST_VAIN
        if is_much and not seen.vain and url not in seen.retried:
            # Before any is given up: one page may have been refused twice by chance.
            seen.retried.add(url)
            domain.again.append(visit.entry)
            return _once_more(visit, reason), True
        if is_much or url in seen.retried:
            seen.vain += url in seen.retried
            seen.retried.discard(url)
            return self._as_its_own(visit, reason), False
        seen.retried.add(url)
        return replace(_once_more(visit, reason), reaction=Reaction(failed_attempt=1)), False

    def _doubt(
        self,
        domain: Domain,
        reason: str,
        entry: Entry,
        now: float,
        max_delay: float,
        *,
        is_about_url: bool = True,
    ) -> None:
        """Begin the experiment, or ask for the control alone, at once."""
        seen, limit = domain.refusals, domain.state.limit
        if seen.is_spared:
            limit = learned.spared(limit, now)  # on a kept connection it was refused as well
        longest = min(SHORT if domain.pace.delay < FAST else GUESS, self._longest)
        taught, rest = self._taught(limit, domain, now, max_delay, reason, longest)
        if taught.is_random and not limit.is_random:
            domain.state = throttle.rest(replace(domain.state, limit=taught), now + rest, reason)
            return
        if (limit.in_row and not seen.passes) or rest > self._plan.max_wait:
            # Refused after a long rest, as the first of a run, or before one: there is no time for a control.
            domain.state = replace(domain.state, limit=taught)
        control = seen.control_url(entry)
        url = entry.id if is_about_url else 0
        seen.doubt = Doubt(taught, reason, url, rest, control, is_passed=not control)
        if is_about_url:
            domain.state = throttle.rest(domain.state, now + rest, f"{reason}, which may mean our pace")

    def _rest_on(
        self, domain: Domain, doubt: Doubt, now: float, max_delay: float, longest: float = math.inf
    ) -> Limit:
        """Go on with an experiment for which the rest was too short; what that teaches."""
        limit, rest = self._taught(doubt.limit, domain, now, max_delay, doubt.reason, self._longest)
        rest = min(rest, longest)
        domain.refusals.doubt = replace(doubt, limit=limit, rest=max(doubt.rest, min(rest, GUESS)))
        told = f"{doubt.reason} for all that is asked"
        domain.state = throttle.rest(domain.state, now + rest, told)
        return limit

    def _taught(
        self, limit: Limit, domain: Domain, now: float, max_delay: float, reason: str, longest: float
    ) -> tuple[Limit, float]:
        is_sure, delay = reason == FORBIDDEN, domain.pace.delay
        asked_at = min(now, domain.limiter.last_sent)
        return learned.refused(limit, asked_at, None, delay, max_delay, is_sure=is_sure, longest=longest)

    def _passed(self, domain: Domain, visit: Visit, now: float, max_delay: float) -> None:
        seen, url, limit = domain.refusals, visit.entry.id, domain.state.limit
        if seen.doubt is not None and seen.doubt.url == url:
            limit, seen.doubt = seen.doubt.limit, None
        elif url in seen.retried:
            # No page is forbidden after all; the next that is refused is a matter of pace, or of chance.
            limit, seen.vain = replace(limit, forbids=False), 0
            seen.own.clear()
        seen.retried.discard(url)
        if not seen.passes:
            seen.own.clear()  # without a control it was not known
        seen.passes += 1
        seen.in_row, seen.look_at, seen.is_spared = 0, LOOK_AT, False
        if isinstance(visit.outcome, Fetched | Unchanged):
            seen.last[callback_of(visit.entry)] = visit.entry
        if limit is not domain.state.limit:
            domain.state = replace(domain.state, limit=limit)


def _unclear(visit: Visit) -> str:
    """What an answer says that may mean the page or the pace; empty for any other."""
    outcome, reaction = visit.outcome, visit.reaction
    if not isinstance(outcome, Retry | Failed) or visit.exchange is None or reaction.rest is not None:
        return ""
    reason = ""
    if reaction.refusal == FORBIDDEN and not reaction.budgets:
        reason = FORBIDDEN
    elif visit.exchange.status == 500 and not (reaction.refusal or getattr(outcome, "is_parse", False)):
        reason = ERROR
    elif reaction.limited.startswith("status 5"):
        reason = reaction.limited
    elif getattr(outcome, "counts", True) and visit.exchange.first_byte_at == visit.exchange.ended_at:
        # Nothing came; what breaks off in the middle is no refusal.
        reason = next((drop for drop in DROPPED if outcome.reason.startswith(drop)), "")
    return reason if reason and is_safe(request_of(visit.entry).method) else ""


def _may_be_pace(domain: Domain) -> bool:
    """Whether a refusal before any page has passed in this run may be our pace all the same."""
    return not domain.refusals.own and domain.state.limit.in_row < MOST_RUNS


def may_be_pace(domain: Domain, status: int | None) -> bool:
    """Whether a refusal without a word in place of robots.txt may be our pace, and not the site in trouble.

    A bucket may have had no token for us when we came; once it had a minute, that is no reason any more.
    """
    limit = domain.state.limit
    is_patient = status == 429 or domain.pace.delay >= FAST
    return limit.accepted >= BURST or (is_patient and not (limit.in_row or domain.state.failures))


def _once_more(visit: Visit, reason: str) -> Visit:
    """A visit that is neither a success nor a failure, as long as it is not known what was meant."""
    return replace(visit, outcome=Retry(reason, counts=False), reaction=Reaction(is_doubted=True))
