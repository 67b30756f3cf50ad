"""A site's limit of requests as far as it is known: a value, kept with the domain."""

from scraper.model.frozen import frozen


@frozen
class Limit:
    """The limit of a site as far as it is known; moments on `Clock.now()`'s line, spans in seconds.

    `interval`: seconds a request, 0 while nothing was learned. `allowance`: so many requests, then `window`
    seconds of rest; 0: spread evenly. `spent`: how many of them. `since`, `last`, `accepted`: the requests
    let pass since the last refusal. `refused_at`: that refusal; `in_row`: refusals since one passed.
    `burst`: what passed before the first refusal, in `took` seconds; `lessons`: all refusals. `forbids`: some
    pages of the site fail by themselves. `is_doubted`: what it taught may have been a site in trouble.
    `start`: the interval from which a shorter one is looked for, 0 where it is not; `most`: one that no limit
    refuses that did what was seen, 0 after a second refusal. `slower`: what passed between refusals at a
    slower pace. `rows`: refusals that others had passed before. `is_random`: the site refuses at any pace,
    once in `burst` requests. `told`: the wait of an only refusal that told one, until its run ends.
    """

    interval: float = 0.0
    allowance: int = 0
    window: float = 0.0
    spent: int = 0
    since: float = 0.0
    last: float = 0.0
    accepted: int = 0
    refused_at: float = 0.0
    in_row: int = 0
    burst: int = 0
    lessons: int = 0
    forbids: bool = False
    took: float = 0.0
    is_doubted: bool = False
    start: float = 0.0
    most: float = 0.0
    slower: int = 0
    rows: int = 0
    is_random: bool = False
    told: float = 0.0

    @property
    def is_learned(self) -> bool:
        return bool(self.interval or self.allowance)


def told_of(limit: Limit) -> str:
    """The rule in words for people; empty while nothing was learned."""
    if limit.allowance:
        return f"learned from refusals, {limit.allowance} requests in {limit.window:.0f} s"
    return f"learned from refusals, one request per {limit.interval:.3g} s" if limit.interval else ""
