"""The one persistent session of a domain: cookies, auth and connections, kept in a run and between runs."""

import json
import os
from collections.abc import Callable, Collection, Mapping, MutableMapping
from copy import copy
from threading import get_ident
from typing import Any, Protocol

import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.cookies import cookiejar_from_dict, merge_cookies

from scraper.errors import RequestDenied, SpiderError
from scraper.http import redirects
from scraper.http.adapter import MOST_POOLS, Adapter, LimitedAdapter, put_behind_limiter
from scraper.http.cookies import DomainCookieJar
from scraper.http.exchange_limits import Limiter, Meter, within
from scraper.http.host_settings import HostSettings, digest_of_own, lay_over, lines_of
from scraper.http.login_forms import (
    LoginProgress,
    check_target,
    has_form_again,
    is_refused_login,
    page_key,
    page_of,
    referer,
)
from scraper.http.origin_settings import (
    OriginSettings,
    bare,
    merged_without_proxies,
    names_proxies,
    no_auth,
    proxies_of_hop,
    readdress,
    take_off_secrets,
    without_session_params,
)
from scraper.http.reach import Reach
from scraper.http.tls import AUTHORITIES
from scraper.http.web_storage import WebStorage
from scraper.model import Headers, Loaded, Render, Response
from scraper.ops.clock import Clock, SystemClock
from scraper.ops.looks import unseen
from scraper.ops.secrets import Redaction, is_secret_name, may_leave, names_secret
from scraper.parsing.page import Page
from scraper.politeness import retry
from scraper.settings.origins import is_own
from scraper.urls import domain_of, is_public_suffix, origin_of

MOST_ORIGINS = 1000  # a hostile domain has origins without end


class LoadRules(Protocol):
    """What a rendered page may ask for, wherever that is."""

    def knows(self, url: str) -> bool:
        """Whether `check` tells without asking for robots.txt."""
        ...

    def check(self, url: str) -> None:
        """Raise RequestDenied for a URL that may not be asked for now."""
        ...


PageRenderer = Callable[["DomainSession", Response, Render], Page]
"""Renders the page of a plain answer; raises FetchError where nothing comes of it."""


