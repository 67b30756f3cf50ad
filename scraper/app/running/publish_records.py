"""The spider's current records and what changed in them, replaced as a whole by a run that is accepted."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from scraper.runs.changes import diff
from scraper.runs.files import RunFiles
from scraper.spider import Spider
from scraper.store import Kept, Run, Store

MOST_DOUBLES = 100


def publish(store: Store, run: Run, files: RunFiles, spider: Spider, *, is_whole: bool) -> dict[str, Any]:
    """Write changes.jsonl and records.jsonl; the counts for the summary.

    Comes before the store accepts the run, so that a crash between the two only makes it happen again. What
    a run could not read stands as it was, and so does what one that is not whole did not visit.
    """

    doubles: dict[str, int] = {}

    def after() -> Iterator[Kept]:
        doubles.clear()
        records = store.current(run.spider, run, whole=is_whole)
        return _unique(records, doubles) if spider.key else records

    before = ((kept.key, kept.line) for kept in store.current(run.spider))
    changes = diff(before, ((kept.key, kept.line) for kept in after()), whole=is_whole)
    files.publish_changes(change.line() for change in changes)
    files.publish(kept.line for kept in after())
    if doubles:
        text = f"{sum(doubles.values())} records have the key of another; the first stands: "
        files.log({"event": "note", "text": text + ", ".join(list(doubles)[:5])})
    return {
        "added": changes.added,
        "changed": changes.changed,
        "removed": changes.removed,
        "duplicates": sum(doubles.values()),
    }


def everything(store: Store, run: Run) -> Iterator[Kept]:
    """All records of a run in the order they were committed."""
    cursor = 0
    while kept := store.records(run, cursor):
        yield from kept
        cursor = kept[-1].cursor


def _unique(records: Iterator[Kept], doubles: dict[str, int]) -> Iterator[Kept]:
    """Of records with the same key the first stands; the others are counted, by key while those are few."""
    seen: set[bytes] = set()
    for kept in records:
        digest = _digest(kept.key)
        if digest not in seen:
            seen.add(digest)
            yield kept
        else:
            name = kept.key[:200] if len(doubles) < MOST_DOUBLES else "others"
            doubles[name] = doubles.get(name, 0) + 1


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
