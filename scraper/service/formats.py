"""The page of a URL in the format that its caller wants."""

import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from starlette.responses import Response

from scraper.app.one_url.step import Step
from scraper.model import Loaded, Request
from scraper.model.frozen import frozen
from scraper.ops.printable import json_text
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.page import Page
from scraper.service.problems import Problem

FORMATS = ("html", "text", "markdown", "json")
MOST_TO_PARSE = 4 * 2**20
_PASSED_ON = ("content-type", "content-language", "etag", "last-modified", "retry-after")
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


def as_is(got: Got) -> Response:
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
    if step.response is not None and (rendered := step.response.rendered) is not None:
        sent = sum(one.sent_at > 0 for one in rendered.loads)
        refused = sum(bool(one.reason) for one in rendered.loads)
        fields["Scraper-Rendered"] = f"requests={sent}, refused={refused}"
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
    from scraper.service.markdown import markdown_of

    page = _page(got)
    if _is_plain(page):
        return _made(got, page.text, "text/markdown; charset=utf-8")
    try:
        return _made(got, markdown_of(page.soup), "text/markdown; charset=utf-8")
    except RecursionError:
        raise Problem(502, "the elements of the page nest too deep", "take format=html or text") from None


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
    if response.rendered is not None:
        found["requests"] = [_load(one) for one in response.rendered.loads]
    return _made(got, json_text(found), "application/json")


def _load(one: Loaded) -> dict[str, Any]:
    """A request of a rendered page, in words."""
    told = {"method": one.method, "url": one.url, "kind": one.kind, "status": one.status or None}
    told |= {"type": one.type, "is_sent": one.sent_at > 0}
    return told | ({"reason": one.reason} if one.reason else {})


def _made(got: Got, text: str, kind: str) -> Response:
    response = got.step.response
    assert response is not None
    if kind.startswith("text/"):
        text = _CONTROLS.sub("", text)
    body = text.encode("utf-8", "replace") if _has_body(response.status) else b""
    return Response(body, response.status, _told(got) | {"Content-Type": kind})


FORMATTED: Mapping[str, Callable[[Got], Response]] = {"text": _text, "markdown": _markdown, "json": _json}
