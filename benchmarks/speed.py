"""How fast: one fast site without a delay, and many sites at exactly their polite rate."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.behaviours import DISTANT, SLOW
from benchmarks.contestants import BARE, Contestant, Job
from benchmarks.crawling import Crawl, crawl, in_turns
from benchmarks.figures import Spread, gaps, ratios, spread
from benchmarks.report import Bars, Table
from benchmarks.server import Site

_WARM_UP = 4.0
_SITE_PAGES = 200


def firehose(site: Site, names: Sequence[Contestant], folder: Path, *, pages: int, turns: int) -> Table:
    """All pages of one fast site, delay 0."""

    def measure(contestant: Contestant) -> Crawl:
        job = Job([site.url(f"/s/{pages}/0")], folder / contestant.name, delay=0)
        return crawl(site, contestant, job, limit=60 + pages / 20)

    found = in_turns(names, turns, measure)
    base = found.get(BARE, [])
    whole = {name: all(_is_whole(crawl, pages) for crawl in crawls) for name, crawls in found.items()}
    rows: list[Sequence[str]] = [
        [
            "",
            "pages/s",
            "to the bare loop",
            "whole command",
            "CPU",
            "peak memory",
            "the site's core",
            "pages",
            "does not do",
        ]
    ]
    for each in names:
        row = _firehose_row(found[each.name], base if whole[each.name] else [])
        rows.append([each.label, *row, each.lacks or "-"])
    bars = [
        (each.label, told)
        for each in names
        if whole[each.name]
        if (told := spread(_to_base(found[each.name], base, lambda crawl: crawl.rate)))
    ]
    text = (
        f"One site of {pages:,} pages of 9 KB with 40 links each, delay 0: fetch every page, parse it, keep "
        f"a record of it, follow "
        "its links. *pages/s*: from the first page to the last by the site's clock. *to the bare loop*: "
        "that rate by the rate of "
        "`requests.Session.get` + `lxml` + JSON lines (no politeness, no promises), in the same turn. "
        "*whole command*: the same ratio "
        "of the whole command's time, start-up included. *the site's core*: how much of a core the server "
        "took. *does not do*: without further settings; wget, wget2 and HTTrack copy pages to files and "
        "parse no records."
    )
    return Table(
        "firehose", "One fast site", text, rows, Bars("pages/s, to the bare loop", bars) if bars else None
    )


def _is_whole(crawl: Crawl, pages: int) -> bool:
    """Only a crawl that got every page is held against the bare loop."""
    return len({hit.path for hit in crawl.hits}) == pages


def _firehose_row(crawls: Sequence[Crawl], base: Sequence[Crawl]) -> list[str]:
    by_rate = spread(_to_base(crawls, base, lambda crawl: crawl.rate))
    by_time = spread(_to_base(crawls, base, lambda crawl: 1 / crawl.ended.seconds))
    return [
        _text(spread([crawl.rate for crawl in crawls]), 0),
        _text(by_rate),
        _text(by_time),
        _text(spread([crawl.ended.cpu for crawl in crawls]), 1, " s"),
        _text(spread([crawl.ended.peak / 2**20 for crawl in crawls]), 0, " MB"),
        _text(spread([100 * crawl.share for crawl in crawls]), 0, " %"),
        f"{min(len({hit.path for hit in crawl.hits}) for crawl in crawls):,}",
    ]


def _to_base(crawls: Sequence[Crawl], base: Sequence[Crawl], value: Callable[[Crawl], float]) -> list[float]:
    return ratios([value(each) for each in crawls], [value(each) for each in base]) if base else []


def _text(value: Spread | None, digits: int = 2, unit: str = "") -> str:
    return value.text(digits, unit) if value else "-"


class _Held(NamedTuple):
    """How a crawl of many domains held their rate."""

    share: float
    least_gap: float
    crawl: Crawl


@dataclass(frozen=True, slots=True)
class Kind:
    """How the domains of a broad crawl answer: the first ones from one folder, a part from another."""

    name: str
    title: str
    text: str
    folder: str = "s"
    other_folder: str = "s"
    others: float = 0.0


KINDS = (
    Kind("broad", "Many sites, each at its polite rate", "They answer at once."),
    Kind(
        "distant",
        "Many distant sites",
        f"They answer after {DISTANT:g} s; {100 / (1 + DISTANT):.0f} % is the most that a delay allows which "
        "counts from the answer, as the project's does.",
        folder="distant",
    ),
    Kind(
        "slow",
        "Many sites, some of them slow",
        f"A fifth answers after {SLOW:g} s; the figures are of the others, which answer at once.",
        other_folder="slow",
        others=0.2,
    ),
)


def broad(
    site: Site,
    names: Sequence[Contestant],
    folder: Path,
    kind: Kind,
    *,
    domains: int,
    seconds: float,
    turns: int,
) -> Table:
    """Many domains at one request a second each."""
    measured = domains - int(domains * kind.others)

    def measure(contestant: Contestant) -> _Held:
        return _hold(site, contestant, folder, kind, domains, seconds)

    found = in_turns([each for each in names if each.name != BARE], turns, measure)
    labels = {each.name: each.label for each in names}
    rows: list[Sequence[str]] = [
        ["", "of the possible rate", "smallest gap", "CPU", "peak memory", "the site's core"]
    ]
    rows += [[labels[name], *_broad_row(held)] for name, held in found.items()]
    text = (
        f"{domains:,} domains, delay 1 s each. {kind.text} {measured:,} requests a second are the "
        f"possible rate. Measured for {seconds:g} s, {_WARM_UP:g} s after the first page. Scrapy has "
        "`CONCURRENT_REQUESTS` of twice the domains and its queue for broad crawls, Crawlee a rate for all "
        "domains together (it has none for each)."
    )
    shares = [(labels[name], spread([held.share for held in each])) for name, each in found.items()]
    bars = Bars(f"{kind.title}: share of the rate", [(label, value) for label, value in shares if value])
    return Table(kind.name, kind.title, text, rows, bars)


def crowd(site: Site, ours: Contestant, folder: Path, *, seconds: float, turns: int) -> Table:
    """As many domains as the project's processes can hold."""
    rows: list[Sequence[str]] = [["", "of the possible rate", "smallest gap", "the site's core"]]
    for domains, workers, label in ((500, 1, "500 domains, one process"), (1000, 2, "1,000, `--workers 2`")):
        held = []
        for turn in range(1, turns + 1):
            print(f"  turn {turn} of {turns}: {label}", flush=True)
            held.append(_hold(site, ours, folder, KINDS[0], domains, seconds, workers))
        share, gap, *_, core = _broad_row(held)
        rows.append([label, share, gap, core])
    text = (
        f"Delay 1 s each; all answer at once. Measured for {seconds:g} s, {_WARM_UP:g} s after the first "
        "page; the project alone. In the first six seconds or so nearly all links are new, and each takes a "
        "place in the store: that is when the processors are full, and the rate is lower."
    )
    return Table("crowd", "Still more sites", text, rows)


