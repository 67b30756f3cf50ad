"""One process and two: the fast site, a second run of it, its archive, and a spider whose parse is slow."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import execution
from benchmarks.contestants import CRAWLERS, OURS, Contestant, Job, contestants
from benchmarks.crawling import crawl
from benchmarks.figures import Spread, ratios, spread
from benchmarks.report import Bars, Table
from benchmarks.server import Site

SLOW_PARSE = 0.02  # seconds of CPU, as in the spider
WORKERS = (1, 2)
_ROWS = (
    "fast site, archived",
    "second run of it, nothing changed",
    "`reparse` of its archive",
    f"fast site, {1000 * SLOW_PARSE:.0f} ms of `parse` a page",
)


def cores(site: Site, folder: Path, *, pages: int, turns: int) -> Table:
    """Pages a second of the project with one process and with two, in turns."""
    found: dict[int, list[Sequence[float]]] = {workers: [] for workers in WORKERS}
    for turn in range(1, turns + 1):
        for workers in WORKERS:
            print(f"  turn {turn} of {turns}: {workers}", flush=True)
            found[workers].append(_rates(site, folder / str(workers), pages, workers))
    rows: list[Sequence[str]] = [["", "one process", "two", "two to one"]]
    bars = []
    for number, label in enumerate(_ROWS):
        one, two = ([rates[number] for rates in found[workers]] for workers in WORKERS)
        told = spread(ratios(two, one))
        rows.append([label, *(_text(spread(each), 0) for each in (one, two)), _text(told)])
        if told:
            bars.append((label.replace("`", ""), told))
    text = (
        f"The project alone, pages a second: a site of {pages:,} pages at delay 0 with an archive; once "
        "more, when all its pages are known; the archive parsed again, the whole command; and "
        f"{pages // 5:,} pages whose parse takes {1000 * SLOW_PARSE:.0f} ms. *two*: with `--workers 2`."
    )
    return Table("cores", "One process and two", text, rows, Bars("two processes to one", bars))


def _rates(site: Site, folder: Path, pages: int, workers: int) -> list[float]:
    ours = contestants([OURS])[0]
    job = Job([site.url(f"/s/{pages}/0")], folder / "archived", delay=0, workers=workers)
    archived = _with(ours, lambda command: [*command, "--set", "archive=true"])
    first = crawl(site, archived, job, limit=60 + pages / 20)
    site.reset()
    second = crawl(site, archived, job, limit=60 + pages / 20, is_resumed=True)
    again = _with(ours, _to_reparse)
    reparsed = execution.run(
        again.command(job), job.folder, 60 + pages / 20, environment=again.environment(job)
    )
    few = replace(job, start=[site.url(f"/s/{pages // 5}/0")], folder=folder / "slow")
    slow = crawl(site, _with(ours, _to_slow), few, limit=60 + pages / 5)
    return [first.rate, second.rate, pages / reparsed.seconds, slow.rate]


def _with(contestant: Contestant, change: Callable[[list[str]], list[str]]) -> Contestant:
    return replace(contestant, command=lambda job: change(contestant.command(job)))


def _to_reparse(command: list[str]) -> list[str]:
    """The command that parses what a run has archived, with its spider, params and workers."""
    kept = {name: command[command.index(name) + 1] for name in ("--param", "--data")}
    workers = command[command.index("--workers") :] if "--workers" in command else []
    named: Sequence[str] = [word for pair in kept.items() for word in pair]
    return [sys.executable, "-m", "scraper", "reparse", str(CRAWLERS / "site.py"), *named, *workers]


def _to_slow(command: list[str]) -> list[str]:
    slow: Mapping[str, str] = {str(CRAWLERS / "site.py"): str(CRAWLERS / "slow_parse.py")}
    return [slow.get(word, word) for word in command]


def _text(value: Spread | None, digits: int = 2) -> str:
    return value.text(digits, "") if value else "-"
