"""`GET /fetch`: the page of a URL with one call, through the gates of a run."""

import asyncio
import json
import math
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from urllib.parse import quote

from starlette.responses import Response

from scraper.app.one_url.fetch_one import Step
from scraper.errors import OutOfReach, TimedOut
from scraper.http import redirects
from scraper.model import Request
from scraper.model import Response as SiteResponse
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.page import Page
from scraper.runs.metrics import head, series
from scraper.service.access import Caller
from scraper.service.api import check_address
from scraper.service.fetching import Cached, Fetches, too_long
from scraper.service.operations import Call, Operation, Param
from scraper.service.problems import MEDIA_TYPE as PROBLEM
from scraper.service.problems import Problem
from scraper.service.quotas import Quotas
from scraper.urls import domain_of

FORMATS = ("html", "text", "markdown", "json")
TIMEOUT, MOST_TIMEOUT = 30.0, 300.0
CACHE = 32 * 2**20  # bytes of pages that are kept
HELD = 4096  # bytes that one with an empty body takes
MOST_TO_PARSE = 4 * 2**20
_PASSED_ON = ("content-type", "content-language", "etag", "last-modified", "retry-after")
_STATUSES = range(200, 600)  # of final answers (RFC 9110 15)
# What could move the cursor of a terminal (ECMA-48).
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What a site sends is shown in our own origin: it may run nothing and ask for nothing.
_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@frozen
class Got:
    """A page for a caller. `waited`: seconds from the call to its request; `age`: of a copy, else None."""

    step: Step
    waited: float
    age: float | None = None


class Cache:
    """The last pages by URL, up to so many bytes."""

    def __init__(self, most: int = CACHE) -> None:
        self._most = most
        self._size = 0
        self._pages: OrderedDict[str, Cached] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, url: str, max_age: float, now: float) -> Cached | None:
        """A page that is no older than so many seconds."""
        with self._lock:
            found = self._pages.get(url)
            if found is None or now - found.at > max_age:
                return None
            self._pages.move_to_end(url)
            return found

    def keep(self, url: str, step: Step, now: float) -> None:
        """Keep a page, unless its site forbids it (no-store) or it is no page."""
        response = step.response
        if response is None or response.status != 200 or _size(response) > self._most // 8:
            return
        if "no-store" in response.headers.get("cache-control", "").lower():
            return
        with self._lock:
            self._drop(url)
            self._pages[url] = Cached(step, now)
            self._size += _size(response)
            while self._size > self._most:
                self._drop(next(iter(self._pages)))

    def _drop(self, url: str) -> None:
        gone = self._pages.pop(url, None)
        if gone is not None and gone.step.response is not None:
            self._size -= _size(gone.step.response)


def _size(response: SiteResponse) -> int:
    """Bytes that a page holds, about: its body, its fields and the objects around them."""
    return (
        HELD
        + len(response.content)
        + sum(len(name) + len(text) for name, text in response.headers.items_all())
    )


class FetchApi:
    """The operation, with its cache and its quotas."""

    def __init__(self, fetches: Fetches, quotas: Quotas, wall: Callable[[], float]) -> None:
        self._fetches = fetches
        self._quotas = quotas
        self._wall = wall
        self._cache = Cache()
        self._parsing = asyncio.Semaphore(2)
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
            Param("max_age", age, "seconds: a copy that is no older will do", 0.0),
            Param("timeout", number, "seconds that you are ready to wait for its turn", TIMEOUT),
        )
        answers = {
            200: (("*/*",), "The page, with the site's own status, whatever that is."),
            403: ((PROBLEM,), "Its robots.txt (the line is named), your token or the address forbids it."),
            429: ((PROBLEM,), "The queue of its domain is full, or your quota is used up."),
            502: ((PROBLEM,), "The site cannot be reached, or blocks us; `blocked` says by what."),
            503: ((PROBLEM,), "Its turn comes later than timeout: see Retry-After, `rule` and `wait_s`."),
            504: ((PROBLEM,), "The site did not answer in time."),
        }
        told = "The page of a URL, politely."
        return [Operation("GET", "/fetch", "fetch", told, self.handle, answers, params, is_effective=True)]

    async def handle(self, call: Call) -> Response:
        """Answer one call."""
        query = call.query
        got = await self.page(call.caller, query["url"], query["max_age"], query["timeout"])
        self._served["fetched" if got.age is None else "cached"] += 1
        self._waited += got.waited
        wanted = call.query["format"]
        assert got.step.response is not None
        if wanted == "html":
            return _as_is(got)
        return await self.rendered(got, wanted)

    async def page(self, caller: Caller, given: str, max_age: float, timeout: float) -> Got:
        """The page of a URL; a Problem where there is none for this caller."""
        if max_age and (known := self._known(caller, given, max_age)) is not None:
            return known
        url = check_address(given)
        _check_domain(caller, url)
        await self._quotas.take(caller.token)
        try:
            return await self._fetched(caller, given, url, max_age, timeout)
        except Problem:
            self._served["refused"] += 1
            raise

    async def rendered(self, got: Got, wanted: str) -> Response:
        """A page as text, markdown or json."""
        async with self._parsing:
            return await asyncio.to_thread(_RENDERED[wanted], got)

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

    def _known(self, caller: Caller, given: str, max_age: float) -> Got | None:
        now = self._wall()
        found = self._cache.find(given, max_age, now)
        if found is None:
            return None
        for url in (given, found.step.url):
            _check_domain(caller, url)
        return Got(found.step, 0.0, max(0.0, now - found.at))

    async def _fetched(self, caller: Caller, given: str, url: str, max_age: float, timeout: float) -> Got:
        await self._fetches.open()
        began = self._fetches.clock.now()

        def is_fresh() -> Step | None:
            found = self._cache.find(given, max_age, self._wall()) if max_age else None
            return found.step if found is not None else None

        for _ in range(redirects.MAX_HOPS + 1):
            _check_domain(caller, url)
            step = checked(await self._fetches.hop(url, began + timeout, is_fresh))
            if (known := self._known(caller, given, max_age)) is not None and known.step is step:
                return known
            if not step.next_url:
                self._cache.keep(given, step, self._wall())
                return Got(step, max(0.0, step.sent_at - began))
            url = step.next_url
        raise Problem(502, f"{given[:200]} redirects more than {redirects.MAX_HOPS} times", "ask for its end")


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


