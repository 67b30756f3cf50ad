"""One redaction for all that is written or shown: by name, and every spelling of what was a secret."""

import base64
import json
import unicodedata
import urllib.parse
from html import escape

import pytest

from scraper.ops.secrets import Redaction, is_secret_name, may_leave, names_secret

SECRET = 'h\u00fcnter "2"&/?+7'


@pytest.mark.parametrize(
    "name",
    "password user_password Passwort api_key apikey X-Api-Key access_token csrf pw sid PHPSESSID jsessionid "
    "client_secret Authorization X-Amz-Signature sig key user%5Bpassword%5D".split(),
)
def test_what_is_named_like_a_secret(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["q", "page", "author", "keyword", "monkey", "passage", "design", "sidebar", "category"]
)
def test_what_is_not(name: str) -> None:
    assert not is_secret_name(name)


def test_fields_that_any_host_may_hear() -> None:
    assert all(
        map(
            may_leave,
            ("Accept", "accept-language", "User-Agent", "Content-Type", "DNT", "Sec-GPC", "Connection"),
        )
    )
    assert not any(map(may_leave, ("Authorization", "Cookie", "X-Api-Key", "X-Anything", "Host", "Referer")))


def test_a_body_that_names_a_secret() -> None:
    assert names_secret("user=ada&password=x") and names_secret('{"q": 1, "apiKey": "x"}')
    assert names_secret('{"query": "mutation { login(user: \\"a\\", password: \\"x\\") { id } }"}')
    assert names_secret("<soap:Body><wsse:Password>x</wsse:Password></soap:Body>")
    assert names_secret('Content-Disposition: form-data; name="user[password]"\r\n\r\nx')
    assert names_secret("usuario=ada&contrase%C3%B1a=x")
    assert not names_secret("q=password&page=2") and not names_secret("")
    assert not names_secret('{"query": "{ books(title: \\"password: how\\") { id } }"}')


@pytest.mark.parametrize("end", ["", "...", "\u2026", "'", '")'])
def test_a_secret_of_which_the_end_was_cut_off_is_hidden_at_the_end_of_a_message(end: str) -> None:
    redaction = Redaction(["Opensesame77"])
    assert redaction(f"refused: ada:opensesam{end}") == f"refused: ada:***{end}"
    assert redaction(f"refused: ada:Opensesame77 ada:Opense{end}") == f"refused: ada:*** ada:***{end}"
    assert redaction(f"\u0130zmir: opensesam{end}") == f"\u0130zmir: ***{end}"  # longer in lower case
    assert redaction(f"it is open{end}") == f"it is open{end}"
    assert redaction("opensesam is no word of ours") == "opensesam is no word of ours"


@pytest.mark.parametrize(
    "spelling",
    [
        SECRET,
        urllib.parse.quote(SECRET),
        urllib.parse.quote(SECRET, safe=""),
        urllib.parse.quote(SECRET, safe="").lower(),
        urllib.parse.quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        repr(SECRET)[1:-1],
        escape(SECRET),
        SECRET.encode().decode("latin-1"),
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        escape(SECRET, quote=False),
        urllib.parse.quote(urllib.parse.quote(SECRET, safe=""), safe=""),
        urllib.parse.quote(SECRET.encode("latin-1"), safe=""),
        json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
        json.dumps(SECRET)[1:-1].replace("/", "\\/"),
        repr(SECRET.encode())[2:-1],
        base64.b64encode(SECRET.encode("latin-1")).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(base64.b64encode(SECRET.encode())).decode(),
        base64.b32encode(SECRET.encode()).decode(),
        SECRET.upper(),
        unicodedata.normalize("NFD", SECRET),
        SECRET.encode("ascii", "xmlcharrefreplace").decode(),
        "".join(f"&#x{ord(char):X};" for char in SECRET),
        "".join(f"&amp;#{ord(char)};" for char in SECRET),
        "".join(f"%{octet:02x}" for octet in SECRET.encode()),
        "".join(f"%25{octet:02X}" for octet in SECRET.encode()),
        "".join(f"\\u{ord(char):04x}" for char in SECRET),
        "".join(f"\\\\x{octet:02x}" for octet in SECRET.encode()),
        SECRET.encode().hex(":"),
        urllib.parse.quote(SECRET, safe="&/").replace("&", "&amp;"),
    ],
)
def test_a_known_secret_is_hidden_in_every_spelling(spelling: str) -> None:
    hidden = Redaction([SECRET])(f"before {spelling} after")
    assert hidden == "before *** after"


