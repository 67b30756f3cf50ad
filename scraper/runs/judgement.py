"""The verdict on a run: takes facts and history, gives the verdict and its reasons.

The worst finding gives the verdict; every finding is a reason. From worst to best, and why in this order:

AUTH        a login was refused: a person must act, and more tries could lock the account
BLOCKED     sites refuse us: a person must act, and what else looks wrong follows from it
BROKEN      pages or their parsing failed: what was found is no measure of what is there
INCOMPLETE  stopped, or left for later: the rest comes with the next run. Few or no records prove nothing yet,
            so EMPTY and DEGRADED are not looked for; the three above are known however little was fetched
EMPTY       everything was fetched and nothing was found
DEGRADED    something was found, less than before or less than was asked for
OK
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from scraper.model import Verdict
from scraper.model.frozen import frozen
from scraper.runs.health import Facts, Health

_ORDER = (
    Verdict.AUTH,
    Verdict.BLOCKED,
    Verdict.BROKEN,
    Verdict.INCOMPLETE,
    Verdict.EMPTY,
    Verdict.DEGRADED,
    Verdict.OK,
)
_RUNS = 5
_SHOWN = 3
_DEAD_LINKS = 2  # so many are on every site and say nothing
_NUMBERS = ("no", "one", "two", "three", "four", "five")

Finding = tuple[Verdict, str]


@frozen
class Judgement:
    """The verdict on a run and, unless it is OK, why: one sentence each, worst first."""

    verdict: Verdict
    reasons: tuple[str, ...] = ()


def judge(facts: Facts, history: Sequence[Mapping[str, Any]] = (), health: Health | None = None) -> Judgement:
    """The verdict on a run, held against `comparable` summaries, newest first, and `health`.

    Of a summary "records" (a count) and "fill" (rates by field) are read; the last five count.
    """
    health = health or Health()
    findings = [*_auth(facts), *_blocked(facts, health), *_broken(facts, health), *_incomplete(facts)]
    if not facts.stopped and not facts.deferred:
        past = [each for each in history if isinstance(each.get("records"), int)][:_RUNS]
        findings += [*_empty(facts, health), *_degraded(facts, past, health)]
    findings.sort(key=lambda finding: _ORDER.index(finding[0]))
    verdict = findings[0][0] if findings else Verdict.OK
    return Judgement(verdict, tuple(reason for _, reason in findings))


def comparable(history: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The summaries that a run is held against: OK ones, none from before what a person last accepted."""
    for summary in history:
        is_accepted = bool(summary.get("accepted"))
        if is_accepted or summary.get("verdict") == Verdict.OK:
            yield summary
        if is_accepted:
            return


# Findings, one function a verdict ------------------------------------------------------------------------


def _auth(facts: Facts) -> Iterator[Finding]:
    for domain, reason in _first(facts.auth):
        yield Verdict.AUTH, f"the login at {domain} failed: {reason}"


def _blocked(facts: Facts, health: Health) -> Iterator[Finding]:
    refused = sum(facts.refused.values())
    asked = _answered(facts) + sum(facts.failures.values()) + refused
    if _is_blocked(facts, health):
        worst = sorted(facts.refused.items(), key=lambda each: -each[1])
        told = ", ".join(f"{domain} ({count})" for domain, count in worst[:_SHOWN])
        yield Verdict.BLOCKED, f"{refused} of {asked} URLs were refused by their site: {told}{_more(worst)}"


def _is_blocked(facts: Facts, health: Health) -> bool:
    """Whether refusals decide: nothing else came, or too many domains were left alone, or URLs refused."""
    refused, answered = sum(facts.refused.values()), _answered(facts)
    if not refused:
        return False
    is_left = len(facts.blocked) > health.max_failed * max(facts.domains, 1)
    asked = answered + sum(facts.failures.values()) + refused
    return not answered or is_left or refused / asked > health.max_failed


def _broken(facts: Facts, health: Health) -> Iterator[Finding]:
    for domain, count in facts.mixed_up.items():
        told = (
            f"{domain} answers requests twice over one connection: {count} pages may be those of other URLs"
        )
        yield Verdict.BROKEN, f"{told}; the next run opens a connection for each page"
    answered, raised = _answered(facts), sum(facts.errors.values())
    if raised and (raised / answered > health.max_failed or facts.is_given_up):
        share = _percent(raised / answered)
        told = f"the spider's code raised on {share} of the pages ({raised} of {answered})"
        most = f"at most {_percent(health.max_failed)} may"
        if facts.is_given_up:
            most = "page after page, so the run was stopped (setting max_errors)"
        yield Verdict.BROKEN, f"{told}, {most}: {_causes(facts.errors)}"
    if answered:
        return
    for domain, reason in _first(facts.down):
        yield Verdict.BROKEN, f"{domain} is UNREACHABLE: {_unreachable(reason)}"
    if facts.failures and not facts.down:
        failed = sum(facts.failures.values())
        yield Verdict.BROKEN, f"no page could be fetched, {failed} failed: {_causes(facts.failures)}"