# formats ----------------------------------------------------------------------------------------------------
def _as_is(got: Got) -> Response:
    response = got.step.response
    assert response is not None
    passed = {name: value for name in _PASSED_ON if (value := response.headers.get(name))}
    kept = {name: text for name, value in passed.items() if (text := _field(value))}
    headers = kept | _told(got) | {"Content-Security-Policy": _POLICY}
    made = Response(response.content if _has_body(response.status) else b"", response.status, headers)
    return made


def _has_body(status: int) -> bool:
    return status not in (204, 205, 304)


def _told(got: Got) -> dict[str, str]:
    """Our own header fields, each one line of printable ASCII."""
    step = got.step
    fields = {
        "Scraper-Waited": f"{got.waited:.3f}",
        "Scraper-Rule": step.pace.source if step.pace is not None else "",
        "Scraper-Cache": "miss" if got.age is None else f"hit; age={got.age:.0f}",
        "Scraper-Robots": step.robots,
        "Scraper-Final-Url": step.url,
        "Cache-Control": "no-store",
    }
    return {name: _field(value) for name, value in fields.items()}


def _field(value: str) -> str:
    return quote(value, safe=" !\"#$%&'()*+,/:;<=>?@[]^`{|}~")[:2000]


def _page(got: Got) -> Page:
    response = got.step.response
    assert response is not None
    if len(response.content) > MOST_TO_PARSE:
        raise Problem(502, f"the page has more than {MOST_TO_PARSE // 2**20} MiB", "take format=html")
    return Page(Request(got.step.url), response)


def _text(got: Got) -> Response:
    page = _page(got)
    text = page.text if _is_plain(page) else page.soup.get_text("\n", strip=True)
    return _made(got, text, "text/plain; charset=utf-8")


def _is_plain(page: Page) -> bool:
    kind = page.response.headers.get("content-type", "").lower()
    return bool(kind) and "html" not in kind


def _markdown(got: Got) -> Response:
    # Imported here: it is asked for seldom, and no part of an idle service.
    from markdownify import MarkdownConverter

    # Its short form of a link whose text is its target loses relative ones: "</a>" (1.2.3).
    page = _page(got)
    if _is_plain(page):
        return _made(got, page.text, "text/markdown; charset=utf-8")
    soup = page.soup
    for element in soup(["script", "style", "template", "noscript"]):
        element.decompose()
    try:
        text = MarkdownConverter(heading_style="ATX", autolinks=False).convert_soup(soup).strip()
    except RecursionError:
        raise Problem(502, "the elements of the page nest too deep", "take format=html or text") from None
    return _made(got, f"{text}\n", "text/markdown; charset=utf-8")


def _json(got: Got) -> Response:
    response = got.step.response
    assert response is not None
    kind = response.headers.get("content-type")
    encoding = encoding_of(response.content, kind)
    found = {
        "url": got.step.url,
        "status": response.status,
        "reason": HTTPStatus(response.status).phrase if response.status in set(HTTPStatus) else "",
        "headers": [list(line) for line in response.headers.items_all() if line[0].lower() != "set-cookie"],
        "encoding": encoding,
        "text": decode(response.content, encoding),
        "waited_s": round(got.waited, 3),
        "rule": got.step.pace.source if got.step.pace is not None else "",
        "robots": got.step.robots,
        "age_s": None if got.age is None else round(got.age),
    }
    return _made(got, json.dumps(found, ensure_ascii=False), "application/json")


def _made(got: Got, text: str, kind: str) -> Response:
    response = got.step.response
    assert response is not None
    if kind.startswith("text/"):
        text = _CONTROLS.sub("", text)
    body = text.encode("utf-8", "replace") if _has_body(response.status) else b""
    return Response(body, response.status, _told(got) | {"Content-Type": kind})


_RENDERED: Mapping[str, Callable[[Got], Response]] = {"text": _text, "markdown": _markdown, "json": _json}


def wall() -> float:
    """The moment, as people's clocks have it."""
    return SystemClock(0.0).wall()
