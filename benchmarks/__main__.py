"""`python -m benchmarks [NAME ...]`: measure, print, and write docs/benchmarks.md."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import cores, cost, durability, politeness, rendering, report, speed
from benchmarks.contestants import BARE, CRAWLEE, OURS, ROOT, SCRAPY, Contestant, contestants
from benchmarks.mirrors import mirrors
from benchmarks.report import Table
from benchmarks.server import Site

FOLDER = ROOT / "build" / "benchmarks"
NAMES = (
    "firehose",
    "cores",
    "broad",
    "distant",
    "slow",
    "crowd",
    "kill",
    "startup",
    "memory",
    "frontier",
    "rendering",
    "politeness",
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--only", action="append", help="a contestant (repeatable): scraper, 'bare loop', Scrapy, Crawlee"
    )
    parser.add_argument("--turns", type=int, default=3, help="how often each contestant is measured")
    parser.add_argument("--pages", type=int, default=5000, help="pages of the fast site")
    parser.add_argument("--domains", type=int, default=300, help="domains of the broad crawl")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a broad crawl is measured")
    parser.add_argument("--kill-pages", type=int, default=1500, help="pages of the crawl that is killed")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument(
        "--hubs", type=int, nargs="+", default=[10, 100], help="thousands of URLs in the growing frontier"
    )
    parser.add_argument("--known", type=int, default=300_000, help="URLs of the store at scale")
    parser.add_argument("--dry", action="store_true", help="print, and leave the documentation as it is")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    return options


def _benchmarks(
    options: argparse.Namespace, site: Site, names: Sequence[Contestant]
) -> dict[str, Callable[[], Table]]:
    """Every benchmark but the conformance table, by name."""
    turns = options.turns
    broad = {
        kind.name: partial(
            speed.broad,
            site,
            names,
            FOLDER / kind.name,
            kind,
            domains=options.domains,
            seconds=options.seconds,
            turns=turns,
        )
        for kind in speed.KINDS
    }
    return {
        "firehose": lambda: speed.firehose(
            site, [*names, *mirrors()], FOLDER / "firehose", pages=options.pages, turns=turns
        ),
        "cores": lambda: cores.cores(site, FOLDER / "cores", pages=options.pages, turns=turns),
        **broad,
        "crowd": lambda: speed.crowd(
            site, contestants([OURS])[0], FOLDER / "crowd", seconds=4 * options.seconds, turns=turns
        ),
        "kill": lambda: durability.kill(
            site, names, FOLDER / "kill", pages=options.kill_pages, kills=options.kills, turns=turns
        ),
        "startup": lambda: cost.startup(site, names, FOLDER / "startup", turns=2 * turns - 1),
        "memory": lambda: cost.memory(site, names, FOLDER / "memory", hubs=options.hubs),
        "frontier": lambda: cost.frontier(FOLDER / "frontier", known=options.known),
        "rendering": lambda: rendering.rendering(turns=turns),
    }


def main() -> None:
    """Run what was asked for."""
    options = _options()
    chosen = options.names or NAMES
    names = contestants(options.only or [OURS, BARE, SCRAPY, CRAWLEE])
    with Site() as site:
        for name, measure in _benchmarks(options, site, names).items():
            if name in chosen:
                print(f"{name}:", flush=True)
                table = measure()
                print(f"\n{table.markdown}", flush=True)
                if not options.dry:
                    report.keep(table, FOLDER / "tables")
    if not options.dry:
        print(report.write(FOLDER / "tables", NAMES, ROOT / "docs"))
    if "politeness" in chosen:
        politeness.publish(options.dry)


if __name__ == "__main__":
    main()
