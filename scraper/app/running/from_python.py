"""`scraper.run`: a run for a notebook, a task of a scheduler or a test; exceptions instead of exit codes."""

import json
import signal
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scraper.app.options import Options, open_store, prepare
from scraper.app.running.outputs import lines_of
from scraper.app.running.start_run import run as run_prepared
from scraper.errors import Unhealthy, UsageError
from scraper.model import Verdict
from scraper.runs.events import Listener
from scraper.spider import Spider, discovery
from scraper.spider.discovery import LoadedSpider

# Python 3.11.7 raises SystemError in ast.parse ("recursion depth mismatch") where two threads parse at once.
_loading = threading.Lock()


@dataclass(frozen=True)
class RunResult:
    """What a run came to. `summary` is run.json; `folder` has the run's files."""

    summary: Mapping[str, Any]
    folder: Path

    @property
    def verdict(self) -> Verdict:
        """The judgement on the run; a text too: `result.verdict == "OK"`."""
        return Verdict(self.summary["verdict"])

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The run's records in the order in which they were committed, read from its records.jsonl."""
        return [json.loads(line) for line in lines_of(self.folder / "records.jsonl")]

    def to_pandas(self) -> Any:
        """The records as a pandas.DataFrame; UsageError where pandas is not installed."""
        # Imported here: most callers have no use for it, and it is no dependency of ours.
        try:
            import pandas
        except ModuleNotFoundError:
            raise UsageError("to_pandas() needs pandas", "pip install pandas") from None
        return pandas.DataFrame(self.records)


def run(
    spider: type[Spider] | str,
    *,
    params: Mapping[str, str] | None = None,
    max_pages: int | None = None,
    max_time: float | str | None = None,
    settings: Mapping[str, Any] | None = None,
    data: Path | str = "data",
    store: str | None = None,
    outputs: Sequence[Path | str] = (),
    fresh: bool = False,
    check: bool = True,
    listeners: Sequence[Listener] = (),
) -> RunResult:
    """Run a spider, or go on with a run of it that did not end, as `python -m scraper run` does.

    `spider` is a class, or what the command takes. `max_time`: seconds, or a text such as "50m". `settings`
    go over the spider's own. Without `check` a run that needs a person is returned like any other.

    Raises UsageError (and SpiderError, SettingsError) before anything is touched, StoreBusy while the spider
    is running elsewhere, StoreError, and Unhealthy where the exit code would be 1, 75 or 77: its `result` has
    the verdict. In the main thread SIGINT, SIGTERM and SIGHUP stop the run and save its state; then they go
    to whoever heard them before, so that Ctrl-C is a KeyboardInterrupt. Any thread may call it.
    """
    limits = {"max_pages": max_pages, "max_time": max_time, "store": store}
    with _loading:
        loaded = discovery.find(spider) if isinstance(spider, str) else discovery.of_class(spider)
    options = Options(
        _named(loaded, spider),
        data=Path(data),
        outputs=tuple(map(str, outputs)),
        overrides=tuple(f"{name}={value}" for name, value in limits.items() if value is not None),
        params={name: str(value) for name, value in (params or {}).items()},
        fresh=fresh,
        is_embedded=True,
    )
    prepared = prepare(options, loaded, settings)
    opened = open_store(options.data, prepared.settings.store, is_shared=prepared.settings.share)
    with closing(opened):
        summary = run_prepared(prepared, opened, listeners)
    result = RunResult(summary, options.data / summary["spider"] / "runs" / summary["run_id"])
    _pass_on(summary["exit_code"])
    if check and summary["exit_code"]:
        raise _unhealthy(result)
    return result


def _unhealthy(result: RunResult) -> Unhealthy:
    summary = result.summary
    reasons = "; ".join(summary["reasons"]) or "no reason is known"
    return Unhealthy(f"{summary['spider']}, run {summary['run_id']}: {result.verdict}: {reasons}", result)


def _named(loaded: LoadedSpider, given: type[Spider] | str) -> str:
    """The spider as the command line would name it."""
    if isinstance(given, str):
        return given
    return str(loaded.path) if loaded.path.is_file() else loaded.name


def _pass_on(code: int) -> None:
    """Give the signal that stopped a run to whoever heard it before the run did."""
    if code > 128 and threading.current_thread() is threading.main_thread():
        signal.raise_signal(code - 128)
