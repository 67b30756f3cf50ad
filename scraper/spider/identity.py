"""What tells one request from another, and what its page's parse depends on."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from scraper.errors import SpiderError
from scraper.model import Entry, Headers, Known, Render, Request, Response
from scraper.model.frozen import frozen
from scraper.ops.patterns import pattern
from scraper.parsing.encoding import bytes_of
from scraper.urls import canonical, fingerprint, form, with_callback

_DEFAULTS = {one.name: one.default for one in fields(Request) if one.name != "url"}
# Header fields that say how a body is to be read, or what follows from it.
_SPEAKING = frozenset(
    ("content-type", "content-language", "content-disposition", "link", "refresh", "x-robots-tag")
)
# What nearly all pages have, and a 304 need not repeat: its validators are compared as such.
_OF_BODIES = frozenset(("content-type", "etag", "last-modified"))
# Those that are another with every answer, or speak of its way here.
_PASSING = pattern(
    r"date|age|expires|server|via|vary|connection|keep-alive|cache-control|pragma|set-cookie2?"
    r"|content-(?:encoding|length|security-policy.*)|transfer-encoding|trailer|accept-ranges|retry-after"
    r"|alt-svc|x-cache.*|x-request-id|cf-.*"
)


# as text ----------------------------------------------------------------------------------------------------
def is_plain(request: Request) -> bool:
    """Whether URL and callback say it all."""
    return len(vars(request)) == 1 or (
        request.method == "GET"
        and request.meta is None
        and request.params is None
        and request.headers is None
        and request.data is None
        and request.json is None
        and request.max_age is None
        and not request.priority
        and not request.dont_filter
        and not request.handle_statuses
        and request.modified_at is None
        and request.budget is None
        and request.render is None
    )


def request_text(request: Request, url: str) -> str | None:
    """What `url`, the one to be fetched, does not say about a Request, as JSON; None where it says all."""
    said = {} if is_plain(request) else dict(_differences(request))
    if request.callback != "parse":
        said["callback"] = request.callback
    if request.url != url:
        said["url"] = request.url
    if not said:
        return None
    try:
        return json.dumps(said, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise SpiderError(
            f"the Request for {url[:200]} cannot be kept: {error}", "write plain JSON values"
        ) from None


def _differences(request: Request) -> Iterator[tuple[str, Any]]:
    for name, default in _DEFAULTS.items():
        value = getattr(request, name)
        if value != default:
            yield name, _as_json(value)


def _as_json(value: Any) -> Any:
    if isinstance(value, Render):
        return value.said()
    return dict(value) if isinstance(value, Mapping) else value


def request_of(entry: Entry) -> Request:
    """The Request behind a URL of the frontier. Its `url` is what the spider asked for, before redirects."""
    if entry.request is None:
        return Request(entry.url)
    said = json.loads(entry.request)
    return Request(said.pop("url", entry.url), **said)


# identity ---------------------------------------------------------------------------------------------------
def exchange_identity(request: Request, canonical_url: str) -> bytes:
    """What is asked of the server: the fingerprint of method, URL, body, header fields set and rendering."""
    if is_plain(request):
        return fingerprint("GET", canonical_url)
    return fingerprint(
        request.method, canonical_url, _body(request), _header_lines(request) + _drawn(request)
    )


def _drawn(request: Request) -> bytes:
    """How a page is rendered, as far as the request itself says so: another page comes of it."""
    if not request.render:
        return b""
    how = request.render.said() if isinstance(request.render, Render) else {}
    return b"\nrender " + json.dumps(how, sort_keys=True).encode()


def identity_of(request: Request, canonical_url: str) -> bytes:
    """The fingerprint of a request: what is asked of the server, and the callback that parses the answer."""
    return with_callback(exchange_identity(request, canonical_url), request.callback)


def archived_as(entry: Entry) -> bytes:
    """The fingerprint under which an answer is archived: one copy for all the callbacks of a request.

    What is asked for more than once (`dont_filter`, the page behind a form) has one for each.
    """
    request = request_of(entry)
    asked = exchange_identity(request, canonical(entry.url) or entry.url)
    return asked if entry.fp in (asked, with_callback(asked, request.callback)) else entry.fp


def _body(request: Request) -> bytes:
    """The body as far as it tells requests apart: the order of a form's fields does not."""
    if request.json is not None:
        try:
            return json.dumps(request.json, sort_keys=True, separators=(",", ":")).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise SpiderError(f"Request.json: {error}") from None
    if isinstance(request.data, Mapping):
        return form(dict(sorted(request.data.items(), key=lambda pair: str(pair[0])))).encode()
    if request.data is not None and not isinstance(request.data, str):
        kind = type(request.data).__name__
        hint = 'a form is a dict, {"a": ["1", "2"]} for a field that repeats; anything else is text'
        raise SpiderError(f"Request.data is of the type {kind}", hint)
    return bytes_of(request.data or "")


