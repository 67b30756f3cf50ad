"""What one rendered page may ask for: which kinds, where, how often, and for how long."""

from collections import Counter
from dataclasses import field

from scraper.browser.tasks import PageRequest
from scraper.http.session import DomainSession
from scraper.model import Render
from scraper.model.frozen import slotted
from scraper.politeness.rate_limiter import RateLimiter
from scraper.politeness.scope import LONGEST_URL, is_inside
from scraper.urls import domain_of, host_of

MOST_LOADS = 300  # requests of one page
MOST_DOCUMENTS = 10  # that one page leads to by itself
MOST_FILES = 50  # that one page leads to
MOST_POLLS = 5  # times that one page asks for the same
LONGEST = 180.0  # seconds that a page is rendered
LEAST_SLOTS = 60  # requests that it can send in its time, however long the delay is
OVER = "the page's time is over"
_ENDLESS = {"socket": "a WebSocket is not opened", "events": "an EventSource is an answer without end"}


@slotted
class PageLimits:
    """The limits of a page of `domain`, and what it has asked for so far.

    `kinds`: those that are answered; `domains`: which others may be asked, None: all; `allowed_domains`:
    where the page may lead; `until`: when its time is over, on the clock's line.
    """

    domain: str
    kinds: frozenset[str]
    domains: frozenset[str] | None
    allowed_domains: frozenset[str]
    until: float
    asked: int = 0
    documents: int = 0
    files: int = 0
    polls: Counter[tuple[str, str, bytes | None]] = field(default_factory=Counter)

    @property
    def is_loop(self) -> bool:
        """Whether the page leads on and on."""
        return self.documents > MOST_DOCUMENTS

    def note_file(self, wanted: PageRequest) -> None:
        """Note that an answer is a file: the page stays where it is."""
        self.files += 1
        self.documents -= wanted.kind == "document"

    def refusal(self, wanted: PageRequest, now: float) -> str:
        """Why a request is not answered; empty where it may be. It counts either way."""
        self.asked += 1
        self.documents += wanted.kind == "document"
        if now >= self.until:
            return OVER
        if wanted.kind in _ENDLESS:
            return _ENDLESS[wanted.kind]
        if wanted.kind not in self.kinds:
            return f"a rendered page is given no {wanted.kind} (setting render_load)"
        if not wanted.url.startswith(("https://", "http://")) or len(wanted.url) > LONGEST_URL:
            return "not a URL that is fetched"
        return self._too_many(wanted) or self._outside(wanted)

    def _too_many(self, wanted: PageRequest) -> str:
        if self.asked > MOST_LOADS:
            return f"more than {MOST_LOADS} requests of one page"
        if self.files >= MOST_FILES and wanted.kind in ("document", "frame", "download"):
            self.documents -= wanted.kind == "document"
            return f"more than {MOST_FILES} files of one page"
        asked = wanted.method, wanted.url, wanted.body
        self.polls[asked] += 1
        if self.polls[asked] > MOST_POLLS and wanted.kind != "document":
            return f"asked for more than {MOST_POLLS} times by one page"
        return ""

    def _outside(self, wanted: PageRequest) -> str:
        host = host_of(wanted.url)
        is_inside_crawl = is_inside(host, self.allowed_domains)
        if wanted.kind == "document":
            return "" if is_inside_crawl else f"outside allowed_domains: {host[:100]}"
        near = is_inside_crawl or domain_of(wanted.url) == self.domain
        if near or self.domains is None or is_inside(host, self.domains):
            return ""
        return f"outside render_domains: {host[:100]}"


def time_for(session: DomainSession, render: Render) -> float:
    """Seconds that a page may take, whatever it does; a slow domain's scripts take longer to come."""
    delay = session.limiter.delay if isinstance(session.limiter, RateLimiter) else 0.0
    return max(LONGEST, LEAST_SLOTS * delay, render.timeout)
