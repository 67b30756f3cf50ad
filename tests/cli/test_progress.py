"""What a person sees of a run under way: lines, and the live view."""

import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console

from scraper.cli import live
from scraper.cli.live import View
from scraper.cli.progress import MOST_DOMAINS, ConsoleLog, Counts, Pace, ProgressLog, estimate_of
from scraper.model import Denied, Entry, Exchange, Failed, Fetched, Known, Outcome, RecordLine, Retry, Visit
from scraper.runs.events import (
    DomainLeft,
    DomainState,
    Event,
    PaceSet,
    Refused,
    RestBegan,
    RunBegan,
    Ticked,
    Visited,
)

DEFAULT = Pace(1.0, "default delay")


def visited(outcome: Outcome, url: str = "https://shop.test/a", domain: str = "shop.test") -> Visited:
    return Visited(Visit(Entry(1, domain, b"", url), outcome, Exchange(0.0, 0.1, 0.2, 200)))


def said(events: Sequence[Event], pace: Pace = DEFAULT, exempt: dict[str, str] | None = None) -> list[str]:
    counts, lines = Counts("shop"), list[str]()
    console = ConsoleLog(counts, lines.append, pace, exempt or {}, 4)
    for event in events:
        counts(event)
        console(event)
    return lines


FETCHED = Fetched(Known(1), (RecordLine("k", "{}"),))


@pytest.mark.parametrize(
    ("events", "pace", "told"),
    [
        ([], DEFAULT, "shop.test: 1 request every 1 s (default delay)"),
        (
            [PaceSet("shop.test", 10.0, "robots Crawl-delay 10 s")],
            DEFAULT,
            "shop.test: 1 request every 10 s (robots.txt Crawl-delay)",
        ),
        (
            [PaceSet("shop.test", 5.0, "robots Request-rate 1/5s")],
            DEFAULT,
            "shop.test: 1 request every 5 s (robots.txt Request-rate)",
        ),
        (
            [],
            Pace(0.0, "delay of --set"),
            "shop.test: no delay between requests (delay of --set is 0): for your own server only",
        ),
    ],
)
def test_at_its_first_request_a_domain_is_announced_with_its_pace(
    events: list[Event], pace: Pace, told: str
) -> None:
    assert said([*events, visited(FETCHED), visited(FETCHED)], pace) == [told]


def test_a_pace_that_changes_by_much_is_news_and_one_that_wavers_is_none() -> None:
    slower = [PaceSet("shop.test", delay, "delay_factor 1 x last response") for delay in (1.2, 1.1, 4.0, 4.4)]
    lines = said([visited(FETCHED), *slower])
    assert lines[1:] == ["shop.test: now 1 request every 4 s (delay_factor 1 x last response)"]


def test_equal_failures_are_shown_thrice_and_then_only_counted() -> None:
    events = [
        visited(Failed("status 404", "status 404"), url=f"https://shop.test/{number}") for number in range(50)
    ]
    lines = said(events)
    assert lines[1:] == [
        "failed https://shop.test/0: status 404",
        "failed https://shop.test/1: status 404",
        "failed https://shop.test/2: status 404",
        "more like this are only counted: failed: status 404",
    ]


def test_failures_of_another_kind_are_still_shown() -> None:
    events = [visited(Failed("status 404", "status 404")) for _ in range(9)] + [visited(Failed("timed out"))]
    assert said(events)[-1] == "failed https://shop.test/a: timed out"


def test_a_retry_tells_cause_and_tries() -> None:
    line = said([visited(Retry("status 503"))])[-1]
    assert line == "retry https://shop.test/a: status 503 (attempt 1 of 4, tried again later)"
    line = said([visited(Retry("refused by rate: status 429", counts=False))])[-1]
    assert line == "retry https://shop.test/a: refused by rate: status 429 (tried again later)"


def test_rests_and_domains_left_are_told_with_their_reason() -> None:
    events: list[Event] = [
        RestBegan("shop.test", 200.0, "Retry-After 200 s"),
        DomainLeft("shop.test", "refused 3 times in a row"),
        visited(Denied("robots.txt line 3: Disallow: /x")),
        Refused("https://elsewhere.test/", "outside allowed_domains"),
    ]
    lines = said(events)
    assert lines[0] == "shop.test: rests for 3 min 20 s: Retry-After 200 s"
    assert lines[1] == "shop.test: left for a later run: refused 3 times in a row"
    assert lines[-1] == "denied https://shop.test/a: robots.txt line 3: Disallow: /x"


def test_reasons_for_leaving_out_robots_stand_at_the_start() -> None:
    lines = said([RunBegan("shop", "r1", False)], exempt={"own.test": "our own server"})
    assert lines == ["shop: starts run r1", "own.test: robots.txt is not asked for: our own server"]


def test_hundreds_of_domains_are_not_announced_one_by_one() -> None:
    lines = said([visited(FETCHED, domain=f"{number}.test") for number in range(300)])
    assert len(lines) == MOST_DOMAINS + 1 and "more domains" in lines[-1]


