"""What an answer or an error means for the whole domain (`Reaction`), and whether the request is retried."""

from dataclasses import replace
from urllib.parse import urlsplit

from scraper.errors import BadAnswer, ConnectFailed, FetchError, OutOfFiles, OutOfReach, Unwanted
from scraper.http.download import Download
from scraper.http.exchange import Answer
from scraper.http.session import DomainSession
from scraper.model import PLAIN, Denied, Entry, Failed, Outcome, Reaction, Request, Response, Retry, Visit
from scraper.ops.clock import Clock
from scraper.politeness import retry
from scraper.politeness.blocks import AUTH_REFUSED, refusal

_FURTHER = 2**20  # bytes of a file that a try brought, which is then no lost one


class Reactions:
    """Reads answers for what they ask of us, and makes the session's rate limiter wait at once."""

    def __init__(self, clock: Clock, max_attempts: int) -> None:
        self._clock = clock
        self._max_attempts = max_attempts

    def to(self, session: DomainSession, entry: Entry, response: Response) -> Reaction:
        """What an answer means for the domain."""
        status = response.status
        told = retry.told(status, response.headers, self._clock.wall())
        if told.pause and session.limiter is not None:
            # At once: other threads may be waiting in it for their slots.
            session.limiter.rest_until(self._clock.now() + told.pause)
        refused = refusal(status, response.headers, response.content)
        if status == 401 and session.has_auth(response.url):
            refused = AUTH_REFUSED
        elif refused and refused.startswith(f"{status} ") and urlsplit(response.url).path == "/robots.txt":
            refused = None  # a site without rules (RFC 9309 2.3.1.3), also where a spider asks for them
        if told.is_limited and (refused is None or told.rest is not None):
            return Reaction(limited=f"status {status}", rest=told.rest, budgets=told.budgets)
        if refused is None and told.rest is None and retry.is_retryable_status(status):
            return replace(_failure_of(entry), budgets=told.budgets)
        if refused is None and told.rest is None and not told.budgets:
            return PLAIN
        return Reaction(refusal=refused or "", rest=told.rest, budgets=told.budgets)

    def asked_by_spider(
        self, session: DomainSession, reaction: Reaction, after: float, reason: str
    ) -> Reaction:
        """A wait that the spider asks for is the domain's, like one that the site asks for."""
        if session.limiter is not None:
            session.limiter.rest_until(self._clock.now() + after)
        asked = f"{reason}: the spider asks for {after:g} s"
        return replace(reaction, rest=max(after, reaction.rest or 0.0), asked=asked)

    def without_answer(
        self, entry: Entry, request: Request, answer: Answer, download: Download | None
    ) -> Visit:
        """The visit of a request to which there is no answer that could be read."""
        error: FetchError = answer.error or FetchError("no answer")
        if isinstance(error, OutOfReach):
            return Visit(entry, Denied(error.message))
        if isinstance(error, OutOfFiles):
            return Visit(entry, Retry(error.message, counts=False), None, Reaction(is_ours=True))
        if download is not None and not error.is_transient:
            download.discard()
        if isinstance(error, Unwanted):
            return Visit(entry, Denied(error.message), answer.exchange)
        if not error.is_transient:
            return Visit(entry, Failed(error.message, type(error).__name__), answer.exchange)
        # A kept connection that the server has closed is nobody's fault; the next try opens its own.
        is_stale = answer.was_idle and isinstance(error, ConnectFailed)
        is_further = download is not None and download.received >= _FURTHER
        outcome = self.again(entry, request, Retry(error.message, counts=not (is_stale or is_further)))
        reaction = Reaction() if is_stale else _failure_of(entry, is_own=isinstance(error, BadAnswer))
        return Visit(entry, outcome, answer.exchange, reaction)

    def may_again(self, entry: Entry) -> bool:
        """Whether a URL has tries left after this one."""
        return entry.attempts + 1 < self._max_attempts

    def again(self, entry: Entry, request: Request, wish: Retry, *, is_undone: bool = False) -> Outcome:
        """Another try, unless the request may not be repeated or has had its tries."""
        if not (
            retry.is_safe(request.method)
            or is_undone
            or wish.after is not None
            or (request.meta or {}).get("retry")
        ):
            return Failed(f"{wish.reason}; {request.method} is not repeated", wish.reason)
        if wish.counts and entry.attempts + 1 >= self._max_attempts:
            return Failed(f"{wish.reason}, after {entry.attempts + 1} attempts", wish.reason)
        return wish


def _failure_of(entry: Entry, *, is_own: bool = False) -> Reaction:
    """A failure of the domain; a page's own failure, and a page that fails again, say little about it."""
    is_hitch = is_own or entry.attempts > 0
    return Reaction(failed_attempt=entry.attempts + 1) if is_hitch else Reaction(is_failure=True)
