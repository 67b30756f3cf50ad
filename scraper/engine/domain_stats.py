"""A run's counts on one domain, and their sum over all."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields, replace
from operator import attrgetter
from typing import Any, assert_never

from scraper.model import (
    Deferred,
    Denied,
    Failed,
    Fetched,
    Outcome,
    Redirected,
    Refusal,
    Retry,
    Unchanged,
    Visit,
)
from scraper.model.frozen import slotted
from scraper.ops.patterns import pattern
from scraper.politeness.page_directives import bars_links

MOST_EXAMPLES = 20
MOST_QUERIES = 100
_FIGURES = pattern(r" (?:line )?[0-9]+(?: times)?(?![0-9]|\.[0-9]| times| characters)")
REJECTED = "rejected record"
EMPTIED = "brings nothing where it did"
OTHER_META = "linked again with another meta"
_OF_FAILURES = (
    *("failed", "gone", "parse_errors", "refusals", "raised", "refused"),
    *("left", "closed", "login", "is_refused"),
)


@slotted
class DomainStats:
    """A run's counts on one domain; sizes in bytes, times in seconds."""

    requests: int = 0
    pages: int = 0
    unchanged: int = 0
    redirected: int = 0
    records: int = 0
    kept_records: int = 0  # of pages that are as they were
    rejected: int = 0
    failed: int = 0
    gone: int = 0
    parse_errors: int = 0
    emptied: int = 0
    mixed_up: int = 0
    denied: int = 0
    dropped: int = 0
    retries: int = 0
    filtered: int = 0
    other_meta: int = 0
    refusals: int = 0
    limited: int = 0
    controls: int = 0
    rendered: int = 0
    loads: int = 0
    downloads: int = 0
    rendered_for: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    connections: int = 0
    logins: int = 0
    breaches: int = 0
    min_gap_s: float | None = None
    delay_s: float = 0.0
    delay_source: str = ""
    learned: str = ""
    robots: dict[str, str] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    raised: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    queries: dict[str, tuple[int, int]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=dict)
    denials: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    left: str = ""
    closed: str = ""
    login: str = ""
    is_refused: bool = False

    @property
    def down(self) -> str:
        """Why the domain could not be reached at all; empty if something came of it."""
        if self.pages or self.unchanged or self.redirected or self.parse_errors or self.gone or self.refusals:
            return ""
        return self.closed or (max(self.errors, key=lambda kind: self.errors[kind]) if self.failed else "")

    def count(self, visit: Visit) -> None:
        """Count a visit."""
        exchange = visit.exchange
        if exchange is not None:
            self.bytes += exchange.size
        self._count_loads(visit)
        is_doubted = isinstance(visit.outcome, Retry) and not visit.outcome.counts
        if visit.reaction.refusal and not is_doubted:
            self.refuse(visit.reaction.refusal)
        self.limited += bool(visit.reaction.limited)
        self.rejected += len(visit.rejected)
        for text, _ in visit.rejected:
            self.note(REJECTED, f"{visit.entry.url}: {text}")
        if instead := _instead(visit):
            self.emptied += 1
            self.examples.setdefault(EMPTIED, f"{visit.entry.url}: {instead}"[:500])
        if isinstance(visit.outcome, Fetched | Failed):
            self._count_queries(visit.outcome.queries)
        if isinstance(visit.outcome, Unchanged) and visit.entry.known is not None:
            self.kept_records += visit.entry.known.records
        self._count_outcome(visit.entry.url, visit.outcome)

    def _count_outcome(self, url: str, outcome: Outcome) -> None:
        match outcome:
            case Fetched(records=records, dropped=dropped):
                self.count_other_meta(outcome.other_meta)
                self.pages += 1
                self.records += len(records)
                self.dropped += bool(dropped)
            case Unchanged():
                self.unchanged += 1
            case Redirected():
                self.redirected += 1
            case Retry():
                self.retries += 1
            case Denied(reason=reason):
                self.deny(reason, url)
            case Failed():
                self._count_failure(url, outcome)
            case Deferred():
                pass
            case _:
                assert_never(outcome)

    def _count_loads(self, visit: Visit) -> None:
        """Count a rendered page, and the requests that it sent (also those to other domains)."""
        sent = [loaded for loaded in visit.loads if loaded.sent_at]
        if visit.rendered and isinstance(visit.outcome, Fetched | Unchanged):
            self.rendered += 1
            self.rendered_for[visit.rendered] = self.rendered_for.get(visit.rendered, 0) + 1
        self.loads += len(sent)
        if isinstance(visit.outcome, Fetched | Unchanged | Failed):  # what is tried again brings them again
            self.downloads += sum(loaded.file is not None for loaded in visit.loads)
        self.bytes += sum(loaded.size for loaded in sent)

    def _count_queries(self, queries: Mapping[str, bool]) -> None:
        for query, is_found in queries.items():
            if query in self.queries or len(self.queries) < MOST_QUERIES:
                pages, found = self.queries.get(query, (0, 0))
                self.queries[query] = (pages + 1, found + is_found)

    def _count_failure(self, url: str, outcome: Failed) -> None:
        kind = outcome.error or outcome.reason
        self.failed += 1
        self.records += len(outcome.records)
        self.gone += outcome.is_gone
        self.parse_errors += outcome.is_parse
        self.note(kind, f"{url}: {outcome.reason}")
        if outcome.is_parse and kind in self.errors:
            self.raised[kind] = self.raised.get(kind, 0) + 1

    def refuse(self, kind: str) -> None:
        """Count an answer that is a refusal."""
        self.refusals += 1
        self.refused[kind] = self.refused.get(kind, 0) + 1

    def deny(self, reason: str, url: str = "", urls: int = 1) -> None:
        """Count URLs that a rule keeps us from, by the kind of the rule, and keep the first of each kind."""
        self.denied += urls
        kind = _FIGURES.sub("", reason.partition(": ")[0])[:200]
        if kind in self.denials or len(self.denials) < MOST_EXAMPLES:
            self.denials[kind] = self.denials.get(kind, 0) + urls
            self.examples.setdefault(f"denied: {kind}", f"{url}: {reason}"[:500])

    def count_unfollowed(self, refused: Iterable[Refusal], filtered: int) -> None:
        """Count links that are not followed: for a reason, or because the run has asked for them already."""
        for refusal in refused:
            self.deny(refusal.reason, refusal.url, refusal.links)
        self.filtered += filtered

    def count_other_meta(self, urls: Sequence[str]) -> None:
        """Count requests that were not made because the same was, though with another `meta`."""
        self.other_meta += len(urls)
        if urls:
            self.examples.setdefault(OTHER_META, urls[0][:500])

    def note(self, kind: str, example: str) -> None:
        """Count a kind of failure and keep its first example."""
        if kind in self.errors or len(self.errors) < MOST_EXAMPLES:
            self.errors[kind] = self.errors.get(kind, 0) + 1
            self.examples.setdefault(kind, example[:500])

    def without_failures(self) -> "DomainStats":
        """The counts of a run whose failed URLs are asked for again: what went wrong is no longer so."""
        kept = {kind: count for kind, count in self.errors.items() if kind == REJECTED}
        examples = {kind: text for kind, text in self.examples.items() if kind in (REJECTED, EMPTIED)}
        fresh = DomainStats()
        changed: dict[str, Any] = {name: getattr(fresh, name) for name in _OF_FAILURES}
        return replace(self, **changed | {"errors": kept, "examples": examples})

    def said(self) -> dict[str, Any]:
        """All counts by name, JSON-able."""
        return dict(zip(_NAMES, _values(self), strict=True))

    def to_json(self) -> str:
        """The counts as text for the store; what is not said is as in new ones."""
        counts = zip(_NAMES, _values(self), _FRESH, strict=True)
        return _as_json({name: value for name, value, fresh in counts if value != fresh})

    @classmethod
    def from_json(cls, text: str) -> "DomainStats":
        """The counts that `to_json` wrote; empty for empty text."""
        kept: dict[str, Any] = json.loads(text) if text else {}
        return cls(**{name: value for name, value in kept.items() if name in _NAMES})


