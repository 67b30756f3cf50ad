"""Millions of records through the end of a run.

`python -m benchmarks.records FOLDER COUNT [--table URL] [STEP ...]`: two runs have COUNT records each, of
which one in a hundred changed. Each step is a process of its own, and prints its seconds and its largest
memory: fill, publish (repeats, changes, records.jsonl), then an export to each format. `lines` makes a
records.jsonl without a store, for exports alone. URL: a PostgreSQL database.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scraper.app.admin.current_records import export
from scraper.app.running.publish_records import publish, repeated_keys
from scraper.model import Entry, Fetched, Known, NewUrl, RecordLine, Visit
from scraper.runs.files import RunFiles
from scraper.runs.sinks import Layout, sink_for
from scraper.spider import Spider
from scraper.store import DomainUpdate, Run, Store
from scraper.store.sqlite import SqliteStore
from scraper.urls import fingerprint

_PER_PAGE = 20
_ENDINGS = ("jsonl", "jsonl.gz", "csv", "sqlite", "parquet")
_KEY = "id"


class Things(Spider):
    """The spider whose records these are."""

    name = "things"
    key = _KEY


def _record(number: int, turn: int) -> RecordLine:
    record = {
        "id": f"item-{number:08}",
        "title": f"The title of item {number}",
        "price": number % 10_000 / 100 + (turn if number % 100 == 0 else 0),
        "stock": number % 7,
        "tags": ["one", "two"],
        "url": f"https://shop.test/items/{number}",
    }
    return RecordLine(str(record["id"]), json.dumps(record))


def _pages(entries: list[Entry], turn: int, count: int) -> Iterator[Visit]:
    for entry in entries:
        first = int(entry.url.rpartition("/")[2]) * _PER_PAGE
        lines = tuple(_record(number, turn) for number in range(first, min(first + _PER_PAGE, count)))
        yield Visit(entry, Fetched(Known(0), lines))


def fill(store: Store, turn: int, count: int) -> Run:
    """One run with its records, not ended."""
    run = store.start_run(Things.name, "")
    urls = [f"https://shop.test/list/{page}" for page in range(-(-count // _PER_PAGE))]
    store.add(run, [NewUrl("shop.test", fingerprint("GET", url), url) for url in urls])
    (lease,) = store.lease(run, 1, float("inf"))
    while entries := store.take(run, lease, 1_000):
        store.settle(run, list(_pages(list(entries), turn, count)), [DomainUpdate(lease, 0.0)])
    return run


def step(folder: Path, count: int, name: str, url: str) -> None:
    """One step, in a process of its own."""
    begun = time.perf_counter()
    if name in ("fill", "publish"):
        store = SqliteStore(folder / "scraper.db")
        store.join("benchmark")
        if name == "fill":
            store.end_run(fill(store, 0, count), {}, accepted=True, whole=True)
            store.leave()
            store.join("again")
            fill(store, 1, count)
        else:
            _publish(store, folder, count)
        store.leave()
        store.close()
    elif name == "lines":
        _lines(folder, count)
    else:
        target = url if name == "postgres" else str(folder / f"out.{name}")
        export(folder / Things.name / "records.jsonl", [sink_for(target, Layout((_KEY,)))])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    figures = {"step": name, "seconds": round(time.perf_counter() - begun, 1)}
    print(
        json.dumps(
            figures | {"cpu": round(usage.ru_utime + usage.ru_stime, 1), "mb": usage.ru_maxrss // 1024}
        )
    )


def _publish(store: Store, folder: Path, count: int) -> None:
    run = store.start_run(Things.name, "")
    assert run.is_resumed
    files = RunFiles(folder, Things.name, run.id)
    files.open(repair=False)
    assert repeated_keys(store, run, Things()).count == 0
    counts = publish(store, run, files, Things(), is_whole=True)
    assert counts == {"added": 0, "changed": -(-count // 100), "removed": 0, "duplicates": 0}, counts
    files.close()


def _lines(folder: Path, count: int) -> None:
    (folder / Things.name).mkdir()
    with (folder / Things.name / "records.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(f"{_record(number, 0).line}\n")


def main() -> None:
    """Every step, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.records", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("steps", nargs="*", metavar="STEP")
    parser.add_argument("--table", default="", metavar="URL")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_intermixed_args()
    if given.here:
        return step(given.folder, given.count, given.steps[0], given.table)
    given.folder.mkdir(parents=True, exist_ok=True)
    table = ["--table", given.table] if given.table else []
    for name in given.steps or ("fill", "publish", *_ENDINGS, *(["postgres"] if table else [])):
        command = [sys.executable, "-m", "benchmarks.records", str(given.folder), str(given.count), *table]
        environment = os.environ | {"TMPDIR": str(given.folder)}
        subprocess.run([*command, "--here", name], check=True, env=environment)


if __name__ == "__main__":
    main()
