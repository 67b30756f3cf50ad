"""One hop of a request outside a run: what is sent, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from scraper.errors import FetchError
from scraper.model import Response
from scraper.model.frozen import frozen
from scraper.politeness.throttle import Pace


@frozen
class Step:
    """One hop: its URL and what came of it. `refusal`: why nothing was sent; `is_later`: it may be later;
    `is_closed`: nothing may be asked for, as its robots.txt cannot be had.

    `wait`: in how many seconds, as far as that is known. `fault`: the error behind `error`. `blocked`: what
    the answer is recognised as, where it means "not you". `sent_at`: when it was sent (0: it was not), on the
    clock's line. `pace`: which rule sets the distance to the next request. `robots`: what robots.txt says.
    """

    url: str
    response: Response | None = None
    refusal: str = ""
    error: str = ""
    is_later: bool = False
    is_closed: bool = False
    next_url: str = ""
    wait: float = 0.0
    fault: FetchError | None = None
    blocked: str = ""
    sent_at: float = 0.0
    pace: Pace | None = None
    robots: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether a page came back that says what it should."""
        return self.response is not None and 200 <= self.response.status < 300


@frozen
class Sent:
    """A request as it is sent: `headers` are its own fields, beside those of the session.

    `is_load`, `is_foreign`: a rendered page asks for it, or one of another site (see `exchange.ask`).
    """

    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_load: bool = False
    is_foreign: bool = False


@frozen
class SessionState:
    """What a session has: `cookies` as rows of `DomainCookieJar.dump`, what scripts keep by origin."""

    cookies: Sequence[Mapping[str, Any]] = ()
    storage: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def unanswered(url: str, error: FetchError | None) -> Step:
    """A hop without an answer."""
    return Step(url, error=error.message if error is not None else "no answer", fault=error)
