"""One table of what the service does: path, method, who may, parameters, answers. Routes, checks and the
OpenAPI document are made of it, so that none of them can differ from the others.
"""

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from scraper.model.frozen import frozen
from scraper.ops.printable import escaped
from scraper.service.access import Caller
from scraper.service.problems import Problem
from scraper.settings import values

PUBLIC = ""
"""The scope of what needs none."""

_TRUE, _FALSE = ("true", "1"), ("false", "0")


@frozen
class Param:
    """A parameter of the query, or a header field; `schema` (JSON Schema) says what it may be."""

    name: str
    schema: Mapping[str, Any]
    told: str
    default: Any = None
    is_required: bool = False
    is_header: bool = False

    def read(self, text: str | None) -> Any:
        """The value of a text; Problem 400 says what was expected."""
        if text is None:
            if self.is_required:
                raise Problem(400, f"{self.name} is missing", self.told, parameter=self.name)
            return self.default
        kind = self.schema["type"]
        if kind == "integer":
            return self._integer(text)
        if kind == "number":
            return self._number(text)
        if kind == "boolean":
            if text not in (*_TRUE, *_FALSE):
                raise self._wrong("true or false")
            return text in _TRUE
        return self._text(text)

    def _integer(self, text: str) -> int:
        low, high = self.schema.get("minimum", 0), self.schema.get("maximum", 10**9)
        if not re.fullmatch(r"-?[0-9]{1,12}", text, re.ASCII) or not low <= int(text) <= high:
            raise self._wrong(f"a whole number from {low} to {high}")
        return int(text)

    def _number(self, text: str) -> float:
        low, high = self.schema.get("minimum", 0), self.schema.get("maximum", 10**9)
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text, re.ASCII) or not low <= float(text) <= high:
            raise self._wrong(f"a number from {low} to {high}")
        return float(text)

    def _text(self, text: str) -> str:
        if text not in self.schema.get("enum", (text,)):
            raise self._wrong(f"one of {', '.join(self.schema['enum'])}")
        if len(text) > self.schema.get("maxLength", 4000):
            raise self._wrong(f"at most {self.schema.get('maxLength', 4000)} characters")
        pattern = self.schema.get("pattern")
        if pattern and not re.search(pattern, text, re.ASCII):
            raise self._wrong(self.schema.get("description", self.told))
        return text

    def _wrong(self, expected: str) -> Problem:
        return Problem(400, f"{self.name}: expected {expected}", self.told, parameter=self.name)


@frozen
class Call:
    """One request to an operation: `path` and `query` by name, `body` where the operation takes one."""

    request: Request
    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, Any]
    body: Any = None


@frozen
class Operation:
    """A method of a path. `answers`: its statuses, each with its media types and what it means.

    `scope`: what a token must allow. `body`: the JSON Schema of what is sent. `is_effective`: it changes
    something or sends requests, so that no other web page may have a browser call it. `is_page`: a browser
    asks for it, and gets its errors as pages. `is_foreign`: what it speaks is described elsewhere.
    """

    method: str
    path: str
    scope: str
    told: str
    handle: Callable[[Call], Awaitable[Response]]
    answers: Mapping[int, tuple[tuple[str, ...], str]]
    params: tuple[Param, ...] = ()
    body: Mapping[str, Any] | None = None
    is_effective: bool = False
    is_page: bool = False
    is_foreign: bool = False
    path_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def read_query(self, request: Request) -> dict[str, Any]:
        """The values of the parameters; Problem 400 for one that is wrong, unknown or given twice."""
        known = {param.name: param for param in self.params if not param.is_header}
        given: dict[str, str] = {}
        for name, text in request.query_params.multi_items():
            if name not in known:
                near = values.nearest(name, known)
                there = f"did you mean {near}?" if near else f"known are {', '.join(known) or 'none'}"
                raise Problem(400, f"there is no parameter {name[:60]!r}", there, parameter=name[:60])
            if name in given:
                raise Problem(400, f"{name} is given twice", "give it once", parameter=name)
            given[name] = text
        found = {name: param.read(given.get(name)) for name, param in known.items()}
        headers = [param for param in self.params if param.is_header]
        return found | {param.name: param.read(request.headers.get(param.name)) for param in headers}

    def check_path(self, found: Mapping[str, str]) -> None:
        """Problem 404 for a name that nothing can have."""
        for name, text in found.items():
            pattern = self.path_params.get(name, {}).get("pattern")
            if pattern and not re.search(pattern, text, re.ASCII):
                raise Problem(
                    404, f"{text[:80]!r} is no name of a {name}", "GET /runs and /spiders list them"
                )


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A value as JSON; figures that JSON does not know are null."""
    body = json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))
    return Response(
        escaped(body).encode("utf-8", "replace"),
        status,
        {"Cache-Control": "private, no-cache"} | dict(headers or {}),
        "application/json",
    )
