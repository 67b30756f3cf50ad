import subprocess
import sys

import ada_url
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from w3lib.url import canonicalize_url

from scraper.urls import (
    canonical,
    domain_of,
    fingerprint,
    host_of,
    is_public_suffix,
    join,
    origin_of,
    read,
    variant,
    with_callback,
    with_params,
)

BASE = "https://shop.example/books/list.html?page=2#top"
HOSTILE = [
    "",
    "\x00",
    "\ud800",
    "http://\ud800.example/\udfff",
    "http://a\x00b/",
    "http://" + "a" * 1_000_000,
    "http://" + "a." * 500_000,
    "http://a/" + "%" * 1_000_000,
    "http://a/?" + "a&" * 50_000,
    "http://a/" + "../" * 300_000,
    "//",
    "http://[::1",
    "http://[v1.x]/",
    "http://%zz/",
    "javascript:alert(1)",
    "data:text/html,x",
    "foo://a.1/%zz?%zz",
]


@pytest.mark.parametrize(
    ("href", "url"),
    [
        ("../a/./b", "https://shop.example/a/b"),
        ("?page=3", "https://shop.example/books/list.html?page=3"),
        ("#end", "https://shop.example/books/list.html?page=2#end"),
        ("//cdn.example/x", "https://cdn.example/x"),
        ("\\\\cdn.example\\x", "https://cdn.example/x"),
        ("  /with\n space ", "https://shop.example/with%20space"),
        ("HTTP://CAFÉ.example:80", "http://xn--caf-dma.example/"),
        ("", "https://shop.example/books/list.html?page=2"),
        ("mailto:a@b.example", "mailto:a@b.example"),
        ("http://0x7f.1/", "http://127.0.0.1/"),
    ],
)
def test_a_link_is_read_as_a_browser_reads_it(href: str, url: str) -> None:
    assert join(BASE, href) == url


@pytest.mark.parametrize(
    "href", ["http://a b/", "http://a:99999/", "https://", "http://[::1", "http://1.2.3.400/"]
)
def test_what_a_browser_refuses_has_no_url(href: str) -> None:
    assert join(BASE, href) is None
    assert canonical(href) is None


def test_a_relative_link_without_a_base_has_no_url() -> None:
    assert join(None, "/a") is None
    assert join("no base", "http://a/") is None
    assert join(None, "http://a") == "http://a/"


def test_a_lone_surrogate_becomes_a_replacement_character() -> None:
    assert join(None, "http://a/\ud800") == "http://a/%EF%BF%BD"
    assert join(None, "http://a/\ud83d\ude00") == "http://a/%F0%9F%98%80"


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:16]))
def test_hostile_text_is_answered_and_never_raises(text: str) -> None:
    answers = [join(None, text), join(BASE, text), join(text, "x"), canonical(text), domain_of(text)]
    assert all(answer is None or isinstance(answer, str) for answer in answers)
    assert isinstance(host_of(text) + origin_of(text), str)
    assert is_public_suffix(text) in (True, False)
    assert len(fingerprint("GET", text)) == 16


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.shop.example.co.uk:8443/a?b#c", "example.co.uk"),
        ("https://WWW.Example.COM/", "example.com"),
        ("https://example.com./", "example.com"),
        ("https://deep.alice.github.io/", "alice.github.io"),
        ("https://user:secret@news.example.org/", "example.org"),
        ("https://github.io/", "github.io"),
        ("https://co.uk/", "co.uk"),
        ("http://a.b.c.ck/", "b.c.ck"),
        ("http://www.ck/", "www.ck"),
        ("http://127.0.0.1:8000/", "127.0.0.1"),
        ("http://0x7f000001/", "127.0.0.1"),
        ("http://[2001:DB8::1]:80/", "2001:db8::1"),
        ("http://localhost:8000/", "localhost"),
        ("http://wiki.intranet/", "wiki.intranet"),
        ("http://eu.wiki.intranet/", "wiki.intranet"),
        ("http://www.bücher.example/", "bücher.example"),
        ("http://WWW.Bücher.example:80/ü?b=ä", "bücher.example"),
        ("http://www.example.org/ü", "example.org"),
        ("http://ü:p@www.xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("http://www.xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("http://.example.com/", ".example.com"),
        ("www.example.com", "example.com"),
        ("www.example.com:8080", "example.com"),
        ("mailto://", ""),
        ("", ""),
    ],
)
def test_the_domain_is_the_public_suffix_and_one_label_more(url: str, domain: str) -> None:
    assert domain_of(url) == domain


