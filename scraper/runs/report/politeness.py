"""The politeness section of a report: requests, gaps and delays of each domain."""

import re
from collections.abc import Mapping
from typing import Any

from scraper.runs.report.content import Report
from scraper.runs.report.figures import counted, interval, number, plural
from scraper.runs.report.markup import Child, Markup, clean, element, folded

SHOWN_DOMAINS = 12
MOST_DOMAINS = 500
MOST_ORIGINS = 3

DomainStats = Mapping[str, Any]

_COLUMNS = (
    "Domain",
    "Requests",
    "Delay",
    "Smallest gap",
    "Breaches",
    "Refusals",
    "robots.txt",
    "Connections",
)
_WORDS = frozenset({"Domain", "Delay", "robots.txt"})


def politeness(report: Report) -> Markup:
    """A row a domain; first those where something went wrong, then the busiest."""
    by_domain = report.summary.get("by_domain") or {}
    heading = element("h2", "Politeness")
    if not by_domain:
        return element("section", heading, element("p", "No domain was asked for anything.", class_="quiet"))
    ranked = sorted(by_domain.items(), key=lambda each: _rank(*each))
    rows = [_row(name, stats, report.exemptions) for name, stats in ranked[:MOST_DOMAINS]]
    shown, rest = rows[:SHOWN_DOMAINS], rows[SHOWN_DOMAINS:]
    left = len(ranked) - len(rows)
    breaches = sum(number(stats, "breaches") for stats in by_domain.values())
    kept = (
        "The delay was kept everywhere."
        if not breaches
        else f"{plural(breaches, 'breach', 'breaches')} of the delay."
    )
    return element(
        "section",
        heading,
        element("p", f"{plural(len(by_domain), 'domain')}. {kept}", class_="quiet"),
        _table(shown),
        folded(plural(len(rest), "more domain"), _table(rest)) if rest else None,
        element("p", f"{plural(left, 'more domain')} in run.json", class_="quiet") if left else None,
    )


def _rank(name: str, stats: DomainStats) -> tuple[float, float, float, str]:
    return -number(stats, "breaches"), -number(stats, "refusals"), -number(stats, "requests"), name


def _table(rows: list[Markup]) -> Markup:
    head = element(
        "tr",
        *(element("th", name, scope="col", class_=None if name in _WORDS else "figure") for name in _COLUMNS),
    )
    return element("table", element("thead", head), element("tbody", *rows), class_="domains")


def _row(name: str, stats: DomainStats, exemptions: Mapping[str, str]) -> Markup:
    gap = number(stats, "min_gap_s")
    state = next((str(stats[key]) for key in ("left", "login", "closed") if stats.get(key)), "")
    values: tuple[Child, ...] = (
        _lines(clean(name, 100), clean(state, 160)),
        counted(stats, "requests"),
        _lines(interval(number(stats, "delay_s")), clean(stats.get("delay_source") or "", 100)),
        interval(gap) if gap else "–",
        _alarm(stats, "breaches"),
        _alarm({"refusals": number(stats, "refusals") + number(stats, "limited")}, "refusals"),
        _robots(stats, exemptions.get(name)),
        counted(stats, "connections"),
    )
    cells = [
        element("td", value, data_label=column, class_=None if column in _WORDS else "figure")
        for column, value in zip(_COLUMNS, values, strict=True)
    ]
    return element("tr", *cells)


def _lines(first: str, second: str) -> Markup:
    return element(
        "span", element("span", first), element("small", second) if second else None, class_="lines"
    )


def _alarm(stats: DomainStats, name: str) -> Child:
    value = counted(stats, name)
    return element("b", value, class_="alarm") if number(stats, name) else value


def _robots(stats: DomainStats, exemption: str | None) -> Markup:
    if exemption is not None:
        return element(
            "span", element("b", "not asked"), element("small", clean(exemption, 160)), class_="lines"
        )
    copies = stats.get("robots") or {}
    read = list(copies.items()) if isinstance(copies, Mapping) else []
    told = [
        element("small", _copy(str(copy)), title=clean(f"{origin}: {copy}"))
        for origin, copy in read[:MOST_ORIGINS]
    ]
    if len(read) > MOST_ORIGINS:
        told.append(element("small", f"and {len(read) - MOST_ORIGINS} more"))
    return element("span", *(told or [element("small", "not read")]), class_="lines")


def _copy(text: str) -> str:
    """A hash is told apart by its first letters; anything else is a reason in words."""
    return text[:10] if re.fullmatch(r"[0-9a-f]{16,128}", text) else clean(text, 120)
