import pytest

from scraper.http.redirects import Hop, headers_for, is_redirect, location_of, next_hop
from scraper.model import Failed, Headers

START = "https://shop.example/list/one?page=2"


def hop(status: int, method: str, location: str, url: str = START) -> Hop:
    found = next_hop(status, method, url, location)
    assert isinstance(found, Hop)
    return found


@pytest.mark.parametrize(
    ("status", "method", "following", "keeps_body"),
    [
        (301, "POST", "GET", False),
        (302, "post", "GET", False),
        (302, "GET", "GET", True),
        (301, "PATCH", "PATCH", True),
        (302, "DELETE", "DELETE", True),
        (303, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (303, "HEAD", "HEAD", True),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
    ],
)
def test_the_status_decides_about_method_and_body(
    status: int, method: str, following: str, keeps_body: bool
) -> None:
    found = hop(status, method, "/next")
    assert (found.method, found.keeps_body) == (following, keeps_body)


@pytest.mark.parametrize("status", [200, 300, 304, 305, 306, 404])
def test_other_statuses_are_no_redirects(status: int) -> None:
    assert next_hop(status, "GET", START, "/next") is None
    assert not is_redirect(status)


def test_without_a_location_there_is_no_redirect() -> None:
    assert next_hop(302, "GET", START, None) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("two", "https://shop.example/list/two"),
        ("?page=3", "https://shop.example/list/one?page=3"),
        ("//cdn.example/x", "https://cdn.example/x"),
        (" /two \t", "https://shop.example/two"),
        ("", START),
        ("\\two", "https://shop.example/two"),
        ("/a%zzb", "https://shop.example/a%zzb"),
        ("/a b", "https://shop.example/a%20b"),
        ("https://OTHER.example:443", "https://other.example/"),
        ("https:/two", "https://shop.example/two"),
        ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
        ("/stra\u00c3\u009fe", "https://shop.example/stra%C3%9Fe"),
        ("/stra\u00dfe", "https://shop.example/stra%C3%9Fe"),
        ("/日本", "https://shop.example/%E6%97%A5%E6%9C%AC"),
    ],
)
def test_a_location_is_resolved_as_a_browser_does(location: str, url: str) -> None:
    assert hop(302, "GET", location).url == url


@pytest.mark.parametrize(
    "location",
    [
        "javascript:void(0)",
        "file:///etc/hosts",
        "ftp://x.example/",
        "data:,x",
        "https://",
        "http://a b/",
        "http://[::1",
    ],
)
def test_only_web_addresses_are_followed(location: str) -> None:
    assert isinstance(next_hop(302, "GET", START, location), Failed)


def test_a_fragment_is_inherited_unless_the_location_has_one() -> None:
    assert hop(302, "GET", "/two", START + "#top").url == "https://shop.example/two#top"
    assert hop(302, "GET", "/two#end", START + "#top").url == "https://shop.example/two#end"
    assert hop(302, "GET", "", START + "#top").url == START + "#top"


@pytest.mark.parametrize(
    ("url", "location", "kept"),
    [
        ("https://a.example/", "/two", True),
        ("https://a.example/", "https://a.example:443/two", True),
        ("http://a.example:80/", "https://a.example/", True),
        ("https://a.example/", "http://a.example/", False),
        ("https://a.example/", "https://b.a.example/", False),
        ("https://a.example/", "https://a.example:8443/", False),
        ("http://a.example:8080/", "https://a.example/", False),
        ("https://a.example/", "https://a.example.evil.example/", False),
        ("https://a.example/", "https://a.example@evil.example/", False),
    ],
)
def test_credentials_stay_with_their_origin(url: str, location: str, kept: bool) -> None:
    assert hop(302, "GET", location, url).keeps_secrets is kept


def test_secrets_and_the_fields_of_a_dropped_body_stay_behind() -> None:
    own = {
        "Accept": "text/html",
        "authorization": "Basic x",
        "Cookie": "a=1",
        "Proxy-Authorization": "x",
        "Host": "shop.example",
        "X-Api-Key": "k",
        "Content-Type": "application/json",
        "Content-Length": "2",
    }
    assert headers_for(hop(303, "POST", "https://other.example/"), own) == {"Accept": "text/html"}


def test_within_the_origin_and_with_the_body_they_travel() -> None:
    own = {"Authorization": "Basic x", "Content-Type": "text/plain"}
    assert headers_for(hop(307, "POST", "/two"), own) == own


def test_of_several_locations_the_first_counts() -> None:
    assert location_of(Headers([("location", "/a"), ("Location", "/b")])) == "/a"
    assert location_of(Headers()) is None
