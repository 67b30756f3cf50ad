"""The engine's way over a session: one request, one answer, nothing that a site can do raises."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests

from scraper.errors import FetchError, StoreError, UsageError
from scraper.http.body import Body, codings_of
from scraper.http.connection import CONNECT_AHEAD
from scraper.http.download import Download, FileBody
from scraper.http.exchange_limits import Limiter, current, within
from scraper.http.failures import translate
from scraper.http.host_settings import lay_over, lines_of
from scraper.http.http1 import Http1Exchange
from scraper.http.origin_settings import OriginSettings, no_auth, without_session_params
from scraper.http.response_stream import CHUNK
from scraper.http.session import DomainSession
from scraper.http.tls import Cert, Verify
from scraper.model import Exchange, Headers, Response
from scraper.model.frozen import frozen, slotted
from scraper.ops.clock import monotonic
from scraper.politeness.rate_limiter import LoadsLimiter, RateLimiter

MOST_COOKIES = 200  # of one answer; more than a domain may keep
_LONGEST = 86_400.0  # seconds more for a file that somebody else reads from the socket
_LIMITERS = (RateLimiter, LoadsLimiter)
LOOK_SOON = 0.02  # seconds until it looks again whether another's first byte has come
LOOK_AGAIN = 1.0  # seconds that a batch waits for its slot before it looks whether it is still wanted


@frozen
class Answer:
    """One exchange: a response or the error that took its place; `was_idle`: a kept connection broke."""

    exchange: Exchange
    response: Response | None = None
    error: FetchError | None = None
    was_idle: bool = False


@slotted
class Asked:
    """A request on its way: `begun` on the clock's line, over `http1` or answered to `requests` as `raw`.

    `deadline`: when the exchange has to be over, on this process's own line. `first_byte_at`: 0 until then.
    """

    url: str
    begun: float
    limiter: Limiter | None
    http1: Http1Exchange | None = None
    raw: Any = None
    failure: Exception | None = None
    deadline: float = 0.0
    first_byte_at: float = 0.0
    is_reused: bool = False
    most: int | None = None
    download: Download | None = None

    def answered(self, now: float) -> None:
        """Note the first byte of the answer: the domain's next slot counts from it."""
        self.first_byte_at = now
        # An ordinary adapter has told the rate limiter itself.
        if self.limiter is not None and self.http1 is not None:
            self.limiter.answered()

    def end(self) -> None:
        """Give the connection back, and let go of what went to disk."""
        if self.http1 is not None:
            self.http1.end()
        if self.download is not None:
            self.download.close()


@frozen
class Until:
    """The domain's slot has not come; `moment`, on the clock's line, is when to look again."""

    moment: float


@frozen
class Blocks:
    """What comes next may take long: a connection to open, a login, an answer that cannot be watched."""


@frozen
class Later:
    """Something outside has to happen first: `tell` calls back once it has, now or on any thread."""

    tell: Callable[[Callable[[], None]], None]


BLOCKS = Blocks()
Wait = Until | Blocks | Asked | Later
"""What stands between two steps of a request: its slot, something that takes long, its answer, a browser."""


def exchange(
    session: DomainSession,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    **how: Any,
) -> Answer:
    """One request, one answer, no redirect followed. Nothing that a site can do raises.

    The keywords are those of `ask`.
    """
    return hear(session, ask(session, method, url, headers, body, **how))


def hindrance(session: DomainSession, url: str, *, is_load: bool = False) -> Until | Blocks | None:
    """What a request to a URL would have to wait for; None where it can be sent at once.

    `is_load`: it is one of a rendered page.
    """
    try:
        origin_settings = session.origin_settings(url)
        limiter = _limiter(session, origin_settings, url, is_load=is_load)
        now = session.clock.now()
        if isinstance(limiter, _LIMITERS) and limiter.is_in_flight:
            return Until(now + LOOK_SOON)
        ahead = min(max(0.0, limiter.due - now), CONNECT_AHEAD) if limiter is not None else 0.0
        if _is_ordinary(session, origin_settings, url):
            return BLOCKS
        route = _route(session, origin_settings, url)
        if (doubt := session.adapter.doubt(*route)) > ahead:
            return Until(now + doubt)
        if not session.adapter.is_open(*route, ahead):
            return BLOCKS
    except Exception:
        return BLOCKS  # asking tells what is wrong
    return Until(min(limiter.due, now + LOOK_AGAIN)) if limiter is not None and limiter.due > now else None


def clear(
    session: DomainSession, url: str, goes_on: Callable[[], bool], *, is_load: bool = False
) -> Iterator[Wait]:
    """What to wait for until a request to a URL can be sent, or until it is not to be."""
    while (wait := hindrance(session, url, is_load=is_load)) is not None:
        yield wait
        if wait is BLOCKS or not goes_on():
            return


