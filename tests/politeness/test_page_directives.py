import json

import pytest

from scraper.ops.clock import cpu_seconds
from scraper.politeness.page_directives import (
    Tdm,
    content_usage,
    is_nofollow,
    robots_directives,
    tdm_reservation,
)

NOW = 1_780_000_000.0  # 28 May 2026
PAGE = "https://a.example/news/1.html?x=1"


def said(*fields: str, metas: tuple[tuple[str, str], ...] = ()) -> set[str]:
    return set(robots_directives(fields, metas, "OurBot", NOW))


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("noindex", {"noindex"}),
        ("NOINDEX , nofollow,,", {"noindex", "nofollow"}),
        ("none", {"noindex", "nofollow"}),
        ("nocache", {"noarchive"}),
        ("noindex nofollow", {"noindex", "nofollow"}),
        ("all, index, follow, whatever", set()),
        ("max-snippet: 5, noai, max-image-preview:large, noimageai", {"noai", "noimageai"}),
        (
            "indexifembedded, noindex, nosnippet, noimageindex",
            {"indexifembedded", "noindex", "nosnippet", "noimageindex"},
        ),
        ("ourbot: noindex", {"noindex"}),
        ("OURBOT:noindex, nofollow", {"noindex", "nofollow"}),
        ("ourbot2: noindex, nofollow", set()),
        ("noarchive, otherbot: noindex, nofollow, ourbot: nosnippet", {"noarchive", "nosnippet"}),
        ("*: noindex", {"noindex"}),
        ("", set()),
        (":", set()),
        (",:,:", set()),
    ],
)
def test_a_field_speaks_to_all_robots_or_to_the_one_it_names(field: str, words: set[str]) -> None:
    assert said(field) == words


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("unavailable_after: 25 Jun 2010 15:00:00 PST", {"unavailable_after"}),
        ("unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noindex", {"unavailable_after", "noindex"}),
        ("unavailable_after: Friday, 25-Jun-10 15:00:00 GMT, noindex", {"unavailable_after", "noindex"}),
        ("unavailable_after: 2026-05-01", {"unavailable_after"}),
        ("unavailable_after: 2026-05-01T10:00:00Z", {"unavailable_after"}),
        ("ourbot: unavailable_after: 2026-05-01", {"unavailable_after"}),
        ("otherbot: unavailable_after: 2026-05-01", set()),
        ("unavailable_after: 2027-05-01, noindex", {"noindex"}),
        ("unavailable_after: Sat, 25 Jun 2033 15:00:00 GMT", set()),
        ("unavailable_after: tomorrow, noindex", {"noindex"}),
        ("unavailable_after: 99 Foo 99999 99:99:99, noindex", {"noindex"}),
        ("unavailable_after:", set()),
        ("unavailable_after: Fri", set()),
        ("unavailable_after: Fri, noindex", {"noindex"}),
        ("unavailable_after", set()),
    ],
)
def test_a_page_is_unavailable_once_its_date_has_passed(field: str, words: set[str]) -> None:
    assert said(field) == words


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("robots", "noindex", {"noindex"}),
        ("ROBOTS", "None", {"noindex", "nofollow"}),
        ("ourbot", "nofollow", {"nofollow"}),
        ("otherbot", "nofollow", set()),
        ("", "nofollow", set()),
        ("robots", "ourbot: nofollow", set()),
        ("robots", "unavailable_after: Fri, 25 Jun 2010 15:00:00 GMT, noai", {"unavailable_after", "noai"}),
    ],
)
def test_a_meta_element_speaks_to_the_robot_it_is_named_after(
    name: str, content: str, words: set[str]
) -> None:
    assert said(metas=((name, content),)) == words


def test_all_that_is_said_is_summed() -> None:
    metas = (("robots", "index, noarchive"), ("ourbot", "nosnippet"))
    assert said("noindex", "ourbot: nofollow", metas=metas) == {
        "noindex",
        "nofollow",
        "noarchive",
        "nosnippet",
    }


@pytest.mark.parametrize(
    ("rel", "answer"),
    [
        ("nofollow", True),
        ("noopener\tNoFollow external", True),
        ("nofollowing", False),
        ("no-follow", False),
        ("sponsored ugc", False),
        ("", False),
        (None, False),
    ],
)
def test_nofollow_is_a_token_of_rel(rel: str | None, answer: bool) -> None:
    assert is_nofollow(rel) is answer


