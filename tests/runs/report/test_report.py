"""The report on a run: what a person needs first, right figures, nothing of a site's taken for HTML."""

import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest

from scraper.model import Verdict
from scraper.runs.report import Report, render
from scraper.runs.report.charts import MOST_BARS, buckets
from scraper.runs.report.figures import count, duration, interval, moment, share, size
from scraper.runs.report.markup import clean, element, link

HOSTILE = "</title><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202eexe\x00\ud800&amp;"
VOID = {"meta", "link", "br", "img"}


class Page(HTMLParser):
    """What a browser would make of the page: its text, links and elements; unbalanced elements fail."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "run_id": "20260102-030405-ab12",
        "spider": "books",
        "started_at": "2026-01-02T03:04:05.000+00:00",
        "ended_at": "2026-01-02T03:24:46.000+00:00",
        "seconds": 1241.3,
        "resumed": False,
        "verdict": "OK",
        "reasons": [],
        "exit_code": 0,
        "records": 1000,
        "pages": 50,
        "by_domain": {"example.org": stats()},
    } | changes


def stats(**changes: Any) -> dict[str, Any]:
    return {
        "requests": 51,
        "delay_s": 1.0,
        "delay_source": "setting delay 1 s",
        "min_gap_s": 1.0042,
        "breaches": 0,
        "refusals": 0,
        "connections": 2,
        "robots": {"https://example.org": "0123456789abcdef" * 4},
    } | changes


def page(report: Report) -> Page:
    return Page(render(report))


# The top -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_says_what_to_do_next(verdict: Verdict) -> None:
    text = page(Report(summary(verdict=verdict.value))).text
    assert verdict.value in text and "No verdict" not in text
    assert re.search(r"What to do\s+[A-Z]", text) and "{" not in text


def test_the_verdict_and_its_reasons_come_before_every_figure() -> None:
    text = page(Report(summary(verdict="EMPTY", reasons=["no records in 14 pages"]))).text
    places = [
        text.index(word)
        for word in ("EMPTY: books", "no records in 14", "scraper check books", "Not fetched")
    ]
    assert places == sorted(places)


def test_the_run_to_accept_is_named() -> None:
    assert "scraper accept 20260102-030405-ab12" in page(Report(summary(verdict="DEGRADED"))).text


def test_a_run_that_is_not_accepted_shows_what_accepting_it_would_change() -> None:
    changes = [
        {"change": "changed", "key": f"k{n}", "before": {"p": 1}, "after": {"p": 2}} for n in range(10)
    ]
    offered = {"added": 0, "changed": 120, "removed": 0}
    text = page(Report(summary(verdict="DEGRADED", offered=offered), changes=changes)).text
    assert "What accepting this run would change 120 changed" in text and "and 110 more" in text
    assert "k9" in text and "not taken over" in text and "more example" not in text


def test_an_accepted_run_says_who_accepted_it_and_asks_for_nothing() -> None:
    accepted = {"by": "ann", "at": "2026-01-02T09:00:00+00:00"}
    text = page(Report(summary(verdict="DEGRADED", accepted=accepted))).text
    assert "Accepted by ann, 2026-01-02 09:00 UTC" in text and "scraper accept" not in text


def test_denied_urls_are_told_by_rule_with_an_example() -> None:
    given = {"denied": 1731, "denials": {"outside allowed_domains": 1700, "robots.txt": 31}}
    examples = {"denied: robots.txt": "https://books.test/x: robots.txt line 2"}
    text = page(Report(summary(**given, examples=examples))).text
    assert "1,731 denied by a rule" in text and "outside allowed_domains" in text and "books.test/x" in text


def test_an_exemption_from_robots_is_shown_with_its_reason_before_the_figures() -> None:
    report = Report(summary(), exemptions={"intranet.example": "our own server, agreed 2026-01-02"})
    text = page(report).text
    assert text.index("our own server, agreed 2026-01-02") < text.index("Not fetched")


def test_a_domain_without_a_delay_is_said() -> None:
    by_domain = {"mine.example": stats(delay_s=0.0), "idle.example": stats(delay_s=0.0, requests=0)}
    text = page(Report(summary(by_domain=by_domain))).text
    assert "No delay between requests to mine.example:" in text
    assert "No delay" not in page(Report(summary())).text


def test_a_breach_is_said_at_the_top_and_leads_the_domains() -> None:
    by_domain = {"a.example": stats(requests=900), "b.example": stats(breaches=2, min_gap_s=0.41)}
    text = page(Report(summary(by_domain=by_domain))).text
    assert text.index("2 requests came too early") < text.index("Not fetched")
    assert text.index("b.example 51 1 s") < text.index("a.example 900 1 s")
    assert "The delay was kept" not in text


# History -------------------------------------------------------------------------------------------------


def test_the_first_run_has_nothing_to_be_compared_with() -> None:
    found = page(Report(summary(fill={"title": 1.0})))
    assert "This is the first run" in found.text and "rect" not in found.names
    assert "title" in found.text and "100 %" in found.text


def test_bars_run_from_the_oldest_run_to_this_one() -> None:
    earlier = [summary(records=n, started_at=f"2026-01-0{n}T00:00:00+00:00") for n in (3, 2, 1)]
    html = render(Report(summary(records=4), earlier))
    assert re.findall(r"<rect[^>]*><title>[^<]*: (\d) records?, OK", html) == ["1", "2", "3", "4"]
    assert "4 in this run, the last bar; 2 is the median of the 3 before." in Page(html).text


def test_the_field_that_lost_most_comes_first() -> None:
    earlier = [summary(fill={"title": 1.0, "price": 0.98, "isbn": 0.6})] * 5
    text = page(Report(summary(fill={"title": 1.0, "price": 0.03, "isbn": 0.5, "extra": 0.2}), earlier)).text
    assert text.index("price: 3 %, usually 98 %") < text.index("isbn: 50 %") < text.index("title: 100 %")
    assert "extra: 20 %, new" in text


def test_a_run_without_records_does_not_lower_what_is_usual() -> None:
    earlier = [summary(records=0, fill={}), summary(fill={"price": 0.9}), summary(records=0, fill={})]
    assert "price: 90 %, usually 90 %" in page(Report(summary(fill={"price": 0.9}), earlier)).text


# Changes and failures ------------------------------------------------------------------------------------


def change(kind: str, key: str, before: object, after: object) -> dict[str, object]:
    return {"change": kind, "key": key, "before": before, "after": after}


def test_a_change_shows_its_key_and_each_field_before_and_after() -> None:
    given = change("changed", '["Emma", "Austen"]', {"price": "1", "old": [1]}, {"price": 1, "new": None})
    html = render(Report(summary(changed=20), changes=[given]))
    text = Page(html).text
    assert "20 changed" in text and "Emma · Austen" in text and "19 more in changes.jsonl" in text
    assert re.findall(r"<(?:del|ins)>(.*?)</", html) == ["&quot;1&quot;", "1", "[1]", "null"]


def test_long_texts_are_shown_where_they_differ() -> None:
    same = "word " * 400
    given = change("changed", "k", {"text": f"{same}before"}, {"text": f"{same}after"})
    html = render(Report(summary(), changes=[given]))
    [old, new] = re.findall(r"<(?:del|ins)>(.*?)</", html)
    assert old.startswith("…") and old.endswith("before") and new.endswith("after") and len(old) < 100


def test_totals_without_examples_are_told() -> None:
    text = page(Report(summary(added=1234))).text
    assert "1,234 added See changes.jsonl." in text
    assert "No record was added, changed or removed." in page(Report(summary())).text


def test_causes_stand_by_frequency_each_with_a_link_to_its_example() -> None:
    failures = [
        ("timed out", 1, "https://example.org/slow: timed out"),
        ("KeyError", 7, "https://example.org/odd?a=1&b=2: 'price' is not there"),
    ]
    found = page(Report(summary(failed=8), failures=failures))
    assert found.text.index("KeyError") < found.text.index("timed out")
    assert found.links == ["https://example.org/odd?a=1&b=2", "https://example.org/slow"]
    assert found.text.count("timed out") == 1 and "'price' is not there" in found.text


def test_failures_without_a_cause_are_not_called_none() -> None:
    assert "3 pages failed" in page(Report(summary(failed=3))).text
    assert "No page failed." in page(Report(summary())).text


# Politeness and time line --------------------------------------------------------------------------------


def test_a_domain_s_row_has_the_proof() -> None:
    by_domain = {
        "example.org": stats(
            refusals=3, left="three refusals in a row", delay_source="robots Crawl-delay 1 s"
        )
    }
    text = page(Report(summary(by_domain=by_domain))).text
    row = "example.org three refusals in a row 51 1 s robots Crawl-delay 1 s 1.004 s 0 3 0123456789 2"
    assert row in text and "1 domain. The delay was kept everywhere." in text


def test_hundreds_of_domains_are_folded_and_bounded() -> None:
    by_domain = {f"d{n}.example": stats() for n in range(2000)}
    html = render(Report(summary(by_domain=by_domain)))
    assert html.count('data-label="Domain"') == 500 and "488 more domains" in html
    assert "1,500 more domains in run.json" in html


@pytest.mark.parametrize(
    ("line", "seconds", "width", "parts"),
    [
        ([(0, 1, 2), (0, 1, 0), (2, 1, 1)], 3.0, 1, [(0, 2, 2), (1, 0, 0), (2, 1, 1)]),
        ([(0, 1, 1)], 0.0, 1, [(0, 1, 1)]),
        ([(239, 5, 6)], 240.0, 2, [*((2 * n, 0, 0) for n in range(119)), (238, 5, 6)]),
    ],
)
def test_a_time_line_is_cut_into_equal_parts(
    line: list[tuple[float, int, int]], seconds: float, width: float, parts: list[tuple[float, float, float]]
) -> None:
    assert buckets(line, seconds) == (width, parts)


@pytest.mark.parametrize("end", [0.1, 59, 121, 86_400, 30 * 86_400, 1e12])
def test_a_time_line_of_any_length_keeps_every_page(end: float) -> None:
    line = [(second * end / 500, 1, 2) for second in range(500)] + [(-5.0, 1, 0)]
    width, parts = buckets(line, end)
    assert len(parts) <= MOST_BARS and width * len(parts) >= end
    assert (sum(part[1] for part in parts), sum(part[2] for part in parts)) == (501, 1000)


# Hostile input -------------------------------------------------------------------------------------------


def hostile() -> Report:
    fill = {HOSTILE: 0.5, "bad": "x"}
    by_domain = {HOSTILE: stats(delay_source=HOSTILE, robots={HOSTILE: HOSTILE}, left=HOSTILE)}
    whole = summary(spider=HOSTILE, run_id=HOSTILE, reasons=[HOSTILE, 3], fill=fill, by_domain=by_domain)
    return Report(
        whole,
        [summary(verdict=HOSTILE, started_at=HOSTILE, fill={HOSTILE: 1.0})],
        [change("changed", HOSTILE, {HOSTILE: HOSTILE}, {HOSTILE: [HOSTILE]}), {"change": "added"}],
        [(HOSTILE, 2, HOSTILE), ("a", 1, "javascript:alert(1)"), ("b", 1, f'http://x/"{HOSTILE}')],
        [(0, 1, 1)],
        {HOSTILE: HOSTILE},
        {HOSTILE: HOSTILE},
        [HOSTILE],
    )


def test_nothing_of_a_site_becomes_an_element_an_attribute_or_a_script() -> None:
    found = page(hostile())
    assert not {"script", "img", "iframe", "object", "form"} & set(found.names)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert all(link.startswith(("http://", "https://")) for link in found.links)
    assert "<script>alert(1)</script>" in found.text


def test_the_page_can_be_written_as_utf_8_and_hides_no_character() -> None:
    html = render(hostile())
    assert html.encode("utf-8") and not re.search("[\x00\u202e]", html)


def test_the_page_asks_for_nothing_from_the_network() -> None:
    html = render(hostile())
    assert "default-src 'none'" in html
    assert not re.search(r"@import|url\(|<script|<img|\bsrc=\"", html.replace("&lt;", ""))
    assert re.findall(r'<link[^>]*href="(.*?)"', html) == ["data:,"]


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"verdict": None, "reasons": None, "by_domain": None, "fill": None, "seconds": None},
        {"records": "many", "pages": float("nan"), "seconds": float("inf"), "min_gap_s": -1, "bytes": True},
        {"started_at": 1e99, "ended_at": "yesterday", "fill": {"a": None}},
    ],
)
def test_a_summary_with_holes_is_still_a_report(broken: Mapping[str, Any]) -> None:
    assert page(Report(broken, [broken, broken])).text


def test_a_large_run_stays_a_small_page() -> None:
    giant = "x" * 100_000
    report = Report(
        summary(reasons=[giant] * 100, fill={f"{giant}{n}": 1.0 for n in range(300)}),
        [summary(fill={f"f{n}": 0.5 for n in range(1000)})] * 100,
        [change("changed", giant, {f"{n}{giant}": giant for n in range(50)}, None)] * 200,
        [(giant, n, f"https://example.org/{giant}: {giant}") for n in range(300)],
        [(second, 1, 1) for second in range(50_000)],
        notes=[giant] * 100,
    )
    assert len(render(report)) < 1_500_000


@pytest.mark.parametrize(
    ("url", "is_link"),
    [
        ("https://example.org/a?b=c#d", True),
        ("HTTP://example.org", True),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://user:password@example.org/", False),
        ("https://example.org\\@evil.example/", False),
        ("https://example.org/\u202egpj", False),
        ("//example.org/", False),
        ("https:///x", False),
        ("", False),
    ],
)
def test_only_a_plain_web_address_becomes_a_link(url: str, is_link: bool) -> None:
    assert link(url).html.startswith("<a ") is is_link


def test_text_is_escaped_once_and_markup_not_at_all() -> None:
    inner = element("b", "1 < 2 & 3", title='"quoted"')
    assert inner.html == '<b title="&quot;quoted&quot;">1 &lt; 2 &amp; 3</b>'
    assert element("p", inner, None, 0).html == f"<p>{inner.html}0</p>"


@pytest.mark.parametrize(
    ("value", "longest", "text"),
    [
        ("a\n\t b", 10, "a b"),
        ("abcdef", 4, "abc…"),
        ("a\x00\u202eb", 10, "a\ufffd\ufffdb"),
        ("e" + "\u0301" * 50, 20, "e" + "\u0301" * 3),
        ("\U0001f469\u200d\U0001f52c", 10, "\U0001f469\u200d\U0001f52c"),
        (None, 10, "None"),
    ],
)
def test_clean_text_is_one_short_visible_line(value: object, longest: int, text: str) -> None:
    assert clean(value, longest) == text


# Figures -------------------------------------------------------------------------------------------------


def test_figures_are_written_for_people() -> None:
    assert [count(n) for n in (0, 999, 12345.0)] == ["0", "999", "12,345"]
    assert [share(x) for x in (0, 0.001, 0.5, 0.999, 1)] == ["0 %", "<1 %", "50 %", ">99 %", "100 %"]
    assert [size(n) for n in (0, 1023, 1536, 5e8, 2e15)] == [
        "0 bytes",
        "1023 bytes",
        "1.5 KiB",
        "477 MiB",
        "1819.0 TiB",
    ]
    assert [duration(s) for s in (0.84, 48, 60, 312, 7500)] == [
        "0.8 s",
        "48 s",
        "1 min",
        "5 min 12 s",
        "2 h 05 min",
    ]
    assert [interval(s) for s in (1.0, 1.0042, 0.41, 120)] == ["1 s", "1.004 s", "0.41 s", "120 s"]


def test_a_moment_is_read_from_text_and_seconds_and_told_in_utc() -> None:
    assert moment("2026-01-02T04:04:05+01:00") == moment(1767323045.9) == "2026-01-02 03:04 UTC"
    bad: list[object] = ["x", None, 1e99, float("nan"), []]
    assert [moment(value) for value in bad] == [""] * 5


def test_the_summary_as_written_to_run_json_makes_a_report() -> None:
    assert "1,000" in page(Report(json.loads(json.dumps(summary())))).text
