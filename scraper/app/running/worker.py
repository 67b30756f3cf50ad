"""One worker process of `run --workers N`: leases domains of a run that its parent holds.

Started as `python -m scraper.app.running.worker`; its orders are one line of JSON on standard input, its
reports are lines of JSON on standard output. It says when it is ready, and begins at the next line.
Interrupts are the parent's business: it passes on what is meant for us.
"""

import json
import os
import platform
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scraper.app.archived.archive_home import archive_home_of, send_archive
from scraper.app.compose import compose, worker_name
from scraper.app.options import Options, files_for, open_store, prepare, rules_for
from scraper.app.running.run_output import LogFile
from scraper.app.running.spider_state import with_state
from scraper.app.running.watchdog import Watchdog
from scraper.app.running.worker_pool import TRY_AGAIN
from scraper.engine.engine import Engine
from scraper.engine.parse_pool import ParseProcess
from scraper.errors import LeaseLost, StoreAway, StoreError
from scraper.ops.clock import SystemClock
from scraper.ops.parent import die_with_parent
from scraper.runs.events import Event, Listener, Ticked


class _Reporter:
    """Tells the parent where we stand, and stops with it."""

    def __init__(self) -> None:
        self.engine: Engine | None = None
        self._parent = os.getppid()

    def __call__(self, event: Event) -> None:
        if not isinstance(event, Ticked):
            return
        if os.getppid() != self._parent and self.engine is not None:
            self.engine.stop()
        tell({"tick": asdict(event)})


def tell(report: Mapping[str, Any]) -> None:
    """One line to the parent; a parent that is gone is noticed elsewhere."""
    try:
        print(json.dumps(report), flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the rest of the process


def main() -> int:
    """Crawl for a run until it has nothing left for us; gives the exit code."""
    die_with_parent()
    orders = json.loads(sys.stdin.readline())
    try:
        _crawl(orders)
    except StoreError as error:
        tell({"failed": error.message})  # the hint is for who started the parent
        return TRY_AGAIN if isinstance(error, LeaseLost | StoreAway) else 1
    return 0


def _crawl(orders: Mapping[str, Any]) -> None:
    given = orders["options"]
    options = Options(**{**given, "data": Path(given["data"]), "outputs": ()})
    forks: tuple[ParseProcess, ...] = ()
    if orders["parsers"]:
        # Imported on first use: few workers have processes that parse for them.
        from scraper.app.running.forks import forked

        forks = forked(orders["parsers"])
    prepared = with_state(replace(prepare(options), forks=forks), orders["state"])
    settings = prepared.settings
    store = open_store(options.data, settings.store, is_shared=settings.share, is_awaited=True)
    clock = SystemClock(store.anchor())
    store.join(worker_name())
    try:
        run = store.join_run(orders["run_id"])
        files = files_for(prepared, run)
        files.open(repair=False)
        rules = rules_for(prepared, orders["allowed_domains"])
        rules = replace(rules, origins=frozenset(orders["origins"]))
        reporter = _Reporter()
        archive_home, is_archived = archive_home_of(prepared), settings.archive
        with archive_home.writing(files, is_archived, orders["number"], worker_name()) as keepers:
            watchdog = Watchdog(settings.parse_timeout)
            listeners: tuple[Listener, ...] = (watchdog, LogFile(files, clock), *keepers, reporter)
            engine = compose(prepared, rules, store, run, clock, listeners, parsers=orders["parsers"])
            reporter.engine = engine
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda number, frame: engine.stop())
            tell({"ready": orders["number"], "host": platform.node()})
            if not sys.stdin.readline():
                return  # the parent died before we could die with it
            with watchdog:
                stop = engine.run()
        if is_archived:
            send_archive(archive_home, files, store)
        files.close()
        tell({"stop": stop.value})
    finally:
        store.leave()


if __name__ == "__main__":
    sys.exit(main())
