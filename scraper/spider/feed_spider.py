"""A spider for feeds."""

from dataclasses import asdict
from typing import Any

from scraper.errors import Drop, Retry
from scraper.model import Request
from scraper.parsing import feed
from scraper.parsing.feed_entries import Entry
from scraper.parsing.page import Page
from scraper.spider import Spider, each


class FeedSpider(Spider):
    """Reads feeds (RSS, Atom, JSON Feed): each entry is a record.

    With a `parse` of its own, a spider gets the pages of the entries instead. `start_urls` are feeds, or
    pages that name theirs. `older`: go on to older entries where a feed tells where they are (RFC 5005).
    """

    older: bool = True

    def start(self) -> Any:
        """The feeds."""
        return [Request(one, self.parse_feed) if isinstance(one, str) else one for one in self.start_urls]

    def parse_feed(self, page: Page) -> Any:
        """What `parse_entry` makes of each entry of a feed; of a page, the feed that it names first."""
        found = feed.parse(page.content, page.url, page.headers.get("content-type"))
        if found is None:
            named = feed.advertised(page.tree, page.base)
            if not named:
                raise Drop("it is no feed, and names none")
            yield Request(named[0], self.parse_feed)
            return
        if found.is_torn:
            raise Retry("the feed ends in the middle")
        for entry in found.entries:
            yield from each(self.parse_entry(entry), "parse_entry")
        if self.older and found.next_url:
            yield Request(found.next_url, self.parse_feed)

    def parse_entry(self, entry: Entry) -> Any:
        """One entry as a record, or the Request for its page; a spider's own yields what it likes."""
        if type(self).parse is Spider.parse:
            yield asdict(entry)
        elif entry.url:
            yield Request(entry.url)
