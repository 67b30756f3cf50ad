"""The top of the page: the verdict, why, what to do next, what to know, and the figures of the run."""

from collections.abc import Iterator, Mapping
from typing import Any

from scraper.runs.report.content import Report
from scraper.runs.report.figures import count, counted, duration, interval, moment, number, plural, size
from scraper.runs.report.markup import Child, Markup, clean, element, join

MOST_REASONS = 20
MOST_NOTES = 20

_KEPT = "The current records were left as they were."
_ACCEPTED = "Nothing: a person has looked, and the records of this run are the current ones."
# What the verdict means, and what to do next. {run} and {spider} are replaced, `code` is set as such.
_WORDS = {
    "OK": ("All is well", "Nothing: the records of this run are the current ones."),
    "DEGRADED": (
        "Not as it was, or as the spider says",
        f"{_KEPT} If the spider is right and the site really is so, take this run over with "
        "`{program} accept {run}`; if not, mend the spider and run again.",
    ),
    "EMPTY": (
        "Nothing was found",
        f"{_KEPT} Hold the spider against its saved pages with `{{program}} check {{spider}}`, and against "
        "the site in a browser. If there is really nothing to find, declare `allow_empty` in its health.",
    ),
    "BROKEN": (
        "The run failed",
        f"{_KEPT} Look at Failures below: mend the spider where its code raised, wait where the site is "
        "down, then `{program} run {spider}`.",
    ),
    "BLOCKED": (
        "The site refuses us",
        "Do not try harder. Read the site's terms, ask its owner, raise the `delay`, and make sure that "
        "`contact` says who you are. Then `{program} run {spider}`.",
    ),
    "AUTH": (
        "The login did not work",
        "Nothing more was tried, so that the account is not locked. Check its name and password by hand, "
        "then `{program} run {spider}`.",
    ),
    "INCOMPLETE": (
        "There is more to fetch",
        "What was fetched is saved. `{program} run {spider}` goes on where this run stopped.",
    ),
}
_UNKNOWN = ("No verdict", "The run has not ended yet, or its summary was not written.")


def headline(report: Report) -> Markup:
    """The verdict with its reasons and the next step."""
    summary = report.summary
    kind = verdict_of(summary)
    meaning, advice = _WORDS.get(kind, _UNKNOWN)
    if "accepted" in summary:
        advice = _ACCEPTED
    names = {
        name: clean(summary.get(key, ""), 100) for name, key in (("run", "run_id"), ("spider", "spider"))
    }
    names["program"] = clean(report.program, 200)
    reasons = list(summary.get("reasons") or ())
    listed = [element("li", clean(reason, 500)) for reason in reasons[:MOST_REASONS]]
    if len(reasons) > MOST_REASONS:
        listed.append(element("li", f"and {len(reasons) - MOST_REASONS} more"))
    return element(
        "section",
        element("p", element("strong", kind), element("span", meaning), class_="word"),
        element("ul", *listed, class_="reasons") if listed else None,
        element("p", element("b", "What to do "), _with_code(advice, names), class_="next"),
        class_=f"verdict {kind}",
        aria_label="Verdict",
    )


def verdict_of(summary: Mapping[str, Any]) -> str:
    """A verdict that we know; "NONE" else."""
    verdict = str(summary.get("verdict"))
    return verdict if verdict in _WORDS else "NONE"


def notices(report: Report) -> Markup | None:
    """What a person must not miss, though the verdict may be OK."""
    found = [*_breaches(report), *(element("li", *told, class_="notice") for told in _notices(report))]
    return element("ul", *found, class_="notices", aria_label="Notices") if found else None


def _breaches(report: Report) -> Iterator[Markup]:
    by_domain = report.summary.get("by_domain") or {}
    if breaches := sum(number(stats, "breaches") for stats in by_domain.values()):
        told = f"{plural(breaches, 'request')} came too early: see Politeness."
        yield element("li", element("b", "Delay not kept. "), told, class_="notice BROKEN")