@pytest.mark.parametrize(
    ("value", "usage"),
    [
        ("train-ai=n", {"train-ai": "disallow"}),
        ("train-ai=y, search=n", {"train-ai": "allow", "search": "disallow"}),
        ('  train-ai=n;x;y=1.5;z="a\\"b"\t,\tsearch=y ', {"train-ai": "disallow", "search": "allow"}),
        ("train-ai=n, train-ai=y", {"train-ai": "allow"}),
        ("train-ai=n, train-ai", {}),
        ("train-ai=N", {}),
        ("train-ai=yes", {}),
        ("train-ai=?0", {}),
        ("train-ai=(n)", {}),
        ("Train-AI=n", {}),
        (
            'other=(a "b";c 1);d, x=:aGk=:, t=@1, u=%"%c3%a9", v=?1, w=-1.25, train-ai=n',
            {"train-ai": "disallow"},
        ),
        ("train-ai=n,", {}),
        (",train-ai=n", {}),
        ("train-ai=n search=n", {}),
        ("train-ai=n;", {}),
        ('train-ai=n, x="', {}),
        ("train-ai=n, x=1.2345", {}),
        ("", {}),
    ],
)
def test_content_usage_is_a_structured_dictionary(value: str, usage: dict[str, str]) -> None:
    assert content_usage(value) == usage


def test_of_several_statements_a_disallow_wins() -> None:
    assert content_usage("train-ai=y", None, "train-ai=n, search=y", "train-ai=y, broken=") == {
        "train-ai": "disallow",
        "search": "allow",
    }


def file(*rules: object) -> bytes:
    return json.dumps(rules).encode()


def rule(location: object, reservation: object = 1, **more: object) -> dict[str, object]:
    return {"location": location, "tdm-reservation": reservation, **more}


@pytest.mark.parametrize(
    ("body", "reservation"),
    [
        (file(rule("/")), 1),
        (file(rule("/", 0)), 0),
        (file(rule("/", 0), rule("/news/")), 1),
        (file(rule("/news/"), rule("/", 0)), 1),
        (file(rule("/news/", 0), rule("/news/", 1)), 1),
        (file(rule("/other/")), None),
        (file(rule("/*.html")), 1),
        (file(rule("/*.html$")), None),
        (file(rule("/news/1.html?x=1$")), 1),
        (file(rule("/n*s/*x=1$")), 1),
        (file(rule("/n%65ws/1.htm%6C")), 1),
        (file(rule("/", "1")), None),
        (file(rule("/", True)), None),
        (file(rule("/", 2)), None),
        (file(rule(7), 3, None, {"tdm-reservation": 1}), None),
        (b'{"location": "/"}', None),
        (b"[" * 100_000, None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_the_longest_location_of_the_file_decides(body: bytes, reservation: int | None) -> None:
    assert tdm_reservation(PAGE, body).reservation == reservation


def test_the_page_stands_above_its_header_and_the_header_above_the_file() -> None:
    body = file(rule("/", 1, **{"tdm-policy": "https://a.example/terms"}))
    assert tdm_reservation(PAGE, body) == Tdm(1, "https://a.example/terms")
    assert tdm_reservation(PAGE, body, {"TDM-Reservation": " 0 "}) == Tdm(0, None)
    assert tdm_reservation(PAGE, body, {"tdm-policy": "https://b.example/"}) == Tdm(1, "https://b.example/")
    assert tdm_reservation(PAGE, body, {"tdm-reservation": "0"}, [("TDM-reservation", "1")]) == Tdm(
        1, "https://a.example/terms"
    )


def test_what_is_absent_or_wrong_takes_nothing_back() -> None:
    assert tdm_reservation(PAGE, None, {"tdm-reservation": "1"}, [("description", "x")]) == Tdm(1)
    assert tdm_reservation(PAGE, None, {"tdm-reservation": "1"}, [("tdm-reservation", "no")]) == Tdm(1)
    assert tdm_reservation("http://[", file(rule("/news/"))) == Tdm()


@pytest.mark.parametrize(
    "text", ["a:" * 50_000, "," * 100_000, "x=(" * 30_000, "unavailable_after:Fri," * 5_000, "a;" * 50_000]
)
def test_hostile_values_take_linear_time(text: str) -> None:
    began = cpu_seconds()
    said(text, metas=(("robots", text),))
    assert content_usage(text) == {}
    tdm_reservation("http://a.example/" + "a" * 2_000, file(rule("/" + "*a" * 50_000)))
    assert cpu_seconds() - began < 1
