"""Cookies that a person brings along, read and sent."""

import json
from http.cookiejar import LWPCookieJar, MozillaCookieJar
from pathlib import Path

import pytest

from scraper.errors import UsageError
from scraper.http.cookie_files import read, read_json, read_lines
from scraper.http.cookies import DomainCookieJar

NOW = 1_800_000_000.0
SHOP = "https://www.shop.test/"


@pytest.fixture
def jar() -> DomainCookieJar:
    return DomainCookieJar({"test"}.__contains__, wall=lambda: NOW)


class TestImports:
    def test_a_cookies_txt_is_read(self, jar: DomainCookieJar) -> None:
        rows = read_lines(
            "# Netscape HTTP Cookie File\n\n"
            ".shop.test\tTRUE\t/\tTRUE\t1900000000\tid\tabc=\r\n"
            "#HttpOnly_www.shop.test\tFALSE\t/x\tFALSE\t0\tname\tvälue\n"
            "www.shop.test\tFALSE\t/\tfalse\t0\tempty\n"
            "www.shop.test\tFALSE\t/\tFALSE\t0\t\tplain\n"
        )
        jar.load(rows)
        assert jar.header_for("https://a.shop.test/", NOW) == "id=abc="
        assert jar.header_for("http://www.shop.test/x", NOW) == "name=vÃ¤lue; empty=; plain"
        assert [row["http_only"] for row in rows] == [False, True, False, False]
        assert rows[0]["expires"] == 1900000000

    @pytest.mark.parametrize(
        "line",
        [
            "www.shop.test FALSE / FALSE 0 a 1",
            "www.shop.test\tFALSE\t/\tFALSE\t0",
            "www.shop.test\tFALSE\t/\tFALSE\t0\ta\tb\tc",
            "www.shop.test\tno\t/\tFALSE\t0\ta\tb",
            "www.shop.test\tFALSE\t/\tFALSE\tsoon\ta\tb",
            "www.shop.test\tFALSE\t/\tFALSE\tnan\ta\tb",
            "\tFALSE\t/\tFALSE\t0\ta\tb",
            "www.shop.test\tFALSE\t/\tFALSE\t0\ta\tb;c",
            "www.shop.test\tFALSE\t/\tFALSE\t0\ta=b\tc",
            "www.shop.test\tFALSE\t/\tFALSE\t0\ta\t" + "x" * 4096,
        ],
    )
    def test_a_bad_line_is_named_by_its_number(self, line: str) -> None:
        with pytest.raises(UsageError, match="line 3"):
            read_lines(f"# Netscape HTTP Cookie File\n\n{line}\n")

    def test_an_export_of_a_browser_is_read(self, jar: DomainCookieJar) -> None:
        common = {"path": "/", "storeId": "0", "id": 1, "secure": True, "httpOnly": True}
        rows = read_json(
            json.dumps(
                [
                    {
                        "domain": ".shop.test",
                        "name": "id",
                        "value": "ü",
                        "hostOnly": False,
                        "session": False,
                        "expirationDate": 1900000000.25,
                        "sameSite": "no_restriction",
                        **common,
                    },
                    {
                        "domain": "www.shop.test",
                        "name": "s",
                        "value": "1",
                        "hostOnly": True,
                        "session": True,
                        "expirationDate": 1,
                        "sameSite": None,
                        **common,
                    },
                    {"domain": "old.shop.test", "name": "bare", "value": ""},
                ]
            )
        )
        jar.load(rows)
        assert [row["same_site"] for row in rows] == ["None", "", ""]
        assert rows[0]["expires"] == 1900000000.25
        assert jar.header_for(SHOP, NOW) == "id=Ã¼; s=1"
        assert jar.header_for("http://old.shop.test/", NOW) == "bare="
        assert jar.store(["id=new; Domain=shop.test; Path=/; Secure"], SHOP, NOW)
        assert jar.header_for(SHOP, NOW) == "id=new; s=1"

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ('[\n{"name": }]', "line 2"),
            ("{}", "array"),
            ('{"cookies": {"result": 5}}', "array"),
            ("[" * 100_000, "JSON"),
            ('[{"name": "a", "value": "1", "domain": "b.test"}, 5]', "cookie 2"),
            ('[{"name": "a", "value": 1, "domain": "b.test"}]', "cookie 1.*value"),
            ('[{"name": "a", "value": "1"}]', "cookie 1.*domain"),
            ('[{"name": "a", "value": "1\\r\\nX: y", "domain": "b.test"}]', "cookie 1"),
            ('[{"name": "", "value": "", "domain": "b.test"}]', "cookie 1"),
            ('[{"name": "a", "value": "1", "domain": "b.test", "expirationDate": "x"}]', "cookie 1.*expiry"),
            ('[{"name": "a", "value": "1", "domain": "b.test", "expirationDate": Infinity}]', "cookie 1"),
            ('[{"name": "a", "value": "1", "domain": "b.test", "expirationDate": [1]}]', "cookie 1"),
        ],
    )
    def test_a_bad_export_says_where_it_is_bad(self, text: str, place: str) -> None:
        with pytest.raises(UsageError, match=f"(?s){place}"):
            read_json(text)

    def test_every_form_of_an_expiry_is_understood(self) -> None:
        seconds = 1_810_000_000.0
        given = {
            "expires": seconds,
            "expiry": int(seconds),
            "expirationDate": seconds * 1000,
        }
        cookies = [
            {"name": "a", "value": "1", "domain": "b.test", key: value} for key, value in given.items()
        ]
        for text in (
            "2027-05-11T01:46:40Z",
            "2027-05-11T03:46:40.000+02:00",
            "Tue, 11 May 2027 01:46:40 GMT",
        ):
            cookies.append({"key": "a", "value": "1", "domain": "b.test", "expires": text})
        cookies.append(
            {"name": "a", "value": "1", "domain": "b.test", "expires": (seconds + 11644473600) * 1e6}
        )
        assert [row["expires"] for row in read_json(json.dumps(cookies))] == [seconds] * 7
        for session in ({"expires": -1}, {"expires": 0}, {"expires": None}, {"expires": "Infinity"}, {}):
            (row,) = read_json(json.dumps([{"name": "a", "value": "1", "domain": "b.test", **session}]))
            assert row["expires"] is None

    def test_what_is_expired_is_left_out_and_nothing_lives_longer_than_400_days(self) -> None:
        cookies = [
            {"name": "old", "value": "1", "domain": "b.test", "expires": NOW - 1},
            {"name": "long", "value": "1", "domain": "b.test", "expires": 253402300799},
            {"name": "session", "value": "1", "domain": "b.test", "expires": -1},
        ]
        found = read(json.dumps(cookies), NOW)
        assert [(row["name"], row["expires"]) for row in found.rows] == [
            ("long", NOW + 400 * 86400),
            ("session", None),
        ]
        assert found.expired == 1

    @pytest.mark.parametrize(
        "wrapped", ['{"cookies": %s, "origins": []}', '{"id": 1, "result": {"cookies": %s}}', "%s"]
    )
    def test_a_partitioned_cookie_is_kept_for_its_own_site_alone(self, wrapped: str) -> None:
        keys = [
            "https://shop.test",
            {"topLevelSite": "https://www.shop.test"},
            None,
            "",
            "https://other.example",
        ]
        cookies = [
            {"name": f"c{n}", "value": "1", "domain": ".shop.test", "expires": -1, "partitionKey": key}
            for n, key in enumerate([*keys, {"topLevelSite": "https://other.example"}])
        ]
        found = read(wrapped % json.dumps(cookies), NOW)
        assert [row["name"] for row in found.rows] == ["c0", "c1", "c2", "c3"] and found.partitioned == 2

    def test_the_max_age_of_tough_cookies_jar_counts_from_when_it_was_set(self) -> None:
        # tough-cookie 6.1.0: no `expires` beside `maxAge`.
        fields = {
            "domain": "shop.test",
            "path": "/",
            "hostOnly": True,
            "creation": "2027-01-15T08:00:00.000Z",
        }
        cookies = [{"key": "a", "value": "1", "maxAge": 86400}, {"key": "b", "value": "2", "maxAge": -1}]
        cookies.append({"key": "c", "value": "3", "maxAge": "Infinity", "expires": "Infinity"})
        found = read(json.dumps({"cookies": [fields | cookie for cookie in cookies]}), NOW)
        assert [(row["name"], row["expires"]) for row in found.rows] == [("a", NOW + 86400), ("c", None)]
        assert found.expired == 1

    def test_files_of_the_standard_librarys_jars_and_of_wget_are_read(
        self, jar: DomainCookieJar, tmp_path: Path
    ) -> None:
        for kind in (MozillaCookieJar, LWPCookieJar):
            library = kind(str(tmp_path / "jar"))
            given = DomainCookieJar({"test"}.__contains__, wall=lambda: NOW)
            given.store(["s=1", "d=2; Domain=shop.test; Path=/x; Secure; Max-Age=99999"], SHOP, NOW)
            for cookie in given:
                library.set_cookie(cookie)
            library.save(ignore_discard=True, ignore_expires=True)
            twin = jar.copy()
            twin.load(read((tmp_path / "jar").read_text(), NOW).rows)
            assert twin.header_for("https://www.shop.test/x", NOW) == "d=2; s=1", kind
            assert twin.header_for("http://a.shop.test/x", NOW) is None
        jar.load(read("127.0.0.1:8080\tFALSE\t/\tFALSE\t0\ta\t1\n", NOW).rows)
        assert jar.header_for("http://127.0.0.1:8080/", NOW) == "a=1"
