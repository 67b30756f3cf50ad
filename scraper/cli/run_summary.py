"""The summary of a run on the terminal: its figures, its verdict with the reasons, and the next commands."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from scraper.cli import text
from scraper.cli.failures import PIPE_CLOSED
from scraper.cli.options import DataLocation, command_line
from scraper.engine.domain_stats import OTHER_META, REJECTED
from scraper.model import Verdict
from scraper.ops.printable import printable_value
from scraper.runs.files import ERRORS

MOST_CAUSES = 6
MOST_LINES = 10
MOST_REASONS = 4

Summary = Mapping[str, Any]


def full(
    summary: Summary,
    location: DataLocation,
    exempt: Mapping[str, str],
    *,
    is_shown: bool = False,
    width: int | None = None,
) -> Iterator[str]:
    """What a person who waited for the run reads; `is_shown`: by `show`, which need not name itself.

    `width`: of the terminal. Commands and paths stay in one line, to be copied.
    """
    summary = printable_value(summary)
    yield headline(summary)
    for reason in summary["reasons"]:
        yield from text.folded(f"  {reason}", 4, width)
    yield ""
    figures = (f"  {name:<9} {told}" for name, told in _figures(summary))
    for line in (*figures, *_failures(summary), *_unmatched(summary), *_politeness(summary, exempt)):
        yield from text.folded(line, 12, width)
    yield ""
    for name, told in [*_locations(summary, location), *_next(summary, location)]:
        if not (is_shown and told == command_line("show", summary["run_id"], data=location.data)):
            yield from text.with_remark(f"  {name:<9} {told}", 12, width)


def quiet(summary: Summary, location: DataLocation) -> list[str]:
    """What cron mails: nothing for a run that is healthy, at most ten lines for any other."""
    if summary["exit_code"] in (0, PIPE_CLOSED):
        return []
    summary = printable_value(summary)
    told = [headline(summary)]
    told += [f"  {text.cut(reason, 300)}" for reason in summary["reasons"][:MOST_REASONS]]
    if len(summary["reasons"]) > MOST_REASONS:
        told.append(f"  and {len(summary['reasons']) - MOST_REASONS} more reasons")
    told += [text.cut(line, 300) for line in islice(_failures(summary), 1)]
    rest = [*_next(summary, location), *_locations(summary, location)]
    told += [f"  {name:<9} {what}".rstrip() for name, what in rest]
    return told[:MOST_LINES]


def headline(summary: Summary) -> str:
    """The verdict and the size of the run, in one line."""
    took = text.duration(summary["seconds"]) + (" since it was resumed" if summary.get("resumed") else "")
    pages = text.count(summary["pages"] + summary["unchanged"], "page")
    if summary["unchanged"]:
        pages = f"{pages} ({summary['unchanged']:,} unchanged)"
    records = text.count(summary["records"], "record")
    return f"{summary['spider']}: {text.verdict(summary['verdict'])}: {records} from {pages} in {took}"


def _changes(summary: Summary) -> str:
    """What became of the records: taken over, on offer, or not looked at yet."""
    if "offered" in summary:
        offered = summary["offered"]
        return (
            f"not taken over; accept would add {offered['added']:,}, change {offered['changed']:,}, "
            f"remove {offered['removed']:,}"
        )
    if not summary.get("published", summary["verdict"] == Verdict.OK):
        return "not compared yet"
    return f"{summary['added']:,} added, {summary['changed']:,} changed, {summary['removed']:,} removed"


def _rendered(summary: Summary) -> Iterator[tuple[str, str]]:
    """How many pages a browser rendered, and why."""
    if summary.get("rendered"):
        reasons = [f"{number:,} {text.cut(why, 60)}" for why, number in summary["rendered_for"].items()]
        sent = text.count(summary["loads"], "request")
        yield "rendered", f"{summary['rendered']:,}, which sent {sent}: {', '.join(reasons[:MOST_CAUSES])}"
    if summary.get("downloads"):
        yield "", f"{text.count(summary['downloads'], 'file')} that they led to or made"


def _figures(summary: Summary) -> Iterator[tuple[str, str]]:
    rejected = f"; {summary['rejected']:,} not kept" if summary.get("rejected") else ""
    yield "records", f"{summary['records']:,}: {_changes(summary)}{rejected}"
    if standing := summary.get("standing"):
        are = "stands as it was: its page was" if standing == 1 else "stand as they were: their pages were"
        yield "", f"{standing:,} more {are} not read this time"
    if summary.get("duplicates"):
        example = f", e.g. {text.cut(summary['duplicate'], 160)}" if summary.get("duplicate") else ""
        yield "", f"{summary['duplicates']:,} dropped: same key as an earlier record{example}"
    told = [f"{summary['pages']:,} fetched"]
    for name, word in (
        ("unchanged", "unchanged"),
        ("redirected", "redirected"),
        ("retries", "tried again"),
        ("failed", "failed"),
        ("denied", "denied"),
        ("dropped", "dropped"),
        ("pending", "pending"),
    ):
        if summary.get(name):
            told.append(f"{summary[name]:,} {word}")
    if filtered := summary.get("filtered"):
        told.append(f"{text.count(filtered, 'duplicate request')} filtered")
    yield "pages", ", ".join(told)
    if summary.get("other_meta"):
        example = text.cut(summary.get("examples", {}).get(OTHER_META, ""), 160)
        yield "", f"{summary['other_meta']:,} duplicates had another meta, the first stands: {example}"
    yield from _rendered(summary)
    denials: Mapping[str, int] = summary.get("denials", {})
    if denials:
        kinds = [f"{number:,} {text.cut(kind, 60)}" for kind, number in list(denials.items())[:MOST_CAUSES]]
        more = f" and {len(denials) - MOST_CAUSES} more reasons" if len(denials) > MOST_CAUSES else ""
        yield "denied", ", ".join(kinds) + more
    requests = summary.get("requests", summary["pages"])
    # A run that was gone on with knows how long it took since then, not before.
    is_timed = summary["seconds"] and not summary.get("resumed")
    speed = f" ({requests / summary['seconds']:.1f}/s)" if is_timed else ""
    told = [
        f"{text.count(requests, 'request')}{speed}",
        text.size(summary["bytes"]),
        text.count(summary["connections"], "connection"),
        text.count(summary["domains"], "domain"),
    ]
    yield "traffic", ", ".join(told)


def _failures(summary: Summary) -> Iterator[str]:
    """What went wrong, grouped by cause, with an example of each."""
    errors: Mapping[str, int] = summary.get("errors", {})
    for cause, number in list(errors.items())[:MOST_CAUSES]:
        name, kind = ("not kept", "record") if cause == REJECTED else ("failed", text.cut(cause, 60))
        example = text.cut(summary["examples"].get(cause, ""), 240)
        yield f"  {name:<9} {number:,} x {kind}, e.g. {example}"
    if len(errors) > MOST_CAUSES:
        yield f"  {'':<9} and {len(errors) - MOST_CAUSES} more causes"
    if errors.keys() - {REJECTED}:
        yield f"  {'':<9} what failed is asked for again in the next run"


def _unmatched(summary: Summary) -> Iterator[str]:
    """Selectors that found nothing anywhere."""
    unmatched: Mapping[str, int] = summary.get("unmatched", {})
    for query, pages in list(unmatched.items())[:MOST_CAUSES]:
        yield f"  {'selector':<9} {text.cut(query, 120)} matched nothing on {text.count(pages, 'page')}"
    if len(unmatched) > MOST_CAUSES:
        yield f"  {'':<9} and {len(unmatched) - MOST_CAUSES} more selectors"


def _politeness(summary: Summary, exempt: Mapping[str, str]) -> Iterator[str]:
    domains: Mapping[str, Any] = summary["by_domain"]
    if summary["min_gap_s"] is not None and domains:
        name = min(
            (name for name, one in domains.items() if one["min_gap_s"] is not None),
            key=lambda name: domains[name]["min_gap_s"] - domains[name]["delay_s"],
        )
        closest = domains[name]
        gap = text.duration(closest["min_gap_s"])
        source = closest["delay_source"] or "no delay known"
        # A delay that grew later says nothing about the gaps before it.
        when = "by the end: " if closest["min_gap_s"] < closest["delay_s"] else ""
        yield f"  {'polite':<9} smallest gap {gap} at {name} ({when}{source})"
    slowed = [(name, one) for name, one in domains.items() if one.get("limited")]
    for name, one in slowed[:MOST_CAUSES]:
        refused = text.count(one["limited"], "refusal")
        yield f"  {'':<9} {name}: {one['learned'] or 'nothing learned'} ({refused} by rate in this run)"
    breaches = sum(one.get("breaches", 0) for one in domains.values())
    if breaches:
        yield f"  {'':<9} {breaches} of the gaps were shorter than the delay: this is a bug"
    for name, reason in exempt.items():
        yield f"  {'':<9} {name}: robots.txt was not asked for: {reason}"
    for name, reason in summary.get("legacy_tls", {}).items():
        yield f"  {'':<9} {name}: an old TLS was allowed: {reason}"


def _locations(summary: Summary, location: DataLocation) -> Iterator[tuple[str, str]]:
    home = location.data / summary["spider"]
    folder = home / "runs" / summary["run_id"]
    if summary["verdict"] == Verdict.OK or summary["exit_code"] == 0:
        if summary["verdict"] != Verdict.OK:
            yield "so far", str(folder / "records.jsonl")
        elif (home / "records.jsonl").exists():
            yield "files", str(home / "records.jsonl")
            yield "", str(home / "changes.jsonl")
    else:
        yield "files", f"{folder / 'records.jsonl'} ({_untouched(home, summary)})"
    yield from _outputs(summary)
    if (folder / ERRORS).exists():
        yield "errors", f"{folder / ERRORS} (tracebacks)"
    report = folder / "report.html"
    yield ("report", str(report)) if report.exists() else ("log", str(folder / "log.jsonl"))


def _outputs(summary: Summary) -> Iterator[tuple[str, str]]:
    """What became of the files of -o."""
    for output in summary.get("outputs", ()):
        target = "standard output" if output["target"] == "-" else output["target"]
        if "records" in output:
            of = ", a sample of an unfinished run" if output.get("is_sample") else ""
            yield "output", f"{target}: {text.count(output['records'], 'record')}{of}"
        else:
            yield "output", f"{target} was not written: {text.cut(output['reason'], 200)}"


def _untouched(home: Path, summary: Summary) -> str:
    if "accepted" in summary:
        return f"accepted: {home / 'records.jsonl'} is made of them"
    if (home / "records.jsonl").exists():
        return f"{home / 'records.jsonl'} stays as it was"
    return "there are no accepted records yet"


def _next(summary: Summary, location: DataLocation) -> Iterator[tuple[str, str]]:
    """What to do now, as it can be typed."""
    data, spider, run_id = location.data, summary["spider"], summary["run_id"]
    show = command_line("show", run_id, data=data)
    words = summary.get("command") or ["run", spider]
    if summary["exit_code"] in (75, 129, 130, 141, 143) and summary["verdict"] != Verdict.INCOMPLETE:
        yield "go on", command_line(*words, data=data)
    yield from _exports(summary, data)
    match summary["verdict"]:
        case Verdict.OK:
            yield "next", show
            yield "", command_line("cron", spider, "0 3 * * *", data=data)
        case Verdict.INCOMPLETE:
            if summary["exit_code"] == 1:
                yield "look", "give it more time (--max-time), or less to do: max_depth, allowed_domains"
            yield "go on", command_line(*words, data=data)
        case Verdict.DEGRADED | Verdict.EMPTY | Verdict.BROKEN:
            yield "look", show
            yield from _doubts(summary, data)
        case Verdict.BLOCKED:
            yield "look", command_line("audit", run_id, data=data)
            yield "", "ask less often (setting delay), or ask the site's owner"
        case Verdict.AUTH:
            is_setting = any("setting " in reason for reason in summary["reasons"])
            where = f"login() in the spider {spider}, and what it is given (--param)"
            yield "look", f"{'the setting that was refused' if is_setting else where}; then run it again"


def _exports(summary: Summary, data: Path) -> Iterator[tuple[str, str]]:
    """How to get an output that was not written."""
    spider, name = summary["spider"], "write"
    for output in summary.get("outputs", ()):
        if "records" in output or output["target"] == "-":
            continue
        if summary["exit_code"] == 0:
            sample = command_line(
                "run", spider, "--fresh", "--limit", "20", "-o", output["target"], data=data
            )
            yield "sample", sample
            return
        after = "" if summary["verdict"] == Verdict.OK else "  (after accept)"
        yield name, command_line("export", spider, "-o", output["target"], data=data) + after
        name = ""


def _doubts(summary: Summary, data: Path) -> Iterator[tuple[str, str]]:
    if summary["verdict"] == Verdict.EMPTY:
        yield "compare", f"{command_line('fetch', 'URL', '--body', data=data)}  (with what parse() looks for)"
    elif summary["records"]:
        yield "if right", command_line("accept", summary["run_id"], data=data)
