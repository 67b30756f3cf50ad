"""One page after the other in one tab: what it asks for is handed out, its time is ours, its end is certain.

The page lives in virtual time (`Emulation.setVirtualTimePolicy`): its timers run only while nothing that it
asked for is on its way, so that a wait for a slot is no wait to the page, and a timer of seconds costs none.
"""

import asyncio
import base64
import contextlib
import json
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from scraper.browser.requests import body_of, is_led_on, kind_of
from scraper.browser.tasks import Downloaded, Event, PageRequest, PageResponse, RenderResult, RenderTask, Task
from scraper.errors import ScraperError
from scraper.model import Headers, Render

IDLE = 500  # virtual milliseconds without a request after which a page is as it stays
SLICE = 100  # virtual milliseconds between two looks for what is waited for
LONGEST_SETTLING = 5_000  # virtual milliseconds: some pages never rest
LAST_CHANCE = 200  # virtual milliseconds for what a page has to show once its time is over
PUSHED_AFTER = 1.0  # seconds after which time passes whatever Chromium waits for
STUCK_AFTER = 20.0  # seconds that a page may keep its process busy at a stretch
STEP = 10.0  # seconds that one step of the browser may take
AT_ONCE = 0.05  # seconds that something takes for which no time of the page has to pass
MOST_POPUPS = 5  # windows that a page opens; they are closed, and then not opened any more
CLEAN_EVERY = 25  # pages after which the memory of those before is freed
LEAVINGS = 3  # tries to leave a page that navigates by itself at the same time
MOST_NOTES = 20
MOST_STARVED = 10_000  # tasks that run before virtual time is forced on
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

_STORED = "(() => { try { return JSON.stringify({...localStorage}) } catch { return '' } })()"

_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

T = TypeVar("T")


class PageFailed(ScraperError):
    """The page did something that ends its rendering."""


class BrowserFailed(ScraperError):
    """The browser failed, whatever the page was."""


