"""What a run changed and what failed, with examples."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scraper.runs.report.content import Report
from scraper.runs.report.figures import count, counted, number, plural
from scraper.runs.report.markup import Markup, clean, element, folded, link

SHOWN_CHANGES = 4
SHOWN_OFFERED = 10
MOST_CHANGES = 25
SHOWN_FAILURES = 8
MOST_FAILURES = 200
MOST_VALUES = 12
_LONGEST_VALUE = 160

Change = Mapping[str, Any]


def changes(report: Report) -> Markup:
    """Counts by kind, and the first examples of each: of what changed, or of what `accept` would change."""
    offered = report.summary.get("offered")
    totals = offered if isinstance(offered, Mapping) else report.summary
    groups = [_group(report, totals, kind) for kind in ("changed", "removed", "added")]
    found = [group for group in groups if group is not None]
    if totals is not report.summary:
        title, told = "What accepting this run would change", "It would change nothing."
    elif report.summary.get("verdict") == "INCOMPLETE" and not report.summary.get("published"):
        title, told = "Changes", "Not compared yet: the run is unfinished."
    else:
        title, told = "Changes", "No record was added, changed or removed."
    nothing = element("p", told, class_="quiet")
    return element("section", element("h2", title), *(found or [nothing]))


def _group(report: Report, totals: Mapping[str, Any], kind: str) -> Markup | None:
    is_offered = totals is not report.summary
    given = [change for change in report.changes if change.get("change") == kind]
    total = max(number(totals, kind), len(given))
    if not total:
        return None
    shown = [_example(change) for change in given[:MOST_CHANGES]]
    first = SHOWN_OFFERED if is_offered else SHOWN_CHANGES
    rest = shown[first:]
    left = total - len(shown)
    told = f"{count(left)} more in changes.jsonl" if shown else "See changes.jsonl."
    if is_offered:
        told = f"and {count(left)} more"
    return element(
        "div",
        element("h3", f"{count(total)} {kind}"),
        *shown[:first],
        folded(plural(len(rest), "more example"), *rest) if rest else None,
        element("p", told, class_="quiet") if left else None,
        class_=f"changes {kind}",
    )


def _example(change: Change) -> Markup:
    before, after = _fields(change.get("before")), _fields(change.get("after"))
    names = list({**before, **after})
    lines = [_line(name, before, after) for name in names[:MOST_VALUES]]
    if len(names) > MOST_VALUES:
        lines.append(
            element("div", element("dt", "…"), element("dd", plural(len(names) - MOST_VALUES, "more field")))
        )
    return element(
        "article",
        element("h4", _key(change.get("key"))),
        element("dl", *lines) if lines else None,
        class_="change",
    )


def _fields(side: object) -> Mapping[str, Any]:
    return side if isinstance(side, Mapping) else {}


def _line(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Markup:
    old, new = _pair(before.get(name), after.get(name))
    return element(
        "div",
        element("dt", clean(name, 60)),
        element(
            "dd",
            element("del", old) if name in before else None,
            element("span", " → ", class_="arrow") if name in before and name in after else None,
            element("ins", new) if name in after else None,
        ),
    )


def _pair(before: object, after: object) -> tuple[str, str]:
    """Both values short enough to read; long texts from near the first difference on."""
    old, new = _text(before), _text(after)
    if old == new:
        old, new = _json(before), _json(after)
    alike = next((n for n, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), 0)
    start = max(alike - 40, 0)
    if start and max(len(old), len(new)) > _LONGEST_VALUE:
        old, new = f"…{old[start:]}", f"…{new[start:]}"
    return clean(old, _LONGEST_VALUE), clean(new, _LONGEST_VALUE)


def _text(value: object) -> str:
    return value if isinstance(value, str) and value.strip() else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _key(key: object) -> str:
    """A key of several fields is a JSON list: its parts, side by side."""
    text = str(key)
    try:
        parts = json.loads(text) if len(text) < 10_000 and text.startswith("[") else None
    except (ValueError, RecursionError):
        parts = None
    return clean(" · ".join(map(_text, parts)) if isinstance(parts, list) else text, 120)


# Failures ------------------------------------------------------------------------------------------------


def failures(report: Report) -> Markup:
    """Causes, the most frequent first, each with one example; then the rules that kept us from URLs."""
    ranked = sorted(report.failures, key=lambda failure: -failure[1])[:MOST_FAILURES]
    failed = number(report.summary, "failed")
    told = f"{plural(failed, 'page')} failed: see log.jsonl." if failed else "No page failed."
    found = _ranked(ranked) if ranked else [element("p", told, class_="quiet")]
    return element("section", element("h2", "Failures"), *found, *_denied(report.summary))


def _denied(summary: Mapping[str, Any]) -> list[Markup]:
    denials, examples = summary.get("denials"), summary.get("examples") or {}
    if not isinstance(denials, Mapping) or not denials:
        return []
    ranked = [
        (kind, int(number(denials, kind)), str(examples.get(f"denied: {kind}", ""))) for kind in denials
    ]
    return [element("h3", f"{counted(summary, 'denied')} denied by a rule"), *_ranked(ranked[:MOST_FAILURES])]


def _ranked(ranked: Sequence[tuple[str, int, str]]) -> list[Markup]:
    shown, rest = ranked[:SHOWN_FAILURES], ranked[SHOWN_FAILURES:]
    more = folded(plural(len(rest), "rarer cause"), _causes(rest)) if rest else None
    return [_causes(shown), *([more] if more else [])]


def _causes(ranked: Sequence[tuple[str, int, str]]) -> Markup:
    return element("ol", *(_cause(*failure) for failure in ranked), class_="failures")


def _cause(cause: str, times: int, example: str) -> Markup:
    found = re.match(r"(\S+?):?(?:\s+(.*))?$", example[:4000], re.DOTALL)
    url, said = (found[1], found[2]) if found else (example, None)
    is_news = said and said not in cause and cause not in said
    return element(
        "li",
        element("b", count(times), class_="times"),
        element("span", clean(cause, 200), class_="cause"),
        element(
            "span", "for example ", link(url), f": {clean(said, 240)}" if is_news else None, class_="example"
        )
        if example
        else None,
    )
