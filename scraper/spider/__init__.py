"""What a person writes: a spider, its callbacks, and what these may give."""

import inspect
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from types import GeneratorType
from typing import Any

from scraper.errors import SpiderError
from scraper.model import SAVE, Request
from scraper.parsing.page import Page
from scraper.runs.records import is_record


class Spider:
    """Yields URLs, and parses pages into records and further URLs. It keeps no state between pages."""

    name: str = ""
    start_urls: Sequence[str] = ()
    allowed_domains: Collection[str] = ()
    key: str | Sequence[str] = ()
    record: Any = None
    settings: Mapping[str, Any] = {}
    health: Mapping[str, Any] = {}
    params: Mapping[str, str] = {}
    handle_statuses: Collection[int] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if not cls.__dict__.get("name"):
            cls.name = cls.__module__.rpartition(".")[2]

    def start(self) -> Iterable[str | Request]:
        """The first URLs or Requests."""
        return self.start_urls

    def parse(self, page: Page) -> Any:
        """Yield records, Requests and URLs from a page."""
        raise SpiderError(f"spider {self.name} has no parse(self, page)")

    def save(self, page: Page) -> Any:
        """The callback of a `File`: a record of the file, with what its request carries in `meta`."""
        return {**page.meta, **page.save(page.meta.get("name"))}

    def failed(self, request: Request, why: str) -> Any:
        """Yield records, Requests and URLs for a request that was given up; `why`: as in "status 500"."""

    def login(self, session: Any) -> None:
        """Log in to a domain with its session (a requests.Session), before its first page."""

    def logged_out(self, page: Page) -> bool:
        """Whether a page shows that the login is gone."""
        return False

    def needs_render(self, page: Page) -> bool:
        """Whether a page is only a shell that scripts fill; asked with the setting `render = "auto"`."""
        from scraper.parsing.shells import shell_of

        return bool(shell_of(page))

    def opened(self) -> None:
        """Called before a run."""

    def closed(self, run: Any) -> None:
        """Called after a run."""


def saves(spider: Spider, name: str) -> bool:
    """Whether the callback of that name wants the body on disk, not in memory."""
    return name == SAVE and type(spider).save is Spider.save


_NO_CALLBACKS = frozenset(name for name in vars(Spider) if name not in ("parse", SAVE))


def callbacks(spider: Spider) -> list[str]:
    """Names of the methods that can parse a page."""
    cls = type(spider)
    # The parse of this class is there to say that there is none.
    lacking = {"parse"} if cls.parse is Spider.parse else set()
    names = (name for name in dir(cls) if not name.startswith("_") and name not in _NO_CALLBACKS | lacking)
    members = ((name, getattr(cls, name)) for name in names)
    return [name for name, member in members if callable(member) and not isinstance(member, type)]


def callback_of(spider: Spider, name: str) -> Callable[[Page], Any]:
    """The method of a spider that a Request names; SpiderError where there is none."""
    known = callbacks(spider)
    if name not in known:
        raise no_callback(name, known)
    method: Callable[[Page], Any] = getattr(spider, name)
    return method


def no_callback(name: str, known: Collection[str]) -> SpiderError:
    """The error of a callback that is not there, with the nearest that is."""
    if name == "parse":
        return SpiderError("the spider has no parse(self, page)", "write it, or name another callback")
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(sorted(known))}"
    return SpiderError(f"the spider has no callback {name!r}", hint)


def each(result: Any, name: str) -> Iterable[Any]:
    """What a callback of that name yielded, or returned at once."""
    if result is None:
        return ()
    if type(result) is GeneratorType:
        return _yielded(result, name)  # as nearly all do, which takes no further look
    if type(result) is list:
        return result
    if isinstance(result, str | Request) or is_record(result):
        return (result,)
    if inspect.isawaitable(result) or hasattr(result, "__aiter__"):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        raise SpiderError(
            f"{name} is async", "write it as a plain def: the engine fetches many pages at once"
        )
    if not isinstance(result, Iterable):
        raise not_to_be_yielded(result, name, "returned")
    return result


def _yielded(generator: Generator[Any, None, Any], name: str) -> Iterator[Any]:
    """What a generator yields; SpiderError where it returns something too, which nobody would ever see."""
    returned = yield from generator
    if returned is not None:
        kind = type(returned).__name__
        raise SpiderError(f"{name} yields and returns {returned!r:.80} ({kind})", "yield it too")


def not_to_be_yielded(thing: object, name: str, did: str = "yielded") -> SpiderError:
    """The error of a thing that is neither record nor request."""
    kind = type(thing).__name__
    if hasattr(thing, "getall"):  # a selector, or a list of them
        hint = 'name its text, as in yield {"title": page.css("h1::text").get()}'
        return SpiderError(f"{name} {did} elements of the page ({kind})", hint)
    if inspect.isgenerator(thing) or isinstance(thing, list | tuple | Iterator):
        return SpiderError(f"{name} {did} a {kind}", "write yield from")
    return SpiderError(
        f"{name} {did} {thing!r:.80} ({kind}): yield a record (dict, dataclass, model), a Request or a URL"
    )
