"""What both databases read out of a visit."""

from collections.abc import Iterable, Sequence
from typing import Any

from scraper.model import Failed, Fetched, Known, NewUrl, Visit


def links_of(visit: Visit) -> Sequence[NewUrl]:
    """The new links of a page."""
    return visit.outcome.links if isinstance(visit.outcome, Fetched | Failed) else ()


def barred_links(visit: Visit) -> Sequence[NewUrl]:
    """The links of a page that nofollow bars."""
    return visit.outcome.barred if isinstance(visit.outcome, Fetched) else ()


def barred_of(links: Iterable[int]) -> list[int]:
    """Those of a page's links that nofollow bars: their ids are kept below zero."""
    return [-link for link in links if link < 0]


def is_itself(visit: Visit, to: NewUrl) -> bool:
    """Whether a redirect leads to the same request: to set a cookie, say."""
    return (to.domain, to.fp) == (visit.entry.domain, visit.entry.fp)


def validators(known: Known) -> tuple[Any, ...]:
    """What a later request for a page is compared with, in the order of the columns."""
    return known.etag, known.last_modified, known.fresh_until, known.body_hash, known.fetched_at