def _incomplete(facts: Facts) -> Iterator[Finding]:
    if facts.stopped:
        yield Verdict.INCOMPLETE, f"stopped before the end: {facts.stopped}"
    if facts.deferred:
        are = "URL is" if facts.deferred == 1 else "URLs are"
        yield Verdict.INCOMPLETE, f"{facts.deferred} {are} left for the next run"


def _empty(facts: Facts, health: Health) -> Iterator[Finding]:
    answered = _answered(facts)
    is_explained = not answered and (facts.down or facts.failures or facts.refused or facts.auth)
    if is_explained or (health.allow_empty and answered):
        return
    if facts.records:
        if facts.filled and not any(facts.filled.values()):
            names = ", ".join([*facts.filled][:_SHOWN]) + _more(facts.filled)
            yield Verdict.EMPTY, f"{facts.records} records with nothing in any field: {names}"
        return
    if answered:
        where = "the one page" if answered == 1 else f"{answered} pages"
        yield Verdict.EMPTY, f"no records in {where}{_also_denied(facts)}"
    elif facts.denied:
        yield Verdict.EMPTY, f"no URL may be fetched: {_causes(facts.denied)}"
    else:
        gone = (
            f", {facts.gone} URLs are gone"
            if facts.gone > 1
            else ", the one URL is gone"
            if facts.gone
            else ""
        )
        yield Verdict.EMPTY, f"no page was fetched and no record found{gone}"


def _degraded(facts: Facts, past: Sequence[Mapping[str, Any]], health: Health) -> Iterator[Finding]:
    reasons = [*_unreached(facts, health), *_rejected(facts, health), *_repeated(facts, health)]
    if facts.records:
        if not facts.is_limited:
            reasons += [*_few(facts, past, health)]
        reasons += [*_unfilled(facts, past, health)]
    return ((Verdict.DEGRADED, reason) for reason in reasons)


def _unreached(facts: Facts, health: Health) -> Iterator[str]:
    """Domains and pages that failed, where others did not."""
    answered, causes = _answered(facts), {**facts.failures}
    if facts.gone > _DEAD_LINKS:
        causes["gone (404 or 410)"] = facts.gone
    if facts.refused and not _is_blocked(facts, health):
        causes["refused by the site"] = sum(facts.refused.values())
    failed = sum(causes.values())
    if not answered:
        return
    if len(facts.down) / max(facts.domains, len(facts.down), 1) > health.max_failed:
        for domain, reason in _first(facts.down):
            yield f"{domain} is UNREACHABLE: {_unreachable(reason)}"
    elif failed / (answered + failed) > health.max_failed:
        told = (
            f"{_percent(failed / (answered + failed))} of the pages failed ({failed} of {answered + failed})"
        )
        advice = ""
        if facts.gone > failed / 2:
            normal = math.ceil(10 * failed / (answered + failed)) / 10
            advice = f'; where that is normal: health = {{"max_failed": {normal:g}}}'
        yield f"{told}, at most {_percent(health.max_failed)} may: {_causes(causes)}{advice}"


def _rejected(facts: Facts, health: Health) -> Iterator[str]:
    share = facts.rejected / max(facts.records + facts.rejected, 1)
    if share > health.max_failed:
        told = f"{_percent(share)} of the records are not kept ({facts.rejected})"
        yield f"{told}, at most {_percent(health.max_failed)} may, e.g. {facts.rejected_example}"


def _repeated(facts: Facts, health: Health) -> Iterator[str]:
    share = facts.repeated / max(facts.records, 1)
    if share > health.max_repeated:
        told = f"{_percent(share)} of the records are dropped ({facts.repeated} of {facts.records})"
        where = f"same key as an earlier record: {facts.repeated_example}"
        yield f"{told}: {where}; name more fields in key, or allow it: health max_repeated"


def _few(facts: Facts, past: Sequence[Mapping[str, Any]], health: Health) -> Iterator[str]:
    if health.min_records is not None and facts.records < health.min_records:
        yield f"{facts.records} records, the spider asks for at least {health.min_records}"
    usual = _median([each["records"] for each in past])
    is_drop = facts.records < usual * (1 - health.max_drop)
    # What is gone with its own record alone is how sites change, small ones too.
    is_cut = facts.records < min(usual * (1 - health.max_failed), usual - facts.emptied)
    if is_drop or (facts.emptied and is_cut):
        yield f"{facts.records} records, {usual:g} in {_runs(past)}{_emptied(facts)}"


