"""What is left after `kill -9`, and the same command again."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.contestants import BARE, Contestant, Job
from benchmarks.crawling import crawl, in_turns
from benchmarks.figures import spread
from benchmarks.report import Bars, Table
from benchmarks.server import Site


class _Left(NamedTuple):
    """What one crawl with its kills came to."""

    kills: int
    pages: int
    again: int
    records: int
    doubled: int
    broken: int
    code: int


def kill(
    site: Site, names: Sequence[Contestant], folder: Path, *, pages: int, kills: int, turns: int
) -> Table:
    """A crawl that is killed several times, each time started again with the same command."""

    def measure(contestant: Contestant) -> _Left:
        job = Job([site.url(f"/s/{pages}/0")], folder / contestant.name, delay=0, is_durable=True)
        return _killed(site, contestant, job, pages, kills)

    found = in_turns([each for each in names if each.name != BARE], turns, measure)
    labels = {each.name: each.label for each in names}
    rows: list[Sequence[str]] = [
        [
            "",
            "kills",
            "pages fetched",
            "fetched again",
            "records kept",
            "doubled",
            "broken lines",
            "last exit",
        ]
    ]
    for name, lefts in found.items():
        worst = min(lefts, key=lambda left: (left.records, -left.doubled))
        rows.append([labels[name], *(f"{value:,}" for value in worst)])
    text = (
        f"A site of {pages:,} pages; `kill -9` of the whole process group {kills} times along the way, and "
        f"the same command again. "
        "Scrapy with `JOBDIR`, Crawlee without its purge on start. The worst of the turns."
    )
    kept = [(labels[name], spread([left.records for left in lefts])) for name, lefts in found.items()]
    bars = Bars(
        f"records kept of {pages:,} after {kills} kills", [(label, value) for label, value in kept if value]
    )
    return Table("kill", "Killed and started again", text, rows, bars)


def _killed(site: Site, contestant: Contestant, job: Job, pages: int, kills: int) -> _Left:
    met = code = 0
    for turn in range(kills + 1):
        goal = pages * (turn + 1) // (kills + 1)
        is_last = turn == kills
        found = crawl(
            site,
            contestant,
            job,
            limit=60.0,
            is_enough=None if is_last else lambda goal=goal: site.count("/s/") >= goal,  # type: ignore[misc]
            is_resumed=turn > 0,
        )
        code = found.ended.code
        if not found.ended.was_stopped:
            break  # it takes itself for finished: another start would be another crawl
        met += 1
    urls = contestant.urls(job.folder)
    whole = [url for url in urls if url]
    fetched = len({hit.path for hit in found.hits})
    return _Left(
        kills=met,
        pages=fetched,
        again=len(found.hits) - fetched,
        records=len(set(whole)),
        doubled=len(whole) - len(set(whole)),
        broken=len(urls) - len(whole),
        code=code,
    )
