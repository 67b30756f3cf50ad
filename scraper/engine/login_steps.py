"""Logging in within a batch, and how an answer shows that the login is lost."""

import re
from collections.abc import Iterator

from scraper.engine.visit_redaction import VisitRedaction
from scraper.errors import LoginFailed, OutOfFiles
from scraper.http import redirects
from scraper.http.exchange import BLOCKS, Wait
from scraper.http.failures import translate
from scraper.http.session import DomainSession
from scraper.model import Entry
from scraper.ops.patterns import pattern
from scraper.ops.tracebacks import files_of, told
from scraper.parsing.page import Page
from scraper.spider import Spider
from scraper.urls import join

_LEAVES = pattern(r"[/=](?:log|sign)[-_]?(?:out|off)(?:\.\w+)?/?(?:[?&#]|$)", re.IGNORECASE)
_QUERY = pattern(r"(https?://[^\s?'\"]*)\?[^\s'\"]*")


class LoginSteps:
    """The spider's `login` and `logged_out`, called for sessions."""

    def __init__(self, spider: Spider, redaction: VisitRedaction) -> None:
        self._spider = spider
        self._redaction = redaction
        self._files = files_of(type(spider))

    def login(self, session: DomainSession) -> Iterator[Wait]:
        """Log in with the spider's own method; raises LoginFailed whatever went wrong."""
        yield BLOCKS
        try:
            session.log_in(self._spider.login)
        except LoginFailed as error:
            raise LoginFailed(self._redaction.text(session, error.message), error.hint) from None
        except (Exception, SystemExit) as error:
            if isinstance(error, Exception) and isinstance(lack := translate(error), OutOfFiles):
                raise lack from None
            text = _QUERY.sub(r"\1", told(error, self._files))
            raise LoginFailed(self._redaction.text(session, f"login on {session.domain}: {text}")) from None

    def lost(self, session: DomainSession, entry: Entry, page: Page) -> str:
        """How an answer shows that the site no longer knows us; empty where it does not."""
        if page.status == 401:
            return "logged out: status 401"
        if redirects.is_redirect(page.status):
            target = join(entry.url, redirects.location_of(page.headers) or "") or ""
            is_sent_to_login = session.is_login_page(target) and not session.is_login_page(entry.url)
            return "logged out: redirect to the login page" if is_sent_to_login else ""
        return "logged out: so says logged_out()" if page.status // 100 == 2 and self._says_lost(page) else ""

    def _says_lost(self, page: Page) -> bool:
        try:
            return self._spider.logged_out(page)
        except Exception as error:
            # A page that it cannot read is no sign of anything; the callback meets the same page.
            page.note(f"logged_out() raised {told(error, self._files)}")
            return False


def leaves(url: str) -> bool:
    """Whether a link would end the login."""
    return _LEAVES.search(url) is not None
