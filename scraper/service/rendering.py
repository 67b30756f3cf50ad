"""`render` of `/fetch`: pages that a browser renders for callers.

What a page asks for stands in the queue of its domain like every other call: gates, clocks and sessions are
the same, and no domain waits while a browser works.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from scraper import settings as settings_of
from scraper.app.one_url.fetch_one import SingleUrlFetcher
from scraper.app.one_url.step import Sent, SessionState, Step
from scraper.browser import chromium
from scraper.browser.browser import ROOT, Browser, BrowserOptions
from scraper.browser.tasks import PageRequest
from scraper.engine.load_cache import LoadCache
from scraper.engine.page_loads import is_foreign, is_page
from scraper.engine.reactions import Reactions
from scraper.engine.rendering import Picture, Rendering, RenderOptions, State
from scraper.errors import FetchError, UsageError
from scraper.http.exchange import Answer, Later
from scraper.http.session import DomainSession
from scraper.model import Entry, Exchange, Failed, Render, Request, Response
from scraper.parsing.page import Page
from scraper.parsing.shells import shell_of
from scraper.service.fetching import Fetches, Job, too_long
from scraper.service.problems import Problem
from scraper.settings import Settings
from scraper.urls import domain_of

NEVER, ALWAYS, AUTO = "false", "true", "auto"
MODES = (NEVER, ALWAYS, AUTO)
TABS = 4  # pages that are rendered at once, one of each domain
MOST_WAITING = 20  # callers for them
IDLE = 60.0  # seconds after which a browser that nobody needs is ended
LARGEST_SHELL = 2**20  # bytes of a document that may have nothing in it without its scripts
CACHE = 16 * 2**20  # bytes of scripts and stylesheets


@dataclass(slots=True, eq=False)
class _Asked:
    """A request of a page on its way through a queue: `answer`, or why there is none, once it is back."""

    wanted: PageRequest
    headers: dict[str, str]
    answer: Answer | str = "not asked"


class _Queued(Rendering):
    """Asks by the queues of a service for what a page wants."""

    def exchange(self, state: State, wanted: PageRequest) -> Generator[Any, None, Answer | str]:
        """The answer to one request, or why it is not sent."""
        asked = _Asked(wanted, self.headers(state.session, wanted))
        yield asked
        return asked.answer


class Renderings:
    """Renders pages for callers; the first one starts the browser, and a while without any ends it."""

    def __init__(self, fetches: Fetches, settings: Settings) -> None:
        self._fetches = fetches
        self._settings = settings
        self._browser: Browser | None = None
        self._cache = LoadCache(CACHE)
        self._tabs = asyncio.Semaphore(TABS)
        self._places: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()
        self._callers = 0
        self._ending: asyncio.TimerHandle | None = None

    @contextmanager
    def caller(self) -> Iterator[None]:
        """Somebody asks for a page; Problem 501 where there is no browser, 429 where too many wait for it."""
        try:
            chromium.check(self._settings.browser)
        except UsageError as error:
            raise Problem(501, error.message, error.hint) from None
        if self._callers >= TABS + MOST_WAITING:
            raise Problem(
                429, f"{MOST_WAITING} callers wait for a browser already", "ask again later",
                headers={"Retry-After": "10"},
            )  # fmt: skip
        self._callers += 1
        try:
            yield
        finally:
            self._callers -= 1

    async def page(
        self,
        step: Step,
        belongings: SessionState,
        until: float,
        domains: frozenset[str],
        fresh: Callable[[], Step | None],
    ) -> Step:
        """A page as its scripts make it; Problem 502, 503 or 504 where nothing comes of it.

        `belongings`: what its domain's session has; `domains`: those that its caller may ask, none: all;
        `fresh`: the page of somebody who was first.
        """
        assert step.response is not None
        session = DomainSession(
            domain_of(step.url),
            headers={"User-Agent": settings_of.agent(self._settings)},
            max_body=self._settings.max_body,
            clock=self._fetches.clock,
        )
        session.cookies.load(belongings.cookies)
        session.storage.load(belongings.storage)
        try:
            async with asyncio.timeout(max(0.0, until - self._fetches.clock.now())):
                async with self._tab(session.domain):
                    if (known := fresh()) is not None:
                        return known
                    picture = await self._drawn(session, step, until, domains)
        except TimeoutError:
            raise Problem(
                504,
                f"{step.url[:300]} was not rendered within timeout",
                "ask again with a longer timeout: scripts that are here already are not asked for again",
            ) from None
        await self._keep(session, step.url, belongings)
        return _shown(step, picture)

    @asynccontextmanager
    async def _tab(self, domain: str) -> AsyncIterator[None]:
        """A place in the browser: a page that waits for a slow domain leaves the others to other domains."""
        place = self._places.setdefault(domain, asyncio.Lock())
        self._waiting[domain] += 1
        if self._ending is not None:
            self._ending.cancel()
        try:
            async with place, self._tabs:
                yield
        finally:
            self._waiting[domain] -= 1
            if not self._waiting[domain]:
                del self._waiting[domain], self._places[domain]
            if not self._waiting:
                self._ending = asyncio.get_running_loop().call_later(IDLE, self._rest)

    def _rest(self) -> None:
        browser, self._browser = self._browser, None
        if browser is not None:
            asyncio.get_running_loop().run_in_executor(None, browser.close)

    async def _drawn(
        self, session: DomainSession, step: Step, until: float, domains: frozenset[str]
    ) -> Picture:
        assert step.response is not None
        options = self._options(session.domain, domains)
        rendering = _Queued(self._running(), Reactions(session.clock, 1), options, self._cache)
        entry = Entry(0, session.domain, b"", step.url)
        # So long as its caller waits.
        request = Request(step.url, render=Render(timeout=max(1.0, until - session.clock.now())))
        steps = rendering.draw(session, entry, request, step.response, lambda: True)
        try:
            while True:
                wait = next(steps)
                if isinstance(wait, Later):
                    await _told(wait)
                elif isinstance(wait, _Asked):
                    wait.answer = await self._asked(wait, session.domain, until)
        except StopIteration as end:
            picture: Picture = end.value
            return picture
        finally:
            steps.close()  # also where the caller has left: its tab is free again

    def _running(self) -> Browser:
        if self._browser is None:
            program = chromium.check(self._settings.browser)
            if chromium.is_root():
                print(f"note: {ROOT}", file=sys.stderr, flush=True)
            self._browser = Browser(BrowserOptions(program, TABS, self._settings.render_memory))
        return self._browser

    def _options(self, domain: str, allowed: frozenset[str]) -> RenderOptions:
        found = self._settings
        domains = None if found.render_domains is None else frozenset(found.render_domains)
        if allowed:
            domains = allowed if domains is None else allowed & domains
        return RenderOptions("always", frozenset(found.render_load), domains, frozenset({domain}))

    async def _asked(self, asked: _Asked, home: str, until: float) -> Answer | str:
        """Ask for something in its domain's turn. What another domain cannot give the page goes without."""
        wanted = asked.wanted
        sent = Sent(wanted.method, asked.headers, wanted.body, is_load=True, is_foreign=is_foreign(wanted))

        def work(probe: SingleUrlFetcher, job: Job) -> Step:
            return probe.step(job.url, job.until, job.is_wanted, sent)

        try:
            step = await self._fetches.hop(wanted.url, until, work)
            if step.is_later:
                raise too_long(domain_of(wanted.url), step.wait, step.refusal)
        except Problem as problem:
            if domain_of(wanted.url) != home:
                return problem.detail
            told = f"the page asked for {wanted.url[:300]}: {problem.detail}"
            raise Problem(
                problem.status, told, problem.hint, headers=problem.headers, **problem.more
            ) from None
        if step.refusal:
            return step.refusal
        status = step.response.status if step.response is not None else 0
        error = step.fault or (FetchError(step.error) if step.error else None)
        return Answer(Exchange(step.sent_at, step.sent_at, step.sent_at, status), step.response, error)

    async def _keep(self, session: DomainSession, url: str, before: SessionState) -> None:
        """What scripts have set is there for the next request."""
        after = SessionState(session.cookies.dump(), session.storage.items)
        if after == before:
            return

        def work(probe: SingleUrlFetcher, job: Job) -> Step:
            return probe.keep(job.url, before, after)

        with suppress(Problem):
            await self._fetches.put(Job(url, float("inf"), work))

    def close(self) -> None:
        """End the browser."""
        browser, self._browser = self._browser, None
        if browser is not None:
            browser.close()