def _instead(visit: Visit) -> str:
    """What a page is that brings (next to) nothing where it brought something; empty for any other.

    One record and no link are those of a detail page: that one goes is how sites change. What is denied, or
    failed without being gone, stands as it was.
    """
    outcome, known = visit.outcome, visit.entry.known
    if isinstance(outcome, Fetched) and not outcome.dropped:
        barred = [refusal.reason for refusal in outcome.refused if bars_links(refusal.reason)]
        links = f"{len(outcome.links)} of {known.links} links" if known and outcome.links else "empty"
        return (barred or [f"{links}, also when asked again"])[0] if outcome.is_emptied else ""
    if known is None or not (known.records > 1 or known.links):
        return ""
    if isinstance(outcome, Fetched):
        return f"dropped, {outcome.dropped}"
    if isinstance(outcome, Redirected):
        return f"redirects to {outcome.to.url}"
    return outcome.reason if isinstance(outcome, Failed) and outcome.is_gone else ""


_NAMES = tuple(one.name for one in fields(DomainStats))
_values = attrgetter(*_NAMES)
_FRESH = _values(DomainStats())
_COUNTS = [name for name, value in zip(_NAMES, _FRESH, strict=True) if type(value) is int]
_as_json = json.JSONEncoder(separators=(",", ":")).encode  # `dumps` would make one for each text


def total(domain_stats: list[DomainStats]) -> DomainStats:
    """The sum over domains; the smallest gap is the smallest of all."""
    whole = DomainStats(**{name: sum(map(attrgetter(name), domain_stats)) for name in _COUNTS})
    whole.errors = _sum(stats.errors for stats in domain_stats)
    whole.raised = _sum(stats.raised for stats in domain_stats)
    whole.refused = _sum(stats.refused for stats in domain_stats)
    whole.denials = _sum(stats.denials for stats in domain_stats)
    for stats in domain_stats:
        for why, count in stats.rendered_for.items():
            whole.rendered_for[why] = whole.rendered_for.get(why, 0) + count
        for query, (pages, found) in stats.queries.items():
            before = whole.queries.get(query, (0, 0))
            whole.queries[query] = (before[0] + pages, before[1] + found)
        for kind, example in stats.examples.items():
            whole.examples.setdefault(kind, example)
        if stats.min_gap_s is not None:
            whole.min_gap_s = min(stats.min_gap_s, whole.min_gap_s or stats.min_gap_s)
    return whole


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of counts by kind, the most frequent first."""
    whole: Counter[str] = Counter()
    for each in filter(None, counts):
        whole.update(each)
    return dict(whole.most_common())
