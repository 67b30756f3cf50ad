import pytest

from scraper.politeness.scope import growth, refusal

INSIDE = frozenset(("example.org", "shop.example.com"))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/",
        "http://example.org:8080/a?b=c",
        "https://www.example.org/",
        "https://a.b.example.org/x",
        "https://shop.example.com/",
        "https://eu.shop.example.com/",
        "https://example.org/mail/@someone",
        "https://example.org/?from=a@b.org",
        "https://example.org/a/b/a/b/a/c",
        "https://example.org/a//b//c//d//e",
    ],
)
def test_what_is_in_scope_is_followed(url: str) -> None:
    assert refusal(url, INSIDE) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.org/a", "scheme ftp: only http and https are fetched"),
        ("mailto:me@example.org", "scheme mailto: only http and https are fetched"),
        ("javascript:void(0)", "scheme javascript: only http and https are fetched"),
        ("https://me:secret@example.org/", "credentials in the URL"),
        ("https://me@example.org/", "credentials in the URL"),
        ("https://example.org/" + "a" * 2000, "longer than 2000 characters"),
        ("https://example.net/", "outside allowed_domains: example.net"),
        ("https://example.com/", "outside allowed_domains: example.com"),
        ("https://notexample.org/", "outside allowed_domains: notexample.org"),
        ("https://example.org.evil.net/", "outside allowed_domains: example.org.evil.net"),
        ("https://example.org/a/b/a/b/a/b/a/b", "repeats 4 times"),
        ("https://example.org/x/x/x/x/", "path segment 'x' repeats 4 times"),
    ],
)
def test_what_is_out_of_scope_is_refused_with_its_reason(url: str, reason: str) -> None:
    assert reason in (refusal(url, INSIDE) or "")


@pytest.mark.parametrize(
    ("parent", "link"),
    [
        ("https://example.org/", "https://example.org/?d=1&d=2&d=3&d=4&d=5"),
        ("https://example.org/books", "https://example.org/books/7/reviews/1/2/3/4/5/6"),
        ("https://example.org/?q=a&x=1&y=2&z=3", "https://example.org/?q=a&x=1&y=2&z=3&page=2"),
        ("https://example.org/cal?m=2026-01", "https://example.org/cal?m=2026-02"),
        ("https://example.org/in?next=/a", "https://example.org/in?next=%2Fin%3Fnext%3D%2Fa"),
        ("https://example.org/api?ids=1,2", "https://example.org/api?ids=" + ",".join(map(str, range(90)))),
        ("https://example.org/?t=a&t=b", "https://example.org/?t=a&t=b&t=c"),
        ("https://example.org/p1000000", "https://example.org/p10000000"),
        ("https://example.org/2020", "https://example.org/2020/2020"),
    ],
)
def test_a_link_that_only_continues_its_page_is_followed(parent: str, link: str) -> None:
    assert growth(link, parent) is None


@pytest.mark.parametrize(
    ("parent", "link", "reason"),
    [
        (
            "https://example.org/c?d=1&d=2&d=3",
            "https://example.org/c?d=1&d=2&d=3&d=4",
            "'d' is in it 4 times",
        ),
        (
            "https://example.org/c?back=%2Fc%3Fback%3D%252Fc%253Fback%253D1",
            "https://example.org/c?back=%2Fc%3Fback%3D%252Fc%253Fback%253D%25252Fc%25253Fback%25253D1",
            "'back' is in it 4 times",
        ),
        (
            "https://example.org/c?seen=" + ",".join(map(str, range(20))),
            "https://example.org/c?seen=" + ",".join(map(str, range(21))),
            "21 parts",
        ),
        (
            "https://example.org/" + "/".join(map(str, range(20))),
            "https://example.org/" + "/".join(map(str, range(21))),
            "21 parts",
        ),
        (
            "https://example.org/s?back=%2Fx-%2Fx-%2Fx-",
            "https://example.org/s?back=%2Fx-%2Fx-%2Fx-%2Fx-",
            "'/x-' is put on again",
        ),
        ("https://example.org/" + "a" * 11, "https://example.org/" + "a" * 12, "'a' is put on again"),
    ],
)
def test_links_that_grow_with_every_step_are_a_trap(parent: str, link: str, reason: str) -> None:
    assert reason in (growth(link, parent) or "") and "trap" in (growth(link, parent) or "")


def test_a_url_of_two_thousand_characters_is_not_too_long() -> None:
    url = "https://example.org/".ljust(2000, "a")
    assert refusal(url, INSIDE) is None
    assert refusal(url + "a", INSIDE) is not None


def test_links_deeper_than_max_depth_are_refused() -> None:
    assert refusal("https://example.org/", INSIDE, depth=2, max_depth=2) is None
    assert refusal("https://example.org/", INSIDE, depth=3, max_depth=2) == "depth 3 over max_depth 2"
    assert refusal("https://example.org/", INSIDE, depth=0, max_depth=0) is None


def test_addresses_are_hosts_like_any_other() -> None:
    domains = frozenset(("127.0.0.1", "::1"))
    assert refusal("http://127.0.0.1:8000/", domains) is None
    assert refusal("http://[::1]:8000/", domains) is None
    assert refusal("http://127.0.0.2:8000/", domains) == "outside allowed_domains: 127.0.0.2"


def test_a_repeated_segment_in_the_query_is_no_trap() -> None:
    assert refusal("https://example.org/a?next=/x/x/x/x/x", INSIDE) is None
