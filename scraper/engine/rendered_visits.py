"""Pages that a browser is needed for: render them before they are parsed, or after nothing came of that."""

from collections.abc import Callable, Generator
from dataclasses import replace

from scraper.engine.auto_rendering import LIKE_OTHERS, AutoRendering
from scraper.engine.batch import DomainWanted
from scraper.engine.file_requests import FileRequests
from scraper.engine.judging import Judging
from scraper.engine.page_loads import is_page
from scraper.engine.parse_limit import Parsing
from scraper.engine.reactions import Reactions
from scraper.engine.rendering import Rendering
from scraper.engine.sent import Sent
from scraper.http.exchange import Answer, Wait
from scraper.http.session import DomainSession
from scraper.model import PLAIN, Reaction, Request, Response, Retry, Visit
from scraper.parsing.page import Page

Parse = Callable[[DomainSession, Sent, Answer, Reaction | None], Generator[Parsing, None, Visit]]


class RenderedVisits:
    """The visits of pages that a browser may be needed for. `parse` parses an answer as it stands."""

    def __init__(
        self,
        rendering: Rendering,
        auto: AutoRendering,
        judging: Judging,
        reactions: Reactions,
        saved: FileRequests,
        token: str,
        parse: Parse,
    ) -> None:
        self._rendering = rendering
        self._auto = auto
        self._judging = judging
        self._reactions = reactions
        self._saved = saved
        self._token = token
        self._parsed = parse
        self.page = rendering.page  # for logins and callbacks

    def may_render(self, sent: Sent, response: Response | None) -> bool:
        """Whether an answer is a page that a browser may be needed for."""
        if response is None or sent.request.render is False:
            return False
        if not (self._rendering.is_auto or self._rendering.wants(sent.request)):
            return False
        is_wanted = 200 <= response.status < 300 or self._judging.handles(sent.request, response.status)
        return is_wanted and is_page(response)

    def visit(
        self, session: DomainSession, sent: Sent, answer: Answer, may_finish: Callable[[], bool]
    ) -> Generator[Parsing | DomainWanted | Wait, None, Visit]:
        """Render a page before it is parsed, or, if that is left to the page, after nothing came of it."""
        assert answer.response is not None
        if why := self._rendering.wants(sent.request):
            return (yield from self._drawn(session, sent, answer, may_finish, why))
        page = Page(sent.request, answer.response, depth=sent.entry.depth, token=self._token)
        why = self._auto.reason(page)
        plain = None
        if why == LIKE_OTHERS and self._auto.is_to_check(page):
            sent = _anew(sent)
            plain = yield from self._parsed(session, sent, answer, PLAIN)
            if plain.reaction.is_logged_out:
                return plain
        if not why:
            visit = yield from self._parsed(session, sent, answer, PLAIN)
            why = self._auto.second_thought(visit, page)
            if not why:
                return visit
        visit = yield from self._drawn(session, sent, answer, may_finish, why)
        self._auto.learn(page, why, visit, plain)
        return visit

    def _drawn(
        self, session: DomainSession, sent: Sent, answer: Answer, may_finish: Callable[[], bool], why: str
    ) -> Generator[Parsing | DomainWanted | Wait, None, Visit]:
        """Have a page rendered, and parse what came of that."""
        assert answer.response is not None
        entry, request = sent.entry, sent.request
        picture = yield from self._rendering.draw(session, entry, request, answer.response, may_finish)
        if picture.response is not None:
            answer = replace(answer, response=picture.response)
            visit = yield from self._parsed(session, sent, answer, PLAIN)
        else:
            outcome = picture.outcome
            if isinstance(outcome, Retry):
                outcome = self._reactions.again(entry, request, outcome)
            assert outcome is not None
            notes = self._last_look(picture.screenshot) if picture.screenshot else ()
            visit = Visit(entry, outcome, answer.exchange, picture.reaction, notes=notes)
        return replace(visit, notes=(*visit.notes, *picture.notes), loads=picture.loads, rendered=why)

    def _last_look(self, screenshot: bytes) -> tuple[str, ...]:
        """Keep what a failed page looked like, and say where."""
        kept = self._saved.keep(screenshot, "failed.png", "image/png")
        return (f"what it looked like in the end: {kept['path']}",)

    def is_wanted(self, request: Request) -> bool:
        """Whether a request asks for a rendered page, whatever comes."""
        return bool(self._rendering.wants(request))

    def close(self) -> None:
        """End the browser, and keep what is known of the pages that need one."""
        self._rendering.close()
        self._auto.save()


def _anew(sent: Sent) -> Sent:
    """A request whose page is parsed though it may be as it was."""
    entry = sent.entry
    if entry.known is None:
        return sent
    return replace(sent, entry=replace(entry, known=replace(entry.known, body_hash=b"")))