@pytest.mark.parametrize(
    "secret", ["50%25off", "a&amp;b!", "dom\\name", "two words", "\U0001f511 key", "x\ny\tz"]
)
def test_a_secret_that_looks_escaped_is_found_as_it_is_and_escaped(secret: str) -> None:
    hide = Redaction([secret])
    for text in (
        secret,
        urllib.parse.quote(secret),
        json.dumps(secret)[1:-1],
        repr(secret)[1:-1],
        escape(secret),
    ):
        assert hide(f"<{text}>") == "<***>", text
    assert (
        Redaction(["opensesame"])("open%20sesame &amp; 50% \\o \u00e4")
        == "open%20sesame &amp; 50% \\o \u00e4"
    )


@pytest.mark.parametrize(
    "text", ["%25" * 50_000, "\\" * 200_000, "&" + "amp;" * 50_000, "\\x" * 50_000, "\u304c" * 50_000]
)
def test_escapes_without_end_are_read_once(text: str) -> None:
    assert Redaction(["opensesam\u00e9"])(text) == text


@pytest.mark.parametrize("user", ["a", "ad", "ada", "ada@club.example"])
def test_a_password_is_hidden_inside_base64_wherever_it_begins(user: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(f"{user}:opensesame".encode()).decode()
        hidden = Redaction(["opensesame"])(f"sent {whole}!")
        kept = hidden.removeprefix("sent ").removesuffix("!")
        assert "***" in kept and "opensesam" not in base64.b64decode(kept.replace("***", "") + "==").decode(
            "latin-1"
        )


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("https://a.example/x?api_key=abc&q=1 failed", "https://a.example/x?api_key=***&q=1 failed"),
        ("https://a.example/x;jsessionid=AB12?q=1", "https://a.example/x;jsessionid=***?q=1"),
        ("?key=AIza&sig=9f#access_token=zz", "?key=***&sig=***#access_token=***"),
        ("to /login?next=%2Fx%3Ftoken%3Dabc%26q%3D1", "to /login?next=%2Fx%3Ftoken%3D***%26q%3D1"),
        ("https://ada:pw@a.example/", "https://***@a.example/"),
        ("{'Authorization': 'Bearer abcdefgh', 'A': 'b'}", "{'Authorization': '***', 'A': 'b'}"),
        ("Authorization: Basic YWRhOnB3", "Authorization: ***"),
        ("got Bearer abcdefgh1234", "got Bearer ***"),
        ("got Basic YWRhOnB3 back", "got Basic *** back"),
        ("Set-Cookie: sid=1; Path=/", "Set-Cookie: ***"),
        ("{'user': 'ada', 'password': 'x y'}", "{'user': 'ada', 'password': '***'}"),
        ('{"user_password": "x"}', '{"user_password": "***"}'),
        ("password=x, user=ada", "password=***, user=ada"),
        (
            "same key as an earlier record: key=7, number=2.1",
            "same key as an earlier record: key=7, number=2.1",
        ),
        ("Basic information about the page", "Basic information about the page"),
        ("status 503, after 4 attempts", "status 503, after 4 attempts"),
        ("robots.txt line 3: Disallow: /private (for *)", "robots.txt line 3: Disallow: /private (for *)"),
        ("", ""),
    ],
)
def test_what_is_named_like_a_secret_is_hidden(text: str, hidden: str) -> None:
    redaction = Redaction()
    assert redaction(text) == hidden
    assert redaction(redaction(text)) == hidden


def test_a_url_that_ends_like_a_secrets_name_hides_no_message() -> None:
    told = "failed https://a.example/reset-password: timed out, after 4 attempts"
    assert Redaction()(told) == told
    assert Redaction()("wrong user/password: hunter2") == "wrong user/password: ***"


def test_values_are_searched_to_the_bottom_and_short_secrets_let_stand() -> None:
    redaction = Redaction(["opensesame", "ab", ""])
    found = {"examples": {"x": ["opensesame", 1]}, "opensesame": None, "ab": "ab"}
    assert redaction.value(found) == {"examples": {"x": ["***", 1]}, "***": None, "ab": "ab"}
    assert redaction.has("opensesame!") and not redaction.has("token=1")


@pytest.mark.parametrize("text", ["x" * 500_000, "token" * 100_000, "token-" * 80_000, "a token " * 60_000])
def test_what_a_site_may_say_at_any_length_is_searched_once(text: str) -> None:
    assert Redaction()(text) == text  # would be an hour where each letter starts the search anew


@pytest.mark.parametrize(
    "text", ["pa\u017f\u017fword: hunter22", "to\u212aen=hunter22", "coo\u212aie: id=hunter22"]
)
def test_a_word_for_a_secret_is_known_in_letters_that_are_the_same_but_for_their_case(text: str) -> None:
    assert "hunter22" not in Redaction()(text)
