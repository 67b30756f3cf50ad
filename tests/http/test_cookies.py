"""The jar: RFC 6265bis in storing and sending, and as the jar of a requests.Session."""

import io
import json
from collections.abc import Callable
from http.client import HTTPMessage, parse_headers
from http.cookiejar import Cookie, CookieJar
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.cookies import RequestsCookieJar, extract_cookies_to_jar, get_cookie_header, merge_cookies

from scraper.http.cookies import MAX_COOKIES, MAX_PER_DOMAIN, DomainCookieJar

NOW = 1_800_000_000.0
SHOP = "https://www.shop.test/"
SUFFIXES = {"test", "uk", "co.uk", "pages.test"}
MakeJar = Callable[[], DomainCookieJar]


@pytest.fixture
def jar() -> DomainCookieJar:
    return make_jar()


def make_jar(domain: str = "") -> DomainCookieJar:
    return DomainCookieJar(SUFFIXES.__contains__, domain=domain, wall=lambda: NOW)


def sent(*lines: str, frm: str = SHOP, to: str = "", at: float = NOW) -> str | None:
    one = make_jar()
    one.store(lines, frm, NOW)
    return one.header_for(to or frm, at)


class TestStoring:
    def test_a_cookie_without_domain_is_for_its_host_alone(self) -> None:
        assert sent("a=1") == "a=1"
        assert sent("a=1", to="https://img.www.shop.test/") is None
        assert sent("a=1", to="https://shop.test/") is None

    @pytest.mark.parametrize("attribute", ["shop.test", ".shop.test", "SHOP.Test", " .shop.test "])
    def test_a_domain_covers_every_host_below(self, attribute: str) -> None:
        for host in ("shop.test", "www.shop.test", "a.b.shop.test"):
            assert sent(f"a=1; Domain={attribute}", to=f"https://{host}/") == "a=1"
        assert sent(f"a=1; Domain={attribute}", to="https://bookshop.test/") is None

    @pytest.mark.parametrize(
        "attribute",
        [
            "other.test",
            "img.shop.test",
            "op.test",
            "shop.test.",
            "..shop.test",
            "test",
            "com",
            "shöp.test",
            "[::1]",
        ],
    )
    def test_a_domain_that_is_not_the_hosts_own_rejects_the_cookie(self, attribute: str) -> None:
        assert sent(f"a=1; Domain={attribute}") is None

    @pytest.mark.parametrize("attribute", ["", ".", " "])
    def test_an_empty_domain_is_no_domain(self, attribute: str) -> None:
        assert sent(f"a=1; Domain=shop.test; Domain={attribute}") == "a=1"
        assert sent(f"a=1; Domain={attribute}", to="https://x.www.shop.test/") is None

    @pytest.mark.parametrize("suffix", ["pages.test", "co.uk"])
    def test_a_public_suffix_is_no_domain_for_a_host_below(self, suffix: str) -> None:
        assert sent(f"a=1; Domain={suffix}", frm=f"https://me.{suffix}/") is None

    def test_a_public_suffix_that_is_a_host_keeps_its_cookie_to_itself(self) -> None:
        assert sent("a=1; Domain=pages.test", frm="https://pages.test/") == "a=1"
        assert sent("a=1; Domain=pages.test", frm="https://pages.test/", to="https://me.pages.test/") is None
        assert sent("a=1; Domain=localhost", frm="http://localhost:8000/") == "a=1"

    def test_a_trailing_dot_does_not_get_around_the_public_suffixes(self) -> None:
        assert sent("a=1; Domain=co.uk.", frm="https://me.co.uk./", to="https://you.co.uk./") is None

    def test_an_address_has_no_hosts_below(self) -> None:
        assert sent("a=1; Domain=127.0.0.1", frm="http://127.0.0.1:80/") == "a=1"
        assert sent("a=1; Domain=0.0.1", frm="http://127.0.0.1/") is None
        assert sent("a=1", frm="http://[::1]:80/", to="http://[::1]/x") == "a=1"

    @pytest.mark.parametrize(
        ("url", "path"),
        [("", "/"), ("/", "/"), ("/a", "/"), ("/a/", "/a"), ("/a/b", "/a"), ("/a/b/?x=/y/z", "/a/b")],
    )
    def test_the_default_path_is_the_folder_of_the_page(
        self, jar: DomainCookieJar, url: str, path: str
    ) -> None:
        jar.store(["a=1"], "https://shop.test" + url, NOW)
        assert [cookie.path for cookie in jar] == [path]

    def test_a_secure_cookie_travels_by_https_only(self) -> None:
        assert sent("a=1; Secure") == "a=1"
        assert sent("a=1; Secure", to="http://www.shop.test/") is None
        assert sent("a=1; Secure", frm="http://www.shop.test/", to=SHOP) is None

    def test_plain_http_cannot_overlay_a_secure_cookie(self, jar: DomainCookieJar) -> None:
        jar.store(["id=safe; Secure; Domain=shop.test; Path=/in"], SHOP, NOW)
        for line in ("id=evil; Path=/in", "id=evil; Path=/in/deep", "id=evil; Domain=shop.test; Path=/in"):
            assert not jar.store([line], "http://www.shop.test/", NOW)
        assert jar.store(["id=other; Path=/"], "http://www.shop.test/", NOW)
        assert jar.header_for("https://www.shop.test/in/deep", NOW) == "id=safe; id=other"

    def test_an_expired_secure_cookie_guards_nothing(self, jar: DomainCookieJar) -> None:
        jar.store(["id=safe; Secure; Max-Age=5; Path=/"], SHOP, NOW)
        assert jar.store(["id=new; Path=/"], "http://www.shop.test/", NOW + 6)

    @pytest.mark.parametrize(
        ("line", "is_kept"),
        [
            ("__Secure-a=1; Secure", True),
            ("__Secure-a=1", False),
            ("__secure-a=1", False),
            ("__Host-a=1; Secure; Path=/", True),
            ("__Host-a=1; Secure; Path=rel", True),
            ("__Host-a=1; Secure", False),
            ("__Host-a=1; Path=/", False),
            ("__Host-a=1; Secure; Path=/x", False),
            ("__HOST-a=1; Secure; Path=/; Domain=www.shop.test", False),
            ("=__Host-a=1; Secure; Path=/", False),
            ("__Secure-a; Secure", False),
            ("__Hosta=1", True),
            ("a=1; SameSite=None; Secure", True),
            ("a=1; SameSite=None", False),
        ],
    )
    def test_prefixes_and_same_site_none_have_to_hold_what_they_claim(self, line: str, is_kept: bool) -> None:
        assert (sent(line) is not None) is is_kept

    def test_the_same_cookie_is_overwritten_and_keeps_its_place(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1", "b=2", "plain"], SHOP, NOW)
        jar.store(["other", "a=3"], SHOP, NOW + 1)
        assert jar.header_for(SHOP, NOW) == "a=3; b=2; other"

    def test_host_only_and_domain_cookies_of_a_name_are_two(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1", "a=2; Domain=www.shop.test", "a=3; Domain=.www.shop.test"], SHOP, NOW)
        assert jar.header_for(SHOP, NOW) == "a=1; a=3"

    def test_a_past_expiry_removes_the_cookie(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1", "b=2"], SHOP, NOW)
        assert jar.store(["a=; Max-Age=0"], SHOP, NOW)
        assert not jar.store(["c=; Expires=1 jan 1999 00:00:00"], SHOP, NOW)
        assert jar.header_for(SHOP, NOW) == "b=2"

    def test_storing_tells_whether_anything_changed(self, jar: DomainCookieJar) -> None:
        assert jar.store(["a=1; HttpOnly"], SHOP, NOW)
        assert not jar.store(["a=1; HttpOnly"], SHOP, NOW + 9)
        assert jar.store(["a=1"], SHOP, NOW)
        assert not jar.store([], SHOP, NOW)
        assert jar.changes == 2

    @pytest.mark.parametrize(
        "url", ["", "nonsense", "https://", "http://[::1", "https:///path", "http://é" + "x" * 99]
    )
    def test_a_broken_url_stores_and_sends_nothing(self, jar: DomainCookieJar, url: str) -> None:
        assert not jar.store(["a=1"], url, NOW)
        jar.set("b", "2")
        assert jar.header_for(url, NOW) is None

    def test_a_host_in_another_script_is_the_same_as_its_a_label(self) -> None:
        assert sent("a=1", frm="https://bücher.test/", to="https://xn--bcher-kva.test/") == "a=1"


class TestSending:
    def test_longer_paths_go_first_then_older_cookies(self, jar: DomainCookieJar) -> None:
        jar.store(
            ["z=1; Path=/", "y=2; Path=/a/b", "x=3; Path=/a", "w=4; Domain=shop.test; Path=/a"], SHOP, NOW
        )
        assert jar.header_for(SHOP + "a/b/c", NOW) == "y=2; x=3; w=4; z=1"

    def test_a_cookie_without_name_or_value_is_written_as_it_came(self) -> None:
        assert sent("plain", "empty=") == "plain; empty="

    def test_a_cookie_ends_with_its_time(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1; Max-Age=10", "b=2"], SHOP, NOW + 0.5)
        assert jar.header_for(SHOP, NOW + 10.4) == "a=1; b=2"
        assert jar.header_for(SHOP, NOW + 10.5) == "b=2"
        assert len(jar) == 1

    def test_ports_do_not_matter(self) -> None:
        assert sent("a=1", frm="http://shop.test:8000/", to="http://shop.test:9000/") == "a=1"

    @pytest.mark.parametrize("octets", ["é=ü".encode(), "é=ü".encode("latin-1"), b"\xff=\x80\x85\xa0"])
    def test_octets_go_back_as_they_came(self, jar: DomainCookieJar, octets: bytes) -> None:
        message = parse_headers(io.BytesIO(b"Set-Cookie: " + octets + b"\r\n\r\n"))
        jar.store(message.get_all("Set-Cookie") or [], SHOP, NOW)
        header = jar.header_for(SHOP, NOW)
        assert header is not None
        assert header.encode("latin-1") == octets


class TestLimits:
    def test_a_domain_keeps_the_last_used_of_ten_thousand(self, jar: DomainCookieJar) -> None:
        jar.store([f"c{number}=1" for number in range(10_000)], SHOP, NOW)
        assert len(jar) == MAX_PER_DOMAIN
        assert jar.get("c9999") == "1"
        assert jar.get("c0") is None

    def test_expired_then_plain_then_least_recently_used_cookies_go_first(self, jar: DomainCookieJar) -> None:
        jar.store(["old=1; Path=/old", "used=1; Path=/used", "safe=1; Secure; Path=/old"], SHOP, NOW)
        jar.store([f"brief{number}=1; Max-Age=9" for number in range(MAX_PER_DOMAIN - 3)], SHOP, NOW)
        assert "used=1" in (jar.header_for(SHOP + "used", NOW + 1) or "")
        jar.store(["new=1"], SHOP, NOW + 10)
        assert set(jar.keys()) == {"old", "used", "safe", "new"}
        jar.store([f"more{number}=1" for number in range(MAX_PER_DOMAIN - 3)], SHOP, NOW + 11)
        assert jar.get("old") is None
        assert jar.get("used") == jar.get("safe") == "1"

    def test_one_domains_flood_leaves_the_others_alone(self, jar: DomainCookieJar) -> None:
        jar.store(["login=1"], "https://account.shop.test/", NOW)
        jar.store([f"c{number}=1" for number in range(1_000)], SHOP, NOW + 1)
        assert jar.header_for("https://account.shop.test/", NOW + 2) == "login=1"

    def test_a_jar_has_room_for_three_thousand(self, jar: DomainCookieJar) -> None:
        for number in range(18):
            jar.store(
                [f"c{n}=1" for n in range(MAX_PER_DOMAIN)], f"https://h{number}.shop.test/", NOW + number
            )
        assert len(jar) == MAX_COOKIES
        assert jar.header_for("https://h17.shop.test/", NOW + 99) is not None

    def test_cookies_set_by_hand_are_bounded_too(self, jar: DomainCookieJar) -> None:
        for number in range(MAX_PER_DOMAIN + 5):
            jar.set(f"c{number}", "1")
        assert len(jar) == MAX_PER_DOMAIN


class TestByHand:
    def test_a_cookie_without_domain_goes_to_every_host_of_the_session(self) -> None:
        jar = make_jar(domain="shop.test")
        jar["a"] = "1"
        jar.set("b", "2", path="/x")
        assert jar.header_for("http://api.shop.test/", NOW) == "a=1"
        assert jar.header_for("http://shop.test/x/y", NOW) == "b=2; a=1"
        assert jar.header_for("http://other.test/", NOW) is None

    def test_a_jar_without_domain_sends_it_anywhere(self, jar: DomainCookieJar) -> None:
        jar["a"] = "1"
        assert jar.header_for("http://any.test/", NOW) == "a=1"

    def test_a_domain_set_by_hand_covers_hosts_below(self, jar: DomainCookieJar) -> None:
        jar.set("a", "1", domain="shop.test")
        jar.set("b", "2", domain=".shop.test", secure=True)
        assert jar.header_for("http://www.shop.test/", NOW) == "a=1"
        assert jar.header_for("https://shop.test/", NOW) == "a=1; b=2"
        assert jar.header_for("https://bookshop.test/", NOW) is None

    def test_the_jar_reads_like_a_dict(self, jar: DomainCookieJar) -> None:
        assert not jar
        jar.update({"a": "1", "b": "2"})
        jar.store(["c=3; Path=/x"], SHOP, NOW)
        assert jar.items() == [("a", "1"), ("b", "2"), ("c", "3")]
        assert (jar["a"], jar.get("c", domain="www.shop.test", path="/x"), jar.get("d", "none")) == (
            "1",
            "3",
            "none",
        )
        assert "c" in jar
        assert len(jar) == 3
        del jar["a"]
        jar.set("b", None)
        assert dict(jar) == {"c": "3"}

    def test_clear_takes_all_a_domain_a_path_or_one(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1", "b=2; Path=/x", "c=3; Path=/x", "d=4; Domain=shop.test"], SHOP, NOW)
        jar.clear("www.shop.test", "/x", "b")
        assert jar.keys() == ["a", "c", "d"]
        jar.clear("www.shop.test", "/x")
        assert jar.keys() == ["a", "d"]
        jar.clear(".shop.test")
        assert jar.keys() == ["a"]
        with pytest.raises(KeyError):
            jar.clear("nowhere.test")
        with pytest.raises(ValueError):
            jar.clear(name="a")
        jar.clear()
        assert not jar
        jar.clear()

    def test_session_cookies_can_be_dropped(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1", "b=2; Max-Age=60", "a=3; Domain=shop.test"], SHOP, NOW)
        jar.clear_session_cookies()
        assert jar.keys() == ["b"]

    def test_a_change_of_a_cookie_found_in_the_jar_counts(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1"], SHOP, NOW)
        for cookie in jar:
            cookie.value = "2"
        assert jar.header_for(SHOP, NOW) == "a=2"

    def test_a_copy_is_a_jar_of_its_own(self) -> None:
        jar = make_jar(domain="shop.test")
        jar.store(["a=1", "b=2; Path=/b"], SHOP, NOW)
        twin = jar.copy()
        twin.set("c", "3")
        for cookie in twin:
            cookie.value = "x"
        assert jar.items() == [("a", "1"), ("b", "2")]
        assert twin.header_for(SHOP + "b", NOW) == "b=x; a=x; c=x"
        assert twin.header_for("https://other.test/", NOW) is None

    def test_another_jar_can_be_poured_in(self, jar: DomainCookieJar) -> None:
        other = RequestsCookieJar()
        other.set("a", '"q\\"q"', domain="www.shop.test")
        merge_cookies(jar, other)
        assert jar.header_for(SHOP, NOW) == 'a="qq"'
        twin = make_jar()
        twin.store(['b="q\\"q"'], SHOP, NOW)
        jar.update(twin)
        assert jar.header_for(SHOP, NOW) == 'a="qq"; b="q\\"q"'

    def test_the_standard_librarys_nameless_cookie_is_understood(self, jar: DomainCookieJar) -> None:
        jar.set_cookie(
            Cookie(
                0, "plain", None, None, False, "", False, False, "/", True, False, None, True, None, None, {}
            )
        )
        assert jar.header_for(SHOP, NOW) == "plain"
        twin = make_jar()
        twin.load(jar.dump())
        assert twin.header_for(SHOP, NOW) == "plain"


class TestPersistence:
    LINES = (
        "a=1; HttpOnly; SameSite=Lax",
        "b=2; Domain=shop.test; Max-Age=60; Secure",
        "plain; Path=/x",
        "gone=1; Max-Age=1",
    )

    def test_a_jar_survives_as_json(self) -> None:
        clock = [NOW]
        jar = DomainCookieJar(SUFFIXES.__contains__, wall=lambda: clock[0])
        jar.store(self.LINES, SHOP, NOW)
        jar.set("hand", "1")
        jar.header_for(SHOP, NOW + 1)
        clock[0] = NOW + 2
        rows = json.loads(json.dumps(jar.dump()))
        twin = DomainCookieJar(SUFFIXES.__contains__, wall=lambda: clock[0])
        twin.load(rows)
        assert twin.dump() == rows
        assert [row["name"] for row in rows] == ["a", "b", "", "hand"]
        assert (
            twin.header_for(SHOP + "x", NOW) == jar.header_for(SHOP + "x", NOW) == "plain; a=1; b=2; hand=1"
        )
        assert twin.header_for("https://shop.test/", NOW) == "b=2; hand=1"

    def test_a_row_tells_all_about_a_cookie(self, jar: DomainCookieJar) -> None:
        jar.store([self.LINES[0]], SHOP, NOW)
        jar.header_for(SHOP, NOW + 5)
        assert jar.dump() == [
            {
                "name": "a",
                "value": "1",
                "domain": "www.shop.test",
                "host_only": True,
                "path": "/",
                "expires": None,
                "secure": False,
                "http_only": True,
                "same_site": "Lax",
                "created": NOW,
                "accessed": NOW + 5,
            }
        ]

    def test_loading_drops_what_expired_and_what_became_a_public_suffix(self, jar: DomainCookieJar) -> None:
        jar.store(["a=1; Domain=shop.test", "b=2; Max-Age=60", "c=3"], SHOP, NOW)
        twin = DomainCookieJar((SUFFIXES | {"shop.test"}).__contains__, wall=lambda: NOW + 61)
        twin.load(jar.dump() + make_jar().dump())
        assert twin.keys() == ["c"]


class Site(BaseAdapter):
    """Answers with the Set-Cookie lines of a path and notes the Cookie fields that come in."""

    def __init__(self, answers: dict[str, list[str]]) -> None:
        super().__init__()
        self.answers = answers
        self.seen: list[str | None] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        self.seen.append(request.headers.get("Cookie"))
        message = HTTPMessage()
        for line in self.answers.get(request.path_url, []):
            message["Set-Cookie"] = line
        location = {"Location": "/next"} if request.path_url == "/hop" else {}
        raw = urllib3.HTTPResponse(
            io.BytesIO(), headers=location, status=302 if location else 200, preload_content=False
        )
        raw._original_response = SimpleNamespace(msg=message, isclosed=lambda: True)
        return HTTPAdapter().build_response(request, raw)

    def close(self) -> None:
        pass


class Session(requests.Session):
    """A session as it uses the jar: `requests` would pour it into a jar of the standard rules."""

    def __init__(self, jar: CookieJar, site: Site) -> None:
        super().__init__()
        self.cookies = jar
        self.mount("https://", site)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        prepared = super().prepare_request(request)
        prepared.headers.pop("Cookie", None)
        prepared.prepare_cookies(merge_cookies(self.cookies.copy(), request.cookies))
        return prepared


class TestInASession:
    def test_a_session_keeps_and_sends_cookies_by_these_rules(self, jar: DomainCookieJar) -> None:
        site = Site(
            {"/a/": ["x=1; Path=/none; Path=", "plain", "bad=1; Domain=test", "id=2; Domain=shop.test"]}
        )
        session = Session(jar, site)
        session.get(SHOP + "a/")
        session.get(SHOP + "a/b")
        session.get("https://api.shop.test/a/")
        assert site.seen == [None, "x=1; plain; id=2", "id=2"]
        assert jar.get("x", domain="api.shop.test") == "1"

    def test_cookies_of_a_redirect_are_sent_on_the_next_hop(self, jar: DomainCookieJar) -> None:
        site = Site({"/hop": ["id=1", "gone=1; Max-Age=0"]})
        Session(jar, site).get(SHOP + "hop")
        assert site.seen == [None, "id=1"]

    def test_cookies_of_one_request_stay_with_it(self, jar: DomainCookieJar) -> None:
        site = Site({})
        session = Session(jar, site)
        session.cookies.set("a", "1")
        session.get(SHOP, cookies={"b": "2"})
        session.get(SHOP)
        assert site.seen == ["a=1; b=2", "a=1"]

    def test_a_cookie_field_of_the_users_own_is_left_as_it_is(self, jar: DomainCookieJar) -> None:
        jar.set("a", "1")
        request = requests.Request("GET", SHOP, headers={"Cookie": "mine=1"}).prepare()
        assert get_cookie_header(jar, request) is None

    def test_both_ways_in_and_out_agree(self) -> None:
        lines = [
            "a=1; Domain=shop.test",
            "=b",
            "c=3; Path=/x",
            "d=4; Secure; Expires=1 feb 2030 1:2:3",
            "e=5;Max-Age=0",
        ]
        message = HTTPMessage()
        for line in lines:
            message["Set-Cookie"] = line
        direct, through = make_jar(), make_jar()
        direct.store(lines, SHOP, NOW)
        request = requests.Request("GET", SHOP).prepare()
        extract_cookies_to_jar(
            through, request, SimpleNamespace(_original_response=SimpleNamespace(msg=message))
        )
        assert direct.dump() == through.dump()
        for url in (SHOP, SHOP + "x", "http://www.shop.test/", "https://shop.test/"):
            prepared = requests.Request("GET", url).prepare()
            assert get_cookie_header(through, prepared) == direct.header_for(url, NOW)


def test_what_is_sent_fits_into_a_line_and_a_hosts_own_cookies_outlive_those_of_a_subdomain() -> None:
    jar = DomainCookieJar({"test"}.__contains__, wall=lambda: 1000.0)
    jar.store(["login=own"], "https://www.shop.test/", 1000.0)
    for number in range(90):
        line = f"c{number}={'x' * 200}; Domain=shop.test"
        jar.store([line], "https://sub.shop.test/", 1001.0 + number)
    sent = jar.header_for("https://www.shop.test/", 2000.0) or ""
    names = [pair.partition("=")[0] for pair in sent.split("; ")]
    assert len(sent) <= 8000 and names[0] == "login"
    assert names[1:] == [f"c{number}" for number in range(90)][-len(names) + 1 :]
