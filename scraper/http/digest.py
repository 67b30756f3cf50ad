"""Digest access authentication (RFC 7616): `requests` knows neither SHA-512/256 nor several challenges.

Of several challenges the first that we can answer counts (3.7), MD5 only where nothing stronger is offered.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests.auth import HTTPDigestAuth
from requests.cookies import extract_cookies_to_jar

from scraper.ops.patterns import pattern

Hash = Callable[[bytes], str]

_ALGORITHMS = {
    "md5": "md5",
    "sha": "sha1",
    "sha-256": "sha256",
    "sha-512-256": "sha512_256",
    "sha-512": "sha512",
}
_WEAK = frozenset({"md5", "sha1"})
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = pattern(
    rf'\s*(?:({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}|[^\s,"]+))|({_TOKEN}))\s*(,|(?=\s)|$)?',
    re.DOTALL,
)
_NO_PIECE = pattern(r"\s*+.?", re.DOTALL)  # blanks with what follows: not looked at again from each of them


def challenges(values: Sequence[str]) -> list[dict[str, str]]:
    """The Digest challenges of WWW-Authenticate fields, in order; names in lower case (RFC 9110 11.6.1)."""
    found: list[dict[str, str]] = []
    for scheme, parameters in _read(", ".join(values)):
        if scheme == "digest" and "realm" in parameters and "nonce" in parameters:
            found.append(parameters)
    return found


def _read(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    scheme, parameters, at = "", dict[str, str](), 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None or piece.end() == at:
            at = _NO_PIECE.match(text, at).end()  # type: ignore[union-attr]  # it matches any character
            continue
        at = piece.end()
        if piece[4]:
            if scheme:
                yield scheme, parameters
            scheme, parameters = piece[4].lower(), {}
        elif piece[1].lower() not in parameters:
            quoted = re.sub(r"\\(.)", r"\1", piece[2]) if piece[2] is not None else piece[3]
            parameters[piece[1].lower()] = quoted
    if scheme:
        yield scheme, parameters


def best(found: Sequence[Mapping[str, str]]) -> Mapping[str, str] | None:
    """The challenge to answer; None where we can answer none."""
    known = [one for one in found if _hash_name(one) and _qop(one) is not None]
    strong = [one for one in known if _hash_name(one) not in _WEAK]
    return next(iter(strong or known), None)


def _hash_name(challenge: Mapping[str, str]) -> str:
    name = _ALGORITHMS.get(challenge.get("algorithm", "MD5").lower().removesuffix("-sess"), "")
    return name if name in hashlib.algorithms_available else ""


def _qop(challenge: Mapping[str, str]) -> str | None:
    """The quality of protection that we answer with; None where only others are offered."""
    offered = [one.strip().lower() for one in challenge.get("qop", "").split(",") if one.strip()]
    if not offered:
        return ""
    return next((one for one in ("auth", "auth-int") if one in offered), None)


def answer(
    challenge: Mapping[str, str],
    user: str,
    password: str,
    request: tuple[str, str, bytes],
    nonce: tuple[int, str],
) -> str:
    """The Authorization field for a challenge; `request`: method, target, body; `nonce`: count, our own."""
    method, target, body = request
    count, own = f"{nonce[0]:08x}", nonce[1]
    name = _hash_name(challenge)
    qop = _qop(challenge)

    def hashed(*parts: str) -> str:
        return hashlib.new(name, ":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = hashed(user, challenge["realm"], password)
    if challenge.get("algorithm", "").lower().endswith("-sess"):
        secret = hashed(secret, challenge["nonce"], own)
    what = [method, target]
    if qop == "auth-int":
        what.append(hashlib.new(name, body, usedforsecurity=False).hexdigest())
    middle = (challenge["nonce"], count, own, qop) if qop else (challenge["nonce"],)
    is_hashed = challenge.get("userhash", "").lower() == "true"
    known_as = hashed(user, challenge["realm"]) if is_hashed else user
    fields = [_username(known_as), _quoted("realm", challenge["realm"]), _quoted("nonce", challenge["nonce"])]
    fields += [_quoted("uri", target), f'response="{hashed(secret, *middle, hashed(*what))}"']
    if "algorithm" in challenge:
        fields.append(f"algorithm={challenge['algorithm']}")
    if "opaque" in challenge:
        fields.append(_quoted("opaque", challenge["opaque"]))
    if qop:
        fields += [f"qop={qop}", f"nc={count}", f'cnonce="{own}"']
    return "Digest " + ", ".join(fields + ["userhash=true"] * is_hashed)


def _username(user: str) -> str:
    if user.isascii():
        return _quoted("username", user)
    return f"username*=UTF-8''{quote(user, safe='')}"  # RFC 7616 3.4, RFC 8187


def _quoted(name: str, value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


class DigestAuth(HTTPDigestAuth):
    """`requests.auth.HTTPDigestAuth` that answers every challenge of RFC 7616 that it can."""

    _thread_local: Any

    def build_digest_header(self, method: str, url: str) -> str | None:
        state = self._thread_local
        challenge = state.chal
        if not challenge:
            return None
        state.nonce_count = state.nonce_count + 1 if challenge["nonce"] == state.last_nonce else 1
        state.last_nonce = challenge["nonce"]
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        request = (method, target, getattr(state, "body", b""))
        return answer(
            challenge,
            str(self.username),
            str(self.password),
            request,
            (state.nonce_count, os.urandom(8).hex()),
        )

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        self.init_per_thread_state()
        body: Any = r.body
        self._thread_local.body = (
            body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else b""
        )
        attach: Any = super().__call__
        attach(r)
        return r

    def handle_401(self, r: requests.Response, **kwargs: Any) -> requests.Response:
        raw: Any = getattr(r.raw, "headers", None)
        field = "WWW-Authenticate"
        values = raw.getlist(field) if hasattr(raw, "getlist") else [r.headers.get(field, "")]
        chosen = best(challenges(values)) if r.status_code == 401 else None
        state = self._thread_local
        is_stale = chosen is not None and chosen.get("stale", "").lower() == "true"
        if chosen is None or state.num_401_calls > (2 if is_stale else 1):
            state.num_401_calls = 1
            return r
        state.num_401_calls += 1
        state.chal = dict(chosen)
        return self._again(r, kwargs)

    def _again(self, refused: requests.Response, kwargs: Mapping[str, Any]) -> requests.Response:
        body: Any = refused.request.body
        if self._thread_local.pos is not None and hasattr(body, "seek"):
            body.seek(self._thread_local.pos)
        _ = refused.content  # what is read whole leaves the connection to the next request
        refused.close()
        request: Any = refused.request.copy()
        keep_cookies: Any = extract_cookies_to_jar
        keep_cookies(request._cookies, refused.request, refused.raw)
        request.prepare_cookies(request._cookies)
        request.headers["Authorization"] = self.build_digest_header(request.method, request.url)
        connection: Any = refused.connection
        answered: requests.Response = connection.send(request, **kwargs)
        answered.history.append(refused)
        answered.request = request
        return answered