class DomainSession(requests.Session):
    """A `requests.Session` of one domain, on which every request passes the domain's rate limiter.

    `timeout`: (connect, read) in seconds; an exchange as a whole ends after 4 x read. `max_body`: bytes after
    decompression. `check(url)` may raise to refuse a URL (scope, robots) before anything is sent.
    `host_settings`: what the settings say for an origin. `origins`: where header fields, credentials and
    parameters of the session go, and what `login` asks for by name; None: the whole domain. `limiters`:
    those of other domains, where a login leads there. `reach`: which addresses hosts may have.
    Everything that people know of a `requests.Session` works on it; the engine's own way is `exchange`.
    """

    usage: Callable[[str], str | None] | None = None
    load_rules: LoadRules | None = None
    renderer: PageRenderer | None = None
    render_delay: tuple[float, float] | None = None  # of what pages ask for, and of all else (s)
    is_logged_in = False
    has_login = False
    account: str | None = None  # whose login this is to be; None: anybody's
    _is_portable = True
    _login: LoginProgress | None = None
    _login_pages: frozenset[str] = frozenset()
    _redacted: tuple[Any, Redaction] | None = None
    _dumped: tuple[Any, ...] = (0, 0, False, frozenset(), (), ())

    def __init__(
        self,
        domain: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        timeout: tuple[float, float] = (10.0, 30.0),
        max_body: float = 32 * 2**20,
        connections: int = 1,
        most_origins: int = MOST_POOLS,
        limiter: Limiter | None = None,
        clock: Clock | None = None,
        check: Callable[[str], None] | None = None,
        host_settings: Callable[[str], HostSettings] | None = None,
        limiters: Callable[[str], Limiter] | None = None,
        origins: Collection[str] | None = None,
        reach: Reach | None = None,
    ) -> None:
        super().__init__()
        self.domain = domain
        self.timeout = timeout
        self.max_body = max_body
        self.limiter = limiter
        self.limiters = limiters
        self.clock = clock or SystemClock()
        self.check = check
        self.storage = WebStorage()
        self.loads: list[Loaded] = []  # what pages rendered here asked for, until it is logged
        self.host_settings = host_settings
        self.origins = origins
        self.reach = reach
        self._login_origins: set[str] = set()
        self.cookies: DomainCookieJar = DomainCookieJar(
            is_public_suffix, domain, self.clock.wall, self.is_own
        )
        self.adapter = Adapter(connections, most_origins)
        self.mount("https://", self.adapter)
        self.mount("http://", self.adapter)
        self.meter = Meter()
        self.callers: set[int] = set()  # threads that wait for an answer here: logins, callbacks
        self.secrets: set[str] = set()
        self._host_settings: dict[str, HostSettings] = {}
        self._origin_settings: dict[str, OriginSettings] = {}
        if headers:
            self.headers.update(headers)
        # What says who we are goes wherever a login leads; all that is added later stays with the domain.
        self.identity = frozenset(name.lower() for name in self.headers)
        self._first_lines = lines_of(self.headers)
        if domain:
            self.max_redirects = redirects.MAX_HOPS

    def __getstate__(self) -> dict[str, Any]:
        if self.limiter is not None:
            raise TypeError("a copy of a domain's session would not keep the domain's clock")
        return {name: getattr(self, name) for name in requests.Session.__attrs__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]  # what is not in the state is as in a new one
        for name, value in state.items():
            setattr(self, name, value)

    # the way of people ---------------------------------------------------------------------------------

    @unseen()
    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """As `requests.Session.send`; each redirect hop passes here again."""
        url = request.url or ""
        if self.check is not None:
            self.check(url)
        if self._is_particular:
            if getattr(request, "is_loop", False):
                raise requests.TooManyRedirects(f"{bare(url)} redirects to itself", request=request)
            self._adjust(request, kwargs)
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self.timeout
        limiter = self.limiter_of(url)
        within(4 * self.timeout[1], self.max_body, limiter, self.meter, self.reach)
        if self._login is not None:
            self._login.note(request)
        self.callers.add(get_ident())
        try:
            response = super().send(request, **kwargs)
        finally:
            self.callers.discard(get_ident())
        if self._login is not None:
            self._login.status = response.status_code
        if limiter is not None:
            self._heed(response, limiter)
        return response

    @property
    def _is_particular(self) -> bool:
        """Whether hosts differ for this session; for one without a domain or settings they do not."""
        return bool(self.domain) or self.host_settings is not None

    def limiter_of(self, url: str) -> Limiter | None:
        if self.limiters is None or self._is_home(url):
            return self.limiter
        return self.limiters(domain_of(url))

    def _is_home(self, url: str) -> bool:
        return not self.domain or domain_of(url) == self.domain

    def is_own(self, url: str) -> bool:
        """Whether what was put on the session is meant for a URL: scheme, host and port decide."""
        if self.origins is None or not self.domain:
            return self._is_home(url)
        origin = origin_of(url)
        return self._is_home(url) and (is_own(origin, self.origins) or origin in self._login_origins)

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        """As in `requests`; where a login goes by name, there its secrets are meant for."""
        if self._login is not None and isinstance(url, str):
            self._mean(url)
        answer = super().request(method, url, *args, **kwargs)
        if self._login is not None and not kwargs.get("stream"):
            self._login.came_back = is_refused_login(answer)
        return answer

    def _mean(self, url: str) -> None:
        if (origin := origin_of(url)) not in self._login_origins:
            self._login_origins.add(origin)
            self._origin_settings.clear()

    @property
    def redaction(self) -> Redaction:
        """Takes out of a text what of this session is secret: passwords, credentials, cookies."""
        changes = self.cookies.changes, self.storage.changes
        belongings = (len(self.secrets), changes, str(self.headers), repr(self.auth))
        if self._redacted is None or self._redacted[0] != belongings:
            found = Redaction(self.secrets)
            found.add(self.cookies.secrets())
            found.add(self.storage.secrets())
            found.add(str(value) for name, value in self.headers.items() if not may_leave(name))
            if isinstance(self.auth, tuple):
                found.add((str(self.auth[1]), ":".join(map(str, self.auth))))
            self._redacted = belongings, found
        return self._redacted[1]

    def _heed(self, response: requests.Response, limiter: Limiter) -> None:
        """A wait that the site asks for holds for its whole domain, whoever hears of it."""
        told = retry.told(response.status_code, Headers(response.headers.items()), self.clock.wall())
        if told.pause:
            limiter.rest_until(self.clock.now() + told.pause)

    def _adjust(self, request: requests.PreparedRequest, kwargs: dict[str, Any]) -> None:
        """Verify a hop to another host by that host's own settings, and show it no certificate of ours."""
        origin_settings = self.origin_settings(request.url or "")
        origin = getattr(request, "came_from", None)
        if origin is not None and kwargs.get("verify") == self.origin_settings(origin).verify:
            kwargs["verify"] = origin_settings.verify
        if not origin_settings.is_own and kwargs.get("cert") == self.cert:
            kwargs["cert"] = None

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As in `requests`, with the cookies by RFC 6265bis and the settings for the host."""
        if self._is_particular and isinstance(request.url, str):
            request = self._with_host_settings(request)
        prepared = super().prepare_request(request)
        named = [value for name, value in (request.headers or {}).items() if name.lower() == "cookie"]
        if isinstance(self.cookies, DomainCookieJar) and not any(named):
            # `requests` pours the jar into a plain one, which goes by other rules.
            prepared.headers.pop("Cookie", None)
            if not named:  # None: no cookie at all
                prepared.prepare_cookies(_merged(self.cookies.copy(), request.cookies))
        return prepared

    def _with_host_settings(self, request: requests.Request) -> requests.Request:
        origin_settings = self.origin_settings(str(request.url))
        request = copy(request)
        lines: dict[str, Any] = {}
        auth = request.auth or origin_settings.digest
        if not origin_settings.is_own:
            # `requests` takes None for "leave it out".
            lines = {name: None for name in self.headers if name.lower() not in self.identity}
            auth = auth or no_auth
            request.params = without_session_params(self.params, request.params)
        lay_over(lines, origin_settings.lines)
        lay_over(lines, request.headers or {})
        request.headers = lines
        if "Authorization" in origin_settings.lines:
            auth = auth or no_auth
        request.auth = auth
        return request

    def rebuild_proxies(self, prepared_request: requests.PreparedRequest, proxies: Any) -> dict[str, str]:
        """As in `requests`; each hop goes by the proxy that the settings name for its host."""
        own = self._host_settings_of(prepared_request.url).proxy
        before = [one.proxy for one in self._host_settings.values()]
        hop = proxies_of_hop(proxies, own, before)
        found: dict[str, str] = super().rebuild_proxies(prepared_request, hop)  # type: ignore[no-untyped-call]
        return found

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """As in `requests`; what was meant for one host goes to no other, whatever field it stands in."""
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # its stubs
        if self._is_particular:
            old, new = response.request.url or "", prepared_request.url or ""
            setattr(prepared_request, "came_from", old)  # noqa: B010 - its class knows no such attribute
            if old == new and "Set-Cookie" not in response.headers:
                setattr(prepared_request, "is_loop", prepared_request.method == response.request.method)  # noqa: B010
            if not redirects.may_know_secrets(old, new):
                self._check_body(prepared_request, old)
                take_off_secrets(prepared_request, self.identity)
            if self.origin_settings(old) is not self.origin_settings(new):
                readdress(
                    prepared_request, self.headers, self.origin_settings(old), self.origin_settings(new)
                )

    def _check_body(self, prepared: requests.PreparedRequest, old: str) -> None:
        """A redirect takes no password to another origin, unless the spider wrote that one itself."""
        body, url = prepared.body, prepared.url or ""
        if not body or (self.origins is not None and self.is_own(url)):
            return
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body)
        if self._login is not None or names_secret(text) or self.redaction.has(text):
            raise RequestDenied(
                f"{bare(old)} redirects to {bare(url)}, and what was sent would go along to another origin",
                "if that is right, send it there by name",
            )

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: Any,
        cert: Any,
    ) -> Any:
        """As in `requests`, except that the environment overrides nothing that was set here."""
        host_settings = self._host_settings_of(url) if isinstance(url, str) else HostSettings()
        if verify is None and self.verify is not True:
            verify = self.verify
        elif verify is None and host_settings.verify is not None:
            # A plain True would be overridden by REQUESTS_CA_BUNDLE.
            verify = AUTHORITIES if host_settings.verify is True else host_settings.verify
        if host_settings.proxy and not proxies:
            proxies = {"http": host_settings.proxy, "https": host_settings.proxy}
        if self.trust_env and not names_proxies(os.environ):
            # `requests` takes half a millisecond to find that out, for each of many domains.
            return merged_without_proxies(self, url, proxies, stream, verify, cert)
        return super().merge_environment_settings(url, proxies, stream, verify, cert)

    def get_adapter(self, url: str) -> BaseAdapter:
        """The adapter for a URL, always behind the rate limiter; without one `requests` refuses."""
        adapter = super().get_adapter(url)
        # Those that connect take their slot later: once connected, right before the first byte.
        if adapter is self.adapter or self.limiter is None or isinstance(adapter, Adapter):
            return adapter
        if isinstance(adapter, HTTPAdapter):
            put_behind_limiter(adapter)
            return adapter
        return LimitedAdapter(adapter, self.limiter_of(url) or self.limiter)

    # forms and logins ----------------------------------------------------------------------------------

    def submit(
        self,
        page: Page | requests.Response | str,
        form: str = "form",
        *,
        button: str | None = "",
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
            self._login.pages.add(page_key(page.url))
        sent = found.submission(given, button)
        if any(given.get(name) for name in found.secrets):
            is_same = origin_of(page.url) == origin_of(sent.url)
            check_target(
                page.url, sent.url, is_meant=is_same if self.origins is None else self.is_own(sent.url)
            )
        headers = referer(page.url, sent.url)
        if sent.content_type:
            headers["Content-Type"] = sent.content_type
        answer = super().request(sent.method, sent.url, data=sent.body, headers=headers)
        if self._login is not None and found.secrets:
            self._login.came_back = has_form_again(answer, found)
        return answer

    @unseen()
    def render(self, url: str, **how: Any) -> Page:
        """Have a browser render the page at a URL; the keywords are those of `Render`.

        What is filled in, clicked and waited for may log in: its cookies and what its scripts keep stay with
        the session. SpiderError without a browser, FetchError where the page fails.
        """
        if self.renderer is None:
            raise SpiderError("session.render() needs a run that has a browser", "see docs/rendering.md")
        given = Render(**how)
        self.secrets.update(text for query, text in given.fill.items() if is_secret_name(query))
        page = self.renderer(self, self._page(url).response, given)
        if self._login is not None and page.response.rendered is not None:
            self._login.note_rendered(url, page.response.rendered.loads)
        return page

    def _page(self, page: Page | requests.Response | str) -> Page:
        if isinstance(page, Page):
            return page
        if isinstance(page, str):
            page = self.get(page)
            page.raise_for_status()
        return page_of(page, self.clock.wall())

    def log_in(self, login: Callable[[Any], None]) -> None:
        """Let a spider log in; raises what it raises, and LoginFailed by the last answer.

        What it leaves in cookies is kept across runs; headers and auth live as long as the session.
        """
        before = self._belongings()
        self._login = done = LoginProgress()
        try:
            login(self)
        finally:
            self._login = None
        done.check()
        self._is_portable = before == self._belongings()
        self.has_login = bool(done.sends) or not self._is_portable
        self._login_pages = frozenset(page for page in done.pages if not page.endswith("/"))
        self.is_logged_in = True

    def _belongings(self) -> tuple[Any, ...]:
        return dict(self.headers), self.auth, repr(self.params), self.cert, tuple(self.adapters)

    def own_fields(self) -> str:
        """A digest of what somebody has the session send each time, but for secrets; empty: nothing."""
        if (lines := lines_of(self.headers)) == self._first_lines and not self.params:
            return ""  # as nearly always
        return digest_of_own(lines, dict(self._first_lines), self.params)

    def is_login_page(self, url: str) -> bool:
        """Whether a form was submitted from this address, or something posted to it, to log in."""
        return bool(self._login_pages) and page_key(url) in self._login_pages

    # settings by origin --------------------------------------------------------------------------------

    def _host_settings_of(self, url: str | None) -> HostSettings:
        if self.host_settings is None or not url:
            return HostSettings()
        origin = origin_of(url)
        found = self._host_settings.get(origin)
        if found is None:
            found = self._host_settings[origin] = self.host_settings(origin)
            self.secrets.update(found.secrets)
        return found

    def has_auth(self, url: str) -> bool:
        """Whether a request to a URL goes with credentials of the settings."""
        found = self.origin_settings(url)
        return found.digest is not None or "Authorization" in found.lines

    def origin_settings(self, url: str) -> OriginSettings:
        # Reading the environment for every page would cost as much as the request.
        end = url.find("/", 8)
        origin = url[:end] if end > 0 else url
        found = self._origin_settings.get(origin)
        if found is None or self.verify is not found.asked:
            if len(self._origin_settings) >= MOST_ORIGINS:
                self._origin_settings.clear()
                self._host_settings.clear()
            found = self._origin_settings[origin] = self._find_origin_settings(origin)
        return found

    def _find_origin_settings(self, origin: str) -> OriginSettings:
        host_settings = self._host_settings_of(origin)
        settings = self.merge_environment_settings(origin, {}, None, None, None)
        auth = host_settings.auth
        digest = None
        if auth and auth.kind == "digest":
            # Imported on first use: few sites ask for it.
            from scraper.http.digest import DigestAuth

            digest = DigestAuth(auth.user, auth.password)
        needs_more = digest is not None or bool(settings["proxies"])
        return OriginSettings(
            self.verify,
            settings["verify"],
            host_settings.lines(),
            digest,
            self._is_home(origin),
            self.is_own(origin),
            needs_more,
        )

    # what is kept --------------------------------------------------------------------------------------

    def dump_changes(self) -> str | None:
        """What outlives the process, as JSON; None if nothing changed since the last call."""
        is_kept = self.is_logged_in and self.has_login and self._is_portable
        idle = self.adapter.known_idle_limits()
        twice = tuple(sorted(self.adapter.answer_twice))
        state = (self.cookies.changes, self.storage.changes, is_kept, self._login_pages, idle, twice)
        if state == self._dumped:
            return None
        self._dumped = state
        kept = {"cookies": self.cookies.dump(), "is_logged_in": is_kept, "account": self.account or ""}
        if self.storage.items:
            kept["storage"] = self.storage.items
        if self._login_pages:
            kept["login_pages"] = sorted(self._login_pages)
        if idle:
            kept["idle_limits"] = dict(idle)
        if twice:
            kept["answer_twice"] = twice
        return json.dumps(kept)

    def load(self, text: str) -> None:
        """Take up what `dump_changes` gave."""
        if text:
            kept = json.loads(text)
            is_other = self.account is not None and kept.get("account", self.account) != self.account
            if is_other and kept.get("is_logged_in"):
                return  # somebody else's login: what it opens is not ours
            self.cookies.load(kept.get("cookies", ()))
            self.storage.load(kept.get("storage"))
            self.is_logged_in = self.has_login = bool(kept.get("is_logged_in"))
            self._login_pages = frozenset(kept.get("login_pages", ()))
            twice = tuple(kept.get("answer_twice", ()))
            self.adapter.load_idle_limits(kept.get("idle_limits", {}), twice)
            idle = self.adapter.known_idle_limits()
            self._dumped = (self.cookies.changes, 0, self.is_logged_in, self._login_pages, idle, twice)

    @property
    def open_connections(self) -> int:
        """How many connections wait for their next request."""
        return self.adapter.open_connections

    def disconnect(self) -> None:
        """Close the idle connections; the session goes on with new ones."""
        self.adapter.disconnect()

    def abandon(self) -> None:
        """Let go of what was sent and whose answer nobody will hear."""
        self.disconnect()
        if self.limiter is not None:
            self.limiter.failed()


def _merged(jar: DomainCookieJar, cookies: Any) -> Any:
    """A session's cookies and over them those of one request."""
    merge: Callable[..., Any] = merge_cookies
    read: Callable[..., Any] = cookiejar_from_dict
    return merge(jar, read(cookies) if isinstance(cookies, dict) else cookies or {})
