"""One page rendered outside a run, and the JSON that its scripts request."""

from scraper.app.one_url.fetch_one import SingleUrlFetcher
from scraper.browser import chromium
from scraper.browser.browser import Browser, BrowserOptions
from scraper.engine.page_loads import is_page
from scraper.engine.reactions import Reactions
from scraper.engine.rendering import Rendering, RenderOptions
from scraper.model import Loaded, Render, Request, Response
from scraper.model.frozen import frozen
from scraper.parsing.outline import outline
from scraper.parsing.page import Page
from scraper.parsing.shells import shell_of
from scraper.settings import Settings
from scraper.urls import domain_of


@frozen
class JsonAnswer:
    """A JSON answer: what was asked, its size, and the longest list of objects in it, as code and in figures.

    `count` 0: it has no such list.
    """

    method: str
    url: str
    size: int
    code: str = ""
    count: int = 0
    names: tuple[str, ...] = ()


def check_browser(settings: Settings) -> None:
    """Raise UsageError for what is missing, before anything is fetched."""
    chromium.check(settings.browser)


def render(probe: SingleUrlFetcher, response: Response, settings: Settings) -> Page:
    """The page of an answer, rendered as in a run; FetchError where nothing comes of it."""
    kinds, domains = frozenset(settings.render_load), settings.render_domains
    options = RenderOptions(
        "always",
        kinds,
        None if domains is None else frozenset(domains),
        frozenset({domain_of(response.url)}),
    )
    browser = Browser(BrowserOptions(chromium.check(settings.browser), memory=settings.render_memory))
    rendering = Rendering(browser, Reactions(probe.clock, 1), options)
    try:
        return rendering.page(probe.session_for_loads(response.url), response, Render())
    finally:
        rendering.close()


def json_behind(probe: SingleUrlFetcher, response: Response, settings: Settings) -> Response | None:
    """What the scripts of a page that is a shell ask for, the largest list of it; None where there is none.

    UsageError without a browser, FetchError where the page fails.
    """
    if not is_page(response) or not shell_of(Page(Request(response.url), response)):
        return None
    check_browser(settings)
    page = render(probe, response, settings)
    urls = [one.url for one in json_answers(page) if one.count and one.method == "GET"]
    found = next((one for one in page.responses if urls and one.url == urls[0]), None)
    if found is None:
        return None
    return Response(found.url, found.status, found.headers, found.content, response.fetched_at)


def json_answers(page: Page) -> list[JsonAnswer]:
    """The JSON answers to a page's scripts, the largest first."""
    found = [_answer(one) for one in page.responses if "json" in one.type and one.status == 200]
    return sorted(filter(None, found), key=lambda one: -one.size)


def _answer(loaded: Loaded) -> JsonAnswer | None:
    page = Page(Request(loaded.url), Response(loaded.url, loaded.status, loaded.headers, loaded.content))
    try:
        content = page.json()
    except (ValueError, RecursionError):
        return None
    items = outline(page).items
    plain = JsonAnswer(loaded.method, loaded.url, len(loaded.content))
    if items is None:
        return plain
    for name in items.path:
        content = content[name]
    code = "page.json()" + "".join(f"[{name!r}]" for name in items.path)
    return JsonAnswer(plain.method, plain.url, plain.size, code, len(content), items.names)
