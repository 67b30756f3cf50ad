"""`token`: who may use the service."""

from contextlib import closing
from pathlib import Path

import click

from scraper.app.admin import tokens
from scraper.app.options import open_store
from scraper.app.project import store_url
from scraper.cli import text
from scraper.cli.options import data_options, json_option
from scraper.errors import UsageError
from scraper.ops.clock import SystemClock
from scraper.ops.printable import json_text, printable
from scraper.urls import domain_of


@click.command("token")
@click.argument("action", type=click.Choice(["add", "list", "revoke"]))
@click.argument("name", required=False)
@data_options
@click.option("--scope", "scopes", multiple=True, type=click.Choice(tokens.SCOPES), help="Repeatable; read.")
@click.option(
    "--domain", "domains", metavar="NAME", multiple=True, help="Fetch this domain alone. Repeatable."
)
@click.option("--quota", metavar="N", type=click.IntRange(1), help="Fetches a day (UTC).")
@json_option("One JSON object a token.")
def token_command(
    action: str,
    name: str | None,
    data: Path,
    store: str | None,
    scopes: tuple[str, ...],
    domains: tuple[str, ...],
    quota: int | None,
    as_json: bool,
) -> None:
    """Who may use the service: `add NAME` prints a token once, `list`, `revoke NAME`.

    The store keeps a hash. Scopes: read (spiders, runs, records), run (start, stop, accept), fetch.

    \b
    python -m scraper token add laptop --scope read --scope run
    python -m scraper token add news --scope fetch --domain example.org --quota 9
    python -m scraper token revoke laptop
    """
    if action != "list" and not name:
        raise UsageError(f"token {action} needs a name", f"as in: token {action} laptop")
    with closing(open_store(data, store_url(store))) as found:
        if action == "add":
            known = [domain_of(f"http://{one}/") for one in domains]
            wall = SystemClock(0.0).wall()
            token, secret = tokens.add(found, name or "", scopes or ("read",), known, quota, wall)
            click.echo(f"{token.label} may {_allowed(token)}; keep it now, it is shown only once:", err=True)
            click.echo(secret)
        elif action == "revoke":
            click.echo(f"revoked: {printable(tokens.revoke(found, name or '').label)}")
        else:
            _tell(tokens.listed(found), as_json)


def _tell(known: list[tokens.Token], as_json: bool) -> None:
    if as_json:
        for one in known:
            shown = {"id": one.id, "name": one.label, "scopes": one.scopes, "domains": one.domains}
            click.echo(json_text(shown | {"quota": one.quota, "created_at": one.created_at}))
        return
    if not known:
        click.echo("no tokens: on loopback the service asks for none")
        return
    rows = [(one.label, one.id, text.moment(one.created_at), _allowed(one)) for one in known]
    for line in text.table(("NAME", "ID", "MADE", "MAY"), rows):
        click.echo(line)


def _allowed(token: tokens.Token) -> str:
    told = ", ".join(token.scopes)
    if token.domains:
        told += f"; fetch of {', '.join(token.domains)} alone"
    return told if token.quota is None else f"{told}; {token.quota:,} fetches a day"
