"""The live view on a terminal: where the run stands, and what each domain waits for."""

from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from scraper.cli import text
from scraper.cli.progress import Counts, estimate_of, state_of
from scraper.ops.clock import monotonic
from scraper.runs.events import DomainState

MOST_LINES = 11
PER_SECOND = 4
_NEEDED = 4  # figures that stay: spider, time, pages, and the last one


class View:
    """A few lines at the foot of the terminal, with the log above them. Gone when the run has ended."""

    def __init__(self, counts: Counts, limits: tuple[int | None, float | None]) -> None:
        self._counts = counts
        self._limits = limits
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(
            console=self._console,
            get_renderable=self.render,
            refresh_per_second=PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=True,
        )

    def __enter__(self) -> "View":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the view."""
        self._console.print(Text(line))

    def render(self) -> RenderableType:
        """The view as it is now."""
        counts, width = self._counts, self._console.width
        ran = text.duration(float(int(monotonic() - counts.began_at)) or 0.1)
        first = _first_line(
            [counts.spider, ran, *state_of(counts)], estimate_of(counts, self._limits), width - 1
        )
        lines = [Text(first, style="bold")]
        domains = counts.ticked.domains
        room = max(1, min(MOST_LINES, self._console.height - 4))
        shown = domains if len(domains) <= room else domains[: room - 1]
        name_width = min(max((len(domain.name) for domain in shown), default=0), max(width // 3, 10))
        since = monotonic() - counts.ticked_at
        # By name, so that lines stay where they are from one second to the next.
        for domain in sorted(shown, key=lambda domain: domain.name):
            lines.append(Text(_line(domain, since, name_width, width - 1), style="dim"))
        if counts.ticked.of > len(shown):
            more = f"  and {counts.ticked.of - len(shown):,} more domains"
            lines.append(Text(text.cut_columns(more, width - 1), style="dim"))
        return Group(*lines)


def _first_line(told: list[str], estimate: str, width: int) -> str:
    """Where the run stands: spider, time, pages, speed, records and so on, the estimate last.

    In a narrow terminal whole figures go, from the speed on: the estimate is what people look for.
    """
    parts = [*told, estimate] if estimate else told
    while len("  ".join(parts)) > width and len(parts) > _NEEDED:
        parts = [*parts[: _NEEDED - 1], *parts[_NEEDED:]]
    return text.cut_columns("  ".join(parts), width)


def _line(domain: DomainState, since: float, name_width: int, width: int) -> str:
    """One domain: "shop.test  waits 8.2 s: robots Crawl-delay 10 s"."""
    wait = domain.wait - since
    if wait >= 1 and not domain.in_flight:
        does = f"waits {text.duration(wait)}: {domain.reason}"
    else:
        does = f"{text.count(domain.pages, 'page')} ({domain.reason})"
    return text.cut_columns(f"  {text.cut(domain.name, name_width).ljust(name_width)}  {does}", width)
