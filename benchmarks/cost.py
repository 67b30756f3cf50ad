"""What it costs: a run of one page, memory and disk under a growing frontier, the store at scale."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.content import HUB_LINKS
from benchmarks.contestants import BARE, ROOT, Contestant, Job
from benchmarks.crawling import Crawl, crawl, in_turns
from benchmarks.figures import spread
from benchmarks.report import Bars, Table
from benchmarks.server import Site


def startup(site: Site, names: Sequence[Contestant], folder: Path, *, turns: int) -> Table:
    """A run of one page."""

    def measure(contestant: Contestant) -> Crawl:
        return crawl(
            site, contestant, Job([site.url("/page/1")], folder / contestant.name, delay=0), limit=60.0
        )

    found = in_turns(names, turns, measure)
    rows: list[Sequence[str]] = [["", "CPU", "wall", "peak memory"]]
    bars = []
    for each in names:
        crawls = found[each.name]
        cpu = spread([crawl.ended.cpu for crawl in crawls])
        wall = spread([crawl.ended.seconds for crawl in crawls])
        peak = spread([crawl.ended.peak / 2**20 for crawl in crawls])
        if cpu and wall and peak:
            rows.append([each.label, cpu.text(2, " s"), wall.text(2, " s"), peak.text(0, " MB")])
            bars.append((each.label, cpu))
    text = "A run of one page (and its robots.txt), delay 0, from the start of the command to its end."
    return Table("startup", "One page", text, rows, Bars("seconds of CPU for a run of one page", bars))


class _Grown(NamedTuple):
    """A crawl that met so many URLs."""

    known: int
    crawl: Crawl
    disk: int


def memory(site: Site, names: Sequence[Contestant], folder: Path, *, hubs: Sequence[int]) -> Table:
    """Pages with 1,000 new links each: what each known URL costs, at two sizes of the frontier."""
    rows: list[Sequence[str]] = [["", "URLs known", "peak memory", "disk", "CPU", "seconds", "pages fetched"]]
    for each in names:
        if each.name == BARE:
            continue
        for count in hubs:
            print(f"  {each.label}: {count * HUB_LINKS:,} URLs", flush=True)
            rows.append([each.label, *_grown_row(_grown(site, each, folder / f"{each.name}-{count}", count))])
    text = (
        f"A chain of pages with {HUB_LINKS:,} links each that no other page has: the frontier grows, and "
        f"little is fetched from it. "
        "Stopped when so many such pages were met, or after 60 s. Scrapy keeps its frontier in memory here, "
        "as by default."
    )
    return Table("memory", "A growing frontier", text, rows)


def _grown(site: Site, contestant: Contestant, folder: Path, hubs: int) -> _Grown:
    job = Job([site.url("/hub/0")], folder, delay=0)
    found = crawl(site, contestant, job, limit=60.0, is_enough=lambda: site.count("/hub/") > hubs)
    met = sum(hit.path.startswith("/hub/") for hit in found.hits)
    disk = sum(
        path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "output.txt"
    )
    return _Grown((met - 1) * HUB_LINKS, found, disk)


def _grown_row(grown: _Grown) -> list[str]:
    ended, known = grown.crawl.ended, grown.known
    return [
        f"{known:,}",
        f"{ended.peak / 2**20:,.0f} MB",
        f"{grown.disk / 2**20:,.1f} MB",
        f"{ended.cpu:.1f} s",
        f"{grown.crawl.seconds:.1f}",
        f"{len(grown.crawl.hits):,}",
    ]


def frontier(folder: Path, *, known: int) -> Table:
    """The project's store alone: adding, taking and settling at ten thousand URLs and at many more."""
    command = [sys.executable, "-m", "benchmarks.frontier", str(folder), str(known)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    sizes = json.loads(done.stdout.splitlines()[-1])
    steps = ("add", "add_scattered", "take", "take_scattered", "settle", "settle_strange")
    rows: list[Sequence[str]] = [
        [
            "URLs known",
            "add one",
            "scattered",
            "take one",
            "scattered",
            "settle one",
            "a stranger",
            "bytes a URL",
            "memory",
        ]
    ]
    for size in sizes:
        rows.append(
            [
                f"{size['known']:,}",
                *(f"{size[step]:.1f} us" for step in steps),
                f"{size['bytes']:.0f}",
                f"{size['memory'] / 2**20:.0f} MB",
            ]
        )
    first, last = sizes[0], sizes[-1]
    rows.append(["ratio", *(f"{last[step] / first[step]:.2f}" for step in steps), "", ""])
    text = (
        "The store alone, in a process of its own; medians of nine rounds in turns. URLs are added 2,000 "
        "at a time: by page, as a crawl finds them, the 40 links of a page together and all of one domain, "
        "or *scattered*, each of another domain than the one before, which is the worst case. This goes "
        "down to the file itself: the log is copied to it after 10,000 URLs in the small store, after "
        "30,000 in the large one, which is about when the store does so itself. URLs are taken by the "
        "hundred from a domain whose URLs came in that way. Pages are settled in groups of a hundred, a "
        "record and 40 links each: 38 of them seen a moment ago as on most sites, or all 40 at random among "
        "all that are known (*a stranger*). Before each round the file is read through once: this is about "
        "the store, not about the disk."
    )
    return Table("frontier", "The store at scale", text, rows)