def _header_lines(request: Request) -> bytes:
    """The header fields that a request sets; None for a value leaves one out."""
    if not request.headers and request.json is None:
        return b""
    given = {str(name).lower(): value for name, value in (request.headers or {}).items()}
    if request.json is not None:
        given.setdefault("content-type", "application/json")
    lines = (name if value is None else f"{name}:{str(value).strip()}" for name, value in given.items())
    return "\n".join(sorted(lines)).encode("utf-8", "surrogatepass")


# a parse and what it depends on -----------------------------------------------------------------------------
AND_MORE = "!"  # before inputs that are not all


def depends_on(inputs: str) -> str:
    """What a parse depended on beside its answer, without what the answer's header said."""
    return inputs.partition("|")[0]


def and_more(inputs: str) -> str:
    """The inputs of a parse that looked at more than can be compared: it stands for no other page."""
    return f"{AND_MORE}{inputs}"


def may_compare(before: str, now: str) -> bool:
    """Whether what two parses of a page brought can be compared: nothing else that is known was different."""
    one, other = (depends_on(inputs).removeprefix(AND_MORE) for inputs in (before, now))
    return one == other


@frozen
class ParseInputs:
    """What the parse of every page of a run depends on, beside the page: unchanged, it stands only for these.

    `code`: a hash of the spider's code, its params and the settings that parsing depends on. `words`: the
    names and texts in that code: what is not among them it cannot look at. `has_depth`: depth decides about
    links. `outside`: a hash of the files, variables and attributes that the code names. It is no part of
    `code`: a run goes on though the spider has written to its own files meanwhile. `files`: these files.
    """

    code: str
    words: frozenset[str] = frozenset()
    has_depth: bool = False
    outside: str = ""
    files: frozenset[str] = frozenset()

    def within(self, domains: Collection[str]) -> "ParseInputs":
        """The same for a run that follows links to `domains`, which only what `start` yields has named."""
        if not domains:
            return self
        text = "\n".join((self.code, *sorted(domains)))
        return replace(self, code=blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())

    def of(self, entry: Entry) -> str:
        """What the parse of one page depends on; `code` alone where the request brings nothing of its own."""
        said = json.loads(entry.request) if entry.request else {}
        own = {"meta": said.get("meta")} if said.get("meta") else {}
        if self.has_depth or "depth" in self.words:
            own["depth"] = entry.depth
        if "url" in said and "request" in self.words:
            own["url"] = said["url"]
        if self.outside:
            own["outside"] = self.outside
        if not own:
            return self.code
        text = json.dumps(own, sort_keys=True)
        return f"{self.code}:{blake2b(text.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"

    def digest(self, response: Response) -> bytes:
        """16 bytes that stand for what is parsed: the body, and what the header says about it."""
        if response.file is not None:
            return blake2b(json.dumps(dict(response.file)).encode(), digest_size=16).digest()
        said = sorted(
            f"{name.lower()}: {value}"
            for name, value in response.headers.items_all()
            if self._counts(name.lower())
        )
        if response.status != 200:
            said.append(str(response.status))
        text = "\n".join(said).encode("utf-8", "surrogatepass")
        key = blake2b(text, digest_size=32).digest() if text else b""
        return blake2b(response.content, digest_size=16, key=key).digest()

    def heard(self, headers: Headers) -> str:
        """The header fields that count, six digits each: what those of a later 304 are held against."""
        return ",".join(sorted(self._marks(headers)))

    def may_differ(self, known: Known, headers: Headers) -> bool:
        """Whether a 304 has a header field that counts and that `known` did not have so."""
        had = {"etag": known.etag, "last-modified": known.last_modified}
        said = ((name.lower(), value) for name, value in headers.items_all())
        if any(name in had and self._counts(name) and value != had[name] for name, value in said):
            return True
        return not self._marks(headers) <= set(known.inputs.partition("|")[2].split(","))

    def _marks(self, headers: Headers) -> set[str]:
        said = ((name.lower(), value) for name, value in headers.items_all())
        lines = (f"{name}: {value}" for name, value in said if self._counts(name) and name not in _OF_BODIES)
        return {blake2b(line.encode("utf-8", "surrogatepass"), digest_size=3).hexdigest() for line in lines}

    def _counts(self, name: str) -> bool:
        if name in _SPEAKING:
            return True
        if "headers" not in self.words or _PASSING.fullmatch(name):
            return False
        begins, ends = _affixes(self.words)
        return name in self.words or name.startswith(begins) or name.endswith(ends)


@lru_cache(maxsize=4)
def _affixes(words: frozenset[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What names of header fields begin and end with that a code puts together, as `x-` and `-total`."""
    return tuple(word for word in words if word[-1:] == "-"), tuple(word for word in words if word[:1] == "-")
