"""The setting `render = "auto"`: which pages are shells, by what they look like and by what came of them."""

import json
import re
from typing import Protocol
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
_NEEDS, _VAIN = "needs", "vain"
_EMPTY: tuple[object, ...] = (None, "", [], {})
_NUMBER = pattern(r"[0-9]+")


Shape = tuple[str, str]


class ShapeMemory(Protocol):
    """Where the shapes of a spider's URLs are kept between its runs, as text; empty: nothing is."""

    def read(self) -> str:
        """What was written last."""
        ...

    def write(self, text: str) -> None:
        """Keep a text instead."""
        ...


class AutoRendering:
    """Decides for each page, and remembers by the shape of its URL what came of it.

    What earlier runs have learned is looked at again, see `is_to_check` and `learn`: nothing that is no
    longer so costs more than one rendering a run.
    """

    def __init__(self, spider: Spider, memory: ShapeMemory | None = None) -> None:
        self._spider = spider
        self._is_own = type(spider).needs_render is not Spider.needs_render
        self._memory = memory
        needs, vain = _shapes_in(memory.read() if memory is not None else "")
        self._needs = needs
        self._to_check = set(needs)
        self._vain = dict.fromkeys(vain, MOST_VAIN - 1)  # one more try a run
        self._changes: dict[Shape, str] = {}

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

    def is_to_check(self, page: Page) -> bool:
        """Whether a page is the first of a shape that an earlier run remembered: it is parsed both ways."""
        shape = shape_of(page)
        is_first = shape in self._to_check
        self._to_check.discard(shape)
        return is_first

    def second_thought(self, visit: Visit, page: Page) -> str:
        """Why a page is rendered though it was parsed: nothing came of it."""
        is_vain = self._vain.get(shape_of(page), 0) >= MOST_VAIN
        return BARREN if not is_vain and is_barren(visit) and has_scripts(page) else ""

    def learn(self, page: Page, reason: str, visit: Visit, plain: Visit | None = None) -> None:
        """Remember what a rendering brought. `plain`: what a page that was checked brings without it."""
        shape = shape_of(page)
        if plain is not None and brings_all(plain, visit):
            self._needs.discard(shape)
            self._changes[shape] = ""
        elif len(self._needs) + len(self._vain) > MOST_SHAPES:
            return
        elif reason == BARREN and is_barren(visit):
            self._vain[shape] = self._vain.get(shape, 0) + 1
            self._changes[shape] = _VAIN if self._vain[shape] >= MOST_VAIN else self._changes.get(shape, "")
        elif isinstance(visit.outcome, Fetched) and not is_barren(visit):
            self._vain.pop(shape, None)
            self._needs.add(shape)
            self._changes[shape] = _NEEDS

    def save(self) -> None:
        """Keep what this run has learned for the next one, beside what others have meanwhile."""
        if self._memory is None or not self._changes:
            return
        needs, vain = _shapes_in(self._memory.read())
        kept = dict.fromkeys(needs, _NEEDS) | dict.fromkeys(vain, _VAIN) | self._changes
        by_kind = {kind: [shape for shape, its in kept.items() if its == kind] for kind in (_NEEDS, _VAIN)}
        self._memory.write(json.dumps({kind: by_kind[kind][-MOST_SHAPES:] for kind in by_kind}))


def _shapes_in(text: str) -> tuple[set[Shape], set[Shape]]:
    """The shapes that need rendering and those that it brings nothing to; none where this cannot be read."""
    try:
        kept = json.loads(text) if text else {}
        found = [{(str(of), str(path)) for of, path in kept.get(kind, ())} for kind in (_NEEDS, _VAIN)]
    except (ValueError, TypeError, AttributeError):
        return set(), set()
    return found[0], found[1]


def brings_all(plain: Visit, rendered: Visit) -> bool:
    """Whether a page brings without its scripts what it brings with them.

    That is: every record by its key, with the fields filled that are filled there, and every link.
    """
    one, other = plain.outcome, rendered.outcome
    if not (isinstance(one, Fetched) and isinstance(other, Fetched)) or is_barren(plain):
        return False
    there = {record.key: _filled(record.line) for record in one.records}
    has_records = all(_filled(record.line) <= there.get(record.key, frozenset()) for record in other.records)
    return has_records and {link.fp for link in other.links} <= {link.fp for link in one.links}


def _filled(line: str) -> frozenset[str]:
    return frozenset({"", *(name for name, value in json.loads(line).items() if value not in _EMPTY)})


def is_barren(visit: Visit) -> bool:
    """Whether a parse brought nothing, or less than the page's last version."""
    outcome = visit.outcome
    if isinstance(outcome, Fetched):
        return not (outcome.records or outcome.links or visit.rejected or outcome.dropped)
    if isinstance(outcome, Failed):
        return outcome.is_parse
    return isinstance(outcome, Retry) and outcome.reason == "brings nothing where it did"


def shape_of(page: Page) -> Shape:
    """What URLs of the same kind of page share: callback, host, and the path with what changes left out."""
    parts = urlsplit(page.url)
    segments = parts.path.split("/")
    last = segments[-1] if len(segments) < 3 and not _NUMBER.search(segments[-1]) else "*"
    path = "/".join([*(_NUMBER.sub("0", one) for one in segments[:-1]), last])
    return f"{page.request.callback} {parts.netloc}", re.sub("/+", "/", path)
