"""Options that several commands share, and the commands with these options that are suggested."""

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from scraper.cli.failures import Caller
from scraper.errors import UsageError
from scraper.model.frozen import frozen

Function = TypeVar("Function", bound=Callable[..., Any])


@frozen
class DataLocation:
    """Where a project keeps its data."""

    data: Path = Path("data")
    store: str | None = None


def data_options(function: Function) -> Function:
    """`--data` and `--store`."""
    function = click.option(
        "--store",
        metavar="URL",
        help="The database, where it is not DIR/scraper.db: sqlite:///FILE or postgresql://USER@HOST/NAME.",
    )(function)
    return click.option(
        "--data",
        metavar="DIR",
        default="data",
        show_default=True,
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of database, records and runs.",
    )(function)


RUN_FLAGS = {
    "output": "-o",
    "with_meta": "--with-meta",
    "sets": "--set",
    "params": "--param",
    "max_pages": "--max-pages",
    "max_time": "--max-time",
    "workers": "--workers",
    "archive": "--archive",
}
"""What `run_options` takes, by the names of the parameters."""


def run_options(function: Function) -> Function:
    """What a run is told, by hand or in a line for cron."""
    for option in reversed(
        [
            click.option(
                "-o",
                "--output",
                metavar="FILE",
                multiple=True,
                help="Write the records there too: .jsonl .jsonl.gz .json .csv .parquet .sqlite, "
                "postgresql://..., - (standard output).",
            ),
            click.option(
                "--with-meta",
                is_flag=True,
                help="Give records in -o their _url, _fetched_at and _run.",
            ),
            click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="A setting. Repeatable."),
            click.option(
                "--param",
                "params",
                metavar="NAME=VALUE",
                multiple=True,
                help="A value for the spider's self.params: @FILE, @env:NAME, or - to be asked.",
            ),
            click.option("--max-pages", metavar="N", help="Stop after N pages; the next run continues."),
            click.option(
                "--max-time",
                metavar="TIME",
                help="Stop after a time such as 50m or 1h30m, in the same way; a bare number is seconds.",
            ),
            click.option(
                "--workers",
                metavar="N",
                type=click.IntRange(1),
                default=1,
                help="Processes that share the work.",
            ),
            click.option("--archive", is_flag=True, help="Keep the pages too (WARC)."),
        ]
    ):
        function = option(function)
    return function


def read_overrides(
    sets: Sequence[str],
    *,
    max_pages: str | None,
    max_time: str | None,
    store: str | None,
    archive: bool,
) -> tuple[str, ...]:
    """What the command line changes in the settings, as `NAME=VALUE`."""
    given = {"max_pages": max_pages, "max_time": max_time, "store": store}
    overrides = [*sets, *(f"{name}={value}" for name, value in given.items() if value is not None)]
    return (*overrides, "archive=true") if archive else tuple(overrides)


def parse_workers_option(function: Function) -> Function:
    """`--workers` where pages are only parsed."""
    option = click.option(
        "--workers",
        metavar="N",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Processes that parse, for more cores.",
    )
    return option(function)


def ray_option(function: Function) -> Function:
    """`--ray`."""
    option = click.option(
        "--ray",
        metavar="ADDRESS",
        default="",
        help="Place the workers on the hosts of a Ray cluster (host:port).",
    )
    return option(function)


def json_option(help: str) -> Callable[[Function], Function]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help=help)


def read_params(given: Sequence[str]) -> dict[str, str]:
    """`NAME=VALUE` options as a table.

    A password on a command line stands in the process list and in the shell's history; so VALUE may be @FILE,
    @env:NAME, or - (asked for, or a line of standard input). @@ begins a value with @.
    """
    params: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals or not name.strip():
            raise click.UsageError(f"--param {one!r}: expected NAME=VALUE", click.get_current_context())
        params[name.strip()] = _meant(name.strip(), value)
    return params


def hidden_params(given: Sequence[str]) -> tuple[str, ...]:
    """The names of those that did not stand on the command line."""
    pairs = (one.partition("=") for one in given)
    return tuple(
        name.strip()
        for name, _, value in pairs
        if value == "-" or (value.startswith("@") and not value.startswith("@@"))
    )


def _meant(name: str, value: str) -> str:
    if value == "-":
        return _asked(name)
    if value.startswith("@@"):
        return value[1:]
    if value.startswith("@env:"):
        if (found := os.environ.get(value[5:])) is None:
            raise UsageError(f"--param {name}: there is no variable {value[5:]}", "export it first")
        return found
    if value.startswith("@"):
        try:
            return Path(value[1:]).read_text("utf-8-sig").removesuffix("\n").removesuffix("\r")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise UsageError(
                f"--param {name}: cannot read {value[1:]}: {why}", "@@ begins a value with @"
            ) from None
    return value


def _asked(name: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True, err=True))
    line = sys.stdin.readline()
    if not line:
        raise UsageError(f"--param {name}=-: standard input is empty", "type it at the prompt, or pipe it in")
    return line.removesuffix("\n").removesuffix("\r")


def caller() -> Caller:
    """How we were called."""
    found: Caller = click.get_current_context().find_root().obj
    return found


def command_line(*words: str, data: Path = Path("data"), options: Mapping[str, str] | None = None) -> str:
    """A command as a person can type it here and now."""
    at = [] if data == Path("data") else ["--data", str(data)]
    more = [word for name, value in (options or {}).items() for word in (name, value)]
    return f"{caller().program} {shlex.join([*words, *at, *more])}"
