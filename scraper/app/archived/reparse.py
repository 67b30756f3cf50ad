"""Archived pages parsed once more: as a run of their own, or only to compare with the records that stand."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from scraper import settings as settings_of
from scraper.app.options import Prepared, inputs_of, with_params
from scraper.app.running.start_run import run
from scraper.engine.fetcher import Fetcher, FetchOptions
from scraper.errors import UsageError
from scraper.frozen import frozen
from scraper.model import Entry, Failed, Fetched, Visit
from scraper.ops.clock import SystemClock
from scraper.runs import archive
from scraper.runs.archive import ArchivedPage, Archives
from scraper.runs.changes import Change, diff
from scraper.runs.events import Listener
from scraper.spider import rules_of
from scraper.spider.identity import request_of
from scraper.store import Run, Store
from scraper.urls import with_callback

Pairs = list[tuple[str, str]]


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
    spider = prepared.loaded.name
    Archives(archives_of(prepared.options.data, spider)).check()  # before a run begins that could not go on
    return run(as_last_run(prepared, last_ended(prepared, store)), store, listeners)


def last_ended(prepared: Prepared, store: Store) -> Run | None:
    """The spider's last run; UsageError where it has not ended: half of it would be from the network."""
    spider = prepared.loaded.name
    last = next(iter(store.runs(spider, 1)), None)
    if last is not None and last.state != "ended" and not prepared.options.fresh:
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


def archives_of(data: Path, spider: str) -> list[Path]:
    """The folders of a spider's runs that hold pages, oldest first; UsageError where there is none."""
    folders = archive.run_folders(data / spider)
    if not folders:
        raise UsageError(f"{spider} has no archived pages in {data}/", "run it with --archive first")
    return folders


def check(prepared: Prepared, store: Store) -> Iterator[Checked]:
    """Parse the saved pages that the current records come from; one result a page.

    Changes run from the saved records to the new ones. Memory: about the size of the spider's records.
    """
    spider = prepared.loaded.name
    runs = store.runs(spider, 100_000)
    accepted = [one for one in runs if one.is_accepted]
    # Also of runs that were not accepted: a reparse that was may have parsed their pages.
    named = {one.id for one in runs if accepted and one.number <= accepted[0].number}
    folders = [one for one in archives_of(prepared.options.data, spider) if one.name in named]
    if not folders:
        raise UsageError(f"no run of {spider} that is archived has been accepted")
    base = max((one.number for one in accepted if one.is_whole), default=0)
    archives = Archives(folders, prepared.settings.max_body)
    try:
        visits = _visits(
            as_last_run(prepared, accepted[0]), store, archives, _Known(spider, accepted[0], base)
        )
        yield from _compared(visits, _saved(store, spider))
        yield from (Checked(file, error=reason) for file, reason in archives.told_damage())
    finally:
        archives.close()


@frozen
class _Known:
    """Whose pages are checked; `base`: the run from which on the current records count."""

    spider: str
    last: Run
    base: int


def _visits(prepared: Prepared, store: Store, archives: Archives, known: _Known) -> Iterator[Visit]:
    settings = prepared.settings
    rules = rules_of(
        prepared.spider,
        allowed_domains=settings.allowed_domains,
        max_depth=settings.max_depth,
        obey_nofollow=settings.obey_nofollow,
        max_links=settings.max_links,
    )
    options = FetchOptions(
        known.last.number,
        settings_of.token(settings),
        inputs_of(prepared),
        parse_timeout=settings.parse_timeout,
    )
    fetcher = Fetcher(prepared.spider, rules, options, SystemClock())
    for page in archives.pages():
        for entry in _entries(page, store, known, rules.callbacks):
            if not (
                200 <= page.response.status < 300 or fetcher.handles(request_of(entry), page.response.status)
            ):
                continue
            yield fetcher.read(entry, page.response)


def _entries(page: ArchivedPage, store: Store, known: _Known, callbacks: Collection[str]) -> Iterator[Entry]:
    """The requests behind an archived page; none where the page is no longer one of the spider's."""
    for fp in dict.fromkeys(with_callback(page.fp, callback) for callback in ("parse", *callbacks)):
        row = store.lookup(known.spider, fp)
        if row is not None and row["run_number"] >= known.base:
            yield Entry(0, "", fp, row["url"], row["request"], row["depth"])


def _saved(store: Store, spider: str) -> dict[str, Pairs]:
    saved: dict[str, Pairs] = {}
    for kept in store.current(spider):
        saved.setdefault(kept.url, []).append((kept.key, kept.line))
    return saved


def _compared(visits: Iterator[Visit], saved: dict[str, Pairs]) -> Iterator[Checked]:
    found: dict[str, Pairs] = {}
    for visit in visits:
        url = visit.entry.url
        match visit.outcome:
            case Fetched(records=records):
                # A form posted twice is two pages of one URL, whose saved records cannot be told apart.
                found.setdefault(url, []).extend((record.key, record.line) for record in records)
            case Failed(reason=reason):
                yield Checked(url, error=reason)
    for url, pairs in found.items():
        before = saved.get(url, [])
        yield Checked(url, () if before == pairs else tuple(diff(before, pairs)))
