"""Turns an answer into an outcome: parsed, redirected, retried, failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from scraper import errors
from scraper.engine.file_requests import FileRequests
from scraper.engine.known_pages import KnownPages
from scraper.engine.parse_limit import OutOfCallback
from scraper.engine.redirect_step import redirected
from scraper.errors import PageTooLarge
from scraper.http import caching, redirects
from scraper.model import (
    Denied,
    Entry,
    Failed,
    Fetched,
    Known,
    Outcome,
    Reaction,
    Rejection,
    Request,
    Response,
    Retry,
    Unchanged,
)
from scraper.ops.looks import is_kept, looking
from scraper.ops.tracebacks import files_of, origin_of, told, traceback_of
from scraper.parsing.page import Page
from scraper.parsing.queries import watching
from scraper.politeness import retry
from scraper.politeness.page_directives import bars_links
from scraper.spider import Spider
from scraper.spider.identity import and_more, may_compare
from scraper.spider.parse_result import ParseResult, parse_page
from scraper.spider.rules import Rules

TOO_LARGE = "too large to be parsed"
LONGEST_REFRESH = 5  # seconds: a page that leads elsewhere sooner is not there to be read
MOST_EMPTY_TRIES = 2  # more for a page that brings nothing where it did
MOST_EMPTIED = 10  # pages that stayed so
NEXT_TO_NOTHING = 0.25  # of the links that a page had
_GONE = frozenset({404, 410})
_PART = 206  # never asked for
_SEE_OTHER = 303

Judged = tuple[Outcome, tuple[Rejection, ...]]


class Judging:
    """Judges answers by their status, and parses pages with the spider's callbacks."""

    def __init__(
        self, spider: Spider, rules: Rules, known_pages: KnownPages, saved: FileRequests, max_attempts: int
    ) -> None:
        self._spider = spider
        self._rules = rules
        self._known_pages = known_pages
        self._saved = saved
        self._max_attempts = max_attempts
        self._files = files_of(type(spider))
        self._emptied = 0
        self._has_looked = False

    def judge(self, entry: Entry, page: Page, reaction: Reaction) -> Judged:
        """What became of a request, and which of its records were rejected."""
        response, status = page.response, page.status
        if status == 304:
            return self._not_modified(entry, page)
        if not reaction.limited and self._is_handled(entry, page.request, status):
            return self._parse(entry, page)
        if reaction.limited or (reaction.refusal and reaction.rest is None):
            return _refused(reaction), ()
        if redirects.is_redirect(status):
            location = redirects.location_of(response.headers)
            return redirected(entry, page, status, location, self._rules.allowed_domains), ()
        is_empty = status == 200 and not (response.content or (response.file and response.file["size"]))
        is_empty = is_empty and page.request.method == "GET"
        if is_empty and entry.id not in self._known_pages.doubtful:
            return self._doubted(entry, "status 200 without a body")
        if 200 <= status < 300 and status != _PART:
            return self._parse(entry, page)
        if retry.is_retryable_status(status) or reaction.rest is not None:
            return Retry(f"status {status}"), ()
        return Failed(f"status {status}", f"status {status}", is_gone=status in _GONE), ()

    def _is_handled(self, entry: Entry, request: Request, status: int) -> bool:
        """Whether a callback gets this status; one that another try may mend, after the last of them."""
        if not self.handles(request, status):
            return False
        is_repeated = retry.is_safe(request.method) or bool((request.meta or {}).get("retry"))
        is_last = not is_repeated or entry.attempts + 1 >= self._max_attempts
        return is_last or not retry.is_retryable_status(status)

    def handles(self, request: Request, status: int) -> bool:
        """Whether the spider wants pages of a status that is no success."""
        return status in request.handle_statuses or status in self._spider.handle_statuses

    def _may_ask_again(self, entry: Entry, request: Request) -> bool:
        """Whether a page that brings nothing is asked again: lists come without their rows on a bad moment.

        Where many stay empty the site has changed, and asking twice for everything would find out no more.
        """
        if entry.attempts >= min(MOST_EMPTY_TRIES, self._max_attempts - 1):
            self._emptied += 1
            return False
        return self._emptied < MOST_EMPTIED and retry.is_safe(request.method)

    def _not_modified(self, entry: Entry, page: Page) -> Judged:
        known = entry.known
        if known is None or not caching.confirms(known.etag, page.response.headers, known.last_modified):
            is_asked = known is not None and entry.id not in self._known_pages.doubtful
            said = "that speaks of another version" if is_asked else "to a request without conditions"
            return self._doubted(entry, f"status 304 {said}")
        if self._known_pages.may_differ(known, page.response.headers):
            return self._doubted(entry, "status 304 with another header field")
        if self._known_pages.is_same(entry, page.session_fields):
            return Unchanged(self._known_pages.renewed(page.response, known)), ()
        copy = self._known_pages.copy(entry)
        if copy is None:
            return self._doubted(entry, "status 304 without a copy to stand for")
        outcome, rejected = self._parse(entry, page.with_response(copy))
        if isinstance(outcome, Fetched):
            # The archived answer is kept without its coding, and so cannot tell what its tag stands for.
            asked = replace(outcome.known, etag=known.etag, last_modified=known.last_modified)
            outcome = replace(outcome, known=self._known_pages.renewed(page.response, asked))
        return outcome, rejected

    def _doubted(self, entry: Entry, reason: str) -> Judged:
        """What makes no sense is asked for once more, without conditions, before it counts."""
        if entry.id in self._known_pages.doubtful:
            return Failed(reason, reason), ()
        self._known_pages.doubtful.add(entry.id)
        return Retry(reason, counts=False), ()

    def _parse(self, entry: Entry, page: Page) -> Judged:
        known = self.version(entry, page)
        return (known, ()) if isinstance(known, Unchanged) else self.parse(entry, page, known)

    def is_to_parse(self, response: Response) -> bool:
        """Whether a page came as asked, so that nothing but its content is left to judge."""
        return 200 <= response.status < 300 and response.status != _PART and bool(response.content)

    def version(self, entry: Entry, page: Page) -> Known | Unchanged:
        """What is kept of a page whose content has to be parsed; Unchanged where its last parse stands."""
        known = self._known_pages.version_of(entry, page)
        before = entry.known if page.request.method != "HEAD" else None
        if before is not None and self._known_pages.is_as_before(known, before):
            return Unchanged(replace(known, version=before.version, files=before.files))
        return known

    def parse(self, entry: Entry, page: Page, known: Known) -> Judged:
        """What the content of a page comes to; `known`: its version."""
        before = entry.known if page.request.method != "HEAD" else None
        following = page.meta_refresh
        if following is not None and following.seconds <= LONGEST_REFRESH:
            domains = self._rules.allowed_domains
            return redirected(entry, page, _SEE_OTHER, following.url, domains), ()
        if reason := self._saved.unwanted(page):
            return Denied(reason), ()
        queries: Mapping[str, bool] = {}
        try:
            with watching() as queries:
                return self._called(entry, page, known, before, queries)
        except errors.StoreError:
            raise  # a file could not be written, whatever the page was
        except errors.Retry as wish:
            return Retry(wish.message, after=wish.after or 0.0), ()
        except PageTooLarge as error:
            return Failed(error.message, TOO_LARGE), ()
        except (OutOfCallback, KeyboardInterrupt):
            raise
        except BaseException as error:  # sys.exit() too: no page ends a run
            return self._raised(page.request, error, queries), ()

    def _called(
        self, entry: Entry, page: Page, known: Known, before: Known | None, queries: Mapping[str, bool]
    ) -> Judged:
        """What the spider's callback makes of a page; `queries`: those that it asks."""
        with looking(self._known_pages.named_files) as looked_at:
            found = parse_page(self._spider, page, self._rules, entry.fp)
        if looked_at:
            self._note_looks(page, looked_at)
        is_comparable = before is not None and may_compare(before.inputs, known.inputs)
        is_emptied = is_comparable and before is not None and _is_emptied(before, found)
        is_blank = is_comparable and before is not None and before.records > 0 and _is_blank(page)
        is_barred = before is not None and is_comparable and _is_barred(before, found)
        if (is_emptied or is_blank) and not is_barred and self._may_ask_again(entry, page.request):
            return Retry("brings nothing where it did"), ()
        if page.has_asked or self._has_looked or looked_at:
            # What else went into it may change while the page does not.
            known = replace(known, inputs=and_more(known.inputs))
        if page.saved:
            known = replace(known, files=json.dumps(page.saved))
        facts = page.facts(_robots_usage(page))
        outcome = Fetched(
            known,
            found.records,
            found.links,
            found.refused,
            facts,
            found.filtered,
            is_emptied or is_barred,
            dropped=found.dropped,
            queries=queries,
            other_meta=found.other_meta,
            # By other code or settings what was behind them may not be wanted any more.
            barred=found.barred if before is None or is_comparable else (),
        )
        return outcome, found.rejected

    def _note_looks(self, page: Page, looked_at: Sequence[str]) -> None:
        """Say what a callback looked at that nobody compares; later pages may use it too."""
        self._has_looked |= any(is_kept(one) for one in looked_at)
        page.note(
            f"its callback looks at {looked_at[0]}, so pages are parsed every time: "
            "name a file as a text in the code, or read it in opened()"
        )

    def _raised(self, request: Request, error: BaseException, asked: Mapping[str, bool]) -> Failed:
        """A page whose callback raised."""
        place = origin_of(error, self._files).place or f"{request.callback}()"
        kind = f"{type(error).__name__} in {place}"
        trace = traceback_of(error)
        return Failed(told(error, self._files), kind, is_parse=True, traceback=trace, queries=asked)


def _robots_usage(page: Page) -> str | None:
    session = page.session if page.has_session else None
    return session.usage(page.url) if session is not None and session.usage is not None else None


def _is_blank(page: Page) -> bool:
    """Whether an answer has no body: so a program ends that breaks off, and its status may be 200."""
    return page.response.file is None and not page.content.strip()


def _is_emptied(before: Known, found: ParseResult) -> bool:
    """Whether a page brings nothing, or next to nothing, though its last version brought something.

    A list without its rows may still name the next one.
    """
    if found.records or found.rejected or found.dropped:
        return False
    links = len(found.links) + len(found.barred)
    return bool(before.records or (before.links and links <= before.links * NEXT_TO_NOTHING))


def _is_barred(before: Known, found: ParseResult) -> bool:
    """Whether none of a page's links may be followed any more, since the site says nofollow now.

    Pages that only it leads to are not asked for, so their records would be taken for removed.
    """
    is_cut = bool(before.links) and not found.links
    return is_cut and any(bars_links(refusal.reason) for refusal in found.refused)


def _refused(reaction: Reaction) -> Outcome:
    if reaction.limited:
        return Retry(f"refused by rate: {reaction.limited}", counts=False)
    return Failed(reaction.refusal, reaction.refusal)
