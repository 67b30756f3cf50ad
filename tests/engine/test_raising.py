"""A callback may raise whatever there is: its page has failed, with a reason, and the run goes on."""

from collections.abc import Callable
from typing import Any

import pytest

from scraper import Drop, Page, Retry, Spider
from scraper.model import Failed, Verdict
from scraper.ops.tracebacks import told
from scraper.runs.events import Visited
from scraper.testing import CrawlResult, FakeWeb, crawl

A = "https://a.test/"


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Odd(BaseException):
    """As extension modules raise where their own code panics."""


def ends(given: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise given

    return call


def run(call: Callable[[], object]) -> CrawlResult:
    class Two(Spider):
        start_urls = [A + "1", A + "2"]
        settings = {"max_attempts": 1}
        health = {"max_failed": 0.9}

        def parse(self, page: Page) -> Any:
            if page.url == A + "1":
                call()
            yield {"url": page.url}

    return crawl(Two, FakeWeb({A + "1": "one", A + "2": "two"}))


@pytest.mark.parametrize(
    ("raised", "reason"),
    [
        (SystemExit(3), "SystemExit: 3"),
        (GeneratorExit(), "GeneratorExit"),
        (Odd("panic"), "Odd: panic"),
        (Mute(), "Mute: its __str__ raised RuntimeError"),
        (ValueError("half a pair \ud83d, \x00 and \x1b[31m"), "ValueError: half a pair �, � and �[31m"),
        (Retry("half a pair \ud83d"), "half a pair �"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_the_page_fails_with_a_text_that_can_be_kept(raised: BaseException, reason: str) -> None:
    result = run(ends(raised))
    assert [record["url"] for record in result.records] == [A + "2"]
    (told_reason,) = result.failed.values()
    assert told_reason.startswith(reason)
    told_reason.encode()


def test_a_page_is_dropped_with_a_text_that_can_be_kept() -> None:
    result = run(ends(Drop("half a pair \ud83d")))
    assert result.summary["dropped"] == 1 and not result.failed


def test_a_stop_iteration_is_told_with_its_line() -> None:
    names: dict[str, Any] = {}
    exec(compile("def parse(page):\n    yield next(iter(()))", "shop.py", "exec"), names)
    with pytest.raises(RuntimeError) as caught:
        list(names["parse"](None))
    assert "(shop.py, line 2" in told(caught.value, frozenset(("shop.py",)))


def test_a_failure_without_a_line_names_its_callback() -> None:
    class Short(Spider):
        start_urls = [A]

        async def parse(self, page: Page) -> Any:
            return None

    result = crawl(Short, FakeWeb({A: "one"}))
    assert "SpiderError in parse()" in result.reasons[0]


def test_failed_may_raise_whatever_there_is_too() -> None:
    class Gone(Spider):
        start_urls = [A, A + "1"]

        def parse(self, page: Page) -> Any:
            yield {"url": page.url}

        def failed(self, request: Any, why: str) -> Any:
            raise SystemExit

    (reason,) = crawl(Gone, FakeWeb({A: "one"})).failed.values()
    assert reason.startswith("status 404; failed() raised SystemExit")


def test_a_logged_out_that_raises_is_told() -> None:
    notes: list[str] = []

    class Members(Spider):
        start_urls = [A]

        def login(self, session: Any) -> None:
            session.get(A + "login")

        def logged_out(self, page: Page) -> bool:
            raise AttributeError("no such thing")

        def parse(self, page: Page) -> Any:
            notes.extend(page.notes)
            yield {"url": page.url}

    crawl(Members, FakeWeb({A: "one", A + "login": "welcome"}))
    assert notes[0].startswith("logged_out() raised AttributeError: no such thing (test_raising.py, line")


def test_an_error_of_failed_is_one_of_the_spiders_code_and_no_lesser_one() -> None:
    class Mirror(Spider):
        start_urls = [A + str(n) for n in range(4)]

        def parse(self, page: Page) -> Any:
            yield {"url": page.url}

        def failed(self, request: Any, why: str) -> Any:
            yield {"url": request.mirror}

    result = crawl(Mirror, FakeWeb({A + "1": "one", A + "2": "two", A + "3": "three"}))
    assert result.verdict is Verdict.BROKEN and "AttributeError in test_raising.py, line" in result.reasons[0]
    (reason,) = result.failed.values()
    assert reason.startswith("status 404; failed() raised AttributeError: 'Request' object has no attribute")
    (failure,) = [
        event
        for event in result.events
        if isinstance(event, Visited) and event.visit.outcome.__class__ is Failed
    ]
    assert "request.mirror" in failure.visit.outcome.traceback


def test_a_page_for_which_the_memory_does_not_suffice_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def meta_refresh(page: Page) -> None:
        if page.url.endswith("/1"):
            raise MemoryError

    monkeypatch.setattr(Page, "meta_refresh", property(meta_refresh))
    result = run(lambda: None)
    assert result.failed == {A + "1": "not enough memory to parse it"}
    assert result.records == [{"url": A + "2"}]
