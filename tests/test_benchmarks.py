"""The benchmarks' site and their statistics. What they measure is no test: machines differ."""

import socket
import sys
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path

import pytest

from benchmarks import behaviours, content, execution, politeness
from benchmarks.figures import Spread, gaps, most_within, ratios, spread
from benchmarks.report import Table
from benchmarks.server import Hit, Site


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with Site() as site:
        yield site


@pytest.fixture
def site(running: Site) -> Site:
    running.reset()
    return running


def get(site: Site, path: str, host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = HTTPConnection(host, site.port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


# the server -------------------------------------------------------------------------------------------------
def test_every_loopback_address_is_a_host_of_its_own(site: Site) -> None:
    get(site, "/page/1", "127.30.0.1")
    get(site, "/page/2", "127.30.0.2")
    assert [(hit.host, hit.path) for hit in site.log()] == [
        ("127.30.0.1", "/page/1"),
        ("127.30.0.2", "/page/2"),
    ]


def test_a_proxy_request_reaches_the_host_that_it_names(site: Site) -> None:
    status, _ = get(site, "http://a.shop.test/page/1")
    assert status == 200
    assert [(hit.host, hit.path) for hit in site.log()] == [("a.shop.test", "/page/1")]


def test_several_requests_in_one_packet_are_all_answered(site: Site) -> None:
    request = f"GET /page/1 HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(2 * request + request[:10])
        connection.sendall(request[10:])
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 3:
            received += connection.recv(65536)
    assert site.count("/page/") == 3


def test_arrivals_are_in_order_and_a_reset_forgets_them(site: Site) -> None:
    for number in range(3):
        get(site, f"/page/{number}")
    moments = [hit.at for hit in site.log()]
    assert moments == sorted(moments) and len(set(moments)) == 3
    site.reset()
    assert site.log() == []


def test_a_host_can_close_the_connection_where_robots_txt_is_asked_for(site: Site) -> None:
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        get(site, "/robots.txt", "127.20.0.6")
    assert get(site, "/", "127.20.0.6")[0] == 200


def test_what_is_no_http_is_not_answered(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as connection:
        connection.sendall(b"hello\r\n\r\n")
        try:
            assert connection.recv(10) == b""
        except ConnectionResetError:
            pass


# the site ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("pages", [1, 7, 500])
def test_every_page_can_be_reached_from_the_first(pages: int) -> None:
    seen, waiting = {0}, [0]
    while waiting:
        new = set(content.links_of(waiting.pop(), pages)) - seen
        seen |= new
        waiting += new
    assert seen == set(range(pages))


def test_a_page_has_nine_kilobytes_and_forty_links() -> None:
    page = content.page("s", 3, 5000)
    assert 9_000 <= len(page) < 9_800
    assert page.count(b"<a href=") == content.LINKS


def test_a_rest_begins_with_the_first_page_and_ends_when_it_said() -> None:
    host = behaviours.Resting()
    assert b" 200 " in host.reply("/robots.txt", 100.0).data
    assert b"Retry-After: 5\r\n" in host.reply("/", 100.0).data
    assert b"Retry-After: 2\r\n" in host.reply("/", 103.5).data
    assert b" 200 " in host.reply("/", 105.0).data


@pytest.mark.parametrize("path", ["/s/x/1", "/s/5", "/hub/", "/nowhere", "/s/0/0"])
def test_a_strange_path_is_missing(path: str) -> None:
    assert behaviours.Shelf().reply(path, 0.0).data.startswith(b"HTTP/1.1 404")


# the statistics ---------------------------------------------------------------------------------------------
def test_the_peak_of_a_command_is_its_own_and_not_that_of_who_starts_it(tmp_path: Path) -> None:
    held = b"x" * 2**26
    ended = execution.run([sys.executable, "-S", "-c", "import time; time.sleep(0.1)"], tmp_path, 10)
    assert 2**20 < ended.peak < len(held)


def test_a_spread_tells_least_median_and_most() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    assert spread([]) is None
    assert Spread(1.0, 2.0, 3.0).text(1, " s") == "2.0 s (1.0 to 3.0)"
    assert Spread(2.0, 2.0, 2.0).text(0) == "2"


def test_ratios_are_taken_turn_by_turn() -> None:
    assert ratios([2.0, 9.0, None, 1.0], [1.0, 3.0, 1.0, 0.0]) == [2.0, 3.0]


def test_gaps_are_those_of_neighbours_in_time() -> None:
    assert gaps([5.0, 1.0, 2.0]) == [1.0, 3.0]
    assert gaps([1.0]) == []


def test_the_fullest_second_is_found_and_its_end_is_not_in_it() -> None:
    assert most_within([0.0, 1.0, 2.0], 1.0) == 1
    assert most_within([0.0, 0.9, 1.0, 1.8], 1.0) == 3
    assert most_within([], 1.0) == 0


# the documents ----------------------------------------------------------------------------------------------
def test_requests_inside_a_rest_are_counted_without_its_first_and_without_robots_txt() -> None:
    hits = [
        Hit(0.0, "h", "/robots.txt"),
        *(Hit(at, "h", path) for at, path in [(1.0, "/"), (1.2, "/"), (6.1, "/"), (7.1, "/page/1")]),
    ]
    cell = politeness.TESTS[0].judge(hits)
    assert cell.markdown == "**1, then 2 of 6 pages**"
    assert politeness.TESTS[0].judge([hits[1], *hits[3:]]).is_kept


def test_a_crawl_that_asked_for_nothing_proves_nothing() -> None:
    assert not any(test.judge([]).is_kept for test in politeness.TESTS)


def test_the_conformance_table_goes_between_its_markers(tmp_path: Path) -> None:
    document = tmp_path / "politeness.md"
    document.write_text("# A\n\n<!-- conformance -->\nold\n<!-- /conformance -->\n\nZ\n")
    assert politeness.write("| new |", document)
    assert politeness.write("| newer |", document)
    text = document.read_text()
    assert "| newer |" in text and "old" not in text and "| new |" not in text
    assert text.startswith("# A\n") and text.endswith("<!-- /conformance -->\n\nZ\n")


def test_a_marker_that_stands_alone_gets_its_end(tmp_path: Path) -> None:
    document = tmp_path / "politeness.md"
    document.write_text("# A\n\n<!-- conformance -->\n\nZ\n")
    assert politeness.write("| new |", document)
    assert politeness.write("| newer |", document)
    text = document.read_text()
    assert text == "# A\n\n<!-- conformance -->\n\n| newer |\n<!-- /conformance -->\n\nZ\n"


def test_without_markers_a_document_stays_as_it_is(tmp_path: Path) -> None:
    document = tmp_path / "politeness.md"
    document.write_text("# A\n")
    assert not politeness.write("| new |", document)
    assert not politeness.write("| new |", tmp_path / "missing.md")
    assert document.read_text() == "# A\n"


def test_a_table_has_one_cell_for_each_head() -> None:
    lines = Table("n", "Title", "Text.", [["", "a"], ["x", "1"]]).markdown.splitlines()
    assert lines == ["## Title", "", "Text.", "", "|  | a |", "|---|---:|", "| x | 1 |"]
