"""What the site says: pages that are the same on every run and every machine."""

import json
from functools import lru_cache

LINKS = 40
HUB_LINKS = 1000
PAGE_BYTES = 9000
_WORDS = (
    "a crawl that keeps its promises asks slowly reads the answer and writes down what it has seen "
    "before it asks again so that nothing is lost when the power goes"
).split()
_HTML = b"Content-Type: text/html; charset=utf-8\r\n"
_TEXT = b"Content-Type: text/plain; charset=utf-8\r\n"
_REASONS = {200: "OK", 302: "Found", 404: "Not Found", 429: "Too Many Requests", 503: "Service Unavailable"}


def answer(status: int, body: str, *fields: str, kind: bytes = _HTML) -> bytes:
    """A whole HTTP/1.1 answer; `fields` are lines like "Retry-After: 5"."""
    content = body.encode()
    extra = "".join(f"{line}\r\n" for line in fields).encode()
    head = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(content)}\r\n".encode()
    return b"".join((head, kind, extra, b"\r\n", content))


def text(status: int, body: str, *fields: str) -> bytes:
    """An answer in plain text."""
    return answer(status, body, *fields, kind=_TEXT)


def as_json(value: object) -> bytes:
    """An answer in JSON."""
    return answer(200, json.dumps(value), kind=b"Content-Type: application/json\r\n")


def links_of(number: int, pages: int) -> list[int]:
    """The pages that page `number` of `pages` links to: a tree that wraps around, so all can be reached."""
    return [(number * LINKS + step) % pages for step in range(1, LINKS + 1)]


@lru_cache(maxsize=20_000)
def page(folder: str, number: int, pages: int) -> bytes:
    """Page `number` of a site of `pages` pages, 9 KB with 40 links."""
    items = "".join(
        f'<li class="entry"><a href="/{folder}/{pages}/{to}">Article {to}</a></li>\n'
        for to in links_of(number, pages)
    )
    top = (
        f"<!DOCTYPE html><html><head><meta charset=utf-8><title>Article {number}</title></head><body>\n"
        f'<h1>Article {number}</h1><p class="price">{number % 97}.{number % 100:02d}</p>\n<ul>{items}</ul>\n'
    )
    return answer(200, top + _prose(number, PAGE_BYTES - len(top)) + "</body></html>\n")


def _prose(seed: int, size: int) -> str:
    parts: list[str] = []
    length = 0
    while length < size:
        seed = (seed * 1103515245 + 12345) % 2**31
        start = seed % len(_WORDS)
        part = f'<p class="text">{" ".join(_WORDS[start:] + _WORDS[:start])}</p>\n'
        parts.append(part)
        length += len(part)
    return "".join(parts)


@lru_cache(maxsize=64)
def hub(number: int) -> bytes:
    """A page with 1,000 links that nobody else has, and one to the next such page (class "next")."""
    leaves = "".join(f'<a href="/leaf/{number}/{leaf}">{leaf}</a>\n' for leaf in range(HUB_LINKS))
    following = f'<a class="next" href="/hub/{number + 1}">next</a>'
    return answer(200, f"<!DOCTYPE html><title>Hub {number}</title><h1>Hub</h1>{following}\n{leaves}")


@lru_cache(maxsize=4096)
def small(title: str, *links: str) -> bytes:
    """A page of a title and some links."""
    anchors = "".join(f'<a href="{link}">{link}</a>\n' for link in links)
    return answer(200, f"<!DOCTYPE html><title>{title}</title><h1>{title}</h1>{anchors}")


MISSING = text(404, "There is no such page.\n")
ROBOTS = text(200, "User-agent: *\nDisallow: /private/\n")
