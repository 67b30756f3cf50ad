"""What passes between a browser and who answers its requests: frozen values, and the handle of a page."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from queue import Empty, SimpleQueue
from typing import IO, Any, Protocol

from scraper.model import Headers, Render
from scraper.model.frozen import frozen

KINDS = ("document", "frame", "script", "stylesheet", "fetch", "download")
"""What is asked for as it is: without these a page is not what its site means it to be. A `download` is what
a link or a script asks for as a file."""
MORE_KINDS = ("image", "media", "font", "beacon", "other")
"""What is asked for only where the setting `render_load` names it."""


@frozen
class Task:
    """A page to render: the answer to its plain request, which the browser gets instead of asking itself.

    `profile` names the browser's storage that it uses, one for each domain; `cookies` are rows of
    `DomainCookieJar.dump`; `storage`: what scripts kept, by origin, for a profile that is new.
    `most_file`: bytes of a file that its scripts may make; 0: none is taken.
    `moment`: what its clock shows at first (epoch seconds); 0: now.
    `within`: seconds of ours, not the page's, after which it gets nothing more and is taken as it is.
    """

    url: str
    status: int
    headers: Headers
    content: bytes
    render: Render
    profile: str
    user_agent: str = ""
    cookies: Sequence[Mapping[str, Any]] = ()
    storage: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    most_file: int = 0
    moment: float = 0.0
    within: float = 180.0


@frozen
class PageRequest:
    """A request of the page: `kind` is one of KINDS or MORE_KINDS, `socket` or `events`.

    `id` is the browser's; `page`: the address of the document that is shown.
    """

    id: str
    url: str
    method: str
    headers: Mapping[str, str]
    body: bytes | None
    kind: str
    page: str = ""


@frozen
class PageResponse:
    """An answer for the browser; with a `reason` there is none, and the page sees a failed request."""

    status: int = 0
    headers: Headers = field(default_factory=Headers)
    content: bytes = b""
    reason: str = ""


@frozen
class Downloaded:
    """A file that the page made itself, or that the browser kept as one: open, and nowhere else.

    `name` as the page gives it; no `file` but a `reason`: why it was not taken.
    """

    url: str
    name: str = ""
    file: IO[bytes] | None = None
    reason: str = ""


@frozen
class RenderResult:
    """The end of a rendering: the document as text, and its address; or why there is none, in `error`.

    `is_ours`: the browser failed, not the page. `cookies`: all that the profile has now, as rows for
    `DomainCookieJar.load`, `storage` what scripts keep at the origin of `url`; None: unknown.
    `notes`: what went wrong in the page without ending it.
    """

    html: str = ""
    url: str = ""
    error: str = ""
    is_ours: bool = False
    cookies: Sequence[Mapping[str, Any]] | None = None
    notes: tuple[str, ...] = ()
    screenshot: bytes = b""
    storage: Mapping[str, str] | None = None


Event = PageRequest | Downloaded | RenderResult
"""What comes of a rendering; `RenderResult` is the last."""


class RenderTask:
    """One rendering under way: its events for whoever answers them, from the browser's thread."""

    def __init__(self, answer: Callable[[str, PageResponse], None], stop: Callable[[], None]) -> None:
        self._answer = answer
        self._stop = stop
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: Callable[[], None] | None = None

    def tell(self, wake: Callable[[], None]) -> None:
        """Call `wake` once there is an event: now, or later on the browser's thread."""
        with self._lock:
            if self._events.empty():
                self._waiting = wake
                return
        wake()

    def next(self, timeout: float = 0.0) -> Event | None:
        """The next event; None if there is none within `timeout` seconds."""
        try:
            return self._events.get(timeout=timeout) if timeout > 0 else self._events.get_nowait()
        except Empty:
            return None

    def put(self, event: Event) -> None:
        """Add an event; for the browser."""
        with self._lock:
            self._events.put(event)
            wake, self._waiting = self._waiting, None
        if wake is not None:
            wake()

    def answer(self, wanted: PageRequest, given: PageResponse) -> None:
        """Give the browser what it asked for."""
        self._answer(wanted.id, given)

    def stop(self) -> None:
        """End it: nobody wants it any more."""
        self._stop()


class Renderer(Protocol):
    """What renders pages; see `browser.Browser`."""

    def draw(self, task: Task) -> RenderTask:
        """Begin to render a page; callable from any thread."""
        ...

    def close(self) -> None:
        """End the browser and all that it is doing."""
        ...
