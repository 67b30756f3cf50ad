"""Archived pages parsed once more: as a run of their own, or only to compare with the records that stand."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from scraper.app.archived.archive_home import archive_home_of
from scraper.app.archived.crawl_archive import one_by_one
from scraper.app.compose import offline_fetcher
from scraper.app.options import Prepared, rules_for, with_params
from scraper.app.running.page_source import source_of
from scraper.app.running.parse_processes import archive_pool
from scraper.app.running.start_run import run
from scraper.engine.parse_limit import died
from scraper.engine.parse_pool import Died, in_order
from scraper.engine.scheduler import IN_HAND
from scraper.errors import UsageError
from scraper.model import Entry, Failed, Fetched, Response, Visit
from scraper.model.frozen import frozen
from scraper.ops.clock import SystemClock
from scraper.runs.archive.answers import ArchivedPage, Damage, RecordLocation
from scraper.runs.archive.reading import Archives, Reader
from scraper.runs.changes import Change, diff
from scraper.runs.events import Listener
from scraper.spider.identity import request_of
from scraper.spider.rules import Rules
from scraper.store import Run, Store
from scraper.urls import with_callback

Pairs = list[tuple[str, str]]
_TOGETHER = 10  # pages that `check` reads and parses, one after the other, before it says what they bring


@frozen
class Checked:
    """A saved page, parsed: what differs from its saved records, or the error that its callback raised."""

    url: str
    changes: tuple[Change, ...] = ()
    error: str = ""

    @property
    def is_same(self) -> bool:
        """Whether the page gives what it gave."""
        return not (self.changes or self.error)


def reparse(prepared: Prepared, store: Store, listeners: Sequence[Listener] = ()) -> dict[str, Any]:
    """Run a spider on its archived pages; the summary. `prepared.options.is_offline` has to be set."""
    Archives(archives_of(prepared)).check()  # before a run begins that could not go on
    return run(as_last_run(prepared, last_offline(prepared, store)), store, listeners)


def last_offline(prepared: Prepared, store: Store) -> Run | None:
    """The spider's last run: ended, or one of the same pages to go on with.

    UsageError for any other: half of it would be from the network.
    """
    spider, options = prepared.loaded.name, prepared.options
    last = next(iter(store.runs(spider, 1)), None)
    if last is None or last.state == "ended" or options.fresh:
        return last
    if source_of(store, spider) != [str(file) for file in options.replay]:
        raise UsageError(
            f"run {last.id} of {spider} has not ended",
            "`run` goes on with it; --fresh gives it up and parses what is archived",
        )
    return last


def as_last_run(prepared: Prepared, last: Run | None) -> Prepared:
    """A spider with the params of its last run, and those that are given now: its pages are parsed again."""
    kept = last.params if last is not None else None
    known = {name: value for name, value in (kept or {}).items() if value is not None}
    return with_params(prepared, known | dict(prepared.options.params))


def archives_of(prepared: Prepared) -> list[Path]:
    """The folders of a spider's runs that hold pages, oldest first; UsageError where there is none."""
    folders = archive_home_of(prepared).folders()
    if not folders:
        place = prepared.settings.archive_to or f"{prepared.options.data}/"
        raise UsageError(
            f"{prepared.loaded.name} has no archived pages in {place}", "run it with --archive first"
        )
    return folders


def check(prepared: Prepared, store: Store, tell: Callable[[str], None]) -> Iterator[Checked]:
    """Parse the saved pages that the current records come from; one result a page.

    `tell`: hears, from any thread, what a cluster has to say. Changes run from the saved records to the new
    ones. Memory: about the size of the spider's records.
    """
    spider = prepared.loaded.name
    runs = store.runs(spider, 100_000)
    accepted = [one for one in runs if one.is_accepted]
    # Also of runs that were not accepted: a reparse that was may have parsed their pages.
    named = {one.id for one in runs if accepted and one.number <= accepted[0].number}
    folders = [one for one in archives_of(prepared) if one.name in named]
    if not folders:
        raise UsageError(f"no run of {spider} that is archived has been accepted")
    base = max((one.number for one in accepted if one.is_whole), default=0)
    prepared = as_last_run(prepared, accepted[0])
    rules = rules_for(prepared)
    archives = Archives(folders, prepared.settings.max_body)
    checker = PageChecker(prepared, rules, store, accepted[0].number, base)
    orders = {"work": "check", "version": accepted[0].number, "base": base}
    pool = archive_pool(prepared, rules, orders, tell)
    try:
        if pool is not None:
            pool.begin()  # they get ready while the archive's index is made
        source = partial(_next_of, archives.places())
        checked = in_order(pool, source) if pool is not None else one_by_one(checker.some, source)
        yield from _compared((one for one in checked if one is not None), _saved(store, spider), archives)
        yield from (Checked(file, error=reason) for file, reason in archives.told_damage())
    finally:
        archives.close()
        if pool is not None:
            pool.close()


