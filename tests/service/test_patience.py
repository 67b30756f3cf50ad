"""How long a caller may take to send and to read, with bounds short enough to be waited for."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import StreamingResponse

from scraper.service import application, server
from scraper.service.application import Patience, read_json
from scraper.service.pages import _form_value
from scraper.service.problems import Problem
from scraper.service.project import Done, Project

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def over_sockets(talk: Callable[[int], Awaitable[None]]) -> None:
    """Run a conversation with a server on a free port."""

    async def whole() -> None:
        config = uvicorn.Config(hello, http=server.Protocol, ws="none", lifespan="off", log_level="error")
        config.load()
        state = uvicorn.server.ServerState()
        loop = asyncio.get_running_loop()
        made = await loop.create_server(
            lambda: server.Protocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
        )
        async with made, asyncio.timeout(20):
            await talk(made.sockets[0].getsockname()[1])

    asyncio.run(whole())


def test_a_request_whose_head_does_not_end_is_let_go_also_on_a_connection_in_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "REQUEST_TIME", 0.3)

    async def talk(port: int) -> None:
        for before in (b"", GET):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if before:
                writer.write(before)
                assert b"ok" in await reader.readuntil(b"ok")
            writer.write(b"GET / HTTP/1.1\r\nHo")
            assert await reader.read() == b"", "closed, without an answer"
            writer.close()

    over_sockets(talk)


def test_connections_are_bounded_and_one_too_many_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 3)

    async def talk(port: int) -> None:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ") and json.loads(body)["hint"]
        for _, each in [*held, (reader, writer)]:
            each.close()

    over_sockets(talk)


def request(receive: Any) -> Request:
    headers = [(b"content-type", b"application/json")]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("read", [read_json, partial(_form_value, name="token")])
def test_a_body_that_does_not_end_is_a_problem_after_a_while(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[Request], Awaitable[object]]
) -> None:
    monkeypatch.setattr(application, "BODY_TIME", 0.1)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"[", "more_body": True}

    with pytest.raises(Problem) as raised:
        asyncio.run(read(request(receive)))  # type: ignore[arg-type]
    assert raised.value.status == 408 and raised.value.headers == {"Connection": "close"}


def test_a_caller_who_does_not_read_on_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "STALL", 0.1)
    ended = []

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            ended.append(True)

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.sleep(60)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def whole() -> None:
        app = Patience(StreamingResponse(endless()))
        async with asyncio.timeout(10):
            await app({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)

    asyncio.run(whole())
    assert ended == [True]


def test_commands_that_take_long_leave_fetches_their_threads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    is_free = threading.Event()

    def run(self: Project, words: object, timeout: float) -> Done:
        is_free.wait(20)
        return Done(0, "", "")

    monkeypatch.setattr(Project, "_run", run)

    async def ask() -> None:
        project = Project(tmp_path, tmp_path, None)
        running = [asyncio.create_task(project.run("explain")) for _ in range(50)]
        await asyncio.sleep(0)
        try:
            await asyncio.wait_for(asyncio.to_thread(int), 5)
        finally:
            is_free.set()
        await asyncio.gather(*running)

    asyncio.run(ask())
