"""The time of a page: it runs only as far as it is let, and what is waited for ends in any case.

The page lives in virtual time (`Emulation.setVirtualTimePolicy`): its timers run only while nothing that it
asked for is on its way, so that a wait for a slot is no wait to the page, and a timer of seconds costs none.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, TypeVar

from scraper.browser.held_requests import HeldRequests
from scraper.errors import ScraperError

IDLE = 500  # virtual milliseconds without a request after which a page is as it stays
SLICE = 100  # virtual milliseconds between two looks for what is waited for
LONGEST_SETTLING = 5_000  # virtual milliseconds: some pages never rest
LAST_CHANCE = 200  # virtual milliseconds for what a page has to show once its time is over
PUSHED_AFTER = 1.0  # seconds after which time passes whatever Chromium waits for
STUCK_AFTER = 20.0  # seconds that a page may keep its process busy at a stretch
STEP = 10.0  # seconds that one step of the browser may take
AT_ONCE = 0.05  # seconds that something takes for which no time of the page has to pass
MOST_STARVED = 10_000  # tasks that run before virtual time is forced on

_FRAMES = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"

T = TypeVar("T")


class PageFailed(ScraperError):
    """The page did something that ends its rendering."""


class BrowserFailed(ScraperError):
    """The browser failed, whatever the page was."""


class PageTime:
    """Lets the time of a page pass: `passed` virtual milliseconds, since `began` on the loop's clock."""

    def __init__(self, page: Any, cdp: Any, requests: HeldRequests) -> None:
        self._page = page
        self._cdp = cdp
        self._requests = requests
        self.began = self._within = self._until = 0.0
        self._expired = asyncio.Event()
        self._over: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        self.passed = 0
        self._loaded = asyncio.Event()
        cdp.on("Page.loadEventFired", lambda event: self._loaded.set())
        cdp.on("Emulation.virtualTimeBudgetExpired", lambda event: self._expired.set())

    def begin(self, within: float) -> None:
        """A new page, with so many seconds by our clock."""
        self.passed = 0
        self.began = asyncio.get_running_loop().time()
        self._within, self._until = within, self.began + within
        self._loaded.clear()
        self._requests.begin()

    async def start(self, moment: float) -> None:
        """Stop the page's clock, at an epoch second where one is given."""
        now = {"initialVirtualTime": moment} if moment else {}
        await self.step(self._cdp.send("Emulation.setVirtualTimePolicy", {"policy": "pause", **now}))

    @property
    def is_sound(self) -> bool:
        """Whether another page may use the tab."""
        return not self._over.done()

    def end(self, reason: Exception) -> None:
        """End what is being rendered, and the tab with it."""
        if not self._over.done():
            self._over.set_result(reason)

    @property
    def is_late(self) -> bool:
        """Whether the page's time is over, by our clock."""
        return asyncio.get_running_loop().time() >= self._until

    def check(self, began: float, timeout: float, query: str) -> None:
        """Raise PageFailed where something was waited for long enough, since `began` of the page's time."""
        if self.passed - began >= timeout * 1000:
            raise PageFailed(f"waited {timeout:g} s for {query}")
        if self.is_late and self.passed - began >= LAST_CHANCE:
            raise PageFailed(f"its time of {self._within:g} s was over before {query} was there")

    async def do(self, action: Awaitable[T], query: str, timeout: float) -> T:
        """Do something to the page, and let its time pass meanwhile, as some of it needs frames drawn."""
        began, doing = self.passed, asyncio.ensure_future(action)
        try:
            await asyncio.wait([doing], timeout=AT_ONCE)
            while not doing.done():
                self.check(began, timeout, query)
                await self.run(SLICE // 2)
                await asyncio.wait([doing], timeout=0.005)
            if (error := doing.exception()) is not None:
                raise PageFailed(f"{query}: {str(error).splitlines()[0][:200]}")
            return doing.result()
        finally:
            doing.cancel()

    async def settle(self) -> None:
        """Until the page is loaded and has asked for nothing for a while; some never rest.

        What watches where the page is scrolled to runs with its frames, which come by our clock.
        """
        began, is_idle, is_drawn = self.passed, False, False
        while not (is_idle and is_drawn) and self.passed - began < LONGEST_SETTLING and not self.is_late:
            before, is_drawn = self._requests.answered, is_idle
            if is_idle:
                with contextlib.suppress(PageFailed):  # its document may just have been replaced
                    await self.do(self._page.evaluate(_FRAMES), "a frame", STEP)
            await self.run(IDLE)
            is_idle = self._requests.answered == before and not self._requests and self._loaded.is_set()

    async def run(self, milliseconds: int) -> None:
        """Let so much of the page's time pass, not counting what it waits for."""
        await self.rest()
        self._expired.clear()
        await self._grant(milliseconds, is_plain=self.is_late)
        busy, is_pushed = 0.0, False
        while not self._expired.is_set():
            before = asyncio.get_running_loop().time()
            await self.first(self._expired.wait(), 0.25)
            if self.is_late:
                self._requests.cut()
            busy = 0.0 if self._requests else busy + asyncio.get_running_loop().time() - before
            if busy > PUSHED_AFTER and not is_pushed:
                # Chromium may believe for ever that it waits for an answer, though it has them all.
                await self._grant(milliseconds, is_plain=True)
                is_pushed = True
            if busy > STUCK_AFTER:
                raise self._stuck(f"the page kept its process busy for {STUCK_AFTER:g} s")
        self.passed += milliseconds

    async def _grant(self, milliseconds: int, *, is_plain: bool) -> None:
        """Have time pass; `is_plain`: also while the page waits for answers."""
        budget = {
            "policy": "advance" if is_plain else "pauseIfNetworkFetchesPending",
            "budget": milliseconds,
            "maxVirtualTimeTaskStarvationCount": MOST_STARVED,
        }
        await self.step(self._cdp.send("Emulation.setVirtualTimePolicy", budget))

    async def rest(self) -> None:
        """Until nothing that the page asked for is on its way: how long that takes is decided elsewhere."""
        while not self._requests.quiet.is_set():
            await self.first(self._requests.quiet.wait(), 1.0)
            if self.is_late:
                self._requests.cut()

    async def step(self, step: Awaitable[T]) -> T:
        """One step of the browser, within its time. The page's own requests do not count."""
        doing = asyncio.ensure_future(step)
        try:
            while not await self.first(asyncio.shield(doing), STEP):
                if self.is_late:
                    self._requests.cut()
                if not self._requests:
                    raise self._stuck(f"the page did not answer for {STEP:g} s")
            return doing.result()
        finally:
            doing.cancel()

    def _stuck(self, reason: str) -> PageFailed:
        """The end of this tab, for all pages; whether it was the browser shows when it is closed."""
        failed = PageFailed(reason)
        self.end(failed)
        return failed

    async def first(self, waited: Awaitable[Any], timeout: float) -> bool:
        """Wait for something, or for the end of this tab, which raises; False: neither came in time."""
        waiting = asyncio.ensure_future(waited)
        try:
            await asyncio.wait([waiting, self._over], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if self._over.done():
                raise self._over.result()
            return waiting.done()
        finally:
            waiting.cancel()