class Tab:
    """A tab of Chromium. `page` and `cdp` are Playwright's; `browser_cdp` sends what belongs to no tab.

    `frame`, `context`: the protocol's names of the tab and of its profile. `saving`: its downloads under way.
    """

    def __init__(self, page: Any, cdp: Any, browser_cdp: Any, frame: str, context: str) -> None:
        self.page = page
        self.frame = frame
        self.frames = {frame}
        self.context = context
        self.saving: set[str] = set()
        self.saved = 0
        self._cdp = cdp
        self._browser_cdp = browser_cdp
        self._task: Task | None = None
        self._drawing: RenderTask | None = None
        self._futures: dict[str, asyncio.Future[PageResponse]] = {}
        self._requests = 0
        self._virtual = 0
        self._popups = self._left = 0
        self._is_given = False
        self._until = 0.0
        self._notes: list[str] = []
        self._expired = asyncio.Event()
        self._loaded = asyncio.Event()
        self._quiet = asyncio.Event()
        self._over: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self._listen()

    @property
    def is_sound(self) -> bool:
        """Whether another page may use it."""
        return not self._over.done()

    def end(self, reason: Exception) -> None:
        """End what is being rendered here, and this tab with it."""
        if not self._over.done():
            self._over.set_result(reason)

    def _listen(self) -> None:
        page, cdp = self.page, self._cdp
        cdp.on("Page.frameAttached", lambda event: self.frames.add(event["frameId"]))
        cdp.on("Page.loadEventFired", lambda event: self._loaded.set())
        cdp.on("Emulation.virtualTimeBudgetExpired", lambda event: self._expired.set())
        page.on("crash", lambda _: self.end(BrowserFailed("the page's process crashed")))
        page.on("pageerror", lambda error: self._note(f"script error: {str(error)[:300]}"))
        page.on("dialog", lambda dialog: _later(self._dismiss(dialog)))
        page.on("popup", lambda popup: _later(self._close_popup(popup)))
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

    async def _close_popup(self, popup: Any) -> None:
        self._note(f"popup closed: {popup.url[:200]}")
        self._popups += 1
        if self._popups > MOST_POPUPS:  # each takes a process; some pages open them without end
            _later(self.page.evaluate("window.open = () => null"))
        await popup.close()

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
    async def paused(self, event: Mapping[str, Any]) -> None:
        """Answer a request that the browser holds: the page itself at once, all else by the drawing."""
        task, drawing = self._task, self._drawing
        is_main = event["resourceType"] == "Document" and event.get("frameId") == self.frame
        if task is None or drawing is None or self._is_late:
            return await self._fulfil(event, PageResponse(reason="the page is closed"))
        if is_main and not self._is_given:
            if is_led_on(event["request"]):
                return await self._fulfil(event, PageResponse(reason="of the page before"))
            self._is_given = True
            return await self._fulfil(event, PageResponse(task.status, task.headers, task.content))
        await self._hand_out(event, drawing, is_main=is_main)

    async def _hand_out(self, event: Mapping[str, Any], drawing: RenderTask, *, is_main: bool) -> None:
        request, kind = event["request"], kind_of(event)
        wanted = PageRequest(
            event["requestId"],
            request["url"].partition("#")[0],
            request["method"],
            request["headers"],
            body_of(request),
            "document" if is_main and kind == "frame" else kind,
            self.page.url,
        )
        future = self._futures[wanted.id] = asyncio.get_running_loop().create_future()
        self._quiet.clear()
        drawing.put(wanted)
        try:
            given = await future
            self._requests += bool(given.status)  # what is refused at once is no sign of life
            if given.reason and is_main:
                given = PageResponse(
                    204
                )  # the page stays as it is, where an error would be a page of the browser's
            await self._fulfil(event, given)
        finally:
            self._futures.pop(wanted.id, None)
            if not self._futures:
                self._quiet.set()

    def answer(self, id: str, given: PageResponse) -> None:
        """Take the answer to a request of the page."""
        future = self._futures.get(id)
        if future is not None and not future.done():
            future.set_result(given)

    async def _fulfil(self, event: Mapping[str, Any], given: PageResponse) -> None:
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
                await self._browser_cdp.send("Fetch.fulfillRequest", answer)
                return
        # A request that the page has given up meanwhile is nobody's any more.
        with contextlib.suppress(Exception):
            await self._browser_cdp.send(
                "Fetch.failRequest", {"requestId": id, "errorReason": "BlockedByClient"}
            )

    # one page --------------------------------------------------------------------------------------------
    async def draw(self, task: Task, drawing: RenderTask) -> RenderResult:
        """Render one page to its end; whatever happens there ends as an `error`."""
        self._task, self._drawing = task, drawing
        self.frames = {self.frame}
        self._requests = self._virtual = self.saved = self._popups = 0
        self._is_given = False
        self._until = asyncio.get_running_loop().time() + task.within
        self._notes = []
        self._loaded.clear()
        self._quiet.set()
        try:
            await self._navigate(task.url, task.moment)
            await self._act(task)
            if self._is_late:
                self._note(f"its time of {task.within:g} s was over: taken as it was")
            html = await self._do(self.page.content(), "the document", STEP)
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
            self._cut()

    @property
    def _is_late(self) -> bool:
        """Whether the page's time is over, by our clock."""
        return asyncio.get_running_loop().time() >= self._until

    def _cut(self) -> None:
        """Give the page nothing of what it has asked for and not got."""
        for future in self._futures.values():
            if not future.done():
                future.set_result(PageResponse(reason="the page is closed"))

    async def plant(self, origin: str, items: Mapping[str, str]) -> None:
        """Let scripts of an origin find what they kept; a profile that is new has nothing."""
        words = json.dumps(dict(items))
        render = Render(script=f"for (const [k, v] of Object.entries({words})) localStorage.setItem(k, v)")
        html = Headers([("Content-Type", "text/html")])
        await self.draw(Task(f"{origin}/", 200, html, b"<!doctype html>", render, ""), _Deaf(self))

    async def _kept(self) -> dict[str, str] | None:
        try:
            kept = json.loads(await self._do(self.page.evaluate(_STORED), "what it keeps", STEP))
        except (PageFailed, ValueError):
            return None
        return {str(name): str(value) for name, value in kept.items()} if isinstance(kept, dict) else None

    async def _save(self) -> None:
        """Until the files are here that the page has made."""
        give_up = asyncio.get_running_loop().time() + STEP
        while self.saving and asyncio.get_running_loop().time() < give_up:
            await self._first(asyncio.sleep(0.02), STEP)

    async def _navigate(self, url: str, moment: float) -> None:
        now = {"initialVirtualTime": moment} if moment else {}
        await self._step(self._cdp.send("Emulation.setVirtualTimePolicy", {"policy": "pause", **now}))
        gone = await self._step(self._cdp.send("Page.navigate", {"url": url}))
        if gone.get("errorText"):
            raise PageFailed(f"the browser did not show it: {gone['errorText']}")

    async def _act(self, task: Task) -> None:
        """Do what the task asks for, and wait until the page is as it stays."""
        render, page = task.render, self.page
        is_busy = render.fill or render.click or render.scroll or render.script
        if is_busy or not render.wait_for:
            await self._settle()
        for query, text in render.fill.items():
            await self._do(page.locator(query).first.fill(text, timeout=0), query, render.timeout)
        for query in render.click:
            await self._do(page.locator(query).first.click(timeout=0), query, render.timeout)
            await self._settle()
        for _ in range(render.scroll):
            down = page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
            await self._do(down, "the end of the page", render.timeout)
            await self._settle()
        if render.script:
            await self._do(self._script(render.script), "the end of the script", render.timeout)
            await self._settle()
        if render.wait_for:
            await self._await(render.wait_for, render.timeout)

    async def _script(self, script: str) -> None:
        try:
            await self.page.evaluate(script)
        except Exception as error:
            self._note(f"Render.script: {str(error)[:300]}")

    async def _await(self, query: str, timeout: float) -> None:
        began, found = self._virtual, self.page.locator(query)
        while not await self._count(found, query):
            self._check_time(began, timeout, query)
            await self._pass(SLICE)
        await self._rest()

    def _check_time(self, began: float, timeout: float, query: str) -> None:
        """Raise PageFailed where something was waited for long enough, since `began` of the page's time."""
        if self._virtual - began >= timeout * 1000:
            raise PageFailed(f"waited {timeout:g} s for {query}")
        if self._is_late and self._virtual - began >= LAST_CHANCE:
            within = self._task.within if self._task is not None else 0.0
            raise PageFailed(f"its time of {within:g} s was over before {query} was there")

    async def _count(self, found: Any, query: str) -> int:
        try:
            return int(await self._do(found.count(), query, STEP))
        except PageFailed as error:
            # The document may just have been replaced; a query that cannot be read stays so.
            if "selector" in error.message.lower():
                raise PageFailed(f"{query!r} is no CSS query or text=...") from None
            return 0

    async def _do(self, action: Awaitable[T], query: str, timeout: float) -> T:
        """Do something to the page, and let its time pass meanwhile, as some of it needs frames drawn."""
        began, doing = self._virtual, asyncio.ensure_future(action)
        try:
            await asyncio.wait([doing], timeout=AT_ONCE)
            while not doing.done():
                self._check_time(began, timeout, query)
                await self._pass(SLICE // 2)
                await asyncio.wait([doing], timeout=0.005)
            if (error := doing.exception()) is not None:
                raise PageFailed(f"{query}: {str(error).splitlines()[0][:200]}")
            return doing.result()
        finally:
            doing.cancel()

    async def _settle(self) -> None:
        """Until the page is loaded and has asked for nothing for a while; some never rest.

        What watches where the page is scrolled to runs with its frames, which come by our clock.
        """
        began, is_idle, is_drawn = self._virtual, False, False
        while not (is_idle and is_drawn) and self._virtual - began < LONGEST_SETTLING and not self._is_late:
            before, is_drawn = self._requests, is_idle
            if is_idle:
                with contextlib.suppress(PageFailed):  # its document may just have been replaced
                    await self._do(self.page.evaluate(_FRAMES), "a frame", STEP)
            await self._pass(IDLE)
            is_idle = self._requests == before and not self._futures and self._loaded.is_set()

    async def _pass(self, milliseconds: int) -> None:
        """Let so much of the page's time pass, not counting what it waits for."""
        await self._rest()
        self._expired.clear()
        await self._grant(milliseconds, is_plain=self._is_late)
        busy, is_pushed = 0.0, False
        while not self._expired.is_set():
            before = asyncio.get_running_loop().time()
            await self._first(self._expired.wait(), 0.25)
            if self._is_late:
                self._cut()
            busy = 0.0 if self._futures else busy + asyncio.get_running_loop().time() - before
            if busy > PUSHED_AFTER and not is_pushed:
                # Chromium may believe for ever that it waits for an answer, though it has them all.
                await self._grant(milliseconds, is_plain=True)
                is_pushed = True
            if busy > STUCK_AFTER:
                raise self._stuck(f"the page kept its process busy for {STUCK_AFTER:g} s")
        self._virtual += milliseconds

    async def _grant(self, milliseconds: int, *, is_plain: bool) -> None:
        """Have time pass; `is_plain`: also while the page waits for answers."""
        budget = {
            "policy": "advance" if is_plain else "pauseIfNetworkFetchesPending",
            "budget": milliseconds,
            "maxVirtualTimeTaskStarvationCount": MOST_STARVED,
        }
        await self._step(self._cdp.send("Emulation.setVirtualTimePolicy", budget))

    async def _rest(self) -> None:
        """Until nothing that the page asked for is on its way: how long that takes is decided elsewhere."""
        while not self._quiet.is_set():
            await self._first(self._quiet.wait(), 1.0)
            if self._is_late:
                self._cut()

    async def _step(self, step: Awaitable[T]) -> T:
        """One step of the browser, within its time. The page's own requests do not count."""
        doing = asyncio.ensure_future(step)
        try:
            while not await self._first(asyncio.shield(doing), STEP):
                if self._is_late:
                    self._cut()
                if not self._futures:
                    raise self._stuck(f"the page did not answer for {STEP:g} s")
            return doing.result()
        finally:
            doing.cancel()

    def _stuck(self, reason: str) -> PageFailed:
        """The end of this tab, for all pages; whether it was the browser shows when it is closed."""
        failed = PageFailed(reason)
        self.end(failed)
        return failed

    async def _first(self, waited: Awaitable[Any], timeout: float) -> bool:
        """Wait for something, or for the end of this tab, which raises; False: neither came in time."""
        waiting = asyncio.ensure_future(waited)
        try:
            await asyncio.wait([waiting, self._over], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                raise self._over.result()
            return waiting.done()
        finally:
            waiting.cancel()

    async def _picture(self) -> bytes:
        # Its frames are drawn in the page's time.
        picture = self.page.screenshot(full_page=True, timeout=STEP * 1000)
        return bytes(await self._do(picture, "the screenshot", STEP))

    async def _last_picture(self) -> bytes:
        """What the page looked like in the end, if it can still be seen."""
        with contextlib.suppress(Exception):
            return await self._picture()
        return b""

    async def leave(self) -> bool:
        """Show nothing: what still runs on the page ends. False where the page goes elsewhere each time."""
        for _ in range(LEAVINGS):
            await self._step(self._cdp.send("Page.navigate", {"url": "about:blank"}))
            # What the page did at the same time may have come before it, without any error.
            shown = await self._step(self._cdp.send("Page.getFrameTree"))
            if shown["frameTree"]["frame"]["url"] == "about:blank":
                self._left += 1
                if self._left % CLEAN_EVERY == 0:
                    # What Chromium would do by itself in time that passes: here none does between pages.
                    await self._step(self._cdp.send("HeapProfiler.collectGarbage"))
                return True
        return False


class _Deaf(RenderTask):
    """Gives a page nothing but itself."""

    def __init__(self, tab: Tab) -> None:
        super().__init__(tab.answer, lambda: None)

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
