"""The browser: one Chromium on a thread of its own, its profiles and tabs; its first page starts it."""

import asyncio
import contextlib
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from scraper.browser import chromium
from scraper.browser.downloads import Downloads
from scraper.browser.page_time import STEP, BrowserFailed
from scraper.browser.profiles import Profile
from scraper.browser.tab import Tab
from scraper.browser.tasks import PageResponse, RenderResult, RenderTask, Task
from scraper.model.frozen import frozen

START_WITHIN = 30.0
MOST_PROFILES = 20
LOOK_EVERY = 5  # pages after which its memory is looked at
UNKNOWN_FOR = 1.0  # seconds that a frame may be unknown: its request can be here before the word of it
ROOT = "the browser has no sandbox: it refuses one to root; run as another user to have it"
WORN = "the browser was replaced: it used more memory than render_memory"
NO_SANDBOX = "the browser has no sandbox: this system does not let it make one"


@frozen
class BrowserOptions:
    """`program`: Chromium. `tabs`: pages that are rendered at once. `memory`: bytes that it may use; one that
    uses more is replaced.
    """

    program: str
    tabs: int = 2
    memory: int = 2**31


class Browser:
    """Renders pages for any thread. What it asks for comes out of the RenderTask of each page."""

    def __init__(self, options: BrowserOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: _Running | None = None
        self._starting: asyncio.Lock | None = None
        self._slots: asyncio.Semaphore | None = None
        self._drawings: set[asyncio.Task[None]] = set()

    def draw(self, task: Task) -> RenderTask:
        """Begin to render a page; callable from any thread."""
        loop = self._thread()
        tabs: list[Tab] = []
        doing: list[asyncio.Task[None]] = []

        def answer(id: str, given: PageResponse) -> None:
            for tab in tabs:  # the one, once it has it
                loop.call_soon_threadsafe(tab.requests.answer, id, given)

        def stop() -> None:
            loop.call_soon_threadsafe(lambda: doing and doing[0].cancel())

        drawing = RenderTask(answer, stop)

        def begin() -> None:
            doing.append(loop.create_task(self._draw(task, drawing, tabs)))
            self._drawings.add(doing[0])
            doing[0].add_done_callback(self._drawings.discard)

        loop.call_soon_threadsafe(begin)
        return drawing

    def close(self) -> None:
        """End the browser and all that it is doing; what is being rendered gets no answer any more."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            ending = asyncio.run_coroutine_threadsafe(self._end(), loop)
            with contextlib.suppress(Exception):
                ending.result(STEP)
            loop.call_soon_threadsafe(loop.stop)

    def _thread(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon: the guard ends Chromium with this process, whatever it is doing.
                threading.Thread(target=_run, args=(self._loop,), name="browser", daemon=True).start()
                self._starting, self._slots = asyncio.Lock(), asyncio.Semaphore(self._options.tabs)
            return self._loop

    # on the browser's thread -----------------------------------------------------------------------------
    async def _draw(self, task: Task, drawing: RenderTask, tabs: list[Tab]) -> None:
        assert self._slots is not None
        async with self._slots:
            try:
                drawn = await self._drawn(task, drawing, tabs)
            except BrowserFailed as error:
                drawn = RenderResult(url=task.url, error=error.message, is_ours=True)
            except Exception as error:
                said = (str(error).strip() or type(error).__name__).splitlines()[0]
                drawn = RenderResult(url=task.url, error=f"the browser failed: {said[:300]}", is_ours=True)
            drawing.put(drawn)

    async def _drawn(self, task: Task, drawing: RenderTask, tabs: list[Tab]) -> RenderResult:
        running = await self._started()
        profile = await running.profile(task.profile, task.user_agent)
        tab = await profile.take(running.cdp)
        tabs.append(tab)
        running.tabs.append(tab)
        drawn = RenderResult(url=task.url, error="given up", is_ours=True)
        try:
            if profile.is_new:
                await running.downloads.allow(tab.context)
                for origin, items in task.storage.items():
                    await tab.plant(origin, items)
            profile.is_new = False
            await profile.seed(task.cookies, task.url)
            drawn = await tab.draw(task, drawing)
            notes, running.notes = running.notes, []
            drawn = replace(drawn, cookies=await profile.cookies(), notes=(*notes, *drawn.notes))
        finally:
            running.tabs.remove(tab)
            is_sound = not drawn.error and tab.time.is_sound
            if not await profile.give_back(tab, is_sound=is_sound):
                await self._replace(running)
                drawn = replace(drawn, is_ours=bool(drawn.error))
            elif await self._is_worn(running):
                self._running = None if self._running is running else self._running
                drawn = replace(drawn, notes=(*drawn.notes, WORN))
            if running is not self._running and not running.tabs:
                await running.end()
        return drawn

    async def _started(self) -> "_Running":
        assert self._starting is not None
        async with self._starting:
            if self._running is None or not self._running.is_connected:
                if self._running is not None:
                    await self._running.end()
                self._running = _Running(self._options)
                await asyncio.wait_for(self._running.start(), START_WITHIN)
            return self._running

    async def _is_worn(self, running: "_Running") -> bool:
        """Whether it uses too much memory; looking costs some milliseconds."""
        running.pages += 1
        if running.pages % LOOK_EVERY:
            return False
        return await asyncio.to_thread(chromium.memory_of, running.folder) > self._options.memory

    async def _replace(self, running: "_Running") -> None:
        """Have a new browser started for the next page: this one does not do what it is told."""
        if self._running is running:
            self._running = None
        await running.end()

    async def _end(self) -> None:
        for doing in list(self._drawings):
            doing.cancel()
        if self._running is not None:
            await self._running.end()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()


class _Running:
    """A Chromium that runs, and the one place where its requests come out."""

    def __init__(self, options: BrowserOptions) -> None:
        self._options = options
        self.folder = Path(tempfile.mkdtemp(prefix="scraper-browser-"))
        self._profiles: dict[str, Profile] = {}
        self._playwright: Any = None
        self._browser: Any = None
        self._paused: set[asyncio.Task[None]] = set()
        self.notes: list[str] = []
        self.pages = 0
        self.cdp: Any = None
        self.tabs: list[Tab] = []
        self.downloads: Downloads

    @property
    def is_connected(self) -> bool:
        return self._browser is not None and bool(self._browser.is_connected())

    async def start(self) -> None:
        # Imported here, on the browser's thread: an extra, and 0.3 s that only a run that renders spends.
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()
        self._browser = await self._launch()
        self._browser.on("disconnected", lambda _: self._lost())
        self.cdp = await self._browser.new_browser_cdp_session()
        self.cdp.on("Fetch.requestPaused", self._on_paused)
        self.downloads = Downloads(self.cdp, self.folder, self.tabs)
        # On the browser itself: pages, frames of other sites, workers and popups, all of them.
        await self.cdp.send("Fetch.enable", {"patterns": [{"urlPattern": "*", "requestStage": "Request"}]})

    async def _launch(self) -> Any:
        launcher = chromium.write_launcher(self.folder, self._options.program)
        wanted = {
            "executable_path": str(launcher),
            "args": chromium.arguments(),
            "timeout": START_WITHIN * 1000,
        }
        if not chromium.is_root():
            try:
                return await self._playwright.chromium.launch(chromium_sandbox=True, **wanted)
            except Exception as error:
                if "sandbox" not in str(error).lower():
                    raise
                self.notes.append(NO_SANDBOX)
        else:
            self.notes.append(ROOT)
        return await self._playwright.chromium.launch(chromium_sandbox=False, **wanted)

    def _lost(self) -> None:
        for tab in self.tabs:
            tab.time.end(BrowserFailed("the browser went away"))

    async def profile(self, name: str, user_agent: str) -> Profile:
        """The storage of a domain; of very many the one that was used last longest ago is given up."""
        profile = self._profiles.pop(name, None)
        if profile is None:
            context = await self._browser.new_context(
                service_workers="block", user_agent=user_agent or None, accept_downloads=False
            )
            profile = Profile(context)
        self._profiles[name] = profile
        for other in list(self._profiles)[: max(0, len(self._profiles) - MOST_PROFILES)]:
            if not self._profiles[other].is_used:
                await self._profiles.pop(other).close()
        return profile

    def _on_paused(self, event: Mapping[str, Any]) -> None:
        doing = asyncio.ensure_future(self._route(event, asyncio.get_running_loop().time()))
        self._paused.add(doing)
        doing.add_done_callback(self._paused.discard)

    async def _route(self, event: Mapping[str, Any], at: float) -> None:
        tab = await self._tab_of(event.get("frameId", ""))
        if tab is not None:
            return await tab.paused(event, at)
        with contextlib.suppress(Exception):
            refused = {"requestId": event["requestId"], "errorReason": "BlockedByClient"}
            await self.cdp.send("Fetch.failRequest", refused)

    async def _tab_of(self, frame: str) -> Tab | None:
        """The tab that a frame belongs to; frames within frames of other sites have to be looked for."""
        give_up = asyncio.get_running_loop().time() + UNKNOWN_FOR
        while True:
            for tab in self.tabs:
                if frame in tab.frames:
                    return tab
            if asyncio.get_running_loop().time() > give_up:
                return None
            await asyncio.sleep(0.02)
            for tab in list(self.tabs):
                with contextlib.suppress(Exception):
                    tab.frames |= await frames_of(tab)
            with contextlib.suppress(Exception):
                await self._adopt_popups()

    async def _adopt_popups(self) -> None:
        """Let the documents that pages open in tabs of their own be asked for by these pages."""
        found = await asyncio.wait_for(self.cdp.send("Target.getTargets"), STEP)
        for target in found["targetInfos"]:
            for tab in self.tabs:
                if target.get("openerId") == tab.frame:
                    tab.adopt(target["targetId"])

    async def end(self) -> None:
        """End Chromium; in time, or by the guard."""
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._browser.close(), 3.0)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._playwright.stop(), 3.0)
        shutil.rmtree(self.folder, ignore_errors=True)


async def frames_of(tab: Tab) -> set[str]:
    """The frames of all processes that a page is made of, by the protocol's names."""
    found: set[str] = set()
    for frame in tab.page.frames:
        try:
            cdp = await asyncio.wait_for(tab.page.context.new_cdp_session(frame), STEP)
        except Exception:
            continue  # it has no process of its own: its parent knows it
        tree = await asyncio.wait_for(cdp.send("Page.getFrameTree"), STEP)
        await cdp.detach()
        waiting = [tree["frameTree"]]
        while waiting:
            one = waiting.pop()
            found.add(one["frame"]["id"])
            waiting += one.get("childFrames", ())
    return found
