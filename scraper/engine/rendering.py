"""Pages that a browser renders: each request of theirs is answered here, under the rules of all others.

The browser asks, we decide: kind, scope, robots.txt, the slot at the domain's rate limiter, the session with
its cookies. A step of a batch (see `Fetcher.visits`) waits for the browser as it waits for a server: no
thread stands still meanwhile.
"""

from collections.abc import Callable, Generator
from dataclasses import field, replace
from threading import Event, get_ident
from typing import Any

from scraper.browser.tasks import (
    KINDS,
    Downloaded,
    PageRequest,
    PageResponse,
    Renderer,
    RenderResult,
    RenderTask,
)
from scraper.engine.batch import DomainWanted
from scraper.engine.load_cache import LoadCache
from scraper.engine.page_downloads import PageDownloads
from scraper.engine.page_limits import MOST_DOCUMENTS, OVER, PageLimits, time_for
from scraper.engine.page_loads import headers_of, is_foreign, key_of, loaded_by, rendered, task_of
from scraper.engine.reactions import Reactions
from scraper.errors import FetchError, OutOfReach, RequestDenied
from scraper.http.exchange import BLOCKS, Answer, Later, Until, Wait, ask, clear, hear
from scraper.http.saved_files import SavedFiles
from scraper.http.session import DomainSession
from scraper.model import (
    PLAIN,
    Entry,
    Failed,
    Loaded,
    Outcome,
    Reaction,
    Render,
    Request,
    Response,
    Retry,
)
from scraper.model.frozen import frozen, slotted
from scraper.ops.clock import Clock
from scraper.ops.patterns import pattern
from scraper.parsing.page import Page
from scraper.politeness import retry
from scraper.urls import domain_of, origin_of

NEVER, ALWAYS, AUTO = "never", "always", "auto"
MOST_BROWSERS = 2  # tries of a page with which the browser fails
_REFUSED = frozenset({401, 403, 451})
_URL = pattern(r"\w+://\S+")


@frozen
class RenderOptions:
    """The settings of rendering: `mode`, the kinds that are asked for beside KINDS, and from which domains
    (None: from all) beside those that the spider crawls.
    """

    mode: str = NEVER
    kinds: frozenset[str] = frozenset()
    domains: frozenset[str] | None = None
    allowed_domains: frozenset[str] = frozenset()


@frozen
class Picture:
    """What came of a rendering: the page in the place of its plain answer, or an `outcome` without one.

    `screenshot`: what a page that failed looked like in the end.
    """

    response: Response | None = None
    outcome: Outcome | None = None
    reaction: Reaction = PLAIN
    notes: tuple[str, ...] = ()
    loads: tuple[Loaded, ...] = ()
    screenshot: bytes = b""


@slotted
class State:
    """One rendering: what it asked for; `trouble` ends it at once, `doubt` when it is done."""

    session: DomainSession
    entry: Entry
    goes_on: Callable[[], bool]
    limits: PageLimits
    loads: list[Loaded] = field(default_factory=list)
    leased: set[str] = field(default_factory=set)
    trouble: Picture | None = None
    doubt: Picture | None = None

    @property
    def is_late(self) -> bool:
        """Whether the page's time is over."""
        return self.session.clock.now() >= self.limits.until

    def may_send(self) -> bool:
        """Whether another request may still be sent."""
        return self.goes_on() and not self.is_late