def _hold(
    site: Site,
    contestant: Contestant,
    folder: Path,
    kind: Kind,
    domains: int,
    seconds: float,
    workers: int = 1,
) -> _Held:
    """A crawl of many domains, broken off; how the first ones of the kind held their rate."""
    measured = domains - int(domains * kind.others)
    starts = [
        site.url(f"/{kind.folder if place < measured else kind.other_folder}/{_SITE_PAGES}/0", _host(place))
        for place in range(domains)
    ]
    job = Job(starts, folder / contestant.name, delay=1, is_broad=True, workers=workers)
    enough = _after(site, f"/{kind.folder}/", _WARM_UP + seconds)
    found = crawl(site, contestant, job, limit=_WARM_UP + seconds + 30, is_enough=enough)
    return _held(found, {_host(place) for place in range(measured)}, seconds)


def _host(place: int) -> str:
    return f"127.30.{place // 250}.{place % 250 + 1}"


def _after(site: Site, pages: str, seconds: float) -> Callable[[], bool]:
    """Tells when the first page (not robots.txt) was asked for so long ago; asks the site seldom."""
    until = 0.0
    asked = 0.0

    def is_enough() -> bool:
        nonlocal until, asked
        now = time.monotonic()
        if not until and now - asked > 0.1:
            asked = now
            until = now + seconds if site.count(pages) else 0.0
        return bool(until) and now >= until

    return is_enough


def _held(found: Crawl, hosts: set[str], seconds: float) -> _Held:
    moments: Mapping[str, list[float]] = {host: [] for host in hosts}
    for hit in found.hits:
        if hit.host in moments:
            moments[hit.host].append(hit.at)
    begin = found.hits[0].at + _WARM_UP if found.hits else 0.0
    count = sum(begin <= at < begin + seconds for each in moments.values() for at in each)
    least = min((gap for each in moments.values() for gap in gaps(each)), default=0.0)
    return _Held(count / (len(hosts) * seconds), least, found)


def _broad_row(held: Sequence[_Held]) -> list[str]:
    return [
        _text(spread([100 * each.share for each in held]), 1, " %"),
        _text(spread([each.least_gap for each in held]), 3, " s"),
        _text(spread([100 * each.crawl.ended.cpu / each.crawl.ended.seconds for each in held]), 0, " %"),
        _text(spread([each.crawl.ended.peak / 2**20 for each in held]), 0, " MB"),
        _text(spread([100 * each.crawl.share for each in held]), 0, " %"),
    ]
