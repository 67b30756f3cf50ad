"""The spider's current records and what changed in them, replaced as a whole by a run that is accepted."""

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from scraper.changes import diff
from scraper.files import RunFiles
from scraper.spider import Spider
from scraper.store import Kept, Run, Store


def publish(store: Store, run: Run, files: RunFiles, spider: Spider, *, is_whole: bool) -> dict[str, Any]:
    """Write changes.jsonl and records.jsonl; the counts for the summary.

    Comes before the store accepts the run, so that a crash between the two only makes it happen again. What
    a run could not read stands as it was, and so does what one that is not whole did not visit.
    """

    def after() -> Iterator[Kept]:
        records = store.current(run.spider, run, whole=is_whole)
        return _unique(records) if spider.key else records

    before = ((kept.key, kept.line) for kept in store.current(run.spider))
    changes = diff(before, ((kept.key, kept.line) for kept in after()), whole=is_whole)
    files.publish_changes(change.line() for change in changes)
    files.publish(kept.line for kept in after())
    return {"added": changes.added, "changed": changes.changed, "removed": changes.removed}


def everything(store: Store, run: Run) -> Iterator[Kept]:
    """All records of a run in the order they were committed."""
    cursor = 0
    while kept := store.records(run, cursor):
        yield from kept
        cursor = kept[-1].cursor


def _unique(records: Iterator[Kept]) -> Iterator[Kept]:
    """Of records with the same key the first stands."""
    seen: set[bytes] = set()
    for kept in records:
        digest = _digest(kept.key)
        if digest not in seen:
            seen.add(digest)
            yield kept


def _digest(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).digest()
