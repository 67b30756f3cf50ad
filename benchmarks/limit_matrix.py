"""Simulated sites, crawled by the real engine on a fake web and clock: `python -m benchmarks.limit_matrix`.

Three matrices: sites with a limit of each kind, sites that refuse at random, and sites that are down for a
while. A line for each cell, then what they come to. `--every 9` takes each ninth cell of a whole matrix.
"""

import argparse
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

from scraper import Page, Spider
from scraper.testing import Asked, FakeWeb, crawl
from scraper.testing.web import Scripted
from tests.engine.test_limiters import Counting, Halves
from tests.politeness.test_learned import KINDS, Bucket

A = "https://a.test/"
DAY = 86400.0
DROP = 0  # in place of a status: the connection is closed without an answer
PAGES = 300
MOST_RUNS = 8
STATUSES = (429, 503, 403, 500, DROP)
LIMITS = (
    (1, 1), (5, 1), (1, 2), (2, 10), (5, 10), (10, 10), (10, 30), (5, 60), (10, 60), (30, 60), (60, 60),
    (20, 300), (100, 600), (30, 3600), (100, 3600), (250, 3600),
)  # fmt: skip
ALL_KINDS: dict[str, Callable[[int, int], Any]] = KINDS | {
    "no burst": lambda count, seconds: Bucket(count, seconds, 1),
    "two halves": Halves,
    "refusals count": Counting,
}
Judge = Callable[[Asked], "Scripted | None"]


