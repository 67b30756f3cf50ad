"""`fetch` and `explain`: one URL."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import click

from scraper.app.admin.new_spider import check_url
from scraper.app.one_url.explain import ExplainContext, answer_to, explain
from scraper.app.one_url.fetch_one import SingleUrlFetcher, probing
from scraper.app.one_url.step import Step
from scraper.app.options import open_store, parse_code
from scraper.app.project import existing_store
from scraper.app.session_opener import reach_of
from scraper.cli import failures, text
from scraper.cli.fetch_page import sets_option, settings_for, tell_wait
from scraper.cli.options import caller, data_options, json_option, read_params
from scraper.errors import FetchError, UsageError
from scraper.model import Headers, Request, Response
from scraper.ops.printable import json_text, printable
from scraper.parsing.encoding import decode, encoding_of
from scraper.parsing.page import Page
from scraper.settings import Settings
from scraper.spider import discovery
from scraper.spider.identity import ParseInputs
from scraper.spider.links import seeds
from scraper.spider.rules import found_domains, rules_of, starting_from
from scraper.store import Store

SHOWN = 1500  # characters of a body
_TEXTS = ("text/", "application/json", "application/xml", "application/javascript")


@click.command("fetch")
@click.argument("url")
@data_options
@sets_option
@click.option("--body", is_flag=True, help="Print the body alone, byte by byte.")
@click.option("--css", metavar="QUERY", help="Print what a CSS query finds, a line each.")
@click.option(
    "--render",
    is_flag=True,
    help="Have a browser render the page, and list the JSON that its scripts asked for.",
)
def fetch_command(
    url: str, data: Path, store: str | None, sets: tuple[str, ...], body: bool, css: str | None, render: bool
) -> int:
    """Send one polite request: status, headers and body.

    It goes through the same gates as a run: the domain's clock, robots.txt first, redirects hop by hop.
    Exit codes: 0 fetched, 1 not (or --css finds nothing), 75 the domain rests or is busy, 2 the URL is wrong.

    \b
    python -m scraper fetch https://example.org/
    python -m scraper fetch https://example.org/ --body > page.html
    python -m scraper fetch https://example.org/ --css "h1::text"
    python -m scraper fetch https://example.org/ --render
    """
    address = check_url(url)
    settings = settings_for(sets, store)
    check_query(css)
    if render:
        _check_browser(settings)
    with closing(open_store(data, settings.store)) as found, probing(found, settings, tell_wait) as probe:
        caller().has_fetched = True
        step = None
        for step in probe.fetch(address):
            _tell_step(step)
        page = _page_of(step, address)
        if page is not None and step is not None and step.is_ok and render:
            page = _rendered(probe, page.response, settings)
    if page is None:
        return failures.LATER if step is not None and step.is_later else failures.UNHEALTHY
    is_ok = step is not None and step.is_ok
    if css is not None and is_ok:
        return _tell_found(page, css)
    _tell_page(page, css, is_body=body)
    return failures.OK if is_ok else failures.UNHEALTHY


def _page_of(step: Step | None, address: str) -> Page | None:
    return Page(Request(address), step.response) if step is not None and step.response is not None else None


def _tell_page(page: Page, css: str | None, *, is_body: bool) -> None:
    """Print what came; `css`: what was to be looked for on an error page."""
    if css is not None:
        return tell_wait(f"{page.url}: status {page.status}: nothing was looked for")
    if is_body:
        sys.stdout.buffer.write(page.content)
        return None
    for line in _shown(page.response):
        click.echo(line)
    for line in _json_shown(page) if page.response.rendered else ():
        click.echo(line)
    return None


def _check_browser(settings: Settings) -> None:
    # Imported on first use, here and below, as few pages are rendered by hand.
    from scraper.app.one_url.render_one import check_browser

    check_browser(settings)


def _rendered(probe: SingleUrlFetcher, response: Response, settings: Settings) -> Page | None:
    from scraper.app.one_url.render_one import render

    try:
        return render(probe, response, settings)
    except FetchError as error:
        tell_wait(f"not rendered: {response.url}: {error.message}")
        return None


def _json_shown(page: Page) -> Iterator[str]:
    """The JSON answers that scripts asked for, the largest first, and what a spider writes to get at them."""
    from scraper.app.one_url.render_one import json_answers

    answers = json_answers(page)
    yield ""
    yield (
        "its scripts asked for this JSON; a spider can ask for it directly, without a browser:"
        if answers
        else "its scripts asked for no JSON"
    )
    for one in answers:
        yield printable(f"  {one.method} {one.url}  ({text.size(one.size)})")
        if one.count:
            yield printable(f"      {one.count} x {one.code}: {', '.join(one.names[:12])}")


def check_query(query: str | None) -> None:
    """UsageError where a text is no CSS query; asked before anything is fetched."""
    if query is not None:
        _select(Page(Request(""), Response("", 200, Headers(), b"")), query)


def _select(page: Page, query: str) -> list[str]:
    try:
        found: list[str] = page.css(query).getall()
    except (ValueError, SyntaxError, RuntimeError) as error:  # parsel's and cssselect's
        raise UsageError(
            f"{query!r:.200} is no CSS query: {error}", 'write it as in "li.book a::text"'
        ) from None
    return found


def _tell_found(page: Page, query: str) -> int:
    """Print each match in a line, its layout space aside."""
    found = _select(page, query)
    for text_found in found:
        click.echo(printable(" ".join(text_found.split())))
    if not found:
        tell_wait(f"{query} matched nothing on {page.url}")
    return failures.OK if found else failures.UNHEALTHY


def _tell_step(step: Step) -> None:
    if step.refusal:
        later = "; try again later" if step.is_later else ""
        tell_wait(f"not fetched: {step.url}: {step.refusal}{later}")
    elif step.error:
        tell_wait(f"failed: {step.url}: {step.error}")
    elif step.response is not None and step.next_url:
        tell_wait(f"{step.response.status} {step.url} leads to {step.next_url}")


def _shown(response: Response) -> Iterator[str]:
    size, took = text.size(len(response.content)), text.duration(response.elapsed)
    yield printable(f"{response.status} {response.url}  ({size}, first byte after {took})")
    for name, value in response.headers.items_all():
        yield printable(f"{name}: {value}")
    kind = response.headers.get("content-type", "").lower()
    if not response.content:
        return
    yield ""
    if kind and not kind.startswith(_TEXTS) and "+xml" not in kind and "+json" not in kind:
        yield f"({size} of {printable(kind)}; --body writes them out)"
        return
    body = decode(response.content, encoding_of(response.content, kind or None))
    yield from (printable(line) for line in body[:SHOWN].splitlines())
    if len(body) > SHOWN:
        yield f"... {len(body) - SHOWN:,} characters more; --body prints all"


@click.command("explain")
@click.argument("url")
@click.option("--spider", metavar="S", help="Ask as this spider would.")
@data_options
@sets_option
@click.option(
    "--param", "params", metavar="NAME=VALUE", multiple=True, help="A value for the spider's params."
)
@click.option("--fetch-robots", is_flag=True, help="Ask for robots.txt where it is not known.")
@json_option("One JSON object with the checks and the answer.")
def explain_command(
    url: str,
    spider: str | None,
    data: Path,
    store: str | None,
    sets: tuple[str, ...],
    params: tuple[str, ...],
    fetch_robots: bool,
    as_json: bool,
) -> None:
    """Tell whether a URL would be fetched, and if not, why.

    Every check in its order: scope, address, robots.txt (rule and line), seen, delay and who set it, next
    moment.
    No request is sent, but for robots.txt with --fetch-robots.

    \b
    python -m scraper explain https://example.org/private/ --spider shop
    """
    address = check_url(url)
    asker = _asker(spider, sets, store, params)
    if fetch_robots:
        with closing(open_store(data, asker.settings.store)) as found:
            _learn_robots(found, address, asker.settings)
    looked = existing_store(data, store)
    try:
        checks = list(explain(address, asker, looked))
    finally:
        if looked is not None:
            looked.close()
    if as_json:
        click.echo(
            json_text(
                {"url": address, "answer": answer_to(checks), "checks": [asdict(one) for one in checks]}
            )
        )
        return
    for check in checks:
        mark = {True: "yes ", False: text.colour("no  ", "red"), None: "-   "}[check.is_open]
        click.echo(f"{check.name:<7} {mark} {printable(check.told)}")
    click.echo(answer_to(checks))


def _asker(
    spider: str | None, sets: tuple[str, ...], store: str | None, params: tuple[str, ...]
) -> ExplainContext:
    if spider is None:
        return ExplainContext(settings_for(sets, store))
    loaded = discovery.find(spider)
    made = loaded.spider()
    made.params = read_params(params)
    settings = settings_for(sets, store, dict(loaded.spider.settings))
    rules = rules_of(made, allowed_domains=settings.allowed_domains, max_depth=settings.max_depth)
    rules = starting_from(rules, seeds(made, rules))
    inputs = ParseInputs(parse_code(loaded.code.hash, made.params, settings))
    code = inputs.within(found_domains(made, rules, settings.allowed_domains)).code
    return ExplainContext(settings, loaded.name, rules, code, reach_of(settings, made, rules))


def _learn_robots(store: Store, url: str, settings: Settings) -> None:
    with probing(store, settings, tell_wait) as probe:
        caller().has_fetched = True
        found = probe.robots_rules(url)
    if isinstance(found, Step):
        _tell_step(found)
