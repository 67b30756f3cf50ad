"""The engine's way over a session: one request, one answer, nothing that a site can do raises."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from scraper import wire
from scraper.body import read_body
from scraper.errors import FetchError
from scraper.model import Exchange, Headers, Response
from scraper.session import DomainSession, Place
from scraper.terms import lay_over
from scraper.trouble import translate


@dataclass(frozen=True, slots=True)
class Answer:
    """One exchange: a response or the error that took its place; `was_idle`: a kept connection broke."""

    exchange: Exchange
    response: Response | None = None
    error: FetchError | None = None
    was_idle: bool = False


@dataclass(slots=True)
class Asked:
    """A request on its way: `begun` on the clock's line, over a `line` of ours or answered as `raw`."""

    url: str
    begun: float
    connects: int
    gate: wire.Gate | None
    line: wire.Line | None = None
    raw: Any = None
    trouble: Exception | None = None
    is_reused: bool = False
    most: int | None = None


def exchange(
    session: DomainSession,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    *,
    most: int | None = None,
) -> Answer:
    """One request, one answer, no redirect followed. Nothing that a site can do raises.

    `most`: bytes of the body that are wanted; what is beyond them is left unread.
    """
    asked = ask(session, method, url, headers, body)
    asked.most = most
    return hear(session, asked)


def ask(
    session: DomainSession,
    method: str,
    url: str,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Asked:
    """Send a request; `hear` must follow on the same thread before the next is sent."""
    asked = Asked(url, session.clock.now(), wire.current.connects, session.gate)
    try:
        place = session.place(url)
        asked.gate = session.gate if place.is_home else session.gate_of(url)
        wire.within(4 * session.timeout[1], session.max_body, asked.gate, session.meter)
        if _is_ordinary(session, place, url):
            asked.raw = _open_ordinarily(session, method, url, headers, body)
        else:
            asked.line = _send_line(session, place, method, url, headers, body)
    except Exception as trouble:
        asked.trouble = trouble
    asked.is_reused = wire.current.is_reused
    asked.begun += wire.current.waited  # a wait for our slot is not the server's doing
    return asked


def await_answer(session: DomainSession, asked: Asked) -> None:
    """Wait until the answer begins to arrive, or its time is over; `hear` tells what became of it."""
    if asked.line is not None:
        asked.line.wait(session.timeout[1])


def hear(session: DomainSession, asked: Asked) -> Answer:
    """Read the answer to what was asked."""
    answered = 0.0
    response = None
    error = translate(asked.trouble) if asked.trouble is not None else None
    try:
        if error is None:
            wire.within(4 * session.timeout[1], session.max_body, asked.gate, session.meter)
            raw = asked.raw if asked.line is None else asked.line.answer(session.timeout[1])
            answered = session.clock.now()
            response = _read(session, raw, asked, answered - asked.begun)
    except Exception as trouble:
        error = translate(trouble)
    if not answered and asked.gate is not None:
        asked.gate.failed()
    if asked.line is not None:
        is_whole = response is not None and (asked.most is None or len(response.content) < asked.most)
        asked.line.end(is_whole=is_whole)
    ended = session.clock.now()
    exchange = Exchange(
        sent_at=asked.begun,
        first_byte_at=answered or ended,
        ended_at=ended,
        status=response.status if response else 0,
        size=len(response.content) if response else 0,
        connected=wire.current.connects > asked.connects,
    )
    return Answer(exchange, response, error, was_idle=asked.is_reused and not answered)


def _is_ordinary(session: DomainSession, place: Place, url: str) -> bool:
    """Whether only the way of `requests` knows what this takes."""
    is_plain = not (session.auth or place.needs_more or session.hooks["response"])
    return not is_plain or requests.Session.get_adapter(session, url) is not session.wire


def _send_line(
    session: DomainSession,
    place: Place,
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    body: bytes | None,
) -> wire.Line:
    # `requests` spends 250 us a page on preparing what never changes within a session, and the pool of
    # urllib3 60 us on what a single connection does not need.
    end = url.find("/", 8)
    lines: dict[str, Any] = dict(session.headers)
    if not place.is_home:
        lines = {name: value for name, value in lines.items() if name.lower() in session.identity}
    lay_over(lines, place.lines)
    if headers:
        lay_over(lines, headers)
    if session.cookies and (cookie := session.cookies.header_for(url, session.clock.wall())):
        lines.setdefault("Cookie", cookie)
    line = wire.Line(session.wire.pool(url[:end], place.verify, session.cert if place.is_home else None))
    try:
        line.send(method, url[end:], lines, body, session.timeout[0])
    except BaseException:
        line.end(is_whole=False)
        raise
    return line


def _open_ordinarily(
    session: DomainSession, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
) -> Any:
    request = requests.Request(method, url, headers=dict(headers or {}), data=body)
    settings = session.merge_environment_settings(url, {}, True, None, None)
    settings["stream"] = True
    answer = requests.Session.send(
        session, session.prepare_request(request), allow_redirects=False, timeout=session.timeout, **settings
    )
    return answer.raw


def _read(session: DomainSession, raw: Any, asked: Asked, elapsed: float) -> Response:
    headers = Headers(raw.headers.items())
    if asked.line is not None and (cookies := headers.getall("set-cookie")):
        session.cookies.store(cookies, asked.url, session.clock.wall())
    try:
        is_cut = asked.most is not None
        limit = session.max_body if asked.most is None else asked.most
        content = read_body(raw, headers.get("content-encoding", ""), limit, is_cut=is_cut)
    except BaseException:
        raw.close()  # what is left of the answer must not stand before the next one
        raise
    if asked.most is not None and len(content) >= asked.most:
        raw.close()
    raw.release_conn()
    return Response(asked.url, raw.status, headers, content, session.clock.wall(), elapsed)
