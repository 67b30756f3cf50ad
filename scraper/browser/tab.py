"""One page after the other in one tab: what it asks for is handed out, and its end is certain."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Mapping
from typing import Any

from scraper.browser.held_requests import HeldRequests
from scraper.browser.page_time import SLICE, STEP, BrowserFailed, PageFailed, PageTime
from scraper.browser.popups import Popups
from scraper.browser.requests import is_led_on
from scraper.browser.tasks import Downloaded, Event, PageRequest, PageResponse, RenderResult, RenderTask, Task
from scraper.model import Headers, Render

CLEAN_EVERY = 25  # pages after which the memory of those before is freed
LEAVINGS = 3  # tries to leave a page that navigates by itself at the same time
MOST_NOTES = 20

_STORED = "(() => { try { return JSON.stringify({...localStorage}) } catch { return '' } })()"


class Tab:
    """A tab of Chromium. `page` and `cdp` are Playwright's; `browser_cdp` sends what belongs to no tab.

    `frame`, `context`: the protocol's names of the tab and of its profile. `saving`: its downloads under way.
    `requests`: what its page asks for; `time`: the time of that page.
    """

    def __init__(self, page: Any, cdp: Any, browser_cdp: Any, frame: str, context: str) -> None:
        self.page = page
        self.frame = frame
        self.frames = {frame}
        self.context = context
        self.saving: set[str] = set()
        self.saved = 0
        self._cdp = cdp
        self._task: Task | None = None
        self._drawing: RenderTask | None = None
        self.requests = HeldRequests(browser_cdp)
        self.time = PageTime(page, cdp, self.requests)
        self.popups = Popups(frame, page, browser_cdp, self.time, self.requests, self._note)
        self._left = 0
        self._is_given = False
        self._notes: list[str] = []
        self._listen()

    def _listen(self) -> None:
        page = self.page
        self._cdp.on("Page.frameAttached", lambda event: self.frames.add(event["frameId"]))
        page.on("crash", lambda _: self.time.end(BrowserFailed("the page's process crashed")))
        page.on("pageerror", lambda error: self._note(f"script error: {str(error)[:300]}"))
        page.on("dialog", lambda dialog: _later(self._dismiss(dialog)))
        page.on("popup", lambda popup: _later(self.popups.appeared(popup)))
        page.on("websocket", lambda socket: self._refuse(socket.url, "socket"))

    def _note(self, text: str) -> None:
        if len(self._notes) < MOST_NOTES and text not in self._notes:
            self._notes.append(text)

    async def _dismiss(self, dialog: Any) -> None:
        if dialog.type == "beforeunload":
            await dialog.accept()  # it may not hold us up
        else:
            self._note(f"{dialog.type} dismissed: {dialog.message[:200]}")
            await dialog.dismiss()

    def adopt(self, frame: str) -> None:
        """Hand out what a popup of a click shows, as it may be a file; nothing else of it."""
        if self.popups.adopt(frame):
            self.frames.add(frame)

    def _refuse(self, url: str, kind: str) -> None:
        """Have a request logged that the browser has no way to hand out; it fails by itself."""
        if self._drawing is not None:
            self._drawing.put(PageRequest("", url, "GET", {}, None, kind, self.page.url))

    @property
    def most_file(self) -> int:
        """Bytes of a file that may be kept; 0 while nothing is rendered."""
        return self._task.most_file if self._task is not None else 0

    def keep(self, downloaded: Downloaded) -> None:
        """Hand out a file that the page has made."""
        self.saved += 1
        if self._drawing is not None:
            self._drawing.put(downloaded)

    # what the page asks for ------------------------------------------------------------------------------
    async def paused(self, event: Mapping[str, Any], at: float) -> None:
        """Answer a request that the browser holds: the page itself at once, all else by the drawing.

        `at`: when it came, on the loop's clock. One of the page before may have waited for this one to begin.
        """
        task, drawing = self._task, self._drawing
        is_main = event["resourceType"] == "Document" and event.get("frameId") == self.frame
        if task is None or drawing is None or self.time.is_late or at < self.time.began:
            return await self.requests.fulfil(event, PageResponse(reason="the page is closed"))
        is_popup = event.get("frameId") in self.popups.frames
        if is_popup and event["resourceType"] != "Document":
            return await self.requests.fulfil(event, PageResponse(reason="of a popup"))
        if is_main and not self._is_given:
            if is_led_on(event["request"]):
                return await self.requests.fulfil(event, PageResponse(reason="of the page before"))
            self._is_given = True
            return await self.requests.fulfil(event, PageResponse(task.status, task.headers, task.content))
        given = await self.requests.hand_out(event, drawing, self.page.url, is_main=is_main)
        if is_popup:
            self.popups.answered(event["frameId"], given)

    # one page --------------------------------------------------------------------------------------------
    async def draw(self, task: Task, drawing: RenderTask) -> RenderResult:
        """Render one page to its end; whatever happens there ends as an `error`."""
        self._task, self._drawing = task, drawing
        self.frames = {self.frame}
        self.popups.begin()
        self.saved = 0
        self._is_given = False
        self._notes = []
        self.time.begin(task.within)
        try:
            await self._navigate(task.url, task.moment)
            await self._act(task)
            if self.time.is_late:
                self._note(f"its time of {task.within:g} s was over: taken as it was")
            html = await self.time.do(self.page.content(), "the document", STEP)
            picture = await self._picture() if task.render.screenshot else b""
            if not self.page.url.startswith(("https://", "http://")):
                raise PageFailed(f"it led to {self.page.url[:100]}")
            kept = await self._kept()
            await self._save()
            return RenderResult(
                html, self.page.url, notes=tuple(self._notes), screenshot=picture, storage=kept
            )
        except PageFailed as error:
            picture = await self._last_picture()
            return RenderResult(
                url=task.url, error=error.message, notes=tuple(self._notes), screenshot=picture
            )
        finally:
            self._task = self._drawing = None
            self.requests.cut()

    async def plant(self, origin: str, items: Mapping[str, str]) -> None:
        """Let scripts of an origin find what they kept; a profile that is new has nothing."""
        words = json.dumps(dict(items))
        render = Render(script=f"for (const [k, v] of Object.entries({words})) localStorage.setItem(k, v)")
        html = Headers([("Content-Type", "text/html")])
        await self.draw(Task(f"{origin}/", 200, html, b"<!doctype html>", render, ""), _Deaf(self))

    async def _kept(self) -> dict[str, str] | None:
        try:
            kept = json.loads(await self.time.do(self.page.evaluate(_STORED), "what it keeps", STEP))
        except (PageFailed, ValueError):
            return None
        return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else None

    async def _save(self) -> None:
        """Until the files are here that the page has made."""
        give_up = asyncio.get_running_loop().time() + STEP
        while self.saving and asyncio.get_running_loop().time() < give_up:
            await self.time.first(asyncio.sleep(0.02), STEP)

    async def _navigate(self, url: str, moment: float) -> None:
        await self.time.start(moment)
        gone = await self.time.step(self._cdp.send("Page.navigate", {"url": url}))
        if gone.get("errorText"):
            raise PageFailed(f"the browser did not show it: {gone['errorText']}")

    async def _act(self, task: Task) -> None:
        """Do what the task asks for, and wait until the page is as it stays."""
        render, page = task.render, self.page
        is_busy = render.fill or render.click or render.scroll or render.script
        if is_busy or not render.wait_for:
            await self.time.settle()
        for query, text in render.fill.items():
            await self.time.do(page.locator(query).first.fill(text, timeout=0), query, render.timeout)
        self.popups.is_clicking = bool(render.click)
        for query in render.click:
            await self.time.do(page.locator(query).first.click(timeout=0), query, render.timeout)
            await self.time.settle()
            await self.popups.finish(self._save)
        self.popups.is_clicking = False
        for _ in range(render.scroll):
            down = page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            await self.time.do(down, "the end of the page", render.timeout)
            await self.time.settle()
        if render.script:
            await self.time.do(self._script(render.script), "the end of the script", render.timeout)
            await self.time.settle()
        if render.wait_for:
            await self._await(render.wait_for, render.timeout)

    async def _script(self, script: str) -> None:
        try:
            await self.page.evaluate(script)
        except Exception as error:
            self._note(f"Render.script: {str(error)[:300]}")

    async def _await(self, query: str, timeout: float) -> None:
        began, found = self.time.passed, self.page.locator(query)
        while not await self._count(found, query):
            self.time.check(began, timeout, query)
            await self.time.run(SLICE)
        await self.time.rest()

    async def _count(self, found: Any, query: str) -> int:
        try:
            return int(await self.time.do(found.count(), query, STEP))
        except PageFailed as error:
            # The document may just have been replaced; a query that cannot be read stays so.
            if "selector" in error.message.lower():
                raise PageFailed(f"{query!r} is no CSS query or text=...") from None
            return 0

    async def _picture(self) -> bytes:
        # Its frames are drawn in the page's time.
        picture = self.page.screenshot(full_page=True, timeout=STEP * 1000)
        return bytes(await self.time.do(picture, "the screenshot", STEP))

    async def _last_picture(self) -> bytes:
        """What the page looked like in the end, if it can still be seen."""
        with contextlib.suppress(Exception):
            return await self._picture()
        return b""

    async def leave(self) -> bool:
        """Show nothing: what still runs on the page ends. False where the page goes elsewhere each time."""
        for _ in range(LEAVINGS):
            await self.time.step(self._cdp.send("Page.navigate", {"url": "about:blank"}))
            # What the page did at the same time may have come before it, without any error.
            shown = await self.time.step(self._cdp.send("Page.getFrameTree"))
            if shown["frameTree"]["frame"]["url"] == "about:blank":
                self._left += 1
                if self._left % CLEAN_EVERY == 0:
                    # What Chromium would do by itself in time that passes: here none does between pages.
                    await self.time.step(self._cdp.send("HeapProfiler.collectGarbage"))
                return True
        return False


class _Deaf(RenderTask):
    """Gives a page nothing but itself."""

    def __init__(self, tab: Tab) -> None:
        super().__init__(tab.requests.answer, lambda: None)

    def put(self, event: Event) -> None:
        if isinstance(event, PageRequest):
            asyncio.get_running_loop().call_soon(
                self.answer, event, PageResponse(reason="nothing is asked for")
            )


_tasks: set[asyncio.Future[Any]] = set()


def _later(job: Awaitable[Any]) -> None:
    """Begin something in the background that may fail without any harm."""

    async def run() -> None:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(job, STEP)

    doing = asyncio.ensure_future(run())
    _tasks.add(doing)
    doing.add_done_callback(_tasks.discard)
