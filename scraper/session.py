"""The one persistent session of a domain: cookies, auth and connections, kept in a run and between runs."""

import json
from collections.abc import Callable, Mapping, MutableMapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import AuthBase, HTTPDigestAuth
from requests.cookies import cookiejar_from_dict, merge_cookies

from scraper import redirects, retry, wire
from scraper.body import read_body
from scraper.clock import Clock, SystemClock
from scraper.cookies import Jar
from scraper.errors import FetchError, LoginFailed
from scraper.model import Exchange, Headers, Request, Response
from scraper.page import Page
from scraper.terms import Terms, lay_over
from scraper.trouble import translate
from scraper.urls import domain_of, host_of, is_public_suffix

MOST_PLACES = 1000  # a hostile domain has origins without end


@dataclass(frozen=True, slots=True)
class Answer:
    """One exchange: a response or the error that took its place; `was_idle`: a kept connection broke."""

    exchange: Exchange
    response: Response | None = None
    error: FetchError | None = None
    was_idle: bool = False


@dataclass(slots=True)
class Asked:
    """A request on its way: `begun` on the clock's line, over a `line` of ours or answered as `raw`."""

    url: str
    begun: float
    connects: int
    gate: wire.Gate | None
    line: wire.Line | None = None
    raw: Any = None
    trouble: Exception | None = None
    is_reused: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """What holds for an origin; `asked`: the session's `verify` when this was found out.

    `lines`: header fields of the settings, basic and bearer credentials among them. `is_home`: it belongs to
    the session's domain. `needs_more`: a proxy or digest, which only the ordinary way knows.
    """

    asked: Any
    verify: wire.Verify
    lines: Mapping[str, str]
    digest: HTTPDigestAuth | None
    is_home: bool
    needs_more: bool


@dataclass(slots=True)
class _Login:
    """What a login has done so far; `status` of its last answer."""

    sends: int = 0
    status: int = 0
    pages: set[str] = field(default_factory=set)

    def note(self, request: requests.PreparedRequest) -> None:
        """Remember what is sent, and where a password may have gone."""
        self.sends += 1
        if request.method == "POST":
            self.pages.add(_page_key(request.url or ""))


