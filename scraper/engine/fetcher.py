"""One request to one outcome. It runs on worker threads; nothing that a site can do raises past it."""

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from scraper import errors
from scraper.engine.file_requests import FileRequests, with_file
from scraper.engine.parse_limit import Bounded, Parsing, too_long
from scraper.errors import (
    BadAnswer,
    ConnectFailed,
    FetchError,
    LoginFailed,
    OutOfFiles,
    OutOfReach,
    PageTooLarge,
    ScraperError,
    Unwanted,
)
from scraper.http import caching, redirects
from scraper.http.download import Download
from scraper.http.exchange import BLOCKS, Answer, Asked, Wait, ask, clear, hear, hindrance
from scraper.http.failures import translate
from scraper.http.saved_files import SavedFiles
from scraper.http.session import DomainSession
from scraper.model import (
    PLAIN,
    Deferred,
    Denied,
    Entry,
    Failed,
    Fetched,
    Headers,
    Known,
    NewUrl,
    Outcome,
    Reaction,
    Redirected,
    Rejection,
    Request,
    Response,
    Retry,
    Unchanged,
    Visit,
)
from scraper.ops.clock import Clock
from scraper.ops.secrets import LEAST_SECRET, Redaction, is_secret_name, may_leave, names_secret
from scraper.ops.tracebacks import files_of, origin_of, told, traceback_of
from scraper.parsing.page import Page
from scraper.parsing.queries import watching
from scraper.politeness import retry, robots
from scraper.politeness.blocks import AUTH_REFUSED, refusal
from scraper.politeness.scope import refusal as out_of_scope
from scraper.runs.archive import Archives
from scraper.spider import ParseResult, Rules, Spider, parse_failure, parse_page
from scraper.spider.identity import ParseInputs, archived_as, identity_of, request_of, request_text
from scraper.urls import canonical, domain_of, join, variant

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_GONE = frozenset({404, 410})
TOO_LARGE = "too large to be parsed"
_PART = 206  # never asked for
_SEE_OTHER = 303
_MOST_REPEATS = 2  # of a URL that redirects to itself with a cookie
LONGEST_REFRESH = 5  # seconds: a page that leads elsewhere sooner is not there to be read
_JSON = "application/json"
_COOKIES = frozenset({"set-cookie", "set-cookie2"})
MOST_EMPTY_TRIES = 2  # more for a page that brings nothing where it did
MOST_EMPTIED = 10  # pages that stayed so
_LEAVES = re.compile(r"[/=](?:log|sign)[-_]?(?:out|off)(?:\.\w+)?/?(?:[?&#]|$)", re.IGNORECASE)
_QUERY = re.compile(r"(https?://[^\s?'\"]*)\?[^\s'\"]*")
_FURTHER = 2**20  # bytes of a file that a try brought, which is then no lost one
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What the fetcher needs of the run: its `version` (the run's number), our product token, the limits, and
    what its parses depend on beside their pages.
    """

    version: int
    token: str
    inputs: ParseInputs
    max_attempts: int = 4
    archive: bool = False
    parse_timeout: float = 30.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request on its way."""

    entry: Entry
    request: Request
    asked: Asked
    download: Download | None = None


class Fetcher:
    """Asks for a URL, parses the page with the spider, and says what became of the request."""

    def __init__(
        self,
        spider: Spider,
        rules: Rules,
        options: FetchOptions,
        clock: Clock,
        archives: Archives | None = None,
        in_hand: Callable[[int], AbstractContextManager[object]] = nullcontext,
        redaction: Redaction | None = None,
        files: SavedFiles | None = None,
    ) -> None:
        self._spider = spider
        self._rules = rules
        self._options = options
        self._clock = clock
        self._archives = archives
        self._saved = FileRequests(spider, files)
        self._in_hand = in_hand
        self._bounded = Bounded(options.parse_timeout)
        self._too_long = too_long(options.parse_timeout)
        self._emptied = 0
        self._files = files_of(type(spider))
        self._redaction = redaction or Redaction()
        self._doubtful: set[int] = set()

    def visits(
        self, session: DomainSession, entries: deque[Entry], goes_on: Callable[[], bool]
    ) -> Iterator[Visit | Parsing | Wait]:
        """Fetch and parse URLs one after the other, while it `goes_on`; tells what has to be waited for.

        Where there are several (without a delay), the next request is sent as soon as an answer is here whole
        and shows no failure: the server works on it while we parse. Still only one is ever in flight.
        """
        sent: _Sent | Visit | None = None
        is_raising = False
        while sent is not None or (entries and goes_on()):
            if sent is None:
                yield from clear(session, entries[0].url, goes_on)
                if not goes_on():
                    return
                sent = self._send(session, entries.popleft())
            if isinstance(sent, Visit):
                yield sent
                sent = None
                continue
            yield sent.asked
            answer = with_file(sent.download, hear(session, sent.asked))
            reaction = self._reaction(session, sent.entry, answer.response) if answer.response else None
            following = None
            is_page = reaction is PLAIN and not redirects.is_redirect(answer.exchange.status)
            if is_page and entries and not (session.has_login or is_raising) and goes_on():
                following = self._send_ahead(session, entries)
            if reaction is not None:
                yield self._parsing(sent.entry, answer, reaction, following)
            with self._in_hand(sent.entry.id):
                visit = self._conclude(session, sent, answer, reaction)
            # The batch ends where the spider asks for a rest; what was sent ahead is asked for after it.
            sent = following if visit.reaction.is_plain else _taken_back(session, entries, following)
            yield self._discreet(session, visit)
            is_raising = isinstance(visit.outcome, Failed) and visit.outcome.is_parse
            if is_raising and sent is None:
                return  # whoever counts errors decides whether more is asked

    def _discreet(self, session: DomainSession | None, visit: Visit) -> Visit:
        """A visit whose words hold no secret: they go to logs, terminals and reports."""
        outcome = visit.outcome
        if not isinstance(outcome, Failed | Retry | Denied | Deferred) and not visit.rejected:
            return visit
        own = Redaction(_secrets_of(visit.entry))

        def clean(text: str) -> str:
            return self._without_secrets(session, own.known(text))

        rejected = tuple(Rejection(clean(one.reason), one.field) for one in visit.rejected)
        if isinstance(outcome, Failed | Retry | Denied | Deferred):
            outcome = replace(outcome, reason=clean(outcome.reason))
        if isinstance(outcome, Failed) and outcome.traceback:
            outcome = replace(outcome, traceback=clean(outcome.traceback))
        return replace(visit, outcome=outcome, rejected=rejected)

    def _without_secrets(self, session: DomainSession | None, text: str) -> str:
        return self._redaction(session.redaction(text) if session is not None else text)

    def _send_ahead(self, session: DomainSession, entries: deque[Entry]) -> "_Sent | Visit | None":
        return None if hindrance(session, entries[0].url) else self._send(session, entries.popleft())

    def _send(self, session: DomainSession, entry: Entry) -> "_Sent | Visit":
        request = request_of(entry)
        if session.has_login and _LEAVES.search(entry.url):
            return Visit(entry, Denied("a logout link: it would end the login"))
        body, headers = body_of(request)
        known = entry.known
        if known is not None and not self._is_same(entry, session.own_fields()) and self._copy(entry) is None:
            entry, known = replace(entry, known=None), None
        # A HEAD has nothing but its header, so that no answer to it stands for another.
        is_asked_plainly = self._is_uncopied(entry) or entry.id in self._doubtful
        if known is not None and not is_asked_plainly and request.method == "GET":
            headers.update(caching.conditional_headers(known.etag, known.last_modified))
        download = self._saved.download(entry, request)
        if download is not None:
            headers |= download.headers
        asked = ask(session, request.method, entry.url, headers, body, download=download)
        return _Sent(entry, request, asked, download)

    def may_stand(self, entry: Entry) -> bool:
        """Whether the last parse of a page stands for it while the page itself is as it was."""
        return self._is_same(entry) and not self._is_uncopied(entry)

    def _is_same(self, entry: Entry, own_fields: str = "") -> bool:
        known = entry.known
        return (
            known is not None
            and known.inputs == self._inputs(entry, own_fields)
            and self._saved.has_all(known)
        )

    def _inputs(self, entry: Entry, own: str) -> str:
        """What a parse depends on beside the page; `own`: what its session sends, such as a currency."""
        return f"{self._options.inputs.of(entry)}{own and '+'}{own}"

    def _is_uncopied(self, entry: Entry) -> bool:
        """Whether a known page is to be archived and is not yet."""
        known, archives = entry.known, self._archives
        if not self._options.archive or archives is None or known is None or known.is_noarchive:
            return False
        return not (self._saved.is_for_file(entry) or archives.has(archived_as(entry)))

    def _parsing(
        self, entry: Entry, answer: Answer, reaction: Reaction, following: "_Sent | Visit | None"
    ) -> Parsing:
        sent = following.entry if following is not None else None
        visit = Visit(entry, self._too_long, answer.exchange, reaction)
        tries, reason = entry.attempts + 1, "still being parsed when the run stopped"
        is_last = tries >= self._options.max_attempts
        return Parsing(visit, Failed(f"{reason}, {tries} times", reason) if is_last else Retry(reason), sent)

    def _conclude(
        self, session: DomainSession, sent: "_Sent", answer: Answer, reaction: Reaction | None
    ) -> Visit:
        entry, response = sent.entry, answer.response
        if response is None or reaction is None:
            return self._without_answer(sent, answer)
        page = Page(
            sent.request,
            response,
            depth=entry.depth,
            token=self._options.token,
            session=session,
            keep=self._saved.keep,
        )
        if session.has_login and (lost := self._lost_login(session, entry, page)):
            return Visit(entry, Retry(lost, counts=False), answer.exchange, Reaction(is_logged_out=True))
        outcome, rejected = self._judge(entry, page, reaction)
        if sent.download is not None and sent.download.is_stale:
            outcome = Retry("status 416: the file has changed", counts=False)
        if isinstance(outcome, Retry):
            is_undone = retry.is_undone(page.status)
            outcome = self._again(entry, sent.request, outcome, is_undone=is_undone)
            if isinstance(outcome, Retry) and outcome.after:
                reaction = self._rest(session, reaction, outcome.after, outcome.reason)
        return Visit(
            entry,
            outcome,
            answer.exchange,
            reaction,
            rejected,
            *self._to_archive(sent, outcome, page),
            page.notes,
        )

    def _to_archive(self, sent: "_Sent", outcome: Outcome, page: Page) -> tuple[Response | None, bytes]:
        """What of an answer is archived, and under which fingerprint."""
        if self._options.archive and page.response.file is None and _is_kept(outcome, page):
            return _without_cookies(page.response), archived_as(sent.entry)
        return None, b""

    def read(self, entry: Entry, response: Response) -> Visit:
        """The visit that an archived response makes: parsed whatever is known, and no news of its site."""
        entry = replace(entry, known=None, attempts=self._options.max_attempts)
        self._doubtful.add(entry.id)  # an archive says nothing else when it is asked again
        request, options = request_of(entry), self._options
        page = Page(request, response, depth=entry.depth, token=options.token, keep=self._saved.keep)
        with self._in_hand(entry.id):
            judged = self._bounded.call(lambda: self._judge(entry, page, PLAIN))
        outcome, rejected = judged or (self._too_long, ())
        if isinstance(outcome, Retry):
            outcome = Failed(f"{outcome.reason} in the archive", outcome.reason)
        return self._discreet(None, Visit(entry, outcome, None, PLAIN, rejected))

    def give_up(self, visit: Visit) -> Visit:
        """A visit that failed, with what the spider's `failed` makes of it. For the owner thread."""
        outcome = visit.outcome
        if not isinstance(outcome, Failed) or type(self._spider).failed is Spider.failed:
            return visit
        reason = outcome.reason
        found = self._bounded.call(lambda: self._failure(visit.entry, reason))
        if not isinstance(found, ParseResult):
            note = found or f"failed() takes longer than {self._options.parse_timeout:g} s"
            return replace(visit, notes=(*visit.notes, note))
        outcome = replace(outcome, records=found.records, links=found.links, refused=found.refused)
        return replace(visit, outcome=outcome, rejected=(*visit.rejected, *found.rejected))

    def _failure(self, entry: Entry, reason: str) -> ParseResult | str:
        page = Page(request_of(entry), Response(entry.url, 0, Headers(), b""), depth=entry.depth)
        try:
            return parse_failure(self._spider, page, reason, self._rules, entry.fp)
        except Exception as error:
            return f"failed() raised {told(error, self._files)}"

    def robots_request(
        self,
        session: DomainSession,
        url: str,
        headers: tuple[tuple[str, str], ...],
        goes_on: Callable[[], bool],
    ) -> Iterator[Answer | Wait]:
        """Ask for one robots.txt; what it means is decided where the rules are kept."""
        yield from clear(session, url, goes_on)
        if goes_on():
            asked = ask(session, "GET", url, dict(headers), most=robots.MAX_BODY + 1)
            yield asked
            yield hear(session, asked)

    def login(self, session: DomainSession) -> Iterator[Wait]:
        """Log in with the spider's own method; raises LoginFailed whatever went wrong."""
        yield BLOCKS
        try:
            session.log_in(self._spider.login)
        except LoginFailed as error:
            raise LoginFailed(self._without_secrets(session, error.message), error.hint) from None
        except Exception as error:
            if isinstance(lack := translate(error), OutOfFiles):
                raise lack from None
            text = _QUERY.sub(r"\1", told(error, self._files))
            raise LoginFailed(self._without_secrets(session, f"login on {session.domain}: {text}")) from None

    def _lost_login(self, session: DomainSession, entry: Entry, page: Page) -> str:
        """How an answer shows that the site no longer knows us; empty where it does not."""
        if page.status == 401:
            return "logged out: status 401"
        if redirects.is_redirect(page.status):
            target = join(entry.url, redirects.location_of(page.headers) or "") or ""
            is_sent_to_login = session.is_login_page(target) and not session.is_login_page(entry.url)
            return "logged out: redirect to the login page" if is_sent_to_login else ""
        return "logged out: so says logged_out()" if page.status // 100 == 2 and self._says_lost(page) else ""

    def _says_lost(self, page: Page) -> bool:
        try:
            return self._spider.logged_out(page)
        except Exception:
            # A page that it cannot read is no sign of anything; the callback meets the same page.
            return False

    def _without_answer(self, sent: "_Sent", answer: Answer) -> Visit:
        entry, download = sent.entry, sent.download
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
        outcome = self._again(entry, sent.request, Retry(error.message, counts=not (is_stale or is_further)))
        reaction = Reaction() if is_stale else _failure_of(entry, is_own=isinstance(error, BadAnswer))
        return Visit(entry, outcome, answer.exchange, reaction)

    def _again(self, entry: Entry, request: Request, wish: Retry, *, is_undone: bool = False) -> Outcome:
        """Another try, unless the request may not be repeated or has had its tries."""
        if not (
            retry.is_safe(request.method)
            or is_undone
            or wish.after is not None
            or (request.meta or {}).get("retry")
        ):
            return Failed(f"{wish.reason}; {request.method} is not repeated", wish.reason)
        if wish.counts and entry.attempts + 1 >= self._options.max_attempts:
            return Failed(f"{wish.reason}, after {entry.attempts + 1} attempts", wish.reason)
        return wish

    def _rest(self, session: DomainSession, reaction: Reaction, after: float, reason: str) -> Reaction:
        """A wait that the spider asks for is the domain's, like one that the site asks for."""
        if session.limiter is not None:
            session.limiter.rest_until(self._clock.now() + after)
        asked = f"{reason}: the spider asks for {after:g} s"
        return replace(reaction, rest=max(after, reaction.rest or 0.0), asked=asked)

    def _reaction(self, session: DomainSession, entry: Entry, response: Response) -> Reaction:
        status = response.status
        told = retry.told(status, response.headers, self._clock.wall())
        if told.pause and session.limiter is not None:
            # At once: other threads may be waiting in it for their slots.
            session.limiter.rest_until(self._clock.now() + told.pause)
        refused = refusal(status, response.headers, response.content)
        if status == 401 and session.has_auth(response.url):
            refused = AUTH_REFUSED
        if told.is_limited and (refused is None or told.rest is not None):
            return Reaction(limited=f"status {status}", rest=told.rest, budgets=told.budgets)
        if refused is None and told.rest is None and retry.is_retryable_status(status):
            return replace(_failure_of(entry), budgets=told.budgets)
        if refused is None and told.rest is None and not told.budgets:
            return PLAIN
        return Reaction(refusal=refused or "", rest=told.rest, budgets=told.budgets)

    def _judge(self, entry: Entry, page: Page, reaction: Reaction) -> tuple[Outcome, tuple[Rejection, ...]]:
        response, status = page.response, page.status
        if status == 304:
            return self._not_modified(entry, page)
        if not reaction.limited and self._is_handled(entry, page.request, status):
            return self._parse(entry, page)
        if reaction.limited or (reaction.refusal and reaction.rest is None):
            return _refused(reaction), ()
        if redirects.is_redirect(status):
            return self._redirect(entry, page, status, redirects.location_of(response.headers)), ()
        is_empty = status == 200 and not (response.content or (response.file and response.file["size"]))
        is_empty = is_empty and page.request.method == "GET"
        if is_empty and entry.id not in self._doubtful:
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
        is_last = not is_repeated or entry.attempts + 1 >= self._options.max_attempts
        return is_last or not retry.is_retryable_status(status)

    def handles(self, request: Request, status: int) -> bool:
        """Whether the spider wants pages of a status that is no success."""
        return status in request.handle_statuses or status in self._spider.handle_statuses

    def _may_ask_again(self, entry: Entry, request: Request) -> bool:
        """Whether a page that brings nothing is asked again: lists come without their rows on a bad moment.

        Where many stay empty the site has changed, and asking twice for everything would find out no more.
        """
        if entry.attempts >= min(MOST_EMPTY_TRIES, self._options.max_attempts - 1):
            self._emptied += 1
            return False
        return self._emptied < MOST_EMPTIED and retry.is_safe(request.method)

    def _not_modified(self, entry: Entry, page: Page) -> tuple[Outcome, tuple[Rejection, ...]]:
        known = entry.known
        if known is None or not caching.confirms(known.etag, page.response.headers):
            return self._doubted(entry, "status 304 that speaks of another version")
        if self._is_same(entry, page.session_fields):
            return Unchanged(self._known(page.response, known)), ()
        copy = self._copy(entry)
        if copy is None:
            return self._doubted(entry, "status 304 without a copy to stand for")
        outcome, rejected = self._parse(entry, page.with_response(copy))
        if isinstance(outcome, Fetched):
            # The archived answer is kept without its coding, and so cannot tell what its tag stands for.
            asked = replace(outcome.known, etag=known.etag, last_modified=known.last_modified)
            outcome = replace(outcome, known=self._known(page.response, asked))
        return outcome, rejected

    def _doubted(self, entry: Entry, reason: str) -> tuple[Outcome, tuple[Rejection, ...]]:
        """What makes no sense is asked for once more, without conditions, before it counts."""
        if entry.id in self._doubtful:
            return Failed(reason, reason), ()
        self._doubtful.add(entry.id)
        return Retry(reason, counts=False), ()

    def _copy(self, entry: Entry) -> Response | None:
        """The archived body of a known version, to be parsed once more."""
        known = entry.known
        if known is not None and self._saved.is_for_file(entry):
            return self._saved.response(entry, known)
        if self._archives is None or known is None:
            return None
        try:
            found = self._archives.get(archived_as(entry))
        except ScraperError:
            return None  # an archive that cannot be read only costs traffic
        is_it = found is not None and self._options.inputs.digest(found.response) == known.body_hash
        return found.response if found is not None and is_it else None

    def saved(self, entry: Entry) -> Response | None:
        """What stands for a request whose file is here; None for any other."""
        return self._copy(entry) if self._saved.is_for_file(entry) else None

    def _known(self, response: Response, before: Known) -> Known:
        """The stored validators, brought up to date by a 304 (RFC 9111 4.3.4)."""
        etag, last_modified = caching.renewed(response.headers, before.etag, before.last_modified)
        return replace(
            before,
            etag=etag,
            last_modified=last_modified,
            fresh_until=caching.fresh_until(response.headers, response.fetched_at),
            fetched_at=response.fetched_at,
        )

    def _redirect(self, entry: Entry, page: Page, status: int, location: str | None) -> Outcome:
        request = page.request
        hop = redirects.next_hop(status, request.method, entry.url, location)
        if hop is None:
            return Failed(f"status {status} without a Location", "bad redirect")
        if isinstance(hop, Failed):
            return hop
        if entry.hops >= redirects.MAX_HOPS:
            return Failed(f"more than {redirects.MAX_HOPS} redirects", "too many redirects")
        target = hop.url.partition("#")[0]
        identity = canonical(target)
        reason = out_of_scope(target, self._rules.allowed_domains)
        if identity is None or reason is not None:
            return Denied(_moved(entry, target) or f"redirect to {target[:200]}: {reason or 'not a URL'}")
        # With a new cookie the same URL may well answer otherwise, but hardly a third time.
        is_same = hop.method == request.method and target == entry.url
        if is_same and (entry.hops >= _MOST_REPEATS or "set-cookie" not in page.headers):
            return Failed("redirects to itself", "redirect loop")
        if entry.url == request.url.partition("#")[0] and entry.hops >= 2 * _MOST_REPEATS:
            return Failed(f"redirects in a circle, by {target[:200]}", "redirect loop")
        if hop.keeps_body and not hop.keeps_secrets and names_secret((body_of(request)[0] or b"").decode()):
            return Denied(f"redirect to {target[:200]}: it would take a password to another origin")
        following = replace(
            request,
            method=hop.method,
            headers=redirects.headers_for(hop, request.headers) if request.headers else None,
            data=request.data if hop.keeps_body else None,
            json=request.json if hop.keeps_body else None,
        )
        return Redirected(
            NewUrl(
                domain=domain_of(target),
                fp=self._hop_fingerprint(entry, request, following, identity),
                url=target,
                request=request_text(following, target),
                priority=redirects.FIRST,
                depth=entry.depth,
                hops=entry.hops + 1,
            )
        )

    @staticmethod
    def _hop_fingerprint(entry: Entry, request: Request, following: Request, identity: str) -> bytes:
        """By what the next hop is known: the page behind a form belongs to what was sent, not to its URL."""
        fp, source = identity_of(following, identity), identity_of(request, canonical(entry.url) or "")
        if fp == source:
            return entry.fp  # to set a cookie, or to have its URL spelled in another way
        # Further hops of such a request have a fingerprint that is not their URL's.
        is_own = request.dont_filter or request.method not in _SAFE or entry.fp != source
        return variant(fp, entry.fp) if is_own else fp

    @staticmethod
    def _robots_usage(page: Page) -> str | None:
        session = page.session if page.has_session else None
        return session.usage(page.url) if session is not None and session.usage is not None else None

    def _parse(self, entry: Entry, page: Page) -> tuple[Outcome, tuple[Rejection, ...]]:
        response = page.response
        digest = self._options.inputs.digest(response)
        inputs = self._inputs(entry, page.session_fields)
        asked = entry.known.etag if entry.known is not None and not self._is_uncopied(entry) else None
        etag, last_modified = caching.validators(response.headers, asked)
        known = Known(
            version=self._options.version,
            etag=etag,
            last_modified=last_modified,
            fresh_until=caching.fresh_until(response.headers, response.fetched_at),
            body_hash=digest,
            fetched_at=response.fetched_at,
            inputs=inputs,
        )
        before = entry.known if page.request.method != "HEAD" else None
        if before is not None and self._is_as_before(known, before):
            return Unchanged(replace(known, version=before.version, files=before.files)), ()
        following = page.meta_refresh
        if following is not None and following.seconds <= LONGEST_REFRESH:
            return self._redirect(entry, page, _SEE_OTHER, following.url), ()
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
        except Exception as error:
            return self._raised(error, queries), ()

    def _is_as_before(self, known: Known, before: Known) -> bool:
        is_same = (before.body_hash, before.inputs) == (known.body_hash, known.inputs)
        return is_same and self._saved.has_all(before)

    def _called(
        self, entry: Entry, page: Page, known: Known, before: Known | None, queries: Mapping[str, bool]
    ) -> tuple[Outcome, tuple[Rejection, ...]]:
        """What the spider's callback makes of a page; `queries`: those that it asks."""
        found = parse_page(self._spider, page, self._rules, entry.fp)
        is_emptied = before is not None and before.inputs == known.inputs and _is_emptied(before, found)
        if is_emptied and self._may_ask_again(entry, page.request):
            return Retry("brings nothing where it did"), ()
        if page.has_asked:
            known = replace(known, inputs="")  # what else it asked for may change while the page does not
        if page.saved:
            known = replace(known, files=json.dumps(page.saved))
        facts = page.facts(self._robots_usage(page))
        outcome = Fetched(known, found.records, found.links, found.refused, facts, found.filtered, is_emptied)
        return replace(outcome, dropped=found.dropped, queries=queries), found.rejected

    def _raised(self, error: Exception, asked: Mapping[str, bool]) -> Failed:
        """A page whose callback raised."""
        place = origin_of(error, self._files).place
        kind = f"{type(error).__name__} in {place}" if place else type(error).__name__
        trace = traceback_of(error)
        return Failed(told(error, self._files), kind, is_parse=True, traceback=trace, queries=asked)


def _taken_back(
    session: DomainSession, entries: deque[Entry], following: "_Sent | Visit | None"
) -> "_Sent | Visit | None":
    """Nothing: what was sent ahead is to be asked for again, and its answer not heard."""
    if following is not None:
        entries.appendleft(following.entry)
        session.disconnect()
    return None


def _is_emptied(before: Known, found: ParseResult) -> bool:
    """Whether a page brings nothing though its last version brought something."""
    if found.records or found.rejected or found.dropped:
        return False
    return bool(before.records or (before.links and not found.links))


def _refused(reaction: Reaction) -> Outcome:
    if reaction.limited:
        return Retry(f"refused by rate: {reaction.limited}", counts=False)
    return Failed(reaction.refusal, reaction.refusal)


def _failure_of(entry: Entry, *, is_own: bool = False) -> Reaction:
    """A failure of the domain; a page's own failure, and a page that fails again, say little about it."""
    is_hitch = is_own or entry.attempts > 0
    return Reaction(hitch=entry.attempts + 1) if is_hitch else Reaction(is_failure=True)


def _moved(entry: Entry, target: str) -> str:
    """What to write where a start page has moved to another domain; empty where none has."""
    if entry.depth or domain_of(target) == entry.domain:
        return ""
    return f'the start page moved outside allowed_domains, write start_urls = ["{target[:140]}"]'


def _is_kept(outcome: Outcome, page: Page) -> bool:
    """Whether a response is archived: what a later parse needs, unless its site says noarchive."""
    match outcome:
        case Unchanged():
            return not page.noarchive
        case Fetched(facts=facts):
            return "noarchive" not in facts
        case Redirected() | Failed(is_parse=True) | Failed(is_gone=True):
            return not page.noarchive
        case _:
            return False


def body_of(request: Request) -> tuple[bytes | None, dict[str, str]]:
    """The body to send and the header fields that go with the request."""
    headers = dict(request.headers or {})
    names = {name.lower() for name in headers}
    if request.json is not None:
        body, kind = json.dumps(request.json, separators=(",", ":")).encode(), _JSON
    elif isinstance(request.data, Mapping):
        body, kind = urlencode(request.data, doseq=True).encode(), _FORM
    elif request.data is not None:
        body, kind = str(request.data).encode(), _FORM
    else:
        return None, headers
    if "content-type" not in names:
        headers["Content-Type"] = kind
    return body, headers


def _secrets_of(entry: Entry) -> Iterator[str]:
    """What a request carries in header fields that not every host may hear; a token also without scheme."""
    for name, value in (request_of(entry).headers or {}).items() if entry.request else ():
        text = str(value or "")
        if not may_leave(name) and (is_secret_name(name) or len(text) >= LEAST_SECRET):
            yield from (text, text.rpartition(" ")[2])


def _without_cookies(response: Response) -> Response:
    """A response as it may be archived: whoever has a session's cookies is that session."""
    lines = [(name, value) for name, value in response.headers.items_all() if name.lower() not in _COOKIES]
    return replace(response, headers=Headers(lines))