@pytest.mark.parametrize(
    ("host", "is_suffix"),
    [
        ("com", True),
        ("co.uk", True),
        ("CO.UK.", True),
        ("github.io", True),
        ("nosuchsuffix", True),
        ("example.com", False),
        ("www.ck", False),
        ("any.ck", True),
        ("127.0.0.1", False),
        ("[::1]", False),
        ("::1", False),
        ("", False),
    ],
)
def test_public_suffixes_are_known_with_their_private_section(host: str, is_suffix: bool) -> None:
    assert is_public_suffix(host) is is_suffix


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("https://a.example:443/x", "a.example", "https://a.example"),
        ("http://a.example:443/x", "a.example", "http://a.example:443"),
        ("http://a.example:80", "a.example", "http://a.example"),
        ("HTTPS://A.Example", "a.example", "https://a.example"),
        ("http://u:p@a.example/", "a.example", "http://a.example"),
        ("http://[::1]:8000/", "::1", "http://[::1]:8000"),
        ("http://a.example.:1/", "a.example.", "http://a.example.:1"),
        ("http://a.example:99999/", "", ""),
        ("mailto:x@y.example", "", ""),
        ("nonsense", "", ""),
    ],
)
def test_host_and_origin_of_a_url(url: str, host: str, origin: str) -> None:
    assert (host_of(url), origin_of(url)) == (host, origin)


@given(st.from_regex(r"https?://[a-z0-9._:@\\-]{1,20}(/[a-z]{0,3})?", fullmatch=True))
@settings(max_examples=100, deadline=None)
def test_the_short_cut_to_the_host_agrees_with_the_parser(url: str) -> None:
    href = join(None, url)
    assert host_of(url) == ("" if href is None else host_of(href))
    assert origin_of(url) == ("" if href is None else origin_of(href))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example", "HTTP://A.EXAMPLE:80/#top"),
        ("http://a.example/?b=2&a=1", "http://a.example/?a=1&b=2"),
        ("http://a.example/?a=2&a=1", "http://a.example/?a=1&a=2"),
        ("http://a.example/p", "http://a.example/p?"),
        ("http://a.example/p?a", "http://a.example/p?a=&"),
        ("http://a.example/p?q=x+y", "http://a.example/p?q=x%20y"),
        ("http://a.example/%7euser", "http://a.example/~user"),
        ("http://a.example/%c3%a9", "http://a.example/é"),
        ("http://a.example/a/../b", "http://a.example/%2e/b"),
        ("http://a.example/?q=%c3%a9", "http://a.example/?q=é"),
    ],
)
def test_spellings_of_one_page_have_one_identity(one: str, other: str) -> None:
    assert canonical(one) == canonical(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://a.example/Case/ABC", "http://a.example/case/abc"),
        ("http://a.example/p", "http://a.example/p/"),
        ("http://a.example/p?a=1", "http://a.example/p?a=1&b="),
        ("http://a.example/p?a=1%262", "http://a.example/p?a=1&2"),
        ("http://a.example/a%2Fb", "http://a.example/a/b"),
        ("http://a.example/a%3Fb", "http://a.example/a?b"),
        ("http://a.example/a%2525", "http://a.example/a%25"),
        ("http://a.example/x+y", "http://a.example/x%20y"),
        ("http://a.example/", "https://a.example/"),
        ("http://a.example/", "http://a.example:8080/"),
        ("http://u%3Av@a.example/", "http://u:v@a.example/"),
    ],
)
def test_different_pages_have_different_identities(one: str, other: str) -> None:
    assert canonical(one) != canonical(other)


@pytest.mark.parametrize(
    "template", ["http://e.example/a{}b", "http://e.example/p?k={}1&a={}2", "http://e.example/p?k{}=1"]
)
@pytest.mark.parametrize("code", range(0x20, 0x7F))
def test_an_escape_is_the_same_as_its_character_where_w3lib_says_so(template: str, code: int) -> None:
    bare, escaped = template.replace("{}", chr(code)), template.replace("{}", f"%{code:02x}")
    same = canonicalize_url(bare) == canonicalize_url(escaped)
    assert (canonical(bare) == canonical(escaped)) is same
    assert canonical(escaped) == canonicalize_url(escaped)


@given(st.text(alphabet="ab01&=+%2fé /.-~?;:", max_size=24))
@settings(max_examples=100, deadline=None)
def test_an_identity_is_its_own_identity(tail: str) -> None:
    once = canonical(f"http://e.example/{tail}")
    assert once is not None
    assert canonical(once) == once


