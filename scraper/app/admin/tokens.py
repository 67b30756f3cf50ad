"""Tokens of the service: who may read, run spiders and fetch. The store has their hashes, never a token.

A token has 256 random bits, so that a plain SHA-256 of it cannot be turned back by trying.
"""

import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from scraper.errors import UsageError
from scraper.model.frozen import frozen
from scraper.store import Store

KIND = "token"
SCOPES = ("read", "run", "fetch")
LONGEST_LABEL = 60
_PREFIX = "scr"


@frozen
class Token:
    """What a token is known by and what it allows.

    `domains`: those that it may have fetched; empty: all. `quota`: fetches a day (UTC); None: no limit.
    `created_at`: a wall moment.
    """

    id: str
    label: str
    hash: str
    scopes: tuple[str, ...]
    domains: tuple[str, ...] = ()
    quota: int | None = None
    created_at: float = 0.0


def add(
    store: Store,
    label: str,
    scopes: Sequence[str],
    domains: Sequence[str] = (),
    quota: int | None = None,
    now: float = 0.0,
) -> tuple[Token, str]:
    """Make a token: what is kept of it, and its text, which nobody can get again."""
    if not label.isprintable() or not 0 < len(label) <= LONGEST_LABEL:
        raise UsageError(f"a token needs a name of up to {LONGEST_LABEL} printable characters")
    if label in (one.label for one in listed(store)):
        raise UsageError(f"there is a token named {label}", "take another name, or revoke it first")
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    text = f"{_PREFIX}_{identity}_{secret}"
    ordered = tuple(one for one in SCOPES if one in scopes)
    token = Token(identity, label, _digest(text), ordered, tuple(sorted(set(domains))), quota, now)
    store.keep_note(KIND, identity, json.dumps(asdict(token)))
    return token, text


def listed(store: Store) -> list[Token]:
    """The tokens that are valid, oldest first."""
    return sorted(map(_read, store.notes(KIND).values()), key=lambda one: one.created_at)


def revoke(store: Store, name: str) -> Token:
    """End a token by its id or name; UsageError where there is none."""
    for token in listed(store):
        if name in (token.id, token.label):
            store.drop_note(KIND, token.id)
            return token
    raise UsageError(f"there is no token {name!r}", "the command `token list` names them")


def matching(tokens: Mapping[str, Token], text: str) -> Token | None:
    """The token of a text. It takes as long for a wrong one, known id or not."""
    identity = text.split("_", 2)[1] if text.count("_") >= 2 else ""
    token = tokens.get(identity)
    expected = token.hash if token is not None else _digest("")
    is_right = hmac.compare_digest(_digest(text), expected)
    return token if is_right else None


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _read(text: str) -> Token:
    found: dict[str, Any] = json.loads(text)
    return Token(**{**found, "scopes": tuple(found["scopes"]), "domains": tuple(found["domains"])})
