"""Archived pages rendered again: what they ask for is answered from the archive, or not at all."""

from collections.abc import Callable, Generator, Mapping
from typing import Any

from scraper.browser.tasks import PageRequest, Renderer
from scraper.engine.page_loads import asked_of, loaded_by
from scraper.engine.reactions import Reactions
from scraper.engine.rendering import Rendering, RenderOptions, State, at_once
from scraper.http.saved_files import SavedFiles
from scraper.http.session import DomainSession
from scraper.model import Entry, Failed, Loaded, Request, Response, Retry
from scraper.model.frozen import frozen
from scraper.runs.archive.request_keys import request_key

MISSING = "not in the archive"


@frozen
class DrawnAgain:
    """An archived page as it was rendered again, or why that failed; `why` it was rendered, as in a Visit."""

    result: Response | Failed
    why: str
    loads: tuple[Loaded, ...] = ()
    notes: tuple[str, ...] = ()


class RenderingAgain(Rendering):
    """A Rendering without a network. `load`: the answer to a single request, by its `request_key`."""

    def __init__(
        self,
        renderer: Renderer,
        reactions: Reactions,
        options: RenderOptions,
        load: Callable[[bytes], Response | None],
        files: SavedFiles | None = None,
    ) -> None:
        super().__init__(renderer, reactions, options, files=files)
        self._load = load
        self._own: Mapping[bytes, Loaded] = {}

    def again(
        self, session: DomainSession, entry: Entry, request: Request, response: Response, why: str
    ) -> DrawnAgain:
        """Render an archived page; where it was rendered before, with the answers that it got then."""
        before = response.rendered
        # Of several answers to one request the first is the one that it gets first again.
        loads = reversed(before.loads) if before is not None else ()
        self._own = {one.asked or request_key(one.method, one.url): one for one in loads}
        steps = self.draw(session, entry, request, plain_of(response), lambda: True, response.fetched_at)
        picture = at_once(steps, session.clock)
        if picture.response is not None:
            return DrawnAgain(picture.response, why, picture.loads, picture.notes)
        reason = picture.outcome.reason if isinstance(picture.outcome, Failed | Retry) else "not rendered"
        return DrawnAgain(Failed(reason, "not rendered"), why, picture.loads, picture.notes)

    def _asked(self, state: State, wanted: PageRequest) -> Generator[Any, None, Loaded]:
        yield from ()
        key = asked_of(wanted)
        own = self._own.get(key)
        if own is not None and own.file is not None:
            return own
        found = (
            Response(own.url, own.status, own.headers, own.content) if own is not None else self._load(key)
        )
        if found is None:
            return Loaded(wanted.url, wanted.kind, wanted.method, reason=MISSING)
        return loaded_by(wanted, found)


def plain_of(response: Response) -> Response:
    """The answer that a rendered page was made of; of any other page itself."""
    rendered = response.rendered
    if rendered is None:
        return response
    if rendered.plain is not None:
        return rendered.plain
    return Response(response.url, response.status, rendered.headers, rendered.source, response.fetched_at)
