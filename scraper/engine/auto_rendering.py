"""The setting `render = "auto"`: which pages are shells, by what they look like and by what came of them."""

import re
from urllib.parse import urlsplit

from scraper.model import Failed, Fetched, Retry, Visit
from scraper.ops.patterns import pattern
from scraper.parsing.page import Page
from scraper.parsing.shells import has_scripts, shell_of
from scraper.spider import Spider

BARREN = "nothing in it without its scripts"
LIKE_OTHERS = "others like it need their scripts"
MOST_SHAPES = 10_000
MOST_VAIN = 3  # renderings of a shape that brought nothing either
_NUMBER = pattern(r"[0-9]+")


class AutoRendering:
    """Decides for each page, and remembers by the shape of its URL what came of it."""

    def __init__(self, spider: Spider) -> None:
        self._spider = spider
        self._is_own = type(spider).needs_render is not Spider.needs_render
        self._needs: set[tuple[str, str]] = set()
        self._vain: dict[tuple[str, str], int] = {}

    def reason(self, page: Page) -> str:
        """Why a page is rendered before it is parsed; empty where it is not."""
        if shape_of(page) in self._needs:
            return LIKE_OTHERS
        try:
            if not self._spider.needs_render(page):
                return ""
        except Exception:
            return ""  # its callback meets the same page, and says what is wrong
        return "needs_render()" if self._is_own else shell_of(page)

    def second_thought(self, visit: Visit, page: Page) -> str:
        """Why a page is rendered though it was parsed: nothing came of it."""
        is_vain = self._vain.get(shape_of(page), 0) >= MOST_VAIN
        return BARREN if not is_vain and is_barren(visit) and has_scripts(page) else ""

    def learn(self, page: Page, reason: str, visit: Visit) -> None:
        """Remember what a rendering brought."""
        shape = shape_of(page)
        if len(self._needs) + len(self._vain) > MOST_SHAPES:
            return
        if reason == BARREN and is_barren(visit):
            self._vain[shape] = self._vain.get(shape, 0) + 1
        elif isinstance(visit.outcome, Fetched) and not is_barren(visit):
            self._needs.add(shape)


def is_barren(visit: Visit) -> bool:
    """Whether a parse brought nothing, or less than the page's last version."""
    outcome = visit.outcome
    if isinstance(outcome, Fetched):
        return not (outcome.records or outcome.links or visit.rejected or outcome.dropped)
    if isinstance(outcome, Failed):
        return outcome.is_parse
    return isinstance(outcome, Retry) and outcome.reason == "brings nothing where it did"


def shape_of(page: Page) -> tuple[str, str]:
    """What URLs of the same kind of page share: callback, host, and the path with what changes left out."""
    parts = urlsplit(page.url)
    segments = parts.path.split("/")
    last = segments[-1] if len(segments) < 3 and not _NUMBER.search(segments[-1]) else "*"
    path = "/".join([*(_NUMBER.sub("0", one) for one in segments[:-1]), last])
    return f"{page.request.callback} {parts.netloc}", re.sub("/+", "/", path)
