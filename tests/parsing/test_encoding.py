import pytest

from scraper.ops.clock import cpu_seconds
from scraper.parsing.encoding import decode, encoding_of, name_of

HTML = "text/html"


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"\xef\xbb\xbf<p>", "text/html; charset=koi8-r", "utf-8"),
        (b"\xfe\xff\0<", "text/html; charset=koi8-r", "utf-16be"),
        (b"\xff\xfe<\0", None, "utf-16le"),
        (b"<meta charset=gbk>", "text/html; charset=koi8-r", "koi8-r"),
        (b"<meta charset=gbk>", "text/html; charset=nonsense", "gbk"),
        (b"<meta charset=gbk>", HTML, "gbk"),
        (b"<?xml version='1.0' encoding='gbk'?><p>", HTML, "gbk"),
        (b"<?xml version='1.0' encoding='gbk'?><meta charset=koi8-r>", HTML, "koi8-r"),
        (b"<\0?\0x\0m\0l\0", HTML, "utf-16le"),
        (b"\0<\0?\0x\0m\0l", HTML, "utf-16be"),
        (b"plain", None, "windows-1252"),
        (b"caf\xe9", None, "windows-1252"),
        ("café".encode(), None, "utf-8"),
        (b"", None, "windows-1252"),
    ],
)
def test_the_mark_beats_the_header_beats_the_document_beats_the_guess(
    body: bytes, content_type: str | None, name: str
) -> None:
    assert encoding_of(body, content_type) == name


@pytest.mark.parametrize(
    ("content_type", "name"),
    [
        ('text/html; charset="gbk"', "gbk"),
        ('text/html; charset="g\\bk"', "gbk"),
        ("text/html; charset='gbk'", "windows-1252"),
        ("TEXT/HTML;CHARSET=GBK", "gbk"),
        ("text/html; charset= gbk ", "gbk"),
        ("text/html;a=b;;charset=gbk;charset=koi8-r", "gbk"),
        ('text/html; x="; charset=koi8-r"; charset=gbk', "gbk"),
        ("text/html charset=gbk", "windows-1252"),
        ("charset=gbk", "windows-1252"),
        ("text/html; charset=gbk, text/html", "gbk"),
        ("text/html; charset=gbk, text/plain", "windows-1252"),
        ("text/plain, text/html; charset=gbk", "gbk"),
        ("text/html; charset=gbk, */*", "gbk"),
        ("text/html; charset=", "windows-1252"),
        ("text/html; charset", "windows-1252"),
        (',;="', "windows-1252"),
    ],
)
def test_the_header_is_read_as_fetch_reads_it(content_type: str, name: str) -> None:
    assert encoding_of(b"<p>", content_type) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"<META CHARSET = 'KOI8-R' >", "koi8-r"),
        (b"<meta/charset=koi8-r/>", "windows-1252"),
        (b"<meta/charset=koi8-r />", "koi8-r"),
        (b"<metal charset=koi8-r>", "windows-1252"),
        (b"<meta charset=koi8-r", "windows-1252"),
        (b"<meta charset='koi8-r>", "windows-1252"),
        (b"<meta a=1 a=2 charset=koi8-r charset=gbk>", "koi8-r"),
        (b"<meta =x charset=koi8-r>", "koi8-r"),
        (b"<meta charset><meta charset=koi8-r>", "koi8-r"),
        (b"<meta charset=>gbk", "windows-1252"),
        (b"<meta http-equiv=content-type content='text/html; charset=koi8-r'>", "koi8-r"),
        (b"<meta content='charset=koi8-r' HTTP-EQUIV='Content-Type'>", "koi8-r"),
        (b"<meta content='charset=koi8-r'>", "windows-1252"),
        (b"<meta http-equiv=content-type content='charset charset = \"koi8-r\"x'>", "koi8-r"),
        (b"<meta http-equiv=content-type content='charset=\"koi8-r; charset=gbk'>", "windows-1252"),
        (b"<meta http-equiv=content-type content='charset=koi8-r;x'>", "koi8-r"),
        (b"<meta charset=utf-16>", "utf-8"),
        (b"<meta charset=x-user-defined>", "windows-1252"),
        (b"<!-- <meta charset=gbk> --><meta charset=koi8-r>", "koi8-r"),
        (b"<!--><meta charset=koi8-r>", "koi8-r"),
        (b"<!---><meta charset=koi8-r>", "koi8-r"),
        (b"<!-- <meta charset=gbk>", "windows-1252"),
        (b"<a title='<meta charset=gbk>'><meta charset=koi8-r>", "koi8-r"),
        (b"</a title='<meta charset=gbk>'><meta charset=koi8-r>", "koi8-r"),
        (b"<!doctype '><meta charset=koi8-r>", "koi8-r"),
        (b"<?x '><meta charset=koi8-r>", "koi8-r"),
        (b"</ '><meta charset=koi8-r>", "koi8-r"),
        (b"< <meta charset=koi8-r>", "koi8-r"),
        (b"<script>'<meta charset=koi8-r>'</script>", "koi8-r"),
    ],
)
def test_a_declaration_in_the_document_is_found_as_the_standard_says(body: bytes, name: str) -> None:
    assert encoding_of(body, HTML) == name


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        (b"<meta charset=koi8-r>", "koi8-r"),
        (b"<META charset=koi8-r>", "koi8-r"),
        (b"<script>'<meta charset=gbk>'</SCRIPT ><meta charset=koi8-r>", "koi8-r"),
        (b"<title><meta charset=gbk></title>", "windows-1252"),
        (b"<textarea><meta charset=gbk>", "windows-1252"),
        (b"<p title='<meta charset=gbk>'>", "windows-1252"),
    ],
)
def test_a_declaration_below_the_first_kibibyte_is_found_as_the_parser_finds_it(
    tail: bytes, name: str
) -> None:
    assert encoding_of(b"<p>" * 400 + tail, HTML) == name
    assert encoding_of(b"<p>" * 340 + tail, HTML) == name