@pytest.mark.parametrize(
    "tail",
    [
        "list;jsessionid=0A1B2C.node1!-7?page=2",
        "list;JSESSIONID=0A1B2C?page=2",
        "list?PHPSESSID=9f86d081884c7d659a2feaa0c5&page=2",
        "list?page=2&phpsessid=x",
        "list?sid=9f86d081884c7d659a2feaa0c55ad015&page=2",
        "list?CFID=1&CFTOKEN=2&page=2",
        "list?ASPSESSIONIDQQ=abc&page=2",
        "(S(lit3py55t21z5v55vlm25s55))/list?page=2",
    ],
)
def test_a_session_id_in_a_url_is_no_part_of_its_identity(tail: str) -> None:
    assert canonical(f"https://a.example/{tail}") == "https://a.example/list?page=2"


@pytest.mark.parametrize(
    "tail",
    [
        "talk?sid=42",
        "talk?session_id=550e8400-e29b-41d4-a716-446655440000",
        "talk?sessionid=507f1f77bcf86cd799439011",
        "president?inside=1&side=left",
        "a/(s)/b",
        "xphpsessid=1",
    ],
)
def test_what_only_looks_like_a_session_id_stays(tail: str) -> None:
    assert canonical(f"https://a.example/{tail}") == f"https://a.example/{tail}"


def test_a_fingerprint_is_sixteen_bytes_of_method_url_and_body() -> None:
    url = "https://a.example/"
    several = {
        fingerprint("GET", url),
        fingerprint("POST", url),
        fingerprint("GET", url + "x"),
        fingerprint("GET", url, b"x"),
        fingerprint("GET", url, headers=b"x"),
        with_callback(fingerprint("GET", url), "parse_book"),
        variant(fingerprint("GET", url), b"parent", b"0"),
    }
    assert len(several) == 7
    assert {len(one) for one in several} == {16}
    # Stores keep fingerprints for years.
    assert with_callback(fingerprint("GET", url), "parse") == fingerprint("GET", url)
    assert fingerprint("GET", url) == bytes.fromhex("7d98e8f6cfa7b80bba014ca5cd30796a")


HOSTS = (
    *("a.com", "a_b.c-d.org", "-a-.com", "a..b", "a.b.", "A.com", "xn--a.com", "é.com", "com", ""),
    *("127.0.0.1", "1.2.3.256", "01.2.3.4", "127.1", "1.2.3.4.com", "x.1", "0x7f.1", "a.0x1", "999"),
)
PORTS = ("", ":", ":80", ":443", ":080", ":8080", ":0", ":41233", ":64999", ":65535", ":65536", ":99999")
TARGETS = st.text("aZ09-_.~!$&'()*+,;=:@/?%#\\ \"<>{}|^`\t\n[]é", max_size=12)


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(("http://", "https://", "ftp://", "//")),
    st.sampled_from(HOSTS),
    st.sampled_from(PORTS),
    st.sampled_from(("/", "", "?", "//", "/a/")),
    TARGETS,
)
def test_the_short_way_of_plain_urls_leads_where_the_full_parser_does(
    scheme: str, host: str, port: str, start: str, target: str
) -> None:
    def by_parser(base: str | None, href: str) -> str | None:
        try:
            return ada_url.join_url(base, href) if base else ada_url.normalize_url(href)
        except ValueError:
            return None

    url, href = f"{scheme}{host}{port}/{target}", start + target
    assert join(None, url) == by_parser(None, url)
    assert join(url, href) == by_parser(url, href)
    found, whole = read(url), by_parser(None, url)
    assert (found is None) == (whole is None)
    if found is not None and whole is not None:
        parsed = ada_url.URL(url)
        assert found[0] == whole.partition("#")[0] and found[1] == parsed.hostname.strip("[]")
        assert origin_of(url) == ("" if parsed.origin == "null" else parsed.origin)
        assert found[2] == canonical(found[0]) == canonical(whole + "#fragment")


@pytest.mark.parametrize(
    ("url", "params", "expected"),
    [
        ("http://a/", {"q": "x y&z", "n": 2}, "http://a/?q=x+y%26z&n=2"),
        ("http://a/?b=1", {"c": [1, 2.5]}, "http://a/?b=1&c=1&c=2.5"),
        ("http://a/?#f", {"c": True, "d": None}, "http://a/?c=true#f"),
        ("http://a/?b&#f", {"é": ""}, "http://a/?b&%C3%A9=#f"),
        ("http://a/#f", {}, "http://a/#f"),
        ("http://a/", {"c": []}, "http://a/"),
        ("", {"c": 1}, "?c=1"),
    ],
)
def test_params_are_added_before_the_fragment(url: str, params: dict[str, object], expected: str) -> None:
    assert with_params(url, params) == expected


def test_the_suffix_list_is_not_loaded_before_it_is_needed() -> None:
    code = "import sys, scraper.urls; sys.exit('tldextract' in sys.modules or 'requests' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
