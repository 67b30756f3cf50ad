"""The wiring of a run that sends no request: it parses what the archive holds."""

from collections.abc import Sequence

from scraper import settings as settings_of
from scraper.app.archived.archive_home import archive_home_of
from scraper.app.archived.crawl_archive import Kept, Offline
from scraper.app.archived.processes import parse_pool
from scraper.app.compose import offline_fetcher
from scraper.app.options import Prepared
from scraper.ops.clock import Clock
from scraper.runs.archive.reading import Archives
from scraper.runs.events import Listener
from scraper.spider import Rules
from scraper.store import Run, Store


def compose_offline(
    prepared: Prepared,
    rules: Rules,
    store: Store,
    found: Run,
    clock: Clock,
    listeners: Sequence[Listener],
) -> Offline:
    """Connect the parts of a run that sends no request."""
    settings = prepared.settings
    pool = None
    if prepared.options.workers > 1:
        orders = {"work": "visit", "version": found.number, "code": found.code}
        pool = parse_pool(prepared, rules, orders)
    return Offline(
        prepared.answers or Kept(Archives(archive_home_of(prepared).folders, settings.max_body)),
        offline_fetcher(prepared, rules, clock, found.number, found.code, store.in_hand),
        settings_of.token(settings),
        store,
        found,
        clock,
        listeners,
        settings.max_pages,
        pool,
    )
