"""Which encoding a body is in, and its text: HTML Standard 13.2.3, Encoding Standard, MIME Sniffing 4.4.

Order: byte order mark, charset of the Content-Type, what the document itself says, a guess. The guess is
UTF-8 where bytes beyond ASCII are valid as such, else windows-1252; for XML and JSON it is UTF-8 always.
"""

import codecs
import re
from functools import cache, lru_cache

from scraper.ops.patterns import pattern

# WHATWG name: (Python's codec, other labels). From the tables of the Encoding Standard 4.2.
_ENCODINGS = {
    "utf-8": ("utf_8", "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf8 x-unicode20utf8"),
    "ibm866": ("cp866", "866 cp866 csibm866"),
    "iso-8859-2": (
        "iso8859_2",
        "csisolatin2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    ),
    "iso-8859-3": (
        "iso8859_3",
        "csisolatin3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    ),
    "iso-8859-4": (
        "iso8859_4",
        "csisolatin4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    ),
    "iso-8859-5": (
        "iso8859_5",
        "csisolatincyrillic cyrillic iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    ),
    "iso-8859-6": (
        "iso8859_6",
        "arabic asmo-708 csiso88596e csiso88596i csisolatinarabic ecma-114 iso-8859-6-e iso-8859-6-i"
        " iso-ir-127 iso8859-6 iso88596 iso_8859-6 iso_8859-6:1987",
    ),
    "iso-8859-7": (
        "iso8859_7",
        "csisolatingreek ecma-118 elot_928 greek greek8 iso-ir-126 iso8859-7 iso88597 iso_8859-7"
        " iso_8859-7:1987 sun_eu_greek",
    ),
    "iso-8859-8": (
        "iso8859_8",
        "csiso88598e csisolatinhebrew hebrew iso-8859-8-e iso-ir-138 iso8859-8 iso88598 iso_8859-8"
        " iso_8859-8:1988 visual",
    ),
    "iso-8859-8-i": ("iso8859_8", "csiso88598i logical"),
    "iso-8859-10": ("iso8859_10", "csisolatin6 iso-ir-157 iso8859-10 iso885910 l6 latin6"),
    "iso-8859-13": ("iso8859_13", "iso8859-13 iso885913"),
    "iso-8859-14": ("iso8859_14", "iso8859-14 iso885914"),
    "iso-8859-15": ("iso8859_15", "csisolatin9 iso8859-15 iso885915 iso_8859-15 l9"),
    "iso-8859-16": ("iso8859_16", ""),
    "koi8-r": ("koi8_r", "cskoi8r koi koi8 koi8_r"),
    "koi8-u": ("koi8_u", "koi8-ru"),
    "macintosh": ("mac_roman", "csmacintosh mac x-mac-roman"),
    "windows-874": ("cp874", "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620"),
    "windows-1250": ("cp1250", "cp1250 x-cp1250"),
    "windows-1251": ("cp1251", "cp1251 x-cp1251"),
    "windows-1252": (
        "cp1252",
        "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591"
        " iso_8859-1 iso_8859-1:1987 l1 latin1 us-ascii x-cp1252",
    ),
    "windows-1253": ("cp1253", "cp1253 x-cp1253"),
    "windows-1254": (
        "cp1254",
        "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 iso_8859-9:1989 l5 latin5"
        " x-cp1254",
    ),
    "windows-1255": ("cp1255", "cp1255 x-cp1255"),
    "windows-1256": ("cp1256", "cp1256 x-cp1256"),
    "windows-1257": ("cp1257", "cp1257 x-cp1257"),
    "windows-1258": ("cp1258", "cp1258 x-cp1258"),
    "x-mac-cyrillic": ("mac_cyrillic", "x-mac-ukrainian"),
    "gbk": ("gb18030", "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 iso-ir-58 x-gbk"),
    "gb18030": ("gb18030", ""),
    "big5": ("big5hkscs", "big5-hkscs cn-big5 csbig5 x-x-big5"),
    "euc-jp": ("euc_jp", "cseucpkdfmtjapanese x-euc-jp"),
    "iso-2022-jp": ("iso2022_jp_ext", "csiso2022jp"),
    "shift_jis": ("cp932", "csshiftjis ms932 ms_kanji shift-jis sjis windows-31j x-sjis"),
    "euc-kr": (
        "cp949",
        "cseuckr csksc56011987 iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    ),
    "replacement": ("", "csiso2022kr hz-gb-2312 iso-2022-cn iso-2022-cn-ext iso-2022-kr"),
    "utf-16be": ("utf_16_be", "unicodefffe"),
    "utf-16le": ("utf_16_le", "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16"),
    "x-user-defined": ("", ""),
}
_NAMES = {label: name for name, (_, labels) in _ENCODINGS.items() for label in (name, *labels.split())}
_MANY_BYTES = frozenset(("gbk", "gb18030", "big5", "euc-jp", "iso-2022-jp", "shift_jis", "euc-kr"))
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_BE, "utf-16be"), (codecs.BOM_UTF16_LE, "utf-16le"))
# Where a single-byte table of the Encoding Standard and Python's differ, apart from C1 controls.
_DIFFERENT = {"koi8-u": {0xAE: "\u045e", 0xBE: "\u040e"}, "windows-1255": {0xCA: "\u05ba"}}
# JIS X 0208 code points that Python's euc_jp maps otherwise than the Encoding Standard.
_JAPANESE = str.maketrans("\u301c\u2016\u2212\u00a2\u00a3\u00ac", "\uff5e\u2225\uff0d\uffe0\uffe1\uffe2")

_PRESCAN = 1024  # bytes, where an author's declaration has to be
_PARSED = 1 << 20  # bytes, within which a later one is looked for
_MENDED = 1 << 21  # bytes, up to which each hole in a body is worth a call
_SPACE = "\t\n\f\r "
_MARKUP = pattern(rb"<!--|<[Mm][Ee][Tt][Aa](?=[\t\n\f\r /])|</?[A-Za-z][^\t\n\f\r >]*+|<[!/?]")
_ATTRIBUTE = pattern(
    rb"[\t\n\f\r /]*+(?:>|([^\t\n\f\r />][^\t\n\f\r />=]*+)"
    rb"(?:[\t\n\f\r ]*+=[\t\n\f\r ]*+"
    rb"""(?:"([^"]*+)(?:"|\Z)|'([^']*+)(?:'|\Z)|([^\t\n\f\r >"'][^\t\n\f\r >]*+)?))?)"""
)
_META = pattern(rb"<[Mm][Ee][Tt][Aa][\t\n\f\r /]")
_RAW_TEXT = pattern(rb"<(script|style|title|textarea|xmp|iframe|noembed|noframes|plaintext)/?", re.I)
_CONTENT_CHARSET = pattern(
    r"""charset[\t\n\f\r ]*+=[\t\n\f\r ]*+(?:"([^"]*+)"|'([^']*+)'|["']|([^\t\n\f\r ;]*+))""", re.I
)
_XML_ENCODING = pattern(rb"""encoding[\x00-\x20]*+=[\x00-\x20]*+(?:"([^"]*+)"|'([^']*+)')""")
_MIME_VALUE = pattern(r'(?:[^",]++|"(?:[^"\\]++|\\.)*+(?:"|\Z))++', re.S)
_MIME_TYPE = pattern(r"[ \t\r\n]*([!#$%&'*+\-.^`|~\w]++/[!#$%&'*+\-.^`|~\w]++)[ \t\r\n]*(?=;|\Z)", re.A)
_MIME_PARAMETER = pattern(
    r';[ \t\r\n]*([^;=]*+)(?:=(?:"((?:[^"\\]++|\\.)*+)(?:"|\Z|\\)[^;]*+|([^;]*+)))?', re.S
)


def encoding_of(body: bytes, content_type: str | None) -> str:
    """The WHATWG name, in lower case, of the encoding to read `body` with."""
    for mark, name in _MARKS:
        if body.startswith(mark):
            return name
    kind, charset = _media_type(content_type or "")
    named = name_of(charset)
    if named:
        return named
    if kind.endswith(("/xml", "+xml")):
        return _utf16_xml(body) or _xml_encoding(body[:_PRESCAN]) or "utf-8"
    if kind.endswith(("/json", "+json")):
        return "utf-8"
    if kind.startswith("text/") and kind != "text/html":
        return _guess(body)
    return _utf16_xml(body) or _html_encoding(body) or _guess(body)


def name_of(label: str) -> str | None:
    """The WHATWG name of an encoding from any of its labels; None for an unknown label (Encoding 4.2)."""
    return _NAMES.get(label.strip(_SPACE).lower())


@lru_cache(maxsize=256)
def _media_type(value: str) -> tuple[str, str]:
    """Type and charset of a Content-Type, whose fields may have been joined (Fetch, extract a MIME type)."""
    kind = charset = ""
    for one in _MIME_VALUE.findall(value):
        found = _MIME_TYPE.match(one)
        if not found or found[1] == "*/*":
            continue
        if found[1].lower() != kind:
            kind, charset = found[1].lower(), ""
        charset = _charset(one[found.end() :]) or charset
    return kind, charset


def _charset(parameters: str) -> str:
    for name, quoted, bare in _MIME_PARAMETER.findall(parameters):
        if name.lower() == "charset" and (quoted or bare.strip(" \t\r\n")):
            return re.sub(r"\\(.)", r"\1", quoted) if quoted else bare.strip(" \t\r\n")
    return ""


def _guess(body: bytes) -> str:
    if body.isascii():
        return "windows-1252"
    try:
        body.decode()
    except UnicodeDecodeError:
        return "windows-1252"
    return "utf-8"


def _utf16_xml(body: bytes) -> str | None:
    if body.startswith(b"<\0?\0x\0"):
        return "utf-16le"
    return "utf-16be" if body.startswith(b"\0<\0?\0x") else None


def _xml_encoding(head: bytes) -> str | None:
    """What the XML declaration says (HTML, "get an XML encoding")."""
    if not head.startswith(b"<?xml"):
        return None
    found = _XML_ENCODING.search(head, 0, max(head.find(b">"), 0))
    if not found:
        return None
    name = _NAMES.get((found[1] or found[2] or b"").decode("latin-1").lower())
    return "utf-8" if name in ("utf-16be", "utf-16le") else name


def _html_encoding(body: bytes) -> str | None:
    """What the document says: at its start as the prescan sees it, further down as the parser does."""
    head = body[:_PRESCAN]
    name = _meta_encoding(head, in_text=True) or _xml_encoding(head)
    if name is None and _META.search(body, 0, _PARSED):
        name = _meta_encoding(body[:_PARSED], in_text=False)
    return name


def _meta_encoding(data: bytes, in_text: bool) -> str | None:
    """Encoding of the first `meta` that names one; `in_text` looks into scripts too, as the prescan does.

    None at the end of `data`, even within a tag (HTML, "prescan a byte stream to determine its encoding").
    """
    found = _MARKUP.search(data)
    while found:
        what, at = found[0], found.end()
        if what == b"<!--":
            at = data.find(b"-->", at - 2) + 3
        elif what in (b"<!", b"</", b"<?"):
            at = data.find(b">", at) + 1
        else:
            at, attributes = _attributes(data, at)
            name = _named_by(attributes) if what.lower() == b"<meta" else None
            if name:
                return name
            if at and not in_text:
                at = _after_text(data, what, at)
        if at < found.end():
            return None
        found = _MARKUP.search(data, at)
    return None


def _attributes(data: bytes, at: int) -> tuple[int, dict[bytes, bytes]]:
    """Attributes of the tag that goes on at `at`, and its end; (0, {}) where the data ends first."""
    attributes: dict[bytes, bytes] = {}
    while (found := _ATTRIBUTE.match(data, at)) and found[1]:
        at = found.end()
        attributes.setdefault(found[1].lower(), found[2] or found[3] or found[4] or b"")
        if at >= len(data):
            break
    return (found.end(), attributes) if found and not found[1] else (0, {})


def _after_text(data: bytes, tag: bytes, at: int) -> int:
    """Where markup goes on after a start tag: behind its text for elements that hold nothing else."""
    raw = _RAW_TEXT.fullmatch(tag)
    if not raw:
        return at
    end = _end_tag(raw[1].lower()).search(data, at)
    return end.start() if end else 0


@cache
def _end_tag(name: bytes) -> re.Pattern[bytes]:
    return re.compile(rb"</" + name + rb"(?=[\t\n\f\r />])", re.I)


def _named_by(attributes: dict[bytes, bytes]) -> str | None:
    """The encoding that a `meta` element declares."""
    if b"charset" in attributes:
        name = name_of(attributes[b"charset"].decode("latin-1"))
    elif attributes.get(b"http-equiv", b"").lower() == b"content-type":
        name = _named_in(attributes.get(b"content", b"").decode("latin-1"))
    else:
        return None
    # The text was read as ASCII so far, so it can be neither of these.
    return {"utf-16be": "utf-8", "utf-16le": "utf-8", "x-user-defined": "windows-1252"}.get(name or "", name)


def _named_in(content: str) -> str | None:
    found = _CONTENT_CHARSET.search(content)
    return name_of(found[1] or found[2] or found[3] or "") if found else None


def decode(body: bytes, encoding: str) -> str:
    """Text of `body` without its byte order mark; what is invalid becomes U+FFFD.

    `encoding` is any label of the Encoding Standard; LookupError for others.
    """
    name = name_of(encoding)
    if name is None:
        raise LookupError(f"unknown encoding: {encoding}")
    for mark, marked in _MARKS:
        if marked == name:
            return body.removeprefix(mark).decode(_ENCODINGS[name][0], "replace")
    if name == "replacement":
        return "\ufffd" if body else ""
    if name not in _MANY_BYTES:
        return codecs.charmap_decode(body, "strict", _table(name))[0]
    errors = "scraper.euc-jp" if name == "euc-jp" and len(body) <= _MENDED else "replace"
    text = body.decode(_ENCODINGS[name][0], errors)
    return text.translate(_JAPANESE) if name in ("euc-jp", "iso-2022-jp") else text


def encode(text: str, encoding: str) -> bytes:
    """Bytes of `text` as a form sends them: what it lacks is a character reference (Encoding 4.1)."""
    name = name_of(encoding) or "utf-8"
    if name in _MANY_BYTES:
        return text.encode(_ENCODINGS[name][0], "xmlcharrefreplace")
    if name == "utf-8":
        return text.encode("utf-8", "replace")
    bytes_of = {char: byte for byte, char in enumerate(_table(name))}
    return b"".join(
        bytes((bytes_of[char],)) if char in bytes_of else f"&#{ord(char)};".encode() for char in text
    )


def written(encoding: str) -> str:
    """An encoding's name as the Encoding Standard writes it: UTF-8, windows-1252, Shift_JIS."""
    name = name_of(encoding) or encoding
    if name in ("shift_jis", "big5"):
        return name.capitalize().replace("jis", "JIS")
    is_upper = name.startswith(("utf", "iso-", "koi8", "ibm", "euc-", "gbk"))
    return name.upper() if is_upper else name


@cache
def _table(name: str) -> str:
    """The 256 characters of a single-byte encoding (Encoding 9; x-user-defined: 14.5)."""
    high = range(0x80, 0x100)
    if name == "x-user-defined":
        return bytes(range(0x80)).decode() + "".join(chr(0xF700 + byte) for byte in high)
    different = _DIFFERENT.get(name, {})
    return bytes(range(0x80)).decode() + "".join(different.get(byte) or _char(byte, name) for byte in high)


def _char(byte: int, name: str) -> str:
    char = bytes((byte,)).decode(_ENCODINGS[name][0], "replace")
    # A hole among the C1 controls is that control.
    return chr(byte) if char == "\ufffd" and byte < 0xA0 else char


def _mend_japanese(error: UnicodeError) -> tuple[str, int]:
    """The rows of NEC and IBM, which Python knows in Shift_JIS only (Encoding 12.1.1)."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) < 2 or not all(0xA1 <= byte <= 0xFE for byte in pair):
        return "\ufffd", error.start + 1
    row, cell = pair[0] - 0xA1, pair[1] - 0xA1
    lead = row // 2 + (0x81 if row < 62 else 0xC1)
    trail = cell + (0x9F if row % 2 else 0x40 if cell < 63 else 0x41)
    return bytes((lead, trail)).decode("cp932", "replace")[0], error.start + 2


codecs.register_error("scraper.euc-jp", _mend_japanese)


def bytes_of(text: str) -> bytes:
    """The bytes of `Request.data`: UTF-8; of a form in another charset those bytes as they are (PEP 383)."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # half of a character, out of a site's JSON
        return text.encode("utf-8", "replace")
