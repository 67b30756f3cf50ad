"""The settings of the crawl loop, and why it ends."""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import StrEnum

from scraper.model.frozen import frozen


class Stop(StrEnum):
    """Why the loop ended."""

    DONE = "done"
    DEFERRED = "deferred"
    PAGES = "max_pages"
    TIME = "max_time"
    SIGNAL = "signal"
    ERRORS = "max_errors"
    RECORDS = "limit"


@frozen
class Plan:
    """The settings that the crawl loop obeys; docs/settings.md has their meaning and units.

    `token` is our product token in robots.txt; `sockets` how many idle connections may be kept open;
    `leads`: the run is ours, and ends when neither we nor its helpers go on; max_pages counts theirs too.
    `group_of` names the politeness group of a domain, or none;
    `is_again`: the run is gone on with after its end, and asks those again that refused it.
    """

    token: str
    delay: float = 1.0
    delay_factor: float = 1.0
    max_delay: float = 120.0
    max_wait: float = 300.0
    max_attempts: int = 4
    concurrency: int = 1
    max_pages: int | None = None
    max_errors: int | None = None
    max_records: int | None = None
    max_time: float | None = None
    max_age: float = 0.0
    active_hours: tuple[tuple[int, int], ...] = ()
    has_login: bool = False
    allowed_domains: frozenset[str] = frozenset()
    sockets: int = 1000
    is_again: bool = False
    pages_per_domain: Mapping[str, int] = field(default_factory=dict)
    leads: bool = False
    group_of: Callable[[str], str] = lambda domain: ""
