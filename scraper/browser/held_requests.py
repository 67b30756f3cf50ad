"""What a page asks for: held by the browser until an answer is given."""

import asyncio
import base64
import contextlib
from collections.abc import Mapping
from typing import Any

from scraper.browser.requests import body_of, kind_of
from scraper.browser.tasks import PageRequest, PageResponse, RenderTask

# They speak of the way here, which was ours.
_NOT_PASSED_ON = frozenset(
    (
        "content-encoding",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "trailer",
        "alt-svc",
        "content-disposition",  # what is a file has been taken as one already
    )
)


class HeldRequests:
    """The requests of a page that are on their way. `answered`: how many got an answer from a site.

    `quiet`: set while there are none. `cdp`: Playwright's, of the whole browser.
    """

    def __init__(self, cdp: Any) -> None:
        self._cdp = cdp
        self._futures: dict[str, asyncio.Future[PageResponse]] = {}
        self.answered = 0
        self.quiet = asyncio.Event()
        self.quiet.set()

    def begin(self) -> None:
        """A new page."""
        self.answered = 0
        self.quiet.set()

    def __bool__(self) -> bool:
        return bool(self._futures)

    async def hand_out(
        self, event: Mapping[str, Any], drawing: RenderTask, frame_url: str, *, is_main: bool
    ) -> PageResponse:
        """Have a request answered by the drawing. `is_main`: it is for the page's own document."""
        request, kind = event["request"], kind_of(event)
        wanted = PageRequest(
            event["requestId"],
            request["url"].partition("#")[0],
            request["method"],
            request["headers"],
            body_of(request),
            "document" if is_main and kind == "frame" else kind,
            frame_url,
        )
        future = self._futures[wanted.id] = asyncio.get_running_loop().create_future()
        self.quiet.clear()
        drawing.put(wanted)
        try:
            given: PageResponse = await future
            self.answered += bool(given.status)  # what is refused at once is no sign of life
            if given.reason and is_main:
                given = PageResponse(204)  # it stays as it is; an error would be a page of the browser's
            await self.fulfil(event, given)
            return given
        finally:
            self._futures.pop(wanted.id, None)
            if not self._futures:
                self.quiet.set()

    def answer(self, id: str, given: PageResponse) -> None:
        """Take the answer to a request of the page."""
        future = self._futures.get(id)
        if future is not None and not future.done():
            future.set_result(given)

    async def fulfil(self, event: Mapping[str, Any], given: PageResponse) -> None:
        """Give the browser an answer, or its refusal."""
        id = event["requestId"]
        if not given.reason:
            lines = [
                {"name": name, "value": value}
                for name, value in given.headers.items_all()
                if name.lower() not in _NOT_PASSED_ON
            ]
            answer = {
                "requestId": id,
                "responseCode": given.status,
                "responseHeaders": lines,
                "body": base64.b64encode(given.content).decode(),
            }
            # A status that HTTP does not have, say, the browser does not take: it fails below.
            with contextlib.suppress(Exception):
                await self._cdp.send("Fetch.fulfillRequest", answer)
                return
        # A request that the page has given up meanwhile is nobody's any more.
        with contextlib.suppress(Exception):
            await self._cdp.send("Fetch.failRequest", {"requestId": id, "errorReason": "BlockedByClient"})

    def cut(self) -> None:
        """Give the page nothing of what it has asked for and not got."""
        for future in self._futures.values():
            if not future.done():
                future.set_result(PageResponse(reason="the page is closed"))
