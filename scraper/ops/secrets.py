"""Which names mean a secret, and the one redaction for everything that is written or shown."""

import re
from base64 import b32encode, b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from scraper.ops.escapes import Sought, folded, unescaped
from scraper.ops.patterns import pattern

HIDDEN = "***"
LEAST_SECRET = 8  # characters from which on the value of any cookie or header field is taken for one
SHORTEST = 4  # characters; what is shorter would take half of every message along
LEAST_CUT = 6  # characters at the end of a message that may be the beginning of a secret

_HARMLESS = frozenset(
    {
        "user-agent", "from", "dnt", "te", "cache-control", "pragma", "upgrade-insecure-requests", "priority",
        "save-data", "prefer", "transfer-encoding", "if-none-match", "if-modified-since", "range",
        "connection",
    }
)  # fmt: skip
# Parts of names, without what stands between their words, and whole names.
_PARTS = (
    *(
        "passw",
        "passphrase",
        "passcode",
        "passwd",
        "kennwort",
        "motdepasse",
        "contrasena",
        "contrasea",
        "senha",
        "secret",
    ),
    *("token", "apikey", "accesskey", "authkey", "privatekey", "secretkey", "authorization", "credential"),
    *("signature", "sessionid", "sessid", "sessionkey", "jwt", "bearer", "csrf", "xsrf"),
)
# These are secrets in a URL; elsewhere they are words like others.
_WHOLE = frozenset(
    (
        *("pw", "pwd", "pass", "pin", "otp", "auth", "sid", "sig", "key", "session", "hmac", "accesscode"),
        *("authcode", "mdp", "appkey", "licensekey", "oauth"),
    )
)
_BETWEEN = pattern(r"[^a-z0-9]+")

_NAME = r"[\w.~%\[\]$-]{1,100}"
_PAIR = pattern(rf"(?<=[?&;#])({_NAME})=([^&;?\s#\"'<>]+)")
_ESCAPED_PAIR = pattern(r"(?<=%3F|%26|%3B|%3f|%3b)([\w.~-]{1,100})(%3D|%3d)((?:(?!%26|%23|%3B)[^&\s\"'<>])+)")
_SPOKEN_PARTS = (*_PARTS, "pwd")
_SPOKEN = pattern(
    rf"(?i)(?<![\w-])(?=[\w-]*?(?:{'|'.join(_SPOKEN_PARTS)}))([\w-]++)([\"']?\s*[:=]\s*[\"']?)"
    r"(?!\*\*\*|-(?!\w))((?<=[\"'])[^\"']+|[^\s\"',;&)}\]]+)"
)
# Fields of a form, JSON, GraphQL within JSON, the parts of a form, XML.
_NAMES = tuple(
    re.compile(each).findall
    for each in (
        r"(?:^|&)([^=&]{1,200})=",
        r'"([^"]{1,200})"\s*:',
        r'\b(\w{1,100})\s*:\s*\\?["$]',
        r'\bname="([^"]{1,200})"',
        r"<(?:\w{1,50}:)?([\w.-]{1,100})[\s>]",
    )
)
_FIELD = pattern(r"(?i)\b((?:proxy-)?authorization|(?:set-)?cookie2?)([\"']?\s*[:=]\s*[\"']?)([^\"'\r\n]+)")
_FIELDS = ("authorization", "cookie")
_SCHEMES = ("bearer", "basic")
_SCHEME = pattern(r"(?i)\b(bearer)(\s+)([\w.~+/=-]{8,})")
_BASIC = pattern(r"(?i)\b(basic)(\s+)([A-Za-z0-9+/]{6,}={0,2})")
_PATH = pattern(r"https?://[^\s?#]*/$")
_AFTER_CUT = "\u2026.'\")"  # what stands behind a text that was cut: marks of that, and quotes
_USERINFO = pattern(r"(?<=://)[^\s/?#@\"'<>]+@")


def may_leave(field: str) -> bool:
    """Whether a header field says only what we accept or who we are, so that any host may hear it."""
    name = field.lower()
    return name in _HARMLESS or name.startswith(("accept", "content-", "sec-"))


def is_secret_name(name: str) -> bool:
    """Whether a parameter, form field or header field of this name holds a secret, as names go."""
    word = _BETWEEN.sub("", unquote_plus(name[:200]).lower())
    return word in _WHOLE or _has(word, _PARTS)


def _has(text: str, words: Iterable[str]) -> bool:
    """Whether one of some words stands in a text, which is in lower case."""
    return any(word in text for word in words)


def secrets_of_url(url: str) -> Iterator[str]:
    """What a URL with credentials holds that is secret; a user without a password is a key of an API."""
    parts = urlsplit(url)
    user, password = parts.username or "", parts.password or ""
    secret = password or user
    yield from (each for each in (secret, unquote(secret)) if each)
    if password:
        yield unquote(f"{user}:{password}")


def names_secret(text: str) -> bool:
    """Whether a body (form, JSON, GraphQL, XML) has a field named like a secret."""
    return any(is_secret_name(name) for find in _NAMES for name in find(text))


