"""Converts between the browser's values (`browser.tasks`) and those of the model: tasks, loads, pages."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scraper.browser.tasks import PageRequest, RenderResult, Task
from scraper.http.session import DomainSession
from scraper.model import Entry, Headers, Loaded, Render, Rendered, Request, Response
from scraper.runs.archive.request_keys import request_key
from scraper.urls import domain_of

_HTML = frozenset({"", "text/html", "application/xhtml+xml"})
# The session says who we are and what coding we read; the rest tells nothing that a server needs.
_NOT_SENT = frozenset(
    "user-agent accept-encoding accept-language host connection content-length priority "
    "upgrade-insecure-requests purpose dnt pragma cache-control".split()
)
# They speak of the document as it was sent.
_OF_THE_SOURCE = frozenset(
    "etag last-modified cache-control expires age content-type content-length content-encoding "
    "transfer-encoding refresh set-cookie set-cookie2".split()
)


def is_page(response: Response) -> bool:
    """Whether an answer is a document that a browser can make something of."""
    kind = str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
    return response.file is None and kind in _HTML and bool(response.content)


def task_of(
    session: DomainSession,
    entry: Entry,
    request: Request,
    response: Response,
    cookies: Sequence[Mapping[str, Any]],
) -> Task:
    """What the browser is given of a page."""
    return Task(
        entry.url,
        response.status,
        response.headers,
        response.content,
        request.render if isinstance(request.render, Render) else Render(),
        session.domain,
        str(session.headers.get("User-Agent", "")),
        cookies,
        session.storage.items,
    )


def headers_of(wanted: PageRequest) -> dict[str, str]:
    """The fields of a script's request that are its own."""
    return {
        name: value
        for name, value in wanted.headers.items()
        if name.lower() not in _NOT_SENT and not name.lower().startswith(("sec-", "proxy-", ":"))
    }


def key_of(wanted: PageRequest) -> tuple[object, ...]:
    """A request and who asks: after a login it is another."""
    sent = {name.lower(): value for name, value in wanted.headers.items()}
    who = sent.get("cookie", ""), sent.get("authorization", ""), is_foreign(wanted)
    return wanted.method, wanted.url, *who


def is_foreign(wanted: PageRequest) -> bool:
    """Whether a page or a frame of another site asks, which gets no credentials of ours.

    It could read what they open where that site lets all others read it. A page that leads on is no reader.
    """
    askers = [wanted.page]
    if wanted.kind != "document":
        askers += [value for name, value in wanted.headers.items() if name.lower() == "origin"]
    elif wanted.method == "GET":
        return False
    return any(_site_of(one) != _site_of(wanted.url) for one in askers)


def _site_of(url: str) -> tuple[str, str]:
    return url.partition("://")[0], domain_of(url)


def asked_of(wanted: PageRequest) -> bytes:
    """What the answer to a request is found by in an archive."""
    kind = next((value for name, value in wanted.headers.items() if name.lower() == "content-type"), "")
    return request_key(wanted.method, wanted.url, wanted.body or b"", kind)


def loaded_by(wanted: PageRequest, response: Response, *, is_cached: bool = False) -> Loaded:
    """What a request got."""
    return Loaded(
        wanted.url,
        wanted.kind,
        wanted.method,
        response.status,
        response.headers,
        response.content,
        is_cached=is_cached,
        file=response.file,
        asked=asked_of(wanted),
    )


def rendered(loads: Sequence[Loaded], drawn: RenderResult, response: Response, content: bytes) -> Response:
    """The page in the place of its plain answer: its document is not the one that was sent."""
    url = drawn.url.partition("#")[0]
    shown = [one for one in loads if one.kind == "document" and one.status]
    last = next((one for one in reversed(shown) if one.url == url), None)
    headers = last.headers if last is not None else response.headers
    lines = [line for line in headers.items_all() if line[0].lower() not in _OF_THE_SOURCE]
    source = last.content if last is not None else response.content
    plain = response if last is not None else None
    return replace(
        response,
        url=url or response.url,
        headers=Headers([*lines, ("Content-Type", "text/html; charset=utf-8")]),
        content=content,
        rendered=Rendered(source, headers, tuple(loads), drawn.screenshot, plain),
    )