def test_the_declaration_of_xml_above_beats_a_meta_below_the_first_kibibyte() -> None:
    assert encoding_of(b"<?xml encoding='gbk'?>" + b"<p>" * 400 + b"<meta charset=koi8-r>", HTML) == "gbk"


@pytest.mark.parametrize(
    ("body", "content_type", "name"),
    [
        (b"<a/>", "application/xml", "utf-8"),
        (b"<?xml version='1.0' encoding='koi8-r'?><a/>", "application/rss+xml", "koi8-r"),
        (b"<?xml version='1.0' encoding = \"UTF-16\"?><a/>", "text/xml", "utf-8"),
        (b"<?xml version='1.0'?><a encoding='koi8-r'/>", "text/xml", "utf-8"),
        (b"<meta charset=koi8-r>", "application/xhtml+xml", "utf-8"),
        (b"<?xml encoding='gbk'?><a/>", "text/xml; charset=koi8-r", "koi8-r"),
        (b"[1]", "application/json", "utf-8"),
        (b"\xff", "application/ld+json", "utf-8"),
        (b"<meta charset=koi8-r>", "text/plain", "windows-1252"),
        ("é".encode(), "text/csv", "utf-8"),
    ],
)
def test_xml_json_and_text_have_rules_of_their_own(body: bytes, content_type: str, name: str) -> None:
    assert encoding_of(body, content_type) == name


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("Latin1", "windows-1252"),
        (" UTF8\n", "utf-8"),
        ("sjis", "shift_jis"),
        ("ISO-8859-8-I", "iso-8859-8-i"),
        ("unicode", "utf-16le"),
        ("replacement", "replacement"),
        ("hz-gb-2312", "replacement"),
        ("utf-7", None),
        ("", None),
        ("utf 8", None),
        ("\xa0utf-8", None),
        ("iso-8859-12", None),
    ],
)
def test_labels_are_those_of_the_encoding_standard(label: str, name: str | None) -> None:
    assert name_of(label) == name


