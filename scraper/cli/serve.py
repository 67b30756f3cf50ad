"""`serve`: the service."""

import importlib.util
from pathlib import Path

import click

from scraper.cli.getting import sets_option, settings_for
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
@click.option("--require-token", is_flag=True, help="Ask for a token on loopback too.")
@data_options
@sets_option
def serve_command(
    host: str,
    port: int,
    names: tuple[str, ...],
    require_token: bool,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
) -> int:
    """Serve the project over HTTP: a dashboard, spiders, runs, records, polite fetches.

    On loopback everybody on this machine may; any other address asks for a token (see `token`). A run that
    is begun here is a process of its own: it goes on when the service ends.

    \b
    python -m scraper serve
    python -m scraper token add phone --scope read
    python -m scraper serve --host 192.0.2.7 --port 8080 --allow-host scraper.example
    """
    for name in ("starlette", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            raise UsageError(f"serve needs {name}", "pip install 'scraper[service]'")
    # Imported here: an extra, which no other command needs.
    from scraper.service.start import ServiceOptions, run

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
    )
    return run(options, lambda line: click.echo(line, err=True))
