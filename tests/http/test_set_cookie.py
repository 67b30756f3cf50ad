"""One Set-Cookie line: dates, pairs, attributes and whom a cookie is for."""

from datetime import UTC, datetime

import pytest

from scraper.http.set_cookie import MAX_AGE, domain_matches, parse_date, parse_set_cookie, path_matches

NOW = 1_800_000_000.0


def moment(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


class TestDates:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Tue, 05 Mar 2030 10:20:30 GMT", (2030, 3, 5, 10, 20, 30)),
            ("Tuesday, 05-Mar-30 10:20:30 GMT", (2030, 3, 5, 10, 20, 30)),
            ("Tue Mar  5 10:20:30 2030", (2030, 3, 5, 10, 20, 30)),
            ("10:20:30 2030 Mar 5", (2030, 3, 5, 10, 20, 30)),
            ("5/MARCH/2030|1:2:3", (2030, 3, 5, 1, 2, 3)),
            ("5 mar 2030 10:20:30 -0800 (PST)", (2030, 3, 5, 10, 20, 30)),
            ("5th mar 2030AD 10:20:30.999", (2030, 3, 5, 10, 20, 30)),
            ("1 jan 70 00:00:00", (1970, 1, 1)),
            ("1 jan 69 00:00:00", (2069, 1, 1)),
            ("1 jan 99 00:00:00", (1999, 1, 1)),
            ("29 feb 2028 00:00:00", (2028, 2, 29)),
            ("1 jan 1601 00:00:00", (1601, 1, 1)),
            ("31 dec 9999 23:59:59", (9999, 12, 31, 23, 59, 59)),
        ],
    )
    def test_a_date_is_read_from_its_tokens_in_any_order(self, text: str, expected: tuple[int, ...]) -> None:
        assert parse_date(text) == moment(*expected)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "tomorrow",
            "5 mar 10:20:30",
            "mar 2030 10:20:30",
            "5 2030 10:20:30",
            "5 mar 2030",
            "5 mar 2030 10:20",
            "005 mar 2030 10:20:30",
            "5 mar 99999 10:20:30",
            "5 mar 1600 10:20:30",
            "5 mar 203 10:20:30",
            "0 mar 2030 10:20:30",
            "32 mar 2030 10:20:30",
            "29 feb 2030 10:20:30",
            "5 mar 2030 24:00:00",
            "5 mar 2030 10:60:00",
            "5 mar 2030 10:20:60",
            "5 mar 2030 10:20:300",
            "٥ mar 2030 10:20:30",
            "9" * 100_000,
            "1:" * 100_000,
        ],
    )
    def test_what_is_no_date_is_none(self, text: str) -> None:
        assert parse_date(text) is None


