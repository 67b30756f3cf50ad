"""What of an answer is archived: what a later parse needs, unless its site says noarchive."""

from dataclasses import replace

from scraper.model import Entry, Failed, Fetched, Headers, Outcome, Redirected, Response, Unchanged
from scraper.parsing.page import Page
from scraper.spider.identity import archived_as

_COOKIES = frozenset({"set-cookie", "set-cookie2"})


def to_archive(entry: Entry, outcome: Outcome, page: Page) -> tuple[Response | None, bytes]:
    """What of an answer is archived, and under which fingerprint."""
    if page.response.file is None and _is_kept(outcome, page):
        return _without_cookies(page.response), archived_as(entry)
    return None, b""


def _is_kept(outcome: Outcome, page: Page) -> bool:
    """Whether a response is archived: what a later parse needs, unless its site says noarchive."""
    match outcome:
        case Unchanged():
            return not page.noarchive
        case Fetched(facts=facts):
            return "noarchive" not in facts
        case Redirected() | Failed(is_parse=True) | Failed(is_gone=True):
            return not page.noarchive
        case _:
            return False


def _without_cookies(response: Response) -> Response:
    """A response as it may be archived: whoever has a session's cookies is that session."""
    lines = [(name, value) for name, value in response.headers.items_all() if name.lower() not in _COOKIES]
    return replace(response, headers=Headers(lines))