def ask(
    session: DomainSession,
    method: str,
    url: str,
    headers: Mapping[str, str | None] | None = None,
    body: bytes | None = None,
    *,
    most: int | None = None,
    download: Download | None = None,
    is_load: bool = False,
    is_foreign: bool = False,
) -> Asked:
    """Send a request; `hear` must follow before the session sends the next, on whichever thread.

    `most`: bytes of the body that are wanted, what is beyond them is left unread; `download`: what takes a
    body that is a file. `is_load`: a rendered page asks for it, and its browser says which cookies go along;
    `is_foreign`: a page of another site, so that no credentials of ours do.
    """
    asked = Asked(url, session.clock.now(), session.limiter, most=most, download=download)
    try:
        origin_settings = session.origin_settings(url)
        asked.limiter = _limiter(session, origin_settings, url, is_load=is_load)
        within(4 * session.timeout[1], session.max_body, asked.limiter, session.meter, session.reach)
        is_ordinary = _is_ordinary(session, origin_settings, url)
        if is_foreign:
            origin_settings = origin_settings.for_foreigners()
        if is_load:
            headers = _with_browsers_cookies(session, origin_settings, headers or {})
        if is_ordinary:
            if download is not None:
                current.deadline += _LONGEST
            asked.raw = _open_ordinarily(session, origin_settings, method, url, headers, body)
        else:
            asked.http1 = _send(session, origin_settings, method, url, headers, body, asked)
    except Exception as error:
        asked.failure = error
    asked.is_reused = current.is_reused
    asked.begun += current.waited  # a wait for our slot is not the server's doing
    asked.deadline = current.deadline - (_LONGEST if download and asked.raw is not None else 0.0)
    return asked


def hear(session: DomainSession, asked: Asked) -> Answer:
    """Read the answer to what was asked; waits for what has not come yet."""
    response = lack = None
    error = _told(session, asked.failure) if asked.failure is not None else None
    try:
        if error is None:
            if asked.http1 is None:
                response = _read_ordinarily(session, asked)
            else:
                response = _read(session, asked, asked.http1)
    except (StoreError, UsageError) as failure:
        lack = failure  # a file that cannot be written here is nothing that a site did
    except Exception as raised:
        error = _told(session, raised)
    if response is None and asked.limiter is not None:
        asked.limiter.failed()
    asked.end()
    if lack is not None:
        raise lack
    ended = session.clock.now()
    exchange = Exchange(
        sent_at=asked.begun,
        first_byte_at=asked.first_byte_at or ended,
        ended_at=ended,
        status=response.status if response else 0,
        size=(len(response.content) if response else 0) + (asked.download.received if asked.download else 0),
    )
    is_unanswered = not asked.first_byte_at or (asked.http1 is not None and asked.http1.is_stale)
    return Answer(exchange, response, error, was_idle=asked.is_reused and is_unanswered)


def _told(session: DomainSession, error: Exception) -> FetchError:
    """An error in our words, without what a site or a proxy echoes of our secrets: it is kept and shown."""
    found = translate(error)
    if (text := session.redaction(found.message)) != found.message:
        found = type(found)(text, found.hint)
    return found


def _limiter(
    session: DomainSession, origin_settings: OriginSettings, url: str, *, is_load: bool
) -> Limiter | None:
    limiter = session.limiter if origin_settings.is_home else session.limiter_of(url)
    own = session.render_delay if is_load else None
    if own is None or not isinstance(limiter, RateLimiter):
        return limiter
    return LoadsLimiter(limiter, *own)


def _is_ordinary(session: DomainSession, origin_settings: OriginSettings, url: str) -> bool:
    """Whether only the way of `requests` knows what this takes."""
    if session.auth or origin_settings.needs_more or session.hooks["response"]:
        return True
    # Mostly there is no other, and no need to look for the one of this URL.
    for adapter in session.adapters.values():
        if adapter is not session.adapter:
            return requests.Session.get_adapter(session, url) is not session.adapter
    return False


def _route(session: DomainSession, origin_settings: OriginSettings, url: str) -> tuple[str, Verify, Cert]:
    """What tells one connection from another."""
    return url[: url.find("/", 8)], origin_settings.verify, session.cert if origin_settings.is_own else None


