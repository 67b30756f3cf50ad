"""A spider that finds a site's pages by its sitemaps."""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import urlsplit

from scraper.errors import Drop, Retry, SpiderError
from scraper.model import Request
from scraper.parsing.hrefs import compiled
from scraper.parsing.page import Page
from scraper.parsing.sitemap import Listed, moment
from scraper.politeness import robots
from scraper.spider import Spider, callback_of, each
from scraper.urls import host_of

_DAY = 86400
# A day that names no zone is over, wherever it is meant, after this (UTC-12).
_LONGEST_DAY = 36 * 3600
_NO_FILE = range(400, 500)


class SitemapSpider(Spider):
    """Asks for the pages that a site's sitemaps list: `parse` gets each of them.

    `start_urls` are sites (their robots.txt names the sitemaps, else it is /sitemap.xml) or sitemaps.
    `rules`: (regular expression, callback) pairs; the first that is found in a URL decides, and a URL with
    none is not asked for. `since`: a date; pages and sitemaps whose lastmod is earlier are left out.
    `alternates`: ask for the same pages in other languages too (hreflang). `trust_lastmod`: do not ask again
    for a page that was fetched after its lastmod; off, because many generators write the time of the build.
    """

    rules: Sequence[tuple[str | re.Pattern[str], Any]] = (("", "parse"),)
    since: str | date | float | None = None
    alternates: bool = False
    trust_lastmod: bool = False

    def start(self) -> Iterable[str | Request]:
        """Robots.txt of each site, and each sitemap."""
        if type(self).follow_entry is SitemapSpider.follow_entry:  # another one need not look at the rules
            self._check_rules()
        self._earliest()
        return [self._first(one) if isinstance(one, str) else one for one in self.start_urls]

    def _check_rules(self) -> None:
        for rule in self.rules:
            if not isinstance(rule, tuple | list) or len(rule) != 2:
                raise SpiderError(
                    f"rules has {rule!r:.100}", 'write pairs: rules = [(r"/news/", "parse_news")]'
                )
            compiled(rule[0])
            callback_of(self, Request("", rule[1]).callback)

    def _first(self, url: str) -> Request:
        if not host_of(url):
            return Request(
                url
            )  # which nobody will ask for: what is wrong with it is told by the rules for all
        pieces = urlsplit(url)
        if pieces.path.strip("/") or pieces.query:
            is_robots = pieces.path == "/robots.txt"
            return Request(url, self.parse_robots if is_robots else self.parse_sitemap)
        # A site without a robots.txt, or one that shows it to nobody, may have a sitemap.
        robots_txt = f"{pieces.scheme}://{pieces.netloc}/robots.txt"
        return Request(robots_txt, self.parse_robots, handle_statuses=_NO_FILE)

    def parse_robots(self, page: Page) -> Any:
        """The sitemaps that a robots.txt names, else the one at the usual place."""
        named = robots.parse(page.content).sitemaps if page.status == 200 else ()
        return [Request(url, self.parse_sitemap) for url in named or ["/sitemap.xml"]]

    def parse_sitemap(self, page: Page) -> Any:
        """The further sitemaps and the pages that a sitemap lists."""
        listed = page.sitemap
        if listed is None:
            raise Drop("it is no sitemap")
        if listed.is_torn:
            raise Retry("the sitemap ends in the middle")
        earliest = self._earliest()
        for entry in filter(lambda entry: _is_since(entry, earliest), listed.indexed):
            yield Request(entry.url, self.parse_sitemap, priority=1)
        for entry in filter(lambda entry: _is_since(entry, earliest), listed.pages):
            yield from each(self.follow_entry(entry), "follow_entry")

    def follow_entry(self, entry: Listed) -> Any:
        """The Requests for one page of a sitemap; a spider's own may look at all that is said of the page."""
        others = [url for _, url in entry.alternates] if self.alternates else []
        for url in dict.fromkeys((entry.url, *others)):
            for pattern, callback in self.rules:
                if re.search(pattern, url):
                    modified_at = _end_of(entry.lastmod) if self.trust_lastmod else None
                    yield Request(url, callback, modified_at=modified_at)
                    break

    def _earliest(self) -> float | None:
        since = self.since
        if since is None or isinstance(since, int | float):
            return since
        if isinstance(since, date) and not isinstance(since, datetime):
            since = datetime(since.year, since.month, since.day, tzinfo=UTC)
        found = since.timestamp() if isinstance(since, datetime) else moment(since)
        if found is None:
            raise SpiderError(f"since = {since!r} is no date", "write it as in 2026-01-31")
        return found


def _is_since(entry: Listed, earliest: float | None) -> bool:
    return earliest is None or entry.lastmod is None or _end_of(entry.lastmod, _DAY - 1) >= earliest


def _end_of(lastmod: float | None, day: float = _LONGEST_DAY) -> Any:
    """The last moment that a lastmod can mean: most name a day."""
    return lastmod + day if lastmod is not None and lastmod % _DAY == 0 else lastmod
