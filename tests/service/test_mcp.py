"""The tools for assistants, with the official client: over HTTP behind the gate, and as its child."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("mcp", reason="needs the MCP SDK: pip install mcp")

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from tests.project import Project, _environment
from tests.service.serving import SLOW, Served, new_project, serving
from tests.site import Site, page

TOOLS = {"list_spiders", "list_runs", "get_run", "get_records", "get_changes", "explain", "fetch"}
HIDDEN = "B\u202e\u200b\U000e0041C"
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    pages = {"/": page("/a", title="home"), "/a": page(title="A"), "/hidden": page(title=HIDDEN)}
    with Site(pages, host="127.0.0.7") as site:
        yield site


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Project:
    made = new_project(tmp_path_factory.mktemp("mcp"))
    (made.root / "scraper.toml").write_text('delay = 0\nreach = ["127.0.0.7"]\n')
    made.spider("shop", SLOW.format(name="Shop", url=site.url("/"), delay=0))
    assert made.run("run", "shop", "--quiet").code == 0
    return made


async def asked(session: ClientSession, name: str, **arguments: Any) -> dict[str, Any]:
    """What a tool gives; `error` has its words where it failed."""
    result = await session.call_tool(name, arguments)
    text = result.content[0].text  # type: ignore[union-attr]
    found: dict[str, Any] = {"error": text} if result.is_error else json.loads(text)
    return found


async def look_around(session: ClientSession, site: Site) -> None:
    await session.initialize()
    tools = {one.name: one for one in (await session.list_tools()).tools}
    assert set(tools) == TOOLS
    assert all(one.annotations is not None and one.annotations.read_only_hint for one in tools.values())
    assert tools["fetch"].input_schema["properties"]["render"]["enum"] == ["false", "true", "auto"]
    assert (await asked(session, "list_spiders"))["spiders"][0]["verdict"] == "OK"
    run_id = (await asked(session, "list_runs"))["runs"][0]["run_id"]
    told = await asked(session, "get_run", run=run_id)
    assert told["records"] == 2 and told["audit"][0]["breaches"] == 0
    first = await asked(session, "get_records", run="shop", limit=1)
    rest = await asked(session, "get_records", run="shop", cursor=first["next"])
    assert {one["title"] for one in first["records"] + rest["records"]} == {"home", "A"}
    assert len((await asked(session, "get_changes", run="shop"))["changes"]) == 2
    assert (await asked(session, "explain", url=site.url("/"), spider="shop"))["answer"].startswith("would")
    page_told = await asked(session, "fetch", url=site.url("/a"))
    assert page_told["status"] == 200 and "# A" in page_told["text"]
    hidden = (await asked(session, "fetch", url=site.url("/hidden")))["text"]
    assert "# B\N{REPLACEMENT CHARACTER}" in hidden and not set(HIDDEN[1:4]) & set(hidden)
    assert "there is no run" in (await asked(session, "get_run", run="../etc"))["error"]
    assert "none of ours" in (await asked(session, "get_records", run="shop", cursor="x"))["error"]
    assert "loopback" in (await asked(session, "fetch", url="http://127.0.0.1:1/"))["error"]
    assert "render" in (await asked(session, "fetch", url=site.url("/a"), render="#selector"))["error"]
    assert "no web address" in (await asked(session, "fetch", url="file:///etc/passwd"))["error"]


def in_time(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(whole())


def test_a_client_that_starts_the_command_speaks_through_its_pipe(project: Project, site: Site) -> None:
    started = StdioServerParameters(
        command=sys.executable,
        args=["-m", "scraper", "serve", "--mcp"],
        env=_environment(),
        cwd=str(project.root),
    )

    async def work() -> None:
        async with stdio_client(started) as (read, write), ClientSession(read, write) as session:
            await look_around(session, site)

    in_time(work)


@pytest.fixture(scope="module")
def served(project: Project) -> Iterator[Served]:
    with serving(project, "--mcp") as found:
        yield found
        assert not any("Traceback" in line for line in found.lines), "".join(found.lines)


def test_a_client_over_http_has_the_same_tools(served: Served, site: Site) -> None:
    async def work() -> None:
        async with (
            streamable_http_client(f"{served.url}/mcp") as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await look_around(session, site)

    in_time(work)


def test_the_gate_stands_before_it_and_a_token_s_scopes_hold_inside(project: Project, site: Site) -> None:
    token = project.run("token", "add", "reader", "--scope", "read").out.strip()
    with serving(project, "--mcp", "--require-token") as guarded:
        call = CALL | {"params": {"name": "fetch", "arguments": {"url": site.url("/")}}}
        assert guarded.post("/mcp", call, headers=HEADERS).status_code == 401
        own = HEADERS | {"Authorization": f"Bearer {token}"}
        assert "does not allow fetch" in guarded.post("/mcp", call, headers=own).text
        listed = CALL | {"params": {"name": "list_runs", "arguments": {}}}
        assert "run_id" in guarded.post("/mcp", listed, headers=own).text


def test_hostile_messages_are_answered_in_kind(served: Served) -> None:
    for body in (b"", b"{", b"[]", b'{"jsonrpc":"2.0","method":"x","id":1}', b"x" * 200_000):
        answer = served.ask("POST", "/mcp", data=body, headers=HEADERS)
        assert 200 <= answer.status_code < 500, body[:20]
    assert served.post("/mcp", CALL, headers=HEADERS | {"Origin": "https://evil.example"}).status_code == 403
    assert served.post("/mcp", CALL, headers=HEADERS | {"Host": "evil.example"}).status_code == 421
    assert served.get("/healthz").status_code == 200
