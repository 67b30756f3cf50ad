"""`GET /fetch`: the page of a URL with one call, through the gates of a run."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from scraper.app.one_url.fetch_one import SingleUrlFetcher
from scraper.app.one_url.step import SessionState, Step
from scraper.engine.parse_limit import Bounded
from scraper.errors import OutOfReach, TimedOut
from scraper.http import redirects
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.runs.metrics import head, series
from scraper.service.access import Caller
from scraper.service.api import check_address
from scraper.service.copies import Copies, Key
from scraper.service.fetching import Fetches, Job, too_long
from scraper.service.formats import FORMATS, FORMATTED, Got, as_is
from scraper.service.operations import Call, Operation, Param
from scraper.service.problems import MEDIA_TYPE as PROBLEM
from scraper.service.problems import Problem
from scraper.service.quotas import Quotas
from scraper.service.rendering import MODES, NEVER, Renderings, is_wanted
from scraper.urls import domain_of

TIMEOUT, MOST_TIMEOUT = 30.0, 300.0
PARSED_AT_ONCE = 2
_STATUSES = range(200, 600)  # of final answers (RFC 9110 15)

T = TypeVar("T")


@frozen
class Wish:
    """What a caller asks for: a URL, one of MODES, and seconds."""

    url: str
    render: str = NEVER
    max_age: float = 0.0
    timeout: float = TIMEOUT

    @property
    def key(self) -> Key:
        """What its copy is found by."""
        return self.url, self.render


class FetchApi:
    """The operation, with its cache and its quotas."""

    def __init__(
        self,
        fetches: Fetches,
        renderings: Renderings,
        copies: Copies,
        quotas: Quotas,
        wall: Callable[[], float],
        parse_timeout: float,
    ) -> None:
        self._fetches = fetches
        self._quotas = quotas
        self._wall = wall
        self._copies = copies
        self._renderings = renderings
        self._parsing = asyncio.Semaphore(PARSED_AT_ONCE)
        self._parse_timeout = parse_timeout
        self._parsers = [Bounded(parse_timeout) for _ in range(PARSED_AT_ONCE)]
        self._served = {"fetched": 0, "cached": 0, "refused": 0}
        self._waited = 0.0

    def operations(self) -> list[Operation]:
        """`/fetch`, for the table."""
        number = {"type": "number", "minimum": 0, "maximum": MOST_TIMEOUT}
        age = {"type": "number", "minimum": 0, "maximum": 31_536_000}
        params = (
            Param(
                "url",
                {"type": "string", "minLength": 1, "maxLength": 2000},
                "an absolute URL",
                is_required=True,
            ),
            Param("format", {"type": "string", "enum": list(FORMATS)}, "what of the page", "html"),
            Param("render", {"type": "string", "enum": list(MODES)}, "as a browser shows it", NEVER),
            Param("max_age", age, "seconds: a copy that is no older will do", 0.0),
            Param("timeout", number, "seconds that you are ready to wait for its turn", TIMEOUT),
        )
        answers = {
            200: (("*/*",), "The page, with the site's own status, whatever that is."),
            403: ((PROBLEM,), "Its robots.txt (the line is named), your token or the address forbids it."),
            429: ((PROBLEM,), "The queue of its domain is full, or your quota is used up."),
            501: ((PROBLEM,), "There is no browser here."),
            502: ((PROBLEM,), "The site cannot be reached, or blocks us; `blocked` says by what."),
            503: ((PROBLEM,), "Its turn comes later than timeout: see Retry-After, `rule` and `wait_s`."),
            504: ((PROBLEM,), "The site did not answer in time."),
        }
        told = "The page of a URL, politely."
        return [Operation("GET", "/fetch", "fetch", told, self.handle, answers, params, is_effective=True)]

    async def handle(self, call: Call) -> Response:
        """Answer one call."""
        query = call.query
        wish = Wish(query["url"], query["render"], query["max_age"], query["timeout"])
        got = self.known(call.caller, wish)
        if got is None:
            got = await while_there(call.request, self.page(call.caller, wish))
        self._served["fetched" if got.age is None else "cached"] += 1
        self._waited += got.waited
        wanted = query["format"]
        return as_is(got) if wanted == "html" else await self.formatted(got, wanted)

    def known(self, caller: Caller, wish: Wish) -> Got | None:
        """The copy of a page that will do."""
        if not wish.max_age:
            return None
        now = self._wall()
        found = self._copies.find(wish.key, wish.max_age, now)
        if found is None:
            return None
        for url in (wish.url, found.step.url):
            _check_domain(caller, url)
        return Got(found.step, 0.0, max(0.0, now - found.at))

    async def page(self, caller: Caller, wish: Wish) -> Got:
        """The page of a URL; a Problem where there is none for this caller."""
        url = check_address(wish.url)
        _check_domain(caller, url)
        if wish.max_age:
            await asyncio.to_thread(self._copies.recall, wish.key)
            if (known := self.known(caller, wish)) is not None:
                return known
        with self._renderings.caller() if wish.render != NEVER else nullcontext():
            await self._quotas.take(caller.token)
            try:
                return await self._fetched(caller, wish, url)
            except Problem:
                self._served["refused"] += 1
                raise

    async def formatted(self, got: Got, wanted: str) -> Response:
        """A page as text, markdown or json; a Problem where that takes longer than `parse_timeout`."""

        def make() -> Response:
            return FORMATTED[wanted](got)

        async with self._parsing:
            parser = self._parsers.pop()
            try:
                made = await asyncio.to_thread(parser.call, make)
            finally:
                self._parsers.append(parser)
        if made is None:
            told = f"to make {wanted} of the page takes longer than {self._parse_timeout:g} s"
            raise Problem(502, told, "take format=html")
        return made

    def metrics(self) -> Iterator[str]:
        """What was fetched since the service began, for Prometheus."""
        yield from head("fetch_calls_total", "Calls of /fetch by what came of them.", "counter")
        yield from (series("fetch_calls_total", n, outcome=name) for name, n in self._served.items())
        yield from head("fetch_wait_seconds_total", "Seconds that callers waited for their turn.", "counter")
        yield series("fetch_wait_seconds_total", round(self._waited, 3))
        counts = self._fetches.counts()
        yield from head("fetch_requests_total", "Requests sent for callers.", "counter")
        yield from (series("fetch_requests_total", one.requests, domain=name) for name, one in counts.items())
        yield from head("fetch_refusals_total", "Answers that were refusals.", "counter")
        yield from (series("fetch_refusals_total", one.refusals, domain=name) for name, one in counts.items())
        yield from head("fetch_min_gap_seconds", "Smallest gap between two requests for callers.")
        for name, one in counts.items():
            if math.isfinite(one.min_gap):
                yield series("fetch_min_gap_seconds", round(one.min_gap, 6), domain=name)

    async def _fetched(self, caller: Caller, wish: Wish, url: str) -> Got:
        await self._fetches.open()
        began = self._fetches.clock.now()
        until = began + wish.timeout

        def fresh() -> Step | None:
            known = self.known(caller, wish)
            return known.step if known is not None else None

        step, belongings = await self._document(caller, wish, url, until, fresh)
        waited = max(0.0, step.sent_at - began)
        if belongings is not None and await self._is_wanted(wish, step):
            domains = frozenset(caller.token.domains if caller.token is not None else ())
            step = await self._renderings.page(step, belongings, until, domains, fresh)
        if (known := self.known(caller, wish)) is not None and known.step is step:
            return known
        is_lasting = wish.max_age > 0  # nobody else is known to want it again
        await asyncio.to_thread(self._copies.keep, wish.key, step, self._wall(), is_lasting=is_lasting)
        return Got(step, waited)

    async def _is_wanted(self, wish: Wish, step: Step) -> bool:
        """Whether a browser is to render what came."""
        if step.response is None:
            return False
        async with self._parsing:
            return await asyncio.to_thread(is_wanted, wish.render, step.response)

    async def _document(
        self, caller: Caller, wish: Wish, url: str, until: float, fresh: Callable[[], Step | None]
    ) -> tuple[Step, SessionState | None]:
        """What redirects lead to, and for a browser the belongings of its domain; or what is `fresh`."""
        belongings: list[SessionState] = []

        def work(probe: SingleUrlFetcher, job: Job) -> Step:
            if (found := fresh()) is not None:
                return found  # somebody before us in the queue has asked for it
            step = probe.step(job.url, job.until, job.is_wanted)
            if wish.render != NEVER and step.is_ok:
                belongings.append(probe.belongings(domain_of(job.url)))
            return step

        for _ in range(redirects.MAX_HOPS + 1):
            _check_domain(caller, url)
            step = checked(await self._fetches.hop(url, until, work))
            if not step.next_url:
                return step, belongings[-1] if belongings else None
            url = step.next_url
        told = f"{wish.url[:200]} redirects more than {redirects.MAX_HOPS} times"
        raise Problem(502, told, "ask for its end")

    def close(self) -> None:
        """Give all domains back, and end the browser."""
        self._renderings.close()
        self._fetches.close()


def checked(step: Step) -> Step:
    """A hop that brought an answer; a Problem for any other."""
    if step.fault is not None or step.error:
        if isinstance(step.fault, OutOfReach):
            raise Problem(403, step.error, "an operator names what may be reached: setting reach", reach=True)
        raise Problem(504 if isinstance(step.fault, TimedOut) else 502, f"{step.url[:300]}: {step.error}")
    if step.refusal and step.is_later:
        raise too_long(domain_of(step.url), step.wait, step.refusal)
    if step.is_closed:
        raise Problem(502, f"{step.url[:300]}: {step.refusal}", "ask again later", rule=step.refusal)
    if step.refusal:
        raise Problem(
            403, f"{step.url[:300]} is denied: {step.refusal}", "the site decides that", rule=step.refusal
        )
    if step.response is not None and step.response.status not in _STATUSES:
        status = step.response.status
        told = f"{step.url[:300]} answers with status {status}, which HTTP does not have"
        raise Problem(502, told, "the site is broken, or refuses us so", site_status=status)
    if step.blocked:
        status = step.response.status if step.response is not None else 0
        raise Problem(
            502, f"{domain_of(step.url)} blocks us: {step.blocked}", "leave the domain alone for a while",
            blocked=step.blocked, site_status=status,
        )  # fmt: skip
    return step


def _check_domain(caller: Caller, url: str) -> None:
    token = caller.token
    if token is None or not token.domains:
        return
    name = domain_of(url)
    if name not in token.domains:
        allowed = ", ".join(token.domains)
        raise Problem(403, f"this token may not fetch {name}", f"it may fetch {allowed}", domain=name)


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What comes of work for a caller, who may leave: it ends then."""
    doing, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait([doing, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        doing.cancel()
        leaving.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def wall() -> float:
    """The moment, as people's clocks have it."""
    return SystemClock(0.0).wall()