def _next_of(places: Iterator[RecordLocation]) -> list[RecordLocation]:
    return list(islice(places, IN_HAND))


class PageChecker:
    """Parses archived pages of a spider, as they are asked for in its run of that `version` (number).

    `base`: the run from which on the current records count.
    """

    def __init__(self, prepared: Prepared, rules: Rules, store: Store, version: int, base: int) -> None:
        self._spider = prepared.loaded.name
        self._callbacks = rules.callbacks
        self._store = store
        self._base = base
        self._fetcher = offline_fetcher(prepared, rules, SystemClock(), version)
        self._reader = Reader()

    def some(self, places: deque[RecordLocation]) -> "list[list[Found] | Damage]":
        """What each request behind the first of some archived pages brings; those leave `places`."""
        pages = [self._reader.read(places.popleft()) for _ in range(min(len(places), _TOGETHER))]
        results: list[list[Found] | Damage] = [one if isinstance(one, Damage) else [] for one in pages]
        asked = [
            (entry, page.response, found)
            for page, found in zip(pages, results, strict=True)
            if not (isinstance(page, Damage) or isinstance(found, Damage))
            for entry in self._entries(page)
        ]
        rest = deque(asked)
        given = iter(asked)
        while rest:
            for visit in self._fetcher.bounded.some(self._read, rest, self._too_long):
                next(given)[2].extend(_found(visit))
        return results

    def _read(self, asked: "_Asked") -> Visit:
        return self._fetcher.read(*asked[:2])

    def _too_long(self, asked: "_Asked") -> Visit:
        return Visit(asked[0], self._fetcher.too_long)

    def _entries(self, page: ArchivedPage) -> Iterator[Entry]:
        """The requests behind a page that are parsed; none where it is no longer one of the spider's."""
        status = page.response.status
        for fp in dict.fromkeys(with_callback(page.fp, callback) for callback in ("parse", *self._callbacks)):
            row = self._store.lookup(self._spider, fp)
            if row is None or row["run_number"] < self._base:
                continue
            entry = Entry(0, "", fp, row["url"], row["request"], row["depth"])
            if 200 <= status < 300 or self._fetcher.handles(request_of(entry), status):
                yield entry


class Found(NamedTuple):
    """The records that a page gives now by key, or why it gives none."""

    url: str
    pairs: tuple[tuple[str, str], ...] = ()
    error: str = ""


_Asked = tuple[Entry, Response, list[Found]]
"""A request, its answer, and where goes what that brings."""


def _found(visit: Visit) -> Iterator[Found]:
    url = visit.entry.url
    match visit.outcome:
        case Fetched(records=records):
            yield Found(url, tuple((record.key, record.line) for record in records))
        case Failed(reason=reason):
            yield Found(url, error=reason)


def _saved(store: Store, spider: str) -> dict[str, Pairs]:
    saved: dict[str, Pairs] = {}
    for kept in store.current(spider):
        saved.setdefault(kept.url, []).append((kept.key, kept.line))
    return saved


def _compared(
    checked: "Iterable[tuple[RecordLocation, list[Found] | Damage | Died]]",
    saved: dict[str, Pairs],
    archives: Archives,
) -> Iterator[Checked]:
    now: dict[str, Pairs] = {}
    for place, result in checked:
        if isinstance(result, Damage):
            archives.note(result)
        elif isinstance(result, Died):
            yield Checked(f"{place.file}, byte {place.offset}", error=died(result.times).reason)
        else:
            for found in result:
                if found.error:
                    yield Checked(found.url, error=found.error)
                else:
                    # A form posted twice is two pages of one URL, whose saved records cannot be told apart.
                    now.setdefault(found.url, []).extend(found.pairs)
    for url, pairs in now.items():
        before = saved.get(url, [])
        yield Checked(url, () if before == pairs else tuple(diff(before, pairs)))
