"""What a caller can do wrong: every answer is a problem that says what to do, and never a traceback."""

import json
import select
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scraper.service.events import MOST_STREAMS
from scraper.service.operations import json_response
from scraper.service.problems import Problem
from tests.project import Project
from tests.service.serving import SLOW, Served, new_project, serving
from tests.site import Site, page


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with Site({"/": page(*[f"/{n}" for n in range(90)]), "*": page()}, host="127.0.0.3") as site:
        yield site


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Served]:
    project = new_project(tmp_path_factory.mktemp("hostile"))
    project.spider("shop", SLOW.format(name="Shop", url=site.url("/"), delay=1))
    project.spider("ended", SLOW.format(name="Ended", url=site.url("/x"), delay=0))
    assert project.run("run", "ended", "--quiet").code == 0
    with serving(project) as found:
        yield found
        assert found.get("/healthz").status_code == 200
        assert not any("Traceback" in line for line in found.lines), "".join(found.lines)


def raw(served: Served, *parts: bytes, wait: float = 5.0) -> bytes:
    """What comes back on a connection of its own for these bytes."""
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=wait) as opened:
        found = b""
        try:
            for part in parts:
                opened.sendall(part)
            while block := opened.recv(65536):
                found += block
        except (TimeoutError, ConnectionError):
            pass
        return found


POST = b"POST /runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


def test_a_body_of_a_hundred_megabytes_is_refused_after_a_few(served: Served) -> None:
    answer = raw(served, POST + b"Content-Length: 104857600\r\n\r\n", *[b"x" * 65536] * 40)
    assert b" 413 " in answer.split(b"\r\n")[0] and b"longer than 64 KiB" in answer
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    assert b" 413 " in raw(served, chunked, *[b"10000\r\n" + b"x" * 65536 + b"\r\n"] * 3).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 60_000, b'{"spider": NaN}', b"\xff\xfe", b"1" * 5000, b'{"spider": "\\ud800"}']
)
def test_a_body_that_is_no_json_is_told_so(served: Served, body: bytes) -> None:
    answer = served.ask("POST", "/runs", data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 404, 422)
    assert answer.headers["Content-Type"] == "application/problem+json" and answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        "/runs?limit=0",
        "/runs?limit=1e9",
        "/runs?limit=%00",
        "/runs?limit=5&limit=6",
        "/runs?limt=5",
        "/runs?spider=%F0%28%8C%28",
        "/runs/shop/records?cursor=x",
        "/runs/shop/records?cursor=-1",
        "/runs/shop/records?cursor=1-2-3",
        "/runs/shop/records?cursor=99999999999999999999-1",
        "/runs/shop/records?format=xml",
        "/runs/shop/changes?cursor=%D9%A3",
        "/runs/shop/changes?cursor=7",
        "/runs/ended/changes?cursor=7",
        "/runs/ended/changes?cursor=997187461256149",
        "/runs/%00/records",
        "/runs/" + "x" * 3000,
        "/explain",
        "/explain?url=" + "a" * 3000,
    ],
)
def test_wrong_parameters_are_problems_that_say_what_is_expected(served: Served, path: str) -> None:
    answer = served.get(path)
    assert answer.status_code in (400, 404), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code and told["title"] and told["detail"]


@pytest.mark.parametrize(
    "head",
    [
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 900_000 + b"\r\n\r\n",
        b"GET http://evil.example/runs HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    ],
)
def test_what_is_no_request_for_us_is_refused(served: Served, head: bytes) -> None:
    status = raw(served, head, wait=3).split(b"\r\n")[0]
    # A connection that is closed while we still send loses its answer.
    expected = (b" 400 ", b" 421 ", b" 401 ", b" 404 ", b" 431 ")
    assert any(code in status for code in expected) or (not status and len(head) > 65_536), status


def test_a_caller_that_sends_its_request_slowly_holds_nobody_up(served: Served) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    slow = [socket.create_connection((host, int(port))) for _ in range(60)]
    try:
        for each in slow:
            each.sendall(b"GET /healthz HTTP/1.1\r\nHost: local")
        assert served.get("/healthz").status_code == 200
        assert not select.select(slow, [], [], 0)[0], "and they are still waited for"
    finally:
        for each in slow:
            each.close()


def test_streams_are_bounded_and_the_places_of_callers_that_leave_are_free_again(
    served: Served, project: Project
) -> None:
    run_id = served.post("/runs", {"spider": "shop"}).json()["run_id"]
    head = f"GET /runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    host, port = served.url.removeprefix("http://").split(":")
    opened = []
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: _open(host, int(port), head), range(MOST_STREAMS + 5)))
    answers = [first for _, first in opened]
    refused = [one for one in answers if b" 503 " in one.split(b"\r\n")[0]]
    assert len(refused) == 5 and all(b"retry-after: 30" in one for one in refused)
    for each, _ in opened:
        each.close()
    done = threading.Event()
    for _ in range(50):
        if served.get(f"/runs/{run_id}/events", stream=True).status_code == 200:
            break
        done.wait(0.1)
    else:
        raise AssertionError("no place became free")
    served.delete(f"/runs/{run_id}")


def _open(host: str, port: int, head: bytes) -> tuple[socket.socket, bytes]:
    opened = socket.create_connection((host, port), timeout=20)
    opened.sendall(head)
    return opened, opened.recv(4096)


def test_the_document_and_the_routes_agree(served: Served) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis: pip install schemathesis")
    document = served.get("/openapi.json").json()
    parameters = [
        one
        for operations in document["paths"].values()
        for operation in operations.values()
        for one in operation["parameters"]
    ]
    for one in parameters:
        if one["name"] == "run":
            one["schema"] = {"enum": ["ended"]}  # of names by chance there is none
    schema = schemathesis.openapi.from_dict(document)
    for operation in schema.get_all_operations():
        _check(operation.ok(), served)


def _check(operation, served: Served) -> None:  # type: ignore[no-untyped-def]
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    if operation.path.endswith("/events"):
        return  # a stream has no end while the run goes on; test_runs reads it

    # No schema describes what a URL is, or which of its own cursors a server takes for another run.
    by_text = any(name in operation.path for name in ("/explain", "/changes", "/records", "/fetch"))
    excluded = [positive_data_acceptance] if by_text else []

    @given(case=operation.as_strategy())
    @settings(
        max_examples=10,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case) -> None:  # type: ignore[no-untyped-def]
        case.call_and_validate(base_url=served.url, timeout=30, excluded_checks=excluded)

    check()


def test_json_means_the_same_and_has_nothing_that_a_terminal_obeys() -> None:
    said = {"reason": "Bad\u202e \x1b[2J\x9b \U000e0041word", "name": "caf\xe9"}
    for body in (json_response(said).body, Problem(400, "no", **said).response().body):
        text = bytes(body).decode()
        assert {**json.loads(text), **said} == json.loads(text) and "caf\xe9" in text
        assert not set("\u202e\x1b\x9b\U000e0041") & set(text)
