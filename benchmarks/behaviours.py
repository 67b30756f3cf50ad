"""How a host of the site behaves: one small class per trouble that the conformance table asks about."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import content

REST = 5.0
CRAWL_DELAY = 2
PAGES = 5
WIDER_PAGES = 12
DISTANT = 0.1
SLOW = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes to send after `wait` seconds; no bytes: the connection is closed without a word."""

    data: bytes
    wait: float = 0.0


CLOSED = Reply(b"")


class Plain:
    """An index, five pages and a robots.txt that allows them."""

    robots = Reply(content.ROBOTS)
    pages = PAGES

    def reply(self, path: str, now: float) -> Reply:
        """The answer to a path at a moment of the server's monotonic clock."""
        if path == "/robots.txt":
            return self.robots
        if path == "/":
            return Reply(content.small("Index", *(f"/page/{number}" for number in range(1, self.pages + 1))))
        if path.startswith("/page/"):
            return Reply(content.small(f"Page {path[6:]}"))
        return Reply(content.MISSING)


class Resting(Plain):
    """Asks for five seconds of rest at the first page, and says so again until they are over."""

    status = 429

    def __init__(self) -> None:
        self.until: float | None = None

    def reply(self, path: str, now: float) -> Reply:
        """Every request but that for robots.txt starts the rest or falls into it."""
        if path == "/robots.txt":
            return self.robots
        if self.until is None:
            self.until = now + REST
        if now < self.until:
            left = math.ceil(self.until - now)
            return Reply(content.text(self.status, "Not now.\n", f"Retry-After: {left}"))
        return super().reply(path, now)


class Closed(Resting):
    """The same rest, called 503."""

    status = 503


class Wider(Plain):
    """More pages, for a smallest gap that is not luck."""

    pages = WIDER_PAGES


class Slow(Plain):
    """robots.txt with a Crawl-delay."""

    robots = Reply(content.text(200, f"User-agent: *\nCrawl-delay: {CRAWL_DELAY}\n"))


class Failing(Plain):
    """robots.txt is answered 503."""

    robots = Reply(content.text(503, "Out of order.\n"))


class Unreachable(Plain):
    """The connection is closed where robots.txt is asked for."""

    robots = CLOSED


class Turning(Plain):
    """Allowed links that redirect to pages that robots.txt disallows."""

    def reply(self, path: str, now: float) -> Reply:
        """The index links to /go/N, which redirects to /private/N."""
        if path == "/":
            return Reply(content.small("Index", *(f"/go/{number}" for number in range(1, PAGES + 1))))
        if path.startswith("/go/"):
            return Reply(content.text(302, "This way.\n", f"Location: /private/{path[4:]}"))
        if path.startswith("/private/"):
            return Reply(content.small("Private"))
        return super().reply(path, now)


class Shelf(Plain):
    """Sites of any number of pages: /s/PAGES/N (or distant, slow: later), /hub/N, /leaf/..."""

    def reply(self, path: str, now: float) -> Reply:
        """Pages by their number."""
        folder, _, rest = path[1:].partition("/")
        build = _FOLDERS.get(folder)
        if build is None:
            return super().reply(path, now)
        try:
            return build(rest)
        except ValueError:
            return Reply(content.MISSING)


def _page(folder: str, rest: str, wait: float = 0.0) -> Reply:
    pages, number = map(int, rest.split("/"))
    if not 0 <= number < pages:
        raise ValueError(rest)
    return Reply(content.page(folder, number, pages), wait)


_FOLDERS: dict[str, Callable[[str], Reply]] = {
    "s": lambda rest: _page("s", rest),
    "distant": lambda rest: _page("distant", rest, DISTANT),
    "slow": lambda rest: _page("slow", rest, SLOW),
    "hub": lambda rest: Reply(content.hub(int(rest))),
    "leaf": lambda rest: Reply(content.small("Leaf")),
}

# The last number of an address 127.20.COLUMN.N says how the host behaves.
BY_NUMBER: dict[int, type[Plain]] = {
    1: Resting,
    2: Closed,
    3: Wider,
    4: Slow,
    5: Failing,
    6: Unreachable,
    7: Turning,
}


def behaviour_of(host: str) -> Plain:
    """A new behaviour for a host name or address; any that is not listed has the plain shelf of pages."""
    parts = host.split(".")
    if len(parts) == 4 and parts[:2] == ["127", "20"] and int(parts[3]) in BY_NUMBER:
        return BY_NUMBER[int(parts[3])]()
    return Shelf()