def test_what_a_site_sends_cannot_move_the_cursor() -> None:
    line = said([visited(Failed("x\x1b[2J\ny", "z"), url="https://shop.test/\x1b[1A")])[-1]
    assert "\x1b" not in line and "\n" not in line


def test_with_worker_processes_their_sums_are_shown() -> None:
    counts = Counts("shop")
    state = DomainState("shop.test", 7, 0.0, "setting delay 1 s", 0, 0)
    tick = Ticked(7, 6, 1, 0, 9, (state,), 1)
    lines = list[str]()
    console = ConsoleLog(counts, lines.append, DEFAULT, {}, 4)
    for _ in range(2):
        counts(tick)
        console(tick)
    assert (counts.pages, counts.records, counts.failed) == (7, 6, 1)
    assert lines == ["shop.test: 1 request every 1 s (default delay)"]


@pytest.mark.parametrize(
    ("reason", "told"),
    [("robots Crawl-delay 10 s", ["shop.test: robots Crawl-delay 10 s"]), ("backoff after failure 1", [])],
)
def test_the_rule_of_a_domain_that_is_waited_for_is_told_and_a_rest_only_once(
    reason: str, told: list[str]
) -> None:
    tick = Ticked(0, 0, 0, 0, 1, (DomainState("shop.test", 0, 8.0, reason, 0, 1),), 1)
    assert said([tick, tick]) == told


def test_progress_comes_now_and_then_and_names_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("scraper.cli.progress.monotonic", lambda: now[0])
    counts = Counts("shop", began_at=0.0)
    lines = list[str]()
    progress = ProgressLog(counts, lines.append, (None, None))
    waiting = DomainState("shop.test", 7, 8.2, "robots Crawl-delay 10 s", 0, 3)
    for second in range(121):
        now[0] = float(second)
        counts(visited(FETCHED))
        event = Ticked(0, 0, 0, 0, 50, (waiting,), 1)
        counts(event)
        progress(event)
    assert 6 <= len(lines) <= 9
    assert "1.0/s" in lines[-1] and "50 pending" in lines[-1] and "at least 50 s left" in lines[-1]
    assert lines[-1].endswith("waits 8.2 s for shop.test: robots Crawl-delay 10 s")


def test_the_time_left_is_bounded_by_the_limits_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("scraper.cli.progress.monotonic", lambda: now[0])
    counts = Counts("shop", began_at=0.0)
    assert counts.time_left(None, None) is None
    for second in range(10):
        now[0] = float(second + 1)
        counts(visited(FETCHED))
        counts(Ticked(0, 0, 0, 0, 1000, (), 0))
    assert counts.time_left(None, None) == pytest.approx(1000, rel=0.1)
    assert counts.time_left(12, None) == pytest.approx(2, rel=0.1)
    assert counts.time_left(None, 15.0) == 5.0


@pytest.mark.parametrize("width", [20, 40, 80, 120])
@pytest.mark.parametrize("height", [6, 24])
def test_the_live_view_keeps_to_few_lines_and_to_the_width(
    monkeypatch: pytest.MonkeyPatch, width: int, height: int
) -> None:
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    monkeypatch.setattr(live, "Console", lambda **_: console)
    counts = Counts("shop")
    states = tuple(
        DomainState(f"shop-{number}.a-rather-long-name.test", 3, 8.2, "robots Crawl-delay 10 s", 0, 1)
        for number in range(50)
    )
    counts(Ticked(0, 0, 0, 0, 10, states, 300))
    view = View(counts, (None, None))
    with console.capture() as captured:
        console.print(view.render())
    lines = captured.get().splitlines()
    assert len(lines) <= min(12, height) and max(map(len, lines)) <= width
    assert re.search(r"and \d+ more", lines[-1]) or width < 30
    if width >= 80:
        assert re.search(r"shop-0\S*…?\s+waits 8\.\d s: robots Crawl-delay 10 s", captured.get())


def test_the_estimate_is_seen_whole_in_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("scraper.cli.progress.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=80, height=24, force_terminal=True, color_system=None)
    monkeypatch.setattr(live, "Console", lambda **_: console)
    counts = Counts("a_spider_with_a_long_name", began_at=0.0)
    for second in range(10):
        now[0] = float(second + 1)
        counts(visited(FETCHED))
        counts(visited(Failed("status 404", "status 404")))
        counts(Ticked(0, 0, 0, 0, 120_000, (), 0))
    with console.capture() as captured:
        console.print(View(counts, (None, None)).render())
    line = captured.get().splitlines()[0]
    assert len(line) <= 79 and re.search(r"at least 33 h \d\d min left$", line)
    assert estimate_of(counts, (None, 15.0)) == "at most 5.0 s left"


def test_lines_of_the_log_stand_above_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True, color_system=None)
    monkeypatch.setattr(live, "Console", lambda **_: console)
    with View(Counts("shop"), (None, None)) as view:
        view.say("failed https://shop.test/[a]: status 404")
    assert "failed https://shop.test/[a]: status 404" in out.getvalue()
