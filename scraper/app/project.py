"""Reads a project (store, spiders) for commands that only display; creates nothing."""

import os
from pathlib import Path
from typing import Any

from scraper import settings
from scraper.app.options import open_store
from scraper.errors import UsageError
from scraper.settings import values
from scraper.spider import discovery
from scraper.store import Run, Store

PROBE = "(fetch)"
"""The spider's name under which requests sent by hand stand in the store."""

SERVICE = "(service)"
"""The same for requests that the service sends for its callers."""

SERVICES = (SERVICE, "(service 2)", "(service 3)", "(service 4)")
"""Those of several services on one store: while one is replaced by another, say."""

NO_SPIDERS = (PROBE, *SERVICES)


def store_url(url: str | None) -> str | None:
    """The store that the command line names, or the settings of the project."""
    overrides = [f"store={url}"] if url is not None else []
    return settings.load({}, overrides, Path.cwd(), os.environ).store


def existing_store(data: Path, url: str | None = None) -> Store | None:
    """The store of a project; None where none has been made yet."""
    found = store_url(url)
    if found is None and not (data / "scraper.db").exists():
        return None
    return open_store(data, found)


def needed_store(data: Path, url: str | None = None) -> Store:
    """The store of a project; UsageError where there is none."""
    store = existing_store(data, url)
    if store is None:
        raise UsageError(f"there are no runs in {data}/ yet", "run a spider first, or give --data DIR")
    return store


def runs_of(store: Store, spider: str | None, limit: int) -> list[Run]:
    """The last runs of spiders, newest first."""
    found = store.runs(spider, limit if spider else limit + 20)
    return [run for run in found if run.spider not in NO_SPIDERS][:limit]


def facts_of_run(store: Store, run: Run) -> dict[str, Any]:
    """The content of run.json, and what the run is doing now; of one that has not ended only the latter."""
    known = {"run_id": run.id, "spider": run.spider, "state": run.state, "is_accepted": run.is_accepted}
    return {**run.summary, **known, "verdict": state_of(store, run)}


def check_spider(name: str) -> None:
    """SpiderError with the nearest name where a spider that has no runs does not exist either."""
    discovery.find(name)


def find_run(store: Store, name: str) -> Run:
    """A run by its id, or the last one of a spider; UsageError with the nearest where there is none."""
    if (named := store.run(name)) is not None:
        return named
    if last := store.runs(name, 1):
        return last[0]
    if not name[:1].isdigit():  # no id begins with a letter
        check_spider(name)
        raise UsageError(f"there are no runs of {name} yet", "run it first")
    known = runs_of(store, None, 100)
    if not known:
        raise UsageError("there are no runs yet", "run a spider first")
    near = values.nearest(name, [run.id.replace("-", "_") for run in known])
    hint = f"did you mean {near.replace('_', '-')}?" if near else "the command `runs` lists them"
    raise UsageError(f"there is no run {name!r}", hint)


def told_worker(name: str) -> str:
    """A worker as people know it: its name is HOST-PID-RANDOM (see `worker_name`)."""
    host, _, pid = name.rpartition("-")[0].rpartition("-")
    return f"pid {pid} on {host}" if host and pid.isdigit() else name


def state_of(store: Store, run: Run) -> str:
    """A run's verdict, or what it is doing: running, paused, killed."""
    if run.state == "ended":
        return str(run.summary.get("verdict", "ended"))
    if run.state == "running":
        return "running" if store.holder(run.spider) is not None else "killed"
    return str(run.summary.get("verdict", "paused"))