class Walk(Spider):
    """Every page of the site."""

    start_urls = [A]
    key = "url"

    def parse(self, page: Page) -> Any:
        yield {"url": page.url}
        if page.url == A:
            yield from page.follow_all("a")


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell came to. `pace`: the last one in units of the best; `time`: of the first crawl."""

    name: str
    refusals: int
    later: int
    runs: int
    exits: tuple[int, ...]
    pace: float
    next_pace: float
    time: float
    lost: int

    def __str__(self) -> str:
        exits = ",".join(map(str, self.exits))
        return (
            f"{self.name:60} refused {self.refusals:3} later {self.later:2} exits {exits:12} "
            f"pace {self.pace:6.2f} next {self.next_pace:6.2f} time {self.time:7.2f} lost {self.lost}"
        )


class Site:
    """A site of some pages; `judge` says how a request is refused, None where it is not."""

    def __init__(self, judge: Judge, pages: int) -> None:
        self.judge, self.refusals, self.pages = judge, 0, pages
        names = [str(number) for number in range(pages)]
        index = "".join(f'<a href="{name}">x</a>' for name in names)
        self.web = FakeWeb({A + "robots.txt": self._behind(404), A: self._behind(index)})
        self.web.pages |= dict.fromkeys((A + name for name in names), self._behind("<p>page"))

    def _behind(self, page: Scripted) -> Callable[[Asked], Scripted]:
        def answer(asked: Asked) -> Scripted:
            refusal = self.judge(asked)
            if refusal is None:
                return page
            self.refusals += 1
            return refusal

        return answer

    def measure(self, name: str, delay: float, ideal: float, best: float, nights: int = 1) -> Cell:
        """Crawl until all is here, an hour after each run that ends before, and then on later nights."""
        clock, result, got, exits = self.web.clock, None, 0, []
        began = clock.now()
        while len(exits) < MOST_RUNS:
            result = crawl(Walk, self.web, store=result.store if result else None, delay=delay)
            got += len(result.pages)
            exits.append(result.summary["exit_code"])
            if exits[-1] != 75:
                break
            clock.sleep(3700.0)
        took, refusals, pace = clock.now() - began, self.refusals, self._pace(ideal)
        for _ in range(nights):
            clock.sleep(DAY)
            result = crawl(Walk, self.web, store=result.store if result else None, delay=delay)
        lost = self.pages + 1 - got
        later = self.refusals - refusals
        return Cell(
            name, refusals, later, len(exits), tuple(exits), pace, self._pace(ideal), took / best, lost
        )

    def _pace(self, ideal: float) -> float:
        moments = [asked.at for asked in self.web.requests[-31:]]
        return (moments[-1] - moments[0]) / (len(moments) - 1) / ideal


def refusal(status: int, form: str, wait: float) -> Scripted:
    """The answer of a site that refuses in a form."""
    if status == DROP:
        return ConnectionResetError("reset by peer")
    if form == "silent":
        return status
    if form == "RateLimit":
        return status, {"RateLimit-Remaining": "0", "RateLimit-Reset": str(math.ceil(wait))}
    return status, {"Retry-After": str(math.ceil(wait))}


def limited(cell: tuple[str, tuple[int, int], float, int, str]) -> Cell:
    """A site with a limit."""
    kind, (count, seconds), delay, status, form = cell
    limiter = ALL_KINDS[kind](count, seconds)

    def judge(asked: Asked) -> Scripted | None:
        wait = limiter.wait(asked.at)
        return refusal(status, form, wait) if wait else None

    ideal = max(delay, seconds / count)
    best = max(PAGES * delay, max(1, PAGES - count) * seconds / count)
    return Site(judge, PAGES).measure(
        f"{kind} {count}/{seconds} {delay:g} {status} {form}", delay, ideal, best
    )


def at_random(cell: tuple[float, int, str, int, float, int]) -> Cell:
    """A site that refuses at random, `length` requests in a row."""
    share, status, form, length, delay, seed = cell
    chance, left = random.Random(seed), [0]

    def judge(asked: Asked) -> Scripted | None:
        if asked.url.endswith("robots.txt"):
            return None
        if not left[0] and chance.random() < share / length:
            left[0] = length
        left[0] = max(0, left[0] - 1) if (is_refused := left[0] > 0) else 0
        return refusal(status, form, 1.0) if is_refused else None

    name = f"random {share:g} x{length} {status} {form} {delay:g} seed {seed}"
    return Site(judge, PAGES).measure(name, delay, delay, PAGES * delay)


def down(cell: tuple[int, int, int, str, float]) -> Cell:
    """A site that refuses everything for some seconds after some pages."""
    seconds, after, status, form, delay = cell
    began: list[float] = []

    def judge(asked: Asked) -> Scripted | None:
        began[:] = began or [asked.at]
        is_down = after * delay <= asked.at - began[0] < after * delay + seconds
        return refusal(status, form, 10.0) if is_down else None

    name = f"down {seconds} after {after} {status} {form} {delay:g}"
    return Site(judge, PAGES).measure(name, delay, delay, PAGES * delay + seconds)


def limit_cells() -> Iterator[tuple[str, tuple[int, int], float, int, str]]:
    """All combinations in which the limit is met."""
    delays = (0.05, 0.2, 0.5, 1.0, 2.0)
    forms = ("silent", "Retry-After", "RateLimit")
    for kind, limit, delay, status, form in product(ALL_KINDS, LIMITS, delays, STATUSES, forms):
        # One that refused requests fill can be met by no pace that is slower by chance.
        is_met = limit[1] / limit[0] > 1.05 * delay and limit[0] < PAGES
        if is_met and (status or form == "silent"):
            yield kind, limit, delay, status, form


def random_cells() -> Iterator[tuple[float, int, str, int, float, int]]:
    """Shares, statuses, forms, and one or two refusals in a row."""
    for share, length, form, status, delay, seed in product(
        (0.01, 0.05, 0.1, 0.2), (1, 2), ("silent", "Retry-After"), STATUSES, (1.0, 0.05), (1, 2, 3)
    ):
        if status or form == "silent":
            yield share, status, form, length, delay, seed


def down_cells() -> Iterator[tuple[int, int, int, str, float]]:
    """Outages of half a minute to an hour."""
    for seconds, after, status, form, delay in product(
        (30, 60, 90, 300, 3600), (10, 100), STATUSES, ("silent", "Retry-After"), (1.0, 0.2)
    ):
        if status or form == "silent":
            yield seconds, after, status, form, delay


MATRICES: dict[str, tuple[Callable[..., Cell], Callable[[], Iterator[Any]]]] = {
    "limits": (limited, limit_cells),
    "random": (at_random, random_cells),
    "down": (down, down_cells),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("matrix", choices=MATRICES)
    parser.add_argument("--every", type=int, default=1, help="only each so many-th cell")
    parser.add_argument("--only", default="", help="cells whose name has these words in it")
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    crawl_cell, cells = MATRICES[given.matrix]
    chosen = [cell for number, cell in enumerate(cells()) if number % given.every == 0]
    chosen = [cell for cell in chosen if all(word in str(cell) for word in given.only.split())]
    with ProcessPoolExecutor(given.processes) as pool:
        found = []
        for each in pool.map(crawl_cell, chosen):
            print(each, flush=True)
            found.append(each)
    print_sums(found)


def print_sums(cells: list[Cell]) -> None:
    """What all cells come to."""
    print(f"{len(cells)} cells")
    print("refusals:", sorted(Counter(cell.refusals for cell in cells).items()))
    print("later:", sorted(Counter(cell.later for cell in cells).items()))
    print(
        "last exit:", Counter(cell.exits[-1] for cell in cells), "runs:", Counter(cell.runs for cell in cells)
    )
    print("lost:", sum(cell.lost for cell in cells), "in", sum(cell.lost != 0 for cell in cells), "cells")
    for name in ("pace", "next_pace", "time"):
        values = sorted(getattr(cell, name) for cell in cells)
        at = (0.5, 0.9, 1.0)
        shares = " ".join(f"{values[min(len(values) - 1, int(share * len(values)))]:.2f}" for share in at)
        print(f"{name}: median, nine tenths, worst {shares}, mean {statistics.mean(values):.2f}")


if __name__ == "__main__":
    main()
