"""`work`: join a run that another process leads."""

import sys
from pathlib import Path

import click

from scraper.app.options import Options
from scraper.app.project import store_url
from scraper.app.running.helper import Helper, HelperOptions
from scraper.cli.failures import LATER
from scraper.cli.options import caller, data_options, hidden_params, read_overrides, read_params
from scraper.errors import UsageError
from scraper.ops.deployment import deployment, unit
from scraper.spider import discovery


@click.command("work")
@click.argument("spider", required=False)
@data_options
@click.option("--set", "sets", metavar="NAME=VALUE", multiple=True, help="A setting. Repeatable.")
@click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A secret that the run was given."
)
@click.option("--archive", is_flag=True, help="Keep the pages too (WARC).")
@click.option("--stay", is_flag=True, help="Wait for the next run instead of leaving.")
@click.option("--systemd", is_flag=True, help="Print a template unit that keeps workers running.")
@click.option("--kubernetes", is_flag=True, help="Print a Deployment that does.")
def work_command(
    spider: str | None,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    archive: bool,
    stay: bool,
    systemd: bool,
    kubernetes: bool,
) -> int:
    """Help a run that is under way, here or on another host of the same store.

    SPIDER: whose runs; all where none is named. The run itself is begun by `run`.

    \b
    python -m scraper work --store postgresql://scraper@db.example/news
    python -m scraper work shop --stay
    python -m scraper work --systemd > /etc/systemd/system/scraper-worker@.service
    """
    if systemd or kubernetes:
        words = [*([spider] if spider else []), "--stay"]
        click.echo(_printed(words, spider, systemd), nl=False)
        return 0
    url = store_url(store)
    name = discovery.find(spider).name if spider else None
    options = Options(
        spider or "",
        data=data,
        overrides=read_overrides(sets, max_pages=None, max_time=None, store=store, archive=archive),
        params=read_params(params),
        hidden=hidden_params(params),
        program=caller().program,
    )
    caller().redaction.add(options.params[one] for one in options.hidden)
    helper = Helper(HelperOptions(options, url, name, stay), lambda line: click.echo(line, err=True))
    helped = helper.run()
    if helper.signal:
        return 128 + helper.signal
    if not helped:
        what = f"no run of {name}" if name else "no run"
        click.echo(f"{what} is under way: begin one with `run`, or add --stay to wait for it", err=True)
        return LATER
    return 0


def _printed(words: list[str], spider: str | None, is_systemd: bool) -> str:
    if not is_systemd:
        return deployment(words, spider)
    folder = Path.cwd()
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder")
    return unit(Path(sys.executable), folder, words)