class TestLines:
    @pytest.mark.parametrize(
        ("line", "name", "value"),
        [
            ("id=7", "id", "7"),
            (" id \t= \t7 ; Path=/", "id", "7"),
            ("id==7=8", "id", "=7=8"),
            ("id=", "id", ""),
            ("plain", "", "plain"),
            ("=plain", "", "plain"),
            ('id="7; 8"', "id", '"7'),
            ('id="a\\"b"', "id", '"a\\"b"'),
            ("a b=c d", "a b", "c d"),
            ("id=1, other=2", "id", "1, other=2"),
            ("id=%20", "id", "%20"),
            ("id=a\tb", "id", "a\tb"),
            ("id=" + "x" * 4094, "id", "x" * 4094),
        ],
    )
    def test_name_and_value_are_split_at_the_first_equals_sign(
        self, line: str, name: str, value: str
    ) -> None:
        read = parse_set_cookie(line, NOW)
        assert read is not None
        assert (read.name, read.value) == (name, value)

    @pytest.mark.parametrize(
        "line",
        [
            *["", " ", "=", " = ; Path=/", "; Path=/"],
            *["a=\x00", "a=b\x7f", "a\n=b", "a=b; Path=/\r", "a=b;\x1f"],
            *["id=" + "x" * 4095, "x" * 4097, "x" * 1_000_000, "id=" + "春" * 1365],
        ],
    )
    def test_a_line_without_cookie_with_controls_or_too_long_is_ignored(self, line: str) -> None:
        assert parse_set_cookie(line, NOW) is None

    def test_the_last_of_equal_attributes_counts(self) -> None:
        read = parse_set_cookie("a=b; path=/x; PATH=/y; domain=p.test; Domain=.Q.Test", NOW)
        assert read is not None
        assert (read.path, read.domain) == ("/y", "q.test")

    def test_an_attribute_over_1024_octets_is_as_if_it_were_not_there(self) -> None:
        read = parse_set_cookie(f"a=b; path=/x; path=/{'y' * 1024}; secure={'z' * 1025}", NOW)
        assert read is not None
        assert (read.path, read.secure) == ("/x", False)
        longest = parse_set_cookie(f"a=b; path=/{'y' * 1023}", NOW)
        assert longest is not None
        assert longest.path == "/" + "y" * 1023

    @pytest.mark.parametrize("line", ["a=b; path=rel", "a=b; path", "a=b; path=/x; path="])
    def test_a_path_without_leading_slash_means_the_default_path(self, line: str) -> None:
        read = parse_set_cookie(line, NOW)
        assert read is not None
        assert read.path == ""

    @pytest.mark.parametrize(
        ("attributes", "expires"),
        [
            ("Max-Age=60", NOW + 60),
            ("max-age=0", 0.0),
            ("max-age=-5", 0.0),
            ("max-age=60; max-age=6.5", NOW + 60),
            ("max-age=+60", None),
            ("max-age=", None),
            ("max-age=-", None),
            ("max-age=6O", None),
            ("max-age=٦٠", None),
            ("max-age=" + "9" * 1024, NOW + MAX_AGE),
            ("max-age=-" + "9" * 1023, 0.0),
            ("expires=Fri, 31 Dec 9999 23:59:59 GMT", NOW + MAX_AGE),
            ("expires=Thu, 01 Jan 99999 00:00:00 GMT", None),
            ("expires=soon; max-age=60", NOW + 60),
            ("max-age=60; expires=1 jan 1999 00:00:00", NOW + 60),
            ("expires=1 jan 1999 00:00:00; expires=never", moment(1999, 1, 1)),
        ],
    )
    def test_the_expiry_comes_from_max_age_then_expires_and_is_capped(
        self, attributes: str, expires: float | None
    ) -> None:
        read = parse_set_cookie(f"a=b; {attributes}", NOW)
        assert read is not None
        assert read.expires == expires

    @pytest.mark.parametrize(
        ("text", "kept"),
        [("LAX", "Lax"), ("strict", "Strict"), ("none", "None"), ("odd", ""), ("Lax; SameSite=odd", "")],
    )
    def test_same_site_is_kept(self, text: str, kept: str) -> None:
        read = parse_set_cookie(f"a=b; SameSite={text}", NOW)
        assert read is not None
        assert read.same_site == kept


class TestMatching:
    @pytest.mark.parametrize(
        ("host", "domain", "expected"),
        [
            ("a.test", "a.test", True),
            ("b.a.test", "a.test", True),
            ("ba.test", "a.test", False),
            ("a.test", "b.a.test", False),
            ("10.0.0.1", "10.0.0.1", True),
            ("10.0.0.1", "0.0.1", False),
            ("::1", "::1", True),
            ("a.test", "a.test.", False),
        ],
    )
    def test_a_host_matches_its_own_name_and_those_above(
        self, host: str, domain: str, expected: bool
    ) -> None:
        assert domain_matches(host, domain) is expected

    @pytest.mark.parametrize(
        ("path", "cookie_path", "expected"),
        [
            ("/", "/", True),
            ("/shop", "/shop", True),
            ("/shop/cart", "/shop", True),
            ("/shop/cart", "/shop/", True),
            ("/shopping", "/shop", False),
            ("/shop", "/shop/", False),
            ("/Shop", "/shop", False),
            ("/sh%6Fp", "/shop", False),
        ],
    )
    def test_a_path_matches_at_the_boundary_of_a_segment(
        self, path: str, cookie_path: str, expected: bool
    ) -> None:
        assert path_matches(path, cookie_path) is expected
