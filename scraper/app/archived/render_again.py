"""The archive as the web of a browser: pages that were not rendered, or otherwise, rendered from it."""

from collections.abc import Callable, Iterable

from scraper.engine.auto_rendering import AutoRendering
from scraper.engine.page_loads import is_page
from scraper.engine.rendering import AUTO, why_rendered
from scraper.engine.rendering_again import DrawnAgain, RenderingAgain, plain_of
from scraper.errors import UsageError
from scraper.http.request_body import body_of
from scraper.http.session import DomainSession
from scraper.model import Entry, Failed, Request, Response
from scraper.model.frozen import frozen
from scraper.parsing.page import Page
from scraper.runs.archive.answers import ArchivedPage, Damage, RecordLocation
from scraper.runs.archive.reading import Answers, Reader
from scraper.runs.archive.request_keys import request_key
from scraper.spider import Spider
from scraper.spider.identity import archived_as, request_of


class RenderedAgain:
    """Answers with rendered pages where the spider wants them. `mode`: the setting `render`.

    `handles`: whether a callback gets pages of a status. `open_rendering`: starts what renders, at first use;
    UsageError where that cannot be.
    """

    def __init__(
        self,
        answers: Answers,
        mode: str,
        spider: Spider,
        handles: Callable[[Request, int], bool],
        open_session: Callable[[str], DomainSession],
        open_rendering: Callable[[], RenderingAgain],
    ) -> None:
        self._answers = answers
        self._mode = mode
        self._auto = AutoRendering(spider)
        self._handles = handles
        self._open_session = open_session
        self._open_rendering = open_rendering
        self._rendering: RenderingAgain | None = None
        self._sessions: dict[str, DomainSession] = {}
        self._reader = Reader()
        self.load, self.note = answers.load, answers.note

    def notes(self) -> Iterable[str]:
        """As of the answers."""
        return self._answers.notes()

    def close(self) -> None:
        """End the browser, and let go of the files."""
        if self._rendering is not None:
            self._rendering.close()
        self._answers.close()

    def find(self, entry: Entry) -> RecordLocation | ArchivedPage | DrawnAgain | None:
        """The answer to a request, rendered if it is to be and was not."""
        found = self._answers.find(entry)
        request = request_of(entry)
        why = why_rendered(self._mode, request)
        if not (why or (self._mode == AUTO and request.render is None)):
            return found
        page = self._page(entry, found)
        if page is None:
            return found
        response = page.response if page.response is not None else self._plain(entry, request)
        if response is None or not self._is_wanted(request, response):
            return found
        why = why or self._auto.reason(Page(request, plain_of(response), depth=entry.depth))
        return self._again(entry, request, response, why) if why else found

    def _page(self, entry: Entry, found: RecordLocation | ArchivedPage | None) -> "_Found | None":
        """What there is to render; None where what is found stands as it is."""
        if found is None:
            return _Found(None)
        fp = archived_as(entry)
        if isinstance(found, RecordLocation):
            if self._reader.is_rendered(found, fp):
                return None
            read = self._reader.read(found)
            if isinstance(read, Damage):
                return None
            found = read
        is_rendered = found.fp == fp and found.response.rendered is not None
        return None if is_rendered else _Found(found.response)

    def _plain(self, entry: Entry, request: Request) -> Response | None:
        """The answer to a request as it was sent, however it was rendered."""
        body, headers = body_of(request)
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        return self._answers.load(request_key(request.method, entry.url, body or b"", kind or ""))

    def _is_wanted(self, request: Request, response: Response) -> bool:
        is_shown = 200 <= response.status < 300 or self._handles(request, response.status)
        return is_shown and is_page(response)

    def _again(self, entry: Entry, request: Request, response: Response, why: str) -> DrawnAgain:
        try:
            if self._rendering is None:
                self._rendering = self._open_rendering()
        except UsageError as error:
            return DrawnAgain(Failed(f"not rendered again: {error.message}", "not rendered"), why)
        session = self._sessions.get(entry.domain)
        if session is None:
            session = self._sessions[entry.domain] = self._open_session(entry.domain)
        return self._rendering.again(session, entry, request, response, why)


@frozen
class _Found:
    response: Response | None
