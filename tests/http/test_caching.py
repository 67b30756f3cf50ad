import pytest

from scraper.http.caching import (
    cache_control,
    conditional_headers,
    confirms,
    fresh_until,
    is_storable,
    renewed,
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


def kept_after(answers: list[list[str]]) -> list[str | None]:
    """The If-None-Match after each of these whole answers to the same request."""
    kept: list[str | None] = [None]
    for answer in answers:
        kept.append(validators(headers(*answer), kept[-1])[0])
    return kept[1:]


@pytest.mark.parametrize(
    ("etag", "sent"),
    [
        ('"x-gzip"', '"x-gzip", "x"'),  # Apache 2.4, lighttpd 1.4
        ('"x--gzip"', '"x--gzip", "x"'),  # Jetty
        ('"x;gzip"', '"x;gzip", "x"'),
        ('"x-br"', '"x-br", "x"'),
        ('W/"x-gzip"', 'W/"x-gzip", W/"x"'),
        ('W/"x"', 'W/"x"'),  # nginx
        ('"x"', '"x"'),
    ],
)
def test_a_compressed_version_is_named_as_it_came_and_as_the_file_behind_it(etag: str, sent: str) -> None:
    assert validators(headers(f"ETag: {etag}", "Content-Encoding: gzip"))[0] == sent


def test_a_tag_that_only_looks_like_a_coding_is_left_as_it_is() -> None:
    assert kept_after([['ETag: "release-gzip"']] * 2) == ['"release-gzip"'] * 2


def test_a_tag_of_any_length_is_read_once() -> None:
    etag = '"' + "-.;" * 150_000 + 'x"'  # would be an hour where each sign starts the search anew
    assert validators(headers(f"ETag: {etag}", "Content-Encoding: gzip"))[0] == etag


def test_a_server_that_does_not_heed_one_form_of_its_tag_gets_the_next() -> None:
    coded = ['ETag: "x-gzip"', "Content-Encoding: gzip"]
    assert kept_after([coded] * 4) == ['"x-gzip", "x"', '"x-gzip"', '"x"', '"x-gzip", "x"']
    weak = ['ETag: W/"x"']
    assert kept_after([weak] * 3) == ['W/"x"', '"x"', 'W/"x"']


def test_a_new_version_is_named_in_the_likeliest_form_again() -> None:
    assert kept_after([['ETag: W/"x"'], ['ETag: W/"x"'], ['ETag: W/"y"']])[-1] == 'W/"y"'


def test_a_304_leaves_the_form_that_the_server_recognised() -> None:
    both = '"x-gzip", "x"'
    for told in ((), ('ETag: "x-gzip"',), ('ETag: "x"',), ('ETag: W/"x"',)):
        assert renewed(headers(*told), both, NOON) == (both, NOON)
    assert renewed(headers('ETag: "y"', "Last-Modified: later"), both, NOON) == ('"y"', "later")
    assert renewed(headers('ETag: "y"', "Cache-Control: no-store"), both, NOON) == (both, NOON)


@pytest.mark.parametrize(
    ("etag", "told", "same"),
    [
        ('"a"', '"a"', True),
        ('W/"a"', '"a"', True),
        ('"a-gzip"', '"a"', True),
        ('"a-gzip", "a"', '"a"', True),
        ('"a-gzip", "a"', '"b"', False),
        ('"a"', None, True),
        (None, '"a"', True),
        ('"a"', '"b"', False),
    ],
)
def test_a_304_that_names_another_version_confirms_nothing(
    etag: str | None, told: str | None, same: bool
) -> None:
    assert confirms(etag, headers(f"ETag: {told}") if told else headers()) is same


LATER = "Sun, 10 Mar 2024 13:00:00 GMT"


@pytest.mark.parametrize(
    ("ours", "lines", "same"),
    [
        (NOON, [f"Last-Modified: {NOON}"], True),
        (NOON, ["Last-Modified: Sunday, 10-Mar-24 12:00:00 GMT"], True),
        (NOON, [], True),
        (NOON, ["Last-Modified: soon"], True),
        (LATER, [f"Last-Modified: {NOON}"], False),
        (NOON, [f"Last-Modified: {LATER}"], False),
        (None, [f"Last-Modified: {NOON}"], True),
    ],
)
def test_a_304_without_a_tag_that_names_another_date_confirms_nothing(
    ours: str | None, lines: list[str], same: bool
) -> None:
    assert confirms(None, headers(*lines), ours) is same
    assert confirms('"a"', headers('ETag: "a"', *lines), ours)
    of_tornado = '"%s"' % ("0f" * 64)  # 6.6.1: a file that has changed keeps its tag until the process ends
    assert confirms(of_tornado, headers(f"ETag: {of_tornado}", *lines), ours) is same


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
        ["Cache-Control: max-age=600", "Vary: Accept-Encoding, Cookie"],
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
