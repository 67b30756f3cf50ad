"""What went wrong, as problem details (RFC 9457): what exactly, and what to do. Never a traceback."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from scraper.errors import ScraperError, StoreBusy, StoreError, UsageError
from scraper.ops.printable import json_text, printable_lines

MEDIA_TYPE = "application/problem+json"
LONGEST = 2_000


class Problem(Exception):
    """An answer that is an error. `hint`: what to do; `more`: further members; `headers`: of the answer."""

    def __init__(
        self,
        status: int,
        detail: str,
        hint: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.hint = hint
        self.headers = dict(headers or {})
        self.more = more

    def response(self) -> Response:
        """The problem as a response."""
        status = HTTPStatus(self.status)
        told = {"type": "about:blank", "title": status.phrase, "status": self.status}
        told |= {"detail": _line(self.detail)} | ({"hint": _line(self.hint)} if self.hint else {})
        body = json_text(told | self.more).encode("utf-8", "replace")
        headers = {"Cache-Control": "no-store"} | self.headers
        return Response(body, self.status, headers, MEDIA_TYPE)


def problem_of(error: ScraperError) -> Problem:
    """The problem that an error of the project is to a caller."""
    if isinstance(error, StoreBusy):
        return Problem(409, error.message, error.hint)
    if isinstance(error, StoreError):
        return Problem(503, error.message, error.hint, headers={"Retry-After": "5"})
    if isinstance(error, UsageError):
        return Problem(422, error.message, error.hint)
    return Problem(502, error.message, error.hint)


def _line(text: str) -> str:
    return printable_lines(text)[:LONGEST]
