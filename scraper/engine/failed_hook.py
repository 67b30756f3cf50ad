"""Calls the spider's `failed` for requests that have failed for good."""

from dataclasses import replace

from scraper.engine.parse_limit import Bounded, OutOfCallback
from scraper.model import Entry, Failed, Headers, Response, Visit
from scraper.ops.tracebacks import files_of, origin_of, told, traceback_of
from scraper.parsing.page import Page
from scraper.spider import Spider
from scraper.spider.identity import request_of
from scraper.spider.parse_result import ParseResult, parse_failure
from scraper.spider.rules import Rules


class FailedHook:
    """Calls `failed` of a spider that has one; for the owner thread."""

    def __init__(self, spider: Spider, rules: Rules, parse_timeout: float) -> None:
        self._spider = spider
        self._rules = rules
        self._bounded = Bounded(parse_timeout)
        self._parse_timeout = parse_timeout
        self._files = files_of(type(spider))

    def give_up(self, visit: Visit) -> Visit:
        """A visit that failed, with what the spider's `failed` makes of it."""
        outcome = visit.outcome
        if not isinstance(outcome, Failed) or type(self._spider).failed is Spider.failed:
            return visit
        reason = outcome.reason
        found = self._bounded.call(lambda: self._failure(visit.entry, reason))
        if not isinstance(found, ParseResult):
            slow = Failed(f"failed() takes longer than {self._parse_timeout:g} s", "failed() takes too long")
            raised = found or slow
            why = f"{reason}; {raised.reason}"
            return replace(visit, outcome=replace(raised, reason=why, is_parse=True, is_gone=outcome.is_gone))
        outcome = replace(outcome, records=found.records, links=found.links, refused=found.refused)
        return replace(visit, outcome=outcome, rejected=(*visit.rejected, *found.rejected))

    def _failure(self, entry: Entry, reason: str) -> ParseResult | Failed:
        page = Page(request_of(entry), Response(entry.url, 0, Headers(), b""), depth=entry.depth)
        try:
            return parse_failure(self._spider, page, reason, self._rules, entry.fp)
        except (OutOfCallback, KeyboardInterrupt):
            raise
        except BaseException as error:
            kind = f"{type(error).__name__} in {origin_of(error, self._files).place or 'failed()'}"
            reason = f"failed() raised {told(error, self._files)}"
            return Failed(reason, kind, traceback=traceback_of(error))
