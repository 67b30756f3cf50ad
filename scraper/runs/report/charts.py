"""Charts as inline SVG: drawn without text, to stretch to any width; the words stand beside them."""

from collections.abc import Sequence

from scraper.model.frozen import frozen
from scraper.runs.report.figures import count, duration
from scraper.runs.report.markup import Markup, element

MOST_BARS = 120
FEWEST_BARS = 16
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)


@frozen
class Bar:
    """One bar: its value, what it says when pointed at, and its class (a verdict, or "now")."""

    value: float
    label: str
    kind: str = ""


def bars(name: str, title: str, description: str, values: Sequence[Bar], least: float = 0) -> Markup:
    """A bar chart with its highest value written on top; `least` (of 100) is the height of a bar of 0."""
    highest = max((bar.value for bar in values), default=0)
    slots = max(len(values), FEWEST_BARS)
    drawn = [
        element(
            "rect",
            element("title", bar.label),
            x=10 * n + 1,
            y=round(100 - (height := max(_height(bar.value, highest), least)), 2),
            width=8,
            height=round(height, 2),
            class_=f"bar {bar.kind}".strip(),
        )
        for n, bar in enumerate(values)
    ]
    svg = element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *(element("line", x1=0, x2=10 * slots, y1=y, y2=y, class_="grid") for y in (0, 50)),
        *drawn,
        element("line", x1=0, x2=10 * slots, y1=100, y2=100, class_="axis"),
        viewBox=f"0 0 {10 * slots} 100",
        preserveAspectRatio="none",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
    caption = element("figcaption", element("b", title), element("span", f"highest {count(highest)}"))
    return element("figure", caption, svg, class_="chart")


def sparkline(name: str, description: str, rates: Sequence[float | None]) -> Markup:
    """A line of rates between 0 and 1; None is a gap before the first."""
    step = 100 / max(len(rates) - 1, 1)
    points = [
        f"{step * n:.1f},{22 - 20 * min(max(rate, 0), 1):.1f}"
        for n, rate in enumerate(rates)
        if rate is not None
    ]
    # A line of no length with a round end is a dot that does not stretch with the drawing.
    x, y = points[-1].split(",") if points else ("0", "22")
    return element(
        "svg",
        element("title", description, id=f"{name}-title"),
        element("line", x1=0, x2=100, y1=23.5, y2=23.5, class_="axis"),
        element("polyline", points=" ".join(points), class_="spark"),
        element("line", x1=x, x2=x, y1=y, y2=y, class_="dot") if points else None,
        viewBox="-2 0 104 24",
        preserveAspectRatio="none",
        role="img",
        aria_labelledby=f"{name}-title",
        class_="sparkline",
    )


def buckets(
    line: Sequence[tuple[float, int, int]], seconds: float
) -> tuple[float, list[tuple[float, float, float]]]:
    """A time line in at most MOST_BARS equal parts: their width (s), and (start, pages, records) of each."""
    end = max([seconds, *(second + 1 for second, _, _ in line)])
    width = float(next((width for width in _WIDTHS if end / width <= MOST_BARS), end / MOST_BARS))
    number = min(MOST_BARS, max(1, -int(-end // width)))
    parts = [(n * width, 0.0, 0.0) for n in range(number)]
    for second, pages, records in line:
        n = min(max(int(second // width), 0), number - 1)
        start, pages_before, records_before = parts[n]
        parts[n] = (start, pages_before + pages, records_before + records)
    return width, parts


def timeline(line: Sequence[tuple[float, int, int]], seconds: float) -> tuple[Markup, ...]:
    """Pages and records over the time of the run, one chart each on the same axis."""
    width, parts = buckets(line, seconds)
    each = f"Each bar is {duration(width)}; the axis runs from the start to {duration(width * len(parts))}."
    charts = [
        bars(
            f"time-{what}",
            f"{what.capitalize()} per {duration(width)}",
            f"{count(sum(part[at] for part in parts))} {what} in all. {each}",
            [Bar(part[at], f"{duration(part[0])}: {count(part[at])} {what}", what) for part in parts],
        )
        for at, what in ((1, "pages"), (2, "records"))
    ]
    ends = element(
        "p", element("span", "start"), element("span", duration(width * len(parts))), class_="ends"
    )
    return charts[0], charts[1], ends


def _height(value: float, highest: float) -> float:
    """Of 100; what is not 0 stays visible."""
    return max(100 * value / highest, 1.5) if value > 0 and highest > 0 else 0
