"""What a run changed and what failed, with examples."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from scraper.runs.report.content import Report
from scraper.runs.report.figures import count, number, plural
from scraper.runs.report.markup import Markup, clean, element, folded, link

SHOWN_CHANGES = 4
MOST_CHANGES = 25
SHOWN_FAILURES = 8
MOST_FAILURES = 200
MOST_VALUES = 12
_LONGEST_VALUE = 160

Change = Mapping[str, Any]


def changes(report: Report) -> Markup:
    """Counts by kind, and the first examples of each."""
    groups = [_group(report, kind) for kind in ("changed", "removed", "added")]
    found = [group for group in groups if group is not None]
    nothing = element("p", "No record was added, changed or removed.", class_="quiet")
    return element("section", element("h2", "Changes"), *(found or [nothing]))


def _group(report: Report, kind: str) -> Markup | None:
    given = [change for change in report.changes if change.get("change") == kind]
    total = max(number(report.summary, kind), len(given))
    if not total:
        return None
    shown = [_example(change) for change in given[:MOST_CHANGES]]
    rest = shown[SHOWN_CHANGES:]
    left = total - len(shown)
    told = f"{count(left)} more in changes.jsonl" if shown else "See changes.jsonl."
    return element(
        "div",
        element("h3", f"{count(total)} {kind}"),
        *shown[:SHOWN_CHANGES],
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
    """Causes, the most frequent first, each with one example."""
    ranked = sorted(report.failures, key=lambda failure: -failure[1])[:MOST_FAILURES]
    if not ranked:
        failed = number(report.summary, "failed")
        told = f"{plural(failed, 'page')} failed: see log.jsonl." if failed else "No page failed."
        return element("section", element("h2", "Failures"), element("p", told, class_="quiet"))
    shown, rest = ranked[:SHOWN_FAILURES], ranked[SHOWN_FAILURES:]
    return element(
        "section",
        element("h2", "Failures"),
        _causes(shown),
        folded(plural(len(rest), "rarer cause"), _causes(rest)) if rest else None,
    )


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
