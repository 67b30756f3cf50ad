"""What a round of the soak crawls: sites that link to each other, with what something may trip over."""

import random
import re
import threading
from collections import Counter
from pathlib import Path

from tests.project import Project
from tests.site import Arrival, Reply, Site, page, redirect

SITES, PAGES, DELAY = 6, 24, 0.3
_MOVED, _FILES = 3, 3  # pages of a site that have moved to the next site, and its files
_GOOD_FOR = 15  # pages of a login
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_SPIDER = """
    from scraper import File, Spider

    class {kind}(Spider):
        name = "{name}"
        start_urls = {starts}
        key = "url"
        settings = {settings}

        def login(self, session):
            if session.domain == "{club}":
                session.post("{login}", data={{"user": "{name}"}})

        def logged_out(self, page):
            return "Please log in" in page.text

        def parse(self, page):
            yield {{"url": page.url{more}}}
            for link in page.css("a::attr(href)").getall():
                yield File(page.urljoin(link)) if link.endswith(".bin") else page.follow(link)
"""


class Club:
    """A site whose pages are for who has logged in; a login is good for so many pages."""

    def __init__(self) -> None:
        self._left: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._logins = 0

    def login(self, arrival: Arrival) -> Reply:
        """A new session."""
        with self._lock:
            self._logins += 1
            self._left[f"s{self._logins}"] = _GOOD_FOR
            return Reply(200, "welcome", [("Set-Cookie", f"session=s{self._logins}; Path=/"), *_HTML.items()])

    def lets_in(self, arrival: Arrival) -> bool:
        """Whether the session of a request is good."""
        name = re.search(r"session=(\w+)", arrival.headers.get("cookie", ""))
        with self._lock:
            if name is None or self._left[name[1]] <= 0:
                return False
            self._left[name[1]] -= 1
            return True


class Web:
    """Sites of this process. `traits`: what this round has, of those that `dice` may choose."""

    TRAITS = ("slow", "robots", "moved", "files", "club", "group")

    def __init__(self, dice: random.Random) -> None:
        self.traits = {trait for trait in self.TRAITS if dice.random() < 0.5}
        self.sites = [Site(host=f"127.0.1.{10 + n}") for n in range(SITES)]
        self._dice, self._club = dice, Club()
        for n, site in enumerate(self.sites):
            self._write(n, site)

    def stop(self) -> None:
        """Stop all sites."""
        for site in self.sites:
            site.stop()

    def spider(self, project: Project, name: str, is_other: bool = False) -> None:
        """Write a spider of these sites; `is_other`: as somebody has it who did not update."""
        settings: dict[str, object] = {"delay": DELAY, "reach": ["127.0.0.0/8"]}
        if "group" in self.traits:
            settings["politeness_group"] = {site.host: "pair" for site in self.sites[:2]}
        club = self.sites[2]
        source = _SPIDER.format(
            kind=name.title(),
            name=name,
            starts=[site.url() for site in self.sites],
            settings=settings,
            club=club.host if "club" in self.traits else "nobody",
            login=club.url("/login"),
            more=', "other": 1' if is_other else "",
        )
        project.spider(name, source)

    def expected(self) -> list[str]:
        """The URLs of all records, sorted."""
        paths = ["/", *(f"/{at}" for at in range(1, PAGES))]
        paths += [f"/here/{n}" for n in range(_MOVED)] if "moved" in self.traits else []
        paths += [f"/{n}.bin" for n in range(_FILES)] if "files" in self.traits else []
        return sorted(site.url(path) for site in self.sites for path in paths)

    def paced(self) -> list[list[Site]]:
        """The sites that share a pace."""
        if "group" not in self.traits:
            return [[site] for site in self.sites]
        return [self.sites[:2], *([site] for site in self.sites[2:])]

    def bad_files(self, data: Path) -> list[str]:
        """Files whose content is not that of their site."""
        return [str(file) for file in data.glob("*/files/??/*") if file.stat().st_size not in _SIZES]

    def _write(self, n: int, site: Site) -> None:
        """A page leads to the next ones of its site, and to one of each other site."""
        after = self.sites[(n + 1) % SITES]
        others = [other for other in self.sites if other is not site]
        for at in range(PAGES):
            near = [f"/{next_}" for next_ in range(at + 1, min(at + 4, PAGES))]
            far = [other.url(f"/{(at * 7 + n) % PAGES}") for other in others]
            more = [f"/never/{at}"] if "robots" in self.traits else []
            if "moved" in self.traits and at < _MOVED:
                more.append(f"/gone/{at}")
                site[f"/gone/{at}"] = redirect(
                    after.url(f"/here/{at}"), self._dice.choice((301, 302, 307, 308))
                )
                site[f"/here/{at}"] = page()
            if "files" in self.traits and at < _FILES:
                more.append(f"/{at}.bin")
                site[f"/{at}.bin"] = self._file(n, at)
            self._put(n, "/" if at == 0 else f"/{at}", page(*near, *far, *more))
        site["/0"] = Reply(301, "", {"Location": "/"})
        site["/login"] = self._club.login
        if "robots" in self.traits:
            rules = "User-agent: *\nDisallow: /never\n"
            site["/robots.txt"] = lambda _: Reply(
                200, rules + self._dice.choice(("", "Crawl-delay: 0.2\n", "Crawl-delay: 0.5\n", "Allow: /\n"))
            )

    def _put(self, n: int, path: str, reply: Reply) -> None:
        most = 3.5 if n == 3 and "slow" in self.traits else 0.3
        wait = self._dice.choice((0.0, 0.0, 0.0, 0.05, most))
        whole = Reply(reply.status, reply.body, reply.headers, wait)
        if n != 2 or "club" not in self.traits:
            self.sites[n][path] = whole
            return
        closed = Reply(200, "<p>Please log in", _HTML)
        self.sites[n][path] = lambda arrival: whole if self._club.lets_in(arrival) else closed

    def _file(self, n: int, at: int) -> Reply:
        size = _SIZES[at % len(_SIZES)]
        headers = {"Content-Type": "application/octet-stream", "ETag": f'"{n}-{at}"'}
        return Reply(200, bytes([n, at]) * (size // 2), headers, self._dice.choice((0.0, 0.0, 1.0)))


_SIZES = (20_000, 300_000, 2_000)
