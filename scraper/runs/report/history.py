"""Records and fill rates over the last runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from scraper.runs.report.charts import Bar, bars, sparkline
from scraper.runs.report.content import Report
from scraper.runs.report.figures import count, counted, duration, median, moment, number, plural, share
from scraper.runs.report.markup import Markup, clean, element, folded
from scraper.runs.report.verdict import verdict_of

MOST_RUNS = 40
MOST_FIELDS = 200
SHOWN_FIELDS = 12

Summary = Mapping[str, Any]


def history(report: Report) -> Markup:
    """Bars of records, oldest first and this run last, with their figures; the fields' fill rates."""
    runs = [report.summary, *report.history[: MOST_RUNS - 1]][::-1]
    heading = element("h2", "Records over the last runs")
    if len(runs) == 1:
        first = element(
            "p", "This is the first run: there is nothing to compare it with yet.", class_="quiet"
        )
        return element("section", heading, first, *_fields(runs))
    drawn = [
        Bar(number(run, "records"), _told(run), f"{verdict_of(run)}{' now' if run is report.summary else ''}")
        for run in runs
    ]
    now, before = drawn[-1].value, median([bar.value for bar in drawn[:-1]])
    earlier = f"is the median of the {len(runs) - 1} before" if len(runs) > 2 else "in the run before"
    told = f"{count(now)} in this run, the last bar; {count(before)} {earlier}."
    return element(
        "section",
        heading,
        bars("records", "Records", told, drawn, least=2),
        element("p", told, class_="quiet"),
        folded("The runs in figures", _table(runs)),
        *_fields(runs),
    )


def _told(run: Summary) -> str:
    return f"{moment(run.get('started_at'))}: {plural(number(run, 'records'), 'record')}, {verdict_of(run)}"


def _table(runs: Sequence[Summary]) -> Markup:
    names = ("Started", "Verdict", "Records", "Pages", "Unchanged", "Failed", "Time")
    rows = [
        element(
            "tr",
            *(
                element("td", value, data_label=name, class_="figure" if n > 1 else None)
                for n, (name, value) in enumerate(zip(names, _row(run), strict=True))
            ),
        )
        for run in reversed(runs)
    ]
    head = element(
        "tr",
        *(
            element("th", name, scope="col", class_="figure" if n > 1 else None)
            for n, name in enumerate(names)
        ),
    )
    return element("table", element("thead", head), element("tbody", *rows))


def _row(run: Summary) -> list[str | Markup]:
    verdict = verdict_of(run)
    counts = [counted(run, name) for name in ("records", "pages", "unchanged", "failed")]
    mark = element("span", verdict, class_=f"mark {verdict}")
    return [moment(run.get("started_at")), mark, *counts, duration(number(run, "seconds"))]


# Fill rates ----------------------------------------------------------------------------------------------


def _fields(runs: Sequence[Summary]) -> list[Markup]:
    """A line a field, those that lost most first."""
    fills = [_fill(run) for run in runs]
    names = list(dict.fromkeys(name for fill in reversed(fills) if fill for name in fill))[:MOST_FIELDS]
    if not names:
        return []
    lines = [(name, _rates(name, fills)) for name in names]
    lines.sort(key=lambda line: _change(line[1]))
    rows = [_field(n, name, rates) for n, (name, rates) in enumerate(lines)]
    shown, rest = rows[:SHOWN_FIELDS], rows[SHOWN_FIELDS:]
    return [
        element("h3", "How many records have something in a field"),
        element("ul", *shown, class_="fields"),
        *([folded(plural(len(rest), "more field"), element("ul", *rest, class_="fields"))] if rest else []),
    ]


def _fill(run: Summary) -> Mapping[str, Any] | None:
    """None where there was no record that could have been filled."""
    fill = run.get("fill")
    return fill if isinstance(fill, Mapping) and number(run, "records") else None


def _rates(name: str, fills: Sequence[Mapping[str, Any] | None]) -> list[float | None]:
    """A field's rates by run; None before it was there for the first time, and where nothing was."""
    first = next(n for n, fill in enumerate(fills) if fill and name in fill)
    return [None if fill is None or n < first else number(fill, name) for n, fill in enumerate(fills)]


def _change(rates: Sequence[float | None]) -> float:
    """This run against the middle of those before; below 0 is a loss."""
    before = [rate for rate in rates[:-1] if rate is not None]
    return (rates[-1] or 0) - median(before) if before and rates[-1] is not None else 0


def _field(n: int, name: str, rates: Sequence[float | None]) -> Markup:
    before = [rate for rate in rates[:-1] if rate is not None]
    now = share(rates[-1]) if rates[-1] is not None else "no records"
    usual = f"usually {share(median(before))}" if any(before) else "new"
    lost = "lost" if _change(rates) < -0.05 else None
    return element(
        "li",
        element("code", clean(name, 60)),
        sparkline(f"fill-{n}", f"{clean(name, 60)}: {now}, {usual}", rates),
        element("b", now),
        element("span", usual),
        class_=lost,
    )