def _notices(report: Report) -> Iterator[tuple[Child, ...]]:
    by_domain = report.summary.get("by_domain") or {}
    for domain, reason in list(report.exemptions.items())[:MOST_NOTES]:
        yield element("b", "robots.txt is not asked"), f" at {clean(domain, 100)}: {clean(reason)}"
    for host, reason in list(report.summary.get("legacy_tls", {}).items())[:MOST_NOTES]:
        yield element("b", "An old TLS is allowed"), f" at {clean(host, 100)}: {clean(reason)}"
    hurried = [
        name for name, stats in by_domain.items() if stats.get("requests") and stats.get("delay_s") == 0
    ]
    if hurried:
        told = ", ".join(clean(name, 60) for name in hurried[:5])
        more = f" and {len(hurried) - 5} more" if len(hurried) > 5 else ""
        yield (
            element("b", "No delay"),
            f" between requests to {told}{more}: right only for a server of your own.",
        )
    accepted = report.summary.get("accepted")
    if isinstance(accepted, Mapping):
        who, when = clean(accepted.get("by", "somebody"), 60), moment(accepted.get("at"))
        yield element("b", "Accepted"), f" by {who}, {when}."
    if standing := number(report.summary, "standing"):
        told = f" of pages that this run did not read, as they were: {count(standing)}."
        yield element("b", "Records that stand"), told
    if report.summary.get("resumed"):
        yield element("b", "Resumed. "), "An earlier process had begun this run; nothing was fetched twice."
    for note in report.notes[:MOST_NOTES]:
        yield (clean(note, 500),)


def figures(report: Report) -> Markup:
    """The run in five figures."""
    summary = report.summary
    missed = [(name, number(summary, name)) for name in ("failed", "denied", "deferred")]
    changes = "not taken over" if "offered" in summary else "not compared yet"
    if summary.get("published", summary.get("verdict") == "OK"):
        changes = "{}\u00a0added · {}\u00a0changed · {}\u00a0removed".format(
            *(counted(summary, name) for name in ("added", "changed", "removed"))
        )
    gap = number(summary, "min_gap_s")
    places = [
        plural(number(summary, f"{name}s"), name, "").replace(" ", "\u00a0")
        for name in ("domain", "connection")
    ]
    return element(
        "dl",
        _figure("Records", counted(summary, "records"), changes),
        _figure("Pages", counted(summary, "pages"), f"{counted(summary, 'unchanged')} more unchanged"),
        _figure(
            "Not fetched",
            count(sum(n for _, n in missed)),
            " · ".join(f"{count(n)}\u00a0{name}" for name, n in missed),
        ),
        _figure("Time", duration(number(summary, "seconds")), f"{size(number(summary, 'bytes'))} received"),
        _figure("Smallest gap", interval(gap) if gap else "none", " · ".join(places)),
        class_="figures",
    )


def masthead(report: Report) -> Markup:
    """Which run this is."""
    summary = report.summary
    started, ended = moment(summary.get("started_at")), moment(summary.get("ended_at"))
    when = f"{started} to {ended}" if started and ended else started
    exit_code = summary.get("exit_code")
    told = [clean(summary.get("run_id", ""), 100), when, f"exit {exit_code}" if exit_code is not None else ""]
    return element(
        "header",
        element("h1", clean(summary.get("spider") or "Run", 120)),
        element("p", " · ".join(filter(None, told))),
    )


def _figure(name: str, value: str, detail: str) -> Markup:
    return element("div", element("dt", name), element("dd", element("b", value), element("span", detail)))


def _with_code(advice: str, names: Mapping[str, str]) -> Markup:
    """Words with `code` in them."""
    pieces = [piece.format(**names) for piece in advice.split("`")]
    return join(element("code", piece) if n % 2 else piece for n, piece in enumerate(pieces))