class Rendering:
    """Renders pages of a crawl, and answers what they ask for."""

    def __init__(
        self,
        renderer: Renderer,
        reactions: Reactions,
        options: RenderOptions,
        cache: LoadCache | None = None,
        files: SavedFiles | None = None,
    ) -> None:
        self._renderer = renderer
        self._reactions = reactions
        self._options = options
        self._kinds = frozenset(KINDS) | options.kinds
        self._cache = cache or LoadCache()
        self._downloads = PageDownloads(files)
        self._refused: dict[tuple[object, ...], Response | None] = {}
        self._failing: set[str] = set()

    def wants(self, request: Request) -> str:
        """Why the page of a request is to be rendered, if it is one; empty where nobody says so."""
        return why_rendered(self._options.mode, request)

    @property
    def is_auto(self) -> bool:
        """Whether each page decides."""
        return self._options.mode == AUTO

    def close(self) -> None:
        """End the browser."""
        self._renderer.close()

    def page(self, session: DomainSession, response: Response, render: Render) -> Page:
        """Render the page of a plain answer on the thread that waits for it: a login, a callback."""
        request = Request(response.url, render=render)
        steps = self.draw(
            session, Entry(0, session.domain, b"", response.url), request, response, lambda: True
        )
        session.callers.add(get_ident())
        try:
            picture = at_once(steps, session.clock)
        finally:
            session.callers.discard(get_ident())
        session.loads += picture.loads
        if picture.response is None:
            reason = picture.outcome.reason if isinstance(picture.outcome, Failed | Retry) else "not rendered"
            raise FetchError(reason)
        return Page(request, picture.response, session=session)

    def draw(
        self,
        session: DomainSession,
        entry: Entry,
        request: Request,
        response: Response,
        goes_on: Callable[[], bool],
        moment: float = 0.0,
    ) -> Generator[DomainWanted | Wait, None, Picture]:
        """Render the page of a plain answer. `moment`: what its clock shows (epoch seconds); 0: now."""
        is_own = session.is_own(entry.url)
        cookies = [row for row in session.cookies.dump() if row["domain"] or is_own]
        task = task_of(session, entry, request, response, cookies)
        within = time_for(session, task.render)
        state = State(session, entry, goes_on, self._limits(session, within))
        before = task.cookies
        drawing = self._renderer.draw(
            replace(task, most_file=self._downloads.most, moment=moment, within=within)
        )
        try:
            drawn = yield from self._serve(drawing, state)
        finally:
            drawing.stop()
        if drawn is None:
            picture = state.trouble or Picture(
                outcome=Retry("still being rendered when the domain had to be given back", counts=False)
            )
        else:
            if drawn.cookies is not None:
                session.cookies.mirror(drawn.cookies, before)
            if drawn.storage is not None:
                session.storage.put(origin_of(drawn.url), drawn.storage)
            picture = self._picture(state, drawn, response)
        return replace(picture, loads=tuple(state.loads), notes=drawn.notes if drawn else ())

    def _limits(self, session: DomainSession, within: float) -> PageLimits:
        found = self._options
        until = session.clock.now() + within
        return PageLimits(session.domain, self._kinds, found.domains, found.allowed_domains, until)

    def _serve(
        self, drawing: RenderTask, state: State
    ) -> Generator[DomainWanted | Wait, None, RenderResult | None]:
        """Answer requests until the page is done; None where it is given up."""
        while state.goes_on() and state.trouble is None:
            event = drawing.next()
            if isinstance(event, RenderResult):
                return event
            if event is None:
                yield Later(drawing.tell)
                continue
            if isinstance(event, Downloaded):
                yield BLOCKS  # to copy it takes as long as it is large
                state.loads.append(self._downloads.made(event))
                continue
            given = yield from self._answer(state, event)
            drawing.answer(event, given)
        return None

    # one request of the page -----------------------------------------------------------------------------
    def _answer(
        self, state: State, wanted: PageRequest
    ) -> Generator[DomainWanted | Wait, None, PageResponse]:
        """Answer one request, and write down what became of it."""
        loaded = self._unasked(state, wanted)
        if loaded is None:
            loaded = yield from self._asked(state, wanted)
        state.loads.append(loaded)
        if loaded.file is not None:
            state.limits.note_file(wanted)
        if state.limits.is_loop:
            outcome = Failed(f"rendering: the page led on {MOST_DOCUMENTS} times by itself", "redirect loop")
            state.trouble = Picture(outcome=outcome)
        if loaded.file is not None:
            return PageResponse(204)  # the page stays as it is
        return PageResponse(loaded.status, loaded.headers, loaded.content, loaded.reason)

    def _unasked(self, state: State, wanted: PageRequest) -> Loaded | None:
        """What becomes of a request that is not sent: refused, or answered by what is here."""
        reason = state.limits.refusal(wanted, state.session.clock.now())
        if reason:
            return Loaded(wanted.url, wanted.kind, wanted.method, reason=reason)
        key = key_of(wanted)
        kept = self._refused.get(key)
        if kept is None and key in self._refused:
            return Loaded(wanted.url, wanted.kind, wanted.method, reason="it failed before in this run")
        if kept is None and wanted.method == "GET":
            kept = self._cache.fresh(state.session.domain, wanted, state.session.clock.wall())
        return loaded_by(wanted, kept, is_cached=True) if kept is not None else None

    def _asked(self, state: State, wanted: PageRequest) -> Generator[Any, None, Loaded]:
        """Ask for it, and see what the answer means."""
        answer = yield from self.exchange(state, wanted)
        if isinstance(answer, str):
            return Loaded(wanted.url, wanted.kind, wanted.method, reason=answer)
        return self._take(state, wanted, answer)

    def exchange(self, state: State, wanted: PageRequest) -> Generator[Any, None, Answer | str]:
        """The answer to one request of a page, or why it is not sent: robots.txt, slot, session.

        A service has another way: its queues.
        """
        session = state.session
        if refusal := (yield from self._forbidden(state, wanted)):
            return refusal
        yield from clear(session, wanted.url, state.may_send, is_load=True)
        if not state.may_send():
            return OVER if state.is_late else "the run stopped"
        headers, download = self.headers(session, wanted), self._downloads.of(wanted)
        asked = ask(
            session,
            wanted.method,
            wanted.url,
            headers,
            wanted.body,
            download=download,
            is_load=True,
            is_foreign=is_foreign(wanted),
        )
        yield asked
        if download is not None and self._downloads.is_slow:
            yield BLOCKS
        return self._downloads.filed(download, wanted, hear(session, asked))

    def _forbidden(self, state: State, wanted: PageRequest) -> Generator[Any, None, str]:
        """Why it may not be asked for: its domain is not to be had, robots.txt; empty if it may."""
        session = state.session
        if (name := domain_of(wanted.url)) != session.domain and name not in state.leased:
            needed = DomainWanted(name, (origin_of(wanted.url),))
            yield needed
            if needed.is_busy:
                self._doubt(state, wanted, needed.refusal, PLAIN)
            if needed.refusal:
                return needed.refusal
            state.leased.add(name)
        try:
            if session.load_rules is not None:
                if not session.load_rules.knows(wanted.url):
                    yield BLOCKS  # it asks for robots.txt
                session.load_rules.check(wanted.url)
        except RequestDenied as error:
            return error.message
        return ""

    def headers(self, session: DomainSession, wanted: PageRequest) -> dict[str, str]:
        """The fields that a request of a page is sent with, but for those of the session."""
        return headers_of(wanted) | self._cache.conditions(session.domain, wanted)

    def _take(self, state: State, wanted: PageRequest, answer: Answer) -> Loaded:
        """What the answer to a request of the page means for its domain, for the page, and for this run."""
        sent_at, response, session = answer.exchange.sent_at, answer.response, state.session
        if response is None:
            error = answer.error
            reason = error.message if error is not None else "no answer"
            if error is not None and error.is_transient and not isinstance(error, OutOfReach):
                self._doubt(state, wanted, reason, Reaction(failed_attempt=state.entry.attempts + 1))
            return Loaded(wanted.url, wanted.kind, wanted.method, reason=reason, sent_at=sent_at)
        if (
            response.status == 304
            and (kept := self._cache.renewed(session.domain, wanted, response)) is not None
        ):
            response = kept
        self._heed(state, wanted, response)
        if response.status in _REFUSED and wanted.method == "GET":
            self._refused[key_of(wanted)] = response
        if wanted.method == "GET":
            self._cache.keep(session.domain, wanted, response)
        return replace(loaded_by(wanted, response), sent_at=sent_at)

    def _heed(self, state: State, wanted: PageRequest, response: Response) -> None:
        """Do as an answer asks: a refusal by rate ends the rendering, an error is tried again after it."""
        session, what = state.session, f"{wanted.url[:200]}: status {response.status}"
        is_home = domain_of(wanted.url) == session.domain
        if is_home:
            reaction = self._reactions.to(session, state.entry, response)
        else:
            reaction = PLAIN
            told = retry.told(response.status, response.headers, session.clock.wall())
            limiter = session.limiter_of(wanted.url)
            if told.pause and limiter is not None:
                limiter.rest_until(session.clock.now() + told.pause)
            if told.is_limited:
                state.trouble = Picture(outcome=Retry(what))
        if reaction.limited or reaction.rest:
            state.trouble = Picture(outcome=Retry(what, counts=not reaction.limited), reaction=reaction)
        elif retry.is_retryable_status(response.status):
            self._doubt(state, wanted, f"status {response.status}", reaction)

    def _doubt(self, state: State, wanted: PageRequest, reason: str, reaction: Reaction) -> None:
        """Have the page tried once more, unless this fails for other pages too: it is broken, or far away."""
        place = wanted.url.partition("?")[0]
        is_home = domain_of(wanted.url) == state.session.domain
        if is_home and place not in self._failing and not state.entry.attempts:
            picture = Picture(outcome=Retry(f"{wanted.url[:200]}: {reason}"), reaction=reaction)
            state.doubt = state.doubt or picture
        self._failing.add(place)
        if not is_home:
            self._refused[key_of(wanted)] = None

    # the end ---------------------------------------------------------------------------------------------
    def _picture(self, state: State, drawn: RenderResult, response: Response) -> Picture:
        if state.trouble is not None:
            return state.trouble
        if state.doubt is not None and self._reactions.may_again(state.entry):
            return state.doubt
        if drawn.error:
            # What the page did to the browser it may do again, but a crash has many fathers.
            is_again = drawn.is_ours and state.entry.attempts + 1 < MOST_BROWSERS
            kind = f"not rendered: {_URL.sub('URL', drawn.error)[:100]}"
            outcome = Retry(drawn.error) if is_again else Failed(f"rendering: {drawn.error}", kind)
            return Picture(outcome=outcome, screenshot=drawn.screenshot)
        content = drawn.html.encode("utf-8", "replace")
        if len(content) > state.session.max_body:
            reason = "the document is larger than max_body"
            return Picture(outcome=Failed(f"rendering: {reason}", f"not rendered: {reason}"))
        return Picture(rendered(state.loads, drawn, response, content))


def why_rendered(mode: str, request: Request) -> str:
    """Why a page is rendered before anybody has looked at it; empty where nobody says so."""
    if request.render is None:
        return "by the setting render" if mode == ALWAYS else ""
    return "by their requests" if request.render else ""


def at_once(steps: Generator[DomainWanted | Wait, None, Picture], clock: Clock) -> Picture:
    """Take all steps of a rendering on this thread."""
    try:
        while True:
            wait = next(steps)
            if isinstance(wait, Until):
                clock.sleep(max(0.0, wait.moment - clock.now()))
            elif isinstance(wait, Later):
                told = Event()
                wait.tell(told.set)
                told.wait()
            # Another domain is not leased here; its rate limiter is this process's, as for a login host.
    except StopIteration as end:
        picture: Picture = end.value
        return picture