class DomainSession(requests.Session):
    """A `requests.Session` of one domain, on which every request passes the domain's turnstile.

    `timeout`: (connect, read) in seconds; an exchange as a whole ends after 4 x read. `max_body`: bytes after
    decompression. `check(url)` may raise to refuse a URL (scope, robots) before anything is sent. `terms`:
    what the settings say for a host. `gates`: the turnstiles of other domains, where a login leads there.
    Everything that people know of a `requests.Session` works on it; `exchange` is the engine's own way.
    """

    def __init__(
        self,
        domain: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10.0, 30.0),
        max_body: float = 32 * 2**20,
        connections: int = 1,
        gate: wire.Gate | None = None,
        clock: Clock | None = None,
        check: Callable[[str], None] | None = None,
        terms: Callable[[str], Terms] | None = None,
        gates: Callable[[str], wire.Gate] | None = None,
    ) -> None:
        super().__init__()
        self.domain = domain
        self.timeout = timeout
        self.max_body = max_body
        self.gate = gate
        self.gates = gates
        self.clock = clock or SystemClock()
        self.check = check
        self.terms = terms
        self.cookies: Jar = Jar(is_public_suffix, domain, self.clock.wall)
        self.wire = wire.Wire(connections)
        self.mount("https://", self.wire)
        self.mount("http://", self.wire)
        self.meter = wire.Meter()
        self.is_logged_in = False
        self.has_login = False
        self.secrets: set[str] = set()
        self._is_portable = True
        self._login: _Login | None = None
        self._login_pages: frozenset[str] = frozenset()
        self._terms: dict[str, Terms] = {}
        self._places: dict[str, _Place] = {}
        self._dumped: tuple[Any, ...] = (0, False)
        if headers:
            self.headers.update(headers)
        # What says who we are goes wherever a login leads; all that is added later stays with the domain.
        self._identity = frozenset(name.lower() for name in self.headers)
        if domain:
            self.max_redirects = redirects.MAX_HOPS

    def __getstate__(self) -> dict[str, Any]:
        if self.gate is not None:
            raise TypeError("a copy of a domain's session would not keep the domain's clock")
        return {name: getattr(self, name) for name in requests.Session.__attrs__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # what is not in the state is as in a new one
        for name, value in state.items():
            setattr(self, name, value)

    # the way of people ---------------------------------------------------------------------------------

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As `requests.Session.send`; each redirect hop passes here again."""
        url = request.url or ""
        if self.check is not None:
            self.check(url)
        if self._is_particular:
            if getattr(request, "is_loop", False):
                raise requests.TooManyRedirects(f"{_bare(url)} redirects to itself", request=request)
            self._adjust(request, kwargs)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        gate = self._gate_of(url)
        wire.within(4 * self.timeout[1], self.max_body, gate, self.meter)
        if self._login is not None:
            self._login.note(request)
        response = super().send(request, **kwargs)
        if self._login is not None:
            self._login.status = response.status_code
        if gate is not None:
            self._heed(response, gate)
        return response

    @property
    def _is_particular(self) -> bool:
        """Whether hosts differ for this session; for one without a domain or settings they do not."""
        return bool(self.domain) or self.terms is not None

    def _gate_of(self, url: str) -> wire.Gate | None:
        if self.gates is None or self._is_home(url):
            return self.gate
        return self.gates(domain_of(url))

    def _is_home(self, url: str) -> bool:
        return not self.domain or domain_of(url) == self.domain

    def _heed(self, response: requests.Response, gate: wire.Gate) -> None:
        """A wait that the site asks for holds for its whole domain, whoever hears of it."""
        wait = retry.asked_wait(response.status_code, Headers(response.headers.items()), self.clock.wall())
        if wait:
            gate.rest_until(self.clock.now() + wait)

    def _adjust(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> None:
        """Verify a hop to another host by that host's own settings, and show it no certificate of ours."""
        place = self._place(request.url or "")
        origin = getattr(request, "came_from", None)
        if origin is not None and kwargs.get("verify") == self._place(origin).verify:
            kwargs["verify"] = place.verify
        if not place.is_home and kwargs.get("cert") == self.cert:
            kwargs["cert"] = None

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in `requests`, with the cookies by RFC 6265bis and the settings for the host."""
        if self._is_particular and isinstance(request.url, str):
            request = self._with_terms(request)
        prepared = super().prepare_request(request)
        is_named = any(name.lower() == "cookie" for name in (request.headers or {}))
        if isinstance(self.cookies, Jar) and not is_named:
            # `requests` pours the jar into a plain one, which goes by other rules.
            prepared.headers.pop("Cookie", None)
            prepared.prepare_cookies(_merged(self.cookies.copy(), request.cookies))
        return prepared

    def _with_terms(self, request: requests.Request) -> requests.Request:
        place = self._place(str(request.url))
        request = copy(request)
        lines: dict[str, Any] = {}
        auth = request.auth or place.digest
        if not place.is_home:
            # `requests` takes None for "leave it out".
            lines = {name: None for name in self.headers if name.lower() not in self._identity}
            auth = auth or _unchanged
            request.params = _without(self.params, request.params)
        lay_over(lines, place.lines)
        lay_over(lines, request.headers or {})
        request.headers = lines
        if "Authorization" in place.lines:
            auth = auth or _unchanged
        request.auth = auth
        return request

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """As in `requests`; what was meant for one host goes to no other, whatever field it stands in."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # its stubs
        if self._is_particular:
            old, new = response.request.url or "", prepared_request.url or ""
            setattr(prepared_request, "came_from", old)  # noqa: B010 - its class knows no such attribute
            if old == new and "Set-Cookie" not in response.headers:
                setattr(prepared_request, "is_loop", prepared_request.method == response.request.method)  # noqa: B010
            if self._place(old) is not self._place(new):
                self._readdress(prepared_request, self._place(old), self._place(new))

    def _readdress(self, prepared: requests.PreparedRequest, old: _Place, new: _Place) -> None:
        headers: Any = prepared.headers
        for name, value in old.lines.items():
            if headers.get(name) == value:
                del headers[name]
        if not new.is_home:
            for name in list(headers):
                if not _may_leave(name.lower(), self._identity):
                    del headers[name]
        if old.digest is not new.digest or not new.is_home:
            hooks = prepared.hooks["response"]
            prepared.hooks["response"] = [
                hook for hook in hooks if not isinstance(getattr(hook, "__self__", None), AuthBase)
            ]
        headers.update(new.lines)
        if new.digest is not None and new.digest is not old.digest:
            prepared.prepare_auth(new.digest)

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: Any,
        cert: Any,
    ) -> Any:
        """As in `requests`, except that the environment overrides nothing that was set here."""
        terms = self._terms_of(url) if isinstance(url, str) else Terms()
        if verify is None and self.verify is not True:
            verify = self.verify
        elif verify is None and terms.verify is not None:
            # A plain True would be overridden by REQUESTS_CA_BUNDLE.
            verify = wire.AUTHORITIES if terms.verify is True else terms.verify
        if terms.proxy and not proxies:
            proxies = {"http": terms.proxy, "https": terms.proxy}
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def get_adapter(self, url: str) -> BaseAdapter:
        """The adapter for a URL, behind the gate whatever was mounted; without one `requests` refuses."""
        adapter = super().get_adapter(url)
        # Those that connect pass the gate later: once connected, right before the first byte.
        if adapter is self.wire or self.gate is None or isinstance(adapter, wire.Wire):
            return adapter
        if isinstance(adapter, HTTPAdapter):
            wire.put_behind_gate(adapter)
            return adapter
        return wire.Guarded(adapter, self._gate_of(url) or self.gate)

    # forms and logins ----------------------------------------------------------------------------------

    def submit(
        self,
        page: Page | requests.Response | str,
        form: str = "form",
        *,
        button: str = "",
        fields: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> requests.Response:
        """Fill in and send a form of a page (or of the page at a URL) as a browser does.

        `form`: a CSS query; of several the first that has the fields. Hidden fields and tokens stay as they
        are. `fields`: for names that are no Python names. Raises SpiderError for what is not there.
        """
        page = self._page(page)
        given = {**(fields or {}), **values}
        found = page.form(form, given)
        self.secrets.update(str(given[name]) for name in found.secrets if given.get(name))
        if self._login is not None:
            self._login.pages.add(_page_key(page.url))
        sent = found.submission(given, button)
        headers = {"Referer": page.url.partition("#")[0]}
        if sent.content_type:
            headers["Content-Type"] = sent.content_type
        return self.request(sent.method, sent.url, data=sent.body, headers=headers)

    def _page(self, page: Page | requests.Response | str) -> Page:
        if isinstance(page, Page):
            return page
        if isinstance(page, str):
            page = self.get(page)
            page.raise_for_status()
        headers = Headers((name, value) for name, value in page.headers.items())
        answer = Response(page.url, page.status_code, headers, page.content, self.clock.wall())
        return Page(Request(page.url), answer)

    def log_in(self, login: Callable[[Any], None]) -> None:
        """Let a spider log in; raises what it raises, and LoginFailed where the last answer was 401 or 403.

        What it leaves in cookies is kept across runs; headers and auth live as long as the session.
        """
        before = self._belongings()
        self._login = done = _Login()
        try:
            login(self)
        finally:
            self._login = None
        if done.status in (401, 403):
            raise LoginFailed(f"the login was answered with status {done.status}")
        self._is_portable = before == self._belongings()
        self.has_login = bool(done.sends) or not self._is_portable
        self._login_pages = frozenset(page for page in done.pages if not page.endswith("/"))
        self.is_logged_in = True

    def _belongings(self) -> tuple[Any, ...]:
        return dict(self.headers), self.auth, repr(self.params), self.cert, tuple(self.adapters)

    def is_login_page(self, url: str) -> bool:
        """Whether a form was submitted from this address, or something posted to it, to log in."""
        return bool(self._login_pages) and _page_key(url) in self._login_pages

    # the engine's way ----------------------------------------------------------------------------------

    def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        most: int | None = None,
    ) -> Answer:
        """One request, one answer, no redirect followed. Nothing that a site can do raises.

        `most`: bytes of the body that are wanted; what is beyond them is left unread.
        """
        asked = self.ask(method, url, headers, body)
        asked.most = most
        return self.hear(asked)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Asked:
        """Send a request; `hear` must follow on the same thread before the next is sent."""
        asked = Asked(url, self.clock.now(), wire.current.connects, self.gate)
        try:
            place = self._place(url)
            asked.gate = self.gate if place.is_home else self._gate_of(url)
            wire.within(4 * self.timeout[1], self.max_body, asked.gate, self.meter)
            if self._is_ordinary(place, url):
                asked.raw = self._open_ordinarily(method, url, headers, body)
            else:
                asked.line = self._send_line(place, method, url, headers, body)
        except Exception as trouble:
            asked.trouble = trouble
        asked.is_reused = wire.current.is_reused
        asked.begun += wire.current.waited  # a wait for our slot is not the server's doing
        return asked

    def await_answer(self, asked: Asked) -> None:
        """Wait until the answer begins to arrive, or its time is over; `hear` tells what became of it."""
        if asked.line is not None:
            asked.line.wait(self.timeout[1])

    def hear(self, asked: Asked) -> Answer:
        """Read the answer to what was asked."""
        answered = 0.0
        response = None
        error = translate(asked.trouble) if asked.trouble is not None else None
        try:
            if error is None:
                wire.within(4 * self.timeout[1], self.max_body, asked.gate, self.meter)
                raw = asked.raw if asked.line is None else asked.line.answer(self.timeout[1])
                answered = self.clock.now()
                response = self._read(raw, asked, answered - asked.begun)
        except Exception as trouble:
            error = translate(trouble)
        if not answered and asked.gate is not None:
            asked.gate.failed()
        if asked.line is not None:
            is_whole = response is not None and (asked.most is None or len(response.content) < asked.most)
            asked.line.end(is_whole=is_whole)
        ended = self.clock.now()
        exchange = Exchange(
            sent_at=asked.begun,
            first_byte_at=answered or ended,
            ended_at=ended,
            status=response.status if response else 0,
            size=len(response.content) if response else 0,
            connected=wire.current.connects > asked.connects,
        )
        return Answer(exchange, response, error, was_idle=asked.is_reused and not answered)

    def _is_ordinary(self, place: _Place, url: str) -> bool:
        """Whether only the way of `requests` knows what this takes."""
        is_plain = not (self.auth or place.needs_more or self.hooks["response"])
        return not is_plain or super().get_adapter(url) is not self.wire

    def _send_line(
        self, place: _Place, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> wire.Line:
        # `requests` spends 250 us a page on preparing what never changes within a session, and the pool of
        # urllib3 60 us on what a single connection does not need.
        end = url.find("/", 8)
        lines: dict[str, Any] = dict(self.headers)
        if not place.is_home:
            lines = {name: value for name, value in lines.items() if name.lower() in self._identity}
        lay_over(lines, place.lines)
        if headers:
            lay_over(lines, headers)
        if self.cookies and (cookie := self.cookies.header_for(url, self.clock.wall())):
            lines.setdefault("Cookie", cookie)
        line = wire.Line(self.wire.pool(url[:end], place.verify, self.cert if place.is_home else None))
        try:
            line.send(method, url[end:], lines, body, self.timeout[0])
        except BaseException:
            line.end(is_whole=False)
            raise
        return line

    def _open_ordinarily(
        self, method: str, url: str, headers: Mapping[str, str] | None, body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        request = requests.Request(method, url, headers=dict(headers or {}), data=body)
        settings = self.merge_environment_settings(url, {}, True, None, None)
        settings["stream"] = True
        answer = super().send(
            self.prepare_request(request), allow_redirects=False, timeout=self.timeout, **settings
        )
        return answer.raw

    def _terms_of(self, url: str) -> Terms:
        if self.terms is None:
            return Terms()
        host = host_of(url)
        found = self._terms.get(host)
        if found is None:
            found = self._terms[host] = self.terms(host)
            self.secrets.update(found.secrets)
        return found

    def _place(self, url: str) -> _Place:
        # Reading the environment for every page would cost as much as the request.
        end = url.find("/", 8)
        origin = url[:end] if end > 0 else url
        found = self._places.get(origin)
        if found is None or self.verify is not found.asked:
            if len(self._places) >= MOST_PLACES:
                self._places.clear()
                self._terms.clear()
            found = self._places[origin] = self._new_place(origin)
        return found

    def _new_place(self, origin: str) -> _Place:
        terms = self._terms_of(origin)
        settings = self.merge_environment_settings(origin, {}, None, None, None)
        auth = terms.auth
        digest = HTTPDigestAuth(auth.user, auth.password) if auth and auth.kind == "digest" else None
        needs_more = digest is not None or bool(settings["proxies"])
        return _Place(
            self.verify, settings["verify"], terms.lines(), digest, self._is_home(origin), needs_more
        )

    def _read(self, raw: Any, asked: Asked, elapsed: float) -> Response:
        headers = Headers(raw.headers.items())
        if asked.line is not None and (cookies := headers.getall("set-cookie")):
            self.cookies.store(cookies, asked.url, self.clock.wall())
        try:
            is_cut = asked.most is not None
            limit = self.max_body if asked.most is None else asked.most
            content = read_body(raw, headers.get("content-encoding", ""), limit, is_cut=is_cut)
        except BaseException:
            raw.close()  # what is left of the answer must not stand before the next one
            raise
        if asked.most is not None and len(content) >= asked.most:
            raw.close()
        raw.release_conn()
        return Response(asked.url, raw.status, headers, content, self.clock.wall(), elapsed)

    # what is kept --------------------------------------------------------------------------------------

    def dump_changes(self) -> str | None:
        """What outlives the process, as JSON; None if nothing changed since the last call."""
        is_kept = self.is_logged_in and self.has_login and self._is_portable
        state = (self.cookies.changes, is_kept, self._login_pages)
        if state == self._dumped:
            return None
        self._dumped = state
        kept = {"cookies": self.cookies.dump(), "is_logged_in": is_kept}
        if self._login_pages:
            kept["login_pages"] = sorted(self._login_pages)
        return json.dumps(kept)

    def load(self, text: str) -> None:
        """Take up what `dump_changes` gave."""
        if text:
            kept = json.loads(text)
            self.cookies.load(kept.get("cookies", ()))
            self.is_logged_in = self.has_login = bool(kept.get("is_logged_in"))
            self._login_pages = frozenset(kept.get("login_pages", ()))
            self._dumped = (self.cookies.changes, self.is_logged_in, self._login_pages)

    @property
    def is_connected(self) -> bool:
        """Whether connections may be open."""
        return self.wire.is_connected

    def disconnect(self) -> None:
        """Close the idle connections; the session goes on with new ones."""
        self.wire.disconnect()


def _merged(jar: Jar, cookies: Any) -> Any:
    """A session's cookies and over them those of one request."""
    merge: Callable[..., Any] = merge_cookies
    read: Callable[..., Any] = cookiejar_from_dict
    return merge(jar, read(cookies) if isinstance(cookies, dict) else cookies or {})


def _unchanged(request: Any) -> Any:
    """Credentials that add nothing, so that `requests` looks for no others."""
    return request


def _without(own: Any, params: Any) -> Any:
    """A request's parameters without those that a session adds to each; None is "leave it out"."""
    if isinstance(params, str | bytes) or not isinstance(own, Mapping):
        return params
    return {**dict.fromkeys(own), **dict(params or {})}


def _may_leave(name: str, identity: frozenset[str]) -> bool:
    return name in identity or name.startswith(("accept", "content-")) or name == "transfer-encoding"


def _bare(url: str) -> str:
    return url.partition("?")[0][:200]


def _page_key(url: str) -> str:
    """Host, port and path: the same page with another query, scheme or slash at its end is the same page.

    Only the root of a host ends with a slash.
    """
    place = url.partition("://")[2].partition("#")[0].partition("?")[0]
    return place.rstrip("/") if place.rstrip("/").find("/") > 0 else place.rstrip("/") + "/"
