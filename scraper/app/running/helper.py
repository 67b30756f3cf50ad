"""The command `work`: a worker that joins a run which another process leads, here or on another host.

The run belongs to whoever began it. A helper joins it, leases domains like any worker, and leaves with it.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scraper.app.archived.archive_home import archive_home_of, send_archive
from scraper.app.compose import compose, worker_name
from scraper.app.options import Options, Prepared, code_for, files_for, open_store, prepare, rules_for
from scraper.app.project import NO_SPIDERS
from scraper.app.running.page_source import has_archive, source_of
from scraper.app.running.run_output import LogFile
from scraper.app.running.stop_signals import Crawler
from scraper.engine.plan import Stop
from scraper.errors import LeaseLost, StoreAway, StoreError, UsageError
from scraper.model.frozen import frozen
from scraper.ops.clock import Clock, SystemClock, sleep
from scraper.runs.events import Event, Listener, Ticked
from scraper.spider.links import seeds
from scraper.spider.rules import starting_from
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
        self._crawler: Crawler | None = None
        self._has_looked = self._is_away = False
        self.signal = 0

    def run(self) -> int:
        """Help until nothing is left to help with; the number of runs that were helped."""
        helped, refused = 0, ""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self.signal:
                found = self._look()
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
                if not self.signal:
                    sleep(LOOK_EVERY)  # also where the others have all that is left of a run
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return helped

    def _stop(self, number: int, frame: Any) -> None:
        if self.signal:
            os._exit(128 + number)
        self.signal = number
        if self._crawler is not None:
            self._crawler.stop()

    def _look(self) -> Run | None:
        """A run to help; one that stays waits for a store that is away, once it has been there."""
        try:
            found = self._find()
        except StoreAway as error:
            error.was_there |= self._has_looked
            if not (self._options.stays and self._has_looked):
                raise
            if not self._is_away:
                self._tell(f"{error.message}; it is asked again until it is back")
            self._is_away = True
            return None
        self._has_looked, self._is_away = True, False
        return found

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
            runs = [run for run in runs if not source_of(store, run.spider)]  # no files that another host has
            return next((run for run in reversed(runs) if store.is_led(run)), None)
        finally:
            store.close()

    def _help(self, run: Run) -> None:
        given = self._options
        params = {**_open_params(run), **given.run.params}
        prepared = prepare(replace(given.run, spider=given.run.spider or run.spider, params=params))
        settings = prepared.settings
        # A store of its own for each run: what an old engine has left behind ends with the old one's lease.
        store = open_store(given.run.data, given.store, is_shared=settings.share)
        try:
            if source_of(store, run.spider) is not None:
                prepared = _offline(prepared, store, run)
            _check_code(prepared, run)
            store.join(worker_name())
            try:
                if (joined := self._joined(store, run)) is not None:
                    self._crawl(prepared, store, joined)
            finally:
                store.leave()
        finally:
            store.close()

    def _joined(self, store: Store, run: Run) -> Run | None:
        """The run; None where it has ended since we found it."""
        try:
            return store.join_run(run.id)
        except StoreError:
            if (found := store.run(run.id)) is not None and found.state != "ended":
                raise
        self._tell(f"run {run.id} of {run.spider} has ended")
        return None

    def _crawl(self, prepared: Prepared, store: Store, run: Run) -> None:
        files = files_for(prepared, run)
        files.open(repair=False)
        is_archived = prepared.settings.archive and not prepared.options.is_offline
        try:
            archive_home = archive_home_of(prepared)
            with archive_home.writing(files, is_archived, os.getpid(), worker_name()) as keepers:
                clock = SystemClock(store.anchor())
                listeners: list[Listener] = [LogFile(files, clock), *keepers, self._leave_with(store, run)]
                self._crawler = _crawler_of(prepared, store, run, clock, listeners)
                if self.signal:
                    self._crawler.stop()
                self._tell(f"helps run {run.id} of {run.spider}")
                stop = self._crawler.run()
                self._tell(f"leaves run {run.id} of {run.spider}: {_TOLD.get(stop, 'it has ended')}")
            if is_archived:
                send_archive(archive_home, files, store)
        except LeaseLost:
            if store.is_led(run):
                raise  # we were taken for dead
            self._tell(f"run {run.id} of {run.spider} has ended")
        finally:
            self._crawler = None
            files.close()

    def _leave_with(self, store: Store, run: Run) -> Listener:
        """Stop when nobody leads the run any more."""

        def watch(event: Event) -> None:
            if isinstance(event, Ticked) and self._crawler is not None and not store.is_led(run):
                self._crawler.stop()

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
    if code_for(prepared) != run.code:
        raise UsageError(
            f"{run.spider} here (its code, or a setting that parsing depends on) is not that of run {run.id}",
            f"update {prepared.loaded.path} and the modules it imports to what `run` has",
        )


def _offline(prepared: Prepared, store: Store, run: Run) -> Prepared:
    """The same for a run that parses archived pages; UsageError where these are not all here."""
    if not has_archive(prepared, store):
        raise UsageError(
            f"run {run.id} of {run.spider} parses archived pages that are not those here",
            "share them: the setting archive_to",
        )
    return replace(prepared, options=replace(prepared.options, is_offline=True))


def _crawler_of(
    prepared: Prepared, store: Store, run: Run, clock: Clock, listeners: Sequence[Listener]
) -> Crawler:
    rules = rules_for(prepared)
    rules = starting_from(rules, seeds(prepared.spider, rules))
    if not prepared.options.is_offline:
        return compose(prepared, rules, store, run, clock, listeners)
    # Imported on first use: few runs need it.
    from scraper.app.archived.compose_offline import compose_offline

    return compose_offline(prepared, rules, store, run, clock, listeners)
