"""Parse processes of `run`, `reparse` and `check --workers N`: where they start, and what they are told."""

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

from scraper.app.options import Prepared
from scraper.app.running.page_source import archive_digest
from scraper.app.running.spider_state import state_of
from scraper.app.running.watchdog import TIMES
from scraper.engine.parse_pool import ParsePool, ParseProcess
from scraper.spider.rules import Rules

_MODULE = "scraper.app.running.parse_process"
SILENT = 30.0
"""Seconds that a process may be silent beyond what its own watchdog allows a page: it is stopped or lost."""


def parse_pool(
    prepared: Prepared,
    rules: Rules,
    size: int,
    orders: Mapping[str, Any],
    begin: Callable[[], ParseProcess] | None = None,
) -> ParsePool:
    """So many processes, which get their orders with the first page. `orders`: their `work` and more.

    `begin` starts one that waits for orders; by default here.
    """
    line = json.dumps(
        {
            "options": asdict(prepared.options),
            "state": state_of(prepared),
            "allowed_domains": sorted(rules.allowed_domains),
            "origins": sorted(rules.origins),
            **orders,
        },
        default=str,
    )
    waiting = list(prepared.forks)

    def start() -> ParseProcess:
        process = waiting.pop() if waiting else (begin or _anew)()
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it is dead, as will be noticed
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        return process

    return ParsePool(start, size, SILENT + TIMES * prepared.settings.parse_timeout)


def archive_pool(
    prepared: Prepared, rules: Rules, orders: Mapping[str, Any], tell: Callable[[str], None]
) -> ParsePool | None:
    """The processes that parse the archive, here or on the hosts of a cluster; None where one is enough.

    `tell`: hears, from any thread, what a cluster has to say.
    """
    options = prepared.options
    if not options.ray:
        return parse_pool(prepared, rules, options.workers, orders) if options.workers > 1 else None
    from scraper.app.running.ray_workers import RayCluster

    cluster = RayCluster(options.ray, prepared.settings.store, tell)
    # What lies at the same place on another host may be another file.
    orders = {**orders, "archive": archive_digest(prepared)}
    return parse_pool(prepared, rules, options.workers, orders, partial(cluster.start, _MODULE))


def _anew() -> ParseProcess:
    # Imported on first use: there are copies of this process, as long as none dies.
    import subprocess

    command = [sys.executable, "-m", _MODULE]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
