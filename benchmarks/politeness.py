"""The conformance table, by the site's own clock: `python -m benchmarks.politeness`.

The same crawls by the project, Scrapy and Crawlee, each with its defaults and told to obey robots.txt. Every
column has hosts of its own. The table goes between the markers of docs/politeness.md.
"""

import argparse
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks import behaviours, execution
from benchmarks.contestants import CRAWLEE, OURS, ROOT, SCRAPY, Contestant, Job, contestants
from benchmarks.figures import gaps, most_within
from benchmarks.server import Hit, Site

FOLDER = ROOT / "build" / "benchmarks" / "politeness"
DOCUMENT = ROOT / "docs" / "politeness.md"
_MARKERS = re.compile(r"<!-- conformance -->\n(.*?<!-- /conformance -->\n)?", re.DOTALL)
_AT_ONCE = 3
_DELAY = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """What one crawl did, and whether that is what was asked for."""

    text: str
    is_kept: bool

    @property
    def markdown(self) -> str:
        """A breach in bold."""
        return self.text if self.is_kept else f"**{self.text}**"


@dataclass(frozen=True, slots=True)
class Test:
    """One row: a behaviour of the site (`number`, see behaviours.BY_NUMBER; 0: three host names of one
    registered domain), the configured delay (None: the default) and how its log is judged."""

    title: str
    number: int
    judge: Callable[[Sequence[Hit]], Cell]
    delay: float | None = None
    limit: float = 20.0


@dataclass(frozen=True, slots=True)
class Column:
    """One contestant in one configuration."""

    title: str
    contestant: str
    obey: bool = True
    is_throttled: bool = False


def _inside_rest(hits: Sequence[Hit]) -> Cell:
    pages = [hit for hit in hits if hit.path != "/robots.txt"]
    if not pages:
        return Cell("no request", False)
    until = pages[0].at + behaviours.REST
    inside = sum(hit.at < until for hit in pages[1:])
    got = len({hit.path for hit in pages if hit.at >= until})
    return Cell(f"{inside}, then {got} of {behaviours.PAGES + 1} pages", not inside)


def _gap_of(delay: float) -> Callable[[Sequence[Hit]], Cell]:
    def judge(hits: Sequence[Hit]) -> Cell:
        found = gaps([hit.at for hit in hits])
        if not found:
            return Cell(f"{len(hits)} requests", False)
        least = min(found)
        between_pages = min(gaps([hit.at for hit in hits if hit.path != "/robots.txt"]), default=least)
        apart = f", between pages {between_pages:.3f} s" if least < delay and between_pages > least else ""
        return Cell(f"{least:.3f} s{apart}", least >= delay)

    return judge


def _pages(hits: Sequence[Hit]) -> Cell:
    if not hits:
        return Cell("no request", False)
    count = sum(hit.path != "/robots.txt" for hit in hits)
    return Cell(str(count), not count)


def _private(hits: Sequence[Hit]) -> Cell:
    if not any(hit.path.startswith("/go/") for hit in hits):
        return Cell("no redirect met", False)
    count = sum(hit.path.startswith("/private/") for hit in hits)
    return Cell(str(count), not count)


def _within_a_second(hits: Sequence[Hit]) -> Cell:
    if not hits:
        return Cell("no request", False)
    most = most_within([hit.at for hit in hits], _DELAY)
    return Cell(str(most), most == 1)


