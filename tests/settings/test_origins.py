"""For which origins a name in the settings stands: scheme, host and port bound a secret."""

import pytest

from scraper.settings.http_values import auth
from scraper.settings.origins import covering, is_own, pattern_of

HTTPS, HTTP = frozenset({"https://shop.example"}), frozenset({"http://shop.example:8080"})


@pytest.mark.parametrize(
    ("name", "origin", "own", "covered"),
    [
        ("shop.example", "https://shop.example", HTTPS, True),
        ("shop.example", "https://shop.example", HTTP, True),
        ("shop.example", "http://shop.example", HTTPS, False),
        ("shop.example", "https://shop.example:8443", HTTPS, False),
        ("shop.example", "https://www.shop.example", HTTPS, False),
        ("shop.example", "https://evilshop.example", HTTPS, False),
        ("shop.example", "http://shop.example:8080", HTTP, True),
        ("shop.example", "http://shop.example:8081", HTTP, False),
        ("shop.example", "https://shop.example:8080", HTTP, False),
        ("*.shop.example", "https://www.shop.example", HTTPS, True),
        ("*.shop.example", "https://shop.example", HTTPS, True),
        ("*.shop.example", "https://evilshop.example", HTTPS, False),
        ("*.shop.example", "http://www.shop.example", HTTPS, False),
        ("*.shop.example", "http://www.shop.example:8080", HTTP, True),
        ("http://shop.example", "http://shop.example", HTTPS, True),
        ("http://shop.example", "https://shop.example", HTTPS, False),
        ("https://shop.example:8443", "https://shop.example:8443", HTTPS, True),
        ("shop.example:8443", "https://shop.example:8443", HTTPS, True),
        ("shop.example:8443", "https://shop.example", HTTPS, False),
        ("::1", "https://[::1]", HTTPS, True),
        ("https://[::1]:8443", "https://[::1]:8443", HTTPS, True),
    ],
)
def test_a_name_covers_an_origin(name: str, origin: str, own: frozenset[str], covered: bool) -> None:
    found = pattern_of(name)
    assert found is not None and found.covers(origin, own) is covered


def test_the_nearest_name_comes_last() -> None:
    names = ["shop.example", "*", "*.shop.example", "", "*.example", "https://shop.example"]
    assert covering(names, "https://shop.example", HTTPS) == [
        "*",
        "",
        "*.example",
        "*.shop.example",
        "shop.example",
        "https://shop.example",
    ]
    assert covering(names, "https://other.org", HTTPS) == ["*"]


def test_what_moved_up_to_https_is_the_spiders_own_still() -> None:
    assert is_own("https://a.example", {"http://a.example"}) and is_own("https://[::1]", {"http://[::1]"})
    assert not is_own("http://a.example", {"https://a.example"})
    assert not is_own("https://a.example", {"http://a.example:8080"})


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Shop.Example", "shop.example"),
        ("*.B\u00fccher.example", "*.xn--bcher-kva.example"),
        ("HTTPS://shop.example:8443/", "https://shop.example:8443"),
        ("[::1]", "::1"),
        ("[::1]:8443", "[::1]:8443"),
        ("127.0.0.1:8000", "127.0.0.1:8000"),
    ],
)
def test_names_are_kept_in_one_spelling(name: str, kept: str) -> None:
    assert list(auth({name: "u:p"})) == [kept]


@pytest.mark.parametrize("name", ["*", "ftp://a.example", "a.example:99999", "a.example/path", "*.*.a", ""])
def test_what_is_no_host_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="credentials by host"):
        auth({name: "u:p"})