def is_wanted(mode: str, response: Response) -> bool:
    """Whether an answer is a document that is to be rendered. Parses it: for a thread."""
    if mode == NEVER or not 200 <= response.status < 300 or not is_page(response):
        return False
    if mode == ALWAYS or len(response.content) > LARGEST_SHELL:
        return mode == ALWAYS
    return bool(shell_of(Page(Request(response.url), response)))


async def _told(wait: Later) -> None:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def wake() -> None:
        loop.call_soon_threadsafe(told.set)

    wait.tell(wake)
    await told.wait()


def _shown(step: Step, picture: Picture) -> Step:
    """The page in the place of its plain answer."""
    response, outcome = picture.response, picture.outcome
    if isinstance(outcome, Failed):
        raise Problem(502, f"{step.url[:300]}: {outcome.reason}")
    if response is None or response.rendered is None:
        reason = getattr(outcome, "reason", "") or "not rendered"
        rest = max(1, round(picture.reaction.rest or 5.0))
        told = f"{step.url[:300]} was not rendered: {reason}"
        raise Problem(503, told, "ask again after Retry-After", headers={"Retry-After": str(rest)})
    # Of what it asked for only the words are kept: copies of it stay in memory.
    loads = tuple(replace(one, content=b"") for one in response.rendered.loads)
    rendered = replace(response.rendered, source=b"", loads=loads, screenshot=b"")
    return replace(step, url=response.url, response=replace(response, rendered=rendered))
