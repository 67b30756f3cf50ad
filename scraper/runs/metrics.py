"""Prometheus metrics of a project (text exposition format 0.0.4)."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from scraper.model import Verdict

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_DOMAINS = 200  # of a run: a series each

Summary = Mapping[str, Any]
_GAUGES = {
    "records": "Records of the last run.",
    "pages": "Pages that the last run fetched.",
    "unchanged": "Pages that were as they were.",
    "failed": "URLs that failed.",
    "denied": "URLs that a rule kept the run from.",
    "retries": "Requests that were tried again.",
    "requests": "Requests sent.",
    "bytes": "Bytes received.",
    "seconds": "Seconds that the last run took.",
    "exit_code": "Exit code of the last run.",
}
_OF_DOMAIN = {
    "min_gap_s": ("min_gap_seconds", "Smallest gap between two requests of the last run."),
    "delay_s": ("delay_seconds", "Delay in force at the end of the last run."),
    "refusals": ("refusals", "Answers of the last run that were refusals."),
    "limited": ("limited", "Answers of the last run that asked for a slower pace or a wait."),
    "breaches": ("breaches", "Gaps of the last run that were shorter than the delay."),
}


def render(last: Iterable[Summary]) -> str:
    """The metrics of the last run of each spider, from its summary (run.json)."""
    return "".join(f"{line}\n" for line in _lines([one for one in last if "by_domain" in one]))


def _lines(last: list[Summary]) -> Iterator[str]:
    for name, told in _GAUGES.items():
        yield from head(f"run_{name}", told)
        yield from (series(f"run_{name}", one.get(name, 0), spider=one["spider"]) for one in last)
    yield from head("run_ended_timestamp_seconds", "Moment at which the last run ended.")
    yield from (series("run_ended_timestamp_seconds", _seconds(one), spider=one["spider"]) for one in last)
    yield from head("run_verdict", "The verdict of the last run: 1 for the one that holds.")
    for one in last:
        for verdict in Verdict:
            holds = int(one["verdict"] == verdict)
            yield series("run_verdict", holds, spider=one["spider"], verdict=verdict.value)
    yield from _of_domains(last)


def _of_domains(last: list[Summary]) -> Iterator[str]:
    for key, (name, told) in _OF_DOMAIN.items():
        yield from head(f"domain_{name}", told)
        for one in last:
            most = sorted(one["by_domain"].items(), key=lambda each: -each[1].get("requests", 0))
            for domain, stats in most[:MOST_DOMAINS]:
                if stats.get(key) is not None:
                    yield series(f"domain_{name}", stats[key], spider=one["spider"], domain=domain)


def _seconds(summary: Summary) -> float:
    try:
        return datetime.fromisoformat(summary["ended_at"]).timestamp()
    except (KeyError, ValueError):
        return 0.0


def head(name: str, told: str, kind: str = "gauge") -> tuple[str, str]:
    """The lines that say what a metric is."""
    return f"# HELP scraper_{name} {told}", f"# TYPE scraper_{name} {kind}"


def series(name: str, value: float, **labels: str) -> str:
    """One line: a metric with its labels and its value."""
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"scraper_{name}{{{told}}} {value}" if told else f"scraper_{name} {value}"


def _escaped(text: object) -> str:
    return str(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
