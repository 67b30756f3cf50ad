"""Forms and logins of a session: what a login has done, and whether its form came back."""

from collections.abc import Iterable
from dataclasses import field
from urllib.parse import parse_qsl

import requests

from scraper.errors import LoginFailed, RequestDenied, ScraperError
from scraper.http.origin_settings import bare
from scraper.model import Headers, Loaded, Request, Response
from scraper.model.frozen import slotted
from scraper.parsing.forms import Form
from scraper.parsing.page import Page
from scraper.urls import origin_of


@slotted
class LoginProgress:
    """What a login has done so far; `status` of its last answer. `came_back`: it shows the form once more."""

    sends: int = 0
    came_back: bool = False
    status: int = 0
    pages: set[str] = field(default_factory=set)

    def note(self, request: requests.PreparedRequest) -> None:
        """Remember what is sent, and where a password may have gone."""
        self.sends += 1
        if request.method == "POST":
            self.pages.add(page_key(request.url or ""))

    def note_rendered(self, url: str, loads: Iterable[Loaded]) -> None:
        """Remember what a rendered page has posted: its scripts or its form may have logged in."""
        posted = [one for one in loads if one.method != "GET" and one.status]
        if posted:
            self.status = posted[-1].status
            self.pages |= {page_key(url), *(page_key(one.url) for one in posted)}

    def check(self) -> None:
        """Raise LoginFailed where the last answer shows that it failed."""
        if self.came_back and self.status not in (401, 403):
            raise LoginFailed("the login page came back: wrong password?")
        if self.status in (400, 401, 403, 422) or self.status >= 500:
            raise LoginFailed(f"the login was answered with status {self.status}")


def check_target(page: str, url: str, *, is_meant: bool) -> None:
    """A password goes over plain http only to what the spider itself wrote as http (`is_meant`)."""
    if url.startswith("http:") and not is_meant:
        raise RequestDenied(
            f"the form at {bare(page)} would send the password over plain http to {bare(url)}",
            "if that is right, write that address with http:// in login() or start_urls",
        )


def has_form_again(answer: requests.Response, sent: Form) -> bool:
    """Whether an answer shows the form that was just sent, as a login page does to a wrong password."""
    try:
        again = page_of(answer, 0.0).form("form", sent.secrets)
    except (ScraperError, ValueError):
        return False
    return sent.secrets <= set(again.names) and page_key(again.action) == page_key(sent.action)


def is_refused_login(answer: requests.Response) -> bool:
    """Whether what was posted by hand has led to the form that sends it, to be filled in once more."""
    first = (answer.history or [answer])[0].request
    body = first.body.decode("utf-8", "replace") if isinstance(first.body, bytes) else first.body
    if first.method != "POST" or not isinstance(body, str):
        return False
    names = {name for name, _ in parse_qsl(body)}
    try:
        again = page_of(answer, 0.0).form("form", names)
    except (ScraperError, ValueError):
        return False
    is_for_it = page_key(again.action) == page_key(first.url or "")
    return is_for_it and bool(again.secrets) and again.secrets <= names


def page_of(answer: requests.Response, now: float) -> Page:
    """The page of an answer that came at a wall moment `now`."""
    headers = Headers((name, value) for name, value in answer.headers.items())
    response = Response(answer.url, answer.status_code, headers, answer.content, now)
    return Page(Request(answer.url), response)


def referer(page: str, url: str) -> dict[str, str]:
    """The Referer field as browsers send it: whole within an origin, the origin alone to others.

    From https to http none (Referrer Policy, strict-origin-when-cross-origin).
    """
    if page.startswith("https:") and not url.startswith("https:"):
        return {}
    is_same = origin_of(page) == origin_of(url)
    return {"Referer": page.partition("#")[0] if is_same else f"{origin_of(page)}/"}


def page_key(url: str) -> str:
    """Host, port and path: the same page with another query, scheme or slash at its end is the same page.

    Only the root of a host ends with a slash.
    """
    bare = url.partition("://")[2].partition("#")[0].partition("?")[0].rstrip("/")
    return bare if bare.find("/") > 0 else bare + "/"
