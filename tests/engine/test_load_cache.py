"""Scripts of rendered pages are asked for once a run, as far as their servers let that be (RFC 9111)."""

from scraper.browser.tasks import PageRequest
from scraper.engine.load_cache import UNSAID, LoadCache
from scraper.model import Headers, Response

NOW = 1_800_000_000.0


def wanted(kind: str = "script", **headers: str) -> PageRequest:
    """A request of a page."""
    return PageRequest("1", "http://a.example/app.js", "GET", headers, None, kind)


def answer(content: bytes = b"go()", status: int = 200, **headers: str) -> Response:
    """What its server says."""
    lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Response("http://a.example/app.js", status, Headers(lines), content, NOW)


def test_a_script_is_fresh_for_as_long_as_its_server_says_and_for_its_own_domain_alone() -> None:
    cache = LoadCache()
    cache.keep("a.example", wanted(), answer(Cache_Control="max-age=60"))
    assert cache.fresh("a.example", wanted(), NOW + 59) is not None
    assert cache.fresh("a.example", wanted(), NOW + 61) is None
    assert cache.fresh("b.example", wanted(), NOW) is None


def test_where_a_server_says_nothing_a_script_stands_for_an_hour_and_data_never() -> None:
    cache = LoadCache()
    cache.keep("a.example", wanted(), answer())
    cache.keep("a.example", wanted("fetch"), answer(b"{}"))
    found = cache.fresh("a.example", wanted(), NOW + UNSAID - 1)
    assert found is not None and found.content == b"go()"
    assert cache.fresh("a.example", wanted("fetch"), NOW) is None


def test_no_store_and_no_cache_are_heeded_and_a_304_makes_fresh_again() -> None:
    cache = LoadCache()
    cache.keep("a.example", wanted(), answer(Cache_Control="no-store"))
    assert cache.conditions("a.example", wanted()) == {}
    cache.keep("a.example", wanted(), answer(Cache_Control="no-cache", ETag='"1"'))
    assert cache.fresh("a.example", wanted(), NOW) is None
    assert cache.conditions("a.example", wanted()) == {"If-None-Match": '"1"'}
    renewed = cache.renewed("a.example", wanted(), answer(b"", 304))
    assert renewed is not None and (renewed.status, renewed.content) == (200, b"go()")


def test_an_answer_that_varies_stands_only_for_the_same_request() -> None:
    cache = LoadCache()
    cache.keep(
        "a.example", wanted(Origin="http://a.example"), answer(Vary="Origin", Cache_Control="max-age=60")
    )
    assert cache.fresh("a.example", wanted(Origin="http://a.example"), NOW) is not None
    assert cache.fresh("a.example", wanted(Origin="http://b.example"), NOW) is None


def test_of_too_much_what_was_not_used_for_longest_goes_first() -> None:
    cache = LoadCache(most=100)
    for name in "abcde":
        one = PageRequest("1", f"http://a.example/{name}", "GET", {}, None, "script")
        cache.keep("a.example", one, Response(one.url, 200, Headers(), b"x" * 25, NOW))
    first = PageRequest("1", "http://a.example/a", "GET", {}, None, "script")
    assert cache.fresh("a.example", first, NOW) is None
