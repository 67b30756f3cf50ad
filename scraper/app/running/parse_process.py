"""A parse process: it is given pages, of the archive or of a run, and says what comes of them.

Started as `python -m scraper.app.running.parse_process`. Its orders are one line of JSON on standard input;
items follow there, results go to standard output (see `engine.parse_messages`). It owns nothing: whoever
kills it loses nothing.
"""

import gc
import json
import os
import platform
import select
import signal
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from scraper.app.compose import offline_fetcher
from scraper.app.options import Options, Prepared, open_store, prepare, rules_for
from scraper.app.running.page_source import archive_digest
from scraper.app.running.spider_state import with_state
from scraper.app.running.watchdog import Watchdog
from scraper.engine.parse_messages import Receiver, Sender
from scraper.engine.parse_pool import Broken
from scraper.errors import ScraperError
from scraper.ops.clock import SystemClock
from scraper.ops.parent import die_with_parent
from scraper.spider.rules import Rules

Work = Callable[[deque[Any]], list[Any]]
"""Does the first of some items, which leave them; what came of each."""


def main() -> None:
    """Work until standard input ends."""
    die_with_parent()
    # An interrupt of the terminal goes to all of its processes; what it means is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a spider prints is no result
    items = os.fdopen(0, "rb", buffering=0)  # what follows the orders is to stay in the pipe
    line = items.readline()
    if not line:
        return  # nothing came of what it was forked for
    orders = json.loads(line)
    given = orders["options"]
    prepared = prepare(Options(**{**given, "data": Path(given["data"]), "outputs": ()}))
    prepared = with_state(prepared, orders["state"])
    rules = replace(
        rules_for(prepared, orders["allowed_domains"]),
        origins=frozenset(orders["origins"]),
    )
    sender = Sender(results)
    if "archive" in orders and orders["archive"] != archive_digest(prepared):
        told = f"the archive of {prepared.loaded.name} on {platform.node()} is not the one here"
        return sender.send([Broken(told, "share it: the setting archive_to")])
    work = _WORKS[orders["work"]](prepared, rules, orders)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as where a run parses itself
    with Watchdog(prepared.settings.parse_timeout) as watchdog:
        _serve(work, items, sender, watchdog)


def _serve(work: Work, pipe: IO[bytes], sender: Sender, watchdog: Watchdog) -> None:
    """Give results back every few milliseconds: together they cost less, and whoever waits has some soon."""
    receiver, items = Receiver(pipe), deque[Any]()
    with suppress(EOFError, BrokenPipeError):  # nobody is there any more
        sender.send([])  # it is ready
        while True:
            if not items:
                select.select([pipe], [], [])
            for more in receiver.receive():
                items.extend(more)
            watchdog.reset()
            try:
                results = work(items) if items else []
            except ScraperError as error:
                results = [Broken(error.message, error.hint)]
            if results:
                sender.send(results)


def _visits(prepared: Prepared, rules: Rules, orders: Mapping[str, Any]) -> Work:
    from scraper.app.archived.crawl_archive import ArchiveParser

    clock = SystemClock(0.0)
    return ArchiveParser(offline_fetcher(prepared, rules, clock, orders["version"], orders["code"])).some


def _pages(prepared: Prepared, rules: Rules, orders: Mapping[str, Any]) -> Work:
    clock = SystemClock(0.0)
    return offline_fetcher(prepared, rules, clock, orders["version"], orders["code"]).parse_some


def _checks(prepared: Prepared, rules: Rules, orders: Mapping[str, Any]) -> Work:
    from scraper.app.archived.reparse import PageChecker

    store = open_store(prepared.options.data, prepared.settings.store)
    return PageChecker(prepared, rules, store, orders["version"], orders["base"]).some


_WORKS: Mapping[str, Callable[[Prepared, Rules, Mapping[str, Any]], Work]] = {
    "visit": _visits,
    "check": _checks,
    "page": _pages,
}

if __name__ == "__main__":
    main()
