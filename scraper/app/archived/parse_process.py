"""A parse process of `reparse` or `check`: it is given pages of the archive, and says what comes of them.

Started as `python -m scraper.app.archived.parse_process`. Its orders are one line of JSON on standard input;
jobs follow there, results go to standard output (see `engine.parse_messages`). It owns nothing: whoever kills
it loses nothing.
"""

import gc
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from scraper.app.archived.crawl_archive import ArchiveParser
from scraper.app.archived.reparse import PageChecker
from scraper.app.compose import offline_fetcher
from scraper.app.options import Options, Prepared, open_store, prepare, rules_for
from scraper.app.running.watchdog import Watchdog
from scraper.app.running.worker import die_with_parent
from scraper.engine.parse_messages import Receiver, Sender
from scraper.engine.parse_pool import Broken
from scraper.errors import ScraperError
from scraper.ops.clock import SystemClock
from scraper.spider import Rules

Work = Callable[[Any], Any]


def main() -> None:
    """Do jobs until standard input ends."""
    die_with_parent()
    # An interrupt of the terminal goes to all of its processes; what it means is the parent's to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a spider prints is no result
    orders = json.loads(sys.stdin.buffer.readline())
    given = orders["options"]
    prepared = prepare(Options(**{**given, "data": Path(given["data"]), "outputs": ()}))
    rules = replace(
        rules_for(prepared, orders["allowed_domains"]),
        origins=frozenset(orders["origins"]),
    )
    work = _WORKS[orders["work"]](prepared, rules, orders)
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as where a run parses itself
    _serve(work, _jobs(sys.stdin.buffer), Sender(results), Watchdog(prepared.settings.parse_timeout))


def _serve(work: Work, jobs: "SimpleQueue[Sequence[Any] | None]", sender: Sender, watchdog: Watchdog) -> None:
    with watchdog:
        while (items := jobs.get()) is not None:
            results = []
            for item in items:
                watchdog.reset()
                try:
                    results.append(work(item))
                except ScraperError as error:
                    results.append(Broken(error.message, error.hint))
            sender.send(results)  # together: each message wakes two threads of the owner
            sender.flush()


def _jobs(file: IO[bytes]) -> "SimpleQueue[Sequence[Any] | None]":
    """The jobs as they come: read by a thread, so that whoever sends them never waits for a page."""
    jobs: SimpleQueue[Sequence[Any] | None] = SimpleQueue()

    def read() -> None:
        receiver = Receiver(file)
        try:
            while True:
                jobs.put(receiver.receive())
        except Exception:  # nobody is there any more
            jobs.put(None)

    threading.Thread(target=read, name="parse-jobs", daemon=True).start()
    return jobs


def _visits(prepared: Prepared, rules: Rules, orders: Mapping[str, Any]) -> Work:
    clock = SystemClock(0.0)
    return ArchiveParser(offline_fetcher(prepared, rules, clock, orders["version"], orders["code"])).visit


def _checks(prepared: Prepared, rules: Rules, orders: Mapping[str, Any]) -> Work:
    store = open_store(prepared.options.data, prepared.settings.store)
    return PageChecker(prepared, rules, store, orders["version"], orders["base"]).check


_WORKS: Mapping[str, Callable[[Prepared, Rules, Mapping[str, Any]], Work]] = {
    "visit": _visits,
    "check": _checks,
}

if __name__ == "__main__":
    main()
