"""The command `work`: a worker that joins a run which another process leads, here or on another host.

The run belongs to whoever began it. A helper joins it, leases domains like any worker, and leaves with it.
"""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scraper.app.archived.archive_home import archive_home_of, send_archive
from scraper.app.compose import compose, worker_name
from scraper.app.options import Options, Prepared, files_for, inputs_of, open_store, prepare, rules_for
from scraper.app.project import NO_SPIDERS
from scraper.app.running.page_source import source_of
from scraper.app.running.run_output import LogFile
from scraper.engine.engine import Engine
from scraper.engine.plan import Stop
from scraper.errors import LeaseLost, UsageError
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock, sleep
from scraper.runs.events import Event, Listener, Ticked
from scraper.spider import Rules, seeds, starting_from
from scraper.store import Run, Store

LOOK_EVERY = 1.0  # seconds between two looks for a run


@frozen
class HelperOptions:
    """The options of `work`: those that it shares with `run`, and whose runs it helps (None: all)."""

    run: Options
    store: str | None
    spider: str | None = None
    stays: bool = False


class Helper:
    """Joins runs one after the other; SIGTERM and SIGINT end it at once, with its domains given back."""

    def __init__(self, options: HelperOptions, tell: Callable[[str], None]) -> None:
        self._options = options
        self._tell = tell
        self._engine: Engine | None = None
        self.signal = 0

    def run(self) -> int:
        """Help until nothing is left to help with; the number of runs that were helped."""
        helped, refused = 0, ""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self.signal:
                found = self._find()
                if found is not None and found.id != refused:
                    try:
                        self._help(found)
                        helped += 1
                    except UsageError as error:
                        if not self._options.stays:
                            raise
                        refused = found.id
                        self._tell(str(error))
                elif not self._options.stays:
                    break
                if self._options.stays and not self.signal:
                    sleep(LOOK_EVERY)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return helped

    def _stop(self, number: int, frame: Any) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number
        if self._engine is not None:
            self._engine.stop()

    def _find(self) -> Run | None:
        """A run that is under way; the one that began first."""
        given = self._options
        store = open_store(given.run.data, given.store)
        try:
            runs = [
                run
                for run in store.runs(given.spider, 100)
                if run.state == "running" and run.spider not in NO_SPIDERS
            ]
            runs = [run for run in runs if source_of(store, run.spider) is None]
            return next((run for run in reversed(runs) if store.is_led(run)), None)
        finally:
            store.close()

    def _help(self, run: Run) -> None:
        given = self._options
        params = {**_open_params(run), **given.run.params}
        prepared = prepare(replace(given.run, spider=given.run.spider or run.spider, params=params))
        _check_code(prepared, run)
        settings = prepared.settings
        # A store of its own for each run: what an old engine has left behind ends with the old one's lease.
        store = open_store(given.run.data, given.store, is_shared=settings.share)
        try:
            store.join(worker_name())
            try:
                self._crawl(prepared, store, store.join_run(run.id))
            finally:
                store.leave()
        finally:
            store.close()

    def _crawl(self, prepared: Prepared, store: Store, run: Run) -> None:
        clock = SystemClock(store.anchor())
        settings = prepared.settings
        files = files_for(prepared, run)
        files.open(repair=False)
        try:
            archive_home = archive_home_of(prepared)
            with archive_home.writing(files, settings.archive, os.getpid(), worker_name()) as keepers:
                listeners: tuple[Listener, ...] = (
                    LogFile(files, clock),
                    *keepers,
                    self._leave_with(store, run),
                )
                self._engine = compose(prepared, _rules(prepared), store, run, clock, listeners)
                if self.signal:
                    self._engine.stop()
                self._tell(f"helps run {run.id} of {run.spider}")
                stop = self._engine.run()
                self._tell(f"leaves run {run.id} of {run.spider}: {_TOLD.get(stop, 'it has ended')}")
            if settings.archive:
                send_archive(archive_home, files, store)
        except LeaseLost:
            if store.is_led(run):
                raise  # we were taken for dead
            self._tell(f"run {run.id} of {run.spider} has ended")
        finally:
            self._engine = None
            files.close()

    def _leave_with(self, store: Store, run: Run) -> Listener:
        """Stop when nobody leads the run any more."""

        def watch(event: Event) -> None:
            if isinstance(event, Ticked) and self._engine is not None and not store.is_led(run):
                self._engine.stop()

        return watch


_TOLD = {
    Stop.DONE: "nothing is left",
    Stop.DEFERRED: "nothing is left that may be asked for now",
    Stop.PAGES: "max_pages",
    Stop.TIME: "max_time",
}


def _open_params(run: Run) -> dict[str, str]:
    """The params of a run, as far as they are known."""
    kept: Mapping[str, str | None] = run.params or {}
    return {name: value for name, value in kept.items() if value is not None}


def _check_code(prepared: Prepared, run: Run) -> None:
    given = prepared.options.params
    if missing := sorted(set(run.params or {}) - set(given)):
        name = missing[0]
        text = f"run {run.id} of {run.spider} was begun with --param {name}, whose value is not kept"
        raise UsageError(text, f"give it here too: --param {name}=-")
    if inputs_of(prepared).code != run.code:
        raise UsageError(
            f"{run.spider} here (its code, or a setting that parsing depends on) is not that of run {run.id}",
            f"update {prepared.loaded.path} and the modules it imports to what `run` has",
        )


def _rules(prepared: Prepared) -> Rules:
    rules = rules_for(prepared)
    return starting_from(rules, seeds(prepared.spider, rules))
