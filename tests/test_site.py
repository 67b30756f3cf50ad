"""The scriptable site does to a client what its table says."""

import http.client
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.site import Reply, Site, page, redirect


def get(site: Site, path: str, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(site.host, site.port, timeout=5)) as connection:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_paths_answer_what_the_table_says(site: Site) -> None:
    site["/text"] = "Grüße"
    site["/tuple"] = "gone", 410, {"X-Why": "old"}
    site["/turns"] = [503, "at last"]
    site["/echo"] = lambda arrival: arrival.headers["x-name"]
    site["/moved"] = redirect("/text")
    assert get(site, "/text") == (200, "Grüße".encode())
    assert get(site, "/tuple") == (410, b"gone")
    assert [get(site, "/turns")[0] for _ in range(3)] == [503, 200, 200]
    assert get(site, "/echo?with=query", **{"X-Name": "me"}) == (200, b"me")
    assert get(site, "/moved")[0] == 302
    assert get(site, "/nowhere")[0] == 404


def test_a_kept_connection_is_one_connection_in_the_log(site: Site) -> None:
    site["/"] = page("/a", "/b?x=1&y=2")
    with closing(http.client.HTTPConnection(site.host, site.port, timeout=5)) as connection:
        for path in ("/", "/robots.txt", "/"):
            connection.request("GET", path)
            connection.getresponse().read()
    assert [a.connection for a in site.arrivals] == [1, 1, 1]
    assert site.paths() == ["/", "/"]
    assert len(site.gaps()) == 2 and min(site.gaps()) > 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, "0123456789", cut=4), http.client.IncompleteRead),
        (Reply(0, reset=True), ConnectionResetError),
        (Reply(raw=b"\x00\x01 nonsense\r\n\r\n"), http.client.BadStatusLine),
        (Reply(0), http.client.RemoteDisconnected),
    ],
    ids=["cut", "reset", "raw", "silent"],
)
def test_faults_reach_the_client(site: Site, reply: Reply, error: type[Exception]) -> None:
    site["/"] = reply
    with pytest.raises(error):
        get(site, "/")


def test_several_hosts_can_share_a_port(new_site: Callable[..., Site]) -> None:
    first = new_site({"/": "one"}, host="127.0.0.2")
    second = new_site({"/": "two"}, host="127.0.0.3", port=first.port)
    assert (get(first, "/")[1], get(second, "/")[1]) == (b"one", b"two")


def test_a_stopped_site_refuses_connections() -> None:
    with Site({"/": "hello"}) as site:
        assert get(site, "/")[0] == 200
    with pytest.raises(OSError):
        socket.create_connection((site.host, site.port), timeout=1)
