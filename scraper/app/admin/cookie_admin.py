"""A spider's stored cookies: listed, imported from a browser, deleted."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from scraper.errors import UsageError
from scraper.http.cookie_files import read
from scraper.http.session import DomainSession
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.store import Store
from scraper.urls import domain_of


@frozen
class DomainCookies:
    """The cookies of a spider on a domain, and whether it counts as logged in there."""

    domain: str
    cookies: list[dict[str, Any]]
    is_logged_in: bool


def cookies_by_domain(store: Store, spider: str) -> list[DomainCookies]:
    """What is kept, by domain."""
    found = []
    for domain, kept in sorted(store.sessions(spider).items()):
        session = _session(domain, kept)
        found.append(DomainCookies(domain, session.cookies.dump(), session.is_logged_in))
    return found


@frozen
class Import:
    """How many cookies were added, by domain, and how many of the file were not."""

    added: dict[str, int]
    expired: int
    partitioned: int


def import_cookies(store: Store, spider: str, file: Path) -> Import:
    """Add the cookies of a cookies.txt or of a browser's or tool's JSON."""
    try:
        content = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    found = read(content, SystemClock().wall())
    by_domain: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in found.rows:
        by_domain[domain_of(f"http://{row['domain'].lstrip('.')}/")].append(row)
    kept = store.sessions(spider)
    for domain, some in by_domain.items():
        session = _session(domain, kept.get(domain, ""))
        session.cookies.load(some)
        store.keep_session(spider, domain, _text(session))
    added = {domain: len(some) for domain, some in by_domain.items()}
    return Import(added, found.expired, found.partitioned)


def forget_cookies(store: Store, spider: str, domain: str | None = None) -> list[str]:
    """Drop cookies and logins, of one domain or of all; the domains that had some."""
    gone = [name for name in store.sessions(spider) if domain in (None, name)]
    for name in gone:
        store.keep_session(spider, name, "")
    return gone


def _session(domain: str, kept: str) -> DomainSession:
    session = DomainSession(domain)
    session.load(kept)
    return session


def _text(session: DomainSession) -> str:
    return json.dumps({"cookies": session.cookies.dump(), "is_logged_in": session.is_logged_in})