def _send(
    session: DomainSession,
    origin_settings: OriginSettings,
    method: str,
    url: str,
    headers: Mapping[str, str | None] | None,
    body: bytes | None,
    asked: Asked,
) -> Http1Exchange:
    # `requests` spends 250 us a page on preparing what never changes within a session, and the pool of
    # urllib3 60 us on what a single connection does not need.
    lines: dict[str, Any] = dict(lines_of(session.headers))
    if not origin_settings.is_own:
        lines = {name: value for name, value in lines.items() if name.lower() in session.identity}
    lay_over(lines, origin_settings.lines)
    if headers:
        lay_over(lines, headers)
    if session.cookies and (cookie := session.cookies.header_for(url, session.clock.wall())):
        lines.setdefault("Cookie", cookie)
    origin, verify, cert = _route(session, origin_settings, url)
    http1 = Http1Exchange(session.adapter.pool(origin, verify, cert), method)
    is_cut = asked.most is not None
    limit = session.max_body if asked.most is None else asked.most
    try:
        target = url[len(origin) :].partition("#")[0]
        http1.send(target, lines, body, session.timeout[0], limit, is_cut=is_cut, download=asked.download)
    except BaseException as error:
        http1.abort(error)
        raise
    return http1


def _with_browsers_cookies(
    session: DomainSession, origin_settings: OriginSettings, headers: Mapping[str, str | None]
) -> dict[str, str | None]:
    lines = {name: value for name, value in headers.items() if name.lower() != "cookie"}
    cookies = next((value for name, value in headers.items() if name.lower() == "cookie"), None)
    if cookies and not origin_settings.is_own:
        cookies = session.cookies.without_hand_set(cookies)
    if not cookies and origin_settings.is_own and "Cookie" in session.headers:
        return lines  # somebody's own field, which no browser knows of
    return {**lines, "Cookie": cookies or None}


def _open_ordinarily(
    session: DomainSession,
    origin_settings: OriginSettings,
    method: str,
    url: str,
    headers: Mapping[str, str | None] | None,
    body: bytes | None,
) -> Any:
    is_own = origin_settings.is_own
    # Else `requests` would look into ~/.netrc, which speaks of nothing that a run was told.
    auth = None if session.auth and is_own else origin_settings.digest or no_auth
    lines: dict[str, str | None] = {}
    params = None
    if not is_own:
        meant = {*session.identity, *(name.lower() for name in origin_settings.lines)}
        known = (*session.headers, *session.origin_settings(url).lines)
        lines = {name: None for name in known if name.lower() not in meant}
        params = without_session_params(session.params, None)
    lay_over(lines, headers or {})
    request = requests.Request(method, url, headers=lines, data=body, params=params, auth=auth)
    settings = session.merge_environment_settings(url, {}, True, None, None)
    settings["stream"] = True
    if not is_own:
        settings["cert"] = None
    answer = requests.Session.send(
        session, session.prepare_request(request), allow_redirects=False, timeout=session.timeout, **settings
    )
    return answer.raw


def _read(session: DomainSession, asked: Asked, http1: Http1Exchange) -> Response:
    http1.wait(session.timeout[1], asked.deadline)
    now = session.clock.now()
    if http1.has_begun and not asked.first_byte_at:
        asked.answered(now)
    if http1.head is not None and (cookies := http1.head.headers.getall("set-cookie")):
        session.cookies.store(cookies[-MOST_COOKIES:], asked.url, session.clock.wall())
    content = http1.content()
    assert http1.head is not None  # without one there is an error
    elapsed = asked.first_byte_at - asked.begun
    head = http1.head
    return Response(asked.url, head.status, head.headers, content, session.clock.wall(), elapsed)


def _read_ordinarily(session: DomainSession, asked: Asked) -> Response:
    raw = asked.raw
    within(asked.deadline - monotonic() if asked.download is None else _LONGEST, session.max_body)
    asked.answered(session.clock.now())
    headers = Headers(raw.headers.items())
    limit = session.max_body if asked.most is None else asked.most
    codings = codings_of(headers.get("content-encoding", ""))
    body: Body | FileBody | None = None
    try:
        if asked.download is not None:
            body = asked.download.body(asked.url, raw.status, headers, codings)
        body = body or Body(codings, limit, is_cut=asked.most is not None)
        read = raw.read if asked.download is None else raw.read1
        while not body.is_full and (data := read(CHUNK, decode_content=False)):
            body.write(data)
            if monotonic() > asked.deadline + body.grace:
                raise TimeoutError("the exchange's deadline has passed")
        content = body.finish(is_framed=raw.chunked or "content-length" in headers)
    except BaseException:
        raw.close()  # what is left of the answer must not stand before the next one
        raise
    if body.is_full:
        raw.close()
    raw.release_conn()
    elapsed = asked.first_byte_at - asked.begun
    return Response(asked.url, raw.status, headers, content, session.clock.wall(), elapsed)
