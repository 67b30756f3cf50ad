"""Cookies that a person brings along, read and sent."""

import json

import pytest

from scraper.errors import UsageError
from scraper.http.cookie_files import read_json, read_netscape
from scraper.http.cookies import Jar

NOW = 1_800_000_000.0
SHOP = "https://www.shop.test/"


@pytest.fixture
def jar() -> Jar:
    return Jar({"test"}.__contains__, wall=lambda: NOW)


class TestImports:
    def test_a_cookies_txt_is_read(self, jar: Jar) -> None:
        rows = read_netscape(
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
            read_netscape(f"# Netscape HTTP Cookie File\n\n{line}\n")

    def test_an_export_of_a_browser_is_read(self, jar: Jar) -> None:
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
