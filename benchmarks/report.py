"""Tables and a picture of what was measured: docs/benchmarks.md, docs/benchmarks.png."""

import importlib.util
import os
import pickle
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Spread


@dataclass(frozen=True, slots=True)
class Bars:
    """What is drawn of a table: one bar a label, with its range."""

    title: str
    values: Sequence[tuple[str, Spread]]


@dataclass(frozen=True, slots=True)
class Table:
    """One benchmark's result: rows of text, the first row the heads."""

    name: str
    title: str
    text: str
    rows: Sequence[Sequence[str]]
    bars: Bars | None = None

    @property
    def markdown(self) -> str:
        """The table under its title."""
        head, *body = (f"| {' | '.join(row)} |" for row in self.rows)
        line = f"|---{'|---:' * (len(self.rows[0]) - 1)}|"
        return "\n".join([f"## {self.title}", "", self.text, "", head, line, *body, ""])


def keep(table: Table, folder: Path) -> None:
    """Lay a table aside, so that a later run of other benchmarks can write the whole document."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table.name}.pickle").write_bytes(pickle.dumps((table, f"Measured {_machine()}")))


def write(kept: Path, names: Sequence[str], folder: Path) -> Path:
    """Write the document and its picture from the tables last kept under some names; the document's path."""
    paths = (kept / f"{name}.pickle" for name in names)
    tables: list[tuple[Table, str]] = [pickle.loads(path.read_bytes()) for path in paths if path.exists()]
    document, picture = folder / "benchmarks.md", folder / "benchmarks.png"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = _draw([table.bars for table, _ in tables if table.bars], picture)
    image = [f"![The figures below, drawn]({picture.name})", ""] if drawn else []
    parts = (part for table, where in tables for part in (table.markdown, f"{where}\n"))
    document.write_text("\n".join([_TOP, *image, *parts]), "utf-8")
    return document


_TOP = """# Benchmarks

Made by `python -m benchmarks`; run it again, all or some of it, and this file is written anew. Every
contestant crawls the same site, a server in a process of its own on loopback; they take turns in one run. A
figure is the median of its turns, least and greatest in brackets; a ratio is taken within each turn.
Judge by ratios: the machine decides the rest. Scrapy and Crawlee come from the package index and obey
robots.txt.
"""


def _machine() -> str:
    today = datetime.now(UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return f"{today}, {machine}, Python {platform.python_version()}."


def draw_curves(
    label: str, sizes: Sequence[float], curves: Mapping[str, Sequence[float]], picture: Path
) -> None:
    """Draw curves over the same sizes (a scale of powers), one below the other; needs the extra `bench`."""
    from matplotlib import use  # an optional extra, and slow to import

    use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        len(curves), 1, figsize=(8, 2 * len(curves)), sharex=True, squeeze=False, layout="constrained"
    )
    for (title, values), axis in zip(curves.items(), axes[:, 0], strict=True):
        axis.semilogx(sizes, values, marker="o", color="#4c78a8")
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", alpha=0.3)
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1, 0].set_xlabel(label)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def _draw(charts: Sequence[Bars], picture: Path) -> bool:
    """Draw the charts one below the other; False without matplotlib (the extra `bench`)."""
    if not charts:
        return False
    if importlib.util.find_spec("matplotlib") is None:
        print("no picture: pip install 'scraper[bench]' brings matplotlib")
        return False
    from matplotlib import use  # an optional extra, and slow to import

    use("Agg")
    from matplotlib import pyplot

    heights = [len(chart.values) for chart in charts]
    size = (8, 0.35 * sum(heights) + 0.9 * len(charts))
    figure, axes = pyplot.subplots(
        len(charts), 1, figsize=size, height_ratios=heights, squeeze=False, layout="constrained"
    )
    for chart, axis in zip(charts, axes[:, 0], strict=True):
        labels = [label for label, _ in chart.values]
        middles = [spread.middle for _, spread in chart.values]
        errors = [
            [spread.middle - spread.least for _, spread in chart.values],
            [spread.most - spread.middle for _, spread in chart.values],
        ]
        axis.barh(labels, middles, xerr=errors, color="#4c78a8", capsize=3)
        axis.invert_yaxis()
        axis.set_title(chart.title, loc="left", fontsize=10)
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)
    return True
