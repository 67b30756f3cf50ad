"""The wiring of a run that sends no request: it parses what the archive holds."""

from collections import deque
from collections.abc import Sequence

from scraper import settings as settings_of
from scraper.app.archived.archive_home import archive_home_of
from scraper.app.archived.crawl_archive import ArchiveAnswers, ArchiveCrawler
from scraper.app.archived.render_again import RenderedAgain
from scraper.app.compose import offline_fetcher, rendering_of, saved_files_of
from scraper.app.options import Prepared, may_render
from scraper.app.running.parse_processes import archive_pool
from scraper.engine.fetcher import Fetcher
from scraper.engine.reactions import Reactions
from scraper.engine.rendering_again import RenderingAgain
from scraper.http.session import DomainSession
from scraper.ops.clock import Clock
from scraper.runs.archive.reading import Answers, Archives
from scraper.runs.events import Listener
from scraper.spider.rules import Rules
from scraper.store import Run, Store


def compose_offline(
    prepared: Prepared,
    rules: Rules,
    store: Store,
    found: Run,
    clock: Clock,
    listeners: Sequence[Listener],
) -> ArchiveCrawler:
    """Connect the parts of a run that sends no request."""
    settings = prepared.settings
    orders, notes = {"work": "visit", "version": found.number, "code": found.code}, deque[str]()
    pool = archive_pool(prepared, rules, orders, notes.append)
    fetcher = offline_fetcher(prepared, rules, clock, found.number, found.code, store.in_hand)
    answers = prepared.answers or ArchiveAnswers(
        Archives(archive_home_of(prepared).folders, settings.max_body)
    )
    return ArchiveCrawler(
        _rendered(prepared, rules, clock, fetcher, answers)
        if may_render(settings, prepared.loaded)
        else answers,
        fetcher,
        settings_of.token(settings),
        store,
        found,
        clock,
        listeners,
        settings.max_pages,
        pool,
        notes,
    )


def _rendered(
    prepared: Prepared, rules: Rules, clock: Clock, fetcher: Fetcher, answers: Answers
) -> RenderedAgain:
    """The answers, with a browser that is started once a page has to be rendered again."""
    settings = prepared.settings

    def open_session(domain: str) -> DomainSession:
        identity = {"User-Agent": settings_of.agent(settings)}
        return DomainSession(domain, headers=identity, max_body=settings.max_body, clock=clock)

    def open_rendering() -> RenderingAgain:
        found = rendering_of(prepared, rules)
        assert found is not None
        files = saved_files_of(prepared, prepared.loaded.name)
        return RenderingAgain(found[0], Reactions(clock, 1), found[1], answers.load, files)

    return RenderedAgain(
        answers, settings.render, prepared.spider, fetcher.handles, open_session, open_rendering
    )
