"""The windows and tabs that a page opens: closed, but those of a click may first ask for a file."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from scraper.browser.held_requests import HeldRequests
from scraper.browser.page_time import STEP, PageTime
from scraper.browser.tasks import PageResponse

MOST = 5  # that a page opens; they are closed, and then not opened any more
ASKS_WITHIN = 5.0  # seconds in which a tab asks for its page: it may need a process of its own first
MISSED = f"a tab that a click opened asked for nothing within {ASKS_WITHIN:g} s: a file would be missing"


class Popups:
    """What one tab opens. `cdp`: the browser's, not the tab's; `note`: hears what there is to say.

    `frames`: of those that a click has opened: what they show is handed out, as it may be a file.
    """

    def __init__(
        self,
        opener: str,
        page: Any,
        cdp: Any,
        time: PageTime,
        requests: HeldRequests,
        note: Callable[[str], None],
    ) -> None:
        self._opener = opener
        self._page = page
        self._cdp = cdp
        self._time = time
        self._requests = requests
        self._note = note
        self.begin()

    def begin(self) -> None:
        """A new page."""
        self.frames: set[str] = set()
        self._answered: set[str] = set()
        self._count = 0
        self.is_clicking = False

    def adopt(self, frame: str) -> bool:
        """Whether a popup's requests are handed out: while the page is clicked at, and not of too many."""
        if frame not in self.frames and self.is_clicking and len(self.frames) < MOST:
            self.frames.add(frame)
        return frame in self.frames

    def answered(self, frame: str, given: PageResponse) -> None:
        """Note the answer to a popup: behind a redirect it asks once more."""
        if not (300 <= given.status < 400 and given.headers.get("location")):
            self._answered.add(frame)

    async def appeared(self, popup: Any) -> None:
        """Close one that shows something; after too many no more are opened: each takes a process."""
        self._told(popup.url)
        self._count += 1
        if self._count > MOST:
            with contextlib.suppress(Exception):
                await self._page.evaluate("window.open = () => null")
        if not self.is_clicking:  # else `finish` does
            await popup.close()

    def _told(self, url: str) -> None:
        if url:
            self._note(f"popup closed: {url[:200]}")

    async def finish(self, save: Callable[[], Any]) -> None:
        """Close those that a click has opened, once they have asked for their page and `save` is done.

        Left open they are in front of the page, which then draws no frames, and stay for good.
        """
        waited = 0.0
        while opened := await self._opened():
            silent = {one["targetId"] for one in opened if not one["url"]}
            waiting = silent & self.frames - self._answered
            if self._requests:
                await self._time.rest()
            elif waiting and waited < ASKS_WITHIN and not self._time.is_late:
                await self._time.first(asyncio.sleep(0.02), STEP)
                waited += 0.02
            else:
                if waiting:
                    self._note(MISSED)
                break
        if opened:
            await save()
        for one in opened:
            if one["url"] != "about:blank":
                self._told(one["url"])
            with contextlib.suppress(Exception):  # it may be closed already
                await self._cdp.send("Target.closeTarget", {"targetId": one["targetId"]})

    async def _opened(self) -> list[dict[str, Any]]:
        """Those that are open; their `url` is empty until something has come for them."""
        found = await self._time.step(self._cdp.send("Target.getTargets"))
        opened = [one for one in found["targetInfos"] if one.get("openerId") == self._opener]
        for one in opened:
            self.adopt(one["targetId"])
        return opened