class Redaction:
    """Takes secrets out of texts: those that it was told, in every spelling, and what is named like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._sought = Sought()
        self._known: set[str] = set()
        self._cut: set[tuple[str, str]] = set()  # how a secret begins, and what it is, in lower case
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Learn secrets; what is very short is left out."""
        for secret in secrets:
            if len(secret) >= SHORTEST and secret not in self._known:
                self._known.add(secret)
                self._sought.add(spellings(secret))
                if len(secret) > LEAST_CUT:
                    self._cut.add((secret[:LEAST_CUT].lower(), secret.lower()))

    def has(self, text: str) -> bool:
        """Whether a known secret stands in a text."""
        return self._without_known(text) != text

    def __call__(self, text: str) -> str:
        """A text without its secrets."""
        if not text:
            return text
        text = (
            _USERINFO.sub(f"{HIDDEN}@", self._without_known(text))
            if "://" in text
            else self._without_known(text)
        )
        if "=" in text:
            text = _PAIR.sub(_hide_pair, text)
        if "%" in text:
            text = _ESCAPED_PAIR.sub(_hide_pair, text)
        # Few texts have any of the words. Letters beyond ASCII may be the same as some of theirs to `(?i)`.
        words = text.lower() if text.isascii() else None
        is_said = ":" in text or "=" in text
        if is_said and (words is None or _has(words, _FIELDS)):
            text = _FIELD.sub(rf"\1\2{HIDDEN}", text)
        if words is None or _has(words, _SCHEMES):
            text = _BASIC.sub(_hide_basic, _SCHEME.sub(rf"\1\2{HIDDEN}", text))
        if is_said and (words is None or _has(words, _SPOKEN_PARTS)):
            text = _SPOKEN.sub(_hide_spoken, text)
        return text

    def known(self, text: str) -> str:
        """A text without the secrets that it was told: for markup, which has names of its own."""
        return self._without_known(text)

    def value(self, found: Any) -> Any:
        """A JSON-able value in which every text has lost its secrets."""
        # A summary says the same words of each of a thousand domains.
        return _each(found, cache(self.__call__))

    def _without_known(self, text: str) -> str:
        last, kept = 0, list[str]()
        for start, end in self._sought.spans(text):
            kept += [text[last:start], HIDDEN]
            last = end
        return self._without_cut("".join((*kept, text[last:])) if last else text)

    def _without_cut(self, text: str) -> str:
        """A text without a secret at its end of which a part was cut off, as messages are."""
        end = len(text.rstrip(_AFTER_CUT))
        whole = text[:end].lower()  # may be longer: the dotted I of Turkish becomes two characters
        for head, secret in self._cut:
            at = whole.rfind(head)
            if at >= 0 and secret.startswith(whole[at:]):
                return f"{text[: end - len(whole) + at]}{HIDDEN}{text[end:]}"
        return text


def _each(found: Any, clean: Callable[[str], str]) -> Any:
    """A JSON-able value in which every text was cleaned."""
    if isinstance(found, str):
        return clean(found)
    if found is None or isinstance(found, int | float):
        return found
    if isinstance(found, Mapping):
        return {
            clean(key) if isinstance(key, str) else key: _each(each, clean) for key, each in found.items()
        }
    return [_each(each, clean) for each in found] if isinstance(found, list | tuple) else found


def spellings(secret: str) -> set[str]:
    """How a secret may stand in a text, beside its escapes: as it is, in hex, base32 or base64 (twice)."""
    found = {secret, unescaped(secret), secret.replace(" ", "+")}
    charsets = ("utf-8", "latin-1") if max(secret, default="") < "\u0100" else ("utf-8",)
    for octets in {secret.encode(charset, "surrogatepass") for charset in charsets}:
        found |= {octets.decode("latin-1"), octets.hex(), octets.hex(":"), octets.hex(" ")}
        if len(octets) >= 6:
            twice = (b64encode(octets), b64encode(octets).rstrip(b"="))
            found |= {
                *_in_base64(octets),
                *_in_base32(octets),
                *(one for each in twice for one in _in_base64(each)),
            }
    return {folded(one) for one in found if len(one) >= SHORTEST}


def _in_base64(octets: bytes) -> Iterator[str]:
    """Its part of a base64 text, wherever in it the secret begins: without characters that share a byte."""
    for lead in range(3):
        encoded = b64encode(b"\0" * lead + octets).decode().rstrip("=")
        whole = (lead + len(octets)) * 8 // 6
        inner = encoded[-(-lead * 8 // 6) : whole]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
    yield b64encode(octets).decode()


def _in_base32(octets: bytes) -> Iterator[str]:
    for lead in range(5):
        encoded = b32encode(b"\0" * lead + octets).decode().rstrip("=")
        yield encoded[-(-lead * 8 // 5) : (lead + len(octets)) * 8 // 5]
    yield b32encode(octets).decode()


def _hide_pair(pair: re.Match[str]) -> str:
    if not is_secret_name(pair[1]):
        return pair[0]
    between = "=" if pair.re.groups == 2 else pair[2]  # of an escaped pair
    return f"{pair[1]}{between}{HIDDEN}"


def _hide_spoken(found: re.Match[str]) -> str:
    """`password: x`; but what follows a URL that ends in /password is a message about that page."""
    is_message = found[2].startswith(": ") and _PATH.search(found.string[: found.start()]) is not None
    return found[0] if is_message else f"{found[1]}{found[2]}{HIDDEN}"


def _hide_basic(found: re.Match[str]) -> str:
    try:
        is_pair = b":" in b64decode(found[3] + "=" * (-len(found[3]) % 4))
    except ValueError:
        is_pair = False
    return f"{found[1]}{found[2]}{HIDDEN}" if is_pair else found[0]
