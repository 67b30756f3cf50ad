"""What is read back: records, the current state of a spider's pages, and the facts for `explain`."""

from collections.abc import Iterator, Mapping
from typing import Any

from scraper.store import START, Cursor, Run, StoredRecord
from scraper.store.memory.runs import runs_of
from scraper.store.memory.tables import Look, Tables


def records(data: Tables, run: Run, after: Cursor = START, limit: int = 1000) -> list[StoredRecord]:
    """The records of a run in the order of its visits, after a cursor."""
    kept: list[StoredRecord] = []
    for look in data.looks:
        if look.run == run.number and look.is_read:
            kept += (one for one in _brought(data, look) if one.cursor > after)
    return kept[:limit]


def current(
    data: Tables,
    spider: str,
    coming: Run | None = None,
    *,
    whole: bool = False,
    without: Run | None = None,
) -> Iterator[StoredRecord]:
    """The records of each page's latest visit in an accepted run."""
    less = without.number if without is not None else 0
    runs = [run for run in runs_of(data, spider) if run.number != less]
    accepted = [run for run in runs if run.is_accepted]
    base = max((run.number for run in accepted if run.is_whole), default=0)
    if coming is not None:
        accepted.append(coming)
        base = coming.number if whole else base
    counted = {run.number for run in accepted if run.number >= base}
    latest = {look.url: look for look in data.looks if look.run in counted}
    for look in sorted(latest.values(), key=lambda look: (not look.is_read, -look.run, look.id)):
        yield from _brought(data, look)


def lookup(data: Tables, spider: str, fp: bytes) -> Mapping[str, Any] | None:
    """What is known of one URL."""
    for url in data.urls.values():
        if (url.spider, url.new.fp) == (spider, fp):
            page = data.pages.get(url.id)
            return {
                "url": url.new.url,
                "state": url.state,
                "reason": url.reason,
                "attempts": url.attempts,
                "depth": url.new.depth,
                "request": url.new.request,
                "run_number": url.run,
                "fetched_at": page and page.known.fetched_at,
            }
    return None


def domain(data: Tables, domain: str) -> Mapping[str, Any] | None:
    """The row of a domain."""
    row = data.domains.get(domain)
    if row is None:
        return None
    return {"domain": domain, "owner": row.owner, "epoch": row.epoch, "due": row.due} | {
        "state": row.state,
        "crashes": row.crashes,
    }


def _brought(data: Tables, look: Look) -> list[StoredRecord]:
    """The records that a visit brought, or let stand."""
    records = data.records.get(look.version or 0, ())
    url, page = data.urls[look.url].new.url, data.pages.get(look.url)
    is_last = page is not None and page.known.version == look.version
    run = data.runs[page.checked if page is not None and is_last else look.run].id
    moment = page.known.fetched_at if page is not None and is_last else None
    return [
        StoredRecord((look.id, n), url, record.key, record.line, run, moment)
        for n, record in enumerate(records)
    ]
