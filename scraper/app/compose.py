"""Builds the Engine of a run and gives it its parts."""

import gc
import os
import random
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from scraper import settings as settings_of
from scraper.app.archived.archive_home import archive_home_of
from scraper.app.options import Prepared, account_of, inputs_of, may_render
from scraper.app.session_opener import check_proxies, reach_of, robots_via, session_opener, threads_of
from scraper.engine.downloader import ThreadedDownloader
from scraper.engine.engine import Engine
from scraper.engine.fetcher import Fetcher, FetchOptions
from scraper.engine.parsing_elsewhere import ParsingElsewhere
from scraper.engine.plan import Plan
from scraper.engine.robots_cache import RobotsCache
from scraper.http.adapter import budget, most_sockets
from scraper.http.saved_files import SavedFiles
from scraper.ops.clock import Clock
from scraper.runs.archive.reading import Archives
from scraper.runs.depot import FolderDepot, depot_of
from scraper.runs.events import Listener
from scraper.settings import Settings
from scraper.spider import Spider
from scraper.spider.rules import Rules
from scraper.store import Run, Store

if TYPE_CHECKING:  # few runs render
    from scraper.app.rendered_shapes import ShapeNotes
    from scraper.browser.tasks import Renderer
    from scraper.engine.rendering import RenderOptions


def compose(
    prepared: Prepared,
    rules: Rules,
    store: Store,
    found: Run,
    clock: Clock,
    listeners: Sequence[Listener],
    *,
    leads: bool = False,
    parsers: int = 0,
) -> Engine:
    """Connect the parts of one run. `leads`: this process holds the run, and its limits are the run's.

    `parsers`: how many other processes parse for this one.
    """
    settings = prepared.settings
    check_proxies(settings)
    if not prepared.options.is_embedded:
        _tune_interpreter()
    fetcher = _fetcher(prepared, rules, store, found, clock, parsers)
    allowed, limit = rules.allowed_domains, prepared.options.limit
    plan = plan_of(settings, settings_of.token(settings), prepared.spider, allowed, limit)
    return Engine(
        store,
        found,
        ThreadedDownloader(fetcher, threads_of(settings), clock, settings.parse_timeout),
        RobotsCache(store, clock, settings.robots_exempt, robots_via(settings, rules.origins)),
        session_opener(
            settings,
            clock,
            rules.origins,
            account_of(prepared.spider),
            reach_of(settings, prepared.spider, rules),
        ),
        replace(plan, is_again=bool(prepared.options.failed), leads=leads),
        clock,
        listeners,
        random.random,
        may_reuse=fetcher.may_reuse,
        give_up=fetcher.give_up,
    )


def _fetcher(
    prepared: Prepared, rules: Rules, store: Store, found: Run, clock: Clock, parsers: int
) -> Fetcher:
    settings = prepared.settings
    return Fetcher(
        prepared.spider,
        rules,
        FetchOptions(
            found.number,
            settings_of.token(settings),
            inputs_of(prepared, rules, found.code),
            settings.max_attempts,
            settings.archive,
            settings.parse_timeout,
        ),
        clock,
        Archives(archive_home_of(prepared).folders, settings.max_body),
        store.in_hand,
        prepared.redaction,
        saved_files_of(prepared, found.spider),
        rendering_of(prepared, rules),
        _shapes_of(settings, store, found),
        _parsing_elsewhere(prepared, rules, found, parsers) if parsers else None,
    )


def _shapes_of(settings: Settings, store: Store, found: Run) -> "ShapeNotes | None":
    if settings.render != "auto":
        return None
    # Imported on first use, as is all that has to do with a browser.
    from scraper.app.rendered_shapes import ShapeNotes

    return ShapeNotes(store, found.spider)


def _parsing_elsewhere(prepared: Prepared, rules: Rules, found: Run, parsers: int) -> ParsingElsewhere:
    # Imported on first use: a run of one process starts no other.
    from scraper.app.running.parse_processes import parse_pool

    orders = {"work": "page", "version": found.number, "code": found.code}
    return ParsingElsewhere(parse_pool(prepared, rules, parsers, orders))


def _tune_interpreter() -> None:
    """For a process that does nothing but crawl."""
    # The owner gives the interpreter up at every SQL step; at the default 5 ms it would wait that long each
    # time for a thread that parses. 500 domains: 210 requests/s became 350.
    sys.setswitchinterval(0.0005)
    # Thousands of values live as long as the run and are no garbage; looking at them again and again took a
    # tenth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def rendering_of(prepared: Prepared, rules: Rules) -> "tuple[Renderer, RenderOptions] | None":
    """The browser of a run and what it may ask for; None where nothing is rendered."""
    found = prepared.settings
    if not may_render(found, prepared.loaded):
        return None
    # Imported on first use: few runs render.
    from scraper.browser import chromium
    from scraper.browser.browser import Browser, BrowserOptions
    from scraper.engine.rendering import RenderOptions

    options = RenderOptions(
        found.render,
        frozenset(found.render_load),
        None if found.render_domains is None else frozenset(found.render_domains),
        rules.allowed_domains,
    )
    return Browser(BrowserOptions(chromium.check(found.browser), memory=found.render_memory)), options


def saved_files_of(prepared: Prepared, spider: str) -> SavedFiles:
    """The files that a spider saves."""
    data, found = prepared.options.data, prepared.settings
    depot = depot_of(found.files_to) if found.files_to else None
    if isinstance(depot, FolderDepot):
        # Parts are there too: whole files get their names by a rename.
        data, depot = depot.folder, None
    return SavedFiles(
        data / spider,
        data,
        most=found.max_file,
        types=found.file_types,
        is_shared=found.share,
        depot=depot,
    )


def offline_fetcher(
    prepared: Prepared,
    rules: Rules,
    clock: Clock,
    version: int,
    code: str | None = None,
    in_hand: Callable[[int], AbstractContextManager[object]] = nullcontext,
) -> Fetcher:
    """What parses archived pages. `version`: the run's number; `code`: what its parses depend on."""
    settings = prepared.settings
    return Fetcher(
        prepared.spider,
        rules,
        FetchOptions(
            version,
            settings_of.token(settings),
            inputs_of(prepared, rules, code),
            settings.max_attempts,
            parse_timeout=settings.parse_timeout,
            is_own=not prepared.options.replay,
        ),
        clock,
        in_hand=in_hand,
        redaction=prepared.redaction,
        files=saved_files_of(prepared, prepared.loaded.name),
    )


def plan_of(
    settings: Settings,
    token: str,
    spider: Spider,
    allowed_domains: frozenset[str] = frozenset(),
    limit: int | None = None,
) -> Plan:
    """The settings that the loop obeys."""

    return Plan(
        token=token,
        delay=settings.delay,
        delay_factor=settings.delay_factor,
        max_delay=settings.max_delay,
        max_wait=settings.max_wait,
        max_attempts=settings.max_attempts,
        concurrency=settings.concurrency,
        max_pages=settings.max_pages,
        max_errors=settings.max_errors,
        max_records=limit,
        max_time=settings.max_time,
        max_age=settings.max_age,
        active_hours=(settings.active_hours,) if settings.active_hours else (),
        has_login=type(spider).login is not Spider.login,
        allowed_domains=allowed_domains,
        pages_per_domain=settings.pages_per_domain,
        group_of=settings_of.grouping(settings),
        sockets=budget(most_sockets(), threads_of(settings))[1],
    )


def worker_name() -> str:
    """A name that no worker had before: a dead one's rights must never come back to life."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
