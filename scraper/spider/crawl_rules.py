"""A spider that follows links by rules."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from scraper.model import Request
from scraper.model.frozen import frozen
from scraper.parsing.hrefs import Patterns, compiled
from scraper.parsing.page import Page
from scraper.spider import Spider, callback_of, each


@frozen
class Rule:
    """Links to follow: `allow`, `deny` and `css` as in `page.links()`.

    `callback` (a method, or its name) parses their pages. `follow`: look for further links there; without a
    word, where there is no callback. A rule with neither only keeps its links from the rules after it.
    """

    allow: Patterns = ()
    deny: Patterns = ()
    css: str = ""
    callback: Any = None
    follow: bool | None = None

    @property
    def is_followed(self) -> bool:
        """Whether the rules apply to the pages behind these links, too."""
        return self.callback is None if self.follow is None else self.follow


class CrawlRules(Spider):
    """Follows the links for which it has a rule; of several, the first that takes a link decides.

    Of start pages the links are followed; what `parse_start` yields of them is kept.
    """

    rules: Sequence[Rule] = ()

    def start(self) -> Iterable[str | Request]:
        """The start URLs, whose links are followed."""
        for rule in self.rules:
            compiled(rule.allow), compiled(rule.deny)
            if rule.callback is not None:
                callback_of(self, Request("", rule.callback).callback)
        return [Request(one, self.parse_first) if isinstance(one, str) else one for one in self.start_urls]

    def parse_start(self, page: Page) -> Any:
        """What a start page itself gives: nothing, unless a spider says otherwise."""

    def parse_first(self, page: Page) -> Iterator[Any]:
        """A start page: what it gives, and its links."""
        yield from each(self.parse_start(page), "parse_start")
        yield from self.follow_rules(page)

    def parse_linked(self, page: Page) -> Iterator[Any]:
        """A page whose links are followed: what its rule's callback gives, and its links."""
        callback = page.meta.get("callback")
        if callback is not None:
            yield from each(getattr(self, callback)(page), callback)
        yield from self.follow_rules(page)

    def follow_rules(self, page: Page) -> Iterator[Request]:
        """The Requests for the links of a page, by the rules."""
        taken: set[str] = set()
        for rule in self.rules:
            links = page.links(allow=rule.allow, deny=rule.deny, css=rule.css)
            if rule.is_followed or rule.callback is not None:
                yield from (_request(rule, url) for url in links if url not in taken)
            taken.update(links)


def _request(rule: Rule, url: str) -> Request:
    if not rule.is_followed:
        return Request(url, rule.callback)
    # One request for both: it is known by its callback, and two would be two pages.
    meta = {"callback": Request(url, rule.callback).callback} if rule.callback is not None else None
    return Request(url, CrawlRules.parse_linked, meta=meta)
