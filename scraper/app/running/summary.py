"""The summary of a run (run.json): its counts, its verdict and its exit code."""

import datetime
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from scraper.engine.domain_stats import EMPTIED, REJECTED, DomainStats, total
from scraper.engine.plan import Stop
from scraper.model import Verdict
from scraper.model.frozen import frozen
from scraper.runs.health import Facts, Fill, Health
from scraper.runs.judgement import Judgement, judge
from scraper.store import Run

_GONE = {"status 404", "status 410"}
_NO_PAGES = _GONE | {REJECTED}
MOST_TRIES, MOST_STEPS = 3, 10
_LIMITS = {Stop.PAGES: "max_pages", Stop.TIME: "max_time", Stop.RECORDS: "--limit"}


@frozen
class End:
    """How the loop ended: `stop`, the signal if it was one, URLs left pending, seconds taken.

    `ended_at`: a wall moment. `is_pause`: a limit given for this run alone was reached, so that the same
    command goes on. `tries`: how many runs in a row have been stopped so, this one included, `since` when
    (ISO 8601). `filtered`: start requests that repeat another.
    """

    stop: Stop
    signal: int = 0
    pending: int = 0
    seconds: float = 0.0
    ended_at: float = 0.0
    is_pause: bool = False
    tries: int = 1
    since: str = ""
    filtered: int = 0

    @property
    def is_unfinished(self) -> bool:
        """Whether the same command is to go on with this run."""
        return self.is_pause or self.stop in (Stop.SIGNAL, Stop.DEFERRED)

    @property
    def is_overdue(self) -> bool:
        """Whether the run has been unfinished so often that it may never end by itself.

        Somebody who goes on page by page is at work; a run whose time is over night after night is not.
        """
        return self.is_unfinished and self.tries >= (MOST_STEPS if self.stop is Stop.PAGES else MOST_TRIES)


def facts_of(
    domain_stats: Mapping[str, DomainStats], fill: Fill, end: End, repeated: int = 0, example: str = ""
) -> Facts:
    """What the health policy looks at."""
    whole = total(list(domain_stats.values()))
    elsewhere = whole.raised.keys() | whole.refused.keys() | _NO_PAGES
    return Facts(
        pages=whole.pages,
        unchanged=whole.unchanged,
        records=fill.records,
        filled=fill.filled,
        errors=whole.raised,
        failures={kind: n for kind, n in whole.errors.items() if kind not in elsewhere},
        refused={name: stats.refusals for name, stats in domain_stats.items() if stats.refusals},
        blocked=frozenset(name for name, stats in domain_stats.items() if stats.is_refused),
        denied=whole.denials,
        down={name: reason for name, stats in domain_stats.items() if (reason := stats.down)},
        auth={name: stats.login for name, stats in domain_stats.items() if stats.login},
        mixed_up={name: stats.mixed_up for name, stats in domain_stats.items() if stats.mixed_up},
        rejected=whole.rejected,
        rejected_example=whole.examples.get(REJECTED, ""),
        emptied=whole.emptied,
        emptied_example=whole.examples.get(EMPTIED, ""),
        repeated=repeated,
        repeated_example=example,
        gone=whole.gone,
        domains=len(domain_stats),
        deferred=end.pending if end.stop is Stop.DEFERRED else 0,
        stopped=signal.Signals(end.signal).name if end.signal else "",
        is_limited=end.is_pause,
        is_given_up=end.stop is Stop.ERRORS,
    )


def judgement_of(facts: Facts, history: Sequence[Mapping[str, Any]], health: Health, end: End) -> Judgement:
    """The verdict; a healthy run that a limit paused is INCOMPLETE, which is no fault the first times."""
    found = judge(facts, history, health)
    if found.verdict is Verdict.OK and end.is_pause:
        reason = f"stopped at {_LIMITS[end.stop]}; the same command resumes the run"
        found = Judgement(Verdict.INCOMPLETE, (reason,))
    if found.verdict is Verdict.INCOMPLETE and end.is_overdue:
        since = f"INCOMPLETE since {end.since[:16].replace('T', ' ')} UTC"
        told = f"{since}: {end.tries} runs in a row did not get to the end"
        told += f", {end.pending:,} URLs are pending"
        found = Judgement(found.verdict, (told, *found.reasons))
    return found


def exit_code_of(verdict: Verdict, end: End) -> int:
    """The exit code of a run, as docs/commands.md lists them."""
    if end.signal:
        return 128 + end.signal
    if verdict is Verdict.AUTH:
        return 77
    if verdict is Verdict.INCOMPLETE and end.is_pause:
        return 1 if end.is_overdue else 0
    if verdict is Verdict.OK:
        return 0
    return 75 if verdict is Verdict.INCOMPLETE else 1


def summary_of(
    run: Run, domain_stats: Mapping[str, DomainStats], fill: Fill, found: Judgement, end: End
) -> dict[str, Any]:
    """The content of run.json."""
    whole = total(list(domain_stats.values()))

    def of(*names: str) -> dict[str, Any]:
        return {name: getattr(whole, name) for name in names}

    return {
        "run_id": run.id,
        "spider": run.spider,
        "started_at": moment(run.started_at),
        "ended_at": moment(end.ended_at),
        "seconds": round(end.seconds, 3),
        "resumed": run.is_resumed,
        "verdict": found.verdict.value,
        "reasons": list(found.reasons),
        "exit_code": exit_code_of(found.verdict, end),
        "stop": end.stop.value,
        **of("pages", "unchanged"),
        "records": fill.records,
        **dict.fromkeys(("added", "changed", "removed", "duplicates", "standing"), 0),
        **of("rejected", "failed", "denied", "dropped", "emptied"),
        "deferred": end.pending if end.stop is Stop.DEFERRED else 0,
        "pending": end.pending,
        "filtered": whole.filtered + end.filtered,
        **of("retries", "other_meta", "redirected", "rendered", "rendered_for", "loads"),
        **of("downloads", "requests", "bytes"),
        "domains": len(domain_stats),
        **of("connections", "min_gap_s"),
        "fill": fill.rates(),
        **of("errors", "examples", "denials"),
        "unmatched": _unmatched(whole),
        "by_domain": {name: stats.said() for name, stats in sorted(domain_stats.items())},
    }


def _unmatched(whole: DomainStats) -> dict[str, int]:
    """Queries that found nothing on any page, with the number of pages that they were asked of.

    Where most pages were not parsed, since they are as they were, nothing can be said.
    """
    if whole.unchanged > whole.pages:
        return {}
    return {query: pages for query, (pages, found) in whole.queries.items() if not found}


def unstarted(run: Run, now: float, reason: str) -> dict[str, Any]:
    """The summary of a run that could not start."""
    judgement = Judgement(Verdict.BROKEN, (reason,))
    summary = summary_of(run, {}, Fill(), judgement, End(Stop.DONE, ended_at=now))
    return {**summary, "exit_code": 2}


def moment(wall: float) -> str:
    """A wall moment as ISO 8601 in UTC."""
    return datetime.datetime.fromtimestamp(wall, datetime.UTC).isoformat(timespec="milliseconds")
