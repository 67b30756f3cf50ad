"""One request to one outcome. It runs on worker threads; nothing that a site can do raises past it.

The steps are here; what an answer means for its domain stands in `reactions`, what became of its request in
`judging`, what stands of earlier runs in `known_pages`.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from scraper.engine.archiving import to_archive
from scraper.engine.batch import DomainWanted, ends_batch
from scraper.engine.failed_hook import FailedHook
from scraper.engine.file_requests import FileRequests, with_file
from scraper.engine.judging import Judging
from scraper.engine.known_pages import KnownPages
from scraper.engine.login_steps import LoginSteps, leaves
from scraper.engine.parse_limit import Bounded, Parsing, died, no_memory, too_long
from scraper.engine.parsing_elsewhere import (
    Elsewhere,
    Handed,
    NeedsSession,
    NoSession,
    Parsed,
    ParsingElsewhere,
)
from scraper.engine.reactions import Reactions
from scraper.engine.sent import Sent
from scraper.engine.visit_redaction import VisitRedaction
from scraper.http import redirects
from scraper.http.exchange import BLOCKS, Answer, Wait, ask, clear, hear, hindrance
from scraper.http.request_body import body_of
from scraper.http.saved_files import SavedFiles
from scraper.http.session import DomainSession
from scraper.model import (
    PLAIN,
    Denied,
    Entry,
    Failed,
    Reaction,
    Request,
    Response,
    Retry,
    Unchanged,
    Visit,
)
from scraper.model.frozen import frozen
from scraper.ops.clock import Clock
from scraper.ops.secrets import Redaction
from scraper.parsing.page import Page
from scraper.politeness import retry, robots
from scraper.runs.archive.reading import Archives
from scraper.spider import Spider
from scraper.spider.identity import ParseInputs, request_of
from scraper.spider.rules import Rules

if TYPE_CHECKING:  # few runs have parse processes, or a browser
    from scraper.browser.tasks import Renderer
    from scraper.engine.auto_rendering import ShapeMemory
    from scraper.engine.parse_pool import Task
    from scraper.engine.rendered_visits import RenderedVisits
    from scraper.engine.rendering import RenderOptions


@frozen
class FetchOptions:
    """What the fetcher needs of the run: its `version` (the run's number), our product token, the limits, and
    what its parses depend on beside their pages. `is_own`: archived answers are of the spider's own runs.
    """

    version: int
    token: str
    inputs: ParseInputs
    max_attempts: int = 4
    archive: bool = False
    parse_timeout: float = 30.0
    is_own: bool = True


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
        rendering: "tuple[Renderer, RenderOptions] | None" = None,
        shapes: "ShapeMemory | None" = None,
        elsewhere: ParsingElsewhere | None = None,
    ) -> None:
        self._options = options
        self._in_hand = in_hand
        self._elsewhere = elsewhere
        self._saved = FileRequests(spider, files)
        self._known_pages = KnownPages(
            options.version, options.inputs, self._saved, archives, is_archiving=options.archive
        )
        self._judging = Judging(spider, rules, self._known_pages, self._saved, options.max_attempts)
        self._reactions = Reactions(clock, options.max_attempts)
        self._redaction = VisitRedaction(redaction)
        self._rendered = (
            self._rendered_visits(spider, *rendering, shapes, files) if rendering is not None else None
        )
        self._logins = LoginSteps(spider, self._redaction)
        self._failed = FailedHook(spider, rules, options.parse_timeout)
        self.bounded = Bounded(options.parse_timeout)
        self.too_long = too_long(options.parse_timeout)
        # Asked by others of the crawl, in the words of the part that knows.
        self.handles = self._judging.handles
        self.may_reuse = self._known_pages.may_reuse
        self.saved = self._known_pages.saved

    def give_up(self, visit: Visit) -> Visit:
        """A visit that failed, with what the spider's `failed` makes of it; for the owner thread."""
        return self._redaction.visit(None, self._failed.give_up(visit))

    def _rendered_visits(
        self,
        spider: Spider,
        renderer: "Renderer",
        options: "RenderOptions",
        shapes: "ShapeMemory | None",
        files: SavedFiles | None,
    ) -> "RenderedVisits":
        # Imported on first use: few runs render.
        from scraper.engine.auto_rendering import AutoRendering
        from scraper.engine.rendered_visits import RenderedVisits
        from scraper.engine.rendering import Rendering

        return RenderedVisits(
            Rendering(renderer, self._reactions, options, files=files),
            AutoRendering(spider, shapes),
            self._judging,
            self._reactions,
            self._saved,
            self._options.token,
            self._parsed,
        )

    def visits(
        self,
        session: DomainSession,
        entries: deque[Entry],
        goes_on: Callable[[], bool],
        may_finish: Callable[[], bool],
    ) -> Iterator[Visit | Parsing | DomainWanted | Wait]:
        """Fetch and parse URLs one after the other, while it `goes_on`; tells what has to be waited for.

        A page that is being rendered then is finished, while it `may_finish`.

        Where there are several (without a delay), the next request is sent as soon as an answer is here whole
        and shows no failure: the server works on it while we parse. Still only one is ever in flight.
        """
        self._lend(session)
        steps = self._steps(session, entries, goes_on, may_finish)
        if self._elsewhere is not None:
            return self._elsewhere.in_order(steps)
        return steps  # type: ignore[return-value]  # nothing is handed over

    def _steps(
        self,
        session: DomainSession,
        entries: deque[Entry],
        goes_on: Callable[[], bool],
        may_finish: Callable[[], bool],
    ) -> Iterator[Visit | Elsewhere | Parsing | DomainWanted | Wait]:
        sent: Sent | Visit | None = None
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
            answer = yield from self._heard(session, sent)
            may_go_ahead = not (session.has_login or is_raising)
            visit, sent = yield from self._answered(
                session, sent, answer, entries if may_go_ahead else deque(), goes_on, may_finish
            )
            if isinstance(visit, Elsewhere):
                yield visit
                continue
            yield self._redaction.visit(session, _with_loads(session, visit))
            is_raising = isinstance(visit.outcome, Failed) and visit.outcome.is_parse
            if sent is None and (is_raising or ends_batch(visit)):
                return  # whoever counts errors, minds a rest or has the next hop decides what is asked now

    def _answered(
        self,
        session: DomainSession,
        sent: Sent,
        answer: Answer,
        entries: deque[Entry],
        goes_on: Callable[[], bool],
        may_finish: Callable[[], bool],
    ) -> Generator[Parsing | DomainWanted | Wait, None, tuple[Visit | Elsewhere, Sent | Visit | None]]:
        """What an answer comes to, and what was sent ahead of `entries` meanwhile."""
        reaction = self._reactions.to(session, sent.entry, answer.response) if answer.response else None
        is_page = reaction is PLAIN and not redirects.is_redirect(answer.exchange.status)
        if is_page and self._rendered is not None and self._rendered.may_render(sent, answer.response):
            # Nothing is sent ahead: the page has the session to itself.
            return (yield from self._rendered.visit(session, sent, answer, may_finish)), None
        following = self._send_ahead(session, entries) if is_page and entries and goes_on() else None
        if following is not None and (handed := self._hand_over(session, sent, answer)):
            return handed, following
        visit = yield from self._parsed(session, sent, answer, reaction, following)
        # The batch ends where the spider asks for a rest; what was sent ahead is asked for after it.
        return visit, following if visit.reaction.is_plain else _taken_back(session, entries, following)

    def _heard(self, session: DomainSession, sent: Sent) -> Generator[Wait, None, Answer]:
        """The answer to a request, with its file in its place."""
        yield sent.asked
        if sent.download is not None and self._saved.is_slow:
            yield BLOCKS
        return with_file(sent.download, hear(session, sent.asked))

    def _parsed(
        self,
        session: DomainSession,
        sent: Sent,
        answer: Answer,
        reaction: Reaction | None,
        following: Sent | Visit | None = None,
    ) -> Generator[Parsing, None, Visit]:
        """Parse a page, or say what else became of its request."""
        if reaction is not None:
            yield self._parsing(sent.entry, answer, reaction, following)
        with self._in_hand(sent.entry.id):
            try:
                return self._conclude(session, sent, answer, reaction)
            except MemoryError:
                return Visit(sent.entry, no_memory(), answer.exchange, reaction or PLAIN)

    def close(self) -> None:
        """End browser and parse processes."""
        if self._rendered is not None:
            self._rendered.close()
        if self._elsewhere is not None:
            self._elsewhere.close()

    def login(self, session: DomainSession) -> Iterator[Wait]:
        """Log in with the spider's own method; raises LoginFailed whatever went wrong."""
        self._lend(session)
        return self._logins.login(session)

    def _lend(self, session: DomainSession) -> None:
        """Let logins and callbacks render pages."""
        if self._rendered is not None:
            session.renderer = self._rendered.page

    def _send_ahead(self, session: DomainSession, entries: deque[Entry]) -> Sent | Visit | None:
        return None if hindrance(session, entries[0].url) else self._send(session, entries.popleft())

    def _send(self, session: DomainSession, entry: Entry) -> Sent | Visit:
        request = request_of(entry)
        if session.has_login and leaves(entry.url):
            return Visit(entry, Denied("a logout link: it would end the login"))
        body, headers = body_of(request)
        if entry.known is not None:
            entry = self._known_pages.to_ask(entry, session.own_fields())
        if self._rendered is None or not self._rendered.is_wanted(request):
            # Whether a shell has changed says nothing of what its scripts fill it with.
            headers.update(self._known_pages.conditions(entry, request.method))
        download = self._saved.download(entry, request)
        if download is not None:
            headers |= download.headers
        asked = ask(session, request.method, entry.url, headers, body, download=download)
        return Sent(entry, request, asked, download)

    def _parsing(
        self, entry: Entry, answer: Answer, reaction: Reaction, following: Sent | Visit | None
    ) -> Parsing:
        sent = following.entry if following is not None else None
        visit = Visit(entry, self.too_long, answer.exchange, reaction)
        tries, reason = entry.attempts + 1, "still being parsed when the run stopped"
        is_last = tries >= self._options.max_attempts
        return Parsing(visit, Failed(f"{reason}, {tries} times", reason) if is_last else Retry(reason), sent)

    def _conclude(
        self, session: DomainSession, sent: Sent, answer: Answer, reaction: Reaction | None
    ) -> Visit:
        entry, response = sent.entry, answer.response
        if response is None or reaction is None:
            return self._reactions.without_answer(entry, sent.request, answer, sent.download)
        page = self._page(sent.request, response, entry.depth, session)
        if session.has_login and (lost := self._logins.lost(session, entry, page)):
            return Visit(entry, Retry(lost, counts=False), answer.exchange, Reaction(is_logged_out=True))
        outcome, rejected = self._judging.judge(entry, page, reaction)
        return self._concluded(session, sent, answer, reaction, page, (outcome, rejected, page.notes))

    def _page(self, request: Request, response: Response, depth: int, session: Any = None) -> Page:
        token, keep = self._options.token, self._saved.keep
        return Page(request, response, depth=depth, token=token, session=session, keep=keep)

    def _concluded(
        self,
        session: DomainSession,
        sent: Sent,
        answer: Answer,
        reaction: Reaction,
        page: Page,
        parsed: Parsed,
    ) -> Visit:
        """The visit of an answer that was judged."""
        entry, (outcome, rejected, notes) = sent.entry, parsed
        if sent.download is not None and sent.download.is_stale:
            outcome = Retry("status 416: the file has changed", counts=False)
        if isinstance(outcome, Retry):
            is_undone = retry.is_undone(page.status)
            outcome = self._reactions.again(entry, sent.request, outcome, is_undone=is_undone)
            if isinstance(outcome, Retry) and outcome.after:
                reaction = self._reactions.asked_by_spider(session, reaction, outcome.after, outcome.reason)
        archived = to_archive(entry, outcome, page) if self._options.archive else (None, b"")
        return Visit(entry, outcome, answer.exchange, reaction, rejected, *archived, notes)

    # in other processes ---------------------------------------------------------------------------------
    def _hand_over(self, session: DomainSession, sent: Sent, answer: Answer) -> Elsewhere | Visit | None:
        """Have a page parsed in another process, if that is needed; None where there is none for it."""
        entry, response, elsewhere = sent.entry, answer.response, self._elsewhere
        if elsewhere is None or response is None or sent.download is not None:
            return None
        # Most answers of a later run are 304s: to look for a process would cost as much as they do.
        if not self._judging.is_to_parse(response):
            return None
        if not elsewhere.takes(sent.request.callback, len(response.content)):
            return None
        page = self._page(sent.request, response, entry.depth, session)
        known = self._judging.version(entry, page)
        if isinstance(known, Unchanged):
            return self._concluded(session, sent, answer, PLAIN, page, (known, (), ()))
        usage = session.usage(page.url) if session.usage is not None else None
        task = elsewhere.hand_over((entry, response, known, usage))
        return Elsewhere(task, partial(self._finish, session, sent, answer, page))

    def _finish(
        self, session: DomainSession, sent: Sent, answer: Answer, page: Page, task: "Task"
    ) -> Generator[Parsing, None, Visit]:
        """The visit of a page by what came of it elsewhere; where that is nothing, it is parsed here."""
        if task.deaths:
            visit = Visit(sent.entry, died(task.deaths), answer.exchange)
        elif task.result is None:
            assert self._elsewhere is not None
            self._elsewhere.stays(sent.request.callback)
            visit = yield from self._parsed(session, sent, answer, PLAIN)
        else:
            visit = self._concluded(session, sent, answer, PLAIN, page, task.result)
        return self._redaction.visit(session, _with_loads(session, visit))

    def is_outdated(self, entry: Entry, response: Response) -> bool:
        """Whether an archived answer of the spider's own is not what its site said last."""
        return self._options.is_own and self._known_pages.is_outdated(entry, response)

    def parse_some(self, items: deque[Handed]) -> list[Parsed | None]:
        """What the first of some pages come to that a run has handed over; they leave `items`."""
        return self.bounded.some(self._parse_handed, items, lambda handed: (self.too_long, (), ()))

    def _parse_handed(self, handed: Handed) -> Parsed | None:
        entry, response, known, usage = handed
        page = self._page(request_of(entry), response, entry.depth, NoSession(usage))
        try:
            return *self._judging.parse(entry, page, known), page.notes
        except NeedsSession:
            return None
        except MemoryError:
            return no_memory(), (), ()

    def read(self, entry: Entry, response: Response) -> Visit:
        """The visit that an archived response makes: parsed whatever is known, and no news of its site.

        For a thread of `bounded`.
        """
        entry = replace(entry, known=None, attempts=self._options.max_attempts)
        self._known_pages.doubtful.add(entry.id)  # an archive says nothing else when it is asked again
        page = self._page(request_of(entry), response, entry.depth)
        with self._in_hand(entry.id):
            try:
                outcome, rejected = self._judging.judge(entry, page, PLAIN)
            except MemoryError:
                outcome, rejected = no_memory(), ()
        if isinstance(outcome, Retry):
            outcome = Failed(f"{outcome.reason} in the archive", outcome.reason)
        return self._redaction.visit(None, Visit(entry, outcome, None, PLAIN, rejected))

    def unparsed(
        self,
        session: DomainSession,
        url: str,
        headers: tuple[tuple[str, str], ...],
        goes_on: Callable[[], bool],
    ) -> Iterator[Answer | Wait]:
        """Ask for a robots.txt, or a control; what the answer means is for others to decide."""
        yield from clear(session, url, goes_on)
        if goes_on():
            asked = ask(session, "GET", url, dict(headers), most=robots.MAX_BODY + 1)
            yield asked
            yield hear(session, asked)


def _with_loads(session: DomainSession, visit: Visit) -> Visit:
    """A visit, and what pages asked for that were rendered before it by a login or within its callback."""
    if not session.loads:
        return visit
    loads, session.loads = session.loads, []
    return replace(visit, loads=(*loads, *visit.loads))


def _taken_back(
    session: DomainSession, entries: deque[Entry], following: Sent | Visit | None
) -> Sent | Visit | None:
    """Nothing: what was sent ahead is to be asked for again, and its answer not heard."""
    if following is not None:
        entries.appendleft(following.entry)
        session.abandon()
    return None
