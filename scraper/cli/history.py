"""`runs`, `show` and `audit`: past runs, from the store."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from scraper.app.admin.audit import DomainAudit, audit
from scraper.app.project import (
    check_spider,
    existing_store,
    facts_of_run,
    find_run,
    needed_store,
    runs_of,
    state_of,
)
from scraper.cli import run_summary, text
from scraper.cli.options import DataLocation, command_line, data_options, json_option
from scraper.ops.printable import json_text, printable
from scraper.store import Run, Store


@click.command("runs")
@click.argument("spider", required=False)
@data_options
@click.option(
    "-n", "limit", metavar="N", default=20, show_default=True, type=click.IntRange(1), help="How many."
)
@json_option("One JSON object a run, newest first.")
def runs_command(spider: str | None, data: Path, store: str | None, limit: int, as_json: bool) -> None:
    """The last runs, newest first.

    \b
    python -m scraper runs
    python -m scraper runs bookshop -n 5
    """
    found = existing_store(data, store)
    if found is None:
        if not as_json:
            click.echo(f"no runs in {data}/ yet: {command_line('run', 'bookshop', data=data)}")
        return
    with closing(found):
        runs = runs_of(found, spider, limit)
        if spider and not runs:
            check_spider(spider)
        if as_json:
            for run in runs:
                click.echo(json_text(facts_of_run(found, run)))
            return
        for line in (
            _table(found, runs) if runs else [f"no runs of {spider} yet" if spider else "no runs yet"]
        ):
            click.echo(line)


def _table(store: Store, runs: list[Run]) -> list[str]:
    heads = ("RUN", "SPIDER", "STARTED", "TOOK", "PAGES", "RECORDS", "VERDICT")
    head, *lines = text.table(heads, [_row(store, run) for run in runs], right=(3, 4, 5))
    told = [head]
    for run, line in zip(runs, lines, strict=True):
        told.append(line)
        if accepted := _accepted(run):
            told.append(f"{'':<{len(run.id)}}  {accepted}")
    return told


def _accepted(run: Run) -> str:
    """Who took the run's records over, and when; empty where nobody had to."""
    accepted = run.summary.get("accepted")
    if not accepted:
        return ""
    return f"accepted by {text.cut(accepted['by'], 40)}, {text.moment(text.iso(accepted['at']))}"


def _row(store: Store, run: Run) -> tuple[str, ...]:
    found = run.summary
    took = text.duration(found["seconds"]) if "seconds" in found else ""
    pages = f"{found['pages'] + found['unchanged']:,}" if "pages" in found else ""
    records = f"{found['records']:,}" if "records" in found else ""
    started = text.moment(run.started_at)
    return run.id, text.cut(run.spider, 16), started, took, pages, records, state_of(store, run)


@click.command("show")
@click.argument("run")
@data_options
@json_option("The content of run.json, in one line.")
def show_command(run: str, data: Path, store: str | None, as_json: bool) -> None:
    """One run: its counts, its verdict and the reasons.

    RUN is the id of a run, or a spider's name for its last run.

    \b
    python -m scraper show bookshop
    python -m scraper show 20260102-030405-7 --json | jq .by_domain
    """
    with closing(needed_store(data, store)) as found:
        known = find_run(found, run)
        if as_json:
            click.echo(json_text(facts_of_run(found, known)))
            return
        for line in _shown(found, known, DataLocation(data)):
            click.echo(line)


def _shown(store: Store, run: Run, location: DataLocation) -> Iterator[str]:
    yield f"run {run.id} of {run.spider}, started {text.moment(run.started_at)}, {_state_of(store, run)}"
    if "by_domain" not in run.summary:
        if run.state != "ended" and state_of(store, run) != "running":
            given = (run.params or {}).items()
            params = [
                word
                for name, value in given
                for word in ("--param", f"{name}={'-' if value is None else value}")
            ]
            yield f"  {'go on':<9} {command_line('run', run.spider, *params, data=location.data)}"
        return
    yield from run_summary.full(run.summary, location, {}, is_shown=True, width=text.room(sys.stdout))
    domains: Mapping[str, Any] = run.summary["by_domain"]
    left = [(name, one["left"]) for name, one in domains.items() if one.get("left")]
    for name, reason in left[:10]:
        yield f"  {'left':<9} {name}: {printable(reason)}"
    if len(domains) > 1:
        yield ""
        yield from _by_domain(domains)


def _state_of(store: Store, run: Run) -> str:
    if run.state == "ended":
        if accepted := _accepted(run):
            return accepted
        return "its records are accepted" if run.is_accepted else "its records are not accepted"
    state = state_of(store, run)
    return {"running": "running now", "killed": "killed: the next run resumes it"}.get(
        state, "to be gone on with"
    )


def _by_domain(domains: Mapping[str, Any]) -> list[str]:
    most = sorted(domains.items(), key=lambda each: -each[1]["requests"])
    rows = [
        (
            name,
            one["requests"],
            one["pages"] + one["unchanged"],
            one["records"],
            one["failed"],
            one["delay_source"],
        )
        for name, one in most[:30]
    ]
    lines = text.table(
        ("DOMAIN", "REQUESTS", "PAGES", "RECORDS", "FAILED", "DELAY"), rows, right=(1, 2, 3, 4)
    )
    return lines + ([f"and {len(most) - 30} more domains"] if len(most) > 30 else [])


@click.command("audit")
@click.argument("run")
@data_options
@json_option("One JSON object a domain.")
def audit_command(run: str, data: Path, store: str | None, as_json: bool) -> int:
    """Prove the politeness of a run, domain by domain.

    RUN is the id of a run, or a spider's name for its last run. GAP is the smallest distance between two
    requests to the domain, SHORT how many were shorter than the delay, REFUSED how often the site refused
    us, DELAY what was required at the end and by whom. Exit 1 where a gap was too short.

    \b
    python -m scraper audit bookshop
    """
    with closing(needed_store(data, store)) as found:
        known = find_run(found, run)
        domains = audit(found, known)
    if as_json:
        for domain in domains:
            click.echo(json_text(asdict(domain)))
    else:
        for line in _audited(known, domains):
            click.echo(line)
    return 1 if any(domain.breaches for domain in domains) else 0


def _audited(run: Run, domains: list[DomainAudit]) -> Iterator[str]:
    breaches = sum(domain.breaches for domain in domains)
    told = f"{breaches} breaches of the delay" if breaches else "no gap was shorter than its delay"
    requests = text.count(sum(domain.requests for domain in domains), "request")
    yield f"run {run.id} of {run.spider}: {requests} to {text.count(len(domains), 'domain')}, {told}"
    yield ""
    heads = ("DOMAIN", "ASKED", "GAP", "DELAY", "SHORT", "REFUSED", "DELAY SET BY")
    rows = []
    for one in domains:
        gap = "" if one.min_gap_s is None else text.duration(one.min_gap_s)
        delay = text.duration(one.delay_s)
        rows.append((one.domain, one.requests, gap, delay, one.breaches, one.refusals, one.delay_source))
    yield from text.table(heads, rows, right=(1, 2, 3, 4, 5))
    robots = [(one.domain, copy) for one in domains for copy in one.robots]
    if robots:
        yield ""
        yield from text.table(
            ("ROBOTS.TXT OF", "HASH", "READ", "STATUS"),
            [(copy.origin, copy.hash, _age(copy.age_s), copy.told) for _, copy in robots],
        )


def _age(seconds: float | None) -> str:
    return "" if seconds is None else f"{text.duration(seconds)} ago"
