import pytest

from scraper.http.caching import (
    cache_control,
    conditional_headers,
    confirms,
    fresh_until,
    is_storable,
    validators,
)
from scraper.model import Headers

NOW = 1710072000.0  # Sun, 10 Mar 2024 12:00:00 GMT
NOON = "Sun, 10 Mar 2024 12:00:00 GMT"


def headers(*lines: str) -> Headers:
    return Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])


def lifetime(*lines: str) -> float:
    return fresh_until(headers(*lines), NOW) - NOW


def test_both_validators_go_back_as_they_came() -> None:
    assert conditional_headers('W/"x"', "yesterday") == {
        "If-None-Match": 'W/"x"',
        "If-Modified-Since": "yesterday",
    }


def test_without_validators_a_request_is_unconditional() -> None:
    assert conditional_headers(None, None) == {}
    assert conditional_headers("", "") == {}


@pytest.mark.parametrize("etag", ['"a"\r\nX: 1', '"\x00"', '"' + "a" * 5000 + '"', '"☃"'])
def test_a_validator_that_cannot_be_sent_is_left_out(etag: str) -> None:
    assert conditional_headers(etag, NOON) == {"If-Modified-Since": NOON}


def test_validators_are_kept_verbatim_but_not_of_what_may_not_be_stored() -> None:
    answer = ('ETag: W/"v1"', f"Last-Modified: {NOON}")
    assert validators(headers(*answer)) == ('W/"v1"', NOON)
    assert validators(headers(*answer, "Cache-Control: private, No-Store")) == (None, None)
    assert validators(headers("Content-Type: text/html")) == (None, None)


@pytest.mark.parametrize(
    ("etag", "told", "same"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a-gzip"', '"a"', True),
        ('"a"', None, True),
        (None, '"a"', True),
        ('"a"', '"b"', False),
    ],
)
def test_a_304_that_names_another_version_confirms_nothing(
    etag: str | None, told: str | None, same: bool
) -> None:
    assert confirms(etag, headers(f"ETag: {told}") if told else headers()) is same


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (["Cache-Control: max-age=600"], 600),
        (["Cache-Control: public, Max-Age=600, must-revalidate"], 600),
        (["Cache-Control: private, max-age=600"], 600),
        (['Cache-Control: max-age="600"'], 600),
        (["Cache-Control: max-age=600", f"Expires: {NOON}", f"Date: {NOON}"], 600),
        (["Cache-Control: max-age=600", "Age: 100"], 500),
        (["Cache-Control: max-age=600", "Age: 100, 5"], 500),
        (["Cache-Control: max-age=600", "Age: old"], 600),
        (["Cache-Control: max-age=600", "Date: Sun, 10 Mar 2024 11:58:20 GMT"], 500),
        (["Cache-Control: max-age=600", "Cache-Control: max-age=60"], 60),
        (["Cache-Control: max-age=" + "9" * 5000], 2**31),
        (["Expires: Sun, 10 Mar 2024 12:10:00 GMT", f"Date: {NOON}"], 600),
        (["Expires: Sun, 10 Mar 2024 12:10:00 GMT"], 600),
        (["Expires: Sunday, 10-Mar-24 12:10:00 GMT", f"Date: {NOON}"], 600),
    ],
)
def test_a_site_says_how_long_an_answer_is_fresh(lines: list[str], seconds: float) -> None:
    assert lifetime(*lines) == seconds


@pytest.mark.parametrize(
    "lines",
    [
        [],
        ["Cache-Control: no-cache, max-age=600"],
        ['Cache-Control: no-cache="set-cookie", max-age=600'],
        ["Cache-Control: no-store, max-age=600"],
        ["Cache-Control: max-age=600", "Vary: *"],
        ["Cache-Control: s-maxage=600"],
        ["Cache-Control: max-age=0"],
        ["Cache-Control: max-age=-600"],
        ["Cache-Control: max-age=600.5"],
        ["Cache-Control: max-age"],
        ["Cache-Control: max-age = 600"],
        ["Cache-Control: max-age='600'"],
        ["Cache-Control: max-age=600, max-age=soon"],
        ["Cache-Control: max-age=soon", "Expires: Sun, 10 Mar 2025 12:00:00 GMT"],
        ['Cache-Control: private="max-age=600"'],
        ["Cache-Control: max-age=600", "Age: 600"],
        ["Expires: 0"],
        ["Expires: -1"],
        ["Expires: Sun, 10 Mar 2024 11:59:59 GMT"],
        ["Expires: Sun, 10 Mar 2025 12:00:00 GMT", "Expires: 0"],
        [f"Last-Modified: {NOON}"],
    ],
)
def test_what_is_not_said_to_be_fresh_is_asked_for_again(lines: list[str]) -> None:
    assert lifetime(*lines) == 0


def test_the_time_an_answer_took_is_part_of_its_age() -> None:
    assert fresh_until(headers("Cache-Control: max-age=60", "Age: 10"), NOW, NOW - 5) == NOW + 45


def test_a_guess_is_a_tenth_of_the_age_and_made_on_request_only() -> None:
    answer = headers("Last-Modified: Sun, 10 Mar 2024 11:00:00 GMT", f"Date: {NOON}")
    assert fresh_until(answer, NOW) == NOW
    assert fresh_until(answer, NOW, is_heuristic=True) == NOW + 360
    ancient = headers("Last-Modified: Sat, 10 Mar 1990 11:00:00 GMT")
    assert fresh_until(ancient, NOW, is_heuristic=True) == NOW + 86400
    ahead = headers("Last-Modified: Sun, 10 Mar 2030 11:00:00 GMT")
    assert fresh_until(ahead, NOW, is_heuristic=True) == NOW


def test_only_no_store_forbids_to_keep_an_answer() -> None:
    assert is_storable(headers("Cache-Control: private, no-cache"))
    assert is_storable(headers())
    assert not is_storable(headers("Cache-Control: max-age=5", "Cache-Control: NO-STORE"))
    assert is_storable(headers('Cache-Control: ext="no-store"'))


def test_directives_are_read_with_tolerance() -> None:
    answer = headers('Cache-Control: a="x, \\"y", B=1,, c, =5, @@, d e')
    assert {"a": 'x, "y', "b": "1", "c": None}.items() <= cache_control(answer).items()


def test_a_huge_cache_control_is_read_at_once() -> None:
    assert len(cache_control(headers("Cache-Control: " + '"' * 60000))) <= 1
    assert cache_control(headers("Cache-Control: " + "max-age=1," * 60000))["max-age"] == "1"
