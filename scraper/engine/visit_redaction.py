"""Redacts secrets in visits before they reach logs, terminals and reports."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from scraper.http.session import DomainSession
from scraper.model import Deferred, Denied, Entry, Failed, Fetched, Rejection, Retry, Visit
from scraper.ops.printable import printable_lines
from scraper.ops.secrets import LEAST_SECRET, Redaction, is_secret_name, may_leave
from scraper.spider.identity import request_of


class VisitRedaction:
    """Redacts what a run's settings and params, a session and a request keep secret."""

    def __init__(self, redaction: Redaction | None = None) -> None:
        self._redaction = redaction or Redaction()

    def visit(self, session: DomainSession | None, visit: Visit) -> Visit:
        """A visit without secrets in its reasons, tracebacks and rejections."""
        outcome = visit.outcome
        is_dropped = isinstance(outcome, Fetched) and bool(outcome.dropped)
        if not (isinstance(outcome, Failed | Retry | Denied | Deferred) or is_dropped or visit.rejected):
            return visit
        own = Redaction(_secrets_of(visit.entry))

        def clean(text: str) -> str:
            return printable_lines(self.text(session, own.known(text)))

        rejected = tuple(Rejection(clean(one.reason), one.field) for one in visit.rejected)
        if isinstance(outcome, Failed | Retry | Denied | Deferred):
            outcome = replace(outcome, reason=clean(outcome.reason))
        if isinstance(outcome, Fetched) and outcome.dropped:
            outcome = replace(outcome, dropped=clean(outcome.dropped))
        if isinstance(outcome, Failed) and outcome.traceback:
            outcome = replace(outcome, traceback=clean(outcome.traceback))
        return replace(visit, outcome=outcome, rejected=rejected)

    def text(self, session: DomainSession | None, text: str) -> str:
        """A text without the secrets of the run and of the session."""
        return self._redaction(session.redaction(text) if session is not None else text)


def _secrets_of(entry: Entry) -> Iterator[str]:
    """What a request carries in its URL under a secret's name, and in header fields that not every host may
    hear; a token also without scheme."""
    if "=" in entry.url:
        query = parse_qsl(urlsplit(entry.url).query)
        yield from (value for name, value in query if is_secret_name(name) and len(value) >= LEAST_SECRET)
    for name, value in (request_of(entry).headers or {}).items() if entry.request else ():
        text = str(value or "")
        if not may_leave(name) and (is_secret_name(name) or len(text) >= LEAST_SECRET):
            yield from (text, text.rpartition(" ")[2])