def _unfilled(facts: Facts, past: Sequence[Mapping[str, Any]], health: Health) -> Iterator[str]:
    """Fields that are empty more often than they were, or than the spider allows."""
    told = [*_dropped(facts, [each for each in past if each["records"]], health)]
    named = {name for name, _ in told}
    for name in health.required:
        rate = facts.filled.get(name, 0) / facts.records
        if rate < 1 - health.max_failed and name not in named:
            told.append((name, f"{name} filled in {_percent(rate)} of records, and it is required"))
    for _, reason in told[: _SHOWN + 2]:
        yield reason
    if len(told) > _SHOWN + 2:
        yield f"{len(told) - _SHOWN - 2} more fields are filled less than they should be"


def _dropped(facts: Facts, past: Sequence[Mapping[str, Any]], health: Health) -> Iterator[tuple[str, str]]:
    fills: list[Mapping[str, float]] = [
        each["fill"] for each in past if isinstance(each.get("fill"), Mapping)
    ]
    for name in dict.fromkeys(name for fill in fills for name in fill):
        usual = _median([fill.get(name, 0.0) for fill in fills])
        rate = facts.filled.get(name, 0) / facts.records
        # A field that is often empty varies from run to run: three standard deviations are no accident.
        chance = 3 * math.sqrt(usual * (1 - min(usual, 1)) / facts.records)
        if rate < usual * (1 - health.max_drop) and usual - rate > chance:
            yield name, f"{name} filled in {_percent(rate)} of records, {_percent(usual)} in {_runs(fills)}"


# Words and figures ---------------------------------------------------------------------------------------


def _answered(facts: Facts) -> int:
    """Pages that a site gave us, whatever became of them."""
    return facts.pages + facts.unchanged + sum(facts.errors.values())


def _median(figures: Sequence[float]) -> float:
    ranked = sorted(figures)
    middle = len(ranked) // 2
    if not ranked:
        return 0.0
    return ranked[middle] if len(ranked) % 2 else (ranked[middle - 1] + ranked[middle]) / 2


def _percent(share: float) -> str:
    """Whole percents, but never 0 % or 100 % for what is only near."""
    whole = round(100 * share)
    is_exact = whole not in (0, 100) or share in (0, 1)
    return f"{whole} %" if is_exact else f"{100 * share:.2g} %" if whole == 0 else "over 99 %"


def _runs(past: Sequence[object]) -> str:
    return "the run before" if len(past) == 1 else f"the {_NUMBERS[len(past)]} runs before"


def _emptied(facts: Facts) -> str:
    """Which pages bring nothing any more, where there are any."""
    are = "page brings" if facts.emptied == 1 else "pages bring"
    told = f": {facts.emptied} {are} nothing or little where there was more, e.g. {facts.emptied_example}"
    return told if facts.emptied else ""


def _also_denied(facts: Facts) -> str:
    """What was denied, where that is most of it: there may be the records."""
    number = sum(facts.denied.values())
    is_much = number >= _answered(facts)
    return f", and {_urls(number)} denied: {_causes(facts.denied)}" if number and is_much else ""


def _urls(number: int) -> str:
    return f"{number:,} URL{' is' if number == 1 else 's are'}"


def _causes(counts: Mapping[str, int]) -> str:
    """The most frequent causes with their counts."""
    ranked = sorted(counts.items(), key=lambda each: -each[1])
    if len(ranked) == 1:
        return ranked[0][0]
    return ", ".join(f"{cause} ({count})" for cause, count in ranked[:_SHOWN]) + _more(ranked)


def _unreachable(reason: str) -> str:
    """Why a domain could not be reached: what it answered, or what went wrong on the way."""
    status = re.fullmatch(r"status ([0-9]{3})", reason.partition(" (and ")[0])
    return f"the site answered {status[1]}{reason[status.end() :]}" if status else reason


def _more(all_of: Sized) -> str:
    return f" and {len(all_of) - _SHOWN} more" if len(all_of) > _SHOWN else ""


def _first(reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The first few domains with their reasons; the last of them tells how many more there are."""
    shown = list(reasons.items())[:_SHOWN]
    for n, (domain, reason) in enumerate(shown, 1):
        more = len(reasons) - _SHOWN if n == len(shown) else 0
        yield domain, f"{reason} (and {more} more domains)" if more > 0 else reason
