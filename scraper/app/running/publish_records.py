"""Publishes an accepted run: replaces the spider's current records and the list of changes."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Any

from scraper.errors import StoreError
from scraper.model.frozen import frozen
from scraper.runs.changes import Change, Diff, diff
from scraper.runs.files import RunFiles
from scraper.runs.partitions import repeats_of
from scraper.runs.records import key_fields
from scraper.spider import Spider
from scraper.store import START, Run, Store, StoredRecord

SAMPLES = 10  # changes of each kind that a preview shows


@frozen
class Repeated:
    """Records that are dropped since an earlier one has their key; `differing`: those that are not its equal.

    `example`: the key and what differs, as in `number=2.1 (title: "A", then "B")`.
    """

    count: int = 0
    differing: int = 0
    example: str = ""


@frozen
class Preview:
    """What accepting a run would change: counts by kind, and the first changes of each."""

    counts: Mapping[str, int] = field(default_factory=dict)
    samples: tuple[Mapping[str, Any], ...] = ()


def publish(
    store: Store, run: Run, files: RunFiles, spider: Spider, *, is_whole: bool, records: int
) -> dict[str, Any]:
    """Write changes.jsonl and records.jsonl; the counts for the summary. `records`: how many the run brought.

    Comes before the store accepts the run, so that a crash between the two only makes it happen again. What
    a run could not read stands as it was, and so does what one that is not whole did not visit.
    """
    changes = changes_of(store, run, is_whole=is_whole)
    files.publish_changes(change.line() for change in changes)
    # The comparison has found out whether any key repeats, which would have to be looked for first.
    now = (
        coming(store, run, spider, is_whole=is_whole)
        if changes.duplicates
        else store.current(run.spider, run, whole=is_whole)
    )
    current = files.publish(kept.line for kept in now)
    duplicates = changes.duplicates if spider.key else 0
    standing = max(0, current + duplicates - records)
    return {**_counts(changes), "duplicates": duplicates, "standing": standing}


def coming(store: Store, run: Run, spider: Spider, *, is_whole: bool) -> Iterator[StoredRecord]:
    """The current records as they are once a run is accepted, each key once: of several records the first."""
    if not spider.key:
        yield from store.current(run.spider, run, whole=is_whole)
        return
    # Read twice, since only the whole tells which are repeats; nobody writes while this run has the spider.
    repeats = repeats_of((kept.key, kept.line) for kept in store.current(run.spider, run, whole=is_whole))
    count = 0
    for count, kept in enumerate(store.current(run.spider, run, whole=is_whole), 1):
        if count > repeats.total:
            break
        if count - 1 not in repeats:
            yield kept
    if count != repeats.total:
        raise StoreError(
            f"the records of {run.spider} changed while they were read", "type the command again"
        )


def preview(store: Store, run: Run, *, is_whole: bool) -> Preview:
    """What `publish` would change, without writing anything."""
    changes = changes_of(store, run, is_whole=is_whole)
    samples: dict[str, list[Mapping[str, Any]]] = {}
    for change in changes:
        shown = samples.setdefault(change.change, [])
        if len(shown) < SAMPLES:
            shown.append(_as_dict(change))
    return Preview(_counts(changes), tuple(one for shown in samples.values() for one in shown))


def repeated_keys(store: Store, run: Run, spider: Spider) -> Repeated:
    """The records of a run that have the key of an earlier one."""
    if not spider.key:
        return Repeated()
    found = repeats_of((kept.key, kept.line) for kept in store.current(run.spider, run, whole=True))
    if found.pair is None:
        return Repeated(found.count)
    records = enumerate(store.current(run.spider, run, whole=True))
    first, later = (kept.line for number, kept in records if number in (found.pair or ()))
    return Repeated(found.count, found.differing, _pair(first, later, key_fields(spider.key)))


def everything(store: Store, run: Run) -> Iterator[StoredRecord]:
    """All records of a run in the order they were committed."""
    cursor = START
    while kept := store.records(run, cursor):
        yield from kept
        cursor = kept[-1].cursor


def changes_of(store: Store, run: Run, *, is_whole: bool) -> Diff:
    """What accepting a run changes, or would."""
    before = ((kept.key, kept.line) for kept in store.current(run.spider, without=run))
    after = ((kept.key, kept.line) for kept in store.current(run.spider, run, whole=is_whole))
    return diff(before, after, whole=is_whole)


def _counts(changes: Diff) -> dict[str, int]:
    return {"added": changes.added, "changed": changes.changed, "removed": changes.removed}


def _as_dict(change: Change) -> Mapping[str, Any]:
    return {"change": change.change, "key": change.key, "before": change.before, "after": change.after}


def _pair(first: str, second: str, names: tuple[str, ...]) -> str:
    """Two records of one key: the key, and the first field in which they differ."""
    one, other = json.loads(first), json.loads(second)
    key = ", ".join(f"{name}={_short(one.get(name))}" for name in names)
    for name in {**one, **other}:
        if name not in names and one.get(name) != other.get(name):
            return f'{key} ({name}: "{_short(one.get(name))}", then "{_short(other.get(name))}")'
    return key


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"
