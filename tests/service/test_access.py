"""Who may ask the service for what: default deny over every route, tokens, hosts, other web pages."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from starlette.requests import Request

from scraper.app.admin import tokens
from scraper.errors import UsageError
from scraper.service.access import COOKIE, Access
from scraper.service.application import TOKENS_FOR
from scraper.store.memory import MemoryStore
from scraper.testing import FakeClock
from tests.hosts import until
from tests.project import Project
from tests.service.serving import Served, new_project, serving

PUBLIC = {("GET", "/healthz")}
SPIDER = "from scraper import Spider\nclass Shop(Spider):\n    start_urls = ['http://127.0.0.9:1/']\n"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = new_project(tmp_path_factory.mktemp("access"))
    made.spider("shop", SPIDER)
    return made


@pytest.fixture(scope="module")
def keys(project: Project) -> dict[str, str]:
    made = {}
    for scope in ("read", "run", "fetch"):
        done = project.run("token", "add", f"{scope}er", "--scope", scope)
        made[scope] = done.out.strip()
    return made


@pytest.fixture(scope="module")
def guarded(project: Project, keys: dict[str, str]) -> Iterator[Served]:
    with serving(project, "--require-token") as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def routes(guarded: Served, keys: dict[str, str]) -> list[tuple[str, str, str]]:
    """Every operation: method, path with its names filled in, scope."""
    paths = guarded.get("/openapi.json", headers=bearer(keys["read"])).json()["paths"]
    return [
        (
            method.upper(),
            path.replace("{run}", "x").replace("{spider}", "x"),
            one.get("description", "")[-5:-1],
        )
        for path, methods in paths.items()
        for method, one in methods.items()
    ]


def test_nothing_is_told_without_a_token_and_nothing_done_with_one_of_another_scope(
    guarded: Served, keys: dict[str, str]
) -> None:
    known = routes(guarded, keys)
    assert len(known) > 12
    for method, path, told in known:
        if (method, path) in PUBLIC:
            continue
        none = guarded.ask(method, path)
        assert none.status_code == 401, (method, path)
        assert none.headers["WWW-Authenticate"].startswith("Bearer") and none.json()["hint"]
        for scope, token in keys.items():
            if not scope.endswith(told.strip()):
                assert guarded.ask(method, path, headers=bearer(token)).status_code == 403, (method, path)
    for method, path in (("GET", "/nowhere"), ("PUT", "/runs"), ("TRACE", "/"), ("OPTIONS", "/runs")):
        assert guarded.ask(method, path).status_code == 401, (method, path)


def test_a_wrong_revoked_or_mangled_token_is_none(guarded: Served, project: Project) -> None:
    token = project.run("token", "add", "gone", "--scope", "read").out.strip()
    identity = token.split("_")[1]
    for text in ("", "x", "scr_", f"scr_{identity}_", token[:-1], token + "x", "scr_00000000_" + "a" * 43):
        assert guarded.get("/runs", headers=bearer(text)).status_code == 401, text
    assert project.run("token", "revoke", "gone").code == 0
    until(lambda: guarded.get("/runs", headers=bearer(token)).status_code == 401, TOKENS_FOR + 2)
    assert guarded.get("/runs", headers={"Authorization": f"Basic {token}"}).status_code == 401
    assert guarded.get(f"/runs?token={token}").status_code == 401


def _content(file: Path) -> bytes:
    """What stands in a file; the store's journal may be gone a moment later."""
    try:
        return file.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        return b""


def test_tokens_stand_hashed_in_the_store_and_in_no_output(
    guarded: Served, project: Project, keys: dict[str, str]
) -> None:
    assert guarded.get("/runs", headers=bearer(keys["read"])).status_code == 200
    listed = project.run("token", "list")
    assert "reader" in listed.out and "may" not in listed.err
    everything = b"".join(map(_content, project.data().rglob("*")))
    for token in keys.values():
        secret = token.split("_", 2)[2]  # which may hold an underscore itself
        assert token.encode() not in everything and secret.encode() not in everything
        assert token not in listed.text and token not in "".join(guarded.lines)


@pytest.fixture(scope="module")
def local(project: Project) -> Iterator[Served]:
    with serving(project) as found:
        yield found


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "localhost:x", "1.2.3.4"]
)
def test_a_name_that_is_not_ours_is_refused_before_anything_else(local: Served, host: str) -> None:
    assert local.get("/runs", headers={"Host": host}).status_code in (400, 421)


