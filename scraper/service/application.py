"""The service put together: a request passes host, caller, scope, origin and parameters, in this order."""

import asyncio
import json
import secrets
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from scraper.app.admin.tokens import Token, listed, matching
from scraper.errors import ScraperError
from scraper.ops.clock import monotonic
from scraper.ops.secrets import Redaction
from scraper.service.access import COOKIE, LONGEST_TOKEN, Access, Caller, check_origin, unauthorized
from scraper.service.openapi import document
from scraper.service.operations import PUBLIC, Call, Operation, json_response
from scraper.service.problems import Problem, problem_of
from scraper.service.reading import Reader
from scraper.store import Store

MOST_BODY = 64 * 1024
BODY_TIME = 10.0  # seconds that a caller may take to send one
STALL = 60.0  # seconds that a caller may take to read on
TOKENS_FOR = 1.0  # seconds that the tokens are believed: a revoked one ends that late
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "SAMEORIGIN",
}

Shown = Callable[[Request, Problem], Response]


class Gate:
    """Lets requests through to operations, and turns what goes wrong into problems."""

    def __init__(self, reader: Reader, access: Access) -> None:
        self._reader = reader
        self._access = access
        self._as_page: Shown | None = None
        self._tokens: Mapping[str, Token] = {}
        self._read_at = float("-inf")

    def endpoint(self, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
        """The endpoint of an operation."""

        async def answer(request: Request) -> Response:
            try:
                response = await self._pass(operation, request)
            except ClientDisconnect:
                response = Response(status_code=400)
            except Exception as error:
                response = self._failed(request, error, is_page=operation.is_page)
            return _with_headers(response)

        return answer

    async def refuse(self, request: Request, error: Exception) -> Response:
        """The answer to what no operation is there for; who is not known is not told even that."""
        try:
            self._access.check_host(request)
            if await self.caller_of(request) is None:
                raise unauthorized("this service asks for a token")
            status = error.status_code if isinstance(error, HTTPException) else 404
            told = f"{request.method} {request.url.path[:200]}: there is nothing"
            headers = getattr(error, "headers", None)
            raise Problem(status, told, "GET /openapi.json lists what there is", headers=headers)
        except Exception as problem:
            is_page = "text/html" in request.headers.get("accept", "")
            return _with_headers(self._failed(request, problem, is_page=is_page))

    async def caller_of(self, request: Request) -> Caller | None:
        """Who asks; None where nobody says so."""
        if "authorization" in request.headers or COOKIE in request.cookies:
            await self._refresh()
        return self._access.caller_of(request, self._tokens)

    async def is_valid(self, text: str) -> bool:
        """Whether a text is a token of ours."""
        self._read_at = float("-inf")
        await self._refresh()
        return matching(self._tokens, text[:LONGEST_TOKEN]) is not None

    def show_as(self, as_page: Shown) -> None:
        """Show problems to browsers by way of `as_page`."""
        self._as_page = as_page

    async def _refresh(self) -> None:
        now = monotonic()
        if now >= self._read_at + TOKENS_FOR:
            self._tokens = await self._reader.call(_tokens)
            self._read_at = now

    async def _pass(self, operation: Operation, request: Request) -> Response:
        self._access.check_host(request)
        caller = Caller(frozenset())
        if operation.scope != PUBLIC:
            caller = self._allowed(operation, await self.caller_of(request))
        elif operation.is_effective:
            caller = Caller(frozenset(), is_cookie=True)
        if operation.is_effective:
            check_origin(request, caller)
        operation.check_path(request.path_params)
        query = operation.read_query(request)
        body = await read_json(request) if operation.body is not None else None
        return await operation.handle(Call(request, caller, request.path_params, query, body))

    @staticmethod
    def _allowed(operation: Operation, caller: Caller | None) -> Caller:
        if caller is None:
            raise unauthorized("this service asks for a token")
        if operation.scope not in caller.scopes:
            hint = f"make one with `python -m scraper token add NAME --scope {operation.scope}`"
            raise Problem(403, f"this token does not allow {operation.scope}", hint)
        return caller

    def _failed(self, request: Request, error: Exception, *, is_page: bool = False) -> Response:
        if isinstance(error, ScraperError):
            error = problem_of(error)
        if not isinstance(error, Problem):
            error = _surprise(error)
        if is_page and self._as_page is not None:
            return self._as_page(request, error)
        return error.response()


def application(
    gate: Gate, operations: Iterable[Operation], extra: Iterable[Any] = (), lifespan: Any = None
) -> Starlette:
    """The ASGI application of a table of operations, and its OpenAPI document."""
    known = list(operations)
    described = [one for one in known if not (one.is_page or one.is_foreign)]
    openapi = Operation(
        "GET",
        "/openapi.json",
        "read",
        "This document.",
        _nothing,
        {200: (("application/json",), "OpenAPI 3.1.")},
    )
    text = document([*described, openapi])

    async def show(call: Call) -> Response:
        return json_response(text)

    known.append(Operation("GET", "/openapi.json", "read", openapi.told, show, openapi.answers))
    routes = [Route(one.path, gate.endpoint(one), methods=[one.method]) for one in known]
    app = Starlette(
        routes=[*_merged(routes), *extra],
        exception_handlers={404: gate.refuse, 405: gate.refuse},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.add_middleware(Patience)
    return app


def _merged(routes: list[Route]) -> list[Route]:
    """One route a path: else a wrong method of the first would hide the second's."""
    by_path: dict[str, dict[str, Any]] = {}
    for route in routes:
        for method in route.methods or ():
            by_path.setdefault(route.path, {})[method] = route.endpoint
    return [Route(path, _by_method(methods), methods=list(methods)) for path, methods in by_path.items()]


def _by_method(methods: Mapping[str, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        response: Response = await methods[request.method](request)
        return response

    return answer


async def _nothing(call: Call) -> Response:
    raise AssertionError("replaced")


class Patience:
    """Lets go of a caller who does not read on."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_in_time(message: Any) -> None:
            if not message.get("more_body"):
                await send(message)
                return
            async with asyncio.timeout(STALL):
                await send(message)

        try:
            await self._app(scope, receive, send_in_time if scope["type"] == "http" else send)
        except (TimeoutError, ClientDisconnect):
            # Starlette makes the second of the first, an OSError. The connection ends with the request.
            pass


async def read_json(request: Request) -> Any:
    """The body of a request, bounded in size and time; a Problem says what is wrong with it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(
            415, f"the body is {kind[:60] or 'of no type'}", "send it as Content-Type: application/json"
        )
    try:
        return json.loads(await read_body(request), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(400, f"the body is no JSON: {str(error)[:200]}") from None


async def read_body(request: Request) -> bytes:
    """What a request sends, bounded in size and time; Problem 408 or 413."""
    content = bytearray()
    try:
        async with asyncio.timeout(BODY_TIME):
            async for block in request.stream():
                content += block
                if len(content) > MOST_BODY:
                    raise Problem(413, f"the body is longer than {MOST_BODY // 1024} KiB", headers=_CLOSE)
    except TimeoutError:
        raise Problem(
            408, f"the body took longer than {BODY_TIME:g} s", "send it at once", headers=_CLOSE
        ) from None
    return bytes(content)


_CLOSE = {"Connection": "close"}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _tokens(store: Store) -> dict[str, Token]:
    return {one.id: one for one in listed(store)}


def _surprise(error: Exception) -> Problem:
    """An error that nobody foresaw: told to the operator in full, and to the caller by a name alone."""
    name = secrets.token_hex(4)
    text = Redaction()("".join(traceback.format_exception(error)).rstrip())
    print(f"error {name}: {text}", file=sys.stderr, flush=True)
    return Problem(
        500, f"something went wrong here: error {name}", "the output of the service has it in full"
    )


def _with_headers(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