@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (b"\xef\xbb\xbfcaf\xc3\xa9", "utf-8", "café"),
        (b"a\xf0\x9f\x98b\xff", "utf-8", "a\ufffdb\ufffd"),
        (b"\xff\xfea\0", "utf-16le", "a"),
        (b"\0a\xd8\0\0b\0", "utf-16be", "a\ufffdb\ufffd"),
        (b"\x80\x81\x9d", "windows-1252", "€\x81\x9d"),
        (b"\x80\xdb\x81", "windows-874", "€\ufffd\x81"),
        (b"\xca\xd9", "windows-1255", "\u05ba\ufffd"),
        (b"\xae\xbe\xa4", "koi8-u", "ўЎє"),
        (b"\xa2\xff", "x-mac-cyrillic", "Ґ€"),
        (b"\xe0\xa1", "iso-8859-8-i", "א\ufffd"),
        (b"a\x80\xff", "x-user-defined", "a\uf780\uf7ff"),
        (b"\xb0\xa1\x81\x30\x81\x30", "gbk", "啊\x80"),
        (b'\xa4"a', "big5", '\ufffd"a'),
        (b"\x87\x40\x81\x60\xb1", "shift_jis", "①～ｱ"),
        (b"\xad\xa1\xa1\xc1\xfc\xe2\x8e\xb1\xa4\xa2", "euc-jp", "①～髙ｱあ"),
        (b'\xfe\xfe\xa4"\x80', "euc-jp", '\ufffd\ufffd"\ufffd'),
        (b'\x1b$B!A$"\x1b(B!', "iso-2022-jp", "～あ!"),
        (b"\xb0\xa1\x81\x41", "euc-kr", "가갂"),
        (b"any", "replacement", "\ufffd"),
        (b"", "replacement", ""),
        (b"caf\xe9", "latin1", "café"),
    ],
)
def test_text_is_decoded_as_browsers_decode_it(body: bytes, encoding: str, text: str) -> None:
    assert decode(body, encoding) == text


def test_an_unknown_encoding_is_a_lookup_error() -> None:
    with pytest.raises(LookupError, match="utf-7"):
        decode(b"", "utf-7")


def test_every_byte_has_text_in_every_encoding() -> None:
    every = bytes(range(256))
    for label in (
        "utf-8",
        "ibm866",
        "iso-8859-6",
        "windows-1253",
        "gb18030",
        "big5",
        "euc-jp",
        "euc-kr",
        "utf-16le",
    ):
        assert decode(every * 2, label)
        assert decode(every[::-1], label)


@pytest.mark.parametrize(
    "body",
    [
        b"<meta " * 100_000,
        b"<meta charset=" * 50_000,
        b"<!--" * 200_000,
        b"<a " + b"a='" * 200_000,
        b"<a" + b" b=c" * 200_000,
        b"<" * 1_000_000,
        b"<p><script><meta>" * 50_000,
        b"<title></title><meta>" * 50_000,
        b"<?xml " + b"encoding= " * 100_000 + b">",
    ],
    ids=lambda body: ascii(body[:12]),
)
def test_hostile_bodies_take_linear_time(body: bytes) -> None:
    began = cpu_seconds()
    assert encoding_of(body, HTML) == "windows-1252"
    assert cpu_seconds() - began < 1.5


@pytest.mark.parametrize(
    "header", ["text/html;" * 20_000, 'text/html; charset="' + "\\" * 100_000, "," * 100_000]
)
def test_hostile_headers_take_linear_time(header: str) -> None:
    began = cpu_seconds()
    encoding_of(b"", header)
    assert cpu_seconds() - began < 1