def test_our_own_names_are_taken(local: Served) -> None:
    port = local.url.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", "[::1]:8000", "LOCALHOST"):
        assert local.get("/runs", headers={"Host": host}).status_code == 200, host


def test_a_proxy_on_this_machine_does_not_make_everybody_local(local: Served) -> None:
    for name in ("X-Forwarded-For", "X-Forwarded-Proto", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP"):
        assert local.get("/runs", headers={name: "192.0.2.7"}).status_code == 401, name


def test_an_old_cookie_does_not_lock_this_machine_out(local: Served, guarded: Served) -> None:
    old = {"Cookie": f"{COOKIE}=scr_00000000_old"}
    assert local.get("/runs", headers=old).status_code == 200
    assert guarded.get("/runs", headers=old).status_code == 401


@pytest.mark.parametrize(
    ("host", "version", "peer", "is_local"),
    [
        ("localhost:8000", "1.1", "127.0.0.1", True),
        ("127.0.0.2", "1.1", "::1", True),
        ("scraper.example", "1.1", "127.0.0.1", False),
        ("localhost:8000", "1.0", "127.0.0.1", False),
        ("localhost:8000", "1.1", "192.0.2.7", False),
    ],
)
def test_who_asks_for_another_name_or_as_proxies_do_is_not_local(
    host: str, version: str, peer: str, is_local: bool
) -> None:
    access = Access("127.0.0.1", {"scraper.example"})
    scope = {"type": "http", "headers": [(b"host", host.encode())], "client": (peer, 1)}
    request = Request(scope | {"http_version": version})
    access.check_host(request)
    assert (access.caller_of(request, {}) is not None) is is_local


def test_no_other_web_page_can_make_a_browser_begin_or_stop_a_run(local: Served) -> None:
    foreign = (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": local.url},
    )
    for headers in foreign:
        for method, path in (("POST", "/runs"), ("DELETE", "/runs/x"), ("POST", "/runs/x/accept")):
            answer = local.ask(method, path, json={"spider": "nobody"}, headers=headers)
            assert answer.status_code == 403, (method, path, headers)
    form = local.post("/runs", data={"spider": "shop"})
    assert form.status_code == 415
    own = local.post("/runs", {"spider": "nobody"}, headers={"Origin": local.url})
    assert own.status_code == 404


def test_answers_can_be_read_by_no_other_page_and_guessed_to_be_no_other_type(local: Served) -> None:
    headers = local.get("/runs").headers
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_another_address_is_refused_without_a_token_and_served_with_one(
    project: Project, tmp_path: Path
) -> None:
    bare = Project(tmp_path / "bare")
    refused = bare.run("serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 2 and "token add NAME" in refused.err
    with serving(project, "--host", "0.0.0.0", "--allow-host", "scraper.example") as served:
        port = served.url.rpartition(":")[2]
        url = f"http://127.0.0.1:{port}/healthz"
        for host, status in (("scraper.example", 200), ("192.0.2.7", 200), ("other.example", 421)):
            assert requests.get(url, headers={"Host": host}, timeout=10).status_code == status, host


def test_serve_says_what_stands_in_the_way(project: Project, tmp_path: Path) -> None:
    nowhere = Project(tmp_path / "nowhere")
    (nowhere.root / "spiders").rmdir()
    assert "change to your project's folder" in nowhere.run("serve").err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = project.run("serve", "--port", taken.getsockname()[1])
        assert ended.code == 2 and "address already in use" in ended.err
    assert "port" in project.run("serve", "--port", "70000").err


def test_a_token_allows_what_it_was_made_for() -> None:
    store = MemoryStore(FakeClock())
    token, text = tokens.add(store, "desk", ("fetch", "read"), ("example.org",), 5, 1.0)
    assert (token.scopes, token.domains, token.quota) == (("read", "fetch"), ("example.org",), 5)
    known = {one.id: one for one in tokens.listed(store)}
    assert tokens.matching(known, text) == token and tokens.matching({}, text) is None
    with pytest.raises(UsageError, match="there is a token named desk"):
        tokens.add(store, "desk", ("read",))
    with pytest.raises(UsageError, match="printable"):
        tokens.add(store, "a\nb", ("read",))
    assert tokens.revoke(store, token.id) == token and tokens.listed(store) == []
    with pytest.raises(UsageError, match="token list"):
        tokens.revoke(store, "desk")