TESTS = (
    Test("requests inside `Retry-After: 5` of a 429", 1, _inside_rest),
    Test("requests inside `Retry-After: 5` of a 503", 2, _inside_rest),
    Test("smallest gap, delay of 1 s configured", 3, _gap_of(_DELAY), delay=_DELAY),
    Test(f"smallest gap under `Crawl-delay: {behaviours.CRAWL_DELAY}`", 4, _gap_of(behaviours.CRAWL_DELAY)),
    Test("pages fetched while robots.txt is answered 503", 5, _pages, limit=10.0),
    Test("pages fetched while robots.txt is unreachable", 6, _pages, limit=10.0),
    Test("disallowed pages fetched after a redirect", 7, _private),
    Test(
        "most requests in a second to three subdomains of one domain, delay of 1 s configured",
        0,
        _within_a_second,
        delay=_DELAY,
    ),
)
COLUMNS = (
    Column("this project", OURS),
    Column("Scrapy, default", SCRAPY, obey=False),
    Column("Scrapy, obeying", SCRAPY),
    Column("Crawlee, default", CRAWLEE, obey=False),
    Column("Crawlee, obeying", CRAWLEE),
    Column("Crawlee, obeying, hosts listed", CRAWLEE, is_throttled=True),
)
NOTE = f"""
Measured by the server's own clock, a breach in bold. Every request counts, also that for robots.txt.
*Default*: the settings that a new script gets. *Obeying*: `ROBOTSTXT_OBEY` and `respect_robots_txt_file`.
*Hosts listed*: a `ThrottlingRequestManager` that names every host by hand. A delay of 1 s is
`DOWNLOAD_DELAY = 1` and `max_tasks_per_minute = 60`, Crawlee's only setting of a rate. Each site has an index
and {behaviours.PAGES} pages ({behaviours.WIDER_PAGES} under a delay); a crawl is stopped after 20 s,
and where robots.txt fails after 10 s. Made by `python -m benchmarks.politeness`.
"""


def conformance(names: Sequence[str] = ()) -> str:
    """Run every test with every column (or those of some contestants); the table in Markdown."""
    columns = [column for column in COLUMNS if not names or column.contestant in names]
    known = {each.name: each for each in contestants(sorted({column.contestant for column in columns}))}
    shutil.rmtree(FOLDER, ignore_errors=True)
    with Site() as site, ThreadPoolExecutor(_AT_ONCE) as pool:
        jobs = [
            pool.submit(_crawl, site, known[column.contestant], column, test, place)
            for test in TESTS
            for place, column in enumerate(columns)
        ]
        for job in jobs:
            job.result()
        log = site.log()
    rows = [[_judged(log, test, place) for place in range(len(columns))] for test in TESTS]
    versions = ", ".join(each.label for each in known.values())
    return _table([column.title for column in columns], rows) + f"{NOTE}Versions: {versions}.\n"


def _hosts(test: Test, place: int) -> list[str]:
    if test.number:
        return [f"127.20.{place}.{test.number}"]
    return [f"{name}.shop{place}.test" for name in "abc"]


def _crawl(site: Site, contestant: Contestant, column: Column, test: Test, place: int) -> None:
    hosts = _hosts(test, place)
    is_named = not test.number  # host names that only the site can resolve: it is asked as a proxy
    job = Job(
        start=[f"http://{host}/" if is_named else site.url("/", host) for host in hosts],
        folder=FOLDER / f"{place}-{test.number}",
        delay=test.delay,
        obey=column.obey,
        is_throttled=column.is_throttled,
        proxy=site.url("") if is_named else None,
    )
    environment = contestant.environment(job)
    execution.run(contestant.command(job), job.folder, test.limit, environment=environment)


def _judged(log: Sequence[Hit], test: Test, place: int) -> Cell:
    hosts = _hosts(test, place)
    return test.judge([hit for hit in log if hit.host in hosts])


def _table(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    lines = [f"| test | {' | '.join(titles)} |", f"|---{'|---' * len(titles)}|"]
    for test, row in zip(TESTS, rows, strict=True):
        lines.append(f"| {test.title} | {' | '.join(cell.markdown for cell in row)} |")
    return "\n".join(lines) + "\n"


def write(table: str, document: Path = DOCUMENT) -> bool:
    """Put the table between the markers of a document, or after the only one; False: no marker."""
    text = document.read_text("utf-8") if document.exists() else ""
    if not _MARKERS.search(text):
        return False
    marked = f"<!-- conformance -->\n\n{table}\n<!-- /conformance -->\n"
    document.write_text(_MARKERS.sub(lambda _: marked, text, count=1), "utf-8")
    return True


def publish(is_dry: bool = False, only: Sequence[str] = ()) -> None:
    """Measure, print the table, and write it into the documentation if it is whole."""
    table = conformance(only)
    print(table)
    if is_dry or only:
        print("docs/politeness.md is as it was")
    elif not write(table):
        print("docs/politeness.md has no marker <!-- conformance -->")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.politeness", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="a contestant: scraper, Scrapy, Crawlee")
    parser.add_argument("--dry", action="store_true", help="print, and leave the documentation as it is")
    options = parser.parse_args()
    publish(options.dry, options.only)


if __name__ == "__main__":
    main()
