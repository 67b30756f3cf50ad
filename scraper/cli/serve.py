"""`serve`: the service."""

import importlib.util
import os
import stat
import sys
from pathlib import Path

import click

from scraper.cli.fetch_page import sets_option, settings_for
from scraper.cli.options import data_options
from scraper.errors import UsageError


@click.command("serve")
@click.option("--host", metavar="ADDRESS", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--port",
    metavar="N",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="0: any free one.",
)
@click.option("--allow-host", "names", metavar="NAME", multiple=True, help="A name of this host. Repeatable.")
@click.option("--mcp", is_flag=True, help="Serve assistants too (MCP): /mcp, or standard input and output.")
@click.option("--require-token", is_flag=True, help="Ask for a token on loopback too.")
@data_options
@sets_option
def serve_command(
    host: str,
    port: int,
    names: tuple[str, ...],
    mcp: bool,
    require_token: bool,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
) -> int:
    """Serve the project over HTTP: a dashboard, spiders, runs, records, polite fetches.

    On loopback everybody on this machine has access; any other address needs a token (see `token`). A run
    that is started here is a process of its own: it continues when the service ends.

    With --mcp assistants find read-only tools at /mcp. A client that starts the command itself, with a pipe
    as its standard input and without --host and --port, uses that pipe instead.

    \b
    python -m scraper serve
    python -m scraper serve --mcp
    python -m scraper token add phone --scope read
    python -m scraper serve --host 192.0.2.7 --allow-host scraper.example
    """
    _check_packages(mcp)
    # Imported here: an extra, which no other command needs.
    from scraper.service.start import ServiceOptions, run, speak

    settings = settings_for(sets, store)
    options = ServiceOptions(
        Path.cwd(),
        data.absolute(),
        settings,
        store=store,
        host=host,
        port=port,
        names=names,
        needs_token=require_token,
        has_mcp=mcp,
    )
    if mcp and _is_started_by_client():
        return speak(options)
    return run(options, lambda line: click.echo(line, err=True))


def _check_packages(has_mcp: bool) -> None:
    wanted = {"starlette": "service", "uvicorn": "service", "jinja2": "service", "markdownify": "service"}
    for name, extra in (wanted | ({"mcp": "mcp"} if has_mcp else {})).items():
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"serve needs {name}", f"pip install 'scraper[{extra}]'")


def _is_started_by_client() -> bool:
    """Whether an MCP client has started us: it speaks through a pipe, and says nothing of an address."""
    context = click.get_current_context()
    typed = click.core.ParameterSource.DEFAULT
    if any(context.get_parameter_source(name) is not typed for name in ("host", "port")):
        return False
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
