"""The runs of a spider: who holds one, how it ends, what is forgotten with it; and the workers on them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scraper.errors import LeaseLost
from scraper.store import Run
from scraper.store.memory.ownership import free
from scraper.store.memory.tables import Tables


def runs_of(data: Tables, spider: str | None) -> list[Run]:
    """The runs of a spider, or all, newest first."""
    runs = [run for run in data.runs.values() if spider in (None, run.spider)]
    return sorted(runs, key=lambda run: -run.number)


def base_of(data: Tables, spider: str) -> int:
    """The number of the last accepted whole run; 0 where there is none."""
    runs = runs_of(data, spider)
    return max((run.number for run in runs if run.is_accepted and run.is_whole), default=0)


def begin(data: Tables, spider: str, wall: float) -> Run:
    """A new run."""
    data.started += 1
    number = data.started
    run_id = f"{datetime.fromtimestamp(wall, UTC):%Y%m%d-%H%M%S}-{number}"
    return Run(run_id, number, spider, "", wall)


def close(
    data: Tables, run: Run, summary: Mapping[str, Any], wall: float, *, accepted: bool, whole: bool
) -> None:
    """End a run for good."""
    kept = data.runs[run.number]
    data.runs[run.number] = replace(
        kept,
        state="ended",
        ended_at=wall,
        is_accepted=accepted or kept.is_accepted,
        is_whole=whole or kept.is_whole,
        summary=dict(summary),
    )
    data.held.pop(run.number, None)
    workers = data.workers
    workers.update({name: None for name, number in workers.items() if number == run.number})
    wait_no_more(data, run)


def wait_no_more(data: Tables, run: Run) -> None:
    """Forget which domains a run waits for."""
    for domain in data.domains.values():
        if domain.wanted == run.number:
            domain.wanted = None


def holder(data: Tables, spider: str, but: str = "") -> tuple[str, float] | None:
    """Who runs a spider, and since when."""
    for run in runs_of(data, spider):
        if run.state == "ended":
            continue
        held = data.held.get(run.number)
        at_work = [name for name, number in data.workers.items() if number == run.number]
        for name in ([held[0]] if held else []) + at_work:
            if name != but:
                return name, held[1] if held else run.started_at
    return None


def check_open(data: Tables, run: Run) -> None:
    """LeaseLost where a run has ended."""
    kept = data.runs.get(run.number)
    if kept is None or kept.state == "ended":
        raise LeaseLost(f"run {run.id} was ended by another process")


def check_held(data: Tables, me: str, run: Run) -> None:
    """LeaseLost where we do not hold a run."""
    if data.held.get(run.number, ("", 0.0))[0] != me:
        raise LeaseLost(f"run {run.id} is no longer held by {me}")


def prune(data: Tables, spider: str, keep: int) -> list[str]:
    """Forget all but the last runs and what only they need."""
    runs, base = runs_of(data, spider), base_of(data, spider)
    is_old = [run.state == "ended" and (run.number < base or not run.is_accepted) for run in runs]
    old = {run.number: run for run, unneeded in list(zip(runs, is_old, strict=True))[keep:] if unneeded}
    data.looks = [look for look in data.looks if look.run not in old]
    first = min((run.number for run in runs if run.number not in old), default=0)
    for url in [url for url in data.urls.values() if url.spider == spider]:
        page = data.pages.get(url.id)
        if page and (page.checked < first or (page.run in old and not old[page.run].is_accepted)):
            del data.pages[url.id]
        if url.run < first:
            del data.urls[url.id], data.places[spider, url.new.domain, url.new.fp]
    for number in old:
        del data.runs[number]
    return [run.id for run in sorted(old.values(), key=lambda run: run.number)]


def reap(data: Tables) -> None:
    """Free what the dead held."""
    for worker in data.dead & data.workers.keys():
        for domain in data.domains.values():
            domain.crashes += domain.owner == worker
        for url in map(data.urls.get, data.in_hand.pop(worker, ())):
            if url is not None and url.state == "pending":
                url.attempts, url.crashes, url.seq = url.attempts + 1, url.crashes + 1, data.next()
        bury(data, worker)


def bury(data: Tables, worker: str) -> None:
    """Free what a worker held, and forget it."""
    for domain in data.domains.values():
        if domain.owner == worker:
            free(domain)
    data.held = {run: held for run, held in data.held.items() if held[0] != worker}
    data.workers.pop(worker, None)
